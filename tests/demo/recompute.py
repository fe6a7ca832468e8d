"""Recomputing what the demonstration claims from its evidence: `cryptography`, and none of our own code."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

WRAPPER, TAG = 8, 12


@dataclass(frozen=True)
class Sealed:
    """A service-specific ciphered APDU behind its wrapper, by hand: tag, length, SC, counter, body."""

    tag: int
    sc: int
    counter: int
    body: bytes


def parsed(frame: str) -> Sealed:
    octets = bytes.fromhex(frame)[WRAPPER:]
    assert octets[1] == len(octets) - 2 < 128
    return Sealed(octets[0], octets[2], int.from_bytes(octets[3:7], "big"), octets[7:])


def opens(frame: str, guek: str, gak: str, title: str) -> str | None:
    """The plain APDU of a frame with SC 30 as hex; None when the tag is not that of these keys."""
    sealed = parsed(frame)
    assert sealed.sc == 0x30
    iv = bytes.fromhex(title) + sealed.counter.to_bytes(4, "big")
    key, text = bytes.fromhex(guek), sealed.body[:-TAG]
    # The text by counter mode from the second block on; its true tag by sealing it again.
    stream = Cipher(AES(key), CTR(iv + bytes((0, 0, 0, 2)))).decryptor()
    plain = stream.update(text) + stream.finalize()
    again = AESGCM(key).encrypt(iv, plain, bytes((sealed.sc,)) + bytes.fromhex(gak))
    assert again[: len(text)] == text
    return plain.hex().upper() if hmac.compare_digest(again[len(text) :][:TAG], sealed.body[-TAG:]) else None
