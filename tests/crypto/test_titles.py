"""The system title in each of its three places (classes 12), of a certificate and of a request alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from meterseal.crypto.certificates import Certificate
from meterseal.crypto.formats import Form, form_of
from meterseal.crypto.issuing import Request, title_name
from meterseal.errors import CertificateRefused
from tests.crypto.certificate_faults import OTHER, RIGHT, TITLE, hardware, named

KEY = ec.generate_private_key(ec.SECP256R1())
NOBODY = x509.Name([])
More = tuple[tuple[x509.ExtensionType, bool], ...]


def identified(octets: bytes) -> x509.Name:
    bits = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, octets, _type=_ASN1Type.BitString)
    return x509.Name([bits])


def certificate(subject: x509.Name, more: More = ()) -> bytes | None:
    return Certificate(replace(RIGHT, subject=subject, more=more).der()).title


def request_der(subject: x509.Name, more: More = ()) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def request(subject: x509.Name, more: More = ()) -> bytes | None:
    return Request(request_der(subject, more)).title


BOTH = pytest.mark.parametrize("read", [certificate, request])
Reading = Callable[..., bytes | None]


@BOTH
def test_D11_D18_one_title_in_any_of_three_places(read: Reading) -> None:
    in_hardware = ((hardware(TITLE), True),)
    assert read(title_name(TITLE)) == TITLE
    assert read(NOBODY, in_hardware) == TITLE
    assert read(identified(b"\0" + TITLE)) == TITLE
    assert read(named("a meter"), in_hardware) == TITLE
    assert read(x509.Name([*title_name(TITLE), *identified(b"\0" + TITLE)]), in_hardware) == TITLE


@BOTH
@pytest.mark.parametrize(
    ("subject", "more", "why"),
    [
        (title_name(TITLE), ((hardware(OTHER), True),), "two system titles that differ"),
        (identified(b"\0" + OTHER), ((hardware(TITLE), True),), "two system titles that differ"),
        (x509.Name([*title_name(TITLE), *title_name(OTHER)]), (), "two system titles that differ"),
        (title_name(TITLE), ((hardware(TITLE[1:]), True),), "no system title of 8 octets"),
        (identified(b"\1" + TITLE), (), "no system title of 64 bits"),
        (identified(b"\0" + TITLE[1:]), (), "no system title of 64 bits"),
        (named("a meter"), (), "no system title: neither"),
    ],
)
def test_D11_D18_a_title_that_is_none_or_two(read: Reading, subject: x509.Name, more: More, why: str) -> None:
    with pytest.raises(CertificateRefused, match=why):
        read(subject, more)


@BOTH
def test_D19_an_extension_that_cannot_be_read(read: Reading) -> None:
    with pytest.raises(CertificateRefused):
        read(
            title_name(TITLE),
            ((x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x05"), False),),
        )


def test_what_a_file_is_it_says_itself() -> None:
    """So the refusal that is told is that of what it is, not of what it was tried as first."""
    assert form_of(RIGHT.der()) is Form.CERTIFICATE
    assert form_of(request_der(NOBODY)) is Form.REQUEST
    for octets in (b"", b"\x30", b"\x30\x80", b"\x30\xff\x30", b"words", b"\x30\x03\x02\x01"):
        assert form_of(octets) is Form.CERTIFICATE
    with pytest.raises(CertificateRefused, match="neither"):
        form_of(b"-----BEGIN PRIVATE KEY-----")
