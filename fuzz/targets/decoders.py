"""Decoders of whole octets: Data, APDUs, frames of every kind, names, times, selections, lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fuzz.target import Decode, Target, both_ways
from meterseal import apdu
from meterseal.apdu import ciphered
from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.codec import data
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.crypto.v44 import compress, decompress
from meterseal.framing import gateway, gbt, hdlc, mbus, p1, wrapper
from meterseal.framing.detect import unframe
from meterseal.framing.hdlc.parameters import decode as parameters
from meterseal.net import Limits, url
from meterseal.net.datagram import frame_of
from meterseal.net.octets import serial_settings
from meterseal.probe import Keyring, dissect
from tests.apdu.test_general import SEEDS as GENERAL
from tests.codec import test_data_hostile
from tests.crypto.test_v44 import SEEDS as PACKETS
from tests.framing.captures import (
    APDU,
    EVERYTHING,
    HDLC_FRAMES,
    LONG_APDU,
    MBUS_FRAMES,
    P1_OLD_TEXT,
    gbt_blocks,
    p1_telegram,
)
from tests.framing.captures import WRAPPER_FRAMES as WPDUS
from tests.hostile.test_core_decoders import CIPHERED
from tests.hostile.test_core_decoders import SEEDS as APDUS
from tests.hostile.test_decoders import DECODERS as NAMED
from tests.probe import samples
from tests.probe.test_hostile import SEEDS as CAPTURES

COMPACT = [octets for octets in test_data_hostile.SEEDS if octets[0] == 0x13] + [
    bytes.fromhex(text) for text in ("1311080102030405060708", "130202110908" + "01024142" * 2)
]
"""Compact arrays: of a scalar and of structures."""

ROWS = [
    data.encode([(bytes(12), 70_000 + n, n % 2) for n in range(6)], kind)
    for kind in (
        data.Array(data.Structure((data.Tag.OCTET_STRING, data.Tag.DOUBLE_LONG_UNSIGNED, data.Tag.UNSIGNED))),
    )
] + [data.encode(list(range(40)), data.Array(data.Tag.LONG_UNSIGNED))]
"""Rows of one shape, which have a road of their own."""

PARAMETERS = [
    hdlc.Parameters().encode(),
    hdlc.Parameters(2030, 300, 7, 7).encode(),
    hdlc.Parameters(128, 128).encode(True),
    hdlc.Parameters(128, 128).encode() + b"\xffwho is there",
]


def typed(octets: bytes) -> object:
    """Data with its type: all that is told of it has to agree."""
    value, kind = data.decode_typed(octets)
    assert data.describe(octets) == kind
    held = Data.decode(octets)
    assert held.octets() == octets and held.type == kind
    data.skip_at(octets, 0, len(octets))
    return value


def general(octets: bytes) -> Message:
    return (GeneralSigning if octets[:1] == b"\xdf" else GeneralCiphering).decode(octets)


def message(decode: Decode) -> Decode:
    """A decoder of messages whose every value must be written so that it reads the same."""

    def encode(value: Any) -> bytes:
        octets: bytes = value.encode()
        return octets

    return both_ways(decode, encode)


def framed(is_apdu: Any = None) -> Decode:
    def run(octets: bytes) -> object:
        items = unframe(octets, is_apdu, limit=4096)
        if items[-1].error is not None:
            raise items[-1].error
        return items

    return run


def dissected(*rings: Keyring, unverified: bool = False) -> Decode:
    """Every answer can be written as JSON, and what failed shows no plaintext."""

    def run(octets: bytes) -> object:
        found = [one for ring in rings for one in dissect(octets, ring, unverified=unverified)]
        assert found
        for one in found:
            shown = one.to_json()
            assert one.error is None or shown["plain"] is None
        return found

    return run


def serial(octets: bytes) -> object:
    where = url.parse(octets.decode("latin-1"))
    return serial_settings(where, 9600, "8E1") if where.scheme == "serial" else where


def packed(octets: bytes) -> object:
    """A packet that opens, packed anew, opens to the same."""
    plain = decompress(octets, limit=4096)
    assert decompress(compress(plain)) == plain
    return plain


WITH_KEYS = (
    samples.E450_RING,
    samples.TIROL_RING,
    samples.RING,
    Keyring.of(guek=samples.EK, title=samples.TITLE),
)


def _rows() -> Sequence[tuple[str, Decode, Sequence[bytes]]]:
    values = [*test_data_hostile.SEEDS, *COMPACT, *ROWS]
    return (
        ("data", data.decode, values),
        ("data-typed", typed, values),
        ("data-rows", data.decode, ROWS),
        ("compact-array", data.decode, COMPACT),
        *(
            (f"apdu-{name}", message(run), seeds)
            for name, (run, seeds) in APDUS.items()
            if name != "ciphered"
        ),
        (
            "apdu",
            message(apdu.decode),
            sorted({seed for name in APDUS.keys() - {"ciphered", "result-list"} for seed in APDUS[name][1]}),
        ),
        ("ciphered", ciphered.parse, CIPHERED),
        ("general", message(general), GENERAL),
        ("wrapper", wrapper.decode, WPDUS),
        ("datagram", lambda octets: frame_of(octets, Limits()), WPDUS),
        ("hdlc", both_ways(hdlc.decode, lambda frame: hdlc.encode(frame)), HDLC_FRAMES),  # type: ignore[arg-type]
        ("hdlc-parameters", parameters, PARAMETERS),
        ("m-bus", mbus.decode, MBUS_FRAMES),
        ("m-bus-modulo", lambda octets: mbus.decode(octets, True), MBUS_FRAMES),
        ("p1", p1.decode, [p1_telegram(), P1_OLD_TEXT, b"/ABC5\r\n\r\n1(2)\r\n!\r\n"]),
        ("gbt", both_ways(gbt.decode, lambda block: gbt.encode(block)), gbt_blocks(LONG_APDU, 100)),  # type: ignore[arg-type]
        ("gateway", gateway.decode, [gateway.encode(gateway.Prefix(True, 3, b"12345678"), APDU)]),
        ("unframe", framed(), EVERYTHING),
        ("unframe-asked", framed(lambda octets: len(octets) % 2 == 0), EVERYTHING),
        ("v44", packed, PACKETS),
        ("dissect", dissected(Keyring()), CAPTURES),
        ("dissect-keys", dissected(*WITH_KEYS), CAPTURES),
        ("dissect-unverified", dissected(*WITH_KEYS, unverified=True), CAPTURES),
        ("serial-url", serial, [b"serial:///dev/a?baud=2400&form=8N1", b"han+tcp://127.0.0.1:80"]),
        *((name.replace(" ", "-"), run, seeds) for name, (run, seeds) in NAMED.items()),
    )


TARGETS = tuple(Target(*row) for row in _rows())
