"""Presented values: the JSON forms other programs rely on, and safe text for terminals."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data
from meterseal.codec.types import (
    DONT_CARE,
    Array,
    BitString,
    CompactArray,
    MixedArray,
    Structure,
    Tag,
    Type,
)
from meterseal.cosem.classes import attribute_shape, interface_classes
from meterseal.cosem.obis import Obis
from meterseal.cosem.present import error_object, present, profile_object, value_object
from meterseal.cosem.profile import Column
from meterseal.cosem.selection import CLOCK_COLUMN, CaptureObject
from meterseal.cosem.shapes import shape
from meterseal.cosem.texts import json_text, moment_text, safe_text
from meterseal.errors import Forged, Misuse, Refused

CLOCK = bytes.fromhex("07E50713010F2E2300FF8880")
CLOCK_TEXT = "2021-07-19T15:46:35+02:00"


@pytest.mark.parametrize(
    ("value", "type_", "shown"),
    [
        (None, Tag.NULL, None),
        (DONT_CARE, Tag.DONT_CARE, None),
        (True, Tag.BOOLEAN, True),
        (7, Tag.ENUM, 7),
        (-7, Tag.LONG, -7),
        (2**64 - 1, Tag.LONG64_UNSIGNED, 2**64 - 1),
        (1.5, Tag.FLOAT64, 1.5),
        (float("inf"), Tag.FLOAT32, "Infinity"),
        (float("-inf"), Tag.FLOAT32, "-Infinity"),
        (float("nan"), Tag.FLOAT32, "NaN"),
        (b"\x0a\xbc", Tag.OCTET_STRING, "0ABC"),
        (b"", Tag.OCTET_STRING, ""),
        (CLOCK, Tag.OCTET_STRING, CLOCK.hex().upper()),
        (CLOCK, Tag.DATE_TIME, CLOCK_TEXT),
        (CLOCK[:5], Tag.DATE, "2021-07-19"),
        (CLOCK[5:9], Tag.TIME, "15:46:35"),
        (BitString.of("10110"), Tag.BIT_STRING, "10110"),
        (BitString.of(""), Tag.BIT_STRING, ""),
        ("Zähler", Tag.UTF8_STRING, "Zähler"),
        ("\udcff!", Tag.UTF8_STRING, "\ufffd!"),
        ([1, 2], Array(Tag.UNSIGNED), [1, 2]),
        ((1, b"\x01"), Structure((Tag.UNSIGNED, Tag.OCTET_STRING)), [1, "01"]),
        ([(CLOCK,)], CompactArray(Structure((Tag.DATE_TIME,))), [[CLOCK_TEXT]]),
        ([CLOCK, CLOCK], MixedArray((Tag.DATE_TIME, Tag.OCTET_STRING)), [CLOCK_TEXT, CLOCK.hex().upper()]),
    ],
)
def test_every_type_has_its_form(value: Any, type_: Type, shown: Any) -> None:
    assert present(value, type_) == shown
    octets = data.encode(value, type_)
    assert present(data.decode(octets), data.describe(octets)) == shown
    assert json.loads(json_text(present(value, type_))) == shown


def test_the_class_says_what_octets_are() -> None:
    assert present(CLOCK, Tag.OCTET_STRING, attribute_shape(8, 2)) == CLOCK_TEXT
    assert present(CLOCK, None, attribute_shape(8, 2)) == CLOCK_TEXT
    assert present(CLOCK, Tag.OCTET_STRING, attribute_shape(1, 2)) == CLOCK.hex().upper()
    assert present(b"\0\0\1\0\0\xff", None, attribute_shape(8, 1)) == "0000010000FF"
    assert present([(1, CLOCK[:5], 2)], None, attribute_shape(11, 2)) == [[1, "2021-07-19", 2]]
    assert present([(CLOCK[5:9], CLOCK[:5])], None, attribute_shape(22, 4)) == [["15:46:35", "2021-07-19"]]
    # Octets that cannot be the time that the class promises stay octets.
    assert present(CLOCK[:11], None, attribute_shape(8, 2)) == CLOCK[:11].hex().upper()
    assert present(b"", None, attribute_shape(8, 2)) == ""


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=13) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=15,
)
shapes = st.sampled_from(
    [entry.shape for known in interface_classes() for entry in known.attributes.values()]
    + [shape("[date-time]"), shape("{a date, b time}")]
)
some_types = st.sampled_from(
    [
        None,
        Tag.DATE_TIME,
        Tag.DATE,
        Tag.NULL,
        Array(Tag.TIME),
        Structure((Tag.DATE_TIME,)),
        MixedArray((Tag.DATE,)),
    ]
)


@given(anything, some_types, shapes)
def test_F17_anything_can_be_shown_whatever_was_expected(
    value: Any, type_: Type | None, expected: Any
) -> None:
    text = json_text(present(value, type_, expected))
    assert text.isascii()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# --- value objects ------------------------------------------------------------------------------------


def test_a_register_is_a_quantity_with_its_unit() -> None:
    found = value_object(
        3, Obis("1.0.1.8.0.255"), 2, 123450, type_=Tag.DOUBLE_LONG_UNSIGNED,
        raw=bytes.fromhex("060001E23A"), scaler_unit=(-2, 30),
    )  # fmt: skip
    assert json_text(found) == (
        '{"obis": "1.0.1.8.0.255", "class": 3, "attribute": 2, '
        '"value": 1234.50, "unit": "Wh", "raw": "060001E23A"}'
    )


def test_a_value_without_scaler_is_what_was_sent() -> None:
    found = value_object(8, Obis("0.0.1.0.0.255"), 2, CLOCK, raw=b"\x09\x0c" + CLOCK)
    assert (found["value"], found["unit"], found["raw"]) == (CLOCK_TEXT, None, "090C" + CLOCK.hex().upper())
    assert value_object(1, Obis("0.0.96.7.21.255"), 2, 5, scaler_unit=(0, 255))["unit"] is None
    assert value_object(3, Obis("1.0.1.8.0.255"), 2, None, scaler_unit=(-3, 30))["value"] is None


def test_a_refusal_stands_in_place_of_the_value() -> None:
    refused = Refused("no", reason="read-write-denied", code=3, source="data-access-result")
    assert error_object(3, Obis("1.0.1.8.0.255"), 2, refused) == {
        "obis": "1.0.1.8.0.255", "class": 3, "attribute": 2,
        "error": {"type": "refused", "message": "no", "reason": "read-write-denied", "code": 3},
    }  # fmt: skip
    assert error_object(None, Obis("1.0.1.8.0.255"), 2, Forged("tag"))["error"] == {
        "type": "forged", "message": "tag",
    }  # fmt: skip


def test_a_profile_is_rows_and_columns() -> None:
    columns = [
        Column(CLOCK_COLUMN),
        Column(CaptureObject(1, Obis("0.0.96.10.1.255"), 2)),
        Column(CaptureObject(3, Obis("1.0.1.8.0.255"), 2), -3, 30),
    ]
    rows = [(CLOCK, 8, 1234), (CLOCK, 0, None)]
    found = profile_object(Obis("1.0.99.1.0.255"), rows, columns, raw=b"\x01\x00")
    assert json.loads(json_text(found)) == {
        "obis": "1.0.99.1.0.255", "class": 7, "attribute": 2, "unit": None, "raw": "0100",
        "value": [[CLOCK_TEXT, 8, 1.234], [CLOCK_TEXT, 0, None]],
        "columns": [
            {"class": 8, "obis": "0.0.1.0.0.255", "attribute": 2, "index": 0, "unit": None},
            {"class": 1, "obis": "0.0.96.10.1.255", "attribute": 2, "index": 0, "unit": None},
            {"class": 3, "obis": "1.0.1.8.0.255", "attribute": 2, "index": 0, "unit": "Wh"},
        ],
    }  # fmt: skip
    tagged = profile_object(
        Obis("1.0.99.1.0.255"), [(CLOCK,)], columns[1:2], type_=Array(Structure((Tag.DATE_TIME,)))
    )
    assert tagged["value"] == [[CLOCK_TEXT]]


# --- text going out -----------------------------------------------------------------------------------


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        ((), "[]"),
        ([1, [2.5, None], {"a": True}], '[1, [2.5, null], {"a": true}]'),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.10"), "-0.10"),
        (Decimal(2**64) / 10, "1844674407370955161.6"),
        (Colour.RED, "1"),
        ("\u202eabc\x00\x1b[2J\ud800", '"\\u202eabc\\u0000\\u001b[2J\\ud800"'),
        ({"ä": "ö"}, '{"\\u00e4": "\\u00f6"}'),
    ],
)
def test_json_is_exact_and_ascii(value: Any, text: str) -> None:
    assert json_text(value) == text
    json.loads(text)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), Decimal("NaN"), b"", object(), {1: 2}, [{None: 1}]]
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(Misuse):
        json_text(value)


def test_json_can_be_spread_over_lines() -> None:
    assert json_text({"a": [1, 2], "b": [[1], [2]], "c": []}, indent=2) == (
        '{\n  "a": [1, 2],\n  "b": [\n    [1],\n    [2]\n  ],\n  "c": []\n}'
    )


jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(jsons, st.none() | st.integers(0, 4))
def test_json_reads_back_as_the_standard_library_writes_it(value: Any, indent: int | None) -> None:
    assert json.loads(json_text(value, indent=indent)) == json.loads(json.dumps(value))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=9))
def test_decimals_keep_every_digit(number: Decimal) -> None:
    assert json.loads(json_text(number), parse_float=Decimal, parse_int=Decimal) == number


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Landis+Gyr E450", "Landis+Gyr E450"),
        ("Zähler №1 電力", "Zähler №1 電力"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\x9b2Jb\x07\x7f", "a\\x9b2Jb\\x07\\x7f"),
        ("one\ntwo\r\tthree\0", "one\\ntwo\\r\\tthree\\0"),
        ("\u202egnp.exe\u2066\u200b\ufeff", "\\u202egnp.exe\\u2066\\u200b\\ufeff"),
        ("\u2028\u2029\u0085", "\\u2028\\u2029\\x85"),
        ("\udcff\ud800", "\\udcff\\ud800"),
        ("\U000e0041\U0010ffff\ue000", "\\U000e0041\\U0010ffff\\ue000"),
        ("back\\x1bslash", "back\\\\x1bslash"),
        ("", ""),
    ],
)
def test_F18_text_cannot_steer_a_terminal(text: str, safe: str) -> None:
    assert safe_text(text) == safe


def test_F18_a_megabyte_of_text_is_cut() -> None:
    assert safe_text("\x1b" * 1_000_000, limit=3) == "\\x1b\\x1b\\x1b... (999997 more characters)"
    assert len(safe_text("a" * 1_000_000)) < 1100


@given(
    st.text(alphabet=st.characters(exclude_categories=[])),
    st.text(alphabet=st.characters(exclude_categories=[])),
)
def test_F18_any_text_becomes_one_plain_line_and_different_texts_stay_different(one: str, other: str) -> None:
    safe = safe_text(one)
    safe.encode("utf-8")
    assert all(
        unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        for character in safe
    )
    assert (safe == safe_text(other)) == (one == other)


def test_moments_are_utc_and_cut() -> None:
    moment = datetime(2026, 11, 25, 13, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert moment_text(moment) == "2026-11-25T12:00:00Z"
    assert moment_text(moment, "milliseconds") == "2026-11-25T12:00:00.999Z"
    assert moment_text(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"
