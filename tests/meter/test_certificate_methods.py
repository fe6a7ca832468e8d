"""Security setup, attribute 6 and methods 4 to 8: key pairs, requests, certificates over a meter's life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meterseal.association import Associated
from meterseal.codec import data as codec
from meterseal.codec.types import Structure, Tag
from meterseal.crypto import AgreementKey, AgreementPoint, SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Authority, Request, Validity
from meterseal.errors import UnknownKey
from meterseal.meter.manufacture import maker_of
from meterseal.meter.pairs import AGREEMENT, KINDS, MOST, SIGNATURE, TLS, KeyPairs
from tests.crypto import certificate_faults as faults
from tests.meter.world import Client, World, call, world

SETUP = "0.0.43.0.1.255"
PRESETS = ("suite1", "suite2")
ENTITY = Structure((Tag.ENUM, Structure((Tag.ENUM, Tag.ENUM, Tag.OCTET_STRING))))
SERIAL = Structure((Tag.ENUM, Structure((Tag.OCTET_STRING, Tag.OCTET_STRING))))
VALIDITY = Validity(datetime(2020, 1, 1, tzinfo=UTC), datetime(2080, 1, 1, tzinfo=UTC))
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


# --- what is not taken in -----------------------------------------------------------------------


def foreign_key(here: World) -> Certificate:
    return made(here, here.meter.system_title)


def foreign_agreement_key(here: World) -> Certificate:
    return made(here, here.meter.system_title, Purpose.AGREEMENT)


def one_key_two_purposes(here: World) -> Certificate:
    key = pairs_of(here).own(SIGNATURE).key
    assert key is not None
    point = AgreementPoint(key.curve, key.public.octets)
    return made(here, here.meter.system_title, Purpose.AGREEMENT, public=point)


def one_key_for_tls_too(here: World) -> Certificate:
    key = pairs_of(here).own(SIGNATURE).key
    assert key is not None
    return made(here, here.meter.system_title, Purpose.TLS, public=key.public)


def the_meters_key_for_another(here: World) -> Certificate:
    key = pairs_of(here).own(SIGNATURE).key
    assert key is not None
    return made(here, OTHER, public=key.public)


def a_clients_key_for_another(here: World) -> Certificate:
    held = pairs_of(here).trust.find(b"MSLHES\x00\x02", Purpose.SIGNATURE)
    assert held is not None
    return made(here, OTHER, public=held.key)


def stranger(here: World) -> Certificate:
    root = Authority.root(SigningKey.generate(maker(here).certificate.key.curve), "Root", VALIDITY)
    return made(here, by=root)


def same_name_other_key(here: World) -> Certificate:
    name = maker(here).certificate.subject_text.removeprefix("CN=")
    root = Authority.root(SigningKey.generate(maker(here).certificate.key.curve), name, VALIDITY)
    return made(here, by=root)


def expired(here: World) -> Certificate:
    begin = datetime(2001, 1, 1, tzinfo=UTC)
    return made(here, validity=Validity(begin, begin + timedelta(days=365)))


def not_yet(here: World) -> Certificate:
    return made(here, validity=Validity(datetime(2090, 1, 1, tzinfo=UTC)))


NOT_TAKEN = (
    foreign_key, foreign_agreement_key, one_key_two_purposes, one_key_for_tls_too,
    the_meters_key_for_another, a_clients_key_for_another, stranger, same_name_other_key, expired, not_yet,
)  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_D10_D12_D15_D17_what_is_not_taken_in(preset: str, tmp_path: Path) -> None:
    here = world(preset=preset, folder=tmp_path / "state")
    manager, held = Manager(here), pairs_of(here).held()
    for fault in NOT_TAKEN:
        assert manager.take(fault(here)) == REFUSED, fault.__name__
    assert pairs_of(here).held() == held
    here.restart()
    assert pairs_of(here).held() == held


def test_D13_D20_the_curve_is_the_suites() -> None:
    here = world(preset="suite2")
    manager = Manager(here)
    key = SigningKey.generate(curve("P-256"))
    assert manager.take(made(here, public=key.public)) == REFUSED
    assert manager.take(made(here)) == 0


def test_D11_D13_D14_D15_D19_every_fault_of_the_corpus(tmp_path: Path) -> None:
    """The faults of tests/crypto, imported over the line: refused with one code, and nothing is kept."""
    (tmp_path / "root.pem").write_bytes(faults.ROOT.certificate.to_pem())
    text = '[meter]\ntrust = ["root.pem"]\n[roles.manager]\nmechanism = "gmac"\n'
    here = world(text, tmp_path / "state", tmp_path, "suite1", seconds=faults.NOW.timestamp())
    manager = Manager(here)
    assert manager.take(faults.SUB.certificate) == 0
    names = here.meter.store.names("")
    for name, make in (faults.SINGLE | faults.CHAIN).items():
        octets = faults.quietly(make)
        too_long = len(octets) > 1 << 16  # more than a meter puts together from blocks
        assert manager.take(octets) == (0x0F if too_long else REFUSED), name
    assert here.meter.store.names("") == names
    assert manager.take(faults.right()) == 0


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x30", b"\x30\x80\0\0", bytes(8192), b"\x30\x84\x7f\xff\xff\xff" + bytes(40), b"\x30\x03" * 2000],
)
def test_D19_octets_that_are_no_certificate(octets: bytes) -> None:
    assert Manager(world(preset="suite1")).take(octets) == REFUSED


def test_the_number_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(preset="suite1")
    monkeypatch.setattr("meterseal.meter.pairs.MOST", 8)
    manager = Manager(here)
    codes = [manager.take(made(here, bytes(7) + bytes((n,)))) for n in range(1, 4)]
    assert codes == [0, 0, REFUSED] and MOST > 8
    assert manager.take(made(here, bytes(7) + b"\x01")) == 0, "in the place of an older one"


# --- trust anchors ------------------------------------------------------------------------------


def test_D21_no_association_changes_the_trust_anchors(tmp_path: Path) -> None:
    here = world(preset="suite1", folder=tmp_path / "state")
    manager, anchors = Manager(here), pairs_of(here).trust.anchors
    root = maker(here).certificate
    other = Authority.root(SigningKey.generate(curve("P-256")), "Other", VALIDITY).certificate
    again = Authority.root(SigningKey.generate(curve("P-256")), root.subject_text[3:], VALIDITY).certificate
    for certificate in (root, other, again):
        assert manager.take(certificate) == REFUSED
    by_serial = (1, (root.serial, root.issuer))
    assert manager.remove(by_serial, SERIAL) == REFUSED
    assert manager.remove((0, (2, 3, b""))) == REFUSED
    assert pairs_of(here).trust.anchors == anchors == (root,)
    here.restart()
    assert pairs_of(here).trust.anchors == anchors
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")


@pytest.mark.parametrize("role", ["public", "operator", "installer"])
def test_D21_only_the_manager_has_these_methods(role: str) -> None:
    here = world(preset="suite1")
    client, held = here.signed_on(role), pairs_of(here).held()
    calls: list[Callable[[], int]] = [
        lambda: client.call(64, SETUP, 4, 0, Tag.ENUM),
        lambda: client.call(64, SETUP, 5, 0, Tag.ENUM),
        lambda: client.call(64, SETUP, 6, made(here).der, Tag.OCTET_STRING),
        lambda: client.call(64, SETUP, 7, (0, (2, 3, b"")), ENTITY),
        lambda: client.call(64, SETUP, 8, (0, (2, 3, b"")), ENTITY),
    ]
    assert [one() for one in calls] == [4] * 5
    assert pairs_of(here).held() == held
    assert {own.waiting for own in map(pairs_of(here).own, (SIGNATURE, AGREEMENT, TLS))} == {None}
