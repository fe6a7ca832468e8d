"""An envelope for a file of keys: for one named receiver, signed by a named sender, good once (G15).

One JSON object: `format`, `number` (grows with each envelope of a sender), `made`, `from` and `to` (SHA-256
of the two certificates), `curve`, `ephemeral` (x || y), `body` (base64), `signature` (R || S).  The key is
agreed between the ephemeral key and the receiver's agreement key (suites' own KDF), for AES-256-GCM; the
signature is over all but itself, in canonical form.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from meterseal.crypto import (
    AgreementKey,
    AgreementPoint,
    GcmKey,
    SigningKey,
    VerifyingKey,
    curve,
    digest_of,
)
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.errors import CertificateRefused, Forged, Malformed, Replayed, TooLarge

FORMAT: Final = "meterseal-envelope-1"
LARGEST: Final = 1 << 29
_KEY: Final = 32
_AE: Final = 0x30
_IV: Final = bytes(12)
"""The key is drawn for one envelope, so there is one IV for it."""

_HEAD: Final = frozenset({"format", "number", "made", "from", "to", "curve", "ephemeral"})
_FIELDS: Final = _HEAD | {"body", "signature"}


def fingerprint(certificate: Certificate) -> str:
    """SHA-256 of a certificate, hex."""
    return digest_of(certificate.der).hex().upper()


def seal_envelope(
    body: bytes, receiver: Certificate, sender: Certificate, key: SigningKey, number: int, now: datetime
) -> bytes:
    """`body` for the holder of the receiver's agreement key alone.

    Raises CertificateRefused for a certificate of another purpose, or a sender's that is not of `key`.
    """
    if receiver.purpose is not Purpose.AGREEMENT or sender.purpose is not Purpose.SIGNATURE:
        raise CertificateRefused("an envelope goes to an agreement certificate, from a signature certificate")
    if sender.key != key.public:
        raise CertificateRefused("the sender's certificate is not that of the private key beside it")
    point = receiver.key
    assert isinstance(point, AgreementPoint)  # noqa: S101 - its purpose says so
    ephemeral = AgreementKey.generate(point.curve)
    head = {
        "format": FORMAT,
        "number": number,
        "made": now.isoformat(),
        "from": fingerprint(sender),
        "to": fingerprint(receiver),
        "curve": point.curve.name,
        "ephemeral": ephemeral.public.octets.hex().upper(),
    }
    told = _canonical(head)
    sealed = GcmKey(ephemeral.agree(point, told, _KEY)).seal(_AE, _IV, body, told)
    signature = key.sign(told + sealed)
    whole = {**head, "body": base64.b64encode(sealed).decode("ascii"), "signature": signature.hex().upper()}
    return json.dumps(whole, indent=1).encode("ascii") + b"\n"


def open_envelope(
    octets: bytes, receiver: Certificate, key: AgreementKey, sender: Certificate, floor: Callable[[str], int]
) -> tuple[bytes, str, int]:
    """What is inside, the sender's fingerprint, and the number, which the caller keeps as used.

    `floor`: the lowest number that is still good of a sender.  Raises Malformed, TooLarge, Forged (not by
    this sender, or changed), CertificateRefused (not for this receiver), Replayed.
    """
    whole = _read(octets)
    head = {name: whole[name] for name in _HEAD}
    told = _canonical(head)
    if whole["from"] != fingerprint(sender):
        raise Forged("the envelope is not from this sender")
    try:
        sealed = base64.b64decode(whole["body"], validate=True)
        signature, point = bytes.fromhex(whole["signature"]), bytes.fromhex(whole["ephemeral"])
    except (ValueError, binascii.Error):
        raise Malformed("envelope: body, signature or ephemeral key is no such text") from None
    verifier = sender.key
    if not isinstance(verifier, VerifyingKey):
        raise CertificateRefused("the sender's certificate is not for signatures")
    verifier.verify(signature, told + sealed)
    if whole["to"] != fingerprint(receiver):
        raise CertificateRefused("the envelope is for another receiver")
    lowest = floor(whole["from"])
    if whole["number"] < lowest:
        raise Replayed(f"envelope {whole['number']} of this sender has been used, or a later one", lowest)
    agreed = key.agree(AgreementPoint(curve(whole["curve"]), point), told, _KEY)
    return GcmKey(agreed).open(_AE, _IV, sealed, told), whole["from"], whole["number"]


def _canonical(head: dict[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode("ascii")


def _read(octets: bytes) -> dict[str, Any]:
    if len(octets) > LARGEST:
        raise TooLarge(f"an envelope of {len(octets)} octets, {LARGEST} at most")
    try:
        whole = json.loads(octets)
    except (ValueError, RecursionError):
        whole = None
    if not isinstance(whole, dict) or set(whole) != _FIELDS or whole["format"] != FORMAT:
        raise Malformed(f"not a {FORMAT}")
    texts = all(isinstance(whole[name], str) for name in _FIELDS - {"number"})
    if not texts or type(whole["number"]) is not int or not 0 < whole["number"] < 1 << 63:
        raise Malformed("envelope: a field is not what it should be")
    return whole
