"""People of a store: proved by signature, held to their duties, and two of them for what takes two."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from meterseal.authority.store import Store, migrations, schema
from meterseal.authority.store.counters import take_restored
from meterseal.authority.store.database import Database
from meterseal.authority.store.journal import FIRST, link, text_of
from meterseal.authority.store.roll import make_card, read_card
from meterseal.crypto import SigningKey, curve, random_octets
from meterseal.errors import (
    ConfigurationError,
    Forged,
    Malformed,
    Misuse,
    NotAllowed,
    NotApproved,
    StateDamaged,
    Unsupported,
)
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Record, Verb
from meterseal.keys.people import DEEDS, HOLDS, WAITS, Ask, Duty
from tests.authority.vaulted import GUEK, TITLE, House, adopt, states

SERVICE_ROLE = "operator"


@cache
def key(name: str) -> SigningKey:
    return SigningKey.generate(curve("P-256"))


def enrol(store: Store, name: str, *duties: Duty, scope: frozenset[str] = frozenset()) -> None:
    store.people.enrol(read_card(make_card(name, key(name))), frozenset(duties), scope, "new")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A store in which anna asks and bob approves; an active key, and one that was replaced."""
    made = House(tmp_path_factory.mktemp("prepared"))
    with made.open() as store:
        old = adopt(store)
        new = store.keys.stage(GUEK, random_octets(16))
        store.keys.apply(Verb.ACTIVATE, new)
        assert states(store) == ["deactivated", "active"] and old.version == 1
        enrol(store, "anna", Duty.OFFICER)
        store.people.sign_on(key("anna"), "person")
        enrol(store, "bob", Duty.APPROVER)
    return made


@pytest.fixture
def house(prepared: House, tmp_path: Path) -> House:
    """The prepared store, for one test alone: a copy of its files, and a clock of its own."""
    return prepared.copied(tmp_path)


def old_key(store: Store) -> Record:
    return store.keys.slot(GUEK)[0]


def about(record: Record) -> dict[str, Any]:
    return {"devices": [TITLE.hex().upper()], "key": record.id, "kcv": record.kcv}


def agreed(store: Store, record: Record) -> int:
    """The number of a request of anna's that bob has approved."""
    number = store.people.ask(key("anna"), "destroy", about(record), "leaked")
    assert store.people.approve(key("bob"), number, "seen").state is Ask.APPROVED
    return number


def test_what_takes_two_is_done_once_and_the_journal_has_both(house: House) -> None:
    with house.open() as store:
        number = agreed(store, old_key(store))
        house.clock.advance(minutes=5)
    with house.open() as store:
        record = old_key(store)
        store.people.sign_on(key("anna"), "destroy", about(record), number)
        store.keys.apply(Verb.DESTROY, record, "leaked")
        assert states(store) == ["destroyed", "active"]
        said = {entry.said["verb"]: entry for entry in store.core.entries()}
        done = said["four-eyes"].said
        assert (done["by"], done["approved_by"]) == ("anna", "bob")
        assert (done["asked_why"], done["approved_why"]) == ("leaked", "seen")
        assert done["asked"] == done["approved"] == done["at"] - 300
        assert store.core.verify_journal() > 0
        with pytest.raises(NotApproved, match="is done"):
            store.people.sign_on(key("anna"), "destroy", about(record), number)


def test_nothing_is_changed_or_opened_by_who_has_not_signed_on(house: House) -> None:
    with house.open() as store:
        assert store.core.people == 2
        with pytest.raises(NotAllowed, match="--as"):
            store.keys.stage(GUEK, random_octets(16))
        with pytest.raises(NotAllowed, match="nobody has signed on"):
            store.keys.reveal(store.keys.slot(GUEK)[1])
        with pytest.raises(NotAllowed):
            store.handles.gcm(TITLE, "operator")
        with pytest.raises(NotAllowed):
            store.counters.reserve("0123456789-tx", 10, 1)
        with pytest.raises(NotAllowed, match="nobody on the roll"):
            store.people.sign_on(key("mallory"), "rotate")
        assert len(store.keys.slot(GUEK)) == 2 and store.core.verify_journal() > 0


def test_a_process_that_had_the_store_open_before_is_held_to_the_rules_too(tmp_path: Path) -> None:
    made = House(tmp_path)
    with made.open() as before, made.open() as other:
        adopt(before)
        enrol(other, "anna", Duty.OFFICER)
        with pytest.raises(NotAllowed):
            before.keys.stage(GUEK, random_octets(16))
        with pytest.raises(NotAllowed):
            before.handles.gcm(TITLE, "operator")


