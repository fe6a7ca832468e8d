"""Benchmarks of protection and opening, against the bare AES-GCM call and the peers' own routines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from dlms_cosem import security as peer_security
from dlms_cosem import utils as peer_utils
from dlms_cosem.protocol.xdlms import GetRequestNormal as PeerGetRequest
from gurux_dlms.AesGcmParameter import AesGcmParameter
from gurux_dlms.enums.Security import Security
from gurux_dlms.GXDLMSChippering import GXDLMSChippering

from bench.case import Case, Pair, equal
from meterseal import apdu
from meterseal.apdu.services import GetRequestNormal
from meterseal.codec.data import Array, Structure, Tag, encode
from meterseal.crypto import GcmKey, suite
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import (
    AUTHENTICATED,
    ENCRYPTED,
    Context,
    KeyInUse,
    SecuritySetup,
    Style,
    protect,
    unprotect,
)

EK, AK = os.urandom(16), os.urandom(16)
CLIENT, METER = b"MSL\x00\x00\x00\x00\x01", b"MSL\x00\x00\x00\x00\x02"
BOTH = AUTHENTICATED | ENCRYPTED
POLICY = 0x6C
SC = 0x30
HEAD = b"\xc0\x01\xc1\x00\x03\x01\x00\x01\x08\x00\xff\x02\x00"


class Line:
    """A sender and a receiver with a key in common, and inputs whose counters both sides know."""

    def __init__(self) -> None:
        self._at = 1
        self.sending = Context(SecuritySetup(suite(0), CLIENT, METER, POLICY, self._key()), METER)
        self.receiving = Context(
            SecuritySetup(suite(0), METER, CLIENT, POLICY, self._key()), CLIENT, minimum=BOTH
        )

    @staticmethod
    def _key() -> KeyInUse:
        return KeyInUse(GcmKey(EK, AK), SendCounter(0, 0), ReceiveCounter())

    def reserve(self, count: int) -> int:
        """Start a fresh block of counters for the sender; returns its first value."""
        first, self._at = self._at, self._at + count
        key = self.sending.setup.unicast
        assert key is not None
        key.tx = SendCounter(first, self._at)
        return first


def requests(line: Line, count: int) -> Sequence[tuple[int, bytes]]:
    """Fresh 13-octet GET requests with the counters that they will go out under."""
    first = line.reserve(count)
    return [(first + i, HEAD[:6] + os.urandom(5) + HEAD[11:]) for i in range(count)]


def protect_vs_bare() -> Pair:
    """The whole of `protect` against the kept object's encrypt alone."""
    line, bare, aad = Line(), AESGCM(EK).encrypt, bytes((SC,)) + AK
    context = line.sending

    def inputs(count: int) -> Sequence[tuple[bytes, bytes]]:
        return [(CLIENT + ic.to_bytes(4, "big"), octets) for ic, octets in requests(line, count)]

    def agree(_: Any, ours: bytes, theirs: bytes) -> None:
        equal(None, ours[7:], theirs[:-4])

    return Pair(
        inputs,
        lambda item: protect(context, item[1], BOTH, Style.GLO),
        lambda item: bare(item[0], item[1], aad),
        agree,
        calls=4000,
    )


def protect_vs_dlms_cosem() -> Pair:
    """The whole of `protect` against the peer's encrypt routine."""
    line = Line()
    context = line.sending
    control = peer_security.SecurityControlField(0, authenticated=True, encrypted=True)

    def theirs(item: tuple[int, bytes]) -> bytes:
        return bytes(peer_security.encrypt(control, CLIENT, item[0], EK, item[1], AK))

    def agree(_: Any, ours: bytes, peer: bytes) -> None:
        equal(None, ours[7:], peer)

    return Pair(
        lambda count: requests(line, count),
        lambda item: protect(context, item[1], BOTH, Style.GLO),
        theirs,
        agree,
        calls=2000,
        calls_theirs=500,
    )


def protect_vs_gurux() -> Pair:
    """The whole of `protect` against the peer's routine, which makes the whole APDU too."""
    line = Line()
    context = line.sending
    parameters = AesGcmParameter(0xC8, bytearray(CLIENT), bytearray(EK), bytearray(AK))
    parameters.security = Security.AUTHENTICATION_ENCRYPTION

    def theirs(item: tuple[int, bytes]) -> bytes:
        parameters.invocationCounter = item[0]
        return bytes(GXDLMSChippering.encryptAesGcm(parameters, bytearray(item[1])))

    return Pair(
        lambda count: requests(line, count),
        lambda item: protect(context, item[1], BOTH, Style.GLO),
        theirs,
        equal,
        calls=2000,
        calls_theirs=20,
    )


ROWS = Array(Structure((Tag.OCTET_STRING, *(Tag.DOUBLE_LONG_UNSIGNED,) * 3)))


def profile_octets() -> bytes:
    """2,978 octets of Data: 96 rows of a clock and three registers, with fresh values."""

    def number() -> int:
        return int.from_bytes(os.urandom(4), "big")

    return encode([(os.urandom(12), number(), number(), number()) for _ in range(96)], ROWS)


def open_profile() -> Pair:
    """Protected octets to Python rows: open and decode the answer of a GET."""
    line = Line()
    key = line.receiving.setup.unicast
    assert key is not None
    control = peer_security.SecurityControlField(0, authenticated=True, encrypted=True)

    def inputs(count: int) -> Sequence[tuple[int, bytes, bytes]]:
        first = line.reserve(count)
        key.rx = ReceiveCounter(first)
        made = []
        for i in range(count):
            octets = protect(line.sending, b"\xc4\x01\xc1\x00" + profile_octets(), BOTH, Style.GLO)
            made.append((first + i, octets, octets[9:]))
        return made

    context = line.receiving

    def ours(item: tuple[int, bytes, bytes]) -> Any:
        message: Any = apdu.decode(unprotect(context, item[1]).apdu)
        return message.result.data.value

    def theirs(item: tuple[int, bytes, bytes]) -> Any:
        plain = peer_security.decrypt(control, CLIENT, item[0], EK, item[2], AK)
        return peer_utils.parse_as_dlms_data(plain[4:])

    def agree(_: Any, mine: Any, peer: Any) -> None:
        equal(None, [tuple(row) for row in mine], [(bytes(row[0]), *row[1:]) for row in peer])

    return Pair(inputs, ours, theirs, agree, calls=60, calls_theirs=6)


def decode_get_request() -> Pair:
    """Decode a GET request with dispatch on the tag."""

    def inputs(count: int) -> Sequence[bytes]:
        return [HEAD[:6] + os.urandom(5) + HEAD[11:] for _ in range(count)]

    def agree(_: Any, ours: Any, theirs: Any) -> None:
        assert isinstance(ours, GetRequestNormal)
        peer = theirs.cosem_attribute
        equal(
            None,
            (ours.attribute.class_id, ours.attribute.instance_id, ours.attribute.attribute_id),
            (int(peer.interface), peer.instance.to_bytes(), peer.attribute),
        )

    return Pair(inputs, apdu.decode, PeerGetRequest.from_bytes, agree, calls=3000, calls_theirs=800)


CASES = (
    Case("decode_get_request_vs_dlms_cosem", 4, decode_get_request),
    Case("protect_vs_bare_gcm", 2.5, protect_vs_bare, faster=False),
    Case("protect_vs_dlms_cosem", 3, protect_vs_dlms_cosem),
    Case("protect_vs_gurux", 300, protect_vs_gurux),
    Case("open_profile_vs_dlms_cosem", 20, open_profile),
)
