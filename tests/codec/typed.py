"""Strategies for values of DLMS Data with their types, and the seeds that hostile tests start from."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from meterseal.codec.data import (
    DONT_CARE,
    Array,
    BitString,
    CompactArray,
    MixedArray,
    Structure,
    Tag,
    Type,
    encode,
)
from meterseal.codec.scalars import FIXED
from meterseal.codec.types import CONTAINERS

SCALARS = [tag for tag in Tag if tag not in CONTAINERS]

bit_strings = st.builds(BitString.of, st.text("01", max_size=40))


def _fixed(tag: Tag) -> st.SearchStrategy[Any]:
    row = FIXED[tag]
    if row.python is bool:
        return st.booleans()
    if row.python is float:
        return st.floats(width=32 if row.width == 4 else 64, allow_nan=False)
    if row.python is bytes:
        return st.binary(min_size=row.width, max_size=row.width)
    half = struct.unpack(">" + row.code, b"\x80" + bytes(row.width - 1))[0]
    low, high = (half, -half - 1) if half < 0 else (0, 2 * half - 1)
    return st.one_of(st.sampled_from([low, high]), st.integers(low, high))


def values_of(type_: Type) -> st.SearchStrategy[Any]:
    """Values that fit a type; lists for arrays, tuples for structures."""
    if isinstance(type_, Structure):
        return st.tuples(*map(values_of, type_.fields))
    if isinstance(type_, MixedArray):
        return st.tuples(*map(values_of, type_.elements)).map(list)
    if isinstance(type_, Array):
        count = type_.count
        least, most = (1, 12) if count is None else (count, count)
        return st.lists(values_of(type_.element), min_size=least, max_size=most)
    if isinstance(type_, CompactArray):
        return st.lists(values_of(type_.element), max_size=12)
    return _OTHERS[type_] if type_ in _OTHERS else _fixed(type_)


_OTHERS: dict[Tag, st.SearchStrategy[Any]] = {
    Tag.NULL: st.none(),
    Tag.DONT_CARE: st.just(DONT_CARE),
    Tag.OCTET_STRING: st.binary(max_size=140),
    Tag.VISIBLE_STRING: st.binary(max_size=20).map(lambda octets: octets.decode("latin-1")),
    Tag.UTF8_STRING: st.binary(max_size=20).map(lambda octets: octets.decode("utf-8", "surrogateescape")),
    Tag.BIT_STRING: bit_strings,
}


scalars = st.sampled_from(SCALARS)
plain_types: st.SearchStrategy[Type] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda fields: Structure(tuple(fields))),
        inner.map(Array),
        st.lists(inner, min_size=2, max_size=4)
        .filter(lambda elements: len(set(elements)) > 1)
        .map(lambda elements: MixedArray(tuple(elements))),
    ),
    max_leaves=8,
)
compact_elements: st.SearchStrategy[Type] = st.recursive(
    scalars.filter(lambda tag: tag not in (Tag.NULL, Tag.DONT_CARE)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=4).map(lambda fields: Structure(tuple(fields))),
        st.builds(Array, inner, st.integers(2, 3)),
    ),
    max_leaves=4,
)
types = st.one_of(plain_types, compact_elements.map(CompactArray))


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Any, Type]:
    """A value and a type that it fits."""
    type_ = draw(types)
    return draw(values_of(type_)), type_


@st.composite
def row_arrays(
    draw: st.DrawFn, tags: Sequence[Tag] = SCALARS, least_fields: int = 0
) -> tuple[list[Any], MixedArray]:
    """Rows of up to four types in a regular turn or in any order, as profiles with null cells have them."""
    scalar = st.sampled_from(tags)
    fields = st.lists(scalar, min_size=least_fields, max_size=5).map(tuple)
    kinds = draw(st.lists(st.one_of(scalar, fields), min_size=1, max_size=4))
    shapes = [Structure(kind) if isinstance(kind, tuple) else kind for kind in kinds]
    count = draw(st.integers(1, 40))
    if draw(st.booleans()):
        chosen = [shapes[number % len(shapes)] for number in range(count)]
    else:
        chosen = draw(st.lists(st.sampled_from(shapes), min_size=count, max_size=count))
    pools = {shape: draw(st.lists(values_of(shape), min_size=1, max_size=2)) for shape in shapes}
    rows = [pools[shape][number % len(pools[shape])] for number, shape in enumerate(chosen)]
    return rows, MixedArray(tuple(chosen))


CLOCK = bytes.fromhex("07E801010100000000800000")
PROFILE_ROW = Structure((Tag.OCTET_STRING, *(Tag.DOUBLE_LONG_UNSIGNED,) * 3))


def profile(rows: int = 96) -> tuple[list[Any], Type]:
    """A load profile whose rows have one shape."""
    return [(CLOCK, number, 2 * number, 3_000_000_000 + number) for number in range(rows)], Array(PROFILE_ROW)


def seeds() -> list[bytes]:
    """Encodings that between them use every tag and every way of reading rows."""
    rows, row_type = profile(20)
    null_row = Structure((Tag.NULL, *PROFILE_ROW.fields[1:]))
    sparse = [row if number % 4 == 0 else (None, *row[1:]) for number, row in enumerate(rows)]
    irregular = [row if number in (0, 3, 4, 11) else (None, *row[1:]) for number, row in enumerate(rows)]
    fixed = {tag: struct.unpack(">" + row.code, bytes(range(row.width)))[0] for tag, row in FIXED.items()}
    strings = {
        Tag.NULL: None,
        Tag.DONT_CARE: DONT_CARE,
        Tag.OCTET_STRING: b"\x01\x02",
        Tag.VISIBLE_STRING: "Zähler",
        Tag.UTF8_STRING: "Zähler €",
        Tag.BIT_STRING: BitString.of("10110"),
    }
    scalar = fixed | strings
    compact = CompactArray(Structure((Tag.DATE_TIME, Tag.DOUBLE_LONG_UNSIGNED, Array(Tag.LONG, 2))))
    strung = CompactArray(Structure((Tag.OCTET_STRING, Tag.UNSIGNED, Tag.BIT_STRING)))
    listed = [
        (rows, row_type),
        (sparse, MixedArray(tuple(PROFILE_ROW if row[0] else null_row for row in sparse))),
        (irregular, MixedArray(tuple(PROFILE_ROW if row[0] else null_row for row in irregular))),
        (tuple(scalar.values()), Structure(tuple(scalar))),
        ([tuple(scalar.values())] * 9, Array(Structure(tuple(scalar)))),
        (list(range(12)), Array(Tag.LONG_UNSIGNED)),
        ([None] * 12, Array(Tag.NULL)),
        ([[1, 2], [], [3]], MixedArray((Array(Tag.UNSIGNED), MixedArray(()), Array(Tag.UNSIGNED)))),
        ([(CLOCK, 7, [-1, 2])] * 5, compact),
        ([(b"ab", 1, BitString.of("1")), (b"", 2, BitString.of(""))], strung),
        ((1, (b"\x00\x00\x01\x00\x00\xff", (2, [(3, "x")]))), nested()),
    ]
    return [encode(value, type_) for value, type_ in listed]


def nested() -> Type:
    """A structure of structures, as access rights and capture objects nest."""
    leaf = Array(Structure((Tag.ENUM, Tag.VISIBLE_STRING)))
    return Structure((Tag.UNSIGNED, Structure((Tag.OCTET_STRING, Structure((Tag.INTEGER, leaf))))))
