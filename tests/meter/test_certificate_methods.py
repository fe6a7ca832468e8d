"""Security setup, attribute 6 and methods 4 to 8: key pairs, requests, certificates over a meter's life."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meterseal.association import Associated
from meterseal.codec import data as codec
from meterseal.codec.types import Structure, Tag
from meterseal.crypto import AgreementKey, SigningKey, curve, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Authority, Request, Validity
from meterseal.errors import UnknownKey
from meterseal.meter.manufacture import maker_of
from meterseal.meter.pairs import AGREEMENT, KINDS, SIGNATURE, KeyPairs
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED
from meterseal.security.protection import policy_bits
from tests.meter.world import Client, World, call, world

SETUP = "0.0.43.0.1.255"
PRESETS = ("suite1", "suite2")
ENTITY = Structure((Tag.ENUM, Structure((Tag.ENUM, Tag.ENUM, Tag.OCTET_STRING))))
SERIAL = Structure((Tag.ENUM, Structure((Tag.OCTET_STRING, Tag.OCTET_STRING))))
VALIDITY = Validity(datetime(2020, 1, 1, tzinfo=UTC), datetime(2080, 1, 1, tzinfo=UTC))
_ALL = AUTHENTICATED | ENCRYPTED | SIGNED
OTHER, REFUSED, UNAVAILABLE = b"MSLHES\x00\x77", 0xFA, 0x0B


def pairs_of(here: World) -> KeyPairs:
    assert here.meter.pairs is not None
    return here.meter.pairs


def maker(here: World) -> Authority:
    found = maker_of(here.meter.store)
    assert found is not None
    return found


def made(here: World, title: bytes = OTHER, purpose: Purpose = Purpose.SIGNATURE, **more: Any) -> Certificate:
    """A certificate by the meter's maker, for a new key where none is given."""
    kind: Any = {Purpose.AGREEMENT: AgreementKey, Purpose.TLS: TlsKey}.get(purpose, SigningKey)
    by, validity = more.get("by", maker(here)), more.get("validity", VALIDITY)
    public = more.get("public") or kind.generate(by.certificate.key.curve).public
    issued: Certificate = by.issue(public, title, purpose, validity)
    return issued


class Manager:
    """The manager's calls on its own Security setup, by result code."""

    def __init__(self, here: World) -> None:
        self.client: Client = here.signed_on("manager")

    def generate(self, kind: int) -> int:
        return self.client.call(64, SETUP, 4, kind, Tag.ENUM)

    def request(self, kind: int) -> Request:
        outcome = self.client.one(call(64, SETUP, 5, kind, Tag.ENUM))
        assert outcome.code == 0 and outcome.data is not None
        return Request(codec.decode(outcome.data))

    def take(self, der: bytes | Certificate) -> int:
        octets = der.der if isinstance(der, Certificate) else der
        return self.client.call(64, SETUP, 6, octets, Tag.OCTET_STRING)

    def export(self, value: Any, type_: Any = ENTITY) -> Certificate | int:
        outcome = self.client.one(call(64, SETUP, 7, value, type_))
        return outcome.code if outcome.data is None else Certificate(codec.decode(outcome.data))

    def remove(self, value: Any, type_: Any = ENTITY) -> int:
        return self.client.call(64, SETUP, 8, value, type_)

    def infos(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.client.get(64, SETUP, 6)
        return found


def enrol(here: World, manager: Manager, number: int) -> Certificate:
    """A new pair of the meter, certified by its maker and imported."""
    assert manager.generate(number) == 0
    request, purpose = manager.request(number), KINDS[number].purpose
    assert request.title == here.meter.system_title
    certificate = maker(here).issue(request.key(purpose), request.title, purpose, VALIDITY)
    assert manager.take(certificate) == 0
    return certificate


# --- attribute 6 --------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_the_list_of_certificates(preset: str) -> None:
    here = world(preset=preset)
    infos = Manager(here).infos()
    root = maker(here).certificate
    assert {(entity, kind) for entity, kind, *_ in infos} == {
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 3), (3, 0), (3, 1)
    }  # fmt: skip
    held = {one.serial: one for one in pairs_of(here).held()}
    for _, _, serial, issuer, subject, alternative in infos:
        assert (issuer, subject, alternative) == (root.subject, held[serial].subject, b"")


