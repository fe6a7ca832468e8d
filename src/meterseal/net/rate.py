"""At most so many in each window of time: for lines of a log that anybody can cause (H15)."""

from __future__ import annotations


class Rate:
    """At most `most` in each window of `seconds`; counts what went beyond."""

    def __init__(self, most: int, seconds: int) -> None:
        self._most, self._seconds = most, seconds
        self._window, self._used, self.left_out = -1, 0, 0

    def take(self, now: float) -> tuple[bool, int]:
        """Whether this one is in, and how many of the window before were not."""
        before, window = 0, int(now // self._seconds)
        if window != self._window:
            self._window, self._used = window, 0
            before, self.left_out = self.left_out, 0
        self._used += 1
        if self._used > self._most:
            self.left_out += 1
            return False, before
        return True, before
