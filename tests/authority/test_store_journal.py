"""The journal and the witness: any change is found, and an older copy is known for what it is."""

from __future__ import annotations

import json
import sqlite3

import pytest

from meterseal.authority.store.counters import MOST
from meterseal.crypto import random_octets
from meterseal.errors import CounterExhausted, CounterUnknown, MetersealError, Misuse, StateDamaged
from meterseal.keys.counters import BLOCK, LIMIT, REKEY_FROM
from meterseal.keys.lifecycle import Verb
from tests.authority.vaulted import GUEK, TITLE, House, adopt

NAME = "ABCDEF0123-4D534C4845530002-tx"


@pytest.fixture
def busy(house: House) -> House:
    """A store in which something has happened."""
    with house.open() as store:
        old = adopt(store)
        for _ in range(3):
            store.keys.apply(Verb.ACTIVATE, store.keys.stage(GUEK, random_octets(16), why="it is time"))
        store.keys.apply(Verb.COMPROMISE, old, "lost in a train")
    return house


def change(house: House, statement: str, *values: object) -> None:
    with sqlite3.connect(house.path) as connection:
        connection.execute(statement, values)
    connection.close()


def entries(house: House) -> list[tuple[int, str, bytes]]:
    with sqlite3.connect(house.path) as connection:
        rows = connection.execute("SELECT number, text, hash FROM journal ORDER BY number").fetchall()
    connection.close()
    return rows


# --- the chain ------------------------------------------------------------------------------------


def test_an_entry_says_who_what_which_when_and_why(busy: House) -> None:
    with busy.open() as store:
        (entry,) = store.core.entries(TITLE, last=1)
        assert store.core.verify_journal() == len(store.core.entries())
    assert entry.moment == busy.clock.now
    said = {name: entry.said[name] for name in ("by", "verb", "kind", "role", "why", "before", "after")}
    assert said == {
        "by": "test", "verb": "compromise", "kind": "guek", "role": "operator", "why": "lost in a train",
        "before": "deactivated", "after": "compromised",
    }  # fmt: skip


def test_G12_every_octet_of_the_journal_counts(busy: House) -> None:
    for number, text, head in entries(busy):
        for place in {(7 * number) % len(text)}:
            other = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
            change(busy, "UPDATE journal SET text = ? WHERE number = ?", other, number)
            with busy.open() as store, pytest.raises(StateDamaged, match=f"entry {number} is not"):
                store.core.verify_journal()
        wrong = bytes((head[0] ^ 0x80,)) + head[1:]
        change(busy, "UPDATE journal SET text = ?, hash = ? WHERE number = ?", text, wrong, number)
        with busy.open() as store, pytest.raises(StateDamaged, match=f"entry {number} is not"):
            store.core.verify_journal()
        change(busy, "UPDATE journal SET hash = ? WHERE number = ?", head, number)
    with busy.open() as store:
        assert store.core.verify_journal() == len(entries(busy))


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("DELETE FROM journal WHERE number = 4", "entry 4 is missing"),
        ("DELETE FROM journal WHERE number = 1", "entry 1 is missing"),
        ("DELETE FROM journal WHERE number > 5", "ends at entry 5"),
        ("DELETE FROM journal", "ends at entry 0"),
        ("UPDATE journal SET number = -number WHERE number = 5", "entry 1 is missing"),
        (
            "UPDATE journal SET text = (SELECT text FROM journal WHERE number = 3), "
            "hash = (SELECT hash FROM journal WHERE number = 3) WHERE number = 4",
            "entry 4 is not",
        ),
        ("INSERT INTO journal SELECT number + 1, device, text, hash FROM journal ORDER BY 1 DESC LIMIT 1",
         "is not as it was written"),
        ("UPDATE stores SET entry = entry - 1", "ends at entry"),
    ],
)  # fmt: skip
def test_G12_cut_left_out_exchanged_or_added(busy: House, how: str, cause: str) -> None:
    change(busy, how)
    with busy.open() as store, pytest.raises(StateDamaged, match=cause):
        store.core.verify_journal()


def test_G12_an_end_cut_off_with_the_stores_row_is_known_to_the_witness(busy: House) -> None:
    number, _, head = entries(busy)[4]
    change(busy, "DELETE FROM journal WHERE number > ?", number)
    change(busy, "UPDATE stores SET entry = ?, head = ?", number, head)
    with busy.open() as store, pytest.raises(StateDamaged, match="the witness has seen"):
        store.core.verify_journal()


