"""Counters in use on one line: a sending counter per key and own title, a floor per key and meter.

Associations whose roles share a key share its counters.  Values for sending come from the store in
blocks that are reserved before use, small ones first: a short visit should not cost a thousand.

Where the first value of a key comes from, and nothing else ever does (design 5, C03, C04):

1. the state, or `counter_start` of the credentials where that is higher: an operator may move it up;
2. else `counter_object`, read once through the public client.  Its value is what the meter has seen
   last or will accept next; one above it is right either way.  Nobody signs that answer, so it is only
   believed below the value at which a new key is due: a forged one costs at most half of the space, once;
3. else CounterUnknown.

Errors of a meter that name a counter are told to the caller and never followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeAlias

from meterseal.client.plan import Plan, State, log
from meterseal.client.steps import Pause, Steps, Work
from meterseal.codec.data import decode
from meterseal.credentials import RoleCredentials
from meterseal.crypto import GcmKey
from meterseal.errors import CounterExhausted, CounterUnknown, DecodeError, Replayed
from meterseal.keys.counters import BLOCK, REKEY_FROM, ReceiveCounter, SendCounter, key_id
from meterseal.keys.kinds import GAK, GUEK
from meterseal.security import KeyInUse

_FIRST_BLOCK: Final = 32
_SIGN_ON: Final = 4
"""Values that a sign-on and a release take at most, and one request between."""

_TURN: Final = 0.002
_NOTE_EVERY: Final = 1.0
_NEVER: Final = float("inf")
_FIRST_OF_NEW: Final = 1
"""The first value under a key that is new at both ends: meters in the field take 0 for nothing yet."""


AskPublic: TypeAlias = Callable[[str], Steps[int]]
"""Asks a counter object through the public client for the first value to send; raises CounterUnknown."""


@dataclass(slots=True, eq=False)
class Sending:
    """A sending counter with the name that the store knows it by."""

    name: str
    counter: SendCounter
    block: int = _FIRST_BLOCK
    start: int | None = None
    """Where it begins when it was never used, and nobody says where; None: that must be said."""
    busy: bool = False
    """True while a block is being reserved: blocks are taken into use in the order of the store."""


@dataclass(slots=True, eq=False)
class Receiving:
    """A floor, what of it is noted, and when that was."""

    name: str
    counter: ReceiveCounter
    noted: int = 0
    at: float = 0.0


@dataclass(slots=True, eq=False)
class Held:
    """The key of one association with its counters; `receiving` None until the meter's title is known."""

    key: KeyInUse
    sending: Sending
    receiving: Receiving | None = None

    @property
    def due(self) -> float:
        """When the floor is to be noted again: a second after it was noted."""
        return _NEVER if self.receiving is None else self.receiving.at + _NOTE_EVERY


