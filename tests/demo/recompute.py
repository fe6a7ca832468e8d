"""Recomputing what the demonstration claims from its evidence: `cryptography`, and none of our own code."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.serialization import load_pem_private_key

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
    plain = unsealed(sealed.sc, sealed.counter, sealed.body, guek, bytes.fromhex(gak), title)
    return None if plain is None else plain.hex().upper()


def unsealed(sc: int, counter: int, body: bytes, key: str, aad: bytes, title: str) -> bytes | None:
    """What is inside, still compressed where SC says so; `aad` is what stands behind SC."""
    iv, ek, text = bytes.fromhex(title) + counter.to_bytes(4, "big"), bytes.fromhex(key), body[:-TAG]
    # The text by counter mode from the second block on; its true tag by sealing it again.
    stream = Cipher(AES(ek), CTR(iv + bytes((0, 0, 0, 2)))).decryptor()
    plain = stream.update(text) + stream.finalize()
    again = AESGCM(ek).encrypt(iv, plain, bytes((sc,)) + aad)
    assert again[: len(text)] == text
    return plain if hmac.compare_digest(again[len(text) :][:TAG], body[-TAG:]) else None


# --- general forms and suite 1 ------------------------------------------------------------------------


class Reader:
    """Fields with lengths in front, one after another."""

    def __init__(self, octets: bytes) -> None:
        self.octets, self.at = octets, 0

    def take(self, count: int) -> bytes:
        found = self.octets[self.at : self.at + count]
        assert len(found) == count
        self.at += count
        return found

    def field(self) -> bytes:
        (length,) = self.take(1)
        if length > 0x7F:
            length = int.from_bytes(self.take(length & 0x7F), "big")
        return self.take(length)

    @property
    def done(self) -> bool:
        return self.at == len(self.octets)


def general_glo(frame: str) -> tuple[str, int, int, bytes]:
    """Title, SC, counter and body of a general-glo-ciphering APDU."""
    read = Reader(bytes.fromhex(frame)[WRAPPER:])
    assert read.take(1) == b"\xdb"
    title, content = read.field(), read.field()
    assert read.done
    return title.hex().upper(), content[0], int.from_bytes(content[1:5], "big"), content[5:]


def opens_general(frame: str, guek: str, gak: str) -> bytes | None:
    """What a general-glo-ciphering APDU holds, under the title that it names."""
    title, sc, counter, body = general_glo(frame)
    return unsealed(sc, counter, body, guek, bytes.fromhex(gak), title)


@dataclass(frozen=True)
class SignedApdu:
    """general-signing, by hand: what was signed, parties, content, R and S."""

    signed: bytes
    originator: str
    recipient: str
    content: bytes
    signature: bytes


def signed_apdu(octets: bytes) -> SignedApdu:
    read = Reader(octets)
    assert read.take(1) == b"\xdf"
    _, originator, recipient, _, _, content = (read.field() for _ in range(6))
    end = read.at
    signature = read.field()
    assert read.done
    return SignedApdu(octets[1:end], originator.hex().upper(), recipient.hex().upper(), content, signature)


def verifies(certificate: str, signature: bytes, message: bytes) -> bool:
    """R || S over SHA-256 under the key of a certificate."""
    key = x509.load_der_x509_certificate(bytes.fromhex(certificate)).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def issued_by(certificate: str, issuer: str) -> None:
    """Raises unless the one is signed by the key of the other."""
    one, above = (x509.load_der_x509_certificate(bytes.fromhex(der)) for der in (certificate, issuer))
    one.verify_directly_issued_by(above)


def common_name(certificate: str) -> str:
    name = x509.load_der_x509_certificate(bytes.fromhex(certificate)).subject.rfc4514_string()
    return name.removeprefix("CN=")


def opens_static(frame: str, private: str, certificate: str, gak: str) -> bytes | None:
    """What general-ciphering with C(0e,2s) holds: the key by ECDH, transaction and titles."""
    octets = bytes.fromhex(frame)[WRAPPER:]
    read = Reader(octets)
    assert read.take(1) == b"\xdd"
    transaction, originator, recipient, *_ = (read.field() for _ in range(5))
    header = octets[1 : read.at]
    assert read.take(5) == bytes.fromhex("0102010200")
    content = read.field()
    assert read.done
    own = load_pem_private_key(private.encode(), None)
    peer = x509.load_der_x509_certificate(bytes.fromhex(certificate)).public_key()
    assert isinstance(own, ec.EllipticCurvePrivateKey) and isinstance(peer, ec.EllipticCurvePublicKey)
    other = (
        bytes.fromhex("60857405080300") + originator + bytes((len(transaction),)) + transaction + recipient
    )
    key = ConcatKDFHash(SHA256(), 16, other).derive(own.exchange(ec.ECDH(), peer))
    counter = int.from_bytes(content[1:5], "big")
    aad = bytes.fromhex(gak) + header
    return unsealed(content[0], counter, content[5:], key.hex(), aad, originator.hex())
