"""Certificates with one fault each (the catalogue's list), made beside a right one of the same parties."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity, _key_usage
from meterseal.crypto.issuing import title_name as title_name
from meterseal.crypto.titles import HARDWARE_MODULE_NAME

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
VALIDITY = Validity(NOW - timedelta(days=1), NOW + timedelta(days=3650))
TITLE = bytes.fromhex("4D534C0000000001")
OTHER = bytes.fromhex("4D534C0000000002")

ROOT = Authority.root(SigningKey.generate(curve("P-256")), "Root", VALIDITY)
SUB_KEY = SigningKey.generate(curve("P-256"))
SUB = ROOT.sub(SUB_KEY, "Sub", VALIDITY)
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())


def identifier_of(authority: Any) -> x509.AuthorityKeyIdentifier:
    """Of an authority's public key; or the extension as it is to be."""
    if isinstance(authority, x509.AuthorityKeyIdentifier):
        return authority
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority)


@dataclass(frozen=True)
class Draft:
    """What a certificate is made of; a fault changes one thing."""

    subject: x509.Name
    issuer: x509.Name
    key: Any
    signer: Any
    hash: Any
    begin: datetime
    end: datetime
    serial: int
    usage: x509.KeyUsage | None
    usage_critical: bool
    authority: Any
    more: tuple[tuple[x509.ExtensionType, bool], ...]

    def der(self) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self.issuer)
            .subject_name(self.subject)
            .public_key(self.key)
            .serial_number(self.serial)
            .not_valid_before(self.begin)
            .not_valid_after(self.end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key), False)
            .add_extension(identifier_of(self.authority), False)
        )
        if self.usage is not None:
            builder = builder.add_extension(self.usage, self.usage_critical)
        for extension, critical in self.more:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.signer, self.hash).public_bytes(Encoding.DER)


RIGHT = Draft(
    subject=title_name(TITLE),
    issuer=SUB.certificate._x509.subject,
    key=LEAF_KEY.public_key(),
    signer=SUB_KEY.backend(),
    hash=hashes.SHA256(),
    begin=VALIDITY.begin,
    end=VALIDITY.end,
    serial=0x1234,
    usage=_key_usage(Purpose.SIGNATURE),
    usage_critical=True,
    authority=SUB_KEY.backend().public_key(),
    more=(),
)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def hardware(serial: bytes) -> x509.SubjectAlternativeName:
    inside = b"\x06\x03\x2a\x03\x04\x04" + bytes((len(serial),)) + serial
    value = b"\x30" + bytes((len(inside),)) + inside
    return x509.SubjectAlternativeName([x509.OtherName(HARDWARE_MODULE_NAME, value)])


def by_number(issuer: Certificate, beside: int) -> x509.AuthorityKeyIdentifier:
    """Names the authority by who certified it, and the number of that certificate or one `beside` it."""
    name = x509.DirectoryName(issuer._x509.subject)
    return x509.AuthorityKeyIdentifier(None, [name], SUB.certificate._x509.serial_number + beside)


def usage(*bits: str) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in bits for name in names})


def draft(**changes: Any) -> Callable[[], bytes]:
    return lambda: replace(RIGHT, **changes).der()


def patched(old: bytes, new: bytes) -> Callable[[], bytes]:
    """The right one, some octets replaced by as many: its signature is no longer right either."""

    def make() -> bytes:
        der = RIGHT.der()
        assert der.count(old) >= 1 and len(old) == len(new)
        return der.replace(old, new, 1)

    return make


