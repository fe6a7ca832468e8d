"""A role that signs on by signature: files that its credentials name, the meter's certificate, refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meterseal.credentials import Credentials, MeterCredentials
from meterseal.crypto import AgreementKey, SigningKey, curve, suite
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import write_key
from meterseal.crypto.revocation import Revocation, RevocationList
from meterseal.errors import CertificateRefused, ConfigurationError, MetersealError, Refused
from meterseal.keys.trust import Trust
from meterseal.security import SecuritySetup
from tests.client.conftest import Twin
from tests.client.fake_meter import CLIENT_TITLE, ENERGY, TITLE, URL, FakeMeter, Role

NOW = datetime.now(UTC)
VALIDITY = Validity(NOW - timedelta(days=1), NOW + timedelta(days=30))
P256 = curve("P-256")
ROOT = Authority.root(SigningKey.generate(P256), "Root", VALIDITY)
STRANGER = Authority.root(SigningKey.generate(P256), "Root", VALIDITY)
CLIENT, METER = SigningKey.generate(P256), SigningKey.generate(P256)


def certificate(key: SigningKey, title: bytes, by: Authority = ROOT) -> Certificate:
    return by.issue(key.public, title, Purpose.SIGNATURE, VALIDITY)


def meter(folder: Path, **changes: Any) -> tuple[FakeMeter, Credentials]:
    """A fake meter of suite 1 and the credentials of its one role, files in `folder`."""
    fake = FakeMeter(Role(policy=3))
    old = fake.profiles[2].setup
    trust = Trust([ROOT.certificate], lambda: datetime.now(UTC))
    setup = SecuritySetup(
        suite(1), TITLE, CLIENT_TITLE, old.policy, old.unicast,
        signing=METER, certificate=certificate(METER, TITLE).der, directory=trust,
    )  # fmt: skip
    fake.profiles[2] = replace(fake.profiles[2], setup=setup, mechanism=7)
    (folder / "root.pem").write_bytes(ROOT.certificate.to_pem())
    (folder / "own.pem").write_bytes(certificate(CLIENT, CLIENT_TITLE).to_pem())
    key = folder / "own.key"
    key.touch(0o600)
    key.write_bytes(write_key(CLIENT))
    fields = {
        "mechanism": "ecdsa",
        "signing_key": "own.key",
        "signing_certificate": "own.pem",
        **changes,
    }
    role = replace(fake.credentials().roles["c2"], **fields)
    described = MeterCredentials(url=URL, system_title=TITLE, suite=1, trust=("root.pem",))
    return fake, Credentials(described, {"c2": role}, folder / "meter.toml")


def read(twin: Twin, fake: FakeMeter, credentials: Credentials) -> object:
    with twin.connect(fake, "c2", credentials=credentials) as client:
        return client.get(3, ENERGY[1], 2)


def test_signs_on_by_certificate(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path)
    assert read(memory_twin, fake, credentials)
    assert len(fake.lines) == 1


def test_the_meters_certificate_may_be_known_beforehand(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path)
    fake.profiles[2].setup.certificate = None
    with pytest.raises(MetersealError, match="no signature certificate"):
        read(memory_twin, fake, credentials)
    (tmp_path / "meter.pem").write_bytes(certificate(METER, TITLE).to_pem())
    known = replace(credentials.meter, signing_certificate="meter.pem", trust=())
    assert read(memory_twin, fake, Credentials(known, credentials.roles, credentials.path))


def test_B17_a_meter_of_another_authority_is_refused(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path)
    fake.profiles[2].setup.certificate = certificate(METER, TITLE, STRANGER).der
    with pytest.raises(CertificateRefused):
        read(memory_twin, fake, credentials)
    assert not fake.done


def test_B17_a_client_of_another_authority_is_refused(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path)
    (tmp_path / "own.pem").write_bytes(certificate(CLIENT, CLIENT_TITLE, STRANGER).to_pem())
    with pytest.raises(Refused, match="no-reason-given"):
        read(memory_twin, fake, credentials)
    assert not fake.done


# --- revocation lists ---------------------------------------------------------------------------

SUB = ROOT.sub(SigningKey.generate(P256), "Meters", VALIDITY)
STRANGE = Authority.root(SigningKey.generate(P256), "Stranger", VALIDITY)


def listed(by: Authority, *serials: bytes, due: timedelta = timedelta(days=7)) -> bytes:
    begin = NOW - timedelta(hours=2)
    entries = [Revocation(one, begin) for one in serials]
    return RevocationList(by.revocation_list(entries, 1, begin, begin + due)).to_pem()


def with_lists(folder: Path, *lists: bytes) -> tuple[FakeMeter, Credentials]:
    fake, credentials = meter(folder)
    names = []
    for number, octets in enumerate(lists):
        (folder / f"{number}.crl").write_bytes(octets)
        names.append(f"{number}.crl")
    known = replace(credentials.meter, revocation_lists=tuple(names))
    return fake, Credentials(known, credentials.roles, credentials.path)


def test_D16_a_meter_whose_certificate_is_on_no_list(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = with_lists(tmp_path, listed(ROOT, b"\x01\x02"))
    assert read(memory_twin, fake, credentials)


def test_D16_E11_a_revoked_meter_is_refused_at_sign_on(memory_twin: Twin, tmp_path: Path) -> None:
    sent = certificate(METER, TITLE).der
    fake, credentials = with_lists(tmp_path, listed(ROOT, Certificate(sent).serial))
    fake.profiles[2].setup.certificate = sent
    with pytest.raises(CertificateRefused, match="revoked at"):
        read(memory_twin, fake, credentials)
    assert not fake.done


@pytest.mark.parametrize(("lists", "error", "cause"), [
    ([listed(SUB)], ConfigurationError, "unknown issuer"),
    ([listed(STRANGE)], ConfigurationError, "unknown issuer"),
    ([listed(STRANGER)], ConfigurationError, "key"),
    ([b"nothing"], ConfigurationError, "cannot be read"),
    ([listed(ROOT, due=timedelta(hours=1))], CertificateRefused, "stale"),
])  # fmt: skip
def test_D16_lists_that_do_not_hold(
    lists: list[bytes], error: type[Exception], cause: str, memory_twin: Twin, tmp_path: Path
) -> None:
    fake, credentials = with_lists(tmp_path, *lists)
    with pytest.raises(error, match=cause):
        read(memory_twin, fake, credentials)
    assert not fake.done


def test_D16_every_authority_on_the_way_needs_a_list(memory_twin: Twin, tmp_path: Path) -> None:
    """The meter's certificate by an authority below the root, whose own stands behind the meter's."""
    made = SUB.issue(METER.public, TITLE, Purpose.SIGNATURE, VALIDITY)
    (tmp_path / "meter.pem").write_bytes(made.to_pem() + SUB.certificate.to_pem())
    both = [listed(ROOT), listed(SUB)]
    for lists, holds in ((both, True), (both[:1], False), ([listed(ROOT), listed(SUB, made.serial)], False)):
        fake, credentials = with_lists(tmp_path, *lists)
        fake.profiles[2].setup.certificate = None
        known = replace(credentials.meter, signing_certificate="meter.pem")
        credentials = Credentials(known, credentials.roles, credentials.path)
        if holds:
            assert read(memory_twin, fake, credentials)
            continue
        with pytest.raises(CertificateRefused, match="revo"):
            read(memory_twin, fake, credentials)


def test_lists_go_along_with_a_role(tmp_path: Path) -> None:
    _, credentials = with_lists(tmp_path, listed(ROOT))
    out = tmp_path / "cut" / "c2.toml"
    out.parent.mkdir()
    cut = credentials.cut("c2").with_copies(out)
    cut.save(out)
    assert Credentials.load(out).meter.revocation_lists == ("c2.toml.files/crl-1.pem",)
    assert (out.parent / "c2.toml.files" / "crl-1.pem").read_bytes() == (tmp_path / "0.crl").read_bytes()


def agreement(folder: Path) -> None:
    made = ROOT.issue(AgreementKey.generate(P256).public, CLIENT_TITLE, Purpose.AGREEMENT, VALIDITY)
    (folder / "own.pem").write_bytes(made.to_pem())


def other_title(folder: Path) -> None:
    (folder / "own.pem").write_bytes(certificate(CLIENT, TITLE).to_pem())


def other_key(folder: Path) -> None:
    (folder / "own.pem").write_bytes(certificate(METER, CLIENT_TITLE).to_pem())


def no_pem(folder: Path) -> None:
    (folder / "own.pem").write_bytes(b"nothing")


def no_key(folder: Path) -> None:
    (folder / "own.key").write_bytes(b"nothing")


def missing_trust(folder: Path) -> None:
    (folder / "root.pem").unlink()


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (agreement, "is for agreement"),
        (other_title, "wanted is"),
        (other_key, "not that of the private key"),
        (no_pem, "own.pem"),
        (no_key, "own.key"),
        (missing_trust, "root.pem"),
    ],
)
def test_files_that_do_not_fit(memory_twin: Twin, tmp_path: Path, spoil: Any, cause: str) -> None:
    fake, credentials = meter(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ConfigurationError, match=cause):
        read(memory_twin, fake, credentials)


def test_what_signing_needs(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="signing_key"):
        meter(tmp_path, signing_key=None)
    fake, credentials = meter(tmp_path)
    with pytest.raises(ConfigurationError, match="suite 0 has no signatures"):
        Credentials(replace(credentials.meter, suite=0, trust=()), credentials.roles)
    assert fake.done == []
