"""What others may have: marked wherever it is held, used by nobody from then on, exposed for so long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from meterseal.authority.adoption import credentials_of, export_credentials
from meterseal.authority.store import Store
from meterseal.crypto import SigningKey, curve, random_octets
from meterseal.crypto.keyfiles import write_key
from meterseal.errors import CertificateRefused, Compromised, Misuse, UnknownKey
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Record, State, Verb, find
from tests.authority import house as office
from tests.authority.changing import Scene
from tests.authority.vaulted import GUEK, ROLES, TITLE, House, add, adopt, states

OTHER = TITLE[:7] + b"\2"
THIRD = TITLE[:7] + b"\3"


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    with made.open() as store:
        for title in (OTHER, THIRD):
            add(store, title)
    return made


def shared(store: Store, kind: str, secret: bytes, *titles: bytes) -> list[Record]:
    return [adopt(store, Slot(title, "operator", kind), secret) for title in titles]


def test_a_key_that_many_hold_is_marked_at_all_of_them_at_once(house: House) -> None:
    with house.open() as store:
        group = shared(store, "gbek", random_octets(16), TITLE, OTHER)
        (own,) = shared(store, "gbek", random_octets(16), THIRD)
        house.clock.advance(days=3)
        before = store.core.verify_journal()
        with pytest.raises(Misuse, match="say why"):
            store.exposures.mark(store.exposures.same(group[0].id), "")
        assert states(store, group[0].slot) == ["active"] and store.core.verify_journal() == before
        marked = store.exposures.mark(store.exposures.same(group[1].id), "read out of a meter")
        assert [one.slot for one in marked] == [one.slot for one in group]
        assert {one.seconds(house.clock.now) for one in marked} == {3 * 86_400}
        assert states(store, own.slot) == ["active"], "another's is not"
        with pytest.raises(Misuse, match="nothing to mark"):
            store.exposures.mark(store.exposures.same(group[0].id), "again")


def test_an_exposure_ends_at_each_device_with_the_proof_of_its_successor(house: House) -> None:
    with house.open() as store:
        first, second = shared(store, "gbek", random_octets(16), TITLE, OTHER)
        house.clock.advance(days=1)
        since = house.clock.now - timedelta(hours=5)
        with pytest.raises(Misuse, match="yet to come"):
            store.exposures.mark(store.exposures.same(first.id), "a leak", house.clock.now + timedelta(1))
        store.exposures.mark(store.exposures.same(first.id), "a leak", since)
        house.clock.advance(hours=1)
        store.keys.apply(Verb.ACTIVATE, store.keys.stage(first.slot, random_octets(16)))
        house.clock.advance(hours=1)
        done, still = store.exposures.report()
        assert (done.slot.device, done.seconds(house.clock.now)) == (TITLE, 6 * 3600)
        assert (still.slot.device, still.until, still.seconds(house.clock.now)) == (OTHER, None, 7 * 3600)
        assert store.exposures.report(open_only=True) == [still] == store.exposures.report(OTHER)
        store.keys.apply(Verb.ACTIVATE, store.keys.stage(first.slot, random_octets(16)))
        assert store.exposures.report(TITLE) == [done], "what has ended stays as it was"
        with store.core.acting() as act:  # the device went back to the key that others have
            store.keys.found(act, store.keys.find(first.id).record)
        assert (
            store.exposures.report(TITLE)[0].until is None and states(store, first.slot)[-1] == "deactivated"
        )
        assert second.slot == still.slot


def test_a_key_that_was_replaced_before_was_exposed_until_then(house: House) -> None:
    with house.open() as store:
        old = adopt(store)
        house.clock.advance(hours=2)
        store.keys.apply(Verb.ACTIVATE, store.keys.stage(GUEK, random_octets(16)))
        house.clock.advance(hours=10)
        never = store.keys.stage(GUEK, random_octets(16))
        (exposed,) = store.exposures.mark(store.exposures.same(old.id), "an old backup")
        assert exposed.seconds(house.clock.now) == 2 * 3600
        (unsent,) = store.exposures.mark(store.exposures.same(never.id), "seen when it was made")
        assert unsent.until == house.clock.now and states(store) == ["compromised", "active", "compromised"]
        store.handles.gcm(TITLE, "operator")


def test_use_is_refused_from_that_moment_on_by_a_typed_error(house: House, tmp_path: Path) -> None:
    with house.open() as store, house.open() as other:
        gak = Slot(TITLE, "operator", "gak")
        guek, beside = adopt(store), adopt(store, gak)
        for kind in ("guek", "gak"):
            adopt(store, Slot(TITLE, "manager", kind))
        titled = {name: {**role, "client_system_title": "4D534C4845530001"} for name, role in ROLES.items()}
        store.keys.set_settings(TITLE, {"roles": titled})
        handle = store.handles.gcm(TITLE, "operator")
        other.exposures.mark(other.exposures.same(beside.id), "a laptop")
        store.handles.drop(TITLE)
        for one in (store, other):
            with pytest.raises(Compromised, match=r"GAK.*is compromised"):
                one.handles.gcm(TITLE, "operator")
        with pytest.raises(UnknownKey):
            handle.tag(0x10, bytes(12), b"")
        assert list(credentials_of(store, TITLE).roles) == ["manager"]
        with pytest.raises(Compromised, match="keys rotate"):
            export_credentials(store, TITLE, tmp_path / "out.toml", ["operator"])
        with pytest.raises(Compromised):
            credentials_of(store, TITLE, need=["manager", "operator"])
        assert not (tmp_path / "out.toml").exists()
        store.exposures.mark(store.exposures.same(guek.id), "a laptop")
        with pytest.raises(Compromised, match="GUEK"):
            store.handles.gcm(TITLE, "operator")
        for slot in (GUEK, gak):
            store.keys.apply(Verb.ACTIVATE, store.keys.stage(slot, random_octets(16)))
        store.handles.gcm(TITLE, "operator")
        export_credentials(store, TITLE, tmp_path / "out.toml", ["operator"])


def test_a_certificate_its_authority_and_a_revocation_list_find_who_holds_it(
    house: House, tmp_path: Path
) -> None:
    pairs = [SigningKey.generate(curve("P-256")) for _ in range(2)]
    with office.root(tmp_path / "ca") as ca, house.open() as store:
        from meterseal.crypto.certificates import Purpose
        from meterseal.crypto.issuing import Request, make_request
        from meterseal.crypto.revocation import Reason

        entries = [
            ca.issue(
                Request(make_request(pair, office.title(number))), office.title(number), Purpose.SIGNATURE
            )
            for number, pair in enumerate(pairs, 1)
        ]
        held = {}
        with store.core.acting() as act:
            for title, at in ((TITLE, 0), (OTHER, 0), (THIRD, 1)):
                slot = Slot(title, "operator", "client-sign")
                held[title] = store.keys.put(
                    act, slot, write_key(pairs[at]), Verb.ADOPT, "test", suite=0,
                    certificate=entries[at].certificate,
                )  # fmt: skip

        def titles(found: object) -> list[bytes]:
            return [one.record.slot.device for one in found]  # type: ignore[attr-defined]

        assert titles(store.exposures.with_certificate(entries[0].certificate)) == [TITLE, OTHER]
        assert titles(store.exposures.with_certificate(ca.certificate)) == [TITLE, OTHER, THIRD]
        ca.revoke(entries[1].serial, Reason.KEY_COMPROMISE, why="stolen")
        crl = ca.revocation_list()
        ((found, moment),) = store.exposures.on_list(crl, ca.certificate).values()
        assert found.record.slot.device == THIRD and moment == office.START
        with office.root(tmp_path / "other") as mallory, pytest.raises(CertificateRefused):
            store.exposures.on_list(mallory.revocation_list(), ca.certificate)
        (exposed,) = store.exposures.mark([found], "on the list", None)
        assert exposed.kcv == held[THIRD].kcv


# --- at a meter -----------------------------------------------------------------------------------


def test_G06_a_compromised_KEK_and_GUEK_are_rotated_out_at_the_meter(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    try:
        slots = [Slot(scene.title, "", "kek"), Slot(scene.title, "manager", "guek")]
        with scene.open() as store:
            for slot in slots:
                record = find(store.keys.slot(slot), State.ACTIVE)
                assert record is not None
                store.exposures.mark(store.exposures.same(record.id), "a stolen concentrator")
            assert "manager" not in credentials_of(store, scene.title).roles
        for slot in slots:
            report = scene.rotate(slot.kind, slot.role or "manager")
            assert report is not None and slot in report.done, report and report.waiting
        with scene.open() as store:
            assert store.exposures.report(open_only=True) == [] and len(store.exposures.report()) == 2
            assert "manager" in credentials_of(store, scene.title).roles
        scene.settled()
    finally:
        scene.close()