def test_G20_each_duty_signs_on_for_its_deeds_and_opens_what_they_need(house: House) -> None:
    with house.open() as store:
        for duty in (Duty.OPERATOR, Duty.AUDITOR, Duty.ENGINEER):
            number = store.people.ask(key("anna"), "person", {"person": duty.value}, "new")
            store.people.approve(key("bob"), number, "seen")
            store.people.sign_on(key("anna"), "person", {"person": duty.value}, number)
            enrol(store, duty.value, duty)
        names = {"anna": Duty.OFFICER, "bob": Duty.APPROVER} | {
            duty.value: duty for duty in (Duty.OPERATOR, Duty.AUDITOR, Duty.ENGINEER)
        }
        record = store.keys.slot(GUEK)[1]
        for name, duty in names.items():
            for deed, row in DEEDS.items():
                if duty not in row.duties:
                    with pytest.raises(NotAllowed):
                        store.people.sign_on(key(name), deed)
                elif row.four_eyes:
                    with pytest.raises(NotApproved, match="takes two"):
                        store.people.sign_on(key(name), deed)
                else:
                    store.people.sign_on(key(name), deed)
                    if row.opens:
                        assert len(store.keys.reveal(record).reveal()) == 16
                    else:
                        with pytest.raises(NotAllowed, match=f"not for {deed}"):
                            store.keys.reveal(record)


def test_G20_a_deed_carries_out_what_its_row_says_and_nothing_else(house: House) -> None:
    with house.open() as store:
        store.people.sign_on(key("anna"), "rotate")
        for verb in (Verb.DESTROY, Verb.COMPROMISE):
            with pytest.raises(NotAllowed, match="no part of"):
                store.keys.apply(verb, old_key(store), "why not")
        with pytest.raises(NotAllowed):
            store.keys.retire(TITLE, "scrapped")
        with pytest.raises(NotAllowed):
            enrol(store, "carl", Duty.APPROVER)
        store.keys.stage(GUEK, random_octets(16))
        with pytest.raises(NotAllowed):
            store.keys.stage(Slot(TITLE, "", "kek"), random_octets(16))


def test_G06_a_KEK_is_staged_for_the_device_that_two_have_named(house: House) -> None:
    kek, other = Slot(TITLE, "", "kek"), TITLE[:7] + b"\2"
    with house.open() as store:
        wanted = {"devices": [other.hex().upper()], "kinds": ["kek"]}
        number = store.people.ask(key("anna"), "master-key", wanted, "yearly")
        store.people.approve(key("bob"), number, "seen")
        store.people.sign_on(key("anna"), "master-key", wanted, number)
        with pytest.raises(NotAllowed):
            store.keys.stage(kek, random_octets(16))
        assert store.people.requests()[0].state is Ask.APPROVED, "what failed has used nothing up"


def test_one_does_not_approve_what_is_ones_own(house: House) -> None:
    with house.open() as store:
        number = agreed_person(store, "both", Duty.OFFICER, Duty.APPROVER)
        own = store.people.ask(key("both"), "destroy", about(old_key(store)), "mine")
        with pytest.raises(NotAllowed, match="both's own"):
            store.people.approve(key("both"), own, "seen")
        with pytest.raises(NotAllowed, match="anna is officer"):
            store.people.approve(key("anna"), own, "seen")
        assert store.people.approve(key("bob"), own, "seen").approved_by == "bob"
        with pytest.raises(NotApproved, match="another's"):
            store.people.sign_on(key("anna"), "destroy", about(old_key(store)), own)
        assert own == number + 1


def agreed_person(store: Store, name: str, *duties: Duty, scope: frozenset[str] = frozenset()) -> int:
    told = {"person": name}
    number = store.people.ask(key("anna"), "person", told, "new")
    store.people.approve(key("bob"), number, "seen")
    store.people.sign_on(key("anna"), "person", told, number)
    enrol(store, name, *duties, scope=scope)
    return number


@pytest.mark.parametrize(
    ("deed", "changed"),
    [
        ("destroy", {"key": 1_000_000}),
        ("destroy", {"kcv": "0000000000"}),
        ("export", {}),
        ("destroy", {"more": 1}),
    ],
)
def test_another_deed_than_was_asked_for_is_refused(house: House, deed: str, changed: dict[str, Any]) -> None:
    with house.open() as store:
        number = agreed(store, old_key(store))
        with pytest.raises(NotApproved, match="something else"):
            store.people.sign_on(key("anna"), deed, about(old_key(store)) | changed, number)
        with pytest.raises(NotApproved, match="no request"):
            store.people.sign_on(key("anna"), "destroy", about(old_key(store)), number + 1)


