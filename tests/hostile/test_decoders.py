"""F02 for what lies above the codec: 10^5 mutated inputs each for names, times, lists, texts and files.

The decoders of octets have the same loop beside their own tests, APDUs in `test_core_decoders.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meterseal.codec import data
from meterseal.codec.ber import read_tlv, tlv
from meterseal.codec.types import Array, Structure, Tag
from meterseal.cosem.enter import from_text
from meterseal.cosem.obis import Obis, parse_object
from meterseal.cosem.object_list import ObjectEntry, ObjectList, encode_object_list
from meterseal.cosem.profile import columns_from_value, complete_rows
from meterseal.cosem.selection import CaptureObject, parse_selection
from meterseal.cosem.times import Date, DateTime, Time
from meterseal.credentials import Credentials, files, key_option
from meterseal.meter import config
from meterseal.meter.readers import Place
from meterseal.net import url
from meterseal.probe import pieces
from tests.client.fake_meter import ROWS
from tests.mutate import COUNT, hammer

Decode = Callable[[bytes], object]
CLOCK, ENERGY = Obis("0.0.1.0.0.255"), Obis("1.0.1.8.0.255")
_CAPTURED = Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED))
_ROW = Structure((Tag.OCTET_STRING, Tag.DOUBLE_LONG_UNSIGNED, Tag.UNSIGNED))
COLUMNS = columns_from_value([(8, CLOCK, 2, 0), (3, ENERGY, 2, 0), (1, Obis("0.0.96.10.1.255"), 2, 0)])


def text(decode: Callable[[str], object]) -> Decode:
    """A decoder of text, given any characters up to FF."""
    return lambda octets: decode(octets.decode("latin-1"))


def value(decode: Callable[[Any], object]) -> Decode:
    """A decoder of values that have come as Data."""
    return lambda octets: decode(data.decode(octets))


def elements(octets: bytes) -> object:
    """A walk over BER elements, as deep as they go, the way the ACSE declarations take them apart."""
    found, todo = 0, [(octets, 0)]
    while todo:
        part, depth = todo.pop()
        p = 0
        while p < len(part):
            tag, start, end = read_tlv(part, p, len(part))
            found, p = found + 1, end
            if tag & 0x20 and depth < 8:
                todo.append((part[start:end], depth + 1))
    return found


def objects(version: int) -> bytes:
    view = [
        ObjectEntry(15, version, Obis("0.0.40.0.0.255"), {1: 1, 2: 1}, {1: 1}),
        ObjectEntry(8, 0, CLOCK, {1: 1, 2: 3, 3: 3}, {1: 1, 6: 1}),
        ObjectEntry(7, 1, Obis("1.0.99.1.0.255"), {2: 1, 3: 1}, {}, {2: (1, 2)}),
    ]
    return data.encode(*encode_object_list(view, version))


RANGE = bytes.fromhex(
    "0204020412000809060000010000FF0F02120000090C07E5071301000000008000FF090C07E5071301000000008000FF0100"
)
ENTRIES = bytes.fromhex("020406000000010600000000120001120000")
_START = DateTime(2026, 3, 1, 7, 0, 0, 0, 0, -60, 0).to_octets()

DECODERS: dict[str, tuple[Decode, list[bytes]]] = {
    "ber": (
        elements,
        [tlv(0x60, tlv(0xA1, tlv(6, bytes(7))) + tlv(0xBE, tlv(4, bytes(20)))), tlv(0x62, b"")],
    ),
    "obis": (text(Obis), [b"1.0.1.8.0.255", b"1-0:1.8.0*255", b"0100010800FF"]),
    "obis octets": (Obis, [bytes(CLOCK), bytes(ENERGY)]),
    "object": (text(parse_object), [b"3/1.0.1.8.0.255:2", b"1.0.1.8.0.255", b"7/1-0:99.1.0*255:2"]),
    "date-time": (DateTime.from_octets, [_START, b"\xff" * 12]),
    "date": (Date.from_octets, [_START[:5], b"\xff" * 5]),
    "time": (Time.from_octets, [_START[5:9], b"\xff" * 4]),
    "date-time text": (
        text(DateTime.from_text),
        [b"2026-03-01T07:00:00.00+01:00", b"*-*-*T*:*:*.*", b"2026-03-01 07:00"],
    ),
    "selection by range": (value(lambda found: parse_selection(7, 2, 1, found)), [RANGE]),
    "selection by entry": (value(lambda found: parse_selection(7, 2, 2, found)), [ENTRIES]),
    "selection by class": (
        value(lambda found: parse_selection(15, 2, 2, found)),
        [data.encode([1, 3, 8], Array(Tag.LONG_UNSIGNED))],
    ),
    "capture objects": (
        value(lambda found: [columns_from_value(found), [CaptureObject.from_value(one) for one in found]]),
        [data.encode([column.to_value() for column in (c.source for c in COLUMNS)], Array(_CAPTURED))],
    ),
    "profile rows": (
        value(lambda found: complete_rows(found, COLUMNS, capture_period=900)),
        [data.encode(ROWS[:6], Array(_ROW))],
    ),
    "object list": (value(ObjectList.from_value), [objects(version) for version in range(4)]),
    "value text": (text(from_text), [b"u32:1234", b"os:0102", b"true", b"i8:-5"]),
    "url": (
        text(url.parse),
        [b"tcp://127.0.0.1:4059", b"tcp://[::1]:4059", b"serial:///dev/ttyUSB0?baud=9600"],
    ),
    "key text": (text(key_option), [b"000102030405060708090A0B0C0D0E0F", b"env:METERSEAL_NO_SUCH"]),
    "captured text": (pieces, [b"7E A0 00\n", b"0001 0002\nC001\n", b'{"hex": "0001", "direction": "in"}\n']),
}
"""Name -> what decodes, and what its inputs are made of."""


def test_F02_the_seeds_are_good() -> None:
    for name, (decode, good) in DECODERS.items():
        outcomes = hammer(decode, good, count=200)
        assert outcomes["value"] or name == "captured text", name


@pytest.mark.parametrize("name", DECODERS)
def test_F02_mutated_inputs_above_the_codec(name: str) -> None:
    decode, good = DECODERS[name]
    outcomes = hammer(decode, good, rng=len(name))
    assert outcomes["value"] and len(outcomes) > 1, outcomes


CREDENTIALS = b"""# made for the test
[meter]
url = "tcp://127.0.0.1:4059"
system_title = "4D534C0000000001"
suite = 0
[roles.operator]
client = 2
mechanism = "gmac"
policy = "authenticated+encrypted"
client_system_title = "4D534C4845530001"
guek = "C0FFEE00C0FFEE00C0FFEE00C0FFEE00"
gak = "C0FFEE01C0FFEE01C0FFEE01C0FFEE01"
counter_start = 1
[roles.operator.peer]
plain_release = true
"""
PARTS = 5


@pytest.mark.parametrize("part", range(PARTS))
def test_F02_F20_mutated_credentials(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [b""]
    monkeypatch.setattr(files, "read_private", lambda path, what, largest: held[0])

    def load(octets: bytes) -> object:
        held[0] = octets
        return Credentials.load(Path("meter.toml"))

    outcomes = hammer(load, [CREDENTIALS], count=COUNT // PARTS, rng=part)
    assert set(outcomes) == {"value", "configuration"}


CONFIG = b"""# made for the test
[meter]
system_title = "4D534C0000000001"
[roles.installer]
policy = { request = "authenticated", response = "none" }
[[roles.installer.rights]]
objects = ["0.0.1.0.0.255", "0.0.96.1.10.255"]
attributes = { 1 = "read", 2 = "read auth-response" }
[[objects]]
class = 1
obis = "0.0.96.1.77.255"
type = "u8"
value = 5
"""


@pytest.mark.parametrize("part", range(PARTS))
def test_F02_F20_mutated_configurations(part: int) -> None:
    """Reading of the text 10^5 times; the whole meter's plan is costly, and made of every hundredth."""
    place = Place("meter.toml")
    number = 0

    def load(octets: bytes) -> object:
        nonlocal number
        number += 1
        mapping = config._toml(octets, place)
        if number % 100:
            return mapping
        preset, at = config._preset("suite0")
        return config.plan_from(config._merged(preset, mapping, at), "suite0", place)

    outcomes = hammer(load, [CONFIG], count=COUNT // PARTS, rng=part)
    assert set(outcomes) <= {"value", "configuration", "unsupported", "malformed"}
    assert outcomes["value"] and outcomes["configuration"]