class Keyring:
    """All counters in use on a line."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._sending: dict[str, Sending] = {}
        self._receiving: dict[str, Receiving] = {}

    def hold(self, role: RoleCredentials, title: bytes | None) -> Steps[Held | None]:
        """The role's key, its floor loaded where the meter's title is known; None for a role without one."""
        octets = role.octets("guek")
        if octets is None or role.client_system_title is None:
            return None
        handle = GcmKey(octets, role.octets("gak") or b"")
        name = key_id(handle.kcv, role.client_system_title, "tx")
        sending = self._sending.setdefault(name, Sending(name, SendCounter(0, 0)))
        receiving = None
        if title is not None:
            receiving = yield from self._floor(key_id(handle.kcv, title, "rx"))
        floor = ReceiveCounter() if receiving is None else receiving.counter
        return Held(KeyInUse(handle, sending.counter, floor, name), sending, receiving)

    def fresh(self, role: RoleCredentials) -> Sending:
        """What the role's messages count with under keys that are made for one of them.

        One for all meters: a gap is allowed.  No nonce depends on it, so it begins by itself.
        """
        title = (role.client_system_title or b"").hex().upper()
        name = f"fresh-{title}-tx"
        return self._sending.setdefault(name, Sending(name, SendCounter(0, 0), start=1))

    def _floor(self, name: str) -> Steps[Receiving]:
        found = self._receiving.get(name)
        if found is None:
            lowest = yield Work(lambda: self._state.counters.received(name), self._state.slow)
            known = 0 if lowest is None else lowest
            receiving = Receiving(name, ReceiveCounter(known), known)
            found = self._receiving.setdefault(name, receiving)
        return found

    def learned(self, held: Held, title: bytes) -> Steps[None]:
        """The sign-on has told the meter's title: hold what it sent against the floor that is known.

        Raises Replayed when it was below.
        """
        if held.receiving is not None:
            return
        receiving = yield from self._floor(key_id(held.key.handle.kcv, title, "rx"))
        fresh, known = held.key.rx.lowest, receiving.counter
        if known.lowest and fresh <= known.lowest:
            raise Replayed(f"the sign-on came with counters below {known.lowest}", known.lowest)
        known.skip_to(fresh)
        held.key.rx, held.receiving = known, receiving

    def renew(self, held: Held, new: Mapping[int, bytes], own: bytes, title: bytes) -> Steps[None]:
        """Put new keys, by key id, in the place of those held; `own` and `title` are client and meter.

        A new GUEK begins with counters of its own; beside a new GAK those of the old GUEK go on.
        """
        handle, key = held.key.handle, held.key
        if GAK in new:
            handle = handle.beside(new[GAK])
        if GUEK in new:
            handle = handle.with_key(new[GUEK])
            name = key_id(handle.kcv, own, "tx")
            sending = self._sending.setdefault(name, Sending(name, SendCounter(0, 0)))
            if not sending.counter.left:
                store = self._state.counters
                reserve = partial(store.reserve, name, _FIRST_BLOCK, _FIRST_OF_NEW)
                first, end = yield Work(reserve, self._state.slow)
                sending.counter.extend(first, end)
            held.sending = sending
            held.receiving = yield from self._floor(key_id(handle.kcv, title, "rx"))
            key = KeyInUse(handle, sending.counter, held.receiving.counter, name)
        held.key = KeyInUse(handle, key.tx, key.rx, key.key_id)

    # --- sending --------------------------------------------------------------------------------

    def ensure(self, sending: Sending, count: int, plan: Plan, ask: AskPublic) -> Steps[None]:
        """See that `count` values can be sent, reserving a block if need be.

        Raises CounterUnknown, CounterExhausted, StateDamaged, StateUnavailable, StateLocked.
        """
        while sending.counter.left < count:
            if sending.busy:
                yield Pause(_TURN)
                continue
            sending.busy = True
            try:
                first, end = yield from self._reserve(sending, max(count, sending.block), plan, ask)
                sending.counter.extend(first, end)
                sending.block = min(2 * sending.block, BLOCK)
            finally:
                sending.busy = False

    def _reserve(self, sending: Sending, count: int, plan: Plan, ask: AskPublic) -> Steps[tuple[int, int]]:
        store, role = self._state.counters, plan.role
        role.check_lent(plan.name, datetime.now(UTC))  # an association may last longer than the keys
        start = sending.start if role.counter_start is None else role.counter_start
        try:
            block: tuple[int, int] = yield Work(
                lambda: store.reserve(sending.name, count, start), self._state.slow
            )
            return _within(block, role.counter_end, sending.name)
        except CounterUnknown:
            if role.counter_object is None:
                raise
        learned = yield from ask(role.counter_object)
        log.warning(
            "first use of key %s: its counter starts at %d, as %s of the meter says without protection",
            sending.name, learned, role.counter_object,
        )  # fmt: skip
        block = yield Work(lambda: store.reserve(sending.name, count, learned), self._state.slow)
        return _within(block, role.counter_end, sending.name)

    # --- receiving ------------------------------------------------------------------------------

    def note(self, held: Held | None) -> Steps[None]:
        """Note the floor, durably."""
        receiving = None if held is None else held.receiving
        if receiving is None or receiving.counter.lowest == receiving.noted:
            return
        lowest = receiving.counter.lowest
        receiving.noted, receiving.at = lowest, time.monotonic()
        store = self._state.counters
        store.note_received(receiving.name, lowest)
        yield Work(store.sync, self._state.slow)


def _within(block: tuple[int, int], limit: int | None, name: str) -> tuple[int, int]:
    """A block as far as the credentials may count: what lies above belongs to whoever gave them out."""
    first, end = block
    if limit is None:
        return block
    if first >= limit:
        raise CounterExhausted(
            f"the invocation counters that came with key {name} are used up: ask for others"
        )
    return first, min(end, limit)


def start_above(counter_object: str, raw: bytes) -> int:
    """The first value to send, from what a counter object holds.  Raises CounterUnknown."""
    try:
        value = decode(raw)
    except DecodeError as error:
        raise CounterUnknown(f"{counter_object} of the meter cannot be read: {error}") from error
    if type(value) is not int or not 0 <= value < REKEY_FROM:
        raise CounterUnknown(
            f"{counter_object} of the meter says {value if type(value) is int else 'no number'}; only "
            f"0 to {REKEY_FROM - 1} is believed without protection: set counter_start"
        )
    return value + 1