def test_a_witness_that_says_nothing_stops_everything(busy: House) -> None:
    busy.witness.write_text("{}")
    with pytest.raises(StateDamaged, match="witness"):
        busy.open()


# --- older copies ---------------------------------------------------------------------------------


def test_G10_a_store_put_back_from_a_copy_is_refused(busy: House) -> None:
    copy = busy.files()
    with busy.open() as store:
        store.keys.stage(GUEK, random_octets(16))
    busy.put_back(copy)
    with pytest.raises(StateDamaged, match="older than what was used"):
        busy.open()


def test_C09_a_store_put_back_under_a_running_process_gives_no_counter(house: House) -> None:
    with house.open() as store:
        store.counters.reserve(NAME, start=1)
        copy = house.files()
        store.counters.reserve(NAME)
    house.put_back(copy)
    with pytest.raises(StateDamaged):
        house.open()


def test_C09_G19_a_copy_taken_into_use_jumps_over_all_that_may_have_been_used(house: House) -> None:
    with house.open() as store:
        store.counters.reserve(NAME, start=1)
        copy = house.files()
        used = [store.counters.reserve(NAME, count=MOST)[1] for _ in range(7)]
        other = store.counters.reserve("0123456789-4D534C4845530002-tx", count=MOST, start=1)[1]
    house.put_back(copy)
    with house.open(restored=True) as store:
        from meterseal.authority.store.counters import take_restored

        assert take_restored(store.core, "disk died") == 8 * MOST
        assert store.counters.reserve(NAME)[0] >= max(used)
        # A key that the copy has never heard of may have been used as well.
        assert store.counters.reserve("0123456789-4D534C4845530002-tx", start=1)[0] >= other
        assert store.core.verify_journal() > 0
    with house.open() as store:
        assert store.core.entries(last=1)[0].said["verb"] == "restored"


# --- counters -------------------------------------------------------------------------------------


def test_C10_blocks_of_several_stores_never_overlap(house: House) -> None:
    seen: set[int] = set()
    with house.open() as one, house.open() as two:
        for number in range(12):
            store = one if number % 3 else two
            first, end = store.counters.reserve(NAME, count=1 + 7 * number, start=1)
            block = set(range(first, end))
            assert block and not block & seen
            seen |= block
    assert seen == set(range(1, max(seen) + 1))


def test_a_first_counter_needs_a_start_and_the_floor_of_what_came_never_falls(house: House) -> None:
    with house.open() as store:
        with pytest.raises(CounterUnknown):
            store.counters.reserve(NAME)
        assert store.counters.received("x-rx") is None
        for lowest in (5, 3, 9):
            store.counters.note_received("x-rx", lowest)
        assert store.counters.received("x-rx") == 9
        store.counters.sync()
        store.counters.note_received("x-rx", 2)
        store.counters.sync()
    with house.open() as store:
        assert store.counters.received("x-rx") == 9


def test_the_end_of_the_space_is_announced_and_then_refused(house: House) -> None:
    with house.open() as store:
        assert store.counters.reserve(NAME, start=REKEY_FROM - 1)[1] == REKEY_FROM - 1 + BLOCK
        store.counters.reserve(NAME)
        said = [entry.said for entry in store.core.entries() if entry.said["verb"] == "counter-high"]
        assert len(said) == 1 and said[0]["counter"] == NAME
        assert store.counters.reserve(NAME, start=LIMIT - 1) == (LIMIT - 1, LIMIT)
        with pytest.raises(CounterExhausted):
            store.counters.reserve(NAME)
        for count, start in ((0, 1), (MOST + 1, 1), (1, -1), (1, LIMIT + 1)):
            with pytest.raises(Misuse):
                store.counters.reserve("other", count, start)


def test_C09_G11_a_disk_that_takes_nothing_gives_out_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meterseal.authority.store import witness

    with house.open() as store:
        store.counters.reserve(NAME, start=1)

        def full(*args: object, **kwargs: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr("meterseal.credentials.files._fill", full)
            with pytest.raises(MetersealError, match="No space"):
                store.counters.reserve(NAME)
        assert witness.Witness(house.witness).seen() is not None
        first, _ = store.counters.reserve(NAME)
        assert first >= 1 + BLOCK, "what was not given out may be skipped, never given out twice"


def test_the_witness_holds_no_secret_and_names_the_store(busy: House) -> None:
    found = json.loads(busy.witness.read_text())
    assert set(found) == {"store", "tick", "entry", "head"} and busy.witness.stat().st_mode & 0o077 == 0
