"""Encoding Data: errors name the element, and many rows are written as one by one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given

from meterseal.codec import data, data_encode
from meterseal.codec.data import DONT_CARE, Array, BitString, CompactArray, MixedArray, Structure, Tag
from meterseal.codec.rows_encode import pack_rows
from meterseal.errors import Misuse
from tests.codec.typed import CLOCK, row_arrays

TRIPLE = Structure((Tag.UNSIGNED,) * 3)


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        (300, Tag.UNSIGNED, "300 does not fit unsigned"),
        (-1, Tag.LONG64_UNSIGNED, "-1 does not fit long64-unsigned"),
        pytest.param(1 << 20_000, Tag.LONG64, "an integer of 20001 bits does not fit long64", id="huge"),
        ("5", Tag.LONG, "a str is no long"),
        (5.0, Tag.LONG, "5.0 is no long"),
        (None, Tag.ENUM, "None is no enum"),
        (1, Tag.BOOLEAN, "1 is no boolean"),
        ("1.5", Tag.FLOAT64, "a str is no float64"),
        (1e300, Tag.FLOAT32, "1e+300 does not fit float32"),
        (0, Tag.NULL, "0 is no null-data"),
        (None, Tag.DONT_CARE, "None is no dont-care"),
        ("00", Tag.OCTET_STRING, "a str is no octet-string"),
        (b"x", Tag.VISIBLE_STRING, "a bytes is no visible-string"),
        ("€", Tag.VISIBLE_STRING, "character 0 does not fit visible-string"),
        ("\ud800", Tag.UTF8_STRING, "character 0 does not fit utf8-string"),
        ("101", Tag.BIT_STRING, "a str is no bit-string"),
        (CLOCK[:11], Tag.DATE_TIME, "11 octets do not fit date-time, which has 12"),
        ("x" * 12, Tag.DATE_TIME, "a str is no date-time"),
        ([], Tag.ARRAY, "array needs a type for what is inside"),
        (1, Array(Tag.UNSIGNED), "1 is no array"),
        ({1: 2}, Structure((Tag.UNSIGNED,)), "a dict is no structure"),
        ([1, 2], TRIPLE, "2 elements, the structure has 3"),
        ([1], MixedArray((Tag.UNSIGNED, Tag.UNSIGNED)), "1 elements, the array has 2"),
        ([1], Array(Tag.UNSIGNED, 2), "1 elements, the array has 2"),
        ([(1, 2, 300)], Array(TRIPLE), "[0].2: 300 does not fit unsigned"),
        ([(1, 2, 3)] * 20 + [(1, 300, 3)], Array(TRIPLE), "[20].1: 300 does not fit unsigned"),
        ([(1, 2, 3)] * 20 + [(1, 2)], Array(TRIPLE), "[20]: 2 elements, the structure has 3"),
        (
            [(1, 2, 3)] * 20 + [OrderedDict({1: 1, 2: 2, 3: 3})],
            Array(TRIPLE),
            "[20]: an OrderedDict is no structure",
        ),
        ([1] * 20 + [None], Array(Tag.UNSIGNED), "[20]: None is no unsigned"),
        (
            [CLOCK] * 20 + [CLOCK + b"x"],
            Array(Tag.DATE_TIME),
            "[20]: 13 octets do not fit date-time, which has 12",
        ),
        ([True] * 20 + [1], Array(Tag.BOOLEAN), "[20]: 1 is no boolean"),
        ([None] * 20 + [False], Array(Tag.NULL), "[20]: False is no null-data"),
        (
            (0, [(0, "x")]),
            Structure((Tag.UNSIGNED, Array(Structure((Tag.UNSIGNED, Tag.LONG))))),
            "[1].0.1: a str is no long",
        ),
        (
            [[1]],
            CompactArray(Array(Tag.UNSIGNED)),
            "[0]: an array inside a compact-array needs a fixed count",
        ),
        ([], CompactArray(Array(Tag.UNSIGNED)), "an array inside a compact-array needs a fixed count"),
        ([[1]], CompactArray(CompactArray(Tag.UNSIGNED)), "[0]: a compact-array inside a compact-array"),
        ([], CompactArray(CompactArray(Tag.UNSIGNED)), "an array inside a compact-array needs a fixed count"),
        ([None, None], CompactArray(Tag.NULL), "elements of a compact-array need octets"),
        ([300], CompactArray(Tag.UNSIGNED), "[0]: 300 does not fit unsigned"),
        (
            [[0] * 65536],
            CompactArray(Array(Tag.UNSIGNED, 65536)),
            "an array inside a compact-array needs a fixed count",
        ),
    ],
)
def test_errors_name_the_element(value: Any, type_: data.Type, text: str) -> None:
    with pytest.raises(Misuse) as caught:
        data.encode(value, type_)
    assert str(caught.value) == text


@pytest.mark.parametrize("row", ["ab", b"ab", {1: 1, 2: 2}, range(2), 7])
def test_rows_are_lists_or_tuples(row: Any) -> None:
    with pytest.raises(Misuse, match=r"^\[0\]: .* is no structure$"):
        data.encode([row] * 20, Array(Structure((Tag.UNSIGNED,) * 2)))


def test_many_string_lengths_of_one_type() -> None:
    type_ = Array(Structure((Tag.OCTET_STRING, Tag.VISIBLE_STRING)))
    for length in [*range(40), *range(40)]:
        rows = [(bytes(length), "x" * (40 - length))] * 6
        assert data.decode(data.encode(rows, type_)) == rows


def test_depth_is_bounded() -> None:
    value: Any = 1
    type_: data.Type = Tag.UNSIGNED
    for _ in range(data.MAX_DEPTH):
        value, type_ = [value], Array(type_)
    assert data.encode(value, type_)
    with pytest.raises(Misuse, match="nests deeper than 32"):
        data.encode([value], Array(type_))


def test_kinds_that_count_as_the_python_type() -> None:
    class Lists(list[Any]):
        pass

    class Whole(int):
        pass

    rows = [Lists((bytearray(b"abc"), Whole(number))) for number in range(20)]
    plain = [(b"abc", number) for number in range(20)]
    type_ = Array(Structure((Tag.OCTET_STRING, Tag.LONG)))
    assert data.encode(rows, type_) == data.encode(plain, type_)
    assert data.encode(memoryview(b"abc"), Tag.OCTET_STRING) == b"\x09\x03abc"
    assert data.encode(True, Tag.UNSIGNED) == b"\x11\x01"
    assert data.encode([True] * 9, Array(Tag.UNSIGNED)) == b"\x01\x09" + b"\x11\x01" * 9
    assert data.encode(2, Tag.FLOAT64) == bytes.fromhex("184000000000000000")


@given(row_arrays())
def test_rows_are_written_as_one_by_one(rows_and_types: tuple[list[Any], MixedArray]) -> None:
    rows, mixed = rows_and_types
    one_by_one = data.encode(rows, mixed)
    kinds = set(mixed.elements)
    if len(kinds) == 1:
        assert data.encode(rows, Array(kinds.pop())) == one_by_one


@pytest.mark.parametrize(
    ("rows", "element"),
    [
        ([(b"ab", 1)] * 40, Structure((Tag.OCTET_STRING, Tag.LONG))),
        ([(None, DONT_CARE)] * 40, Structure((Tag.NULL, Tag.DONT_CARE))),
        ([()] * 40, Structure(())),
        (
            [(1, (2, "ä", (True, BitString.of("101"))))] * 40,
            Structure(
                (Tag.BCD, Structure((Tag.ENUM, Tag.UTF8_STRING, Structure((Tag.BOOLEAN, Tag.BIT_STRING)))))
            ),
        ),
        ([(CLOCK, 1.5, False)] * 40, Structure((Tag.DATE_TIME, Tag.FLOAT32, Tag.BOOLEAN))),
        ([7] * 40, Tag.LONG64),
    ],
)
def test_many_alike_are_packed(rows: list[Any], element: data.Type) -> None:
    packed = pack_rows(rows, element)
    assert packed == b"".join(data.encode(row, element) for row in rows)
    assert data.encode(rows, Array(element)) == b"\x01\x28" + packed


@pytest.mark.parametrize(
    ("rows", "element"),
    [
        ([(b"ab",), (b"a",), (b"abc",), (b"ab",)], Structure((Tag.OCTET_STRING,))),
        ([(b"ab",), (b"abc",), (b"abc",), (b"ab",)], Structure((Tag.OCTET_STRING,))),
        ([(BitString.of("1"),), (BitString.of("11"),)] * 4, Structure((Tag.BIT_STRING,))),
        ([(b"a" * 128,)] * 8, Structure((Tag.OCTET_STRING,))),
        ([tuple(range(100))] * 8, Structure((Tag.UNSIGNED,) * 100)),
        ([tuple(range(200))] * 8, Structure((Tag.UNSIGNED,) * 200)),
        ([[1]] * 8, Array(Tag.UNSIGNED)),
        ([1] * 3, Tag.UNSIGNED),
    ],
)
def test_what_is_not_alike_is_left_to_the_other_way(rows: list[Any], element: data.Type) -> None:
    assert pack_rows(rows, element) is None
    encoded = data.encode(rows, Array(element))
    assert encoded == data_encode.write_value(list(rows), MixedArray((element,) * len(rows)))
    assert list(map(type(rows[0]), data.decode(encoded))) == rows


@pytest.mark.parametrize("wrong", [((1,), 3), (7, 3), ((1, 2, 3), 3)])
def test_a_row_unlike_the_others_inside_is_named(wrong: Any) -> None:
    """Structures inside rows are written column by column as long as they are alike."""
    pair = Structure((Structure((Tag.UNSIGNED, Tag.UNSIGNED)), Tag.UNSIGNED))
    with pytest.raises(Misuse, match=r"^\[20\]\.0: "):
        data.encode([((1, 2), 3)] * 20 + [wrong], Array(pair))
