"""Envelopes: for one receiver, from one sender, once; every octet of one that is changed is noticed (G15)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from meterseal.authority.shipment import open_envelope, seal_envelope
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.errors import CertificateRefused, Forged, Malformed, MetersealError, Replayed

NOW = datetime(2026, 11, 25, tzinfo=UTC)
BODY = b'{"format": "meterseal-shipment-1", "meters": 1}\n' * 20


class Party:
    """Somebody with a pair for each purpose."""

    def __init__(self, authority: Authority, title: str, on: str) -> None:
        validity = Validity(NOW - timedelta(days=1), NOW + timedelta(days=1))
        self.signing, self.agreement = SigningKey.generate(curve(on)), AgreementKey.generate(curve(on))
        octets = bytes.fromhex(title)
        self.signs = authority.issue(self.signing.public, octets, Purpose.SIGNATURE, validity)
        self.agrees = authority.issue(self.agreement.public, octets, Purpose.AGREEMENT, validity)


@pytest.fixture(scope="module", params=["P-256", "P-384"])
def parties(request: pytest.FixtureRequest) -> tuple[Party, Party, Party]:
    validity = Validity(NOW - timedelta(days=1), NOW + timedelta(days=1))
    authority = Authority.root(SigningKey.generate(curve(request.param)), "root", validity)
    one, two, three = (Party(authority, f"4D534C555449000{n}", request.param) for n in (1, 2, 3))
    return one, two, three


def seal(sender: Party, receiver: Party, number: int = 1) -> bytes:
    return seal_envelope(BODY, receiver.agrees, sender.signs, sender.signing, number, NOW)


def unseal(octets: bytes, receiver: Party, sender: Certificate, lowest: int = 1) -> tuple[bytes, str, int]:
    return open_envelope(octets, receiver.agrees, receiver.agreement, sender, lambda _: lowest)


def test_G15_for_the_receiver_from_the_sender_once(parties: tuple[Party, Party, Party]) -> None:
    factory, utility, other = parties
    octets = seal(factory, utility, 7)
    assert b"shipment" not in octets
    body, sender, number = unseal(octets, utility, factory.signs, 7)
    assert (body, number) == (BODY, 7) and len(sender) == 64
    with pytest.raises(CertificateRefused, match="another receiver"):
        unseal(octets, other, factory.signs)
    with pytest.raises(Forged, match="not from this sender"):
        unseal(octets, utility, other.signs)
    with pytest.raises(Replayed) as caught:
        unseal(octets, utility, factory.signs, 8)
    assert caught.value.lowest_acceptable == 8
    with pytest.raises(CertificateRefused, match="not that of the private key"):
        seal_envelope(BODY, utility.agrees, factory.signs, other.signing, 1, NOW)
    with pytest.raises(CertificateRefused, match="agreement certificate"):
        seal_envelope(BODY, utility.signs, factory.signs, factory.signing, 1, NOW)


def test_G15_every_field_is_signed(parties: tuple[Party, Party, Party]) -> None:
    factory, utility, other = parties
    octets = seal(factory, utility)
    whole, theirs = json.loads(octets), json.loads(seal(other, utility, 2))
    for name in whole:
        for value in (theirs[name], None, 7, "", "AB"):
            if value == whole[name]:
                continue
            with pytest.raises(MetersealError):
                unseal(json.dumps({**whole, name: value}).encode(), utility, factory.signs)
    others: tuple[object, ...] = ({**whole, "extra": 1}, [], {}, None)
    for changed in others:
        with pytest.raises(Malformed):
            unseal(json.dumps(changed).encode(), utility, factory.signs)
    with pytest.raises(Malformed):
        unseal(b"[" * 100_000, utility, factory.signs)


def test_B01_every_octet_of_an_envelope(parties: tuple[Party, Party, Party]) -> None:
    factory, utility, _ = parties
    octets = seal(factory, utility)
    layout = set(b" \n")
    for at in islice(range(len(octets)), 0, None, 3):
        if octets[at] in layout:
            continue
        changed = octets[:at] + bytes((octets[at] ^ 0x01,)) + octets[at + 1 :]
        try:
            body, _, number = unseal(changed, utility, factory.signs)
        except MetersealError:
            continue
        assert json.loads(changed) == json.loads(octets) or octets[at : at + 1].isalpha()
        assert (body, number) == (BODY, 1)
