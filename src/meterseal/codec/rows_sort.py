"""Rows of different skeletons: sorted by it, each one's rows unpacked together, then put back in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meterseal.codec.budget import Budget
from meterseal.codec.shapes import shape_of
from meterseal.codec.skeletons import STRUCTURE, Skeleton, skeleton_at

MAX_KINDS: Final = 12
"""Different skeletons followed in one array; a row of one more and all behind it are read one by one."""

FREE_KINDS: Final = 6
ROWS_A_KIND: Final = 8
"""Skeletons followed from the start, and rows that must have been read for each further one."""

KIND_UNITS: Final = 32
"""Work units for following one more skeleton, beside one for each row that may have it."""

ReadOne = Callable[[bytes, int, int], tuple[Any, int]]
"""Reads one value: (octets, position, end) -> (value, position behind it)."""


_Way = tuple[int, Any, Any]
"""Where an octet leads: (row length, the call that keeps a row, number of the skeleton) when only one
skeleton is left, else (0, offset of the octet to look at next, ways by that octet)."""


def _tree(leaves: list[_Way], kinds: list[Skeleton]) -> _Way:
    """Decision tree over two or more leaves.

    Their skeletons agree up to where they first differ, and so on the offset of that octet.
    """
    column = 0
    groups: dict[int, list[_Way]] = {}
    while len(groups) < 2:
        groups = {}
        for leaf in leaves:
            groups.setdefault(kinds[leaf[2]].octets[column], []).append(leaf)
        column += 1
    offset = kinds[leaves[0][2]].offsets[column - 1]
    ways = {octet: group[0] if len(group) == 1 else _tree(group, kinds) for octet, group in groups.items()}
    return 0, offset, ways


class Sorter:
    """Reads rows of a few skeletons, each one's rows together, and puts them back in order at the end."""

    def __init__(self, first: Skeleton, room: int, budget: Budget) -> None:
        """Start with the skeleton of the first row; `room` is for structures inside each other."""
        self._room = room
        self._budget = budget
        self._kinds = [first]
        self._kept: list[list[bytes]] = [[]]
        self._order: list[int] = []

    def read(self, buf: bytes, pos: int, end: int, count: int) -> int:
        """Read rows until `count`, or until one has no skeleton or one too many came; return the position."""
        order = self._order
        pos = self._read_first(buf, pos, end, count)
        while len(order) < count:
            kind = self._learn(buf, pos, end)
            left = count - len(order)
            if kind is None or not self._budget.try_for(KIND_UNITS + left):
                break
            if kind.found(buf, pos, end, left, self._budget):
                self._kept[-1].append(buf[pos : pos + left * kind.length])
                order += [len(self._kinds) - 1] * left
                return pos + left * kind.length
            pos = self._read_known(buf, pos, end, left)
        return pos

    def _read_first(self, buf: bytes, pos: int, end: int, count: int) -> int:
        """Read the rows in front that have the first kind."""
        length = self._kinds[0].length
        rows = buf[pos : pos + min(count, (end - pos) // length) * length]
        good = self._kinds[0].first_misfit(rows)
        self._kept[0].append(rows[: good * length])
        self._order += [0] * good
        return pos + good * length

    def _read_known(self, buf: bytes, pos: int, end: int, count: int) -> int:
        """Sort rows by the octets that tell the known skeletons apart, then keep those that fit."""
        kept: list[list[bytes]] = [[] for _ in self._kinds]
        leaves: list[_Way] = [(kind.length, kept[n].append, n) for n, kind in enumerate(self._kinds)]
        _, offset, ways = _tree(leaves, self._kinds)
        guess: list[int] = []
        mark = guess.append
        at = pos
        try:
            for _ in range(count):
                length, keep, number = ways[buf[at + offset]]
                while not length:
                    length, keep, number = number[buf[at + keep]]
                stop = at + length
                if stop > end:
                    break
                keep(buf[at:stop])
                mark(number)
                at = stop
        except (IndexError, KeyError):
            pass  # the octet that tells lies behind the end, or leads to no known skeleton
        return pos + self._keep_fitting(guess, kept)

    def _keep_fitting(self, guess: list[int], kept: list[list[bytes]]) -> int:
        """Keep guessed rows before the first whose skeleton is not the guessed one; return their octets."""
        joined = [b"".join(rows) for rows in kept]
        good = len(guess)
        for number, (kind, rows) in enumerate(zip(self._kinds, joined, strict=True)):
            if not kind.fits(rows, 0, len(kept[number])):
                places = [place for place, other in enumerate(guess) if other == number]
                good = min(good, places[kind.first_misfit(rows)])
        octets = 0
        del guess[good:]
        for number, (kind, rows) in enumerate(zip(self._kinds, joined, strict=True)):
            size = kind.length * guess.count(number)
            self._kept[number].append(rows[:size])
            octets += size
        self._order += guess
        return octets

    def _learn(self, buf: bytes, pos: int, end: int) -> Skeleton | None:
        """Make the skeleton of the row at `pos` known; None when it has none, or there are enough."""
        allowed = min(MAX_KINDS, FREE_KINDS + len(self._order) // ROWS_A_KIND)
        kind = skeleton_at(buf, pos, end) if len(self._kinds) < allowed else None
        if (
            kind is None
            or kind.octets[0] != STRUCTURE
            or kind.structures > self._room
            or any(kind.octets == known.octets for known in self._kinds)
        ):
            return None
        self._kinds.append(kind)
        self._kept.append([])
        return kind

    def rows(self, few: int, read_one: ReadOne) -> list[Any]:
        """The rows read, in their order; `read_one` reads those whose skeleton fewer than `few` have."""
        sources = []
        for kind, kept in zip(self._kinds, self._kept, strict=True):
            rows = b"".join(kept)
            length = kind.length
            count = len(rows) // length
            self._budget.spent += kind.units * count
            if count < few:
                values = [read_one(rows, at, at + length)[0] for at in range(0, len(rows), length)]
            else:
                values = shape_of(kind.octets).read(rows, 0, count)
            sources.append(iter(values))
        return [next(sources[number]) for number in self._order]
