"""Evidence: kept, written, read and verified; what does not hold, and what only became of it later."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from asn1crypto.tsp import TimeStampReq
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from meterseal.authority.evidence import CONTENT_LENGTH, Kept, keep, verify
from meterseal.authority.evidence_file import read_evidence, write_evidence
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.issuing import Authority
from meterseal.crypto.revocation import Reason, Revocation
from meterseal.crypto.timestamps import TimeStamp, stamp_anchors, stamp_request
from meterseal.errors import (
    CertificateRefused,
    ConfigurationError,
    DecodeError,
    Forged,
    Malformed,
    MetersealError,
    Misuse,
    TooLarge,
    UnknownKey,
)
from tests.authority.signers import (
    ANSWER,
    AT,
    DAY,
    HES,
    KEPT,
    METER,
    VALIDITY,
    YEAR,
    House,
    held,
    house,
    kept,
)
from tests.authority.tsa import MOMENT, TimeStamper, stamper

# --- what holds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["P-256", "P-384"])
def test_who_signed_what_for_whom(on: str) -> None:
    signed = house(on).signed(date_time=bytes.fromhex("07EA0B19030B000000000000"))
    # In any order, with certificates that have nothing to do with it.
    known = [house("P-384").root.certificate, house("P-256").leaf, *reversed(house(on).chain)]
    evidence = read_evidence(write_evidence(keep(signed, known, KEPT)))
    assert evidence.certificates == tuple(house(on).chain)
    found = verify(evidence, [house(on).root.certificate], AT + DAY)
    assert (found.layer.originator, found.layer.recipient) == (METER, HES)
    assert found.layer.transaction_id == b"\x01\x02\x03" and found.layer.date_time[:2] == b"\x07\xea"
    assert (found.name, found.content) == ("get-response-normal", ANSWER) and found.message is not None
    assert [one.certificate for one in found.way] == house(on).chain and found.signer == house(on).leaf
    assert (found.at, found.stamp, found.kept) == (AT, None, KEPT)
    assert all(one.expired is None and one.revoked is None for one in found.way)
    assert any("keeper's own statement" in one for one in found.warnings)


def test_what_is_inside_need_not_be_understood() -> None:
    for content, name in ((b"\xc4\x01", "get-response-normal"), (b"\xdb\x00", "general-glo-ciphering")):
        found = held(keep(house().signed(content), house().chain, KEPT))
        assert (found.message, found.name, found.content) == (None, name, content) and found.unread


def test_an_anchor_of_any_height_will_do() -> None:
    for anchor in house().chain:
        assert verify(kept(), [anchor], AT).way[-1].certificate == anchor
    pinned = keep(house().signed(), [house().leaf], KEPT)
    assert pinned.certificates == (house().leaf,)
    assert len(verify(pinned, [house().leaf], AT).way) == 1


def test_two_certificates_of_one_signer() -> None:
    other = house().sub.issue(SigningKey.generate(curve("P-256")).public, METER, Purpose.SIGNATURE, VALIDITY)
    made = keep(house().signed(), [other, *house().chain], KEPT)
    assert made.certificates[0] == house().leaf


def test_peer_option_of_the_content_length() -> None:
    signed = house().signed(whole=False)
    with pytest.raises(Forged):
        keep(signed, house().chain, KEPT)
    made = keep(signed, house().chain, KEPT, options=frozenset({CONTENT_LENGTH, "ak_in_use"}))
    again = read_evidence(write_evidence(made))
    assert again.options == {CONTENT_LENGTH}
    assert any(CONTENT_LENGTH in one for one in held(again).warnings)
    with pytest.raises(Forged):
        held(replace(made, options=frozenset()))


# --- what is refused ------------------------------------------------------------------------------


def test_B01_every_bit_of_the_signed_apdu() -> None:
    good = kept()
    octets = good.apdu
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Forged, CertificateRefused, DecodeError)):
            held(replace(good, apdu=bytes(changed)))
    assert held(good).content == ANSWER


def test_B17_not_the_signers_certificate() -> None:
    good, sub = kept(), house().sub
    stranger = SigningKey.generate(curve("P-256")).public
    signature, key = Purpose.SIGNATURE, house().key.public
    others = {
        "another key": (sub.issue(stranger, METER, signature, VALIDITY), Forged),
        "another title": (
            sub.issue(house().key.public, HES, Purpose.SIGNATURE, VALIDITY),
            CertificateRefused,
        ),
        "for TLS": (sub.issue(key, METER, Purpose.TLS, VALIDITY), CertificateRefused),
        "an authority": (sub.certificate, CertificateRefused),
    }
    for certificate, error in others.values():
        with pytest.raises(error):
            held(replace(good, certificates=(certificate, *good.certificates[1:])))
        with pytest.raises((UnknownKey, Forged)):
            keep(house().signed(), [certificate], KEPT)
    with pytest.raises(UnknownKey):
        keep(house().signed(originator=HES), house().chain, KEPT)
    with pytest.raises(UnknownKey, match="nobody"):
        keep(house().signed(originator=b""), house().chain, KEPT)


def test_D15_no_way_to_the_verifiers_anchor() -> None:
    with pytest.raises(CertificateRefused, match="another algorithm"):  # a root of the same name
        verify(kept(), [house("P-384").root.certificate], AT)
    with pytest.raises(CertificateRefused, match="no way to a trust anchor"):
        held(keep(house().signed(), [house().leaf], KEPT))
    with pytest.raises(CertificateRefused):
        verify(kept(), [], AT)


@pytest.mark.parametrize("octets", [b"", b"\xdf", ANSWER, bytes.fromhex("DF00000000000000")])
def test_what_is_no_signed_apdu(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        keep(octets, house().chain, KEPT)
    with pytest.raises(DecodeError):
        held(replace(kept(), apdu=octets))


def test_nothing_inside_is_no_evidence() -> None:
    with pytest.raises(Malformed, match="nothing inside"):
        keep(house().signed(b""), house().chain, KEPT)


@pytest.mark.parametrize("at", [AT - 31 * DAY, AT + 366 * DAY])
def test_D12_kept_while_a_certificate_was_out_of_date(at: datetime) -> None:
    with pytest.raises(CertificateRefused, match="clock is wrong"):
        held(replace(kept(), kept=Kept(at)), at + 5 * YEAR)


def test_D12_kept_in_the_future_of_the_verifier() -> None:
    with pytest.raises(CertificateRefused, match="has not come"):
        held(kept(), AT - timedelta(seconds=1))
    with pytest.raises(Misuse):
        held(kept(), datetime(2026, 11, 26))


# --- what became of it later -----------------------------------------------------------------------


def test_expired_later_is_told_with_both_dates() -> None:
    found = held(kept(), AT + 5 * YEAR)
    assert found.at == AT
    assert [one.expired for one in found.way] == [AT + YEAR, AT + 2 * YEAR, None]


def revoked(at: datetime, reason: Reason = Reason.SUPERSEDED) -> Revocation:
    return Revocation(house().leaf.serial, at, reason)


def test_D16_revoked_later_is_told_with_both_dates() -> None:
    later = AT + 3 * DAY
    crl = house().crl(2, AT + 5 * DAY, revoked(later))
    found = held(kept(), AT + 6 * DAY, lists=[crl])
    assert found.at == AT and found.way[0].revoked == revoked(later)
    assert [one.looked_at for one in found.way] == [AT + 5 * DAY, None, None]
    assert not any("other hands" in one for one in found.warnings)
    assert any("list of its issuer is missing" in one for one in found.warnings)


def test_D16_revoked_before_is_refused() -> None:
    for moment in (AT, AT - DAY):
        crl = house().crl(2, AT + DAY, revoked(moment))
        with pytest.raises(CertificateRefused, match="was revoked at"):
            held(kept(), AT + 6 * DAY, lists=[crl])
    above = Revocation(house().sub.certificate.serial, AT - DAY)
    with pytest.raises(CertificateRefused, match="CN=Meters was revoked"):
        held(kept(lists=[house().crl(1, AT, above, by=house().root)]))


def test_D16_a_stolen_key_without_a_time_stamp_leaves_the_keepers_word() -> None:
    crl = house().crl(2, AT + 5 * DAY, revoked(AT + DAY, Reason.KEY_COMPROMISE))
    assert any("other hands" in one for one in held(kept(), AT + 6 * DAY, lists=[crl]).warnings)
    stamped = kept().stamped(TimeStamp(stamper().token(kept().apdu)), [stamper().anchor])
    found = held(stamped, AT + 6 * DAY, lists=[crl], stamp_anchors=[stamper().anchor])
    assert not any("other hands" in one for one in found.warnings)


def test_D16_lists_of_old_count_and_a_hold_ends() -> None:
    old, new = house().crl(1, AT, revoked(AT - DAY)), house().crl(2, AT + DAY)
    with pytest.raises(CertificateRefused, match="was revoked at"):
        held(kept(lists=[old]), AT + 6 * DAY, lists=[new])
    hold = house().crl(1, AT, revoked(AT - DAY, Reason.CERTIFICATE_HOLD))
    with pytest.raises(CertificateRefused, match="certificate-hold"):
        held(kept(lists=[hold]))
    assert held(kept(lists=[new, hold]), AT + 6 * DAY).way[0].revoked is None
    twice = [house().crl(1, AT, revoked(AT + 2 * DAY)), house().crl(2, AT, revoked(AT + DAY))]
    assert held(kept(), AT + 6 * DAY, lists=twice).way[0].revoked == revoked(AT + DAY)


def test_D16_lists_of_nobody_on_the_way() -> None:
    twin = House("P-256")
    with pytest.raises(CertificateRefused, match="names another key"):
        kept(lists=[twin.crl(1, AT)])
    with pytest.raises(CertificateRefused, match="nobody on the way"):
        stranger = Authority.root(SigningKey.generate(curve("P-256")), "Stranger", VALIDITY)
        held(kept(), lists=[house().crl(1, AT, by=stranger)])


# --- time stamps ----------------------------------------------------------------------------------


def test_a_time_stamp_says_when() -> None:
    evidence = kept()
    stamped = evidence.stamped(TimeStamp(stamper().response(evidence.apdu)), [stamper().anchor])
    again = read_evidence(write_evidence(stamped))
    found = held(again, stamp_anchors=[stamper().anchor])
    assert found.stamp is not None and found.at == found.stamp.at == MOMENT
    assert (found.stamp.authority, found.stamp.serial, found.stamp.hash) == ("CN=Time", 7, "SHA-512")
    assert not any("own statement" in one for one in found.warnings)
    # Whom nobody here trusts for time proves no time: the keeper's word is left.
    found = held(again)
    assert found.stamp is None and found.at == AT and "NOT verified" in found.warnings[0]


def test_a_time_stamp_counts_against_a_keeper_who_lies() -> None:
    """Kept, so it is said, while the certificate was in date; stamped when it was no more."""
    late = TimeStamper(days=1000)
    evidence = kept()
    stamp = TimeStamp(late.token(evidence.apdu, at=AT + 2 * YEAR))
    with pytest.raises(CertificateRefused, match="expired"):
        held(evidence.stamped(stamp, [late.anchor]), AT + 3 * YEAR, stamp_anchors=[late.anchor])


def test_time_stamps_that_do_not_hold() -> None:
    evidence, other = kept(), TimeStamper()
    usual = [stamper().anchor]
    refused: dict[str, tuple[bytes, list[bytes]]] = {
        "of other octets": (stamper().token(b"something else"), usual),
        "of an authority nobody trusts": (other.token(evidence.apdu), usual),
        "signed over SHA-1": (stamper().token(evidence.apdu, digest="sha1"), usual),
        "of a SHA-1": (stamper().token(evidence.apdu, hash="sha1"), usual),
        "after the certificate's end": (stamper().token(evidence.apdu, at=AT + 2 * YEAR), usual),
        "before its beginning": (stamper().token(evidence.apdu, at=AT - YEAR), usual),
    }
    for name, how in {
        "no usage": TimeStamper(()),
        "usage of a server": TimeStamper((ExtendedKeyUsageOID.SERVER_AUTH,)),
        "usage that is not critical": TimeStamper(critical=False),
    }.items():
        refused[name] = (how.token(evidence.apdu), [how.anchor])
    for token, anchors in refused.values():
        with pytest.raises(Forged):
            evidence.stamped(TimeStamp(token), anchors)
        with pytest.raises(Forged):
            held(replace(evidence, time_stamp=token), AT + 9 * YEAR, stamp_anchors=anchors)


def test_octets_that_are_no_time_stamp() -> None:
    for octets in (b"", b"\x30\x00", ANSWER, stamper().response(b"x", status="rejection")):
        with pytest.raises(Malformed):
            TimeStamp(octets)
    with pytest.raises(TooLarge):
        TimeStamp(bytes(70_000))


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = replace(kept(), time_stamp=stamper().token(kept().apdu))
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    with pytest.raises(ConfigurationError, match=r"meterseal\[evidence\]"):
        held(evidence, stamp_anchors=[stamper().anchor])
    assert "NOT verified" in held(evidence).warnings[0]


def test_roots_of_time_as_files() -> None:
    der = stamper().anchor
    pem = stamper().root.public_bytes(Encoding.PEM)
    assert stamp_anchors(der) == stamp_anchors(b"a text before\n" + pem) == [der]
    assert stamp_anchors(pem + pem) == [der, der]
    with pytest.raises(CertificateRefused):
        stamp_anchors(b"0")


def test_a_request_is_what_an_authority_takes() -> None:
    asked = TimeStampReq.load(stamp_request(ANSWER)).native
    assert asked["message_imprint"] == {
        "hash_algorithm": {"algorithm": "sha512", "parameters": None},
        "hashed_message": hashlib.sha512(ANSWER).digest(),
    }
    assert asked["cert_req"] is True


def test_a_bit_of_a_time_stamp_changes_nothing_that_is_believed() -> None:
    """What the stamp says is signed; bits around it may be anything as long as nothing else is said."""
    evidence = kept()
    token = TimeStamp(stamper().token(evidence.apdu)).token
    for place in range(0, len(token), 3):
        changed = token[:place] + bytes((token[place] ^ 1,)) + token[place + 1 :]
        try:
            found = held(replace(evidence, time_stamp=changed), stamp_anchors=[stamper().anchor])
        except MetersealError:
            continue
        assert found.stamp is not None and found.stamp.at == MOMENT and found.stamp.serial == 7
