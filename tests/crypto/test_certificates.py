"""The DLMS certificate profile: published certificates, one fault at a time, chains, requests, revocation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from meterseal.crypto import AgreementKey, AgreementPoint, SigningKey, VerifyingKey, curve
from meterseal.crypto.certificates import LONGEST_CHAIN, NO_EXPIRY, Certificate, Purpose, verify_chain
from meterseal.crypto.issuing import Authority, Request, make_request, title_name
from meterseal.errors import CertificateRefused, Misuse
from tests.crypto import certificate_faults as faults
from tests.crypto.certificate_faults import NOW, OTHER, RIGHT, ROOT, SUB, TITLE, VALIDITY, quietly
from tests.mutate import hammer
from tests.vectors import load

P256, P384 = curve("P-256"), curve("P-384")
BOTH = pytest.mark.parametrize("on", [P256, P384], ids=lambda c: c.name)
ANCHORS, OTHERS = [ROOT.certificate], [SUB.certificate]


@pytest.mark.parametrize("row", load("x509"), ids=lambda row: str(row["id"]))
def test_published_certificates(row: dict[str, Any]) -> None:
    der = bytes.fromhex(row["inputs"]["der"])
    certificate = Certificate(der)
    expected = row["expected"]
    assert certificate.key.octets.hex().upper() == expected["public"]
    assert expected["key_usage"] == sorted(certificate.purpose.value)
    if "hw_serial" in expected:
        assert certificate.title == bytes.fromhex(expected["hw_serial"])
        assert certificate.not_after == NO_EXPIRY
    else:
        assert certificate.title == bytes.fromhex("90B3D51F30010000")
    assert certificate.der == der


# --- one fault each ---------------------------------------------------------------------------------


def test_the_right_one_is_taken() -> None:
    leaf = faults.right()
    assert leaf.title == TITLE and leaf.purpose is Purpose.SIGNATURE and type(leaf.key) is VerifyingKey
    assert verify_chain(leaf, OTHERS, ANCHORS, NOW) == [leaf, SUB.certificate, ROOT.certificate]


def test_an_authority_named_by_the_number_of_its_certificate() -> None:
    """authorityCertIssuer and authorityCertSerialNumber, in place of the key's identifier."""
    leaf = Certificate(replace(RIGHT, authority=faults.by_number(ROOT.certificate, 0)).der())
    assert len(verify_chain(leaf, OTHERS, ANCHORS, NOW)) == 3


@pytest.mark.parametrize("fault", faults.SINGLE)
def test_D11_D13_D14_D19_faults_in_a_certificate(fault: str) -> None:
    with pytest.raises(CertificateRefused):
        Certificate(quietly(faults.SINGLE[fault]))


@pytest.mark.parametrize("fault", faults.CHAIN)
def test_D12_D13_D15_faults_in_the_chain(fault: str) -> None:
    der = quietly(faults.CHAIN[fault])
    with pytest.raises(CertificateRefused):
        verify_chain(Certificate(der), OTHERS, ANCHORS, NOW)


def test_D12_dates() -> None:
    leaf = faults.right()
    for days in (-3650, 365 * 30):
        with pytest.raises(CertificateRefused, match="clock"):
            verify_chain(leaf, OTHERS, ANCHORS, NOW + timedelta(days=days))
    assert verify_chain(leaf, OTHERS, ANCHORS, None)
    forever = Certificate(replace(RIGHT, end=NO_EXPIRY).der())
    forever.check_dates(NOW + timedelta(days=365 * 500))


# --- chains ---------------------------------------------------------------------------------------------


def test_D15_unknown_root_and_missing_intermediate() -> None:
    leaf = faults.right()
    stranger = Authority.root(SigningKey.generate(P256), "Root", VALIDITY)
    with pytest.raises(CertificateRefused):
        verify_chain(leaf, OTHERS, [stranger.certificate], NOW)
    with pytest.raises(CertificateRefused):
        verify_chain(leaf, [], ANCHORS, NOW)
    with pytest.raises(CertificateRefused):
        verify_chain(leaf, OTHERS, [], NOW)


def test_D15_same_subject_other_key() -> None:
    twin = ROOT.sub(SigningKey.generate(P256), "Sub", VALIDITY)
    leaf = faults.right()
    assert len(verify_chain(leaf, [twin.certificate, *OTHERS], ANCHORS, NOW)) == 3
    with pytest.raises(CertificateRefused):
        verify_chain(leaf, [twin.certificate], ANCHORS, NOW)


