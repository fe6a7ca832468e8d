"""X.509 certificates by the DLMS profile: read strictly, and held to an anchor (classes 12, keys 6).

A certificate is for one purpose, which its key usage tells; an end entity's names a system title of
8 octets.  Three forms of the title are understood:

| where                                            | octets as                             |
|--------------------------------------------------|---------------------------------------|
| subject, common name                             | 16 upper-case hexadecimal digits      |
| subjectAltName, HardwareModuleName.hwSerialNum   | 8 octets                              |
| subject, uniqueIdentifier                        | bit string of 64 bits                 |

Importing this module loads the backend's X.509 part, which takes time: the package imports it only
where a certificate is touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from meterseal.crypto.curves import AgreementPoint, PublicKey, VerifyingKey
from meterseal.crypto.identifiers import authority_key, subject_key
from meterseal.crypto.titles import title_of
from meterseal.errors import CertificateRefused, MetersealError

LARGEST: Final = 8192
"""Octets of a certificate at most; those of the profile have a few hundred."""

LONGEST_CHAIN: Final = 4
"""Certificates from an end entity to its anchor, both counted."""

MOST_OTHERS: Final = 8
"""Certificates that may come beside the one to be verified: a way is looked for among so many."""

NO_EXPIRY: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""notAfter of a certificate without a planned end (RFC 5280, 4.1.2.5)."""

_SIGNATURES: Final = {
    "P-256": SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    "P-384": SignatureAlgorithmOID.ECDSA_WITH_SHA384,
}
"""The one signature algorithm of a CA key on each curve."""

_KNOWN_CRITICAL: Final = {
    ExtensionOID.KEY_USAGE,
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.EXTENDED_KEY_USAGE,
}


class Purpose(Enum):
    """What a certificate's key is for, with the key usage bits that say so."""

    SIGNATURE = frozenset({"digital_signature"})
    AGREEMENT = frozenset({"key_agreement"})
    TLS = frozenset({"digital_signature", "key_agreement"})
    AUTHORITY = frozenset({"key_cert_sign", "crl_sign"})


_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign",
)  # fmt: skip
_ONE_WAY: Final = ("encipher_only", "decipher_only")


def _refuse(why: str) -> NoReturn:
    raise CertificateRefused(why)


class Certificate:
    """One certificate, read by the profile.  `title` is None for a certification authority.

    `key` is a VerifyingKey, or an AgreementPoint where the purpose is key agreement.
    """

    __slots__ = ("_x509", "authority_key", "der", "key", "path_length", "purpose", "subject_key", "title")

    def __init__(self, der: bytes) -> None:
        """Raises CertificateRefused for whatever is outside the profile; dates and chain come later."""
        if len(der) > LARGEST:
            _refuse(f"a certificate of {len(der)} octets, above {LARGEST}")
        self.der = bytes(der)
        self._x509 = _load(self.der)
        extensions = _extensions(self._x509)
        self.purpose = _purpose(extensions)
        self.path_length = _basic_constraints(extensions, self.purpose)
        self.key = public_key(self._x509, self._x509.tbs_certificate_bytes, self.purpose)
        self.title = None if self.purpose is Purpose.AUTHORITY else title_of(self._x509.subject, extensions)
        self.subject_key = subject_key(extensions)
        with reading("the authority key identifier"):
            self.authority_key = authority_key(extensions)

    @classmethod
    def from_pem(cls, text: bytes) -> list[Certificate]:
        """All certificates of a PEM file, in its order.  Raises CertificateRefused for none."""
        with reading("a PEM file of certificates"):
            loaded = x509.load_pem_x509_certificates(text)
        return [cls(one.public_bytes(Encoding.DER)) for one in loaded]

    def to_pem(self) -> bytes:
        """The PEM form."""
        return self._x509.public_bytes(Encoding.PEM)

    @property
    def serial(self) -> bytes:
        """The serial number as in the certificate: 1 to 20 octets, unsigned."""
        number = self._x509.serial_number
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    @property
    def issuer(self) -> bytes:
        """The issuer's name, DER."""
        return self._x509.issuer.public_bytes()

    @property
    def subject(self) -> bytes:
        """The subject's name, DER."""
        return self._x509.subject.public_bytes()

    @property
    def issuer_text(self) -> str:
        """The issuer's name as text (RFC 4514)."""
        return name_text(self._x509)

    @property
    def subject_text(self) -> str:
        """The subject's name as text (RFC 4514)."""
        return name_text(self._x509, "subject")

    @property
    def alternative_name(self) -> bytes:
        """The value of subjectAltName, DER; empty where there is none."""
        try:
            found = self._x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return b""
        return found.value.public_bytes()

    @property
    def not_before(self) -> datetime:
        """First moment of validity, UTC."""
        return self._x509.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """Last moment of validity, UTC; NO_EXPIRY: no planned end."""
        return self._x509.not_valid_after_utc

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        who = self.title.hex().upper() if self.title else self.subject_text
        return f"<Certificate {self.purpose.name.lower()} {who} {self.key.curve.name}>"

    def check_dates(self, now: datetime) -> None:
        """Raises CertificateRefused when `now` (with a time zone) is outside the validity."""
        if now < self.not_before:
            _refuse(f"not valid before {self.not_before:%Y-%m-%d %H:%M:%S}Z: early, or this clock is wrong")
        if now > self.not_after and self.not_after != NO_EXPIRY:
            _refuse(f"expired at {self.not_after:%Y-%m-%d %H:%M:%S}Z, or this clock is wrong")

    def check_issued_by(self, issuer: Certificate) -> None:
        """Raises CertificateRefused unless `issuer` is an authority that signed this certificate."""
        if issuer.purpose is not Purpose.AUTHORITY:
            _refuse("the issuer is no certification authority")
        if self.issuer != issuer.subject:
            _refuse("issued under another name")
        if not self.authority_key.may_be(issuer.subject_key, issuer.issuer, issuer.serial):
            _refuse("the authority key identifier names another key of the issuer")
        if self.key.curve.name == "P-384" and issuer.key.curve.name == "P-256":
            _refuse("a P-384 key certified by a P-256 authority")
        if self._x509.signature_algorithm_oid != _SIGNATURES[issuer.key.curve.name]:
            _refuse(f"signed by another algorithm than that of {issuer.key.curve.name}")
        try:
            self._x509.verify_directly_issued_by(issuer._x509)
        except (InvalidSignature, ValueError, TypeError):
            _refuse("the issuer's signature does not verify")


