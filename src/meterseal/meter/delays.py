"""Who fails a sign-on waits for the answer; nobody else does (design law 8).

Per source and client SAP the delay doubles from 100 ms to 5 s and starts anew after a success or a quiet
time.  At most 64 answers of a source wait at once; the next one that fails loses its connection instead.
Time comes in as an argument.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.1
LONGEST: Final = 5.0
WAITING: Final = 64
QUIET: Final = 60.0
"""Seconds without a failure after which the count starts anew."""

_MOST: Final = 4096
"""Pairs of source and SAP that are remembered; the one that failed longest ago is forgotten first."""


class Delays:
    """Failures per (source, client SAP), and how many answers each source has waiting."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, int], tuple[int, float]] = {}
        self._waiting: dict[str, int] = {}

    def failed(self, source: str, sap: int, now: float) -> float | None:
        """Seconds that the answer to this failure has to wait; None when too many of the source wait already.

        With a number returned the answer counts as waiting, until `answered`.
        """
        count, last = self._failures.pop((source, sap), (0, now))
        if now - last > QUIET:
            count = 0
        self._failures[source, sap] = count + 1, now
        if len(self._failures) > _MOST:
            del self._failures[next(iter(self._failures))]
        waiting = self._waiting.get(source, 0)
        if waiting >= WAITING:
            return None
        self._waiting[source] = waiting + 1
        return min(LONGEST, FIRST * (1 << min(count, 16)))

    def answered(self, source: str) -> None:
        """One answer of a source waits no longer."""
        left = self._waiting.get(source, 1) - 1
        if left > 0:
            self._waiting[source] = left
        else:
            self._waiting.pop(source, None)

    def proved(self, source: str, sap: int) -> None:
        """Somebody there has signed on: the next failure is a first one."""
        self._failures.pop((source, sap), None)

    @property
    def waiting(self) -> int:
        """Answers that wait, of all sources."""
        return sum(self._waiting.values())
