"""Two meters that are alike, held against each other after every step: the short road and the long one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meterseal.association import Associated, Indication, Need, Operation, Outcome, Refusal, Reply
from meterseal.association.operations import READ_WRITE_DENIED, Service
from meterseal.security import Style, protect
from tests.association.pair import CLOCK, HIDDEN, REGISTER, Pair, key

ATTRIBUTES = [
    descriptor + b"\0"
    for descriptor in (
        b"\0\3" + REGISTER + b"\2", b"\0\3" + REGISTER + b"\3", b"\0\10" + CLOCK + b"\2",
        b"\0\1" + HIDDEN + b"\2", b"\0\3" + REGISTER + b"\xff",
    )
]  # fmt: skip


class Twins:
    """Two meters that are alike and hear the same client; the first one takes the short road where it can.

    `both` holds their answers, refusals and states against each other after every step.
    """

    def __init__(self, **options: Any) -> None:
        self.pairs = [Pair(**options), Pair(**options)]
        self.client = self.pairs[0].client
        self.sent: list[bytes] = []
        self.failing = False
        self.short = self.signed_on = 0
        self.sign_on()

    # --- what happens -----------------------------------------------------------------------

    def sign_on(self) -> None:
        for pair in self.pairs:
            pair.block = 1000
        self.client.end()
        self.signed_on += 1
        effects, number = list(self.client.associate(self.signed_on.to_bytes(16, "big"))), 0
        while effects:
            effect, *effects = effects
            if isinstance(effect, Need):
                self.pairs[0].reserve(effect)
                effects = [*self.client.resume(effect.token), *effects]
            elif isinstance(effect, Reply):
                (answer,) = self.both(effect.octets)
                effects = [*self.client.receive(answer), *effects]
            else:
                assert isinstance(effect, Associated), effect
                number += 1
        assert number == 1

    def seal(self, plain: bytes, style: Style = Style.GLO, applied: int = 3, skipped: int = 0) -> bytes:
        for _ in range(skipped):
            self.client.context.sending_key("global").tx.take()
        self.sent.append(protect(self.client.context, plain, applied, style))
        return self.sent[-1]

    def get(self, which: int = 0, invoke: int = 0xC1, **how: Any) -> list[bytes]:
        return self.both(self.seal(b"\xc0\1" + bytes((invoke,)) + ATTRIBUTES[which], **how))

    def change(self, what: Callable[[Pair], object]) -> None:
        for pair in self.pairs:
            what(pair)

    def allow(self, right: int | None) -> None:
        """Another right on the register, as a view tells of it."""

        def allow(pair: Pair) -> None:
            pair.view.rights[False, 3, REGISTER, 2] = right
            pair.server.profile.setup.changes.note()

        self.change(allow)

    def rekey(self, ek: bytes, ak: bytes) -> None:
        """New keys at both ends; the old handle is destroyed, as everywhere."""
        self.client.profile.setup.unicast = key(1, ek=ek, ak=ak)
        for pair in self.pairs:
            old, setup = pair.server.profile.setup.unicast, pair.server.profile.setup
            assert old is not None
            setup.unicast = key(0x1000, ek=ek, ak=ak)
            old.handle.destroy()

    def policy(self, bits: int) -> None:
        def strengthen(pair: Pair) -> None:
            pair.server.profile.setup.policy = bits

        self.change(strengthen)

    def counters(self, left: int) -> None:
        """So many sending counters left at the meters."""
        for pair in self.pairs:
            tx = pair.server.profile.setup.unicast
            assert tx is not None
            while tx.tx.left > left:
                tx.tx.take()

    # --- what comes of it -------------------------------------------------------------------

    def both(self, octets: bytes) -> list[bytes]:
        (found, refused), (expected, why) = (
            self._deliver(pair, octets, pair is self.pairs[0]) for pair in self.pairs
        )
        assert found == expected, octets.hex()
        assert refused == why
        states = [self._state(pair) for pair in self.pairs]
        assert states[0] == states[1]
        return found

    def _deliver(self, pair: Pair, octets: bytes, short: bool) -> tuple[list[bytes], list[str]]:
        answer = pair.server.repeat(octets) if short else None
        if answer:
            self.short += 1
            return [answer], []
        assert answer is None or answer == b""
        effects = pair.server.receive(octets) if answer is None else []
        sent: list[bytes] = []
        refused: list[str] = []
        while effects:
            effect, *effects = effects
            if isinstance(effect, Indication):
                outcomes = [self._do(pair, operation) for operation in effect.operations]
                again = (lambda operation: lambda: self._again(pair, operation)) if short else None
                effects = [*pair.server.respond(effect.token, outcomes, again), *effects]
            elif isinstance(effect, Need):
                if pair.block:
                    pair.reserve(effect)
                effects = [*pair.server.resume(effect.token), *effects]
            elif isinstance(effect, Reply):
                sent.append(effect.octets)
            elif isinstance(effect, Refusal):
                refused.append(f"{effect.during}: {effect.error!r}")
        return sent, refused

    def _do(self, pair: Pair, operation: Operation) -> Outcome:
        if self.failing and operation.service is Service.GET:
            return Outcome(READ_WRITE_DENIED)
        return pair.plant.do(operation)

    def _again(self, pair: Pair, operation: Operation) -> bytes | None:
        outcome = self._do(pair, operation)
        return None if outcome.code else outcome.data

    @staticmethod
    def _state(pair: Pair) -> tuple[Any, ...]:
        s, unicast = pair.server, pair.server.profile.setup.unicast
        assert unicast is not None
        return (
            s.state, s.negotiated, s.client_max_pdu, s.user, s.answering, s.half_open, s._indicated,
            s._parked is None, s._exchange is None, s._by_blocks, unicast.tx.left, unicast.tx.end,
            unicast.rx.lowest, unicast.rx._seen, dict(pair.plant.values), list(pair.plant.done),
        )  # fmt: skip


def twins(**options: Any) -> Twins:
    """Twins whose client has read the register once: the next read is a repetition."""
    found = Twins(**options)
    found.get()
    assert found.short == 0
    return found
