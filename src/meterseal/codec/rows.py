"""Rows of an array: many values of few shapes, checked and read by whole columns instead of one by one.

The *skeleton* of a value is all of its octets that are tags, counts and lengths, in order; it fixes
where every octet of the value lies. A `Shape` is made from a skeleton once. Rows that all have one
shape are proven to by comparing strided slices, one for each octet of the skeleton, and unpacked by
one `struct` iterator. A row of another shape is found by a short decision tree over the shapes
known so far, and its skeleton is compared in full.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from itertools import chain, repeat
from operator import methodcaller
from typing import Any, Final, NamedTuple

from meterseal.codec.budget import STRUCTURE_UNITS, Budget
from meterseal.codec.scalars import EMPTY, FIXED
from meterseal.codec.types import BitString, Structure, Tag, Type

MAX_FIELDS: Final = 80
"""Most values inside each other and side by side in one shape."""

_TOGETHER: Final = 128
"""Values that one `struct` call unpacks, about, where rows are rearranged."""

SHAPE_UNITS: Final = 8
"""Work units of making a shape, for each octet of the skeleton."""

_BLOCK: Final = 4096
"""Rows rearranged at a time, which bounds the memory of the rearranging."""

_STRING, _BITS, _STRUCTURE, _OTHER = -1, -2, -3, -4


def _widths() -> tuple[int, ...]:
    """Octets of a value by its tag, tag included, or what kind its length is of."""
    table = [_OTHER] * 256
    for tag, row in FIXED.items():
        table[tag] = 1 + row.width
    for tag in EMPTY:
        table[tag] = 1
    table[Tag.OCTET_STRING] = table[Tag.VISIBLE_STRING] = table[Tag.UTF8_STRING] = _STRING
    table[Tag.BIT_STRING] = _BITS
    table[Tag.STRUCTURE] = _STRUCTURE
    return tuple(table)


_WIDTHS: Final = _widths()


def skeleton_at(buf: bytes, pos: int, end: int) -> tuple[bytes, int]:
    """Skeleton of the value at `pos` and the position behind it.

    Empty when it has none or is cut: reading value by value tells why.
    """
    skeleton: list[int] = []
    keep = skeleton.append
    widths = _WIDTHS
    left = fields = 1
    try:
        while left:
            left -= 1
            tag = buf[pos]
            width = widths[tag]
            keep(tag)
            if width >= 0:
                pos += width
                continue
            count = buf[pos + 1]
            if width == _OTHER or count >= 0x80:
                return b"", pos
            keep(count)
            pos += 2
            if width == _STRING:
                pos += count
            elif width == _BITS:
                pos += (count + 7) >> 3
            else:
                left += count
                fields += count
                if fields > MAX_FIELDS:
                    return b"", pos
    except IndexError:
        return b"", pos
    return (bytes(skeleton), pos) if pos <= end else (b"", pos)


Values = tuple[Any, ...]
Convert = Callable[[Any], Any]


class _Column(NamedTuple):
    """Take a column of unpacked values, converted where `convert` says so."""

    number: int
    convert: Convert | None


class _Constant(NamedTuple):
    """The same value in every row."""

    value: Any


class _Zip(NamedTuple):
    """Make structures of the last `width` columns."""

    width: int


_Step = _Column | _Constant | _Zip


class Shape:
    """Layout of a value with a given skeleton; or of a *turn*: some values that follow one another.

    `length` in octets, `columns` the (offset, octet) of each octet of the skeleton, `depth` in
    structures, `units` of work, `types` the descriptions of the values. For writing: `writer` is a
    `struct` format that puts zeros in place of the skeleton, but for the columns that `lengths`
    numbers; there it puts the true lengths of strings.
    """

    __slots__ = (
        "_row", "_rows", "_simple", "_steps", "_width",
        "columns", "depth", "length", "lengths", "skeleton", "types", "units", "writer",
    )  # fmt: skip

    def __init__(self, skeleton: bytes) -> None:
        plan = _Plan(skeleton)
        self.skeleton = skeleton
        self.length = plan.offset
        self.columns = tuple(plan.columns)
        self.depth = plan.depth
        self.units = plan.units
        self.types = tuple(plan.types)
        self._steps = tuple(plan.steps)
        self._simple = plan.simple
        self._width = plan.count
        self._row = struct.Struct(">" + plan.code)
        self._rows = struct.Struct(">" + plan.code * max(1, _TOGETHER // (plan.count + 1)))
        self.writer = plan.writer
        self.lengths = frozenset(plan.lengths)

    def fits(self, buf: bytes, pos: int, count: int) -> bool:
        """Whether `count` of this shape are at `pos`; their octets must be there."""
        length = self.length
        stop = pos + length * count
        for offset, octet in self.columns:  # noqa: SIM110 - a generator would cost more than the slices
            if buf[pos + offset : stop : length] != octet * count:
                return False
        return True

    def takes(self, buf: bytes, pos: int, end: int, count: int, budget: Budget) -> bool:
        """Whether `count` of this shape are at `pos`, as far as the budget lets it try."""
        return (
            self.length * count <= end - pos
            and budget.try_for(len(self.columns) * (1 + (count >> 4)))
            and self.fits(buf, pos, count)
        )

    def first_misfit(self, rows: bytes) -> int:
        """How many of `rows`, all of this length, come before the first that has another shape."""
        first = len(rows) // self.length
        for offset, octet in self.columns:
            column = rows[offset : first * self.length : self.length]
            if column != octet * first:
                first -= len(column.lstrip(octet))
        return first

    def read(self, buf: bytes, pos: int, count: int) -> list[Any]:
        """The values of `count` of this shape at `pos`, which have been found to fit."""
        octets = buf[pos : pos + self.length * count]
        if self._simple:
            return list(self._row.iter_unpack(octets))
        if len(self._steps) == 1 and isinstance(self._steps[0], _Constant):
            return [self._steps[0].value] * count
        made: list[Any] = []
        step = _BLOCK * self.length
        for start in range(0, len(octets), step):
            made += self._rearranged(octets[start : start + step])
        return made

    def _rearranged(self, octets: bytes) -> Iterable[Any]:
        """Take the plain values apart into columns, convert those that need it, and make rows of them."""
        values: list[Any] = []
        whole = len(octets) // self._rows.size * self._rows.size
        for unpacked in self._rows.iter_unpack(octets[:whole]):
            values += unpacked
        for unpacked in self._row.iter_unpack(octets[whole:]):
            values += unpacked
        count = len(octets) // self.length
        stack: list[Iterable[Any]] = []
        for step in self._steps:
            if isinstance(step, _Column):
                column = values[step.number :: self._width]
                stack.append(map(step.convert, column) if step.convert else column)
            elif isinstance(step, _Constant):
                stack.append(repeat(step.value, count))
            else:
                stack[-step.width :] = [zip(*stack[-step.width :], strict=True)]
        return stack[0] if len(stack) == 1 else chain.from_iterable(zip(*stack, strict=True))


_shape = lru_cache(maxsize=512)(Shape)


def shape_of(skeleton: bytes, room: int, budget: Budget) -> Shape | None:
    """The shape of a skeleton; a bounded number is kept.

    None when it has more than `room` structures inside each other, or the budget does not allow for
    making it (whether it is kept does not count: work shall depend on the octets alone).
    """
    if not skeleton or not budget.try_for(SHAPE_UNITS * len(skeleton)):
        return None
    shape = _shape(skeleton)
    return shape if shape.depth <= room else None


def shape_to_write(skeleton: bytes) -> Shape:
    """The shape of a skeleton that was made here."""
    return _shape(skeleton)


class _Plan:
    """Reads a skeleton and collects what a `Shape` is made of."""

    def __init__(self, skeleton: bytes) -> None:
        self.offset = self.depth = self.units = 0
        self.columns: list[tuple[int, bytes]] = []
        self.steps: list[_Step] = []
        self.code = self.writer = ""
        self.lengths: list[int] = []
        self.count = 0
        self.types: list[Type] = []
        self._read(skeleton)
        plain = [_Column(index, None) for index in range(self.count)]
        self.simple = self.steps == [*plain, _Zip(self.count)]

    def _read(self, skeleton: bytes) -> None:
        open_: list[tuple[int, list[Type]]] = []
        types, at, left = self.types, 0, 1
        while True:
            while left:
                left -= 1
                tag = Tag(skeleton[at])
                size = 1 if tag in FIXED or tag in EMPTY else 2
                octets = skeleton[at : at + size]
                self._skip(octets)
                at += size
                if tag != Tag.STRUCTURE:
                    self._scalar(tag, octets[-1])
                    types.append(tag)
                    continue
                open_.append((left, types))
                self.depth = max(self.depth, len(open_))
                types, left = [], octets[1]
            if not open_:
                if at == len(skeleton):
                    return
                left = 1  # the next value of a turn
                continue
            structure = Structure(tuple(types))
            self.steps.append(_Zip(len(types)) if types else _Constant(()))
            self.units += STRUCTURE_UNITS
            left, types = open_.pop()
            types.append(structure)

    def _skip(self, octets: bytes) -> None:
        for n in range(len(octets)):
            self.columns.append((self.offset, octets[n : n + 1]))
            self.code += "x"
            self.writer += "x"
            self.offset += 1

    def _scalar(self, tag: Tag, count: int) -> None:
        self.units += 1
        if tag in EMPTY:
            self.steps.append(_Constant(EMPTY[tag]))
            return
        width = (count + 7) >> 3 if tag == Tag.BIT_STRING else count
        code = FIXED[tag].code if tag in FIXED else f"{width}s"
        self.offset += struct.calcsize(">" + code)
        self.code += code
        if tag in FIXED or tag == Tag.BIT_STRING:
            self.writer += code
        else:
            self.writer = f"{self.writer[:-1]}{width + 1}p"
            self.lengths.append(len(self.columns) - 1)
        self.steps.append(_Column(self.count, _conversion(tag, count)))
        self.count += 1


def _bits(count: int, octets: bytes) -> BitString:
    return BitString(octets, count)


def _conversion(tag: Tag, count: int) -> Convert | None:
    """What turns the octets of a string into its value; None where `struct` gives the value."""
    if tag == Tag.VISIBLE_STRING:
        return methodcaller("decode", "latin-1")
    if tag == Tag.UTF8_STRING:
        return methodcaller("decode", "utf-8", "surrogateescape")
    return partial(_bits, count) if tag == Tag.BIT_STRING else None