# --- reading ------------------------------------------------------------------------------------


@contextmanager
def reading(what: str) -> Iterator[None]:
    """The backend's errors while it takes something apart, each as a CertificateRefused.

    It reads some faults (a serial number of 0 or below) and only warns: whoever asks refuses them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except _UNREADABLE:
            raise CertificateRefused(f"{what} cannot be read") from None


def name_text(of: Any, which: str = "issuer") -> str:
    """A name of the backend's object as text (RFC 4514); of odd names, too, it says nothing elsewhere."""
    with reading("a name"):
        name: x509.Name = getattr(of, which)
        return name.rfc4514_string()


_UNREADABLE: Final = (
    ValueError,
    TypeError,
    KeyError,  # up to release 45 at least, for a name of an unknown string type
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def whole_octets(der: bytes, signature: bytes) -> bool:
    """Whether the BIT STRING of the signature, which comes last, says that all its bits are used.

    The backend takes a number of unused bits for as good as none when the last bits happen to be zero.
    """
    return der[-len(signature) - 1] == 0


def _load(der: bytes) -> x509.Certificate:
    with reading("a certificate in DER form"):
        loaded = x509.load_der_x509_certificate(der)
        # Parts are taken apart when they are asked for first: here, so that no later call fails.
        serial, version = loaded.serial_number, loaded.version
        _ = loaded.subject, loaded.issuer, loaded.not_valid_before_utc, loaded.not_valid_after_utc
        _ = loaded.signature_algorithm_oid, loaded.signature
        again = loaded.public_bytes(Encoding.DER)
        whole = whole_octets(der, loaded.signature)
    if version is not x509.Version.v3:
        _refuse("not a certificate of version 3")
    if serial <= 0 or serial.bit_length() > 160:
        _refuse("a serial number that is not positive, or longer than 20 octets")
    if again != der or not whole:
        _refuse("not the octets that this certificate has in DER form")
    return loaded


def _extensions(loaded: x509.Certificate) -> x509.Extensions:
    with reading("the extensions, or one that comes twice,"):
        extensions = loaded.extensions
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN_CRITICAL:
            _refuse(f"an unknown critical extension, {extension.oid.dotted_string}")
    return extensions


def _purpose(extensions: x509.Extensions) -> Purpose:
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        _refuse("no key usage")
    if not usage.critical:
        _refuse("a key usage that is not critical")
    bits = frozenset(name for name in _USAGES if getattr(usage.value, name))
    if "key_agreement" in bits:  # the backend tells these two of such keys only
        bits |= frozenset(name for name in _ONE_WAY if getattr(usage.value, name))
    try:
        purpose = Purpose(bits)
    except ValueError:
        _refuse(f"a key usage of {', '.join(sorted(bits)) or 'nothing'}: it serves no one purpose")
    extended = any(e.oid == ExtensionOID.EXTENDED_KEY_USAGE for e in extensions)
    if extended != (purpose is Purpose.TLS):
        _refuse("an extended key usage belongs to TLS certificates, and to no others")
    return purpose


def _basic_constraints(extensions: x509.Extensions, purpose: Purpose) -> int | None:
    """The path length of an authority, None for no limit and for everybody else."""
    try:
        found = extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        if purpose is Purpose.AUTHORITY:
            _refuse("a certification authority without basic constraints")
        return None
    if found.value.ca is not (purpose is Purpose.AUTHORITY):
        _refuse("basic constraints and key usage contradict each other")
    if found.value.ca and not found.critical:
        _refuse("basic constraints of an authority that are not critical")
    return found.value.path_length


def public_key(
    loaded: x509.Certificate | x509.CertificateSigningRequest, signed: bytes, purpose: Purpose
) -> PublicKey:
    """The key in the `signed` octets of a certificate or request.  Raises CertificateRefused."""
    kind = AgreementPoint if purpose is Purpose.AGREEMENT else VerifyingKey
    with reading("the public key"):
        backend = loaded.public_key()
        spki = backend.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        try:
            key = kind.of(backend)
        except MetersealError as error:
            raise CertificateRefused(f"{error}") from None
    if spki not in signed:
        _refuse("a public key in another form than the named curve and the uncompressed point")
    return key


# --- chains -------------------------------------------------------------------------------------

Standing = Callable[[Certificate, Certificate], None]
"""Asked for a certificate and its issuer, on each step of a way: raises CertificateRefused (revoked)."""


def verify_chain(
    leaf: Certificate,
    others: Sequence[Certificate],
    anchors: Sequence[Certificate],
    now: datetime | None,
    standing: Standing | None = None,
) -> list[Certificate]:
    """The way from `leaf` to one of the `anchors`, both in it.  `now` None: dates are not looked at.

    `others` are certificates that came with it; order and surplus do not matter.  Every certificate of
    the way is in date, of sufficient path length, and signed by the next; the anchor is trusted as it is,
    but for its dates.  `standing` may refuse a step.  Raises CertificateRefused with the reason of the
    way that got furthest.
    """
    if len(others) > MOST_OTHERS:
        _refuse(f"more than {MOST_OTHERS} certificates beside the one to be verified")
    reasons: list[str] = []
    found = _climb([leaf], others, anchors, now, standing, reasons)
    if found is None:
        _refuse(reasons[-1])
    return found


def _climb(
    way: list[Certificate],
    others: Sequence[Certificate],
    anchors: Sequence[Certificate],
    now: datetime | None,
    standing: Standing | None,
    reasons: list[str],
) -> list[Certificate] | None:
    """The rest of the way; depth is bounded by LONGEST_CHAIN and no certificate comes twice."""
    last = way[-1]
    try:
        if now is not None:
            last.check_dates(now)
    except CertificateRefused as error:
        reasons.append(str(error))
        return None
    if last in anchors:
        return way
    issuers = [one for one in (*anchors, *others) if one not in way and one.subject == last.issuer]
    if not issuers:
        own = last.issuer == last.subject
        missing = "it is none" if own else "no certificate of its issuer is here"
        reasons.append(f"no way to a trust anchor from {last.subject_text}: {missing}")
    for issuer in issuers:
        try:
            last.check_issued_by(issuer)
            if issuer.path_length is not None and len(way) - 1 > issuer.path_length:
                _refuse("more authorities below one than its path length allows")
            if len(way) >= LONGEST_CHAIN:
                _refuse(f"a chain of more than {LONGEST_CHAIN} certificates")
            if standing is not None:
                standing(last, issuer)
        except CertificateRefused as error:
            reasons.append(str(error))
            continue
        found = _climb([*way, issuer], others, anchors, now, standing, reasons)
        if found is not None:
            return found
    return None
