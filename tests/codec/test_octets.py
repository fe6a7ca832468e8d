"""Length octets: every form, every cut, and the round trip of the shortest form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec.octets import length_octets, read_length
from meterseal.errors import Malformed, Misuse, Truncated


@pytest.mark.parametrize(
    ("octets", "length"),
    [
        ("00", 0),
        ("7F", 0x7F),
        ("8180", 0x80),
        ("81FF", 0xFF),
        ("820100", 0x100),
        ("83010000", 0x10000),
        ("84FFFFFFFF", 0xFFFFFFFF),
        ("8105", 5),
        ("8400000005", 5),
    ],
)
def test_reads_short_long_and_longer_than_needed(octets: str, length: int) -> None:
    raw = bytes.fromhex(octets)
    assert read_length(b"\xaa" + raw + b"\xbb", 1, 1 + len(raw)) == (length, 1 + len(raw))


@pytest.mark.parametrize("first", [0x80, 0x85, 0x88, 0xFF])
def test_F07_indefinite_and_more_than_four_octets(first: int) -> None:
    with pytest.raises(Malformed):
        read_length(bytes((first,)) + bytes(200), 0, 201)


@given(st.sampled_from(["", "81", "82", "8201", "83", "830101", "84", "84010101"]), st.binary(max_size=4))
def test_F01_cut_lengths(octets: str, behind_the_end: bytes) -> None:
    raw = bytes.fromhex(octets)
    with pytest.raises(Truncated):
        read_length(raw + behind_the_end, 0, len(raw))


@given(st.integers(0, 0xFFFFFFFF))
def test_round_trip_is_minimal(n: int) -> None:
    octets = length_octets(n)
    assert read_length(octets, 0, len(octets)) == (n, len(octets))
    assert len(octets) == 1 + sum(n >= limit for limit in (0x80, 0x100, 0x10000, 0x1000000))


@pytest.mark.parametrize("n", [-1, 1 << 32])
def test_lengths_that_do_not_fit_are_misuse(n: int) -> None:
    with pytest.raises(Misuse):
        length_octets(n)
