"""Revocation lists: written and read, one fault each, and a million entries (D16, D19)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from meterseal.crypto import SigningKey, curve
from meterseal.crypto import revocation as module
from meterseal.crypto.formats import certificates_in, list_in, request_in
from meterseal.crypto.issuing import Authority, make_request
from meterseal.crypto.revocation import FOR_GOOD, Reason, Revocation, RevocationList
from meterseal.errors import CertificateRefused
from tests.crypto import certificate_faults as faults
from tests.crypto.certificate_faults import NOW, ROOT, STRANGER, SUB, SUB_KEY, TITLE, VALIDITY, named, tlv
from tests.mutate import hammer

WEEK = timedelta(days=7)
SERIAL = b"\x12\x34"


def written(*revoked: Revocation, number: int = 7) -> bytes:
    return SUB.revocation_list(revoked, number, NOW, NOW + WEEK)


@dataclass(frozen=True)
class Draft:
    """What a list is made of; a fault changes one thing."""

    issuer: x509.Name
    signer: Any
    authority: Any
    hash: Any
    begin: datetime
    more: tuple[tuple[x509.ExtensionType, bool], ...]

    def der(self) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.issuer)
            .last_update(self.begin)
            .next_update(self.begin + WEEK)
            .add_extension(faults.identifier_of(self.authority), False)
        )
        for extension, critical in self.more:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.signer, self.hash).public_bytes(Encoding.DER)


RIGHT = Draft(
    issuer=SUB.certificate._x509.subject,
    signer=SUB_KEY.backend(),
    authority=SUB_KEY.backend().public_key(),
    hash=hashes.SHA256(),
    begin=NOW,
    more=((x509.CRLNumber(1), False),),
)


def by_hand(change: Callable[[bytes], bytes]) -> bytes:
    """The signed part changed and signed anew."""
    found = x509.load_der_x509_crl(RIGHT.der())
    tbs = change(found.tbs_certlist_bytes)
    return faults.assembled(tbs, SUB_KEY.backend().sign(tbs, ec.ECDSA(hashes.SHA256())))


def without_next(tbs: bytes) -> bytes:
    content = faults.content_of(tbs)
    last = content.rindex(b"\x17\x0d")  # UTCTime
    return tlv(0x30, content[:last] + content[last + 15 :])


def unused_bits() -> bytes:
    while True:
        der = RIGHT.der()
        signature = x509.load_der_x509_crl(der).signature
        if not signature[-1] & 1:
            at = len(der) - len(signature) - 1
            return der[:at] + b"\x01" + der[at + 1 :]


def test_what_is_written_is_read() -> None:
    said = [Revocation(bytes((9, number)), NOW, reason) for number, reason in enumerate(FOR_GOOD)]
    found = RevocationList(written(*said))
    found.check_issued_by(SUB.certificate)
    found.check_dates(NOW)
    found.check_dates(NOW + WEEK)
    assert (found.number, found.this_update, found.next_update) == (7, NOW, NOW + WEEK)
    assert len(found) == len(said) and [found.find(one.serial) for one in said] == said
    assert found.find(SERIAL) is None and found.find(SERIAL) is None
    assert list_in(found.to_pem()).der == list_in(found.der).der == found.der
    assert "7 of CN=Sub" in repr(found)


@pytest.mark.parametrize(
    "load", [lambda: RevocationList(written()), lambda: SUB.certificate], ids=["list", "certificate"]
)
def test_a_name_that_the_backend_warns_of_is_shown_in_silence(load: Callable[[], Any]) -> None:
    """A common name made a country of more than two letters; warnings are errors here."""
    whole = load()
    odd = type(whole)(whole.der.replace(bytes.fromhex("0603550403"), bytes.fromhex("0603550406"), 1))
    assert odd.issuer_text != whole.issuer_text and odd.issuer_text.startswith("C=")


def test_entries_without_a_reason() -> None:
    found = RevocationList(SUB.revocation_list([(SERIAL, NOW)], 1, NOW, NOW + WEEK))
    assert found.find(SERIAL) == Revocation(SERIAL, NOW, Reason.UNSPECIFIED)
    assert len(RevocationList(written())) == 0


def test_reasons_of_others_are_read() -> None:
    for reason in Reason:
        found = RevocationList(written(Revocation(SERIAL, NOW, reason))).find(SERIAL)
        assert found is not None and found.reason is reason


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda: replace(RIGHT, issuer=named("Other")).der(), "another issuer"),
        (lambda: replace(RIGHT, signer=STRANGER, authority=STRANGER.public_key()).der(), "another key"),
        (lambda: replace(RIGHT, authority=faults.by_number(ROOT.certificate, 1)).der(), "another key"),
        (lambda: replace(RIGHT, signer=STRANGER).der(), "does not verify"),
        (lambda: replace(RIGHT, hash=hashes.SHA384()).der(), "another algorithm"),
    ],
)
def test_D16_lists_by_a_wrong_issuer(make: Callable[[], bytes], cause: str) -> None:
    with pytest.raises(CertificateRefused, match=cause):
        RevocationList(make()).check_issued_by(SUB.certificate)


def test_D16_a_list_by_an_end_entity() -> None:
    leaf = faults.right()
    signed = replace(RIGHT, issuer=leaf._x509.subject, signer=faults.LEAF_KEY).der()
    with pytest.raises(CertificateRefused, match="no certification authority"):
        RevocationList(signed).check_issued_by(leaf)


def test_D16_stale_and_early() -> None:
    found = RevocationList(written())
    with pytest.raises(CertificateRefused, match="stale"):
        found.check_dates(NOW + WEEK + timedelta(seconds=1))
    with pytest.raises(CertificateRefused, match="clock"):
        found.check_dates(NOW - timedelta(seconds=1))


SINGLE: dict[str, Callable[[], bytes]] = {
    "no number": lambda: replace(RIGHT, more=()).der(),
    "a difference": lambda: replace(
        RIGHT, more=((x509.CRLNumber(2), False), (x509.DeltaCRLIndicator(1), True))
    ).der(),
    "a part": lambda: replace(
        RIGHT,
        more=(
            (x509.CRLNumber(2), False),
            (x509.IssuingDistributionPoint(None, None, True, False, None, False, False), True),
        ),
    ).der(),
    "no next update": lambda: by_hand(without_next),
    "trailing octets": lambda: RIGHT.der() + b"\x00",
    "indefinite length": lambda: b"\x30\x80" + RIGHT.der()[3:] + b"\x00\x00",
    "signature of 8n - 1 bits": unused_bits,
    "nothing": lambda: b"",
    "a certificate": lambda: faults.RIGHT.der(),
    "endless": lambda: b"\x30\x84\xff\xff\xff\xff",
}


@pytest.mark.parametrize("fault", SINGLE)
def test_D16_D19_lists_outside_the_profile(fault: str) -> None:
    with pytest.raises(CertificateRefused):
        RevocationList(SINGLE[fault]())


def test_D19_lists_bit_by_bit() -> None:
    right = written(Revocation(SERIAL, NOW, Reason.KEY_COMPROMISE))
    for bit in range(8 * len(right)):
        changed = bytearray(right)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CertificateRefused):
            RevocationList(bytes(changed)).check_issued_by(SUB.certificate)


def test_D19_mutated_lists() -> None:
    def take(octets: bytes) -> None:
        found = RevocationList(octets)
        found.check_issued_by(SUB.certificate)
        found.find(SERIAL)

    outcomes = hammer(take, [written(Revocation(SERIAL, NOW, Reason.SUPERSEDED))], count=5_000)
    assert set(outcomes) <= {"value", "certificate"}


def test_octets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_LIST", 100)
    for octets in (written(), RevocationList.to_pem):
        with pytest.raises(CertificateRefused, match="above"):
            list_in(octets if isinstance(octets, bytes) else b"-----BEGIN X509 CRL-----" + bytes(300))


def million() -> bytes:
    """A list of 10^6 entries with a reason each, put together by hand: serial numbers of 16 octets."""
    moment = b"\x17\x0d261125120000Z"
    reason = bytes.fromhex("300C300A0603551D1504030A0104")
    entries = b"".join(
        b"\x30\x2f\x02\x10\x01" + number.to_bytes(15, "big") + moment + reason
        for number in range(1, 1_000_001)
    )
    return by_hand(lambda tbs: _with_entries(tbs, entries))


def _with_entries(tbs: bytes, entries: bytes) -> bytes:
    content = faults.content_of(tbs)
    behind = content.rindex(b"\x17\x0d") + 15
    return tlv(0x30, content[:behind] + tlv(0x30, entries) + content[behind:])


@pytest.mark.slow
def test_D16_a_million_entries() -> None:
    der = million()
    assert 40_000_000 < len(der) < module.LARGEST_LIST
    found = RevocationList(der)
    found.check_issued_by(SUB.certificate)
    last = b"\x01" + (1_000_000).to_bytes(15, "big")
    entry = found.find(last)
    assert entry == Revocation(last, NOW, Reason.SUPERSEDED)
    assert found.find(b"\x01" + (1_000_001).to_bytes(15, "big")) is None
    for _ in range(10_000):
        assert found.find(last) is entry  # kept: not looked for again


def test_formats_are_told_apart() -> None:
    leaf, key = faults.right(), SigningKey.generate(curve("P-256"))
    assert certificates_in(leaf.der) == certificates_in(b"Text before\n" + leaf.to_pem()) == [leaf]
    request = request_in(make_request(key, TITLE))
    assert request_in(request.to_pem()).der == request.der
    for octets in (b"", b"-----BEGIN ", leaf.to_pem(), leaf.der):
        with pytest.raises(CertificateRefused):
            request_in(octets)
        with pytest.raises(CertificateRefused):
            list_in(octets)
    for octets in (b"", b"-----BEGIN ", request.der, request.to_pem()):
        with pytest.raises(CertificateRefused):
            certificates_in(octets)


def test_a_P384_authority_revokes() -> None:
    root = Authority.root(SigningKey.generate(curve("P-384")), "Root 384", VALIDITY)
    found = RevocationList(root.revocation_list([(SERIAL, NOW)], 1, NOW, NOW + WEEK))
    found.check_issued_by(root.certificate)
    with pytest.raises(CertificateRefused, match="another issuer"):
        found.check_issued_by(ROOT.certificate)
