"""Invocation counters of one key: a reserved block to send from, a floor for what is received (security 9).

Pure numbers, no files.  Who makes a `SendCounter` has first reserved its block durably, and whoever
holds a `ReceiveCounter` notes its floor at the moments that the design names: client and meter do,
with a store of `meterseal.state`; `key_id` is the name that the store knows a counter by.
"""

from __future__ import annotations

import os
from typing import Final
from weakref import WeakSet

from meterseal.errors import CounterExhausted, CountersNeeded, Misuse, Replayed

LIMIT: Final = 0xFFFF_FFFF
"""The value that is never used: a counter that gets here is at its end, and only a new key helps."""

BLOCK: Final = 1_000
"""Values reserved at a time: one durable write for so many messages, so many values lost by a crash."""

WINDOW: Final = 64
"""Values below the lowest acceptable one that are remembered, each as come or not come (C11)."""

_ALL_SEEN: Final = (1 << WINDOW) - 1

REKEY_FROM: Final = 2_000_000_000
"""Where a new key is due, with half of the space still left to bring it in (keys 3)."""


def key_id(kcv: str, title: bytes, direction: str) -> str:
    """The name of a counter: key check value, system title of who counts, `tx` or `rx`.

    Letters, digits and hyphens only, so that it may stand in a file name.
    """
    return f"{kcv}-{title.hex().upper()}-{direction}"


class SendCounter:
    """Values for sending, out of a reserved block `first <= value < end`.

    Every value is given out once; `left` is how many `take` still gives before a new block is needed,
    to be read only.  In a forked child the block is empty: parent and child must not both send from it.
    """

    __slots__ = ("__weakref__", "_end", "left")

    def __init__(self, first: int, end: int) -> None:
        if not 0 <= first <= end <= LIMIT:
            raise Misuse(f"no counter block goes from {first} to {end}")
        self.left = end - first
        self._end = end
        _LIVE.add(self)

    @classmethod
    def unlimited(cls) -> SendCounter:
        """The whole space from 0, for a key that nobody uses after this process: a dedicated key."""
        return cls(0, LIMIT)

    def __repr__(self) -> str:
        return f"<SendCounter next {self._next} end {self._end}>"

    def take(self) -> int:
        """The next value.

        Raises CountersNeeded when the block is used up, CounterExhausted when the space is.
        """
        left = self.left
        if not left:
            raise self._empty()
        self.left = left - 1
        return self._end - left

    @property
    def _next(self) -> int:
        return self._end - self.left

    @property
    def end(self) -> int:
        """Where the reserved block ends: no value from here on may be used yet."""
        return self._end

    @property
    def exhausted(self) -> bool:
        """True when the space is used up, and reserving does not help."""
        return self._next >= LIMIT

    @property
    def rekey_due(self) -> bool:
        """True from 2,000,000,000 on: time to bring in a new key before the space ends."""
        return self._next >= REKEY_FROM

    @property
    def until_rekey(self) -> int:
        """How many values there are until `rekey_due`."""
        return max(0, REKEY_FROM - self._next)

    def extend(self, first: int, end: int) -> None:
        """Go on with another reserved block, as a store's `reserve` returns it.

        When it does not follow on the present one (another process reserved in between) what is
        left of the present one is skipped; a gap is allowed, a second use is not.  Raises Misuse
        for a block that starts below what has been reserved before.
        """
        if not self._end <= first <= end <= LIMIT:
            raise Misuse(f"block {first} to {end} does not come after {self._end}")
        self.left = end - (self._next if first == self._end else first)
        self._end = end

    def _empty(self) -> CountersNeeded | CounterExhausted:
        if self.exhausted:
            return CounterExhausted("the invocation counter of this key is used up: only a new key helps")
        return CountersNeeded(f"the reserved invocation counters end at {self._end}: reserve the next block")

    def _abandon(self) -> None:
        self.left = 0


class ReceiveCounter:
    """The lowest acceptable value of what a peer sends under one key, and which ones below it never came.

    `check` before the tag is verified, `commit` after.  What carries no tag (encryption only) is
    checked and never committed: anybody could have sent it.  On a stream only `lowest` or above is
    acceptable.  Datagrams overtake each other, so there a `window` of values below is acceptable too,
    each of them once.  Values below the floor that it was made with are all taken as seen.
    """

    __slots__ = ("_seen", "lowest")

    def __init__(self, lowest: int = 0) -> None:
        if not 0 <= lowest <= LIMIT:
            raise Misuse(f"{lowest} is not a lowest acceptable counter")
        self.lowest = lowest
        self._seen = _ALL_SEEN  # bit n: the value lowest - 1 - n

    def __repr__(self) -> str:
        return f"<ReceiveCounter lowest {self.lowest}>"

    def check(self, ic: int, window: int = 0) -> None:
        """Raises Replayed when `ic` is below what is acceptable, has come before, or is never used.

        `window` is how many values below the lowest one are acceptable as long as they have not come.
        """
        if self.lowest <= ic < LIMIT:
            return
        if ic < self.lowest and not (window and self.missed(ic, window)):
            raise Replayed(f"invocation counter {ic}: {self.lowest} or above is acceptable", self.lowest)
        self.check_maximum(ic)

    def missed(self, ic: int, window: int) -> bool:
        """True for a value among the `window` (at most 64) below the lowest one that has never come."""
        back = self.lowest - 1 - ic
        return 0 <= back < min(window, WINDOW) and not self._seen >> back & 1

    def skip_to(self, lowest: int) -> None:
        """Only `lowest` and above from now on, if that is higher than before."""
        if lowest > self.lowest:
            self.lowest, self._seen = lowest, _ALL_SEEN

    def check_maximum(self, ic: int) -> None:
        """Raises Replayed for the last value of the space, which nobody may send."""
        if ic >= LIMIT:
            raise Replayed(f"invocation counter {ic:08X} is never used", self.lowest)

    def commit(self, ic: int) -> None:
        """A message with this counter was verified: it is never acceptable again.

        The lowest value never moves down, so the two counters of a frame and of the token inside it
        may be committed in any order.
        """
        ahead = ic - self.lowest
        if not ahead and self._seen == _ALL_SEEN and ic < LIMIT:
            self.lowest = ic + 1  # the next in a row without a gap
        elif ahead >= 0:
            if ic >= LIMIT:
                self.check_maximum(ic)
            self.lowest = ic + 1
            # A jump leaves nothing of the old window; shifting that far would build a huge number.
            self._seen = (self._seen << ahead + 1 | 1) & _ALL_SEEN if ahead < WINDOW else 1
        elif ahead >= -WINDOW:
            self._seen |= 1 << -1 - ahead


_LIVE: WeakSet[SendCounter] = WeakSet()


def _after_fork() -> None:
    for counter in _LIVE:
        counter._abandon()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
