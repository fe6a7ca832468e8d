"""Rows of an array: which ways they are read, and that none of them misses a row of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest

from meterseal.codec import data, data_decode, rows_decode
from meterseal.codec.budget import Budget
from meterseal.codec.data import DONT_CARE, BitString, MixedArray, Structure, Tag, Type
from meterseal.codec.octets import length_octets
from meterseal.codec.rows_decode import MAX_TURN, MIN_ROWS, MIN_SORTED, take_rows
from meterseal.codec.rows_sort import FREE_KINDS, MAX_KINDS, ROWS_A_KIND
from meterseal.codec.skeletons import MAX_FIELDS, skeleton_at
from meterseal.errors import Truncated
from tests.codec.typed import CLOCK, PROFILE_ROW, profile

NULL_ROW = Structure((Tag.NULL, *PROFILE_ROW.fields[1:]))
FULL = (CLOCK, 1, 2, 3)
SPARE = (None, 4, 5, 6)


def described(rows: Sequence[Any]) -> MixedArray:
    """The types of profile rows."""
    return MixedArray(tuple(NULL_ROW if row[0] is None else PROFILE_ROW for row in rows))


def taken(rows: Sequence[Any], type_: Type) -> int:
    """How many of `rows` are read by shape; those that are have their right values."""
    octets = data.encode(list(rows), type_)
    start = 1 + len(length_octets(len(rows)))
    budget = Budget(len(octets))
    values, pos = take_rows(octets, start, len(octets), len(rows), 31, budget, data_decode.read_value)
    assert values == list(rows)[: len(values)]
    assert data.decode(octets) == list(rows)
    assert len(values) < len(rows) or pos == len(octets)
    return len(values)


@pytest.mark.parametrize("count", [MIN_ROWS, 96, 127, 200])
def test_rows_of_one_shape_are_all_taken(count: int) -> None:
    assert taken(*profile(count)) == count


@pytest.mark.parametrize(
    "pattern",
    ["FNNN", "FN", "NF", "FFN", "FNFNNN", "FNNNNNNNNNN", "NNNNNNNNNNF", "FNNFNFFFNNNNFNFN"],
)
def test_null_cells_do_not_stop_it(pattern: str) -> None:
    rows = [FULL if letter == "F" else SPARE for letter in pattern * 8][:92]
    assert taken(rows, described(rows)) >= len(rows) - MAX_TURN


def test_one_full_row_and_then_only_sparse_ones() -> None:
    rows = [FULL] * 3 + [SPARE] * 90
    assert taken(rows, described(rows)) == len(rows)


def test_a_turn_needs_no_sorting() -> None:
    rows = [FULL, SPARE, SPARE, SPARE] * 24
    with mock.patch.object(rows_decode, "Sorter", side_effect=AssertionError):
        assert taken(rows, described(rows)) == 96


def test_shapes_that_come_late_are_learned() -> None:
    rows = [FULL] * 30 + [SPARE] * 20 + [(CLOCK[:9], 1, 2, 3)] * 20 + [FULL, SPARE] * 10
    assert taken(rows, described(rows)) == len(rows)


def test_shapes_that_differ_in_several_places() -> None:
    kinds = [
        (PROFILE_ROW, FULL),
        (NULL_ROW, SPARE),
        (Structure((Tag.OCTET_STRING, Tag.NULL, *PROFILE_ROW.fields[2:])), (CLOCK, None, 8, 9)),
        (Structure((Tag.NULL, Tag.NULL, *PROFILE_ROW.fields[2:])), (None, None, 8, 9)),
        (Structure((*PROFILE_ROW.fields, Tag.UNSIGNED)), (*FULL, 7)),
    ]
    chosen = [kinds[(number * number + number // 7) % len(kinds)] for number in range(90)]
    assert taken([row for _, row in chosen], MixedArray(tuple(kind for kind, _ in chosen))) == 90


def test_only_so_many_are_followed_from_the_start() -> None:
    rows = [(b"x" * (number % 40), number, 2, 3) for number in range(120)]
    assert taken(rows, described(rows)) == FREE_KINDS


def test_more_are_followed_the_more_rows_were_read() -> None:
    rows = [(b"x" * (number // ROWS_A_KIND), number, 2, 3) for number in range(40 * ROWS_A_KIND)]
    assert taken(rows, described(rows)) == MAX_KINDS * ROWS_A_KIND
    few = [row for number, row in enumerate(rows) if number % ROWS_A_KIND == 0 or number > 200]
    assert taken(few, described(few)) == FREE_KINDS


def test_few_rows_are_not_sorted() -> None:
    rows = [FULL if number % 5 < 2 else SPARE for number in range(MIN_SORTED)]
    assert taken(rows, described(rows)) == MIN_SORTED
    assert taken(rows[1:], described(rows[1:])) == 0


def test_a_row_without_a_shape_leaves_the_rest() -> None:
    rows: list[Any] = [FULL] * 20 + [(b"x" * 200, 1, 2, 3)] + [FULL] * 20
    assert taken(rows, described(rows)) == 20


def test_every_scalar_has_a_shape() -> None:
    fields = (
        Tag.NULL, Tag.DONT_CARE, Tag.BOOLEAN, Tag.BIT_STRING, Tag.OCTET_STRING, Tag.VISIBLE_STRING,
        Tag.UTF8_STRING, Tag.FLOAT64, Tag.DATE_TIME, Structure((Tag.ENUM, Structure(()), Tag.LONG64)),
    )  # fmt: skip
    row = (None, DONT_CARE, True, BitString.of("1011"), b"", "ä", "€", 1.5, CLOCK, (1, (), -5))
    assert taken([row] * 5000, data.Array(Structure(fields))) == 5000
    assert taken([row, row[::1]] * 50, data.Array(Structure(fields))) == 100


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "02",
        "0201",
        "020111",
        "0903FFFF",
        "0981",
        "090105"[:4],
        "0100",
        "130000",
        "07",
        "0281011101",
        "04",
    ],
)
def test_no_skeleton_for_what_is_cut_or_of_another_kind(octets: str) -> None:
    raw = bytes.fromhex(octets)
    assert skeleton_at(raw + b"\x11\x01\x00" * 9, 0, len(raw)) is None


def test_no_skeleton_for_very_wide_rows() -> None:
    row = b"\x02" + bytes((MAX_FIELDS,)) + bytes(MAX_FIELDS)
    assert skeleton_at(row, 0, len(row)) is None
    nested = b"\x02\x01" * MAX_FIELDS + b"\x00"
    assert skeleton_at(nested, 0, len(nested)) is None


def test_short_cuts_stop_where_the_budget_does() -> None:
    rows = [FULL, SPARE, FULL, FULL, SPARE] * 10
    octets = data.encode(rows, described(rows))
    for octets_granted in range(0, len(octets), 7):
        budget = Budget(octets_granted)
        values, _ = take_rows(octets, 2, len(octets), len(rows), 31, budget, data_decode.read_value)
        assert values == rows[: len(values)]
        assert budget.tried <= octets_granted


def test_sorted_rows_that_end_within_a_row_are_truncated() -> None:
    rows = [FULL if number % 5 < 2 else SPARE for number in range(90)]
    octets = data.encode(rows, described(rows))
    for cut in range(1, 40):
        with pytest.raises(Truncated):
            data.decode(octets[:-cut])
