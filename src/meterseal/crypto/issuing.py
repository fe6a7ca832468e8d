"""Making certificates: requests with proof of possession, an authority that issues and revokes (classes 12).

The profile that certificates.py reads is the one that is written here: the system title in upper-case
hexadecimal digits as common name, one purpose, key identifiers, nothing that is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meterseal.crypto.certificates import (
    _SIGNATURES,
    LARGEST,
    NO_EXPIRY,
    Certificate,
    Purpose,
    public_key,
    reading,
    whole_octets,
)
from meterseal.crypto.curves import AgreementKey, AgreementPoint, PublicKey, SigningKey, TlsKey
from meterseal.crypto.revocation import Reason, Revocation
from meterseal.crypto.titles import title_of
from meterseal.errors import CertificateRefused, Misuse

TITLE_LENGTH: Final = 8


def title_name(title: bytes) -> x509.Name:
    """The subject of an end entity: its system title as common name.  Raises Misuse unless 8 octets."""
    if len(title) != TITLE_LENGTH:
        raise Misuse(f"a system title has {TITLE_LENGTH} octets, not {len(title)}")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title.hex().upper())])


# --- requests -----------------------------------------------------------------------------------


def make_request(key: SigningKey | AgreementKey | TlsKey, title: bytes) -> bytes:
    """PKCS#10, DER: the public key of `key` for `title`, signed with `key` itself.

    An agreement key signs this once and nothing else: it is how possession is proved (classes 12).
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(title_name(title))
    return builder.sign(key.backend(), key.curve.hash).public_bytes(Encoding.DER)


class Request:
    """A certificate request whose signature has been verified: who asks holds the private key.

    `title` is the system title that is asked for, in one of the places that a certificate has it in.
    """

    __slots__ = ("_x509", "der", "title")

    def __init__(self, der: bytes) -> None:
        """Raises CertificateRefused for what is no request of the profile, or is signed by another key."""
        if len(der) > LARGEST:
            raise CertificateRefused(f"a request of {len(der)} octets, above {LARGEST}")
        self.der = bytes(der)
        with reading("a certificate request in DER form"):
            self._x509 = x509.load_der_x509_csr(self.der)
            same = self._x509.public_bytes(Encoding.DER) == self.der
            same = same and whole_octets(self.der, self._x509.signature)
            signed = self._x509.is_signature_valid
            subject, asked_for = self._x509.subject, self._x509.extensions
            _ = self._x509.signature_algorithm_oid
        if not same:
            raise CertificateRefused("not the octets that this request has in DER form")
        if not signed:
            raise CertificateRefused("the request is not signed by the key that it holds")
        on = self.key(Purpose.SIGNATURE).curve
        if self._x509.signature_algorithm_oid != _SIGNATURES[on.name]:
            wanted = f"{on.name}: ECDSA with {on.hash.name.upper()}"
            raise CertificateRefused(f"signed by another algorithm than that of {wanted}")
        self.title = title_of(subject, asked_for)

    @classmethod
    def from_pem(cls, text: bytes) -> Request:
        """The request of a PEM file.  Raises CertificateRefused."""
        with reading("a PEM file of a certificate request"):
            loaded = x509.load_pem_x509_csr(text)
        return cls(loaded.public_bytes(Encoding.DER))

    def to_pem(self) -> bytes:
        """The PEM form."""
        return self._x509.public_bytes(Encoding.PEM)

    def key(self, purpose: Purpose) -> PublicKey:
        """The public key, as the type of `purpose`.  Raises CertificateRefused for another curve or form."""
        return public_key(self._x509, self._x509.tbs_certrequest_bytes, purpose)


# --- authorities --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when, with time zones; NO_EXPIRY without a planned end."""

    begin: datetime
    end: datetime = NO_EXPIRY


