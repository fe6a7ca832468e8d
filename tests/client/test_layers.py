"""Signed requests and general-ciphering through the client: by policy and layers of the role, or by wish."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meterseal.association import Operation, Service
from meterseal.codec.data import Data
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import ObjectEntry, encode_object_list
from meterseal.cosem.rights import SIGN_REQUEST
from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, WrappingKey
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.keyfiles import write_key
from meterseal.crypto.v44 import Parameters
from meterseal.errors import ConfigurationError, MetersealError, Refused, UnknownKey
from meterseal.keys.trust import Trust
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED
from meterseal.security.packing import COMPRESSION, parameters_of
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


SWITCH = "70/0.0.96.3.10.255:1()"


def need_signatures(fake: FakeMeter, *, listed: bool = False) -> None:
    """The meter's right to call the switch asks for a signature, and its object list says so."""
    view, entry = fake.profiles[2].view, (70, Obis("0.0.96.3.10.255"))
    plain = view.right

    def right(operation: Operation, user: int | None) -> int | None:
        asked = (operation.class_id, operation.instance) == entry and operation.service is Service.ACTION
        return 1 | SIGN_REQUEST if asked else plain(operation, user)

    view.right = right  # type: ignore[method-assign]
    if listed:
        entries = [ObjectEntry(entry[0], 0, entry[1], {2: 1}, {1: 1 | SIGN_REQUEST, 2: 1})]
        fake.object_list = lambda view: Data.of(*encode_object_list(entries, 3))  # type: ignore[method-assign]


def switch(twin: Twin, fake: FakeMeter, credentials: Credentials, *, listed: bool = False) -> object:
    with twin.connect(fake, "c2", credentials=credentials) as client:
        if listed:
            client.object_list()
        assert client.get(3, ENERGY[1], 2)
        client.call(SWITCH.removesuffix("()"))
        return client.get(3, ENERGY[1], 2)


@pytest.mark.parametrize("layers", [None, "identified", "one-pass"])
def test_B16_what_the_credentials_say_is_signed(
    memory_twin: Twin, tmp_path: Path, layers: str | None
) -> None:
    fake, credentials = meter(tmp_path, layers=layers)
    need_signatures(fake)
    with pytest.raises(Refused, match="`signed` of the role"):
        switch(memory_twin, fake, credentials)
    fake, credentials = meter(tmp_path, layers=layers, signed=(SWITCH,))
    need_signatures(fake)
    assert switch(memory_twin, fake, credentials)
    loaded = tmp_path / "again.toml"
    credentials.save(loaded)
    assert Credentials.load(loaded).role("c2").signed == (SWITCH,)


def test_B16_what_the_object_list_says_is_signed(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path)
    need_signatures(fake, listed=True)
    assert switch(memory_twin, fake, credentials, listed=True)
    # Without a key there is nothing to sign with, and the meter says no.
    gmac = replace(credentials.role("c2"), mechanism="gmac", signing_key=None, signing_certificate=None)
    fake.profiles[2] = replace(fake.profiles[2], mechanism=5)
    with pytest.raises(Refused, match="signing_key"):
        switch(memory_twin, fake, Credentials(credentials.meter, {"c2": gmac}, credentials.path), listed=True)


def test_compression_by_name(memory_twin: Twin, tmp_path: Path) -> None:
    for name, parameters in COMPRESSION.items():
        fake, credentials = meter(tmp_path, general=True, compression=name)
        fake.profiles[2].compression = parameters
        assert read(memory_twin, fake, credentials)


def test_compression_by_what_a_meter_has_otherwise(memory_twin: Twin, tmp_path: Path) -> None:
    fake, credentials = meter(tmp_path, general=True, compression="packet-default n2=512 n7=46 c2=7 c5=8")
    fake.profiles[2].compression = Parameters(n2=512, n7=46, c2=7, c5=8)
    assert read(memory_twin, fake, credentials)
    assert parameters_of(" stream-default  n8=512 ") == replace(COMPRESSION["stream-default"], n8=512)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"layers": "one-pass", "agreement_key": None}, "agreement_key"),
        ({"layers": "wrapped", "kek": None}, "kek"),
        ({"layers": "two-pass"}, "layers"),
        ({"signed": ("70/0.0.96.3.10.255:1()",), "signing_key": None, "mechanism": "gmac"}, "signing_key"),
        ({"signed": ("0.0.96.3.10.255:1()",)}, "signed: .*CLASS/OBIS"),
        ({"signed": ("70/0.0.96.3.10.255()",)}, "signed: .*CLASS/OBIS"),
        ({"signed": "70/0.0.96.3.10.255:1()"}, "signed: a list"),
        ({"signed": ("70/0.0.96.3.10.255:1()",), "policy": 0, "ciphered": False}, "without ciphering"),
        ({"compression": "zip"}, "compression"),
        ({"compression": ""}, "compression"),
        ({"compression": "packet-default c5=9"}, "compression: V.44 c5"),
        ({"compression": "packet-default c5=8 c5=8"}, "compression: .* once"),
        ({"compression": "packet-default c5=-8"}, "compression: .* once"),
        ({"compression": "packet-default c5"}, "compression: .* once"),
        ({"compression": "packet-default when_full=reinit"}, "compression: .* once"),
        ({"compression": "packet-default n8=600"}, "compression: V.44 n8"),
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
