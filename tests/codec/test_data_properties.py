"""Data, by property: round trips, many rows read as one by one, nothing but typed errors."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data, data_decode, data_types
from meterseal.codec.budget import READING_UNITS, TRYING_UNITS
from meterseal.codec.data import Array, Budget, MixedArray, Structure, Tag
from meterseal.errors import DecodeError
from tests.codec.typed import row_arrays, typed_values


def none_taken(buf: bytes, pos: int, *_: object) -> tuple[list[Any], int]:
    """Stands in for the short cut through rows: it takes none."""
    return [], pos


def one_by_one(octets: bytes) -> tuple[Any, data.Type]:
    """Value and type read without any short cut."""
    with (
        mock.patch.object(data_decode, "take_rows", none_taken),
        mock.patch.object(data_types, "same_type", lambda *_: None),
    ):
        return data.decode_typed(octets)


@given(typed_values())
def test_what_was_encoded_is_what_is_decoded(value_and_type: tuple[Any, data.Type]) -> None:
    value, type_ = value_and_type
    octets = data.encode(value, type_)
    assert data.decode(octets) == value
    assert data.encode(value, data.describe(octets)) == octets
    assert data.skip_at(octets, 0, len(octets)) == len(octets)


@given(row_arrays())
def test_rows_are_read_as_one_by_one(rows_and_types: tuple[list[Any], MixedArray]) -> None:
    rows, types = rows_and_types
    octets = data.encode(rows, types)
    assert repr(data.decode(octets)) == repr(rows)
    assert data.describe(octets) == (Array(types.elements[0]) if len(set(types.elements)) == 1 else types)
    assert repr(one_by_one(octets)) == repr(data.decode_typed(octets))


@given(row_arrays(), st.integers(0), st.integers(0, 255))
def test_one_octet_changed_among_rows(
    rows_and_types: tuple[list[Any], MixedArray], place: int, octet: int
) -> None:
    octets = bytearray(data.encode(*rows_and_types))
    octets[place % len(octets)] = octet
    try:
        expected: Any = repr(one_by_one(bytes(octets)))
    except DecodeError:
        expected = DecodeError
    try:
        found: Any = repr(data.decode_typed(bytes(octets)))
    except DecodeError:
        found = DecodeError
    assert found == expected


@given(st.binary(max_size=200))
def test_any_octets_give_a_value_or_a_typed_error(octets: bytes) -> None:
    budgets = Budget(len(octets)), Budget(len(octets))
    try:
        value, type_ = data.decode(octets, budgets[0]), data.describe(octets, budgets[1])
    except DecodeError:
        pass
    else:
        again = data.encode(value, type_)
        assert repr(data.decode(again)) == repr(value)
        assert len(again) <= len(octets)
    assert max(budget.work for budget in budgets) <= (READING_UNITS + TRYING_UNITS) * len(octets)


@given(st.lists(st.sampled_from([Tag.NULL, Tag.UNSIGNED]), min_size=1, max_size=6), st.integers(1, 30))
def test_rows_may_end_where_the_octets_do(fields: list[Tag], cut: int) -> None:
    """A row that would be there if one read on behind `end` is not taken."""
    row = tuple(None if tag is Tag.NULL else 7 for tag in fields)
    octets = data.encode([row] * 30, Array(Structure(tuple(fields))))
    end = max(2, len(octets) - cut)
    try:
        data.decode_at(octets, 0, end)
    except DecodeError as error:
        assert error.kind == "truncated"
    else:
        raise AssertionError("read behind the end")
