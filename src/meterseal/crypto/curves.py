"""Elliptic curve keys of suites 1 and 2: signing and agreeing, each a type of its own (security 12, 13).

A key pair serves one purpose (security 13), so a `SigningKey` cannot agree and an `AgreementKey`
cannot sign; their public halves are types apart as well.  On the wire a public key is x || y and
a signature R || S, every number at the full width of the curve: 32 octets on P-256, 48 on P-384.
A private key never shows its octets, and what two keys agree on leaves only as a derived key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256, sha384
from typing import Any, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meterseal.crypto.secret import Guarded
from meterseal.errors import Forged, KeyLength, Malformed, Misuse, UnknownKey, Unsupported

_ECDH: Final = ec.ECDH()
_X962, _UNCOMPRESSED = Encoding.X962, PublicFormat.UncompressedPoint  # members of enumerations: dear to read


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve with the hash that the suites join to it; `width` is the octets of one coordinate.

    `ecdsa` takes what `digest` has made of a message: the same hash, by the shortest way to it.
    """

    name: str
    width: int
    backend: ec.EllipticCurve
    hash: SHA256 | SHA384
    digest: Callable[[bytes], Any]
    ecdsa: ec.ECDSA

    @property
    def order(self) -> int:
        """The number of points of the group."""
        return self.backend.group_order


CURVES: Final[dict[str, Curve]] = {
    row.name: row
    for row in (
        Curve("P-256", 32, ec.SECP256R1(), SHA256(), sha256, ec.ECDSA(Prehashed(SHA256()))),
        Curve("P-384", 48, ec.SECP384R1(), SHA384(), sha384, ec.ECDSA(Prehashed(SHA384()))),
    )
}
"""The curves of the security suites by name."""


def curve(name: str | None) -> Curve:
    """The curve of this name.  Raises Unsupported for another, None (suite 0) included."""
    row = CURVES.get(name or "")
    if row is None:
        raise Unsupported(f"no curve {name or 'in this suite'}; there are {', '.join(CURVES)}")
    return row


# --- signatures: R || S here, DER in the backend.  Of either curve all lengths take one octet. --------


def from_der(der: bytes, width: int) -> bytes:
    """R || S of a signature that the backend made: a SEQUENCE of two INTEGERs."""
    at = 4 + der[3]
    r, s = der[4:at], der[at + 2 :]
    # A number whose first bit is set has a zero in front, one that is small has fewer octets.
    return r[-width:].rjust(width, b"\0") + s[-width:].rjust(width, b"\0")


def to_der(signature: bytes, width: int) -> bytes:
    """The SEQUENCE of R and S that the backend takes, whatever numbers they are."""
    r, s = signature[:width].lstrip(b"\0"), signature[width:].lstrip(b"\0")
    if not r or r[0] >= 0x80:
        r = b"\0" + r
    if not s or s[0] >= 0x80:
        s = b"\0" + s
    return b"\x30%c\x02%c%b\x02%c%b" % (len(r) + len(s) + 4, len(r), r, len(s), s)


# --- public halves ------------------------------------------------------------------------------


class PublicKey:
    """A point that has been checked to be on its curve and not at infinity, as x || y."""

    __slots__ = ("_key", "curve", "octets")

    def __init__(self, curve: Curve, octets: bytes) -> None:
        """`octets`: x || y, without the 04 of other encodings.  Raises Malformed for all but a point."""
        if len(octets) != 2 * curve.width:
            raise Malformed(
                f"a public key of {curve.name} has {2 * curve.width} octets (x || y), not {len(octets)}"
            )
        try:
            self._key = ec.EllipticCurvePublicKey.from_encoded_point(curve.backend, b"\x04" + octets)
        except ValueError:
            raise Malformed(f"not a point of {curve.name}") from None
        self.curve = curve
        self.octets = bytes(octets)

    @classmethod
    def of(cls, key: object) -> Self:
        """From a public key of the backend, as certificates hold it.

        Raises Unsupported for another algorithm or curve.
        """
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise Unsupported("a public key that is not on an elliptic curve")
        numbers = key.public_numbers()
        for row in CURVES.values():
            if isinstance(key.curve, type(row.backend)):
                x, y = (n.to_bytes(row.width, "big") for n in (numbers.x, numbers.y))
                return cls(row, x + y)
        raise Unsupported(f"a public key on {key.curve.name}: the suites have {', '.join(CURVES)}")

    @classmethod
    def beside(cls, curve: Curve, private: ec.EllipticCurvePrivateKey) -> Self:
        """The public half of a private key on this curve: its backend made the point, and checked it."""
        made = cls.__new__(cls)
        made._key, made.curve = private.public_key(), curve
        made.octets = made._key.public_bytes(_X962, _UNCOMPRESSED)[1:]
        return made

    def backend(self) -> ec.EllipticCurvePublicKey:
        """The backend's own object, for certificates of this package."""
        return self._key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicKey):
            return NotImplemented
        return type(self) is type(other) and self.curve is other.curve and self.octets == other.octets

    def __hash__(self) -> int:
        return hash((type(self), self.octets))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.curve.name} {self.octets[:4].hex().upper()}...>"


