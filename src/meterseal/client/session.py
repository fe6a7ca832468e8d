"""A session: one association from sign-on to release, as steps.

Joins a conversation with titles, with what is signed, and with what is kept of both ends.
Time-outs: a request that is not answered in time ends with TimedOut and the association goes on; its
answer, should it still come, is known by its invoke-id and dropped.  A sign-on that is not answered in
time spoils its pair of SAPs on that line, because what comes late could be taken for another sign-on's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from meterseal.association import (
    Associated,
    Carried,
    ClientAssociation,
    Confirmed,
    Effect,
    Failed,
    Operation,
    Outcome,
    Released,
    Service,
    State,
)
from meterseal.association.requesting import Read
from meterseal.client import pending
from meterseal.client.conversation import Conversation
from meterseal.client.keyring import start_above
from meterseal.client.plan import Plan, log
from meterseal.client.shared import Shared
from meterseal.client.steps import Exchange, Pause, Steps, Work
from meterseal.cosem.obis import Member, Obis, parse_member
from meterseal.cosem.object_list import ObjectEntry
from meterseal.cosem.rights import SIGN_REQUEST
from meterseal.crypto import random_octets
from meterseal.errors import (
    ConnectionLost,
    CounterUnknown,
    MetersealError,
    Misuse,
    ProtocolViolation,
    TimedOut,
)
from meterseal.keys.counters import ReceiveCounter
from meterseal.keys.kinds import GAK
from meterseal.security import AUTHENTICATED, SIGNED
from meterseal.security.context import Counted
from meterseal.security.keyforms import is_fresh
from meterseal.security.options import NEW_KEYS_LATER
from meterseal.security.sealed import Sealed

_SIGN_ON_COUNTERS: Final = 4
_TURN: Final = 0.01
_DATA: Final = 1
_NEVER: Final = float("inf")


class Session(Conversation):
    """One association; made by a plan on a line."""

    __slots__ = ("_due", "_in_order", "_signed")

    def __init__(self, plan: Plan, shared: Shared) -> None:
        super().__init__(plan, shared)
        self._due = _NEVER
        self._in_order = False
        self._signed = frozenset(map(parse_member, plan.role.signed))

    @property
    def negotiated(self) -> int:
        """The conformance block of the association."""
        return self.association.negotiated

    @property
    def server_max_pdu(self) -> int:
        """Octets of the largest APDU that the meter takes; 0: no limit."""
        return self.association.server_max_pdu

    @property
    def counters_left(self) -> int | None:
        """What is left of the key's counters before a new key is due; None without a key."""
        return None if self._held is None else self._held.sending.counter.until_rekey

    # --- sign-on --------------------------------------------------------------------------------

    def open(self) -> Steps[None]:
        """Sign on.

        Raises what the credentials, the state, the line or the meter are at odds with: CounterUnknown,
        StateDamaged, AuthenticationFailed, Refused, TooWeak, Forged, Replayed, TimedOut, ConnectionLost, ...
        """
        self.shared.enter(self.plan.pair)
        done = False
        try:
            yield from self._sign_on()
            done = True
        finally:
            if not done:
                self._drop()

    def _sign_on(self) -> Steps[None]:
        plan, shared = self.plan, self.shared
        expected = self._expected_title()
        held = self._held = yield from shared.keyring.hold(plan.role, expected)
        if held is not None:
            yield from shared.keyring.ensure(held.sending, _SIGN_ON_COUNTERS, plan, self._ask_public)
        profile = plan.profile(None if held is None else held.key, expected)
        if is_fresh(profile.layers):
            fresh = self._fresh = shared.keyring.fresh(plan.role)
            profile.setup.fresh = Counted(fresh.counter, ReceiveCounter(), fresh.name)
        profile.datagrams, profile.around = shared.datagrams, shared.around
        self._in_order = not shared.datagrams
        association = self._association = ClientAssociation(profile)
        names = pending.names(profile, shared.url)
        yield from self._turn(names)
        try:
            challenge = random_octets(profile.scheme.drawn) if profile.scheme.passes == 4 else b""
            effect = yield from self._settle(association.associate(challenge, random_octets(8)))
        finally:
            pending.leave(names)
        if not isinstance(effect, Associated):
            raise ProtocolViolation("the sign-on ended without an association")
        yield from self._signed_on(association, expected)

    def _expected_title(self) -> bytes | None:
        """The meter's title: from the credentials, else the one pinned at an earlier sign-on."""
        meter = self.plan.credentials.meter
        if meter.system_title is not None:
            return meter.system_title
        return self.shared.state.titles.get(self._title_name)

    @property
    def _title_name(self) -> str:
        return f"{self.shared.url} logical device {self.plan.pair[1]}"

    def _turn(self, names: frozenset[object]) -> Steps[None]:
        """Wait until no other sign-on with this peer is under way (A07)."""
        deadline = time.monotonic() + self.plan.timeout
        while not pending.enter(names):
            if time.monotonic() >= deadline:
                raise TimedOut("another sign-on with the same meter and secret is still under way")
            yield Pause(_TURN)

    def _signed_on(self, association: ClientAssociation, expected: bytes | None) -> Steps[None]:
        title, profile = association.server_title, association.profile
        if title is not None and self._held is not None:
            yield from self.shared.keyring.learned(self._held, title)
        proved = profile.scheme.needs_titles or (
            profile.ciphered and self.plan.role.protection & AUTHENTICATED
        )
        if title is not None and expected is None and proved:
            name = self._title_name
            log.warning(
                "%s says it is %s: kept for later sign-ons, now that nothing said so before",
                name, title.hex().upper(),
            )  # fmt: skip
            state = self.shared.state
            yield Work(lambda: state.titles.learn(name, title), state.slow)
        yield from self._note()

    def _ask_public(self, counter_object: str) -> Steps[int]:
        """The first counter value to send, as the meter tells the public client on the same line."""
        public = Session(self.plan.public(), self.shared)
        try:
            yield from public.open()
            operation = Operation(Service.GET, _DATA, Obis(counter_object), 2)
            (outcome,) = yield from public.ask((operation,))
            yield from public.release()
        except (TimedOut, ConnectionLost):
            raise
        except MetersealError as error:
            raise CounterUnknown(
                f"first use of this key: no state, no counter_start, and {counter_object} could not be read "
                f"through the public client: {error}"
            ) from error
        finally:
            public.close()
        if outcome.data is None:
            raise CounterUnknown(
                f"first use of this key: no state, no counter_start, and the meter does not show "
                f"{counter_object} to the public client"
            )
        return start_above(counter_object, outcome.data)

    # --- requests -------------------------------------------------------------------------------

    def ask(
        self,
        operations: Sequence[Operation],
        *,
        access: bool = False,
        stops: bool = False,
        described: bool = False,
    ) -> Steps[tuple[Outcome, ...]]:
        """One request, all its blocks included; the outcomes in order.

        With `access` by ACCESS, whose `stops` and `described` are as in `ClientAssociation.request`.

        Raises what went wrong with the request as a whole; a code of the meter is an outcome.
        """
        added = SIGNED if self._signed and any(map(self._is_signed, operations)) else 0
        request = (self._association or self.association).request(
            operations, access=access, stops=stops, described=described, added=added
        )
        return (yield from self._confirmed(request))

    def _confirmed(self, effects: list[Effect]) -> Steps[tuple[Outcome, ...]]:
        effect = yield from self._settle(effects)
        if type(effect) is not Confirmed:
            raise ProtocolViolation("the association ended during a request")
        if time.monotonic() >= self._due:
            yield from self._note()
        return effect.outcomes

    def _note(self) -> Steps[None]:
        """Note what has come, durably."""
        held = self._held
        yield from self.shared.keyring.note(held)
        self._due = _NEVER if held is None else held.due

    def again(self, read: Read, now: float) -> bytes | None:
        """A read that was asked before, sealed; None where only `ask` will do, and nothing has begun.

        `now` is by the clock `time.monotonic`.  The answer goes to `answered`; where there is none,
        `give_up` ends the request.
        """
        association = self._association
        if association is None or now >= self._due or not self._in_order:
            return None
        if self._signed and (*read, False) in self._signed:
            return None
        return association.again(read)

    def answered(self, octets: bytes, deadline: float) -> bytes | Steps[tuple[Outcome, ...]]:
        """What the answer to a read that was asked `again` holds, as A-XDR; else the steps to its outcome.

        If this is none, they wait on until the `deadline`.
        """
        association = self._association
        data = None if association is None else association.answered(octets)
        return self._taken(octets, deadline) if data is None else data

    def _taken(self, octets: bytes, deadline: float) -> Steps[tuple[Outcome, ...]]:
        self._exchange.deadline = deadline
        return self._confirmed(self.association.receive(octets))

    def give_up(self) -> None:
        """A step of `again` has failed, or nobody waits any more."""
        if self._association is not None:
            self._give_up(self._association)

    def forward(self, sealed: Sealed) -> Steps[Sealed]:
        """Carry what somebody else has sealed for this meter; the sealed answer.

        Raises Misuse for what is sealed for another meter; Refused where the meter does not open it.
        """
        association = self.association
        if association.server_title not in (None, sealed.recipient):
            raise Misuse(f"sealed for {sealed.recipient.hex().upper()}, which is another meter")
        effect = yield from self._settle(association.forward(sealed))
        if type(effect) is not Carried:
            raise ProtocolViolation("the association ended during a request")
        if time.monotonic() >= self._due:
            yield from self._note()
        return effect.sealed

    def _is_signed(self, o: Operation) -> bool:
        return (o.class_id, o.instance, o.member, o.service is Service.ACTION) in self._signed

    def know(self, entries: Iterable[ObjectEntry]) -> None:
        """Sign from now on what the rights in an object list ask a signature for, where there is a key."""
        if self.association.profile.setup.signing is None:
            return
        self._signed |= {
            Member(entry.class_id, entry.obis, index, method)
            for entry in entries
            for method, rights in ((False, entry.attributes), (True, entry.methods))
            for index, bits in rights.items()
            if bits & SIGN_REQUEST
        }

    def watch(self, duration: float) -> Steps[None]:
        """Take what the meter says unasked, for so many seconds.  Raises what is wrong with it."""
        exchange = Exchange(self.plan.pair, duration)
        exchange.deadline = time.monotonic() + duration
        while True:
            try:
                octets = yield exchange
            except TimedOut:
                break
            for effect in self.association.receive(octets):
                if type(effect) is Failed:
                    raise effect.error
        yield from self._note()

    def renew(self, new: Mapping[int, bytes]) -> Steps[None]:
        """Go on under new keys, by key id, that the meter has taken for this association's Security setup.

        With a peer that uses them from the next association on only their counters begin.
        """
        held, association = self._held, self.association
        title = association.server_title
        if held is None or title is None:
            return
        later = NEW_KEYS_LATER in association.profile.options
        if later:
            held = replace(held)
        yield from self.shared.keyring.renew(held, new, association.profile.setup.own_title, title)
        if later:
            return
        association.profile.setup.unicast = held.key
        dedicated = association.context.dedicated
        if GAK in new and dedicated is not None:
            dedicated.handle = dedicated.handle.beside(new[GAK])

    def release(self) -> Steps[str]:
        """Release the association; returns a warning, empty when all was as it should be.

        Whatever the answer, the association has ended, and what was read before stays good.
        """
        association = self._association
        if association is None:
            return ""
        warning = ""
        try:
            if association.state is State.ASSOCIATED:
                effect = yield from self._settle(association.release())
                warning = effect.warning if isinstance(effect, Released) else ""
        except MetersealError as error:
            warning = f"the release failed: {error}"
        try:
            yield from self._note()
        finally:
            self._drop()
        if warning:
            log.warning("role %s: %s", self.plan.name, warning)
        return warning

    def close(self) -> None:
        """End at once, without a word to the meter."""
        if self._association is not None:
            self._drop()

    def _drop(self) -> None:
        association, self._association = self._association, None
        if association is not None:
            association.end()
        self.shared.leave(self.plan.pair, self._unanswered)
