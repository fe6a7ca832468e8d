"""A CA in a folder: what it issues, what it refuses, what it remembers, and whom it lets near."""

from __future__ import annotations

import logging
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from meterseal.authority import CertificateAuthority, State, look
from meterseal.authority.terms import DEVICE_DAYS
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.certificates import NO_EXPIRY, Certificate, Purpose, verify_chain
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Request, make_request
from meterseal.crypto.keyfiles import read_key
from meterseal.crypto.revocation import FOR_GOOD, Reason, RevocationList
from meterseal.errors import (
    CertificateRefused,
    ConfigurationError,
    Misuse,
    StateDamaged,
)
from tests.authority.house import DAY, OTHER, START, TITLE, Clock, numbered, opened, request, root, title

P256 = curve("P-256")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- authorities ------------------------------------------------------------------------------------


def test_a_root_and_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with root(folder) as made:
        certificate = made.certificate
    assert mode(folder) == 0o700
    assert mode(folder / "ca-key.pem") == mode(folder / "index.log") == 0o600
    assert Certificate.from_pem((folder / "ca.pem").read_bytes()) == [certificate]
    assert Certificate.from_pem((folder / "chain.pem").read_bytes()) == [certificate]
    assert certificate.purpose is Purpose.AUTHORITY and certificate.path_length == 1
    key = read_key((folder / "ca-key.pem").read_bytes(), SigningKey)
    assert key.public == certificate.key
    with opened(folder) as again:
        assert again.certificate == certificate
    assert look(folder).authority == certificate


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_H16_modes_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with root(tmp_path / "root") as made:
            made.issue(request(), TITLE, Purpose.SIGNATURE)
            made.revocation_list()
    finally:
        os.umask(before)
    for path in (tmp_path / "root").iterdir():
        if path.name in ("ca.pem", "chain.pem", "crl.pem", "crl.der"):
            assert mode(path) & 0o133 == 0 and mode(path) & 0o600 == 0o600
            assert mode(path) & umask & 0o044 == 0
        else:
            assert mode(path) == 0o600, path
    assert mode(tmp_path / "root") == 0o700


@pytest.mark.parametrize(("above", "below"), [("P-256", "P-256"), ("P-384", "P-256"), ("P-384", "P-384")])
def test_root_sub_and_device(above: str, below: str, tmp_path: Path) -> None:
    with root(tmp_path / "root", on=above) as top:
        with CertificateAuthority.sub(tmp_path / "sub", "Meters", top, on=below) as sub:
            entry = sub.issue(request(on=below), TITLE, Purpose.SIGNATURE)
            way = verify_chain(entry.certificate, [sub.certificate], [top.certificate], START)
            assert way == [entry.certificate, sub.certificate, top.certificate]
            chain = Certificate.from_pem((tmp_path / "sub" / "chain.pem").read_bytes())
            assert chain == [sub.certificate, top.certificate]
        assert [one.purpose for one in top.register] == [Purpose.AUTHORITY]
    with opened(tmp_path / "sub") as again:
        assert again.register.above == (way[2],) and again.register.find(entry.serial) == entry


def test_a_P384_sub_over_P256_devices(tmp_path: Path) -> None:
    with (
        root(tmp_path / "root", on="P-384") as top,
        CertificateAuthority.sub(tmp_path / "sub", "Meters", top, on="P-384") as sub,
    ):
        for on, title_of in (("P-256", TITLE), ("P-384", OTHER)):
            entry = sub.issue(request(title_of, on=on), title_of, Purpose.SIGNATURE)
            assert verify_chain(entry.certificate, [sub.certificate], [top.certificate], START)


