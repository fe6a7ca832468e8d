"""Hostile Data: catalogue rows F01 to F08 and F17 and the killer inputs, with work and memory counted."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from meterseal.codec import data
from meterseal.codec.data import Budget
from meterseal.codec.octets import length_octets
from meterseal.errors import DecodeError, Malformed, TooDeep, TooLarge, Truncated
from tests.codec.typed import seeds
from tests.mutate import hammer, truncations

READERS = [data.decode, data.describe]
SEEDS = seeds()
FREE = 1 << 20


def array_of(unit: str, octets: int = 100_000) -> bytes:
    """An array of equal elements, about as long as said."""
    element = bytes.fromhex(unit)
    count = octets // len(element)
    return b"\x01" + length_octets(count) + element * count


def compact(description: str, contents: bytes) -> bytes:
    """A compact-array."""
    return b"\x13" + bytes.fromhex(description) + length_octets(len(contents)) + contents


def outcome(
    read: Callable[[bytes, Budget], Any], octets: bytes
) -> tuple[type[DecodeError] | None, Budget, int]:
    """How reading ends, the budget it used, and the memory it took beside the input."""
    budget = Budget(len(octets))
    result: Any = None
    error: type[DecodeError] | None = None
    tracemalloc.start()
    try:
        result = read(octets, budget)
    except DecodeError as caught:
        error = type(caught)
    finally:
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    del result
    return error, budget, memory


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
def test_F01_every_truncation_is_typed_truncated(read: Callable[[bytes], Any]) -> None:
    for _, cut in truncations(SEEDS):
        with pytest.raises(Truncated):
            read(cut)


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
def test_F02_mutations_give_values_or_typed_errors(read: Callable[[bytes, Budget], Any]) -> None:
    last = [Budget(0)]

    def watched(octets: bytes) -> object:
        last[0] = Budget(len(octets))
        return read(octets, last[0])

    outcomes = hammer(watched, SEEDS, rng=2, work=lambda: last[0].work)
    assert {"value", "truncated", "malformed"} <= outcomes.keys() <= {
        "value", "truncated", "malformed", "too-deep", "too-large",
    }  # fmt: skip


DEEP = [(opening, depth) for opening in ("01", "02") for depth in (500, 5_000, 100_000)]
KILLERS: list[tuple[str, bytes, type[DecodeError]]] = [
    ("cut-array", bytes.fromhex("01"), Truncated),
    ("cut-structure", bytes.fromhex("02"), Truncated),
    ("cut-structure-of-3", bytes.fromhex("020309"), Truncated),
    ("cut-selective-access", bytes.fromhex("010102"), Truncated),
    *[(f"deep-{o}-{depth}", bytes.fromhex(o + "01") * depth + b"\x00", TooDeep) for o, depth in DEEP],
    ("array-2-31", bytes.fromhex("01847FFFFFFF"), Truncated),
    ("array-2-31-of-nulls", bytes.fromhex("01847FFFFFFF") + bytes(1024), Truncated),
    ("array-2-32", bytes.fromhex("0184FFFFFFFF") + bytes(1024), Truncated),
    ("structure-2-64", b"\x02\x88" + b"\xff" * 8, Malformed),
    ("structure-2-32", bytes.fromhex("0284FFFFFFFF") + bytes(1024), Truncated),
    ("octet-string-2-31", b"\x09\x84\x80\x00\x00\x00" + bytes(16), Truncated),
    ("bit-string-2-32", b"\x04\x84\xff\xff\xff\xff" + bytes(16), Truncated),
    ("length-of-127-octets", b"\x09\xff" + b"\xff" * 127, Malformed),
    ("length-80", b"\x09\x80" + bytes(16), Malformed),
    ("deep-description", b"\x13" + b"\x02\x01" * 2_000 + b"\x11\x01\x05", TooDeep),
    ("deep-description-of-arrays", b"\x13" + b"\x01\x00\x01" * 2_000 + b"\x11\x01\x05", TooDeep),
    ("multiplying", bytes.fromhex("130200120F16080001020300020405"), Truncated),
    ("multiplying-whole", bytes.fromhex("13") + bytes.fromhex("0110000110000110000011040A0A0A0A"), Truncated),
    ("multiplying-most", bytes.fromhex("1301FFFF01FFFF01FFFF1104") + b"\x05" * 4, Truncated),
    ("multiplying-nulls", bytes.fromhex("130202" + "01FFFF00" + "11" + "0105"), TooLarge),
    ("multiplying-nulls-most", bytes.fromhex("130202" + "01FFFF01FFFF01FFFF00" + "11" + "0105"), TooLarge),
    ("multiplying-nulls-and-strings", bytes.fromhex("130202" + "01FFFF00" + "09" + "020105"), TooLarge),
    ("compact-of-null", bytes.fromhex("130001AA"), Malformed),
    ("compact-of-dont-care", bytes.fromhex("13FF01AA"), Malformed),
    ("compact-of-empty-structures", bytes.fromhex("13020001AA"), Malformed),
    ("compact-of-empty-arrays", bytes.fromhex("130100001101AA"), Malformed),
    ("compact-of-many-nulls", compact("02080000000000000011", bytes(100_000)), TooLarge),
    ("compact-of-singles", compact("0201020111", bytes(100_000)), TooLarge),
    ("description-of-2-32-fields", bytes.fromhex("130284FFFFFFFF11"), Truncated),
    ("overlapping-counts", b"\x01\x82\x03\xe8" * 200 + bytes(1000), Truncated),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("octets", "error"), [row[1:] for row in KILLERS], ids=[row[0] for row in KILLERS])
def test_F03_to_F08_killer_inputs(
    octets: bytes, error: type[DecodeError], read: Callable[[bytes, Budget], Any]
) -> None:
    found, budget, memory = outcome(read, octets)
    assert found is error
    assert budget.work <= min(4 * len(octets), 4_000)
    assert memory < FREE


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
def test_F05_a_million_nulls_are_read(read: Callable[[bytes, Budget], Any]) -> None:
    octets = b"\x01" + length_octets(1_000_000) + bytes(1_000_000)
    found, budget, memory = outcome(read, octets)
    assert found is None
    assert budget.work <= 4 * len(octets)
    assert memory <= 64 * len(octets) + FREE
    assert data.decode(octets) == [None] * 1_000_000
    assert data.encode(*data.decode_typed(octets)) == octets


DENSE = {
    "nulls": array_of("00"),
    "nulls and don't-cares": b"\x01" + length_octets(100_000) + b"\x00\xff" * 50_000,
    "empty arrays": array_of("0100"),
    "arrays of one": array_of("010100"),
    "structures of one": array_of("02010F05"),
    "empty structures": array_of("0200"),
    "bit-strings": array_of("040180"),
    "bit-strings of nine": array_of("04098080"),
    "texts": array_of("0C03E282AC"),
    "texts that are none": array_of("0C02FFFE"),
    "deep structures": b"\x01\x82\x05\xdc" + (b"\x02\x01" * 31 + b"\x00") * 1500,
    "deep arrays": b"\x01\x82\x05\xdc" + (b"\x01\x01" * 31 + b"\x00") * 1500,
    "rows in turn": b"\x01" + length_octets(36_000) + bytes.fromhex("02010F050201000200") * 12_000,
    "compact structures of one": compact("020111", bytes(100_000)),
    "compact empty strings": compact("020109", bytes(100_000)),
    "compact empty bit-strings": compact("04", bytes(100_000)),
    "compact arrays of two": compact("01000211", bytes(100_000)),
    "compact nulls": compact("02020012", bytes(100_000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", DENSE)
def test_F05_much_of_little_stays_within_work_and_memory(
    name: str, read: Callable[[bytes, Budget], Any]
) -> None:
    octets = DENSE[name]
    found, budget, memory = outcome(read, octets)
    assert found is None
    assert budget.work <= 4 * len(octets)
    assert memory <= 64 * len(octets) + FREE


def test_F06_what_a_description_may_make_is_three_units_an_octet() -> None:
    fits = compact("0202" + "0011", b"\x05" * 2)
    assert data.decode(fits) == [(None, 5)] * 2
    with pytest.raises(TooLarge):
        data.decode(compact("02020011", b"\x05" * 100))
    assert data.decode(compact("02020012", b"\x05" * 100)) == [(None, 0x0505)] * 50
    with pytest.raises(TooLarge):
        data.decode(compact("020400000009", b"\x00" * 100))


@pytest.mark.parametrize("month", range(256))
def test_F17_junk_in_dates_is_kept_as_octets(month: int) -> None:
    octets = bytes((0x19, 0xFF, 0xFF, month, 0xFF, 0x00, 0xFE, 0xFF, 0x60, 0x64, 0x80, 0x00, month))
    assert data.decode(octets) == octets[1:]
    assert data.encode(octets[1:], data.Tag.DATE_TIME) == octets


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("octets", ["13", "1302", "130203", "1301", "130100", "13010005", "13020103"])
def test_F01_a_type_description_that_ends_early(read: Callable[[bytes], object], octets: str) -> None:
    with pytest.raises(Truncated):
        read(bytes.fromhex(octets))
