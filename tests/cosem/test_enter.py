"""Values coming in: text and JSON to values of the type that a class says, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data
from meterseal.codec.types import (
    Array,
    BitString,
    MixedArray,
    Structure,
    Tag,
    Type,
)
from meterseal.cosem.classes import attribute_shape
from meterseal.cosem.enter import from_plain, from_text
from meterseal.cosem.present import present
from meterseal.cosem.shapes import ANY, LEAVES, shape
from meterseal.cosem.texts import json_text
from meterseal.cosem.times import DateTime
from meterseal.errors import MetersealError, Misuse
from tests.cosem.test_present import CLOCK, CLOCK_TEXT


@pytest.mark.parametrize(
    ("text", "class_id", "attribute", "value", "type_"),
    [
        (CLOCK_TEXT, 8, 2, CLOCK[:-1] + b"\xff", Tag.OCTET_STRING),
        ("-60", 8, 3, -60, Tag.LONG),
        ("true", 8, 8, True, Tag.BOOLEAN),
        ("3", 70, 4, 3, Tag.ENUM),
        ("0.0.43.0.1.255", 15, 9, bytes.fromhex("00002B0001FF"), Tag.OCTET_STRING),
        ("AbCd", 64, 4, b"\xab\xcd", Tag.OCTET_STRING),
        ("u32:5", 1, 2, 5, Tag.DOUBLE_LONG_UNSIGNED),
        ("vs:a:b", 1, 2, "a:b", Tag.VISIBLE_STRING),
        ("bits:101", 1, 2, BitString.of("101"), Tag.BIT_STRING),
        ("date-time-25:" + CLOCK_TEXT, 1, 2, CLOCK[:-1] + b"\xff", Tag.DATE_TIME),
        ("date:2021-07-19", 1, 2, CLOCK[:5], Tag.OCTET_STRING),
        ("f32:1.5", 1, 2, 1.5, Tag.FLOAT32),
        ("null", 1, 2, None, Tag.NULL),
        ("false", 1, 2, False, Tag.BOOLEAN),
        ("[-3, 30]", 3, 3, (-3, 30), Structure((Tag.INTEGER, Tag.ENUM))),
        ('{"unit": 30, "scaler": -3}', 3, 3, (-3, 30), Structure((Tag.INTEGER, Tag.ENUM))),
        ("[]", 7, 3, [], MixedArray(())),
        (
            '["u8:1", ["os:FF"], null, true]', 7, 2,
            [1, [b"\xff"], None, True],
            MixedArray((Tag.UNSIGNED, Array(Tag.OCTET_STRING), Tag.NULL, Tag.BOOLEAN)),
        ),
    ],
)  # fmt: skip
def test_a_word_of_the_command_line_becomes_a_value(
    text: str, class_id: int, attribute: int, value: Any, type_: Type
) -> None:
    assert from_text(text, attribute_shape(class_id, attribute)) == (value, type_)
    octets = data.encode(value, type_)
    assert data.decode(octets) == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("5", "any"),
        ("zz:5", "any"),
        ("any:5", "any"),
        ("@user:5", "any"),
        ("u8:x", "any"),
        ("u8:1.5", "any"),
        ("maybe", "bool"),
        ("0x10", "u16"),
        ("xyz", "os"),
        ("012", "os"),
        ("102", "bits"),
        ("something", "null"),
        ("not json", "[u8]"),
        ("[1, 2", "[u8]"),
        ("[NaN]", "[f64]"),
        ("{}", "[u8]"),
        ("[1]", "{a u8, b u8}"),
        ('{"a": 1, "c": 2}', "{a u8, b u8}"),
        ('"ab"', "{a u8, b u8}"),
        ("[true]", "[u8]"),
        ("[1.5]", "[u8]"),
        ("[1]", "[bool]"),
        ("[1]", "[os]"),
        ("[1]", "[any]"),
        ("[{}]", "[any]"),
        ("[true]", "[f64]"),
        ("[1]", "[null]"),
        ("[" * 100_000, "[any]"),
        ("[" * 500 + "]" * 500, "[any]"),
        ("9" * 10_000, "u32"),
        ("yesterday", "date-time"),
        ("1.8.0", "ln"),
    ],
)
def test_a_word_that_does_not_fit_is_refused(text: str, line: str) -> None:
    with pytest.raises(Misuse) as caught:
        from_text(text, shape(line))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("2026-13-01", "date", "value: 2026-13-01 has no meaning, its month is 13"),
        ("2026-00-01T10:00:00", "date-time", "its month is 0"),
        ("2026-02-30T10:00:00", "date-time", "its day is 30"),
        ("2027-02-29T10:00:00", "date-time", "its day is 29"),
        ("*-*-32", "date", "its day is 32"),
        ("*-*-*/8", "date", "its weekday is 8"),
        ("24:00:00", "time", "its hour is 24"),
        ("10:60", "time", "its minute is 60"),
        ("10:00:60", "time", "its second is 60"),
        ("2026-01-01T10:00:00+15:00", "date-time", "its deviation is -900"),
        ('["10:00:00", "10:00:61"]', "[time]", r"value\[1\]: 10:00:61 .* second is 61"),
    ],
)
def test_F17_a_time_whose_field_means_nothing_is_refused_by_the_fields_name(
    text: str, line: str, cause: str
) -> None:
    with pytest.raises(Misuse, match=cause):
        from_text(text, shape(line))


@pytest.mark.parametrize(
    "text", ["*-*-*T*:*:*", "*-begin-last/7T02:00", "*-02-29", "2028-02-29T23:59:59.99-12:00"]
)
def test_open_fields_and_words_are_entered(text: str) -> None:
    value, _ = from_text(text, shape("date-time"))
    assert DateTime.from_octets(value) == DateTime.from_text(text)


def test_the_path_of_what_does_not_fit_is_named() -> None:
    with pytest.raises(Misuse, match=r"value\[1\]\.logical_name"):
        from_plain([[8, "0.0.1.0.0.255", 2, 0], [8, 5, 2, 0]], attribute_shape(7, 3))


def test_numbers_null_and_floats_of_json() -> None:
    line = shape("{a f64, b null, c bool, d u8}")
    assert from_text("[1.5, null, false, 3]", line) == (
        (1.5, None, False, 3),
        Structure((Tag.FLOAT64, Tag.NULL, Tag.BOOLEAN, Tag.UNSIGNED)),
    )


@given(st.sampled_from(sorted(LEAVES)), st.text(max_size=20))
def test_any_word_gives_a_value_or_misuse(word: str, text: str) -> None:
    for expected, written in ((LEAVES[word], text), (ANY, f"{word}:{text}")):
        try:
            value, type_ = from_text(written, expected)
            data.encode(value, type_)
        except MetersealError:
            pass


def test_what_is_shown_can_be_entered_again() -> None:
    samples: list[tuple[int, int, Any]] = [
        (8, 2, CLOCK[:-1] + b"\xff"),
        (7, 3, [(8, b"\0\0\1\0\0\xff", 2, 0), (3, b"\1\0\1\x08\0\xff", 2, 0)]),
        (22, 4, [(CLOCK[5:9], CLOCK[:5])]),
        (40, 3, (0, b"127.0.0.1:4059", 0)),
        (15, 10, [(1, "anna"), (2, "bert")]),
    ]
    for class_id, attribute, value in samples:
        expected = attribute_shape(class_id, attribute)
        shown = json.loads(json_text(present(value, None, expected)))
        assert from_plain(shown, expected)[0] == value