def test_suite_0_has_no_certificates() -> None:
    here = world()
    manager = Manager(here)
    assert manager.infos() == []
    for method, value, type_ in ((4, 0, Tag.ENUM), (5, 0, Tag.ENUM), (6, b"", Tag.OCTET_STRING)):
        assert manager.client.call(64, SETUP, method, value, type_) != 0


# --- the meter's own pairs ----------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("number", list(KINDS))
def test_a_new_pair_works_from_the_import_of_its_certificate(
    preset: str, number: int, tmp_path: Path
) -> None:
    here = world(preset=preset, folder=tmp_path / "state")
    manager, own = Manager(here), pairs_of(here).own(KINDS[number])
    old, before = own.key, own.certificate
    assert old is not None and manager.generate(number) == 0
    assert (own.key, own.certificate) == (old, before), "the old pair goes on until then"
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")
    waiting = own.waiting
    assert waiting is not None
    assert manager.request(number).key(KINDS[number].purpose).octets == waiting.public.octets
    certificate = enrol(here, manager, number)
    assert own.waiting is None and own.key is not None and own.certificate == certificate
    assert own.key.public.octets == certificate.key.octets
    with pytest.raises(UnknownKey):
        old.backend()
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")
    here.restart()
    again = pairs_of(here).own(KINDS[number])
    assert again.certificate == certificate and again.key is not None and again.waiting is None
    assert again.key.public.octets == certificate.key.octets
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")


def test_a_request_for_the_pair_in_use_renews_its_certificate() -> None:
    here = world(preset="suite1")
    manager, own = Manager(here), pairs_of(here).own(SIGNATURE)
    key, request = own.key, manager.request(0)
    renewed = maker(here).issue(request.key(Purpose.SIGNATURE), request.title, Purpose.SIGNATURE, VALIDITY)
    assert manager.take(renewed) == 0
    assert own.key is key and own.certificate == renewed
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")


def test_D18_a_request_is_signed_by_the_new_key_and_names_the_meter() -> None:
    """What was generated twice: the request is for the later one, and none for the earlier one is taken."""
    here = world(preset="suite1")
    manager = Manager(here)
    assert manager.generate(0) == 0
    first = manager.request(0)
    assert manager.generate(0) == 0
    second = manager.request(0)
    assert first.title == second.title == here.meter.system_title
    assert first.key(Purpose.SIGNATURE) != second.key(Purpose.SIGNATURE)
    by = maker(here)
    for request, code in ((first, REFUSED), (second, 0)):
        made_of = by.issue(request.key(Purpose.SIGNATURE), request.title, Purpose.SIGNATURE, VALIDITY)
        assert manager.take(made_of) == code


def test_the_pair_that_waits_outlives_a_restart(tmp_path: Path) -> None:
    here = world(preset="suite1", folder=tmp_path / "state")
    manager = Manager(here)
    assert manager.generate(1) == 0
    request = manager.request(1)
    here.restart()
    manager = Manager(here)
    assert manager.request(1).key(Purpose.AGREEMENT) == request.key(Purpose.AGREEMENT)
    issued = maker(here).issue(request.key(Purpose.AGREEMENT), request.title, Purpose.AGREEMENT, VALIDITY)
    assert manager.take(issued) == 0


