"""Key pairs in a store: whose they are, what they are held against, when they are due; which way keys go."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from meterseal.authority.bringing import Bringer
from meterseal.authority.overview import due, set_every
from meterseal.authority.probing import Line, Prober
from meterseal.authority.store import Device, Store, schema
from meterseal.authority.store.keeping import slot_of
from meterseal.authority.store.rotating import Fresh
from meterseal.authority.ways import set_way
from meterseal.client.setups import BySerial, CertificateInfo
from meterseal.crypto import SigningKey, curve, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import read_key, write_key
from meterseal.errors import ConfigurationError, Misuse, StateDamaged
from meterseal.keys.kinds import Slot, Way
from meterseal.keys.lifecycle import Verb
from meterseal.keys.rotation import Heard, Phase
from tests.authority.vaulted import House, add

NEW, OTHER = bytes.fromhex("4D534C00000000F1"), bytes.fromhex("4D534C00000000F2")
CLIENT = bytes.fromhex("4D534C4845530001")
ROLES = {
    name: {"client": client, "mechanism": "gmac", "client_system_title": CLIENT.hex(), "carries": carries}
    for name, client, carries in (("manager", 1, True), ("deputy", 5, True), ("operator", 2, False))
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    with made.open() as store, store.core.acting() as act:
        for title in (NEW, OTHER):
            store.keys.add_device(act, Device(title=title, suite=1, settings={"roles": ROLES}), "test")
    return made


@pytest.fixture(scope="module")
def maker() -> Authority:
    from datetime import UTC, datetime

    begin = datetime(2026, 11, 1, tzinfo=UTC)
    return Authority.root(SigningKey.generate(curve("P-256")), "Maker", Validity(begin))


def pair(house: House, maker: Authority, title: bytes, days: int | None) -> tuple[bytes, Certificate]:
    key, now = SigningKey.generate(curve("P-256")), house.clock.now
    validity = Validity(now) if days is None else Validity(now, now + timedelta(days=days))
    return write_key(key), maker.issue(key.public, title, Purpose.SIGNATURE, validity)


def adopt(store: Store, slot: Slot, secret: bytes | None, certificate: Certificate | None) -> None:
    with store.core.acting() as act:
        store.keys.put(act, slot, secret, Verb.ADOPT, "test", suite=1, certificate=certificate)


def bringer(store: Store, title: bytes) -> Bringer:
    lease: Any = None
    return Bringer(Prober(store, store.keys.device(title), Line()), None, lease)


def test_a_client_has_one_pair_for_all_its_devices(house: House, maker: Authority) -> None:
    """Where another device has the newer one already, it is brought here too, and no second is drawn."""
    old, new = pair(house, maker, CLIENT, None), pair(house, maker, CLIENT, None)
    here, there = Slot(NEW, "operator", "client-sign"), Slot(OTHER, "operator", "client-sign")
    with house.open() as store:
        adopt(store, here, *old)
        adopt(store, there, *old)
        assert not any(
            one.flags for title in (NEW, OTHER) for kept in store.keys.stored(title).values() for one in kept
        )
        drawn = bringer(store, NEW).fresh(here)
        assert drawn is not None and drawn.secret not in (old[0], new[0]) and drawn.certificate is None
        store.rotations.hear(store.rotations.begin(there, lambda: Fresh(*new)), Heard.SENDING)
        found = bringer(store, NEW).fresh(here)
        assert found is not None and (found.secret, found.certificate) == new
        store.rotations.begin(here, lambda: found)
        assert [one.kcv for one in store.keys.slot(here)] == [one.kcv for one in store.keys.slot(there)]


def test_a_client_has_one_pair_for_all_its_devices_after_a_compromised_one_too(
    house: House, maker: Authority
) -> None:
    old, new = pair(house, maker, CLIENT, None), pair(house, maker, CLIENT, None)
    here, there = Slot(NEW, "operator", "client-sign"), Slot(OTHER, "operator", "client-sign")
    with house.open() as store:
        adopt(store, here, *old)
        adopt(store, there, *old)
        store.exposures.mark(store.exposures.same(store.keys.slot(here)[0].id), "a stolen laptop")
        assert store.pairs.elsewhere(here) is None
        at = store.rotations.begin(there, lambda: Fresh(*new))
        found = bringer(store, NEW).fresh(here)
        assert found is not None and (found.secret, found.certificate) == new
        store.rotations.begin(here, lambda: found)
        for heard in (Heard.SENDING, Heard.TAKEN, Heard.NEW):
            at = store.rotations.hear(at, heard)
        assert store.pairs.elsewhere(here) is None, "it is here already: the next one is a new one"
        store.exposures.mark(store.exposures.same(store.keys.slot(there)[-1].id), "and the next laptop")
        assert store.pairs.elsewhere(here) is None, "what others have is brought nowhere"


class FakeHsm:
    """Names of pairs in a token, without one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pairs: dict[str, Any] = {}
        self.bound: list[str] = []
        self.made = 0
        for name in ("pair_beside", "pairs_beside", "drop_pair", "private_key", "certified"):
            patch.setattr(f"meterseal.authority.store.pairs.{name}", getattr(self, name))

    def pair_beside(self, text: str, on: Any, kind: Any) -> str:
        self.made += 1
        made = f"pkcs11:token=t;object=meterseal-{self.made}"
        self.pairs[made] = kind.generate(on)
        return made

    def pairs_beside(self, text: str) -> set[str]:
        return {uri for uri in self.pairs if uri.startswith("pkcs11:token=t;object=meterseal-")}

    def drop_pair(self, text: str) -> None:
        del self.pairs[text]

    def private_key(self, text: str, kind: Any) -> Any:
        return self.pairs[text]

    def certified(self, text: str) -> None:
        self.bound.append(text)


