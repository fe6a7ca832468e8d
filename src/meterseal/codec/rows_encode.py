"""Writing the rows of an array at once: many values of one type whose strings have equal lengths."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

from meterseal.codec.scalars import EMPTY, FIXED
from meterseal.codec.types import CONTAINERS, BitString, Structure, Tag, Type

MIN_ROWS: Final = 4
"""Arrays of fewer elements are written one by one."""

MAX_FIELDS: Final = 80
"""Most values inside each other and side by side in one row."""

_TOGETHER: Final = 32
"""Rows that one `struct` call packs."""

_WRITERS: Final = 16
"""Sets of string lengths for which a type keeps a writer."""

_LONG: Final = 0x80
"""Counts and lengths from here on take more than one octet: such rows are written one by one."""

_TEXT: Final = {Tag.VISIBLE_STRING: ("latin-1", "strict"), Tag.UTF8_STRING: ("utf-8", "surrogateescape")}

_BY_STRUCT: Final = {tag for tag, row in FIXED.items() if row.python in (int, float)}
"""Scalars whose kind and range `struct` checks itself."""

_CHECKED: Final = FIXED.keys() - _BY_STRUCT
"""Booleans and dates: `struct` would take any kind of the former and any length of the latter."""


class _NotAlike(Exception):
    """Rows that cannot be written at once."""


class _Part(NamedTuple):
    """A scalar of the element type, or a structure of `width` parts, which follow."""

    tag: Tag
    width: int


def pack_rows(rows: Sequence[Any], type_: Type) -> bytes | None:
    """Octets of `rows`, tags included, each as `type_`; None when they are not all alike.

    None as well for a value that does not fit: writing one by one names it.
    """
    plan = _plan(type_) if len(rows) >= MIN_ROWS else None
    if plan is None:
        return None
    try:
        values, lengths = plan.flat_values(rows) if plan.flat else plan.nested_values(rows)
        return plan.writer(lengths).write(values, len(rows))
    except (_NotAlike, TypeError, ValueError, OverflowError, struct.error):
        return None


class _Plan:
    """How to take rows of a type apart: values one after the other, as `struct` packs them.

    `flat` when the type is one structure whose fields `struct` takes as they are.
    """

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts
        fields = [part.tag for part in parts[1:]]
        self.flat = bool(fields) and set(fields) <= {*_BY_STRUCT, *_CHECKED, Tag.OCTET_STRING}
        self._width = parts[0].width
        self._strings = [index for index, tag in enumerate(fields) if tag is Tag.OCTET_STRING]
        self._checked = [(index, tag) for index, tag in enumerate(fields) if tag in _CHECKED]
        self._writers: dict[tuple[int, ...], _Writer] = {}

    def writer(self, lengths: tuple[int, ...]) -> _Writer:
        """What writes rows whose strings have `lengths`."""
        writer = self._writers.get(lengths)
        if writer is None:
            if len(self._writers) >= _WRITERS:
                self._writers.clear()
            writer = self._writers[lengths] = _Writer(self._parts, lengths)
        return writer

    def flat_values(self, rows: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
        """The values of rows of a flat type, and the lengths of their strings."""
        width = self._width
        if set(map(len, rows)) != {width}:
            raise _NotAlike
        if not all(issubclass(kind, (list, tuple)) for kind in set(map(type, rows))):
            raise _NotAlike
        values: list[Any] = []
        for row in rows:  # faster than chain for rows that are short
            values += row
        for index, tag in self._checked:
            _check(tag, values[index::width])
        return values, tuple([_length(values[index::width]) for index in self._strings])

    def nested_values(self, rows: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
        """The same for structures inside each other and values that need conversion."""
        columns: list[Sequence[Any]] = []
        lengths: list[int] = []
        todo: list[Sequence[Any]] = [rows]
        for tag, width in self._parts:
            column = todo.pop()
            if tag is Tag.STRUCTURE:
                if not all(isinstance(row, (list, tuple)) and len(row) == width for row in column):
                    raise _NotAlike
                todo += reversed(list(zip(*column, strict=True)))
            elif tag in EMPTY:
                if any(value is not EMPTY[tag] for value in column):
                    raise _NotAlike
            elif tag in FIXED:
                if tag in _CHECKED:
                    _check(tag, column)
                columns.append(column)
            else:
                octets, length = _strings(tag, column)
                columns.append(octets)
                lengths.append(length)
        return list(chain.from_iterable(zip(*columns, strict=True))), tuple(lengths)


@lru_cache(maxsize=256)
def _plan(type_: Type) -> _Plan | None:
    """The plan for a type of structures and scalars; None for any other."""
    parts: list[_Part] = []
    todo = [type_]
    while todo:
        kind = todo.pop()
        if isinstance(kind, Structure) and len(kind.fields) < _LONG:
            parts.append(_Part(Tag.STRUCTURE, len(kind.fields)))
            todo += reversed(kind.fields)
        elif isinstance(kind, Tag) and kind not in CONTAINERS:
            parts.append(_Part(kind, 0))
        else:
            return None
        if len(parts) > MAX_FIELDS:
            return None
    return _Plan(parts)


class _Writer:
    """Writes rows of one type with strings of given lengths.

    `struct` puts zeros in place of tags and counts, and those are set in all rows at once. Strings of
    octets are written with their counts (p), so that each has its true length in its row.
    """

    def __init__(self, parts: Sequence[_Part], lengths: Sequence[int]) -> None:
        code = ""
        tags: list[tuple[int, bytes]] = []
        counts: list[tuple[int, bytes]] = []
        offset = 0
        strings = iter(lengths)
        for tag, width in parts:
            tags.append((offset, bytes((tag,))))
            piece = "x"
            if tag is Tag.STRUCTURE:
                tags.append((offset + 1, bytes((width,))))
                piece = "xx"
            elif tag in FIXED:
                piece = "x" + FIXED[tag].code
            elif tag is Tag.BIT_STRING:
                count = next(strings)
                tags.append((offset + 1, bytes((count,))))
                piece = f"xx{(count + 7) >> 3}s"
            elif tag not in EMPTY:
                count = next(strings)
                counts.append((offset + 1, bytes((count,))))
                piece = f"x{count + 1}p"
            code += piece
            offset += struct.calcsize(">" + piece)
        self._tags = tags
        self._counts = counts
        self._length = offset
        self._row = struct.Struct(">" + code)
        self._rows = struct.Struct(">" + code * _TOGETHER)

    def write(self, values: list[Any], count: int) -> bytes:
        """Write `count` rows of `values`, which follow one another.

        Raises TypeError, OverflowError or struct.error for what does not fit and _NotAlike for a
        string shorter than said; of one that is longer only the front would be written.
        """
        length = self._length
        width = len(values) // count
        if width:
            step = width * _TOGETHER
            whole = count // _TOGETHER * step
            chunks = [self._rows.pack(*values[at : at + step]) for at in range(0, whole, step)]
            chunks += [self._row.pack(*values[at : at + width]) for at in range(whole, len(values), width)]
            octets = bytearray().join(chunks)
        else:
            octets = bytearray(length * count)
        for offset, octet in self._counts:
            if octets[offset::length] != octet * count:
                raise _NotAlike
        for offset, octet in self._tags:
            octets[offset::length] = octet * count
        return bytes(octets)


def _check(tag: Tag, column: Sequence[Any]) -> None:
    kind = FIXED[tag].python
    fits = set(map(type, column)) == {bool} if kind is bool else set(map(len, column)) == {FIXED[tag].width}
    if not fits:
        raise _NotAlike


def _strings(tag: Tag, column: Sequence[Any]) -> tuple[Sequence[Any], int]:
    """Octets of strings, and the length that each of them has, in bits for bit-strings."""
    if tag is Tag.BIT_STRING:
        counts = set(map(len, column))
        count = counts.pop()
        if counts or count >= _LONG or set(map(type, column)) != {BitString}:
            raise _NotAlike
        return [value.octets for value in column], count
    if tag in _TEXT:
        encoding, errors = _TEXT[tag]
        column = list(map(str.encode, column, repeat(encoding), repeat(errors)))
    return column, _length(column)


def _length(column: Sequence[Any]) -> int:
    """The length of the first string, when all together have the octets of as many such.

    The writer refuses any that is shorter, so then none is longer.
    """
    length = len(column[0])
    if length >= _LONG or len(b"".join(column)) != length * len(column):
        raise _NotAlike
    return length