def resigned(change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """The TBS part changed and signed anew, put together by hand."""

    def make() -> bytes:
        certificate = x509.load_der_x509_certificate(RIGHT.der())
        tbs = change(certificate.tbs_certificate_bytes)
        return assembled(tbs, SUB_KEY.backend().sign(tbs, ec.ECDSA(hashes.SHA256())))

    return make


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    wide = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = bytes((size,)) if size < 0x80 else bytes((0x80 | len(wide),)) + wide
    return bytes((tag,)) + length + content


ECDSA_SHA256 = bytes.fromhex("300A06082A8648CE3D040302")


def assembled(tbs: bytes, signature: bytes) -> bytes:
    return tlv(0x30, tbs + ECDSA_SHA256 + tlv(0x03, b"\x00" + signature))


def content_of(der: bytes) -> bytes:
    """Behind the tag and the length."""
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


tbs_content = content_of


def with_serial(content: bytes) -> Callable[[bytes], bytes]:
    def change(tbs: bytes) -> bytes:
        return tlv(0x30, tbs_content(tbs).replace(b"\x02\x02\x12\x34", tlv(0x02, content), 1))

    return change


NAMED_CURVE = bytes.fromhex("06082A8648CE3D030107")


def with_spki(point: bytes, parameters: bytes = NAMED_CURVE) -> Callable[[bytes], bytes]:
    def spki(parameters: bytes, point: bytes) -> bytes:
        algorithm = tlv(0x30, bytes.fromhex("06072A8648CE3D0201") + parameters)
        return tlv(0x30, algorithm + tlv(0x03, b"\x00" + point))

    def change(tbs: bytes) -> bytes:
        content = tbs_content(tbs)
        before = spki(NAMED_CURVE, uncompressed())
        assert before in content
        return tlv(0x30, content.replace(before, spki(parameters, point), 1))

    return change


def uncompressed() -> bytes:
    numbers = LEAF_KEY.public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def point(form: str) -> bytes:
    numbers = LEAF_KEY.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    return {
        "compressed": bytes((2 + (numbers.y & 1),)) + x,
        "hybrid": bytes((6 + (numbers.y & 1),)) + x + y,
        "off": b"\x04" + x + (numbers.y ^ 1).to_bytes(32, "big"),
        "infinity": b"\x00",
        "right": b"\x04" + x + y,
    }[form]


EXPLICIT = bytes.fromhex(
    "3081E0020101302C06072A8648CE3D0101022100FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF"
    "30440420FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFC"
    "04205AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B"
    "0441046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
    "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
    "022100FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551020101"
)


def raw_signature() -> bytes:
    certificate = x509.load_der_x509_certificate(RIGHT.der())
    r, s = decode_dss_signature(certificate.signature)
    return assembled(certificate.tbs_certificate_bytes, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def large_s() -> bytes:
    certificate = x509.load_der_x509_certificate(RIGHT.der())
    r, s = decode_dss_signature(certificate.signature)
    order = curve("P-256").order
    return assembled(certificate.tbs_certificate_bytes, encode_dss_signature(r, s + order))


def indefinite() -> bytes:
    der = RIGHT.der()
    return b"\x30\x80" + der[4 if der[1] == 0x82 else 3 :] + b"\x00\x00"


def twice(tbs: bytes) -> bytes:
    """The key usage a second time, inside the list of extensions."""
    key_usage = bytes.fromhex("300E0603551D0F0101FF040403020780")
    content = tbs_content(tbs)
    # Behind the public key, which may hold any octet.
    at = content.index(b"\xa3", content.index(uncompressed()) + len(uncompressed()))
    listed = content_of(content_of(content[at:]))
    assert key_usage in listed
    return tlv(0x30, content[:at] + tlv(0xA3, tlv(0x30, listed + key_usage)))


SINGLE: dict[str, Callable[[], bytes]] = {
    # the key
    "wrong curve": draft(key=ec.generate_private_key(ec.SECP521R1()).public_key()),
    "koblitz curve": draft(key=ec.generate_private_key(ec.SECP256K1()).public_key()),
    "explicit parameters": resigned(with_spki(point("right"), EXPLICIT)),
    "compressed point": resigned(with_spki(point("compressed"))),
    "hybrid point": resigned(with_spki(point("hybrid"))),
    "point off the curve": resigned(with_spki(point("off"))),
    "point at infinity": resigned(with_spki(point("infinity"))),
    "rsa": draft(key=rsa.generate_private_key(65537, 2048).public_key()),
    # the title
    "lower-case title": draft(subject=named("4d534c0000000001")),
    "title of 7 octets": draft(subject=named("4D534C00000001")),
    "title of 9 octets": draft(subject=named("4D534C000000000001")),
    "title with a NUL": draft(subject=named("4D534C000000000\x00")),
    "title with a suffix": draft(subject=named("4D534C0000000001.")),
    "wildcard title": draft(subject=named("*")),
    "empty subject": draft(subject=x509.Name([])),
    "hwSerialNum differs": draft(more=((hardware(OTHER), False),)),
    "hwSerialNum of 7 octets": draft(subject=x509.Name([]), more=((hardware(TITLE[1:]), True),)),
    "hwSerialNum of 9 octets": draft(subject=x509.Name([]), more=((hardware(TITLE + b"\x00"), True),)),
    "two common names": draft(
        subject=x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, TITLE.hex().upper()),
                x509.NameAttribute(NameOID.COMMON_NAME, OTHER.hex().upper()),
            ]
        )
    ),
    # the usage
    "key usage missing": draft(usage=None),
    "key usage not critical": draft(usage_critical=False),
    "key usage of nothing": draft(usage=usage()),
    "key usage both": draft(usage=usage("digital_signature", "key_agreement")),
    "key usage encipherment": draft(usage=usage("key_encipherment")),
    "key usage non-repudiation too": draft(usage=usage("digital_signature", "content_commitment")),
    "key usage of agreement to encipher only": draft(usage=usage("key_agreement", "encipher_only")),
    "key usage of agreement to decipher only": draft(usage=usage("key_agreement", "decipher_only")),
    "key usage cert sign without CA": draft(usage=usage("key_cert_sign", "crl_sign")),
    "CA:TRUE leaf": draft(more=((x509.BasicConstraints(True, None), True),)),
    "extended key usage of TLS": draft(
        more=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),)
    ),
    # the form
    "unknown critical extension": draft(
        more=((x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),)
    ),
    "extension of 64 kB": draft(
        more=((x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), bytes(65536)), False),)
    ),
    "duplicate extension": resigned(twice),
    "serial 0": resigned(with_serial(b"\x00")),
    "negative serial": resigned(with_serial(b"\xff")),
    "serial of 40 octets": resigned(with_serial(b"\x01" * 40)),
    "serial with padding": resigned(with_serial(b"\x00\x12")),
    "trailing octets": lambda: RIGHT.der() + b"\x00",
    "two certificates": lambda: RIGHT.der() * 2,
    "indefinite length": indefinite,
    "nothing": lambda: b"",
    "not DER": lambda: b"\x30\x84\xff\xff\xff\xff",
    "version 1": resigned(lambda tbs: tlv(0x30, tbs_content(tbs)[5:])),
    "pem in place of der": lambda: x509.load_der_x509_certificate(RIGHT.der()).public_bytes(Encoding.PEM),
}
"""Faults that reading alone refuses."""

