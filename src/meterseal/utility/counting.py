"""Invocation counters of a third party toward one meter: reserved ahead, floors kept, as a client's are.

They are named by the two titles: keys made for one message have no counters of their own, and what counts
outlives them all.
"""

from __future__ import annotations

import time
from typing import Final

from meterseal.client.plan import State
from meterseal.client.steps import Steps, Work
from meterseal.keys.counters import BLOCK, ReceiveCounter, SendCounter
from meterseal.security.context import Counted

_FIRST_BLOCK: Final = 32
_FIRST: Final = 1
_NOTE_EVERY: Final = 1.0


class Counting:
    """Both counters, in a store.  `start`: the first value to send where the store knows none."""

    def __init__(self, state: State, own: bytes, meter: bytes, start: int | None) -> None:
        self._state, self._start = state, _FIRST if start is None else max(start, _FIRST)
        name = f"sealed-{own.hex().upper()}-{meter.hex().upper()}"
        self._rx, self._block = f"{name}-rx", _FIRST_BLOCK
        lowest = state.counters.received(self._rx) or 0
        self.counted = Counted(SendCounter(0, 0), ReceiveCounter(lowest), f"{name}-tx")
        self._noted, self._at = lowest, 0.0

    def ensure(self, count: int) -> Steps[None]:
        """See that `count` values can be sent.  Raises CounterExhausted, StateUnavailable, StateDamaged."""
        sending = self.counted.tx
        if sending.left >= count:
            return
        store, name, block = self._state.counters, self.counted.key_id, max(count, self._block)
        first, end = yield Work(lambda: store.reserve(name, block, self._start), self._state.slow)
        sending.extend(first, end)
        self._block = min(2 * self._block, BLOCK)

    def note(self, *, due: bool = True) -> Steps[None]:
        """Note what was received, durably: where that is `due`, once a second."""
        lowest, now = self.counted.rx.lowest, time.monotonic()
        if lowest == self._noted or (due and now - self._at < _NOTE_EVERY):
            return
        self._noted, self._at = lowest, now
        store = self._state.counters
        store.note_received(self._rx, lowest)
        yield Work(store.sync, self._state.slow)
