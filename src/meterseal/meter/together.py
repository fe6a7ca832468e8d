"""Waiting for the disk together: all who need something durable before they go on share one write.

Those who ask while the process is busy, also with a write, go with the next one: the more there are, the more
of them each write serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from meterseal.errors import StateUnavailable
from meterseal.meter.live import Handle, Timer

Then: TypeAlias = Callable[[StateUnavailable | None], None]
"""Told that all is durable, or why not."""


class Together:
    """`sync` makes durable what was noted before it; it is called when all that has come is dealt with."""

    def __init__(self, timer: Timer, sync: Callable[[], None]) -> None:
        self._timer, self._sync = timer, sync
        self._waiting: list[Then] = []
        self._turn: Handle | None = None

    def wait(self, then: Then) -> None:
        """Have `then` called once what has been noted by now is durable, or cannot be made so."""
        self._waiting.append(then)
        if self._turn is None:
            self._turn = self._timer.call_later(0, self._write)

    def _write(self) -> None:
        waiting, self._waiting, self._turn = self._waiting, [], None
        failed: StateUnavailable | None = None
        try:
            self._sync()
        except StateUnavailable as error:
            failed = error
        for then in waiting:
            then(failed)

    def close(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