CHAIN: dict[str, Callable[[], bytes]] = {
    "expired": draft(begin=NOW - timedelta(days=9), end=NOW - timedelta(seconds=1)),
    "from the future": draft(begin=NOW + timedelta(hours=1)),
    "SHA-1": patched(ECDSA_SHA256[2:], bytes.fromhex("06082A8648CE3D040301")),
    "SHA-384 by a P-256 authority": draft(hash=hashes.SHA384()),
    "signed by a stranger": draft(signer=STRANGER, authority=STRANGER.public_key()),
    "signed by a stranger under the right identifier": draft(signer=STRANGER),
    "AKI mismatch": draft(authority=STRANGER.public_key()),
    "AKI of another certificate of the issuer": draft(authority=by_number(ROOT.certificate, 1)),
    "AKI of a certificate by another issuer": draft(authority=by_number(SUB.certificate, 0)),
    "issuer of another name": draft(issuer=named("Somebody")),
    "self-signed leaf": draft(issuer=title_name(TITLE), signer=LEAF_KEY, authority=LEAF_KEY.public_key()),
    "signed by the root's name": draft(issuer=ROOT.certificate._x509.subject),
    "title changed after signing": patched(b"4D534C0000000001", b"4D534C0000000002"),
    "signature r||s": raw_signature,
    "s above n": large_s,
    "P-384 key under P-256": draft(key=ec.generate_private_key(ec.SECP384R1()).public_key()),
}
"""Faults that only the way to the anchor shows."""


def quietly(make: Callable[[], bytes]) -> bytes:
    """The backend warns while it makes or reads some of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def right() -> Certificate:
    return Certificate(RIGHT.der())
