"""Shapes: how values of one skeleton are unpacked by `struct`, many at a time, and put together."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from itertools import chain, repeat
from operator import methodcaller
from typing import Any, Final, NamedTuple

from meterseal.codec.scalars import EMPTY, FIXED
from meterseal.codec.types import TAGS, BitString, Structure, Tag, Type

_TOGETHER: Final = 128
"""Values that one `struct` call unpacks, about, where rows are rearranged."""

_BLOCK: Final = 4096
"""Rows rearranged at a time, which bounds the memory of the rearranging."""

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
    """Reads values of a skeleton, or turns of values, that have been found to fit.

    `types` describes the values; `length` is that of a value or turn in octets.
    """

    __slots__ = ("_code", "_row", "_rows", "_simple", "_steps", "_width", "length", "types")

    def __init__(self, skeleton: bytes) -> None:
        plan = _Plan(skeleton)
        self.types = tuple(plan.types)
        self._steps = tuple(plan.steps)
        self._simple = plan.simple
        self._width = plan.count
        self._code = plan.code
        self._row = struct.Struct(">" + plan.code)
        self._rows: struct.Struct | None = None
        self.length = self._row.size

    def read(self, buf: bytes, pos: int, count: int) -> list[Any]:
        """The values of `count` of this shape at `pos`."""
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
        if self._rows is None:
            self._rows = struct.Struct(">" + self._code * max(1, _TOGETHER // (self._width + 1)))
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


class _Plan:
    """Reads the octets of a skeleton and collects what a `Shape` is made of."""

    def __init__(self, skeleton: bytes) -> None:
        self.types: list[Type] = []
        self.steps: list[_Step] = []
        self.code = ""
        self.count = 0
        self._read(skeleton)
        plain = [_Column(number, None) for number in range(self.count)]
        self.simple = self.steps == [*plain, _Zip(self.count)]

    def _read(self, skeleton: bytes) -> None:
        open_: list[tuple[int, list[Type]]] = []
        types, at, left = self.types, 0, 1
        while True:
            while left:
                left -= 1
                tag = TAGS[skeleton[at]]
                at += 1
                self.code += "x"
                if tag is Tag.STRUCTURE:
                    self.code += "x"
                    open_.append((left, types))
                    types, left = [], skeleton[at]
                    at += 1
                    continue
                types.append(tag)
                if tag in EMPTY:
                    self.steps.append(_Constant(EMPTY[tag]))
                elif tag in FIXED:
                    self._take(FIXED[tag].code, None)
                else:
                    self._string(tag, skeleton[at])
                    at += 1
            if not open_:
                if at == len(skeleton):
                    return
                left = 1  # the next value of a turn
                continue
            self.steps.append(_Zip(len(types)) if types else _Constant(()))
            structure = Structure(tuple(types))
            left, types = open_.pop()
            types.append(structure)

    def _string(self, tag: Tag, count: int) -> None:
        self.code += "x"
        if tag is Tag.BIT_STRING:
            self._take(f"{(count + 7) >> 3}s", partial(_bits, count))
        else:
            self._take(f"{count}s", _TEXT.get(tag))

    def _take(self, code: str, convert: Convert | None) -> None:
        self.code += code
        self.steps.append(_Column(self.count, convert))
        self.count += 1


_TEXT: Final[dict[Tag, Convert]] = {
    Tag.VISIBLE_STRING: methodcaller("decode", "latin-1"),
    Tag.UTF8_STRING: methodcaller("decode", "utf-8", "surrogateescape"),
}


def _bits(count: int, octets: bytes) -> BitString:
    return BitString(octets, count)


shape_of = lru_cache(maxsize=512)(Shape)
"""The shape of a skeleton's octets; a bounded number is kept."""