def test_D15_path_length_depth_and_loops() -> None:
    below = SUB.sub(SigningKey.generate(P256), "Below", VALIDITY)  # SUB has a path length of 0
    leaf = below.issue(SigningKey.generate(P256).public, TITLE, Purpose.SIGNATURE, VALIDITY)
    with pytest.raises(CertificateRefused, match="path length"):
        verify_chain(leaf, [below.certificate, SUB.certificate], ANCHORS, NOW)
    authority = Authority.root(SigningKey.generate(P256), "0", VALIDITY, path_length=None)
    anchor, others = authority.certificate, []
    for number in range(1, 8):
        authority = authority.sub(SigningKey.generate(P256), str(number), VALIDITY, path_length=None)
        others.append(authority.certificate)
    leaf = authority.issue(SigningKey.generate(P256).public, TITLE, Purpose.SIGNATURE, VALIDITY)
    with pytest.raises(CertificateRefused, match=f"more than {LONGEST_CHAIN}"):
        verify_chain(leaf, others, [anchor], NOW)
    with pytest.raises(CertificateRefused, match="beside"):
        verify_chain(leaf, others * 20, [anchor], NOW)
    a, b = (SigningKey.generate(P256) for _ in range(2))
    one = Authority.root(a, "A", VALIDITY, path_length=None)
    two = Authority.root(b, "B", VALIDITY, path_length=None)
    crossed = [one.sub(b, "B", VALIDITY, None).certificate, two.sub(a, "A", VALIDITY, None).certificate]
    leaf = one.issue(SigningKey.generate(P256).public, TITLE, Purpose.SIGNATURE, VALIDITY)
    with pytest.raises(CertificateRefused):
        verify_chain(leaf, crossed, ANCHORS, NOW)
    assert len(verify_chain(leaf, crossed, [two.certificate], NOW)) == 3  # cross-signed, and found


def test_an_authority_is_no_end_entity() -> None:
    fake = SigningKey.generate(P256)
    leaf = faults.right()
    below = replace(RIGHT, issuer=leaf._x509.subject, signer=fake.backend(), subject=RIGHT.subject).der()
    with pytest.raises(CertificateRefused):
        verify_chain(Certificate(below), [leaf, *OTHERS], ANCHORS, NOW)


def test_a_P384_authority_over_both_curves() -> None:
    root = Authority.root(SigningKey.generate(P384), "Root 384", VALIDITY)
    for on in (P256, P384):
        leaf = root.issue(SigningKey.generate(on).public, TITLE, Purpose.SIGNATURE, VALIDITY)
        assert verify_chain(leaf, [], [root.certificate], NOW)
    with pytest.raises(Misuse):
        ROOT.issue(SigningKey.generate(P384).public, TITLE, Purpose.SIGNATURE, VALIDITY)
    sha256 = replace(
        RIGHT,
        issuer=root.certificate._x509.subject,
        signer=root._key.backend(),
        authority=root._key.backend().public_key(),
        hash=hashes.SHA256(),
    )
    with pytest.raises(CertificateRefused, match="algorithm"):
        verify_chain(Certificate(sha256.der()), [], [root.certificate], NOW)


# --- issuing --------------------------------------------------------------------------------------------


@BOTH
def test_issued_for_each_purpose(on: Any) -> None:
    root = Authority.root(SigningKey.generate(on), "Root", VALIDITY)
    sub = root.sub(SigningKey.generate(on), "Sub", VALIDITY)
    signing, agreeing = SigningKey.generate(on), AgreementKey.generate(on)
    for public, purpose in (
        (signing.public, Purpose.SIGNATURE),
        (agreeing.public, Purpose.AGREEMENT),
        (signing.public, Purpose.TLS),
    ):
        leaf = sub.issue(public, TITLE, purpose, VALIDITY)
        assert leaf.purpose is purpose and leaf.title == TITLE and leaf.key == public
        assert verify_chain(leaf, [sub.certificate], [root.certificate], NOW)[0] is leaf
        assert Certificate.from_pem(leaf.to_pem() + sub.certificate.to_pem()) == [leaf, sub.certificate]
    with pytest.raises(Misuse):
        sub.issue(agreeing.public, TITLE, Purpose.SIGNATURE, VALIDITY)
    with pytest.raises(Misuse):
        sub.issue(signing.public, TITLE, Purpose.AGREEMENT, VALIDITY)
    with pytest.raises(Misuse):
        sub.issue(signing.public, TITLE[1:], Purpose.SIGNATURE, VALIDITY)
    with pytest.raises(Misuse):
        Authority(sub.certificate, signing)