def test_D20_no_P384_key_under_P256(tmp_path: Path) -> None:
    with root(tmp_path / "root") as top:
        with pytest.raises(CertificateRefused, match="P-256 authority certifies no P-384 key"):
            top.issue(request(on="P-384"), TITLE, Purpose.SIGNATURE)
        with pytest.raises(CertificateRefused, match="P-256 authority certifies no P-384 key"):
            CertificateAuthority.sub(tmp_path / "sub", "Meters", top, on="P-384")
        assert len(top.register) == 0
        with CertificateAuthority.sub(tmp_path / "sub", "Meters", top):  # the folder is as good as new
            pass


def test_D15_authorities_with_the_same_name_or_below_the_last(tmp_path: Path) -> None:
    with root(tmp_path / "root") as top:
        with pytest.raises(CertificateRefused, match="has the name CN=Root already"):
            CertificateAuthority.sub(tmp_path / "a", "Root", top)
        sub = CertificateAuthority.sub(tmp_path / "b", "Sub", top)
        with sub, pytest.raises(CertificateRefused, match="certify no authorities"):
            CertificateAuthority.sub(tmp_path / "c", "Deeper", sub)
        with pytest.raises(CertificateRefused, match="there is one already, CN=Sub authority"):
            CertificateAuthority.sub(tmp_path / "c", "Sub", top)
        entry = next(iter(top.register))
        with pytest.raises(CertificateRefused, match="not renewed"):
            top.renew(entry.serial, None, same_key=True)
        top.revoke(entry.serial, Reason.CA_COMPROMISE)
        with CertificateAuthority.sub(tmp_path / "c", "Sub", top):
            pass


def test_an_authority_is_never_written_over(tmp_path: Path) -> None:
    with root(tmp_path / "root") as made:
        certificate = made.certificate
    with pytest.raises(ConfigurationError, match="there is an authority"):
        root(tmp_path / "root")
    (tmp_path / "root" / "index.log").unlink()
    (tmp_path / "root" / "index.mark").unlink()
    with pytest.raises(ConfigurationError, match=r"ca-key\.pem is there already"):
        root(tmp_path / "root")
    key = read_key((tmp_path / "root" / "ca-key.pem").read_bytes(), SigningKey)
    assert key.public == certificate.key


def test_what_is_no_authority(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigurationError, match="no authority in"):
            opened(folder)
        with pytest.raises(ConfigurationError, match="no authority in"):
            look(folder)
    for name in ("", "x" * 65):
        with pytest.raises(Misuse):
            CertificateAuthority.root(tmp_path / "root", name)
    with root(tmp_path / "root"):
        pass