class VerifyingKey(PublicKey):
    """The public half of a signing key."""

    __slots__ = ()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check R || S over `message`.

        Raises Forged for everything that is no signature of this message by this key, other lengths
        and encodings included.
        """
        curve = self.curve
        width = curve.width
        if len(signature) != 2 * width:
            raise Forged(f"a signature of {len(signature)} octets: R || S of {curve.name} has {2 * width}")
        try:
            self._key.verify(to_der(signature, width), curve.digest(message).digest(), curve.ecdsa)
        except InvalidSignature:
            raise Forged("the signature does not verify") from None


class AgreementPoint(PublicKey):
    """The public half of a key agreement key, static or ephemeral."""

    __slots__ = ()


# --- private halves -----------------------------------------------------------------------------


class _Private(Guarded):
    """A private key in the backend's hands."""

    __slots__ = ("_key", "curve")

    def __init__(self, curve: Curve, octets: bytes) -> None:
        """`octets`: the private number at the curve's width.  Raises KeyLength, Malformed (0, or too big)."""
        self._key: ec.EllipticCurvePrivateKey | None = None
        self.curve = curve
        length = len(octets)
        if length != curve.width:
            del octets  # a traceback shows locals
            raise KeyLength(f"a private key of {curve.name} has {curve.width} octets, not {length}")
        try:
            self._key = ec.derive_private_key(int.from_bytes(octets, "big"), curve.backend)
        except ValueError:
            pass
        del octets
        if self._key is None:
            raise Malformed(f"not a private key of {curve.name}")

    @classmethod
    def generate(cls, curve: Curve) -> Self:
        """A new key from the backend's random source."""
        made = cls.__new__(cls)
        made.curve, made._key = curve, ec.generate_private_key(curve.backend)
        return made

    @classmethod
    def of(cls, key: object) -> Self:
        """From a private key of the backend, as key files hold it.

        Raises Unsupported for another algorithm or curve.
        """
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Unsupported("a private key that is not on an elliptic curve")
        for row in CURVES.values():
            if isinstance(key.curve, type(row.backend)):
                made = cls.__new__(cls)
                made.curve, made._key = row, key
                return made
        raise Unsupported(f"a private key on {key.curve.name}: the suites have {', '.join(CURVES)}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.curve.name}{'' if self._key else ', destroyed'}>"

    def destroy(self) -> None:
        """Drop the key; every later use raises UnknownKey."""
        self._key = None

    def backend(self) -> ec.EllipticCurvePrivateKey:
        """The backend's own object, for key files and certificate requests of this package.

        Raises UnknownKey after `destroy`.
        """
        if self._key is None:
            raise UnknownKey("this private key has been destroyed")
        return self._key


class SigningKey(_Private):
    """A digital signature key: signs, and does nothing else."""

    __slots__ = ()

    def sign(self, message: bytes) -> bytes:
        """R || S over `message` with the curve's hash; the backend draws the nonce."""
        curve = self.curve
        key = self._key or self.backend()
        return from_der(key.sign(curve.digest(message).digest(), curve.ecdsa), curve.width)

    @property
    def public(self) -> VerifyingKey:
        """What verifies."""
        return VerifyingKey.beside(self.curve, self.backend())


class TlsKey(_Private):
    """A key for TLS: it is handed to the TLS library as a file, and nothing here uses it."""

    __slots__ = ()

    @property
    def public(self) -> VerifyingKey:
        """What its certificate holds."""
        return VerifyingKey.beside(self.curve, self.backend())


class AgreementKey(_Private):
    """A key agreement key, static or ephemeral: agrees, and does nothing else."""

    __slots__ = ()

    def agree(self, peer: AgreementPoint, other_info: bytes, length: int) -> bytes:
        """`length` octets of key agreed with `peer`: ECDH, then the single-step concatenation KDF.

        K is the left part of Hash(00000001 || Z || OtherInfo), Z the x coordinate at full width
        (NIST SP 800-56A; security 12).  Z does not leave.  Raises Misuse for a peer on another curve.
        """
        return ConcatKDFHash(self.curve.hash, length, other_info).derive(self._shared(peer))

    def _shared(self, peer: AgreementPoint) -> bytes:
        """Z.  The point of `peer` was checked when it was read."""
        if peer.curve is not self.curve:
            raise Misuse(f"a key of {self.curve.name} does not agree with one of {peer.curve.name}")
        return (self._key or self.backend()).exchange(_ECDH, peer._key)

    @property
    def public(self) -> AgreementPoint:
        """What the peer agrees with."""
        return AgreementPoint.beside(self.curve, self.backend())
