"""Rows of different shapes: sorted by shape, each shape's rows unpacked together, then put back in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meterseal.codec.budget import Budget
from meterseal.codec.rows import Shape, shape_of, skeleton_at

MAX_SHAPES: Final = 12
"""Different shapes followed in one array; a row of one more and all behind it are read one by one."""

_STRUCTURE: Final = b"\x02"


_Leaf = tuple[int, Callable[[bytes], None], int]
"""Row length, the call that keeps a row, and the number of the shape that the tree leads to."""


class _Branch:
    """Where known shapes differ: the octet at `offset` of a row leads on."""

    __slots__ = ("offset", "ways")

    def __init__(self, offset: int, ways: dict[int, _Branch | _Leaf]) -> None:
        self.offset = offset
        self.ways = ways


def _tree(leaves: list[_Leaf], shapes: list[Shape]) -> _Branch:
    """Decision tree over two or more leaves.

    Their skeletons agree up to where they first differ, and so on the offset of that octet.
    """
    column = 0
    groups: dict[int, list[_Leaf]] = {}
    while len(groups) < 2:
        groups = {}
        for leaf in leaves:
            groups.setdefault(shapes[leaf[2]].skeleton[column], []).append(leaf)
        column += 1
    offset = shapes[leaves[0][2]].columns[column - 1][0]
    ways = {octet: group[0] if len(group) == 1 else _tree(group, shapes) for octet, group in groups.items()}
    return _Branch(offset, ways)


class Sorter:
    """Reads rows of a few shapes, each shape's rows together, and puts them back in order at the end."""

    def __init__(self, first: Shape, room: int, budget: Budget) -> None:
        """Start with the shape of the first row; shapes may have `room` structures inside each other."""
        self._room = room
        self._budget = budget
        self._shapes = [first]
        self._kept: list[list[bytes]] = [[]]
        self._order: list[int] = []

    def read(self, buf: bytes, pos: int, end: int, count: int) -> int:
        """Read rows until `count`, or until one has no shape or one shape too many; return the position."""
        order = self._order
        pos = self._read_first(buf, pos, end, count)
        while len(order) < count:
            shape = self._learn(buf, pos, end)
            left = count - len(order)
            if shape is None or not self._budget.try_for(left):
                break
            if shape.takes(buf, pos, end, left, self._budget):
                self._kept[-1].append(buf[pos : pos + left * shape.length])
                order += [len(self._shapes) - 1] * left
                return pos + left * shape.length
            pos = self._read_known(buf, pos, end, left)
        return pos

    def _read_first(self, buf: bytes, pos: int, end: int, count: int) -> int:
        """Read the rows in front that have the first shape."""
        length = self._shapes[0].length
        rows = buf[pos : pos + min(count, (end - pos) // length) * length]
        good = self._shapes[0].first_misfit(rows)
        self._kept[0].append(rows[: good * length])
        self._order += [0] * good
        return pos + good * length

    def _read_known(self, buf: bytes, pos: int, end: int, count: int) -> int:
        """Sort rows by the octets that tell the known shapes apart, then keep those that fit."""
        kept: list[list[bytes]] = [[] for _ in self._shapes]
        leaves = [(shape.length, kept[n].append, n) for n, shape in enumerate(self._shapes)]
        root = _tree(leaves, self._shapes)
        offset, ways = root.offset, root.ways
        guess: list[int] = []
        mark = guess.append
        at = pos
        try:
            for _ in range(count):
                way = ways[buf[at + offset]]
                while isinstance(way, _Branch):
                    way = way.ways[buf[at + way.offset]]
                length, keep, number = way
                stop = at + length
                if stop > end:
                    break
                keep(buf[at:stop])
                mark(number)
                at = stop
        except (IndexError, KeyError):
            pass  # the octet that tells lies behind the end, or leads to no known shape
        return pos + self._keep_fitting(guess, kept)

    def _keep_fitting(self, guess: list[int], kept: list[list[bytes]]) -> int:
        """Keep guessed rows before the first that does not have its guessed shape; return their octets."""
        joined = [b"".join(rows) for rows in kept]
        good = len(guess)
        for number, (shape, rows) in enumerate(zip(self._shapes, joined, strict=True)):
            if not shape.fits(rows, 0, len(kept[number])):
                places = [place for place, other in enumerate(guess) if other == number]
                good = min(good, places[shape.first_misfit(rows)])
        octets = 0
        del guess[good:]
        for number, (shape, rows) in enumerate(zip(self._shapes, joined, strict=True)):
            size = shape.length * guess.count(number)
            self._kept[number].append(rows[:size])
            octets += size
        self._order += guess
        return octets

    def _learn(self, buf: bytes, pos: int, end: int) -> Shape | None:
        """Make the shape of the row at `pos` known; None when it has none, or there are enough."""
        skeleton, _ = skeleton_at(buf, pos, end) if len(self._shapes) < MAX_SHAPES else (b"", pos)
        if skeleton[:1] != _STRUCTURE or any(skeleton == known.skeleton for known in self._shapes):
            return None
        shape = shape_of(skeleton, self._room, self._budget)
        if shape:
            self._shapes.append(shape)
            self._kept.append([])
        return shape

    def rows(self) -> list[Any]:
        """The rows read, in their order."""
        sources = []
        for shape, kept in zip(self._shapes, self._kept, strict=True):
            rows = b"".join(kept)
            count = len(rows) // shape.length
            self._budget.spent += shape.units * count
            sources.append(iter(shape.read(rows, 0, count)))
        return [next(sources[number]) for number in self._order]