def test_G18_a_stale_request_or_approval_or_one_of_a_wrong_clock_counts_no_more(house: House) -> None:
    with house.open() as store:
        record, number = old_key(store), agreed(store, old_key(store))
        waiting = store.people.ask(key("anna"), "destroy", about(record), "later")
        house.clock.now -= HOLDS
        with pytest.raises(NotApproved, match="stale"):
            store.people.sign_on(key("anna"), "destroy", about(record), number)
        house.clock.now += 2 * HOLDS
        with pytest.raises(NotApproved, match="stale"):
            store.people.sign_on(key("anna"), "destroy", about(record), number)
        house.clock.now += WAITS
        with pytest.raises(NotApproved, match="stale"):
            store.people.approve(key("bob"), waiting, "seen")
        assert store.people.requests() == [] and len(store.people.requests(open_only=False)) == 2


def test_an_approval_ends_with_who_gave_it_and_with_a_restored_store(house: House) -> None:
    copy = house.files()
    with house.open() as store:
        agreed_person(store, "carl", Duty.APPROVER)
        number = store.people.ask(key("anna"), "destroy", about(old_key(store)), "leaked")
        store.people.approve(key("carl"), number, "seen")
        told = {"person": "carl", "remove": True}
        off = store.people.ask(key("anna"), "person", told, "left us")
        store.people.approve(key("bob"), off, "seen")
        store.people.sign_on(key("anna"), "person", told, off)
        store.people.remove("carl", "left us")
        with pytest.raises(NotApproved, match="may not, or no longer"):
            store.people.sign_on(key("anna"), "destroy", about(old_key(store)), number)
        with pytest.raises(NotAllowed):
            store.people.sign_on(key("carl"), "approve")
        assert store.core.verify_journal() > 0
    house.put_back(copy)
    with house.open(restored=True) as store:
        number = agreed(store, old_key(store))
        store.people.sign_on(key("anna"), "restored")
        assert take_restored(store.core, "disk died") > 0
        with pytest.raises(NotApproved, match="stale"):
            store.people.sign_on(key("anna"), "destroy", about(old_key(store)), number)


def test_G02_of_two_who_run_the_same_request_one_does(house: House) -> None:
    with house.open() as store, house.open() as other:
        record = old_key(store)
        number = agreed(store, record)
        for one in (store, other):
            one.people.sign_on(key("anna"), "destroy", about(record), number)
        store.keys.apply(Verb.DESTROY, record, "leaked")
        with pytest.raises(NotApproved, match="is done"):
            other.keys.stage(GUEK, random_octets(16))


def test_the_last_two_who_can_ask_and_approve_stay(house: House) -> None:
    with house.open() as store:
        told = {"person": "bob"}
        number = store.people.ask(key("anna"), "person", told, "left us")
        store.people.approve(key("bob"), number, "seen")
        store.people.sign_on(key("anna"), "person", told, number)
        for name in ("anna", "bob"):
            with pytest.raises(Misuse, match="enrol another first"):
                store.people.remove(name, "left us")
        with pytest.raises(Misuse, match="nobody on the roll"):
            store.people.remove("carl", "left us")
        assert store.people.two


def test_who_gets_on_the_roll(tmp_path: Path) -> None:
    made = House(tmp_path)
    with made.open() as store:
        for duties in ((), (Duty.SERVICE,), (Duty.SERVICE, Duty.OFFICER), (Duty.AUDITOR,)):
            with pytest.raises(Misuse):
                enrol(store, "anna", *duties)
        assert store.people.enrolled() == [] and not store.people.two
        enrol(store, "anna", Duty.OFFICER)
        store.people.sign_on(key("anna"), "person")
        with pytest.raises(Misuse, match="has been on the roll"):
            enrol(store, "anna", Duty.APPROVER)
        with pytest.raises(Misuse, match="has been on the roll"):
            store.people.enrol(read_card(make_card("anna2", key("anna"))), frozenset({Duty.AUDITOR}))


def test_cards_are_signed_by_their_own_key() -> None:
    card = json.loads(make_card("anna", key("anna")))
    assert read_card(json.dumps(card).encode()).name == "anna"
    for change in ({"name": "bob"}, {"key": key("bob").public.octets.hex()}, {"signature": "00" * 64}):
        with pytest.raises(Forged):
            read_card(json.dumps(card | change).encode())
    for octets in (b"", b"{}", b"[" * 5000, b"1", json.dumps(card | {"more": 1}).encode(), b"x" * 5000):
        with pytest.raises(Malformed):
            read_card(octets)
    for name in ("", "x" * 65, "a\n", "\u00e4nna"):
        with pytest.raises(ConfigurationError):
            make_card(name, key("anna"))