def test_removing_an_own_certificate_destroys_the_private_key(tmp_path: Path) -> None:
    here = world(preset="suite1", folder=tmp_path / "state")
    manager, own = Manager(here), pairs_of(here).own(SIGNATURE)
    key = own.key
    assert isinstance(key, SigningKey)
    assert manager.remove((0, (0, 0, here.meter.system_title))) == 0
    assert own.key is None and own.certificate is None
    with pytest.raises(UnknownKey):
        key.sign(b"")
    assert not any("pair/signature" in name for name in here.meter.store.names("pair/"))
    outcome = manager.client.one(call(64, SETUP, 5, 0, Tag.ENUM))
    assert outcome.code == REFUSED, "there is no pair to ask for"
    assert not any(isinstance(e, Associated) for e in here.client("operator").try_sign_on())
    enrol(here, manager, 0)
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")


@pytest.mark.parametrize("method", [4, 5])
@pytest.mark.parametrize("number", [3, 255])
def test_there_are_three_kinds_of_pair(method: int, number: int) -> None:
    here = world(preset="suite1")
    assert Manager(here).client.call(64, SETUP, method, number, Tag.ENUM) == REFUSED


# --- certificates of others ---------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_new_certificate_of_a_client_takes_the_place_of_the_old(preset: str, tmp_path: Path) -> None:
    here = world(preset=preset, folder=tmp_path / "state")
    manager, operator = Manager(here), here.client("operator")
    setup, key = operator.machine.profile.setup, SigningKey.generate(maker(here).certificate.key.curve)
    old = pairs_of(here).trust.find(setup.own_title, Purpose.SIGNATURE)
    renewed = made(here, setup.own_title, public=key.public)
    assert manager.take(renewed) == 0
    held = pairs_of(here).trust.find(setup.own_title, Purpose.SIGNATURE)
    assert old is not None and held == renewed
    here.restart()
    assert pairs_of(here).trust.find(setup.own_title, Purpose.SIGNATURE) == renewed
    fresh = here.client("operator")
    fresh.machine.profile.setup.signing, fresh.machine.profile.setup.certificate = key, None
    assert any(isinstance(e, Associated) for e in fresh.try_sign_on())


