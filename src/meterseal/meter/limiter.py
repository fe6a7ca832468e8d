"""Limiter (class 71): watches a value and runs a script when it has been over its threshold for too long.

Another one runs when it has been under it again for long enough.  Of the thresholds the emergency one holds
while the emergency profile is active.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meterseal.codec.types import Tag
from meterseal.meter.configured import Configured, Setup
from meterseal.meter.objects import Value
from meterseal.meter.plant import Plant
from meterseal.meter.schedule import NEVER, Run, need_moment

_NORMAL, _EMERGENCY, _OVER_TIME, _UNDER_TIME, _PROFILE, _GROUPS, _ACTIONS = 4, 5, 6, 7, 8, 9, 11
_NEVER: Final = ((Tag.UNSIGNED, 0xFF), (Tag.LONG_UNSIGNED, 0xFFFF), (Tag.DOUBLE_LONG_UNSIGNED, 0xFFFF_FFFF))
"""A threshold at the end of its type is never exceeded: nothing is watched."""


class Limiter(Configured):
    """`watched` gives the monitored value now.  Looks once a second while there is something to watch."""

    def __init__(
        self, setup: Setup, plant: Plant, run: Run, watched: Callable[[int, bytes, int], Any]
    ) -> None:
        super().__init__(71, setup)
        self._plant, self._run, self._watched = plant, run, watched
        self._over: bool = self._store.get(f"{self._place}/over", False)
        self._since: int | None = None
        self.readers |= {
            3: lambda asker: self._threshold(),
            10: lambda asker: (self._emergency(), Tag.BOOLEAN),
        }
        self.due: int | None = None
        self.plan()

    def check(self, index: int, value: Value) -> None:
        """An activation time is a moment, or open."""
        super().check(index, value)
        if index == _PROFILE:
            need_moment(self._plant, value[0][1])

    def _emergency(self) -> bool:
        identity, start, duration = self.values[_PROFILE][0]
        if start == NEVER or identity not in self.values[_GROUPS][0]:
            return False
        begin = self._plant.moment_of(start)
        return begin <= self._plant.now().shown < begin + int(duration)

    def _threshold(self) -> Value:
        return self.values[_EMERGENCY if self._emergency() else _NORMAL]

    @property
    def watching(self) -> bool:
        """False while no threshold can be exceeded."""
        thresholds = (self.values[_NORMAL], self.values[_EMERGENCY])
        return self._over or any((tag, value) not in _NEVER for value, tag in thresholds)

    def plan(self) -> None:
        """Look at once, or not at all."""
        self._since = None
        self.due = self._plant.real() if self.watching else None

    def turn(self) -> None:
        """Look at the value."""
        now = self._plant.real()
        self.due = now + 1 if self.watching else None
        value, threshold = self._watched(*self.values[2][0]), self._threshold()[0]
        if not isinstance(value, int | float) or not isinstance(threshold, int | float):
            return
        if (value > threshold) == self._over:
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= self.values[_UNDER_TIME if self._over else _OVER_TIME][0]:
            self._over, self._since = not self._over, None
            self._store.keep({f"{self._place}/over": self._over})
            self._run(*self.values[_ACTIONS][0][0 if self._over else 1])
