"""Revocation lists at a relying party: which is held, what it refuses, and that nothing older comes back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from meterseal.crypto import SigningKey, VerifyingKey, curve
from meterseal.crypto.certificates import Certificate, Purpose, verify_chain
from meterseal.crypto.issuing import Authority
from meterseal.crypto.revocation import Reason, Revocation, RevocationList
from meterseal.errors import CertificateRefused
from meterseal.keys import revocation as lists_module
from meterseal.keys.introduced import Introduced
from meterseal.keys.revocation import RevocationLists
from meterseal.keys.trust import Trust
from meterseal.security.steps import settle
from tests.crypto.certificate_faults import NOW, ROOT, SUB, TITLE, VALIDITY

P256 = curve("P-256")
WEEK = timedelta(days=7)


def leaf(by: Authority = SUB) -> Certificate:
    return by.issue(SigningKey.generate(P256).public, TITLE, Purpose.SIGNATURE, VALIDITY)


def listed(
    *revoked: Certificate, by: Authority = SUB, number: int = 1, at: datetime = NOW - timedelta(hours=1)
) -> RevocationList:
    entries = [Revocation(one.serial, at, Reason.KEY_COMPROMISE) for one in revoked]
    return RevocationList(by.revocation_list(entries, number, at, at + WEEK))


def trust(now: datetime | None = NOW, required: bool = False) -> Trust:
    return Trust([ROOT.certificate], lambda: now, [SUB.certificate], RevocationLists(required))


def introduced(party: Trust, title: bytes, certificate: bytes | None) -> VerifyingKey:
    """The key of a sign-on whose certificate comes along, once it is proved."""
    key = settle(party.introduced(title, certificate))
    if isinstance(key, Introduced):
        key.hold()
        assert party.verifying_key(title).octets == key.octets
    return party.verifying_key(title)


def test_D16_a_revoked_certificate_is_refused() -> None:
    party, one, other = trust(), leaf(), leaf()
    party.take_list(listed(one))
    with pytest.raises(CertificateRefused, match="revoked at 2026-11-25 11:00:00Z by CN=Sub: key-compromise"):
        party.take(one)
    assert party.take(other)


def test_D16_revoked_after_it_was_taken_in() -> None:
    party, one = trust(), leaf()
    party.take(one)
    assert introduced(party, TITLE, one.der) == one.key
    party.take_list(listed(one))
    for along in (None, one.der):
        with pytest.raises(CertificateRefused, match="revoked"):
            introduced(party, TITLE, along)


def test_D16_a_pinned_certificate_is_looked_up_as_well() -> None:
    party, one = trust(), leaf()
    party.pin(one)
    party.take_list(listed(one))
    with pytest.raises(CertificateRefused, match="revoked"):
        party.verifying_key(TITLE)
    alone = Trust([], lambda: NOW)  # without a way nothing can be known
    alone.pin(one)
    assert alone.verifying_key(TITLE) == one.key


def test_D16_a_revoked_sub_authority() -> None:
    party, one = trust(), leaf()
    party.take(one)
    party.take_list(listed(SUB.certificate, by=ROOT))
    with pytest.raises(CertificateRefused, match=r"revoked .* by CN=Root"):
        party.verifying_key(TITLE)


def test_a_way_around_a_revoked_certificate_is_found() -> None:
    key = SigningKey.generate(P256)
    old, new = (ROOT.sub(key, "Twice", VALIDITY) for _ in range(2))
    one, lists = leaf(new), RevocationLists()
    lists.take(listed(old.certificate, by=ROOT), ROOT.certificate, NOW)
    way = verify_chain(
        one,
        [old.certificate, new.certificate],
        [ROOT.certificate],
        NOW,
        lambda certificate, issuer: lists.check(certificate, issuer, NOW),
    )
    assert way == [one, new.certificate, ROOT.certificate]


def test_D16_missing_and_stale_lists_where_they_are_required() -> None:
    party, one = trust(required=True), leaf()
    with pytest.raises(CertificateRefused, match="no revocation list of CN=Sub"):
        party.take(one)
    party.take_list(listed())
    with pytest.raises(CertificateRefused, match="no revocation list of CN=Root"):
        party.take(one)
    party.take_list(listed(by=ROOT))
    assert party.take(one)
    later = NOW + WEEK
    late = trust(later, required=True)
    late.take_list(listed(by=ROOT))
    late.take_list(listed())
    with pytest.raises(CertificateRefused, match="stale"):
        late.take(one)
    relaxed = trust(later)
    relaxed.take_list(listed(one))  # overdue, and what it names is revoked all the same
    with pytest.raises(CertificateRefused, match="revoked"):
        relaxed.take(one)
    relaxed.take_list(listed(number=2))
    assert relaxed.take(one)


def test_D16_lists_of_a_wrong_issuer() -> None:
    party = trust()
    stranger = Authority.root(SigningKey.generate(P256), "Sub", VALIDITY)
    with pytest.raises(CertificateRefused, match="another key"):
        party.take_list(listed(by=stranger))
    other = Authority.root(SigningKey.generate(P256), "Other", VALIDITY)
    with pytest.raises(CertificateRefused, match="unknown issuer, CN=Other"):
        party.take_list(listed(by=other))
    with pytest.raises(CertificateRefused, match="clock"):
        party.take_list(listed(at=NOW + timedelta(hours=1)))
    clockless = trust(None)
    clockless.take_list(listed(at=NOW + timedelta(hours=1)))
    assert clockless.take(leaf())


def test_D16_an_older_list_does_not_come_back() -> None:
    party, one = trust(), leaf()
    party.take_list(listed(one, number=2))
    with pytest.raises(CertificateRefused, match="number 2 is here already"):
        party.take_list(listed(number=1))
    party.take_list(listed(one, number=2))  # the same again
    with pytest.raises(CertificateRefused, match="revoked"):
        party.take(one)


def test_the_number_of_lists_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists_module, "MOST_LISTS", 1)
    party = trust()
    party.take_list(listed())
    with pytest.raises(CertificateRefused, match="1 revocation lists"):
        party.take_list(listed(by=ROOT))
