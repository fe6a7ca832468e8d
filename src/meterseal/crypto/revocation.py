"""Revocation lists of authorities: read strictly, held to their issuer and their dates (keys 6; RFC 5280, 5).

Only whole lists of one authority over its own certificates are understood: a list with a critical
extension is another kind (a part, a difference), and refused.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from meterseal.crypto.certificates import (
    _SIGNATURES,
    Certificate,
    Purpose,
    name_text,
    reading,
    whole_octets,
)
from meterseal.crypto.identifiers import authority_key
from meterseal.errors import CertificateRefused

LARGEST_LIST: Final = 1 << 26
"""Octets of a list: more than 10^6 entries of the profile."""

_MOST_ANSWERS: Final = 4096


class Reason(Enum):
    """Why a certificate was revoked (RFC 5280, 5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key-compromise"
    CA_COMPROMISE = "ca-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation-of-operation"
    CERTIFICATE_HOLD = "certificate-hold"
    REMOVE_FROM_CRL = "remove-from-crl"
    PRIVILEGE_WITHDRAWN = "privilege-withdrawn"
    AA_COMPROMISE = "aa-compromise"

    @property
    def flag(self) -> x509.ReasonFlags:
        """The backend's own word."""
        return x509.ReasonFlags[self.name.lower()]


FOR_GOOD: Final = tuple(
    one
    for one in Reason
    if one not in (Reason.CERTIFICATE_HOLD, Reason.REMOVE_FROM_CRL, Reason.AA_COMPROMISE)
)
"""What an authority of this package revokes for: never for a while, and no attribute certificates."""


class Revocation(NamedTuple):
    """One entry of a list."""

    serial: bytes
    moment: datetime
    reason: Reason = Reason.UNSPECIFIED


def _refuse(why: str) -> NoReturn:
    raise CertificateRefused(why)


class RevocationList:
    """One CRL.  What it says counts once `check_issued_by` has been passed."""

    __slots__ = (
        "_answers",
        "_x509",
        "authority_key",
        "der",
        "issuer",
        "next_update",
        "number",
        "this_update",
    )

    def __init__(self, der: bytes) -> None:
        """Raises CertificateRefused for whatever is no whole list with number and dates."""
        if len(der) > LARGEST_LIST:
            _refuse(f"a revocation list of {len(der)} octets, above {LARGEST_LIST}")
        self.der = bytes(der)
        self._answers: dict[bytes, Revocation | None] = {}
        with reading("a revocation list in DER form"):
            self._x509 = x509.load_der_x509_crl(self.der)
            self.issuer = self._x509.issuer.public_bytes()
            self.this_update, following = self._x509.last_update_utc, self._x509.next_update_utc
            _ = self._x509.signature_algorithm_oid
            whole = whole_octets(self.der, self._x509.signature)
            extensions = self._x509.extensions
        if not whole:
            _refuse("not the octets that this revocation list has in DER form")
        if following is None:
            _refuse("a revocation list that does not say when the next one is due")
        self.next_update = following
        for extension in extensions:
            if extension.critical:
                _refuse(f"a revocation list with a critical extension, {extension.oid.dotted_string}")
        try:
            self.number = extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        except x509.ExtensionNotFound:
            _refuse("a revocation list without a number")
        with reading("the authority key identifier"):
            self.authority_key = authority_key(extensions)

    @classmethod
    def from_pem(cls, text: bytes) -> RevocationList:
        """The list of a PEM file.  Raises CertificateRefused."""
        if len(text) > 2 * LARGEST_LIST:
            _refuse(f"a revocation list of {len(text)} characters, above {2 * LARGEST_LIST}")
        with reading("a PEM file of a revocation list"):
            loaded = x509.load_pem_x509_crl(text)
        return cls(loaded.public_bytes(Encoding.DER))

    def to_pem(self) -> bytes:
        """The PEM form."""
        return self._x509.public_bytes(Encoding.PEM)

    @property
    def issuer_text(self) -> str:
        """The issuer's name as text (RFC 4514)."""
        return name_text(self._x509)

    def __len__(self) -> int:
        return len(self._x509)

    def __repr__(self) -> str:
        return f"<RevocationList {self.number} of {self.issuer_text}>"

    def check_issued_by(self, issuer: Certificate) -> None:
        """Raises CertificateRefused unless `issuer` is the authority that signed this list."""
        if issuer.purpose is not Purpose.AUTHORITY:
            _refuse("the issuer of a revocation list is no certification authority")
        if self.issuer != issuer.subject:
            _refuse(f"a revocation list of another issuer, {self.issuer_text}")
        if not self.authority_key.may_be(issuer.subject_key, issuer.issuer, issuer.serial):
            _refuse("the revocation list names another key of its issuer")
        if self._x509.signature_algorithm_oid != _SIGNATURES[issuer.key.curve.name]:
            _refuse(f"a revocation list signed by another algorithm than that of {issuer.key.curve.name}")
        try:
            signed = self._x509.is_signature_valid(issuer.key.backend())
        except (InvalidSignature, ValueError, TypeError):
            signed = False
        if not signed:
            _refuse("the signature of the revocation list does not verify")

    def check_dates(self, now: datetime) -> None:
        """Raises CertificateRefused when `now` is before this list, or the next one is overdue."""
        if now < self.this_update:
            _refuse(
                f"a revocation list of {self.this_update:%Y-%m-%d %H:%M:%S}Z: early, or this clock is wrong"
            )
        if now > self.next_update:
            _refuse(f"a stale revocation list: the next one was due at {self.next_update:%Y-%m-%d %H:%M:%S}Z")

    def find(self, serial: bytes) -> Revocation | None:
        """The entry of a certificate; None where it is not in the list.

        The first look at a serial number goes through the list; answers are kept.
        """
        if serial not in self._answers:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[serial] = self._look_up(serial)
        return self._answers[serial]

    def _look_up(self, serial: bytes) -> Revocation | None:
        with reading("an entry of a revocation list"):
            found = self._x509.get_revoked_certificate_by_serial_number(int.from_bytes(serial, "big"))
            if found is None:
                return None
            moment = found.revocation_date_utc
        return Revocation(serial, moment, _reason(found))


def _reason(entry: x509.RevokedCertificate) -> Reason:
    """The entry's reason; an unreadable one revokes as well as any other."""
    try:
        with reading("the reason of a revocation"):
            flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, CertificateRefused):
        return Reason.UNSPECIFIED
    return Reason[flag.name.upper()]
