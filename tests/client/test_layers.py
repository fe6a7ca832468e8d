"""Signed requests and general-ciphering through the client: by policy and layers of the role, or by wish."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, WrappingKey
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.keyfiles import write_key
from meterseal.errors import ConfigurationError, MetersealError, UnknownKey
from meterseal.keys.trust import Trust
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED
from meterseal.security.packing import COMPRESSION
from tests.client.conftest import Twin
from tests.client.fake_meter import CLIENT_TITLE, ENERGY, TITLE, FakeMeter
from tests.client.test_certificates import METER, P256, ROOT, VALIDITY, certificate
from tests.client.test_certificates import meter as signing_meter

KEK = bytes(range(0x60, 0x70))
CLIENT_AGREES, METER_AGREES = AgreementKey.generate(P256), AgreementKey.generate(P256)
FULL = AUTHENTICATED | ENCRYPTED | SIGNED


def meter(folder: Path, **changes: Any) -> tuple[FakeMeter, Credentials]:
    """As for sign-on by signature, and both ends with key agreement keys and a KEK."""
    agreed = {key: ROOT.issue(key.public, title, Purpose.AGREEMENT, VALIDITY) for key, title in (
        (CLIENT_AGREES, CLIENT_TITLE), (METER_AGREES, TITLE)
    )}  # fmt: skip
    (folder / "agree.key").touch(0o600)
    (folder / "agree.key").write_bytes(write_key(CLIENT_AGREES))
    (folder / "agree.pem").write_bytes(agreed[CLIENT_AGREES].to_pem())
    (folder / "meter-agree.pem").write_bytes(agreed[METER_AGREES].to_pem())
    (folder / "meter-sign.pem").write_bytes(certificate(METER, TITLE).to_pem())
    own = {"agreement_key": "agree.key", "agreement_certificate": "agree.pem", "kek": KEK}
    fake, credentials = signing_meter(folder, **own, **changes)
    setup = fake.profiles[2].setup
    trust = Trust([ROOT.certificate], lambda: datetime.now(UTC))
    trust.take(agreed[CLIENT_AGREES])
    setup.directory, setup.agreement, setup.master = trust, METER_AGREES, WrappingKey(KEK)
    described = replace(
        credentials.meter, agreement_certificate="meter-agree.pem", signing_certificate="meter-sign.pem"
    )
    return fake, Credentials(described, credentials.roles, credentials.path)


def read(twin: Twin, fake: FakeMeter, credentials: Credentials, **wishes: Any) -> object:
    with twin.connect(fake, "c2", credentials=credentials, **wishes) as client:
        return client.get(3, ENERGY[1], 2)


@pytest.mark.parametrize("layers", [None, "identified", "wrapped", "one-pass", "static"])
def test_policy_signed(memory_twin: Twin, tmp_path: Path, layers: str | None) -> None:
    fake, credentials = meter(tmp_path, policy=FULL, layers=layers)
    fake.profiles[2].setup.policy = 0xFC
    assert read(memory_twin, fake, credentials)
    # And again: what counts under fresh keys went on.
    assert read(memory_twin, fake, credentials)


def test_by_the_callers_wish(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path)
    fake.profiles[2].setup.policy = 0xFC
    with pytest.raises(MetersealError):
        read(memory_twin, fake, credentials)
    words = "authenticated+encrypted+signed"
    assert read(memory_twin, fake, credentials, policy=words, layers="one-pass")


def test_compression_by_name(memory_twin: Twin, tmp_path: Path) -> None:
    for name, parameters in COMPRESSION.items():
        fake, credentials = meter(tmp_path, general=True, compression=name)
        fake.profiles[2].compression = parameters
        assert read(memory_twin, fake, credentials)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"layers": "one-pass", "agreement_key": None}, "agreement_key"),
        ({"layers": "wrapped", "kek": None}, "kek"),
        ({"layers": "two-pass"}, "layers"),
        ({"compression": "zip"}, "compression"),
        ({"layers": "static", "dedicated": True}, "dedicated"),
    ],
)
def test_what_does_not_fit_is_refused_beforehand(tmp_path: Path, changes: dict[str, Any], cause: str) -> None:
    _, credentials = meter(tmp_path)
    with pytest.raises(ConfigurationError, match=cause):
        Credentials(credentials.meter, {"c2": replace(credentials.role("c2"), **changes)}, credentials.path)


def test_without_the_meters_agreement_certificate(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path, layers="one-pass")
    unknown = Credentials(
        replace(credentials.meter, agreement_certificate=None), credentials.roles, credentials.path
    )
    with pytest.raises(UnknownKey):
        read(memory_twin, fake, unknown)
