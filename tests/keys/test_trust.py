"""Trust: what is taken in on whose word, what the directory gives out, and what never changes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from meterseal.crypto import AgreementKey, AgreementPoint, SigningKey, VerifyingKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.errors import CertificateRefused, UnknownKey
from meterseal.keys import trust as trusts
from meterseal.keys.introduced import Introduced
from meterseal.keys.trust import Trust
from meterseal.security.steps import settle
from tests.crypto.certificate_faults import NOW, OTHER, ROOT, SUB, TITLE, VALIDITY
from tests.keys.test_revocation import introduced, listed

P256 = curve("P-256")


def signature(title: bytes = TITLE, by: Authority = SUB, validity: Validity = VALIDITY) -> Certificate:
    return by.issue(SigningKey.generate(P256).public, title, Purpose.SIGNATURE, validity)


def agreement(title: bytes = TITLE) -> Certificate:
    return SUB.issue(AgreementKey.generate(P256).public, title, Purpose.AGREEMENT, VALIDITY)


def trust(now: datetime | None = NOW) -> Trust:
    return Trust([ROOT.certificate], lambda: now, [SUB.certificate])


def test_taken_in_and_given_out() -> None:
    party, sign, agree = trust(), signature(), agreement()
    assert party.take(sign) == [sign, SUB.certificate, ROOT.certificate]
    party.take(agree)
    assert party.verifying_key(TITLE) == sign.key and type(party.verifying_key(TITLE)) is VerifyingKey
    assert party.agreement_point(TITLE) == agree.key and type(agree.key) is AgreementPoint
    assert set(party.held) == {sign, agree} and party.find(TITLE, Purpose.AGREEMENT) is agree
    for title in (OTHER, b""):
        with pytest.raises(UnknownKey):
            party.verifying_key(title)
        with pytest.raises(UnknownKey):
            party.agreement_point(title)


def test_a_newer_one_takes_its_place() -> None:
    party, first, second = trust(), signature(), signature()
    party.take(first)
    assert introduced(party, TITLE, second.der) == second.key
    assert party.held == [second]
    party.remove(second)
    with pytest.raises(UnknownKey):
        party.verifying_key(TITLE)


def hold(key: VerifyingKey) -> None:
    """The sign-on is proved."""
    assert isinstance(key, Introduced)
    key.hold()


def test_A10_what_comes_along_is_held_once_it_is_proved() -> None:
    kept: list[Certificate] = []
    party = Trust([ROOT.certificate], lambda: NOW, [SUB.certificate], keep=kept.append)
    first, second, third = signature(), signature(), signature()
    party.take(first)
    keys = [settle(party.introduced(TITLE, one.der)) for one in (second, third)]
    assert [key.octets for key in keys] == [second.key.octets, third.key.octets]
    assert party.held == [first] and party.verifying_key(TITLE) == first.key and not kept
    for key, certificate in zip(keys, (second, third), strict=True):
        hold(key)
        assert party.held == [certificate] == kept[-1:]
    party.remove(second)
    with pytest.raises(CertificateRefused, match="removed"):  # between certificate and proof
        hold(keys[0])
    assert party.held == [third] and len(kept) == 2


def test_D11_D14_B17_what_comes_along_at_a_sign_on() -> None:
    party = trust()
    with pytest.raises(CertificateRefused, match="another system title"):
        introduced(party, TITLE, signature(OTHER).der)
    with pytest.raises(CertificateRefused, match="agreement"):
        introduced(party, TITLE, agreement().der)
    stranger = Authority.root(SigningKey.generate(P256), "Sub", VALIDITY)
    with pytest.raises(CertificateRefused):
        introduced(party, TITLE, signature(by=stranger).der)
    with pytest.raises(CertificateRefused):
        introduced(party, TITLE, SUB.certificate.der)
    with pytest.raises(CertificateRefused):
        introduced(party, TITLE, b"\x30\x00")
    assert party.held == []


def test_a_refused_one_leaves_the_held_one() -> None:
    party, held = trust(), signature()
    party.take(held)
    stranger = Authority.root(SigningKey.generate(P256), "Sub", VALIDITY)
    with pytest.raises(CertificateRefused):
        introduced(party, TITLE, signature(by=stranger).der)
    assert party.verifying_key(TITLE) == held.key


def test_D12_dates_are_looked_at_each_time() -> None:
    now = NOW
    party = Trust([ROOT.certificate], lambda: now, [SUB.certificate])
    short = signature(validity=Validity(VALIDITY.begin, NOW + timedelta(days=1)))
    party.take(short)
    assert party.verifying_key(TITLE) == short.key
    now = NOW + timedelta(days=2)
    with pytest.raises(CertificateRefused, match="clock"):
        party.verifying_key(TITLE)
    party = trust(None)  # a party without a clock
    party.take(short)
    assert party.verifying_key(TITLE) == short.key


def test_pinned_without_an_anchor() -> None:
    party = Trust([], lambda: NOW)
    own = signature()
    with pytest.raises(CertificateRefused):
        party.take(own)
    party.pin(own)
    assert introduced(party, TITLE, own.der) == own.key
    with pytest.raises(CertificateRefused):
        introduced(party, TITLE, signature().der)
    with pytest.raises(CertificateRefused):
        party.pin(SUB.certificate)


def test_D21_authorities_come_in_and_anchors_do_not() -> None:
    party = Trust([ROOT.certificate], lambda: NOW)
    with pytest.raises(CertificateRefused):
        party.take(signature())
    party.take(SUB.certificate)
    party.take(signature())
    stranger = Authority.root(SigningKey.generate(P256), "Root", VALIDITY)
    with pytest.raises(CertificateRefused):
        party.take(stranger.certificate)
    assert party.anchors == (ROOT.certificate,) and party.authorities == [SUB.certificate]
    party.remove(SUB.certificate)
    party.remove(ROOT.certificate)
    assert party.authorities == [] and party.anchors == (ROOT.certificate,)


def test_D16_a_removed_certificate_comes_back_by_no_sign_on() -> None:
    """Removing is how a meter revokes: only an import takes the certificate in again."""
    party, sign = trust(), signature()
    party.take(sign)
    party.remove(sign)
    with pytest.raises(CertificateRefused, match="removed"):
        introduced(party, TITLE, sign.der)
    assert party.held == []
    party.take(sign)
    assert introduced(party, TITLE, sign.der) == sign.key


def test_an_older_certificate_does_not_take_the_place_of_a_newer_one() -> None:
    party, old, new = trust(), signature(), signature(validity=Validity(NOW - timedelta(hours=1)))
    party.take(new)
    with pytest.raises(CertificateRefused, match="older"):
        introduced(party, TITLE, old.der)
    assert party.verifying_key(TITLE) == new.key


def test_D10_one_key_serves_one_party_and_one_purpose() -> None:
    key = SigningKey.generate(P256)
    party = trust()
    party.take(SUB.issue(key.public, TITLE, Purpose.SIGNATURE, VALIDITY))
    point = AgreementPoint(P256, key.public.octets)
    for again in (
        SUB.issue(point, TITLE, Purpose.AGREEMENT, VALIDITY),
        SUB.issue(key.public, TITLE, Purpose.TLS, VALIDITY),
        SUB.issue(key.public, OTHER, Purpose.SIGNATURE, VALIDITY),
    ):
        with pytest.raises(CertificateRefused, match="another purpose or another party"):
            party.take(again)
        with pytest.raises(CertificateRefused, match="another purpose or another party"):
            party.pin(again)
    party.take(SUB.issue(key.public, TITLE, Purpose.SIGNATURE, VALIDITY))  # renewed


def test_D13_D20_keys_on_the_curve_of_the_suite() -> None:
    party = Trust([ROOT.certificate], lambda: NOW, [SUB.certificate], curve=curve("P-384"))
    with pytest.raises(CertificateRefused, match="P-256, the suite has P-384"):
        party.take(signature())
    with pytest.raises(CertificateRefused, match="P-256, the suite has P-384"):
        introduced(party, TITLE, signature().der)


def test_the_number_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusts, "MOST", 3)
    party = trust()
    for number in range(3):
        party.take(signature(bytes(7) + bytes((number + 1,))))
    with pytest.raises(CertificateRefused, match="3 certificates"):
        party.take(signature(TITLE))
    party.take(signature(bytes(7) + b"\x01"))  # in the place of an older one


# --- step by step -------------------------------------------------------------------------------


def introducing(party: Trust, sent: Certificate) -> tuple[Any, Any]:
    """The steps to a certificate that came along, up to its verification; the way that this finds."""
    steps: Any = party.introduced(TITLE, sent.der)
    certificate = next(steps)()
    assert certificate == sent
    return steps, steps.send(certificate)()


def test_introduced_step_by_step_nothing_is_held_before_the_end() -> None:
    party, sent = trust(), signature()
    steps, way = introducing(party, sent)
    assert party.held == [] and way == [sent, SUB.certificate, ROOT.certificate]
    with pytest.raises(StopIteration) as done:
        steps.send(way)
    key = done.value.value
    assert key.octets == sent.key.octets and party.held == []
    key.hold()
    assert party.held == [sent]
    assert party.introduced(TITLE, sent.der) == party.introduced(TITLE, None) == sent.key


def test_D16_what_was_removed_while_it_was_verified_is_not_taken() -> None:
    for remove in (lambda sent: sent, lambda sent: SUB.certificate):
        party, sent = trust(), signature()
        steps, way = introducing(party, sent)
        party.remove(remove(sent))
        with pytest.raises(CertificateRefused, match="removed"):
            steps.send(way)
        assert party.held == []


def test_D16_what_is_removed_between_certificate_and_proof_is_not_taken() -> None:
    spoiled: list[Callable[[Trust, Certificate], None]] = [
        lambda party, sent: party.remove(sent),
        lambda party, sent: party.remove(SUB.certificate),
        lambda party, sent: party.take_list(listed(sent)),
    ]
    for spoil in spoiled:
        party, sent = trust(), signature()
        key = settle(party.introduced(TITLE, sent.der))
        spoil(party, sent)
        with pytest.raises(CertificateRefused, match=r"removed|revoked"):
            hold(key)
        assert party.held == []


def test_a_newer_one_that_came_meanwhile_stays() -> None:
    later = Validity(VALIDITY.begin + timedelta(days=1), VALIDITY.end)
    party, sent, newer = trust(), signature(), signature(validity=later)
    steps, way = introducing(party, sent)
    party.take(newer)
    with pytest.raises(CertificateRefused, match="an older certificate"):
        steps.send(way)
    assert party.held == [newer]


def test_lists_that_come_while_a_way_is_looked_for_count_at_its_end() -> None:
    party, sent = trust(), signature()
    steps, way = introducing(party, sent)
    party.take_list(listed(sent))
    with pytest.raises(CertificateRefused, match="revoked"):
        steps.send(way)


def test_D16_an_authority_removed_while_a_certificate_was_verified_leads_nowhere() -> None:
    party, sent = trust(), signature()
    steps = party.verifying(sent)
    way = next(steps)()
    party.remove(SUB.certificate)
    with pytest.raises(CertificateRefused, match="removed"):
        steps.send(way)
    assert party.held == []


def test_D10_a_key_that_another_party_came_to_have_meanwhile_is_refused() -> None:
    party, key = trust(), SigningKey.generate(P256).public
    sent, others = (SUB.issue(key, title, Purpose.SIGNATURE, VALIDITY) for title in (TITLE, OTHER))
    steps = party.verifying(sent)
    way = next(steps)()
    party.take(others)
    with pytest.raises(CertificateRefused, match="another party already"):
        steps.send(way)
    assert party.held == [others]