def test_a_service_opens_keys_of_its_own_roles(house: House) -> None:
    with house.open() as store:
        agreed_person(store, "head-end", Duty.SERVICE, scope=frozenset({"operator"}))
        store.people.sign_on(key("anna"), "stage")
        manager = store.keys.stage(Slot(TITLE, "manager", "guek"), random_octets(16))
        store.people.sign_on(key("head-end"), "use")
        store.handles.gcm(TITLE, "operator")
        assert store.counters.reserve("0123456789-tx", 10, 1)[0] >= 1
        with pytest.raises(NotAllowed):
            store.keys.reveal(manager)
        with pytest.raises(NotAllowed):
            store.people.sign_on(key("head-end"), "rotate")


# --- what is found when somebody has been at the database -----------------------------------------


def _write(house: House, statement: Any) -> None:
    database = Database(str(house.path))
    with database.write() as connection:
        connection.execute(statement)
    database.close()


def test_G12_a_request_or_a_person_changed_in_the_database_is_found(house: House) -> None:
    with house.open() as store:
        record, number = old_key(store), agreed(store, old_key(store))
    other = json.dumps({**about(record), "key": record.id + 1}, sort_keys=True, separators=(",", ":"))
    _write(house, update(schema.requests).values(about=other))
    with house.open() as store, pytest.raises(StateDamaged, match="not as anna signed it"):
        store.people.sign_on(key("anna"), "destroy", about(record) | {"key": record.id + 1}, number)
    _write(
        house, update(schema.people).where(schema.people.c.name == "bob").values(key=key("eve").public.octets)
    )
    with house.open() as store, pytest.raises(StateDamaged, match="not as it was enrolled"):
        store.people.sign_on(key("eve"), "approve")


def test_G12_people_who_are_struck_off_in_the_database_are_missed_by_verify(house: House) -> None:
    _write(house, text("UPDATE people SET enrolled = 0"))
    _write(house, text("UPDATE stores SET people = 0"))
    with house.open() as store, pytest.raises(StateDamaged, match="its journal has enrolled"):
        store.core.verify_journal()


@pytest.mark.parametrize(
    ("verb", "change"),
    [
        ("approve", {"by": "anna"}),
        ("approve", {"reason": "other"}),
        ("request", {"about": "{}"}),
        ("request", {"by": "bob"}),
        ("sign-on", {"deed": "export"}),
        ("sign-on", {"head": "00" * 32}),
        ("four-eyes", {"approved_by": "anna"}),
        ("four-eyes", {"deed": "export"}),
        ("person", {"name": "eve"}),
    ],
)
def test_G12_who_has_the_storage_KEK_writes_no_signature_of_others(
    house: House, verb: str, change: dict[str, Any]
) -> None:
    """The chain is made anew, so that it holds; what people signed does not."""
    with house.open() as store:
        number = agreed(store, old_key(store))
        store.people.sign_on(key("anna"), "destroy", about(old_key(store)), number)
        store.keys.apply(Verb.DESTROY, old_key(store), "leaked")
        assert store.core.verify_journal() > 0
        j, head = schema.journal, FIRST
        with store.core.writing() as connection:
            for row in connection.execute(select(j).order_by(j.c.number)).all():
                said = json.loads(row.text)
                if said["verb"] == verb:
                    said |= change
                words = text_of(said)
                head = link(store.core._journal_key, row.number, head, words)
                connection.execute(update(j).where(j.c.number == row.number).values(text=words, hash=head))
            connection.execute(update(schema.stores).values(head=head))
        house.witness.unlink()
    with house.open() as store, pytest.raises(StateDamaged, match=r"not signed by who it names|has enrolled"):
        store.core.verify_journal()


# --- versions of a store --------------------------------------------------------------------------


def test_H12_a_store_of_the_first_version_is_refused_by_name_and_brought_here(tmp_path: Path) -> None:
    made = House(tmp_path)
    with made.open() as store:
        record = adopt(store)
    database = Database(str(made.path))
    with database.write() as connection:
        migrations.downgrade(connection, "0001")
        assert migrations.version(connection) == "0001" and "people" not in schema_of(connection)
    with pytest.raises(Unsupported, match="keys upgrade"):
        made.open()
    assert migrations.bring_here(database) == ("0001", migrations.HEAD)
    assert migrations.bring_here(Database(str(made.path))) == (migrations.HEAD, migrations.HEAD)
    with made.open() as store:
        assert store.keys.slot(GUEK)[0] == record and store.core.verify_journal() > 0
        enrol(store, "anna", Duty.OFFICER)
    _write(made, text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unsupported, match="later version"):
        migrations.bring_here(Database(str(made.path)))


def schema_of(connection: Any) -> set[str]:
    return set(connection.dialect.get_table_names(connection))
