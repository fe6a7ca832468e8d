"""Profiles: rows completed, deltas added, buffers kept in order, selections cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data
from meterseal.codec.types import Array, CompactArray, MixedArray, Structure, Tag
from meterseal.cosem.buffer import insert, select
from meterseal.cosem.obis import Obis
from meterseal.cosem.profile import Column, SortMethod, columns_from_value, complete_rows
from meterseal.cosem.selection import CLOCK_COLUMN, ByEntry, ByRange, CaptureObject
from meterseal.cosem.shapes import ANY, Kind
from meterseal.cosem.times import DateTime
from meterseal.errors import DecodeError, Malformed, MetersealError, Misuse, Unsupported

IMPORT = CaptureObject(3, Obis("1.0.1.8.0.255"), 2)
STATUS = CaptureObject(1, Obis("0.0.96.10.1.255"), 2)
COLUMNS = (Column(CLOCK_COLUMN), Column(STATUS), Column(IMPORT, -3, 30))


def at(text: str) -> bytes:
    return DateTime.from_text(f"2021-07-{text}+02:00", status=0x80).to_octets()


def test_null_cells_take_the_value_of_the_row_before_and_time_goes_on() -> None:
    rows = [
        (at("31T23:30"), 0, 100),
        (None, None, 105),
        (None, 8, None),
        (at("31T23:59"), None, None),
        (None,) * 3,
    ]
    done = complete_rows(rows, COLUMNS, capture_period=900)
    assert [row[1:] for row in done] == [(0, 100), (0, 105), (8, 105), (8, 105), (8, 105)]
    assert [DateTime.from_octets(row[0]).text() for row in done] == [
        "2021-07-31T23:30:00+02:00",
        "2021-07-31T23:45:00+02:00",
        "2021-08-01T00:00:00+02:00",
        "2021-07-31T23:59:00+02:00",
        "2021-08-01T00:14:00+02:00",
    ]
    assert all(DateTime.from_octets(row[0]).status == 0x80 for row in done)


@pytest.mark.parametrize("method", [SortMethod.LIFO, SortMethod.LARGEST])
def test_time_goes_back_in_a_buffer_sorted_downwards(method: SortMethod) -> None:
    done = complete_rows([(at("19T10:00"),), (None,)], COLUMNS[:1], capture_period=900, sort_method=method)
    assert done[1] == (at("19T09:45"),)


def test_a_clock_in_seconds_counts_too() -> None:
    assert complete_rows([(1000,), (None,), (None,)], COLUMNS[:1], capture_period=900) == [
        (1000,),
        (1900,),
        (2800,),
    ]


@pytest.mark.parametrize(
    ("rows", "period", "error"),
    [
        (None, 900, Malformed),
        ([[1, 2, 3]], 900, Malformed),
        ([(None, 0, 1)], 900, Malformed),
        ([(at("19T10:00"), 0, None)], 900, Malformed),
        ([(at("19T10:00"), 0)], 900, Malformed),
        ([(at("19T10:00"), 0, 1, 2)], 900, Malformed),
        ([(at("19T10:00"), 0, 1), (None, 0)], 900, Malformed),
        ([(at("19T10:00"), 0, 1), (None, 0, 1)], None, Misuse),
        ([(at("19T10:00"), 0, 1), (None, 0, 1)], 0, Malformed),
        ([(b"\xff" * 12, 0, 1), (None, 0, 1)], 900, Malformed),
        ([(b"short", 0, 1), (None, 0, 1)], 900, Malformed),
        ([("text", 0, 1), (None, 0, 1)], 900, Malformed),
    ],
)
def test_rows_that_cannot_be_completed_say_why(
    rows: Any, period: int | None, error: type[MetersealError]
) -> None:
    with pytest.raises(error):
        complete_rows(rows, COLUMNS, capture_period=period)


def test_short_rows_are_an_option() -> None:
    rows: list[tuple[Any, ...]] = [(at("19T10:00"), 0, 1), (None, 8), (None,), ()]
    done = complete_rows(rows, COLUMNS, capture_period=900, short_rows=True)
    assert [row[1:] for row in done] == [(0, 1), (8, 1), (8, 1), (8, 1)]
    with pytest.raises(Malformed):
        complete_rows([(at("19T10:00"), 0)], COLUMNS, capture_period=900, short_rows=True)
    with pytest.raises(Malformed):
        complete_rows([rows[0], (*rows[0], 1)], COLUMNS, short_rows=True)


def test_complete_rows_are_left_alone() -> None:
    rows = [(at("19T10:00"), 0, 1), (at("19T10:15"), 0, 1)]
    done = complete_rows(rows, COLUMNS)
    assert all(one is other for one, other in zip(done, rows, strict=True))
    assert complete_rows([], COLUMNS) == []


D = Tag.DELTA_INTEGER
U32 = Tag.DOUBLE_LONG_UNSIGNED


def test_deltas_count_from_the_row_before() -> None:
    type_ = MixedArray(
        (Structure((U32, U32)), Structure((D, D)), Structure((Tag.NULL, D)), Structure((U32, D)))
    )
    octets = data.encode([(1000, 7), (5, -1), (None, 2), (50, -3)], type_)
    rows = complete_rows(data.decode(octets), [Column(IMPORT)] * 2, type_=data.describe(octets))
    assert rows == [(1000, 7), (1005, 6), (1005, 8), (50, 5)]


@pytest.mark.parametrize(
    ("types", "values"),
    [
        ([U32, D], [0, -1]),
        ([Tag.UNSIGNED, D], [250, 6]),
        ([D, D], [1, 1]),
        ([Tag.OCTET_STRING, D], [b"", 1]),
        ([Tag.FLOAT64, D], [1.5, 1]),
    ],
)
def test_a_delta_stays_inside_the_type_it_counts_from(types: list[Tag], values: list[Any]) -> None:
    type_ = MixedArray(tuple(Structure((one,)) for one in types))
    octets = data.encode([(value,) for value in values], type_)
    with pytest.raises(Malformed):
        complete_rows(data.decode(octets), [Column(IMPORT)], type_=data.describe(octets))


def test_a_type_without_deltas_changes_nothing() -> None:
    rows = [(1, 2), (3, None)]
    columns = [Column(IMPORT)] * 2
    plain = [
        None,
        Array(Structure((U32, U32))),
        CompactArray(Structure((U32, U32))),
        MixedArray((U32,)),
        Tag.NULL,
    ]
    for type_ in plain:
        assert complete_rows(rows, columns, type_=type_) == [(1, 2), (3, 2)]
    with pytest.raises(Malformed):
        complete_rows([(1,), (1,)], columns[:1], type_=Array(Structure((D,))))


cells = st.none() | st.integers(-(2**33), 2**33) | st.binary(max_size=13) | st.text(max_size=2)


@given(
    st.lists(st.lists(cells, max_size=4).map(tuple) | cells, max_size=6),
    st.sampled_from(SortMethod),
    st.booleans(),
)
def test_F02_any_rows_are_completed_or_refused_by_type(
    rows: list[Any], method: SortMethod, short: bool
) -> None:
    try:
        done = complete_rows(rows, COLUMNS, capture_period=900, sort_method=method, short_rows=short)
    except DecodeError:
        return
    assert len(done) == len(rows)
    assert all(len(row) == 3 and None not in row for row in done)


def test_columns_of_capture_objects() -> None:
    octets = data.encode(
        [CLOCK_COLUMN.to_value(), IMPORT.to_value(), (7, Obis("1.0.99.2.0.255"), 3, 2)],
        Array(Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED))),
    )
    columns = columns_from_value(data.decode(octets))
    assert [str(column.source) for column in columns] == [
        "8/0.0.1.0.0.255:2", "3/1.0.1.8.0.255:2", "7/1.0.99.2.0.255:3[2]",
    ]  # fmt: skip
    assert [column.is_clock for column in columns] == [True, False, False]
    assert [column.scaler_attribute for column in columns] == [None, 3, None]
    assert [column.kind for column in columns] == [Kind.DATE_TIME, Kind.PLAIN, Kind.PLAIN]
    assert columns[1].shape is ANY
    assert COLUMNS[2].described() == {
        "class": 3, "obis": "1.0.1.8.0.255", "attribute": 2, "index": 0, "unit": "Wh",
    }  # fmt: skip
    for value in (None, (), [None], [(1, 2)]):
        with pytest.raises(Malformed):
            columns_from_value(value)


# --- the meter's buffer -------------------------------------------------------------------------------


def filled(method: SortMethod, values: list[int], capacity: int = 3) -> list[int]:
    rows: list[tuple[Any, ...]] = []
    for value in values:
        insert(rows, (value,), method=method, key=0, capacity=capacity)
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (SortMethod.FIFO, [-6, 3, 2]),
        (SortMethod.LIFO, [2, 3, -6]),
        (SortMethod.LARGEST, [5, 3, 2]),
        (SortMethod.SMALLEST, [-6, -1, 2]),
        (SortMethod.NEAREST_TO_ZERO, [-1, 2, 3]),
        (SortMethod.FARTHEST_FROM_ZERO, [-6, 5, 3]),
    ],
)
def test_a_full_buffer_loses_its_least_interesting_row(method: SortMethod, expected: list[int]) -> None:
    assert filled(method, [5, -1, -6, 3, 2]) == expected


@given(st.sampled_from(SortMethod), st.lists(st.integers(-9, 9)), st.integers(1, 5))
def test_a_buffer_keeps_order_and_capacity(method: SortMethod, values: list[int], capacity: int) -> None:
    held = filled(method, values, capacity)
    assert len(held) == min(capacity, len(values))
    keys: dict[SortMethod, Any] = {
        SortMethod.LARGEST: lambda value: -value,
        SortMethod.SMALLEST: lambda value: value,
        SortMethod.NEAREST_TO_ZERO: abs,
        SortMethod.FARTHEST_FROM_ZERO: lambda value: -abs(value),
    }
    if method in keys:
        assert [keys[method](one) for one in held] == sorted(map(keys[method], values))[:capacity]
    else:
        newest = values[-capacity:] if values else []
        assert held == (newest if method is SortMethod.FIFO else newest[::-1])


BUFFER = [(at(f"19T{hour:02}:00"), 0, hour * 10) for hour in range(24)]


def test_a_range_includes_both_ends() -> None:
    found = select(BUFFER, COLUMNS, ByRange(at("19T10:00"), at("19T12:00")))
    assert [row[2] for row in found] == [100, 110, 120]
    later = DateTime.from_text("2021-07-19T11:00:00+03:00")  # 10:00 of the meter's clock
    assert select(BUFFER, COLUMNS, ByRange(later, later)) == [BUFFER[10]]
    open_day = DateTime.from_text("2021-07-19")
    assert select(BUFFER, COLUMNS, ByRange(open_day, open_day)) == BUFFER
    assert select(BUFFER, COLUMNS, ByRange(at("20T00:00"), at("21T00:00"))) == []
    assert select(BUFFER, COLUMNS, ByRange(at("19T12:00"), at("19T10:00"))) == []


def test_a_range_may_restrict_another_column_and_choose_columns() -> None:
    found = select(BUFFER, COLUMNS, ByRange(215, 300, IMPORT, (IMPORT, CLOCK_COLUMN)))
    assert found == [(220, at("19T22:00")), (230, at("19T23:00"))]
    codes = [(bytes([code]),) for code in range(9)]
    assert select(codes, [Column(STATUS)], ByRange(b"\2", b"\3", STATUS)) == codes[2:4]


def test_a_range_over_what_is_not_captured_is_unsupported() -> None:
    missing = CaptureObject(3, Obis("1.0.2.8.0.255"), 2)
    for selection in (ByRange(0, 1, missing), ByRange(0, 1, IMPORT, (missing,))):
        with pytest.raises(Unsupported):
            select(BUFFER, COLUMNS, selection)


@pytest.mark.parametrize(
    "selection",
    [
        ByRange(1, 2),
        ByRange(b"\0" * 12, 2),
        ByRange(b"short", b"short"),
        ByRange(at("19T10:00"), at("19T10:00"), IMPORT),
    ],
)
def test_a_selection_that_does_not_fit_is_malformed(selection: ByRange | ByEntry) -> None:
    with pytest.raises(Malformed):
        select(BUFFER, COLUMNS, selection)


@pytest.mark.parametrize(
    "selection",
    [
        ByEntry(0, 1),
        ByEntry(0, 0),
        ByEntry(2, 1),
        ByEntry(1, 1, 0, 1),
        ByEntry(1, 1, 3, 2),
        ByEntry(1, 1, 4),
        ByEntry(1, 1, 4, 9),
    ],
)
def test_entries_and_columns_that_there_cannot_be_are_told_as_a_column_that_is_not_captured(
    selection: ByEntry,
) -> None:
    """They count from 1, so 0 is none; what is asked for has the right type, and is not there."""
    with pytest.raises(Unsupported):
        select(BUFFER, COLUMNS, selection)


def test_entries_count_from_one() -> None:
    assert select(BUFFER, COLUMNS, ByEntry(1, 0, 1, 0)) == BUFFER
    assert select(BUFFER, COLUMNS, ByEntry()) == BUFFER
    assert select(BUFFER, COLUMNS, ByEntry(1, 1, 1, 1)) == [(BUFFER[0][0],)]
    assert select(BUFFER, COLUMNS, ByEntry(23, 0, 2, 3)) == [(0, 220), (0, 230)]
    assert select(BUFFER, COLUMNS, ByEntry(20, 4_000_000_000, 3, 60_000)) == [
        (hour * 10,) for hour in range(19, 24)
    ]
    assert select(BUFFER, COLUMNS, ByEntry(25, 30)) == []
    assert select([], COLUMNS, ByEntry()) == []


@given(st.integers(1, 30), st.integers(0, 30), st.integers(1, 4), st.integers(0, 4))
def test_entries_are_the_rows_from_first_to_last(
    first: int, last: int, first_column: int, last_column: int
) -> None:
    selection = ByEntry(first, last, first_column, last_column)
    if (last and last < first) or (last_column and last_column < first_column) or first_column > 3:
        with pytest.raises(Unsupported):
            select(BUFFER, COLUMNS, selection)
        return
    expected = [
        tuple(cell for at, cell in enumerate(row, 1) if first_column <= at <= (last_column or 3))
        for number, row in enumerate(BUFFER, 1)
        if first <= number <= (last or 24)
    ]
    assert select(BUFFER, COLUMNS, selection) == expected