def test_G09_a_pair_beside_one_in_an_HSM_is_made_there_and_gone_with_the_last_that_has_it(
    house: House, maker: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm = FakeHsm(monkeypatch)
    here, there = Slot(NEW, "operator", "client-sign"), Slot(OTHER, "operator", "client-sign")
    theirs, certificate = b"pkcs11:token=t;object=theirs", pair(house, maker, CLIENT, None)[1]
    hsm.pairs[theirs.decode()] = None
    with house.open() as store:
        for slot in (here, there):
            adopt(store, slot, theirs, certificate)

        def turn(title: bytes, slot: Slot) -> bytes:
            found = bringer(store, title).fresh(slot)
            assert found is not None and found.secret is not None
            at = store.rotations.begin(slot, lambda: found)
            for heard in (Heard.SENDING, Heard.TAKEN, Heard.BESIDE):
                at = store.rotations.hear(at, heard)
            store.rotations.hear(at, Heard.REMOVED)
            return found.secret

        first = turn(NEW, here)
        assert first.startswith(b"pkcs11:") and turn(OTHER, there) == first
        active = store.pairs.active(here)
        assert active is not None
        assert store.pairs.private(active, SigningKey) is hsm.pairs[first.decode()]
        store.pairs.bound(active)
        assert hsm.bound == [first.decode()]
        assert theirs.decode() in hsm.pairs, "what somebody else made there is somebody else's"
        second = turn(NEW, here)
        assert first.decode() in hsm.pairs, "the other device has it"
        assert turn(OTHER, there) == second
        assert first.decode() not in hsm.pairs and second.decode() in hsm.pairs
        assert store.pairs.strays() == []
        left = hsm.pair_beside("", curve("P-256"), SigningKey)  # and the process died
        assert store.pairs.strays() == [left]


def test_G16_without_the_HSM_no_pair_is_made_in_its_place(
    house: House, maker: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METERSEAL_PKCS11_MODULE", raising=False)
    slot = Slot(NEW, "operator", "client-sign")
    with house.open() as store:
        adopt(store, slot, b"pkcs11:token=t;object=x", pair(house, maker, CLIENT, None)[1])
        with pytest.raises(ConfigurationError, match=r"PKCS#11 library|extra"):
            store.rotations.begin(slot, lambda: bringer(store, NEW).fresh(slot))
        assert store.rotations.open() == [] and len(store.keys.slot(slot)) == 1
        made, origin = store.pairs.new(Slot(OTHER, "operator", "client-sign"), "P-256", SigningKey)
        assert origin == "generated" and read_key(made, SigningKey).public.curve is curve("P-256")


def test_a_certificate_that_was_put_in_its_place_is_noticed(house: House, maker: Authority) -> None:
    slot = Slot(NEW, "", "meter-sign")
    with house.open() as store:
        adopt(store, slot, None, pair(house, maker, NEW, None)[1])
        found = store.pairs.active(slot)
        assert found is not None and store.pairs.certificate(found) is not None
        with store.core.writing() as connection:
            forged = pair(house, maker, NEW, None)[1].der
            connection.execute(update(schema.keys).values(certificate=forged))
        found = store.pairs.active(slot)
        assert found is not None
        with pytest.raises(StateDamaged, match="not the certificate"):
            store.pairs.certificate(found)


def test_C10_certificates_are_due_ahead_of_their_end(house: House, maker: Authority) -> None:
    with house.open() as store:
        adopt(store, Slot(NEW, "", "meter-sign"), None, pair(house, maker, NEW, 90)[1])
        adopt(store, Slot(NEW, "operator", "client-sign"), *pair(house, maker, CLIENT, None))
        kinds: Any = lambda: [one.record.slot.kind for one in due(store, house.clock.now).keys]  # noqa: E731
        assert kinds() == []
        house.clock.advance(days=31)
        assert kinds() == ["meter-sign"]
        set_every(store, {"certificate": 30})
        assert kinds() == []
        house.clock.advance(days=30)
        assert kinds() == ["meter-sign"]
        set_every(store, {"certificate": 0, "meter-sign": 0})
        assert kinds() == []
        house.clock.advance(days=700)
        assert kinds() == ["meter-sign", "client-sign"], "one has ended, the other is old"
        with pytest.raises(Misuse, match="0 to"):
            set_every(store, {"certificate": -1})


def test_a_way_is_chosen_where_there_is_a_way_back(house: House) -> None:
    with house.open() as store:
        add(store, b"suite-0.")
        for title, role, kind in (
            (NEW, "operator", "guek"),
            (NEW, "manager", "gak"),
            (NEW, "manager", "kek"),
        ):
            with store.core.acting() as act:
                store.keys.put(act, slot_of(title, role, kind), random_octets(16), Verb.ADOPT, "t", suite=1)
        for role, kind, via in (
            ("operator", "guek", "manager"),
            ("manager", "gak", "deputy"),
            ("", "kek", "manager"),
        ):
            slot = Slot(NEW, role, kind)
            set_way(store, slot, Way.AGREEMENT)
            asked = bringer(store, NEW)
            assert asked.way(slot) is Way.AGREEMENT and asked.via(slot, Way.AGREEMENT) == via
            assert asked.fresh(slot) is None
            set_way(store, slot, Way.TRANSFER)
            assert bringer(store, NEW).way(slot) is Way.TRANSFER
        settings = store.keys.device(NEW).settings
        settings["roles"]["deputy"]["carries"] = False
        store.keys.set_settings(NEW, settings)
        for slot, way, why in (
            (Slot(NEW, "manager", "gak"), Way.AGREEMENT, "no other role"),
            (Slot(NEW, "operator", "gak"), Way.AGREEMENT, "no key"),
            (Slot(NEW, "operator", "client-sign"), Way.AGREEMENT, "one way only"),
            (Slot(NEW, "operator", "guek"), Way.SECRET, "one way only"),
        ):
            with pytest.raises(Misuse, match=why):
                set_way(store, slot, way)
        with store.core.acting() as act:
            store.keys.put(
                act, Slot(b"suite-0.", "operator", "guek"), random_octets(16), Verb.ADOPT, "t", suite=0
            )
        with pytest.raises(Misuse, match="suite 0"):
            set_way(store, Slot(b"suite-0.", "operator", "guek"), Way.AGREEMENT)


def test_a_key_that_was_to_be_agreed_on_is_transferred_after_all(house: House) -> None:
    """Its rotation had no key yet; a staged one is not agreed on, whatever the way."""
    slot = Slot(NEW, "operator", "guek")
    with house.open() as store:
        with store.core.acting() as act:
            store.keys.put(act, slot, random_octets(16), Verb.ADOPT, "t", suite=1)
        set_way(store, slot, Way.AGREEMENT)
        at = store.rotations.begin(slot, lambda: bringer(store, NEW).fresh(slot))
        assert at.key is None and at.phase is Phase.STAGED
        at = store.rotations.hear(store.rotations.hear(at, Heard.SENDING), Heard.NOBODYS)
        assert at.phase is Phase.STAGED and [one.state.value for one in store.keys.slot(slot)] == ["active"]
        at = store.rotations.equip(at, Fresh(random_octets(16)))
        record = store.keys.find(at.key or 0).record
        assert record.sent is not None and bringer(store, NEW).way(slot, record) is Way.TRANSFER


class Setup:
    """A Security setup of a meter that keeps old certificates beside new ones."""

    def __init__(self, *held: Certificate) -> None:
        self.held, self.removed = list(held), list[BySerial]()

    async def certificates(self) -> list[CertificateInfo]:
        told = ((one.serial, one.issuer, one.subject) for one in self.held)
        return [CertificateInfo("client", "signature", *names, b"") for names in told]

    async def remove_certificate(self, which: BySerial) -> None:
        self.removed.append(which)


def test_the_old_certificate_is_taken_off_beside_the_new_one_only(house: House, maker: Authority) -> None:
    slot = Slot(NEW, "operator", "client-sign")
    old, new = pair(house, maker, CLIENT, None), pair(house, maker, CLIENT, None)
    with house.open() as store:
        adopt(store, slot, *old)
        at = store.rotations.begin(slot, lambda: Fresh(*new))
        for heard in (Heard.SENDING, Heard.TAKEN, Heard.BESIDE):
            at = store.rotations.hear(at, heard)
        assert at.phase is Phase.PROVED
        for setup, gone in (
            (Setup(old[1]), []),
            (Setup(new[1]), []),
            (Setup(old[1], new[1]), [old[1].serial]),
        ):
            meter: Any = SimpleNamespace(security_setup=lambda setup=setup: setup)
            asyncio.run(bringer(store, NEW).retire(meter, slot))
            assert [one.serial for one in setup.removed] == gone
