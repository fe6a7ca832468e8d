"""Selective access: built, encoded, decoded and read back; other shapes refused by type."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data
from meterseal.codec.types import Array, MixedArray, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.selection import (
    CAPTURE_OBJECT,
    CLOCK_COLUMN,
    AllObjects,
    ByClasses,
    ByEntry,
    ByObjects,
    ByRange,
    CaptureObject,
    OneObject,
    Selection,
    capture_objects_type,
    parse_selection,
)
from meterseal.cosem.times import DateTime
from meterseal.errors import DecodeError, Malformed, Unsupported

codes = st.binary(min_size=6, max_size=6).map(Obis)
words = st.integers(0, 0xFFFF)
longs = st.integers(0, 0xFFFFFFFF)
columns = st.builds(CaptureObject, words, codes, st.integers(-128, 127), words)
times = st.binary(min_size=12, max_size=12)


def through_the_wire(class_id: int, selection: Selection) -> Selection:
    return parse_selection(class_id, 2, selection.selector, data.decode(data.encode(*selection.parameter())))


@given(times, times, columns, st.lists(columns, max_size=4).map(tuple))
def test_a_range_reads_back(
    start: bytes, end: bytes, restricting: CaptureObject, chosen: tuple[CaptureObject, ...]
) -> None:
    selection = ByRange(start, end, restricting, chosen)
    assert through_the_wire(7, selection) == selection


def test_bounds_of_a_range_may_be_times_and_numbers() -> None:
    day = DateTime.from_text("2021-07-19T00:00:00+02:00")
    assert through_the_wire(7, ByRange(day, day)) == ByRange(day.to_octets(), day.to_octets())
    tagged = ByRange(day, day, bound_type=Tag.DATE_TIME)
    assert data.encode(*tagged.parameter())[20:23].hex() == "1907e5"
    assert through_the_wire(7, tagged) == ByRange(day.to_octets(), day.to_octets())
    assert through_the_wire(7, ByRange(1, 9, bound_type=Tag.DOUBLE_LONG_UNSIGNED)) == ByRange(
        1, 9, bound_type=Tag.DOUBLE_LONG_UNSIGNED
    )


def test_octets_of_a_range() -> None:
    day = DateTime.from_text("2021-07-19T00:00:00")
    assert data.encode(*ByRange(day, day, CLOCK_COLUMN).parameter()).hex().upper() == (
        "0204" "0204" "120008" "09060000010000FF" "0F02" "120000"
        "090C07E507130100000000" "8000FF" "090C07E507130100000000" "8000FF" "0100"
    )  # fmt: skip


@given(longs, longs, words, words)
def test_entries_read_back(first: int, last: int, first_column: int, last_column: int) -> None:
    selection = ByEntry(first, last, first_column, last_column)
    assert through_the_wire(7, selection) == selection


@given(
    st.lists(words, max_size=5).map(tuple),
    st.lists(st.tuples(words, codes), max_size=5).map(tuple),
    words,
    codes,
)
def test_object_selections_read_back(
    classes: tuple[int, ...], objects: tuple[tuple[int, Obis], ...], class_id: int, obis: Obis
) -> None:
    for selection in (AllObjects(), ByClasses(classes), ByObjects(objects), OneObject(class_id, obis)):
        assert through_the_wire(15, selection) == selection


@pytest.mark.parametrize(
    ("class_id", "attribute", "selector"),
    [(7, 2, 0), (7, 2, 3), (7, 3, 1), (15, 2, 5), (15, 3, 1), (3, 2, 1), (1, 2, 2)],
)
def test_a_selector_that_the_attribute_has_not_is_refused(
    class_id: int, attribute: int, selector: int
) -> None:
    with pytest.raises(Unsupported):
        parse_selection(class_id, attribute, selector, None)


RANGE: Any = ((8, b"\0\0\1\0\0\xff", 2, 0), b"\0" * 12, b"\0" * 12, [])


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        (),
        RANGE[:3],
        ("x", *RANGE[1:]),
        ((8, b"\0" * 5, 2, 0), *RANGE[1:]),
        ((-1, b"\0" * 6, 2, 0), *RANGE[1:]),
        ((True, b"\0" * 6, 2, 0), *RANGE[1:]),
        ((8, b"\0" * 6, 200, 0), *RANGE[1:]),
        ((8, b"\0" * 6, 2, 70_000), *RANGE[1:]),
        ((8, "clock", 2, 0), *RANGE[1:]),
        (RANGE[0], None, b"", []),
        (RANGE[0], b"", 1.5, []),
        (RANGE[0], b"", b"", ()),
        (RANGE[0], b"", b"", [None]),
    ],
)
def test_a_range_of_another_shape_is_malformed(value: object) -> None:
    with pytest.raises(Malformed):
        parse_selection(7, 2, 1, value)


def test_other_parameters_of_another_shape_are_malformed() -> None:
    for selector, value in ((2, (1, 2, 3)), (2, (1, 2, 3, -4)), (2, (1, 2, 3, 1 << 16)), (2, [1, 2, 3, 4])):
        with pytest.raises(Malformed):
            parse_selection(7, 2, selector, value)
    objects: list[tuple[int, object]] = [
        (2, None),
        (2, [1, -1]),
        (3, [(1,)]),
        (3, (1, b"123456")),
        (4, [1, b"123456"]),
        (4, (1, b"1")),
    ]
    for selector, parameter in objects:
        with pytest.raises(Malformed):
            parse_selection(15, 2, selector, parameter)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=13) | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=12,
)


@given(st.sampled_from([7, 15]), st.integers(0, 5), plain)
def test_F02_any_parameter_gives_a_selection_or_a_typed_error(
    class_id: int, selector: int, value: Any
) -> None:
    try:
        parse_selection(class_id, 2, selector, value)
    except (DecodeError, Unsupported):
        pass


def test_types_of_capture_objects() -> None:
    assert capture_objects_type(2) == Array(CAPTURE_OBJECT)
    assert capture_objects_type(0) == MixedArray(())
    assert str(CaptureObject(7, Obis("1.0.99.1.0.255"), 2, 3)) == "7/1.0.99.1.0.255:2[3]"
    assert str(CLOCK_COLUMN) == "8/0.0.1.0.0.255:2"
