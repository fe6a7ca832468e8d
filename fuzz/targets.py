"""What is fuzzed: a name, seeds, and a function that may raise typed errors only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meterseal import apdu
from meterseal.apdu import ciphered
from meterseal.association import (
    Associated,
    Effect,
    Indication,
    Outcome,
    Reply,
    ServerAssociation,
    ServerProfile,
)
from meterseal.association.operations import Operation
from meterseal.codec import data
from meterseal.crypto import GcmKey, suite
from meterseal.framing import gateway, gbt, hdlc, mbus, p1, wrapper
from meterseal.framing.detect import unframe
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import KeyInUse, SecuritySetup
from tests.vectors import load

Decode = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """One thing to fuzz."""

    name: str
    decode: Decode
    seeds: Sequence[bytes]


def _octets(kind: str, *fields: str) -> list[bytes]:
    return [
        bytes.fromhex(vector["inputs"][field])
        for vector in load(kind)
        for field in fields
        if isinstance(vector["inputs"].get(field), str)
    ]


def _plain() -> list[bytes]:
    texts = [v["expected"]["plaintext"] for kind in ("unprotect", "mbus") for v in load(kind)]
    return [bytes.fromhex(text) for text in texts] + _octets("protect", "plaintext")


class _All:
    """A view in which everything may be done."""

    def right(self, operation: Operation, user: int | None) -> int:
        return 0x03


_EK, _AK = bytes(range(16)), bytes(range(0xD0, 0xE0))


def converse(octets: bytes) -> object:
    """Feed octets, cut at every third 60 or C0, to a fresh meter's association as successive APDUs."""
    key = KeyInUse(GcmKey(_EK, _AK), SendCounter.unlimited(), ReceiveCounter())
    setup = SecuritySetup(suite(0), b"MSL00001", None, 0, key)
    association = ServerAssociation(
        ServerProfile(client_sap=16, server_sap=1, setup=setup, view=_All()), lambda count: bytes(count)
    )
    last: Sequence[Effect] = ()
    for message in (_AARQ, octets, octets[:-1], octets):
        last = _run(association, message)
    return last


def _run(association: ServerAssociation, message: bytes) -> Sequence[Effect]:
    effects = association.receive(message)
    for effect in effects:
        if isinstance(effect, Indication):
            effects = association.respond(effect.token, [Outcome(0, b"\x00")] * len(effect.operations))
    for effect in effects:
        if isinstance(effect, Reply):
            apdu.decode(effect.octets)
    return [effect for effect in effects if not isinstance(effect, Associated)]


def listen(octets: bytes) -> object:
    """Octets on a line, in two pieces, to an HDLC station of every address; its user answers."""
    meter, reader = hdlc.Secondary(lambda server: True, 1), hdlc.FrameReader()
    middle = len(octets) // 2
    for now, piece in enumerate((_SNRM, octets[:middle], octets[middle:], octets)):
        for frame in reader.feed(piece):
            meter.receive(frame, now)
            for event in meter.events:
                if isinstance(event, hdlc.Received):
                    meter.send(event.client, event.server, event.apdu, now)
            meter.events.clear()
        meter.tick(now)
    return [hdlc.encode(frame) for frame in meter.frames]


_SNRM = hdlc.encode(hdlc.Frame(hdlc.Address(1, 1), hdlc.Address(16), 0x93))

_AARQ = bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F0400007E1F04B0")

TARGETS: tuple[Target, ...] = (
    Target(
        "data",
        data.decode,
        [octets[18:] for octets in _plain() if octets[0] == 0x0F] + [b"\x01\x02\x11\x01\x11\x02"],
    ),
    Target("apdu", apdu.decode, _plain() + _octets("acse", "apdu")),
    Target("ciphered", ciphered.parse, _octets("unprotect", "apdu")),
    Target("wrapper", wrapper.decode, _octets("wrapper", "wpdu")),
    Target("hdlc", hdlc.decode, _octets("hdlc", "frame")),
    Target("hdlc-meter", listen, [*_octets("hdlc", "frame"), b"".join(_octets("hdlc", "frame"))]),
    Target("mbus", mbus.decode, [bytes.fromhex(f) for v in load("mbus") for f in v["inputs"]["frames"]]),
    Target("gbt", gbt.decode, [bytes.fromhex("E0400001000003010203"), bytes.fromhex("E0C00003000001AA")]),
    Target("gateway", gateway.decode, [bytes.fromhex("E60003010203C001C100080000010000FF0200")]),
    Target("p1", p1.decode, [b"/ABC5\r\n\r\n1-0:1.8.0(000123.456*kWh)\r\n!0000\r\n"]),
    Target(
        "unframe",
        unframe,
        _octets("hdlc", "frame") + _octets("wrapper", "wpdu") + _octets("unprotect", "apdu"),
    ),
    Target("conversation", converse, _plain() + _octets("acse", "apdu") + _octets("unprotect", "apdu")),
)
