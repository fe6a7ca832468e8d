"""Files of others, PEM or DER, told apart by what is in them: certificates, requests, revocation lists."""

from __future__ import annotations

from meterseal.crypto.certificates import Certificate
from meterseal.crypto.issuing import Request
from meterseal.crypto.revocation import RevocationList


def is_pem(octets: bytes) -> bool:
    """Is it text with an encapsulated part (RFC 7468), whatever stands before it?"""
    return b"-----BEGIN " in octets


def certificates_in(octets: bytes) -> list[Certificate]:
    """All certificates of a PEM file, or the one of a DER file.  Raises CertificateRefused."""
    return Certificate.from_pem(octets) if is_pem(octets) else [Certificate(octets)]


def request_in(octets: bytes) -> Request:
    """The request of a PEM or DER file.  Raises CertificateRefused."""
    return Request.from_pem(octets) if is_pem(octets) else Request(octets)


def list_in(octets: bytes) -> RevocationList:
    """The revocation list of a PEM or DER file.  Raises CertificateRefused."""
    return RevocationList.from_pem(octets) if is_pem(octets) else RevocationList(octets)