def test_a_password(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with root(folder, password=b"correct horse"):
        pass
    assert b"ENCRYPTED" in (folder / "ca-key.pem").read_bytes()
    with opened(folder) as made:
        with pytest.raises(ConfigurationError, match="needs a password"):
            made.issue(request(), TITLE, Purpose.SIGNATURE)
        assert len(made.register) == 0
    with opened(folder, password=b"wrong") as made, pytest.raises(ConfigurationError, match="is not right"):
        made.issue(request(), TITLE, Purpose.SIGNATURE)
    with opened(folder, password=b"correct horse") as made:
        entry = made.issue(request(), TITLE, Purpose.SIGNATURE)
    with opened(folder) as made:  # needs no key
        made.revoke(entry.serial, Reason.SUPERSEDED)


def test_a_key_of_another_authority(tmp_path: Path) -> None:
    with root(tmp_path / "root"), root(tmp_path / "other"):
        pass
    os.replace(tmp_path / "other" / "ca-key.pem", tmp_path / "root" / "ca-key.pem")
    with (
        opened(tmp_path / "root") as made,
        pytest.raises(StateDamaged, match="not the key of this"),
    ):
        made.issue(request(), TITLE, Purpose.SIGNATURE)


# --- issuing ----------------------------------------------------------------------------------------


def test_issued_for_each_purpose_and_remembered(tmp_path: Path) -> None:
    rows = ((Purpose.SIGNATURE, SigningKey), (Purpose.AGREEMENT, AgreementKey), (Purpose.TLS, TlsKey))
    with root(tmp_path / "root") as made:
        entries = [
            made.issue(request(kind=kind), TITLE, purpose, why="first light") for purpose, kind in rows
        ]
    register = look(tmp_path / "root")
    assert list(register) == entries and len(register) == 3
    for entry, (purpose, _) in zip(entries, rows, strict=True):
        certificate = entry.certificate
        assert (certificate.purpose, certificate.title) == (entry.purpose, entry.title) == (purpose, TITLE)
        assert (certificate.serial, certificate.not_after) == (entry.serial, entry.end)
        assert certificate.not_before == entry.begin == START - timedelta(hours=1)
        assert entry.end == START + DEVICE_DAYS * DAY
        assert [(one.at, one.what, one.by, one.why) for one in entry.history] == [
            (START, "issued", "tester", "first light")
        ]


def test_D11_D18_another_title_than_the_operator_said(tmp_path: Path) -> None:
    with root(tmp_path / "root") as made:
        with pytest.raises(CertificateRefused, match="for 4D534C0000000002, not for 4D534C0000000001"):
            made.issue(request(OTHER), TITLE, Purpose.SIGNATURE)
        entry = made.issue(request(), TITLE, Purpose.SIGNATURE)
        with pytest.raises(CertificateRefused, match="the request is for"):
            made.renew(entry.serial, request(OTHER))
        assert list(made.register) == [entry]


def test_D10_one_key_for_one_purpose_of_one_party(tmp_path: Path) -> None:
    key = SigningKey.generate(P256)
    asked = Request(make_request(key, TITLE))
    with root(tmp_path / "root") as made:
        entry = made.issue(asked, TITLE, Purpose.SIGNATURE)
        for purpose in (Purpose.AGREEMENT, Purpose.TLS, Purpose.SIGNATURE):
            with pytest.raises(CertificateRefused, match="certified before, for 4D534C0000000001 signature"):
                made.issue(asked, TITLE, purpose)
        with pytest.raises(CertificateRefused, match="this key was certified before"):
            made.issue(Request(make_request(key, OTHER)), OTHER, Purpose.SIGNATURE)
        made.revoke(entry.serial, Reason.SUPERSEDED)
        with pytest.raises(CertificateRefused, match="this key was certified before"):
            made.issue(asked, TITLE, Purpose.SIGNATURE)
        own = read_key((tmp_path / "root" / "ca-key.pem").read_bytes(), SigningKey)
        with pytest.raises(CertificateRefused, match="the key of an authority, CN=Root"):
            made.issue(Request(make_request(own, OTHER)), OTHER, Purpose.SIGNATURE)
    with opened(tmp_path / "root") as again, pytest.raises(CertificateRefused, match="certified before"):
        again.issue(asked, TITLE, Purpose.TLS)


def test_D18_a_second_certificate_of_one_party(tmp_path: Path) -> None:
    clock = Clock()
    with root(tmp_path / "root", clock) as made:
        first = made.issue(request(), TITLE, Purpose.SIGNATURE, days=10)
        with pytest.raises(CertificateRefused, match="there is one already"):
            made.issue(request(), TITLE, Purpose.SIGNATURE)
        made.issue(request(), TITLE, Purpose.TLS)  # another purpose
        clock.forward(11 * DAY)
        second = made.issue(request(), TITLE, Purpose.SIGNATURE)
        made.revoke(second.serial, Reason.KEY_COMPROMISE)
        assert made.issue(request(), TITLE, Purpose.SIGNATURE).state is State.VALID
        assert made.register.find(first.serial).state is State.VALID  # and ended


def test_no_serial_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with root(tmp_path / "root") as made:
        drawn = iter([7, 7, 7, 8])
        monkeypatch.setattr(x509, "random_serial_number", lambda: next(drawn))
        assert made.issue(numbered(1), title(1), Purpose.SIGNATURE).serial == b"\x07"
        assert made.issue(numbered(2), title(2), Purpose.SIGNATURE).serial == b"\x08"


def test_D12_dates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with root(tmp_path / "root", clock, days=1000) as made:
        assert made.issue(numbered(1), title(1), Purpose.SIGNATURE, days=1000).end == START + 1000 * DAY
        with pytest.raises(CertificateRefused, match="its authority ends before, at 2029-08-21"):
            made.issue(numbered(2), title(2), Purpose.SIGNATURE, days=1001)
        for days in (0, -1, 36_501):
            with pytest.raises(Misuse, match="1 to 36500 days"):
                made.issue(numbered(2), title(2), Purpose.SIGNATURE, days=days)
        with caplog.at_level(logging.WARNING, "meterseal.authority"):
            forever = made.issue(numbered(2), title(2), Purpose.SIGNATURE, days=None)
        assert forever.end == forever.certificate.not_after == NO_EXPIRY
        assert "the chain holds until 2029-08-21T12:00:00Z" in caplog.text
        for moved in (-3650 * DAY, 365 * 30 * DAY):
            clock.now = START + moved
            with pytest.raises(CertificateRefused, match="clock"):
                made.issue(numbered(3), title(3), Purpose.SIGNATURE, days=1)
            with pytest.raises(CertificateRefused, match="clock"):
                made.revocation_list()
        assert len(made.register) == 2
    with root(tmp_path / "forever", days=None) as made:
        assert made.certificate.not_after == NO_EXPIRY
        caplog.clear()
        made.issue(numbered(1), title(1), Purpose.SIGNATURE, days=None)
        assert caplog.text == ""


# --- renewing and revoking --------------------------------------------------------------------------


def test_renewed_with_a_new_key(tmp_path: Path) -> None:
    clock = Clock()
    with root(tmp_path / "root", clock) as made:
        old = made.issue(request(kind=AgreementKey), TITLE, Purpose.AGREEMENT)
        clock.forward(DAY)
        new = made.renew(old.serial, request(kind=AgreementKey), why="yearly")
        assert (new.title, new.purpose, new.replaces) == (TITLE, Purpose.AGREEMENT, old.serial)
        assert new.key != old.key and new.serial != old.serial
        old = made.register.find(old.serial)
        assert old.state is State.REPLACED and old.replaced_by == new.serial and old.revocation is None
        assert [one.what for one in old.history] == ["issued", "replaced"]
        assert old.history[-1].why == "yearly"
        with pytest.raises(CertificateRefused, match="is replaced since 2026-11-26T12:00:00Z"):
            made.renew(old.serial, request())
        revoked = made.revoke(old.serial, Reason.SUPERSEDED)  # it held until now
        assert revoked.state is State.REVOKED and revoked.replaced_by == new.serial
    assert list(look(tmp_path / "root")) == [revoked, new]


def test_renewed_with_the_same_key_only_by_name(tmp_path: Path) -> None:
    key = SigningKey.generate(P256)
    asked = Request(make_request(key, TITLE))
    with root(tmp_path / "root") as made:
        first = made.issue(asked, TITLE, Purpose.SIGNATURE)
        with pytest.raises(CertificateRefused, match="certified before"):
            made.renew(first.serial, asked)
        with pytest.raises(Misuse, match="same_key"):
            made.renew(first.serial, None)
        with pytest.raises(CertificateRefused, match="another key"):
            made.renew(first.serial, request(), same_key=True)
        second = made.renew(first.serial, asked, same_key=True)
        third = made.renew(second.serial, None, same_key=True)
        assert first.key == second.key == third.key and len({first.serial, second.serial, third.serial}) == 3
        made.revoke(second.serial, Reason.KEY_COMPROMISE)
        with pytest.raises(CertificateRefused, match="compromised is not certified again"):
            made.renew(third.serial, None, same_key=True)
        assert made.renew(third.serial, request()).key != first.key


def test_revoked_for_good(tmp_path: Path) -> None:
    with root(tmp_path / "root") as made:
        for number, reason in enumerate(FOR_GOOD, 10):
            entry = made.issue(request(title(number)), title(number), Purpose.SIGNATURE)
            entry = made.revoke(entry.serial, reason, why="lost on the way")
            assert entry.revocation is not None and entry.revocation.reason is reason
            assert entry.history[-1].why == "lost on the way"
            with pytest.raises(CertificateRefused, match="is revoked since 2026-11-25T12:00:00Z"):
                made.revoke(entry.serial, Reason.SUPERSEDED)
            with pytest.raises(CertificateRefused, match="is revoked since 2026-11-25T12:00:00Z"):
                made.renew(entry.serial, request())
        other = made.issue(request(), TITLE, Purpose.SIGNATURE)
        for of_others in set(Reason) - set(FOR_GOOD):
            with pytest.raises(Misuse, match="a reason is one of"):
                made.revoke(other.serial, of_others)
        with pytest.raises(ConfigurationError, match="serial number 0102 is from here"):
            made.revoke(b"\x01\x02", Reason.SUPERSEDED)


def test_D16_the_revocation_list(tmp_path: Path) -> None:
    clock = Clock()
    with root(tmp_path / "root", clock) as made:
        good, bad = (made.issue(numbered(n), title(n), Purpose.SIGNATURE) for n in (1, 2))
        empty = made.revocation_list()
        assert (empty.number, len(empty)) == (1, 0)
        made.revoke(bad.serial, Reason.CESSATION_OF_OPERATION)
        clock.forward(DAY)
        found = made.revocation_list(days=7)
        assert (found.number, found.this_update, found.next_update) == (2, clock.now, clock.now + 7 * DAY)
        assert found.find(good.serial) is None
        entry = found.find(bad.serial)
        assert entry == made.register.find(bad.serial).revocation
        assert entry is not None and entry.moment == START
        found.check_issued_by(made.certificate)
        for days in (0, 36_501):
            with pytest.raises(Misuse):
                made.revocation_list(days)
        clock.forward(-timedelta(seconds=1))
        with pytest.raises(CertificateRefused, match="the clock is wrong"):
            made.revocation_list()
    folder = tmp_path / "root"
    assert RevocationList((folder / "crl.der").read_bytes()).der == found.der
    assert RevocationList.from_pem((folder / "crl.pem").read_bytes()).der == found.der
    with opened(folder, Clock(START + 2 * DAY)) as again:
        assert again.register.list_number == 2
        assert again.revocation_list().number == 3


def test_D16_a_list_of_five_thousand(tmp_path: Path) -> None:
    with root(tmp_path / "root") as made:
        entry = made.issue(request(), TITLE, Purpose.SIGNATURE)
        many = [(number + 1).to_bytes(16, "big") for number in range(5_000)]
        made.revoke(entry.serial, Reason.SUPERSEDED)
        one = made.register.find(entry.serial)
        assert one.revocation is not None
        listed = [one.revocation._replace(serial=serial) for serial in many]
        signer = made._signer(START)
        found = RevocationList(signer.revocation_list(listed, 1, START, START + DAY))
        assert len(found) == 5_000 and found.find((5_000).to_bytes(2, "big")) is not None


def test_what_ends_soon(tmp_path: Path) -> None:
    with root(tmp_path / "root") as made:
        for number, days in enumerate((30, 10, 20, 5)):
            made.issue(numbered(number), title(number), Purpose.SIGNATURE, days=days)
        entries = list(made.register)
        made.revoke(entries[3].serial, Reason.SUPERSEDED)
        assert made.register.ending(START + 25 * DAY) == [entries[1], entries[2]]
        made.renew(entries[1].serial, request(title(1)), days=100)
        assert made.register.ending(START + 25 * DAY) == [entries[2]]
