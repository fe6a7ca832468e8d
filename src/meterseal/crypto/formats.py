"""Files of others, PEM or DER, told apart by what is in them: certificates, requests, revocation lists."""

from __future__ import annotations

from enum import Enum

from meterseal.crypto.certificates import Certificate
from meterseal.crypto.issuing import Request
from meterseal.crypto.revocation import RevocationList
from meterseal.errors import CertificateRefused


class Form(Enum):
    """What a file is: the label of its PEM, and how the innermost first field of its DER begins."""

    CERTIFICATE = b"-----BEGIN CERTIFICATE-----", b"\xa0"  # version, [0]
    REQUEST = b"REQUEST-----", b"\x02\x01\x00"  # version 0
    LIST = b"-----BEGIN X509 CRL-----", b"\x02\x01\x01"  # version 1


def is_pem(octets: bytes) -> bool:
    """Is it text with an encapsulated part (RFC 7468), whatever stands before it?"""
    return b"-----BEGIN " in octets


def form_of(octets: bytes) -> Form:
    """What it says it is; of DER that says nothing, a certificate.  Raises CertificateRefused: other PEM."""
    if not is_pem(octets):
        first = _content(_content(octets))
        return next((form for form in Form if first.startswith(form.value[1])), Form.CERTIFICATE)
    for form in Form:
        if form.value[0] in octets:
            return form
    raise CertificateRefused("neither a certificate nor a request nor a revocation list")


def _content(der: bytes) -> bytes:
    """Behind a tag and its length, whatever that says."""
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :] if len(der) > 1 else b""


def certificates_in(octets: bytes) -> list[Certificate]:
    """All certificates of a PEM file, or the one of a DER file.  Raises CertificateRefused."""
    return Certificate.from_pem(octets) if is_pem(octets) else [Certificate(octets)]


def request_in(octets: bytes) -> Request:
    """The request of a PEM or DER file.  Raises CertificateRefused."""
    return Request.from_pem(octets) if is_pem(octets) else Request(octets)


def list_in(octets: bytes) -> RevocationList:
    """The revocation list of a PEM or DER file.  Raises CertificateRefused."""
    return RevocationList.from_pem(octets) if is_pem(octets) else RevocationList(octets)