class Rolled:
    """The operator with a new key, whose certificate it brings along."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.key = SigningKey.generate(maker(here).certificate.key.curve)
        self.title = here.client("operator").machine.profile.setup.own_title
        held = pairs_of(here).trust.find(self.title, Purpose.SIGNATURE)
        assert held is not None
        validity = Validity(held.not_before, VALIDITY.end)
        self.certificate = made(here, self.title, public=self.key.public, validity=validity)

    def signs_on(self, key: SigningKey | None = None, *, brings: bool = True) -> bool:
        client = self.here.client("operator")
        setup = client.machine.profile.setup
        setup.signing, setup.certificate = key or self.key, self.certificate.der if brings else None
        return any(isinstance(e, Associated) for e in client.try_sign_on())


@pytest.mark.parametrize("preset", PRESETS)
def test_A10_a_certificate_that_nobody_proves_locks_nobody_out(preset: str, tmp_path: Path) -> None:
    """Certificates are public: whoever writes on the line could send the newer one of somebody else."""
    here = world(preset=preset, folder=tmp_path / "state")
    new, other = Rolled(here), SigningKey.generate(maker(here).certificate.key.curve)
    assert not new.signs_on(other)
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")
    assert not new.signs_on(brings=False)  # nothing is known of the new one yet
    assert new.signs_on() and new.signs_on(brings=False)
    assert not any(isinstance(e, Associated) for e in here.client("operator").try_sign_on())
    # Nor does the replaced one come back with a restart.
    here.restart()
    assert new.signs_on(brings=False)
    assert pairs_of(here).trust.find(new.title, Purpose.SIGNATURE) == new.certificate


def test_a_certificate_comes_along_where_pass_3_has_to_be_signed(tmp_path: Path) -> None:
    here = world(preset="suite1", folder=tmp_path / "state")
    assert here.signed_on("manager").call(64, "0.0.43.0.2.255", 1, 0xFC, Tag.ENUM) == 0
    new = Rolled(here)
    client = here.client("operator")
    setup = client.machine.profile.setup
    setup.signing, setup.certificate, setup.policy = new.key, new.certificate.der, policy_bits(_ALL, _ALL)
    effects = client.run(client.machine.associate(random_octets(32), random_octets(8)))
    assert any(isinstance(e, Associated) for e in effects)


def test_D16_a_removed_client_stays_out(tmp_path: Path) -> None:
    """Revoking at the meter: what was removed comes back with no sign-on, not after a restart either."""
    here = world(preset="suite1", folder=tmp_path / "state")
    manager = Manager(here)
    title = here.client("operator").machine.profile.setup.own_title
    certificate = pairs_of(here).trust.find(title, Purpose.SIGNATURE)
    assert certificate is not None
    operator = here.client("operator")
    assert manager.remove((0, (1, 0, title))) == 0
    assert not any(isinstance(e, Associated) for e in operator.try_sign_on())
    here.restart()
    again = here.client("operator")
    again.machine.profile.setup.certificate = certificate.der
    assert not any(isinstance(e, Associated) for e in again.try_sign_on())
    assert Manager(here).take(certificate) == 0, "who may import may take it in again"
    here.restart()
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")


def test_certificates_of_a_third_party_and_of_an_authority_below_the_root(tmp_path: Path) -> None:
    here = world(preset="suite1", folder=tmp_path / "state")
    manager = Manager(here)
    sub = maker(here).sub(SigningKey.generate(curve("P-256")), "Sub", VALIDITY)
    third = made(here, by=sub)
    assert manager.take(third) == REFUSED, "the authority between is not known yet"
    assert manager.take(sub.certificate) == 0
    assert manager.take(third) == 0
    here.restart()
    manager = Manager(here)
    entities = {serial: (entity, kind) for entity, kind, serial, *_ in manager.infos()}
    assert entities[third.serial] == (3, 0) and entities[sub.certificate.serial] == (2, 3)
    assert manager.export((0, (3, 0, OTHER))) == third
    serial = (1, (sub.certificate.serial, sub.certificate.issuer))
    assert manager.export(serial, SERIAL) == sub.certificate
    assert manager.remove(serial, SERIAL) == 0
    assert manager.export(serial, SERIAL) == UNAVAILABLE
    assert manager.take(made(here, b"MSLHES\x00\x78", by=sub)) == REFUSED


def test_every_form_of_identification() -> None:
    here = world(preset="suite1")
    manager, root = Manager(here), maker(here).certificate
    own = pairs_of(here).own(AGREEMENT).certificate
    assert own is not None
    assert manager.export((0, (0, 1, here.meter.system_title))) == own
    assert manager.export((1, (own.serial, own.issuer)), SERIAL) == own
    assert manager.export((1, (b"\0" + own.serial, own.issuer_text.encode())), SERIAL) == own
    assert manager.export((0, (2, 3, b""))) == root, "trust anchors can be exported"


@pytest.mark.parametrize(
    ("value", "type_", "code"),
    [
        ((0, (0, 0, OTHER)), ENTITY, UNAVAILABLE),
        ((0, (1, 2, b"MSLHES\x00\x01")), ENTITY, UNAVAILABLE),
        ((0, (0, 3, b"")), ENTITY, UNAVAILABLE),
        ((1, (b"\1", b"CN=nobody")), SERIAL, UNAVAILABLE),
        ((1, (b"", b"")), SERIAL, UNAVAILABLE),
        ((2, (b"", b"")), SERIAL, 0x0C),
        ((0, (b"", b"")), SERIAL, 0x0C),
        ((1, (0, 0, b"")), ENTITY, 0x0C),
        ((0, 0), Structure((Tag.ENUM, Tag.UNSIGNED)), 0x0C),
        ((0, b"\0\0\0"), Structure((Tag.ENUM, Tag.OCTET_STRING)), 0x0C),
    ],
)
def test_D17_an_identification_that_means_none_gives_out_none(value: Any, type_: Any, code: int) -> None:
    here = world(preset="suite1")
    manager, held = Manager(here), pairs_of(here).held()
    assert manager.export(value, type_) == code
    assert manager.remove(value, type_) == code
    assert pairs_of(here).held() == held
