"""Invocation counters of a third party toward one meter: reserved ahead, floors kept, as a client's are.

They are named by the two titles: keys made for one message have no counters of their own, and what counts
outlives them all.  Answers and pushes share the meter's counter; each kind has a floor of its own, so that a
push which waits somewhere is not taken for an old one because an answer has overtaken it.
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
    """The counters, in a store.  `start`: the first value to send where the store knows none.

    `counted` is for requests and answers, `pushed` for pushes.
    """

    def __init__(self, state: State, own: bytes, meter: bytes, start: int | None) -> None:
        self._state, self._start = state, _FIRST if start is None else max(start, _FIRST)
        name = f"sealed-{own.hex().upper()}-{meter.hex().upper()}"
        self._block, self._at = _FIRST_BLOCK, 0.0
        self._floors: dict[str, ReceiveCounter] = {}
        self._noted: dict[str, int] = {}
        self.counted = Counted(SendCounter(0, 0), self._floor(f"{name}-rx"), f"{name}-tx")
        self.pushed = Counted(SendCounter(0, 0), self._floor(f"{name}-push-rx"))

    def _floor(self, name: str) -> ReceiveCounter:
        lowest = self._noted[name] = self._state.counters.received(name) or 0
        return self._floors.setdefault(name, ReceiveCounter(lowest))

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
        now = time.monotonic()
        moved = {name: rx.lowest for name, rx in self._floors.items() if rx.lowest != self._noted[name]}
        if not moved or (due and now - self._at < _NOTE_EVERY):
            return
        self._noted |= moved
        self._at = now
        store = self._state.counters
        for name, lowest in moved.items():
            store.note_received(name, lowest)
        yield Work(store.sync, self._state.slow)