@BOTH
def test_D18_requests(on: Any) -> None:
    for key in (SigningKey.generate(on), AgreementKey.generate(on)):
        request = Request(make_request(key, TITLE))
        assert request.title == TITLE
        purpose = Purpose.AGREEMENT if isinstance(key, AgreementKey) else Purpose.SIGNATURE
        assert request.key(purpose) == key.public
        assert Request.from_pem(request.to_pem()).der == request.der
        for bit in range(0, 8 * len(request.der), 5):
            changed = bytearray(request.der)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CertificateRefused):
                Request(bytes(changed))
        with pytest.raises(CertificateRefused):
            Request(request.der + b"\x00")


def test_D03_a_signature_has_no_unused_bits() -> None:
    """The octet in front of the signature is 00, also where its last bits are zero."""
    made = iter(lambda: Request(make_request(SigningKey.generate(P256), TITLE)).der, b"")
    request = next(der for der in made if not der[-1] & 3)
    at = request.rindex(b"\x00\x30", 0, len(request) - 60)
    for unused in range(1, 8):
        with pytest.raises(CertificateRefused):
            Request(request[:at] + bytes((unused,)) + request[at + 1 :])


def test_D18_requests_outside_the_profile() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for subject in (faults.named("4d534c0000000001"), faults.named("meter"), x509.Name([])):
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        with pytest.raises(CertificateRefused):
            Request(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    builder = x509.CertificateSigningRequestBuilder().subject_name(title_name(TITLE))
    for other, digest in (
        (key, hashes.SHA512()),
        (ec.generate_private_key(ec.SECP521R1()), hashes.SHA256()),
        (rsa.generate_private_key(65537, 2048), hashes.SHA256()),
    ):
        with pytest.raises(CertificateRefused):
            Request(builder.sign(other, digest).public_bytes(Encoding.DER))


def by_hand(subject: bytes, parameters: bytes = faults.NAMED_CURVE, form: str = "right") -> bytes:
    """A request of the leaf's key, octet by octet."""
    algorithm = faults.tlv(0x30, bytes.fromhex("06072A8648CE3D0201") + parameters)
    key = faults.tlv(0x30, algorithm + faults.tlv(0x03, b"\x00" + faults.point(form)))
    info = faults.tlv(0x30, b"\x02\x01\x00" + subject + key + b"\xa0\x00")
    return faults.assembled(info, faults.LEAF_KEY.sign(info, ec.ECDSA(hashes.SHA256())))


def test_D13_a_request_whose_key_is_in_another_form() -> None:
    """As a certificate: the named curve and the uncompressed point, whatever else could be read."""
    subject = title_name(TITLE).public_bytes()
    assert Request(by_hand(subject)).title == TITLE
    for parameters, form in (
        (faults.EXPLICIT, "right"),
        (faults.NAMED_CURVE, "compressed"),
        (faults.NAMED_CURVE, "hybrid"),
    ):
        with pytest.raises(CertificateRefused):
            Request(by_hand(subject, parameters, form))


@pytest.mark.parametrize("length", [0, 65, 200])
def test_D19_a_request_with_a_name_of_a_length_that_there_is_not(length: int) -> None:
    """Refused with its error and nothing else: a warning of the backend would be one here."""
    name = faults.tlv(0x0C, b"A" * length)
    part = faults.tlv(0x31, faults.tlv(0x30, bytes.fromhex("0603550403") + name))
    with pytest.raises(CertificateRefused):
        Request(by_hand(faults.tlv(0x30, part)))


def test_D11_another_meters_title_is_not_hidden() -> None:
    other = Certificate(replace(RIGHT, subject=title_name(OTHER)).der())
    assert other.title == OTHER != TITLE


def test_D19_mutations() -> None:
    seeds = [RIGHT.der(), *(bytes.fromhex(row["inputs"]["der"]) for row in load("x509"))]
    outcomes = hammer(Certificate, seeds, count=20_000)
    assert set(outcomes) == {"value", "certificate"}
    requests = [make_request(SigningKey.generate(P256), TITLE)]
    assert set(hammer(Request, requests, count=5_000)) <= {"value", "certificate"}


def test_revocation_list() -> None:
    leaf = faults.right()
    der = SUB.revocation_list([(leaf.serial, NOW)], 7, NOW, NOW + timedelta(days=7))
    crl = x509.load_der_x509_crl(der)
    assert crl.is_signature_valid(faults.SUB_KEY.backend().public_key())
    revoked = crl.get_revoked_certificate_by_serial_number(int.from_bytes(leaf.serial, "big"))
    assert revoked is not None and revoked.revocation_date_utc == NOW


def test_agreement_certificates_hold_points() -> None:
    key = AgreementKey.generate(P256)
    leaf = SUB.issue(key.public, TITLE, Purpose.AGREEMENT, VALIDITY)
    assert type(leaf.key) is AgreementPoint
    assert "agreement" in repr(leaf)
