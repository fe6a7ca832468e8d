"""Recorded and derived frames with their keys, ready for dissection."""

from __future__ import annotations

from typing import Any

from meterseal.crypto import GcmKey
from meterseal.framing import wrapper
from meterseal.probe import Keyring
from tests.framing.captures import E450, E450_KEYS, p1_telegram
from tests.vectors import vector

Row = dict[str, Any]

EK, AK = bytes(range(16)), bytes(range(0xD0, 0xE0))
TITLE = bytes.fromhex("4D4D4D0000BC614E")

E450_OCTETS = b"".join(E450)
E450_RING = Keyring.of(guek=bytes.fromhex(E450_KEYS["ek"]), gak=bytes.fromhex(E450_KEYS["ak"]))

TIROL = b"".join(bytes.fromhex(frame) for frame in vector("tirol-push")["inputs"]["frames"])
TIROL_RING = Keyring.of(guek=bytes.fromhex(vector("tirol-push")["inputs"]["ek"]))

GOSEM_KEY = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
GOSEM_RING = Keyring.of(guek=GOSEM_KEY, gak=GOSEM_KEY)
GOSEM_METER = "4C475A2022604828"


def of(id: str, field: str = "apdu") -> bytes:
    """The octets of a vector."""
    return bytes.fromhex(vector(id)["inputs"][field])


def sealed(plain: bytes, *, sc: int = 0x30, ic: int = 1, ak: bytes = AK, title: bytes = TITLE) -> bytes:
    """A general-glo-ciphering APDU."""
    body = GcmKey(EK, ak).seal(sc, title + ic.to_bytes(4, "big"), plain)
    content = bytes((sc,)) + ic.to_bytes(4, "big") + body
    size = bytes((0x82,)) + len(content).to_bytes(2, "big")
    return b"\xdb\x08" + title + size + content


def glo(tag: int, plain: bytes, *, ic: int, title: bytes, sc: int = 0x30, ek: bytes = EK) -> bytes:
    """A service-specific ciphered APDU."""
    body = GcmKey(ek, AK).seal(sc, title + ic.to_bytes(4, "big"), plain)
    content = bytes((sc,)) + ic.to_bytes(4, "big") + body
    assert len(content) < 128
    return bytes((tag, len(content))) + content


def ciphered_p1() -> bytes:
    """A ciphered telegram of a customer port, made for the tests: no real one with its key is public."""
    return sealed(p1_telegram())


def wrapped(*frames: tuple[int, int, bytes]) -> bytes:
    """Wrapper frames, end to end."""
    return b"".join(wrapper.encode(*frame) for frame in frames)


RING = Keyring.of(guek=EK, gak=AK)
