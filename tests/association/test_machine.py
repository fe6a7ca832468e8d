"""A client and a meter on a line that loses, repeats and changes messages, with parties that take their time.

Rules act in any order: calls, deliveries, replays, flipped bits, counters reserved late, answers given late,
lines that end.  Invariants are the laws: no counter twice, nobody signed on without proof, nothing done that
was not asked for, nothing left of a dedicated key, a bounded queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meterseal.apdu.ciphered import FORMS, GLOBAL, parse
from meterseal.association import (
    Associated,
    Confirmed,
    Effect,
    Failed,
    Indication,
    Need,
    Operation,
    Outcome,
    Released,
    Reply,
    Service,
    State,
)
from meterseal.association.server import QUEUE
from meterseal.codec.data import Data, Tag
from meterseal.crypto import GcmKey
from meterseal.errors import Forged, Misuse, TimedOut
from meterseal.keys.counters import SendCounter
from meterseal.security.hls import TOKEN_LENGTH
from tests.association.pair import (
    AK,
    CLIENT_TITLE,
    CLOCK,
    EK,
    METER_TITLE,
    REGISTER,
    SWITCH,
    TO_CLIENT,
    TO_METER,
    Direction,
    Pair,
    drawing,
    octet_string,
    protected_headers,
)

pytestmark = pytest.mark.slow

Item = tuple[Direction, Effect]


class Conversation(RuleBasedStateMachine):
    """Both ends, the line between them, and what their parties still have to do."""

    @initialize(
        mechanism=st.sampled_from([0, 1, 3, 5, 6]),
        general=st.booleans(),
        dedicated=st.booleans(),
        small=st.booleans(),
        start=st.integers(0, 3),
    )
    def begin(self, mechanism: int, general: bool, dedicated: bool, small: bool, start: int) -> None:
        size = 128 if small else 4096
        self.pair = Pair(
            mechanism=mechanism,
            client={"general": general, "max_pdu": size},
            server={"max_pdu": size},
            draw=drawing(),
        )
        self.dedicated = dedicated
        # Blocks so short that they end anywhere.
        self.pair.client.profile.setup.key().tx = SendCounter(0, start)
        self.pair.server.profile.setup.key().tx = SendCounter(0, start)
        self.line: dict[Direction, deque[bytes]] = {TO_METER: deque(), TO_CLIENT: deque()}
        self.seen: list[tuple[Direction, bytes]] = []
        self.needs: list[tuple[Direction, Need]] = []
        self.asked: deque[Indication] = deque()
        self.sign_ons = 0
        self.proved = False
        self.requested: list[Operation] = []
        self.waiting: Sequence[Operation] | None = None
        self.serial = 0
        self.used: set[tuple[bytes, Direction, int]] = set()
        self.dedicated_octets: list[bytes] = []
        self.dedicated_keys: list[Any] = []

    # --- what comes of effects ------------------------------------------------------------------

    def carry_out(self, sender: Direction, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self.line[sender].append(effect.octets)
                self.seen.append((sender, effect.octets))
                self.note_counters(sender, effect.octets)
            elif isinstance(effect, Need):
                self.needs.append((sender, effect))
            elif isinstance(effect, Indication):
                assert sender == TO_CLIENT
                self.asked.append(effect)
            elif isinstance(effect, Associated) and sender == TO_METER:
                assert self.pair.server.state in (State.ASSOCIATED, State.IDLE)
                self.proved = True
            elif isinstance(effect, Confirmed):
                self.check_outcomes(effect.outcomes)
                self.waiting = None
            elif isinstance(effect, Failed | Released) and sender == TO_METER:
                self.waiting = None
        for end in (self.pair.client, self.pair.server):
            if end.context.dedicated is not None and end.context.dedicated not in self.dedicated_keys:
                self.dedicated_keys.append(end.context.dedicated)

    def note_counters(self, sender: Direction, octets: bytes) -> None:
        """Law 1: no key, title and counter twice on the line, those of HLS tokens inside frames included."""
        for _, tag, sc, counter in protected_headers([(sender, octets)]):
            if octets[0] in range(0x60, 0x64):
                self.note(EK, sender, counter)
                continue
            title = CLIENT_TITLE if sender == TO_METER else METER_TITLE
            candidates = [EK] if FORMS[tag].key_set == GLOBAL else self.dedicated_octets
            key, plain = opened_by(candidates, sc, title + counter.to_bytes(4, "big"), parse(octets).body)
            self.note(key, sender, counter)
            if plain[0] in (0xC3, 0xC7) and plain[-18:-16] == bytes((TOKEN_LENGTH, 0x10)):
                self.note(EK, sender, int.from_bytes(plain[-16:-12], "big"))

    def note(self, key: bytes, sender: Direction, counter: int) -> None:
        assert (key, sender, counter) not in self.used
        self.used.add((key, sender, counter))

    def check_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """What the client is told is what the meter's party said to this very request."""
        assert self.waiting is not None
        assert len(outcomes) == len(self.waiting)
        for operation, outcome in zip(self.waiting, outcomes, strict=True):
            assert outcome == answer_to(operation)

    # --- the client's calls -----------------------------------------------------------------------

    @precondition(lambda self: self.pair.client.state is State.IDLE and not self.pair.client._parked)
    @rule(through=st.integers(0, 3))
    def sign_on(self, through: int) -> None:
        self.sign_ons += 1
        client = self.pair.client
        client.profile.dedicated_key = (
            b"a dedicated k" + self.sign_ons.to_bytes(3, "big") if self.dedicated else None
        )
        self.dedicated_octets += [client.profile.dedicated_key] if client.profile.dedicated_key else []
        self.proved = False
        challenge = b"CtoS" + self.sign_ons.to_bytes(12, "big")
        self.carry_out(TO_METER, client.associate(challenge if client.profile.scheme.passes == 4 else b""))
        if through:
            self.run_on()

    @precondition(lambda self: self.pair.client.state is State.ASSOCIATED)
    @rule(
        service=st.sampled_from(list(Service)),
        count=st.integers(1, 3),
        size=st.sampled_from([1, 90, 300]),
        through=st.booleans(),
    )
    def request(self, service: Service, count: int, size: int, through: bool) -> None:
        operations = []
        for _ in range(count):
            self.serial += 1
            value = octet_string(self.serial.to_bytes(4, "big") + bytes(size))
            data = value if service is not Service.GET else None
            name = {Service.GET: REGISTER, Service.SET: CLOCK, Service.ACTION: SWITCH}[service]
            operations.append(Operation(service, 1, name, 1 + self.serial % 100, None, data))
        try:
            effects = self.pair.client.request(operations)
        except (Misuse, TimedOut):
            return
        self.requested += operations
        self.waiting = operations
        self.carry_out(TO_METER, effects)
        if through:
            self.run_on()

    @precondition(lambda self: self.pair.client.state is State.ASSOCIATED and not self.pair.client._parked)
    @rule()
    def release(self) -> None:
        self.waiting = None
        self.carry_out(TO_METER, self.pair.client.release())

    @precondition(lambda self: self.waiting)
    @rule()
    def give_up(self) -> None:
        self.waiting = None
        self.pair.client.give_up()

    # --- the line ---------------------------------------------------------------------------------

    def deliver(self, sender: Direction, octets: bytes) -> None:
        end, other = (self.pair.server, TO_CLIENT) if sender == TO_METER else (self.pair.client, TO_METER)
        self.carry_out(other, end.receive(octets))

    @rule(sender=st.sampled_from([TO_METER, TO_CLIENT]), times=st.integers(1, 4))
    def arrive(self, sender: Direction, times: int) -> None:
        for _ in range(times):
            if self.line[sender]:
                self.deliver(sender, self.line[sender].popleft())

    @rule()
    def run_on(self) -> None:
        """Both parties work until the line is quiet."""
        for _ in range(200):
            busy = self.needs or self.asked or self.line[TO_METER] or self.line[TO_CLIENT]
            if not busy:
                return
            while self.needs:
                self.reserve(0, 3)
            while self.asked:
                self.answer()
            for sender in (TO_METER, TO_CLIENT):
                if self.line[sender]:
                    self.deliver(sender, self.line[sender].popleft())
        raise AssertionError("the two never come to an end")

    @precondition(lambda self: self.line[TO_METER] or self.line[TO_CLIENT])
    @rule()
    def lose(self) -> None:
        (self.line[TO_METER] or self.line[TO_CLIENT]).popleft()

    @property
    def in_peace(self) -> bool:
        """A sign-on ends with the first wrong word, so it is left alone most of the time."""
        self.noise = getattr(self, "noise", 0) + 1
        return self.pair.client.state in (State.OPENING, State.PENDING) and self.noise % 8 != 0

    @precondition(lambda self: self.seen)
    @rule(choice=st.integers(0, 10_000), towards=st.sampled_from([TO_METER, TO_CLIENT]))
    def replay(self, choice: int, towards: Direction) -> None:
        """Anything that was ever on the line comes again, to the one it was for or back to its sender."""
        if self.in_peace:
            return
        done, state = len(self.pair.plant.done), self.pair.server.state
        _, octets = self.seen[choice % len(self.seen)]
        self.deliver(towards, octets)
        assert len(self.pair.plant.done) == done
        assert not (self.pair.server.state is State.ASSOCIATED and state is State.IDLE) or self.weak

    @precondition(lambda self: self.seen)
    @rule(
        choice=st.integers(0, 10_000),
        bit=st.integers(0, 100_000),
        towards=st.sampled_from([TO_METER, TO_CLIENT]),
    )
    def forge(self, choice: int, bit: int, towards: Direction) -> None:
        if self.in_peace:
            return
        _, octets = self.seen[choice % len(self.seen)]
        changed = bytearray(octets)
        changed[bit // 8 % len(octets)] ^= 1 << bit % 8
        self.deliver(towards, bytes(changed))

    @rule(octets=st.binary(max_size=40), towards=st.sampled_from([TO_METER, TO_CLIENT]))
    def inject(self, octets: bytes, towards: Direction) -> None:
        if self.in_peace:
            return
        self.deliver(towards, octets)

    @rule(now=st.integers(0, 4))
    def the_line_ends(self, now: int) -> None:
        if now:
            return
        self.pair.client.end()
        self.pair.server.end()
        self.line[TO_METER].clear()
        self.line[TO_CLIENT].clear()
        self.waiting = None

    # --- the parties --------------------------------------------------------------------------------

    @precondition(lambda self: self.needs)
    @rule(choice=st.integers(0, 100), count=st.integers(0, 3))
    def reserve(self, choice: int, count: int) -> None:
        """A store answers one of the needs, perhaps one that nobody waits for any more."""
        sender, need = self.needs.pop(choice % len(self.needs))
        first = need.key.tx._end + count  # another process may have taken some in between
        need.key.tx.extend(first, first + need.count + count)
        end = self.pair.client if sender == TO_METER else self.pair.server
        self.carry_out(sender, end.resume(need.token))

    @precondition(lambda self: self.asked)
    @rule()
    def answer(self) -> None:
        indication = self.asked.popleft()
        server = self.pair.server
        if not server._indicated or indication.token != server._token:
            assert server.respond(indication.token, []) == []
            return
        for operation in indication.operations:
            if operation.service is not Service.GET:
                self.pair.plant.done.append(operation)
        outcomes = [answer_to(operation) for operation in indication.operations]
        self.carry_out(TO_CLIENT, server.respond(indication.token, outcomes))

    # --- the laws -------------------------------------------------------------------------------------

    @property
    def weak(self) -> bool:
        """Without a challenge of the meter only counters tell an old sign-on from a new one."""
        return self.pair.client.profile.scheme.passes < 4

    @invariant()
    def nobody_is_associated_without_proof(self) -> None:
        client = self.pair.client
        if client.state is State.ASSOCIATED:
            assert self.proved

    @invariant()
    def only_what_was_asked_is_done_and_once(self) -> None:
        done = [o.data.raw for o in self.pair.plant.done if o.data]
        assert len(done) == len(set(done))
        assert set(done) <= {o.data.raw for o in self.requested if o.data}

    @invariant()
    def dedicated_keys_die_with_their_association(self) -> None:
        for end in (self.pair.client, self.pair.server):
            if end.state is State.IDLE and end._parked is None:
                assert end.context.dedicated is None
        alive = {id(end.context.dedicated) for end in (self.pair.client, self.pair.server)}
        for key in self.dedicated_keys:
            if id(key) not in alive:
                assert "destroyed" in repr(key.handle)

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.pair.server._queue) <= QUEUE

    @invariant()
    def floors_never_fall(self) -> None:
        lowest = [end.profile.setup.key().rx.lowest for end in (self.pair.client, self.pair.server)]
        assert [a >= b for a, b in zip(lowest, getattr(self, "lowest", [0, 0]), strict=True)] == [True, True]
        self.lowest = lowest


def opened_by(keys: Sequence[bytes], sc: int, iv: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The key that a body was sealed with, and what is inside."""
    for key in reversed(keys):
        try:
            return key, GcmKey(key, AK).open(sc, iv, body)
        except Forged:
            continue
    raise AssertionError("no key of the test opens what was sent")


def answer_to(operation: Operation) -> Outcome:
    """What the meter's party says: reads tell what was read, calls return their parameters."""
    if operation.service is Service.GET:
        return Outcome(0, Data.of(operation.member, Tag.UNSIGNED).raw)
    if operation.service is Service.SET:
        return Outcome(0)
    return Outcome(0, operation.data.raw if operation.data else None)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
