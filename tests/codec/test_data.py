"""Data: every type by example, its canonical form, and what is tolerated or refused on input."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from meterseal.codec import data
from meterseal.codec.data import DONT_CARE, Array, BitString, CompactArray, Data, MixedArray, Structure, Tag
from meterseal.codec.data_decode import read_value
from meterseal.codec.scalars import EMPTY, FIXED, WIDTHS
from meterseal.errors import DecodeError, Malformed, TooDeep, Truncated
from tests.codec.typed import CLOCK

EXAMPLES: list[tuple[str, Any, data.Type]] = [
    ("00", None, Tag.NULL),
    ("FF", DONT_CARE, Tag.DONT_CARE),
    ("0300", False, Tag.BOOLEAN),
    ("0301", True, Tag.BOOLEAN),
    ("0400", BitString.of(""), Tag.BIT_STRING),
    ("0405B0", BitString.of("10110"), Tag.BIT_STRING),
    ("0410FF01", BitString.of("1111111100000001"), Tag.BIT_STRING),
    ("05FFFFFFFE", -2, Tag.DOUBLE_LONG),
    ("06FFFFFFFE", 4294967294, Tag.DOUBLE_LONG_UNSIGNED),
    ("0900", b"", Tag.OCTET_STRING),
    ("09060000010000FF", b"\x00\x00\x01\x00\x00\xff", Tag.OCTET_STRING),
    ("0A025AE4", "Zä", Tag.VISIBLE_STRING),
    ("0C035AC3A4", "Zä", Tag.UTF8_STRING),
    ("0C02FF41", "\udcffA", Tag.UTF8_STRING),
    ("0D42", 0x42, Tag.BCD),
    ("0FFE", -2, Tag.INTEGER),
    ("10FFFE", -2, Tag.LONG),
    ("11FE", 254, Tag.UNSIGNED),
    ("12FFFE", 65534, Tag.LONG_UNSIGNED),
    ("14FFFFFFFFFFFFFFFE", -2, Tag.LONG64),
    ("15FFFFFFFFFFFFFFFE", 2**64 - 2, Tag.LONG64_UNSIGNED),
    ("1602", 2, Tag.ENUM),
    ("173FC00000", 1.5, Tag.FLOAT32),
    ("183FF8000000000000", 1.5, Tag.FLOAT64),
    ("18FFF0000000000000", -math.inf, Tag.FLOAT64),
    ("19" + CLOCK.hex(), CLOCK, Tag.DATE_TIME),
    ("1A07E80101FF", b"\x07\xe8\x01\x01\xff", Tag.DATE),
    ("1B0C1E00FF", b"\x0c\x1e\x00\xff", Tag.TIME),
    ("1CFE", -2, Tag.DELTA_INTEGER),
    ("1DFFFE", -2, Tag.DELTA_LONG),
    ("1EFFFFFFFE", -2, Tag.DELTA_DOUBLE_LONG),
    ("1FFE", 254, Tag.DELTA_UNSIGNED),
    ("20FFFE", 65534, Tag.DELTA_LONG_UNSIGNED),
    ("21FFFFFFFE", 4294967294, Tag.DELTA_DOUBLE_LONG_UNSIGNED),
    ("0100", [], MixedArray(())),
    ("0200", (), Structure(())),
    ("010211011102", [1, 2], Array(Tag.UNSIGNED)),
    ("01021101120002", [1, 2], MixedArray((Tag.UNSIGNED, Tag.LONG_UNSIGNED))),
    ("020300090101" + "0FFF", (None, b"\x01", -1), Structure((Tag.NULL, Tag.OCTET_STRING, Tag.INTEGER))),
    ("0102020111010201" + "1102", [(1,), (2,)], Array(Structure((Tag.UNSIGNED,)))),
    ("0102010100" + "0100", [[None], []], MixedArray((Array(Tag.NULL), MixedArray(())))),
    ("131104010203FF", [1, 2, 3, 255], CompactArray(Tag.UNSIGNED)),
    ("131100", [], CompactArray(Tag.UNSIGNED)),
    ("130000", [], CompactArray(Tag.NULL)),
    (
        "130202110907" + "01024142" + "020143",
        [(1, b"AB"), (2, b"C")],
        CompactArray(Structure((Tag.UNSIGNED, Tag.OCTET_STRING))),
    ),
    ("130100021004" + "00010002", [[1, 2]], CompactArray(Array(Tag.LONG, 2))),
    ("130202001102" + "0102", [(None, 1), (None, 2)], CompactArray(Structure((Tag.NULL, Tag.UNSIGNED)))),
]


@pytest.mark.parametrize(("octets", "value", "type_"), EXAMPLES, ids=[octets for octets, _, _ in EXAMPLES])
def test_each_type_both_ways(octets: str, value: Any, type_: data.Type) -> None:
    raw = bytes.fromhex(octets)
    assert data.decode_typed(raw) == (value, type_)
    assert type(data.decode(raw)) is type(value)
    assert data.encode(value, type_) == raw
    assert data.decode_at(b"\xaa" + raw + b"\xbb", 1, 1 + len(raw)) == (value, 1 + len(raw))
    assert data.skip_at(b"\xaa" + raw + b"\xbb", 1, 1 + len(raw)) == 1 + len(raw)


def test_not_a_number_keeps_its_place() -> None:
    raw = bytes.fromhex("177FC00000")
    assert math.isnan(data.decode(raw))
    assert data.encode(math.nan, Tag.FLOAT32) == raw


@pytest.mark.parametrize(
    ("octets", "canonical"),
    [
        ("098103414243", "0903414243"),
        ("018200021101" + "1102", "010211011102"),
        ("0284000000021101" + "1102", "020211011102"),
        ("03FF", "0301"),
        ("0405BF", "0405B8"),
        ("048105B0", "0405B0"),
        ("131181020102", "1311020102"),
    ],
)
def test_F07_other_forms_are_read_and_written_canonically(octets: str, canonical: str) -> None:
    value, type_ = data.decode_typed(bytes.fromhex(octets))
    assert data.encode(value, type_) == bytes.fromhex(canonical)


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("", Truncated),
        ("07", Malformed),
        ("08", Malformed),
        ("22", Malformed),
        ("FE", Malformed),
        ("0000", Malformed),
        ("020107", Malformed),
        ("0901", Truncated),
        ("0980", Malformed),
        ("09850000000001", Malformed),
        ("0409FF", Truncated),
        ("06000000", Truncated),
        ("0203110111", Truncated),
        ("130700", Malformed),
        ("131300", Malformed),
        ("1301", Truncated),
        ("13010002", Truncated),
        ("1302", Truncated),
        ("13020311", Truncated),
        ("1311", Truncated),
        ("13110501", Truncated),
        ("131202010203", Malformed),
        ("13120101", Truncated),
        ("1312030102" + "03", Malformed),
        ("1309020541", Truncated),
        ("130005AA00000000", Malformed),
    ],
)
def test_what_cannot_be_read_is_refused_by_kind(octets: str, error: type[DecodeError]) -> None:
    raw = bytes.fromhex(octets)
    with pytest.raises(error):
        data.decode(raw)
    with pytest.raises(error):
        data.describe(raw)


@pytest.mark.parametrize("opening", ["0101", "0201"])
def test_F03_depth_has_an_edge(opening: str) -> None:
    raw = bytes.fromhex(opening) * data.MAX_DEPTH + b"\x00"
    value, type_ = data.decode_typed(raw)
    assert data.encode(value, type_) == raw
    for read in (data.decode, data.describe):
        with pytest.raises(TooDeep):
            read(bytes.fromhex(opening) + raw)


@pytest.mark.parametrize("inner", [bytes.fromhex("0201"), bytes.fromhex("010001")])
def test_F03_a_description_shares_the_depth(inner: bytes) -> None:
    for outside in (0, 5):
        wrapping = b"\x02\x01" * outside
        raw = wrapping + b"\x13" + inner * (data.MAX_DEPTH - outside - 1) + b"\x11\x00"
        assert data.encode(*data.decode_typed(raw)) == raw
        with pytest.raises(TooDeep):
            data.decode(wrapping + b"\x13" + inner * (data.MAX_DEPTH - outside) + b"\x11\x00")


def test_rows_share_the_depth() -> None:
    row = b"\x02\x01" * 5 + b"\x11\x07"
    rows = b"\x01\x0a" + row * 10
    fits = b"\x02\x01" * (data.MAX_DEPTH - 6) + rows
    assert data.encode(*data.decode_typed(fits)) == fits
    for read in (data.decode, data.describe):
        with pytest.raises(TooDeep):
            read(b"\x02\x01" + fits)


def test_data_is_equal_by_its_octets_and_cannot_change() -> None:
    made = Data.of([1, 2], Array(Tag.UNSIGNED))
    read, behind = Data.read(b"\xaa" + made.raw + b"\xbb", 1, 7)
    assert behind == 7
    assert made == read == Data.decode(bytes.fromhex("010211011102"))
    assert made != Data.decode(bytes.fromhex("01020F010F02"))
    assert made != made.raw
    assert len({made, read}) == 1
    assert read.value == [1, 2]
    assert made.octets() == read.raw
    assert read.type == Array(Tag.UNSIGNED)
    assert pickle.loads(pickle.dumps(made)) == made
    assert repr(made) == "Data([1, 2])"
    with pytest.raises(AttributeError):
        made.value = 3


def test_types_are_keys() -> None:
    one = Array(Structure((Tag.NULL, CompactArray(Array(Tag.LONG, 2)))))
    same = Array(Structure((Tag.NULL, CompactArray(Array(Tag.LONG, 2)))))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Array(Structure((Tag.NULL, CompactArray(Array(Tag.LONG, 3)))))
    assert MixedArray((Tag.NULL, Tag.LONG)) != MixedArray((Tag.LONG, Tag.NULL))
    assert (
        len({Array(Tag.LONG), CompactArray(Tag.LONG), MixedArray((Tag.LONG,)), Structure((Tag.LONG,))}) == 4
    )
    assert pickle.loads(pickle.dumps(one)) == one
    assert {one: 1}[same] == 1
    assert Tag.LONG_UNSIGNED.word == "long-unsigned"
    assert Tag.NULL.word == "null-data"


def test_equal_types_are_found_whatever_way_the_rows_were_read() -> None:
    few = b"\x01\x02" + b"\x02\x01\x11\x01" * 2
    many = b"\x01\x14" + b"\x02\x01\x11\x01" * 20
    assert data.describe(b"\x01\x02" + few + many) == Array(Array(Structure((Tag.UNSIGNED,))))
    compact = bytes.fromhex("1302021109020100")
    assert data.describe(b"\x01\x02" + compact * 2) == Array(
        CompactArray(Structure((Tag.UNSIGNED, Tag.OCTET_STRING)))
    )


def test_bit_strings_are_values() -> None:
    bits = BitString.of("10110")
    assert str(bits) == "10110"
    assert list(bits) == [True, False, True, True, False]
    assert (len(bits), bits[0], bits[-1], bits.octets) == (5, True, False, b"\xb0")
    assert bits == BitString(b"\xb7", 5)
    assert hash(bits) == hash(BitString(b"\xb7", 5))
    assert bits != BitString.of("101100")
    assert bits != "10110"
    assert str(BitString.of("")) == ""
    assert eval(repr(bits)) == bits
    assert pickle.loads(pickle.dumps(bits)) == bits
    assert repr(DONT_CARE) == "DONT_CARE"
    with pytest.raises(IndexError):
        bits[5]
    with pytest.raises(AttributeError):
        bits.octets = b""
    for octets, length in ((b"\x00", 9), (b"\x00", 0), (b"", -1)):
        with pytest.raises(ValueError):
            BitString(octets, length)
    with pytest.raises(ValueError):
        BitString.of("10x1")


def test_a_tag_that_says_how_long_its_value_is_says_what_the_reader_finds() -> None:
    for tag, width in enumerate(WIDTHS):
        octets = bytes((tag,)) + bytes(40)
        if width:
            assert read_value(octets, 0, len(octets))[1] == width
            if width > 1:
                with pytest.raises(Truncated):
                    read_value(octets, 0, width - 1)
        else:
            assert tag not in FIXED and tag not in EMPTY
