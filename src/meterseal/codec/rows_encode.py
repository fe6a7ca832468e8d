"""Writing the rows of an array at once: many values of one type whose strings have equal lengths."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

from meterseal.codec.rows import MAX_FIELDS, shape_to_write
from meterseal.codec.scalars import EMPTY, FIXED
from meterseal.codec.types import CONTAINERS, BitString, Structure, Tag, Type

MIN_ROWS: Final = 4
"""Arrays of fewer elements are written one by one."""

_TOGETHER: Final = 32
"""Rows that one `struct` call packs."""

_LONG: Final = 0x80
"""Counts and lengths from here on take more than one octet: such rows are written one by one."""

_TEXT: Final = {Tag.VISIBLE_STRING: ("latin-1", "strict"), Tag.UTF8_STRING: ("utf-8", "surrogateescape")}


class _NotAlike(Exception):
    """Rows that one shape does not cover."""


class _Part(NamedTuple):
    """A scalar of the element type, or a structure of `width` parts, which follow."""

    tag: Tag
    width: int


class _Flat(NamedTuple):
    """A structure whose fields `struct` packs as they are.

    `skeleton` has zeros for lengths; `strings` are (field, place of its length), `checked` (field, tag).
    """

    width: int
    skeleton: bytes
    strings: tuple[tuple[int, int], ...]
    checked: tuple[tuple[int, Tag], ...]


def pack_rows(rows: Sequence[Any], type_: Type) -> bytes | None:
    """Octets of `rows`, tags included, each as `type_`; None when they are not all alike.

    None as well for a value that does not fit: writing one by one names it.
    """
    plan = _plan(type_) if len(rows) >= MIN_ROWS else None
    if plan is None:
        return None
    try:
        values, skeleton = _flat_values(plan, rows) if isinstance(plan, _Flat) else _nested_values(plan, rows)
        return _writer(skeleton).write(values, len(rows))
    except (_NotAlike, TypeError, ValueError, OverflowError, struct.error):
        return None


@lru_cache(maxsize=256)
def _plan(type_: Type) -> _Flat | tuple[_Part, ...] | None:
    """How to take rows of a type apart; None for types of other than structures and scalars."""
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
    return _flat_plan(parts) or tuple(parts)


def _flat_plan(parts: list[_Part]) -> _Flat | None:
    fields = [part.tag for part in parts[1:]]
    if not fields or not set(fields) <= {*_BY_STRUCT, *_CHECKED, Tag.OCTET_STRING}:
        return None
    skeleton = bytearray(parts[0])
    strings: list[tuple[int, int]] = []
    for index, tag in enumerate(fields):
        skeleton.append(tag)
        if tag == Tag.OCTET_STRING:
            strings.append((index, len(skeleton)))
            skeleton.append(0)
    checked = tuple((index, tag) for index, tag in enumerate(fields) if tag in _CHECKED)
    return _Flat(len(fields), bytes(skeleton), tuple(strings), checked)


class _Writer:
    """Writes rows of one skeleton."""

    def __init__(self, skeleton: bytes) -> None:
        shape = shape_to_write(skeleton)
        self._skeleton = skeleton
        self._length = shape.length
        self._tags = tuple(column for n, column in enumerate(shape.columns) if n not in shape.lengths)
        self._lengths = tuple(shape.columns[n] for n in shape.lengths)
        self._row = struct.Struct(">" + shape.writer)
        self._rows = struct.Struct(">" + shape.writer * _TOGETHER)

    def write(self, values: list[Any], count: int) -> bytes:
        """Write `count` rows of `values`, which follow one another; strings as octets.

        Raises TypeError, OverflowError or struct.error for what does not fit, a string shorter than
        the skeleton says included; of one that is longer only the front would be written.
        """
        length = self._length
        if not values:
            return self._skeleton * count
        width = len(values) // count
        step = width * _TOGETHER
        whole = count // _TOGETHER * step
        chunks = [self._rows.pack(*values[at : at + step]) for at in range(0, whole, step)]
        chunks += [self._row.pack(*values[at : at + width]) for at in range(whole, len(values), width)]
        octets = bytearray().join(chunks)
        for offset, octet in self._lengths:
            if octets[offset::length] != octet * count:
                raise _NotAlike
        for offset, octet in self._tags:
            octets[offset::length] = octet * count
        return bytes(octets)


_writer = lru_cache(maxsize=128)(_Writer)


def _flat_values(plan: _Flat, rows: Sequence[Any]) -> tuple[list[Any], bytes]:
    """Fields of all rows one after the other, and the skeleton of a row."""
    width = plan.width
    if set(map(len, rows)) != {width} or not all(
        issubclass(kind, (list, tuple)) for kind in set(map(type, rows))
    ):
        raise _NotAlike
    values: list[Any] = []
    for row in rows:  # faster than chain for rows that are short
        values += row
    skeleton = bytearray(plan.skeleton)
    for index, place in plan.strings:
        skeleton[place] = _strings(Tag.OCTET_STRING, values[index::width])[1]
    for index, tag in plan.checked:
        _check(tag, values[index::width])
    return values, bytes(skeleton)


def _nested_values(parts: tuple[_Part, ...], rows: Sequence[Any]) -> tuple[list[Any], bytes]:
    """Values of all rows one after the other, as `struct` packs them, and the skeleton of a row."""
    columns: list[Sequence[Any]] = []
    skeleton = bytearray()
    todo: list[Sequence[Any]] = [rows]
    for tag, width in parts:
        column = todo.pop()
        skeleton.append(tag)
        if tag == Tag.STRUCTURE:
            if not all(isinstance(row, (list, tuple)) and len(row) == width for row in column):
                raise _NotAlike
            skeleton.append(width)
            todo += reversed(list(zip(*column, strict=True)))
        elif tag in EMPTY:
            if any(value is not EMPTY[tag] for value in column):
                raise _NotAlike
        elif tag in FIXED:
            if tag not in _BY_STRUCT:
                _check(tag, column)
            columns.append(column)
        else:
            octets, length = _strings(tag, column)
            skeleton.append(length)
            columns.append(octets)
    return list(chain.from_iterable(zip(*columns, strict=True))), bytes(skeleton)


_BY_STRUCT: Final = {tag for tag, row in FIXED.items() if row.python in (int, float)}
"""Scalars whose kind and range `struct` checks itself."""

_CHECKED: Final = FIXED.keys() - _BY_STRUCT
"""Booleans and dates: `struct` would take any kind of the former and any length of the latter."""


def _check(tag: Tag, column: Sequence[Any]) -> None:
    kind = FIXED[tag].python
    fits = set(map(type, column)) == {bool} if kind is bool else set(map(len, column)) == {FIXED[tag].width}
    if not fits:
        raise _NotAlike


def _strings(tag: Tag, column: Sequence[Any]) -> tuple[Sequence[Any], int]:
    """Octets of strings, and the length that each of them has.

    The writer refuses octets that are shorter than that, so here their sum is enough.
    """
    if tag == Tag.BIT_STRING:
        if set(map(type, column)) != {BitString} or len(set(map(len, column))) != 1:
            raise _NotAlike
        return [value.octets for value in column], len(column[0])
    if tag in _TEXT:
        encoding, errors = _TEXT[tag]
        column = list(map(str.encode, column, repeat(encoding), repeat(errors)))
    length = len(column[0])
    if length >= _LONG or len(b"".join(column)) != length * len(column):
        raise _NotAlike
    return column, length
