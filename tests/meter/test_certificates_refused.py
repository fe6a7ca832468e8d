"""Certificates that a meter does not take in: faults, strangers, keys with two uses; trust anchors stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meterseal.codec.types import Tag
from meterseal.crypto import AgreementPoint, SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.meter.pairs import AGREEMENT, MOST, SIGNATURE, TLS
from tests.crypto import certificate_faults as faults
from tests.meter.test_certificate_methods import (
    ENTITY,
    OTHER,
    PRESETS,
    REFUSED,
    SERIAL,
    SETUP,
    VALIDITY,
    Manager,
    made,
    maker,
    pairs_of,
)
from tests.meter.world import World, world

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