class Authority:
    """A CA at work: its certificate, and the signing key behind it.

    Raises Misuse when the two do not belong together.
    """

    __slots__ = ("_key", "certificate")

    def __init__(self, certificate: Certificate, key: SigningKey) -> None:
        if certificate.purpose is not Purpose.AUTHORITY or certificate.key != key.public:
            raise Misuse("the certificate is not that of an authority with this key")
        self.certificate = certificate
        self._key = key

    @classmethod
    def root(cls, key: SigningKey, name: str, validity: Validity, path_length: int | None = 1) -> Authority:
        """A new root: signed by itself, to be installed as a trust anchor."""
        subject = _authority_name(name)
        made = _build(key, subject, subject, key.public, Purpose.AUTHORITY, validity, None, path_length)
        return cls(made, key)

    def sub(self, key: SigningKey, name: str, validity: Validity, path_length: int | None = 0) -> Authority:
        """A new authority below this one; `path_length` 0: it certifies end entities only."""
        subject = _authority_name(name)
        return Authority(
            self._issue(subject, key.public, Purpose.AUTHORITY, validity, path_length=path_length), key
        )

    def issue(self, public: PublicKey, title: bytes, purpose: Purpose, validity: Validity) -> Certificate:
        """A certificate of an end entity.  Raises Misuse for a purpose or curve that does not fit."""
        if purpose is Purpose.AUTHORITY:
            raise Misuse("an authority is made by `sub`")
        if isinstance(public, AgreementPoint) is not (purpose is Purpose.AGREEMENT):
            raise Misuse(f"a {type(public).__name__} is not certified for {purpose.name.lower()}")
        return self._issue(title_name(title), public, purpose, validity)

    def revocation_list(
        self,
        revoked: Iterable[tuple[bytes, datetime] | Revocation],
        number: int,
        now: datetime,
        following: datetime,
    ) -> bytes:
        """The CRL, DER: who is revoked, since when and why; the next one is due at `following`."""
        # The builder's own way to add an entry copies all those before it.
        entries = [_revoked(Revocation(*entry)) for entry in revoked]
        builder = (
            x509.CertificateRevocationListBuilder(revoked_certificates=entries)
            .issuer_name(self.certificate._x509.subject)
            .last_update(now)
            .next_update(following)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(_authority_identifier(self._key), critical=False)
        )
        return builder.sign(self._key.backend(), self._key.curve.hash).public_bytes(Encoding.DER)

    def _issue(
        self,
        subject: x509.Name,
        public: PublicKey,
        purpose: Purpose,
        validity: Validity,
        path_length: int | None = None,
    ) -> Certificate:
        if public.curve.name == "P-384" and self._key.curve.name == "P-256":
            raise Misuse("a P-256 authority certifies no P-384 key")
        issuer = self.certificate._x509.subject
        return _build(self._key, issuer, subject, public, purpose, validity, self._key, path_length)


def _revoked(entry: Revocation) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(int.from_bytes(entry.serial, "big"))
    if entry.reason is not Reason.UNSPECIFIED:  # which is said by silence
        builder = builder.add_extension(x509.CRLReason(entry.reason.flag), critical=False)
    return builder.revocation_date(entry.moment).build()


def _authority_name(name: str) -> x509.Name:
    if not name or len(name) > 64:
        raise Misuse("an authority's name has 1 to 64 characters")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _authority_identifier(key: SigningKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.backend().public_key())


def _build(
    signer: SigningKey,
    issuer: x509.Name,
    subject: x509.Name,
    public: PublicKey,
    purpose: Purpose,
    validity: Validity,
    authority: SigningKey | None,
    path_length: int | None,
) -> Certificate:
    """One certificate, read back by the profile before it leaves."""
    backend = public.backend()
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(backend)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begin.astimezone(UTC))
        .not_valid_after(validity.end.astimezone(UTC))
        .add_extension(_key_usage(purpose), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(backend), critical=False)
    )
    if authority is not None:
        builder = builder.add_extension(_authority_identifier(authority), critical=False)
    if purpose is Purpose.AUTHORITY:
        builder = builder.add_extension(x509.BasicConstraints(True, path_length), critical=True)
    if purpose is Purpose.TLS:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    made = builder.sign(signer.backend(), signer.curve.hash)
    return Certificate(made.public_bytes(Encoding.DER))


def _key_usage(purpose: Purpose) -> x509.KeyUsage:
    bits = purpose.value
    return x509.KeyUsage(
        digital_signature="digital_signature" in bits,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement="key_agreement" in bits,
        key_cert_sign="key_cert_sign" in bits,
        crl_sign="crl_sign" in bits,
        encipher_only=False,
        decipher_only=False,
    )
