"""Counter stores: what they promise, on a good day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import pytest

from meterseal.crypto import GcmKey
from meterseal.errors import (
    CounterExhausted,
    CounterUnknown,
    Misuse,
    StateDamaged,
    StateUnavailable,
)
from meterseal.keys.counters import BLOCK, LIMIT, SendCounter, key_id
from meterseal.state import CounterStore, FileCounters, Journal, JournalCounters, MemoryCounters, counters
from tests.state.conftest import ERRORS, KEY, PEER, failing


@pytest.fixture(params=["memory", "file", "journal"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CounterStore]:
    if request.param == "memory":
        yield MemoryCounters()
    elif request.param == "file":
        yield FileCounters(tmp_path / "state")
    else:
        with Journal(tmp_path / "state") as journal:
            yield JournalCounters(journal)


def test_blocks_follow_each_other(store: CounterStore) -> None:
    assert store.reserve(KEY, 10, start=1) == (1, 11)
    assert store.reserve(KEY, 5) == (11, 16)
    assert store.reserve(KEY) == (16, 16 + BLOCK)
    assert store.reserve(KEY, 5, start=1) == (16 + BLOCK, 21 + BLOCK)  # known: the start is not needed
    assert store.reserve(KEY, 5, start=5000) == (5000, 5005)  # only ever upwards


def test_first_use_without_a_start_names_the_three_sources(store: CounterStore) -> None:
    with pytest.raises(CounterUnknown, match=r"state .*counter_start.*counter_object"):
        store.reserve(KEY)
    store.note_received(KEY, 5)  # what was received says nothing about sending
    store.sync()
    with pytest.raises(CounterUnknown):
        store.reserve(KEY)


def test_C05_the_end_of_the_space(store: CounterStore) -> None:
    first, end = store.reserve(KEY, BLOCK, start=0xFFFFFFFD)
    assert (first, end) == (0xFFFFFFFD, LIMIT)
    sending = SendCounter(first, end)
    assert [sending.take() for _ in range(sending.left)] == [0xFFFFFFFD, 0xFFFFFFFE]
    for start in (None, 0, LIMIT):
        with pytest.raises(CounterExhausted):
            store.reserve(KEY, BLOCK, start)
    with pytest.raises(CounterExhausted):
        store.reserve("another", 1, LIMIT)


def test_C06_keys_titles_and_directions_are_apart(store: CounterStore) -> None:
    assert store.reserve(KEY, 5, start=100) == (100, 105)
    assert store.reserve(PEER, 5, start=7) == (7, 12)
    store.note_received(KEY, 3)
    assert store.reserve(KEY, 5) == (105, 110)
    assert store.received(PEER) is None


def test_C12_the_same_key_again_goes_on_and_a_new_one_starts_its_own(store: CounterStore) -> None:
    title = b"MSL\0\0\0\0\1"
    old, new = GcmKey(bytes(16)), GcmKey(bytes(15) + b"1")
    assert store.reserve(key_id(old.kcv, title, "tx"), 10, start=50) == (50, 60)
    assert store.reserve(key_id(new.kcv, title, "tx"), 10, start=0) == (0, 10)
    again = GcmKey(bytes(16))  # the same value brought in a second time
    assert store.reserve(key_id(again.kcv, title, "tx"), 10, start=0) == (60, 70)


def test_what_was_received_only_rises(store: CounterStore) -> None:
    assert store.received(PEER) is None
    store.note_received(PEER, 10)
    store.note_received(PEER, 8)
    assert store.received(PEER) == 10
    store.sync()
    store.note_received(PEER, 9)
    store.sync()
    store.sync()
    assert store.received(PEER) == 10
    store.note_received(PEER, 0)
    assert store.received(PEER) == 10


@pytest.mark.parametrize("bad", ["", "a/b", "..\0", "a b", "ä", "x" * 129])
def test_a_key_id_is_a_name(store: CounterStore, bad: str) -> None:
    with pytest.raises(Misuse):
        store.reserve(bad, 1, 0)
    with pytest.raises(Misuse):
        store.note_received(bad, 0)


@pytest.mark.parametrize("number", [-1, LIMIT + 1])
def test_numbers_outside_the_space(store: CounterStore, number: int) -> None:
    with pytest.raises(Misuse):
        store.reserve(KEY, 1, number)
    with pytest.raises(Misuse):
        store.note_received(KEY, number)
    for count in (0, -5):
        with pytest.raises(Misuse):
            store.reserve(KEY, count, 0)


def test_files_outlive_the_process_and_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "_SPARE_RECORDS", 3)
    end, sizes = 1, []
    for number in range(30):
        store = FileCounters(tmp_path / "state")
        assert store.received(PEER) == (number or None)
        first, end = store.reserve(KEY, 10, start=1)
        assert (first, end) == (1 + 10 * number, 11 + 10 * number)
        store.note_received(PEER, number + 1)
        store.sync()
        sizes.append((tmp_path / "state" / "counters.log").stat().st_size)
    assert max(sizes) < 800
    assert FileCounters(tmp_path / "state").received(PEER) == 30


def test_only_what_others_have_added_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = FileCounters(tmp_path / "state"), FileCounters(tmp_path / "state")
    for number in range(100):
        assert one.reserve(KEY, 10, start=0) == (10 * number, 10 * number + 10)
    asked: list[int] = []
    real = os.pread

    def pread(descriptor: int, size: int, position: int) -> bytes:
        asked.append(size)
        return real(descriptor, size, position)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        assert one.reserve(KEY, 10) == (1000, 1010)
        assert sum(asked) < 200, "the mark and one line"
        assert other.reserve(KEY, 10) == (1010, 1020)
        assert sum(asked) > 5_000
        asked.clear()
        assert one.reserve(KEY, 10) == (1020, 1030)
        assert sum(asked) < 300, "and the line of the other one"


def test_two_that_share_a_folder_follow_each_other_through_compactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "_SPARE_RECORDS", 2)
    stores = [FileCounters(tmp_path / "state") for _ in range(3)]
    end, floor = 0, 0
    for number in range(60):
        store = stores[number * number % 7 % 3]
        assert store.reserve(KEY, 1 + number % 4, start=0) == (end, end + 1 + number % 4)
        end += 1 + number % 4
        if number % 5 == 0:
            floor += 1
            store.note_received(PEER, floor)
            store.sync()
        assert stores[number % 3].received(PEER) == floor
    assert FileCounters(tmp_path / "state").reserve(KEY, 1) == (end, end + 1)


@pytest.mark.parametrize(
    ("behind", "damaged"),
    [
        (b"DEADBEEF 5 {}", False),  # what a kill leaves: it was promised to nobody
        (b"DEADBEEF 5 {}\n", False),
        (b"\n", False),
        (b"", True),  # one that is damaged, and a good one
    ],
)
def test_what_others_leave_behind_the_end_is_cut_off_or_not_believed(
    behind: bytes, damaged: bool, tmp_path: Path
) -> None:
    store, log = FileCounters(tmp_path / "state"), tmp_path / "state" / "counters.log"
    store.reserve(KEY, 10, start=0)
    good = log.read_bytes()
    if damaged:
        body = b"3 {}"
        behind = b"DEADBEEF 2 {}\n" + b"%08X %b\n" % (crc32(body), body)
    log.write_bytes(good + behind)
    if damaged:
        with pytest.raises(StateDamaged, match="good ones behind"):
            store.reserve(KEY, 10)
        log.write_bytes(good)
    assert store.reserve(KEY, 10) == (10, 20)
    assert log.read_bytes().startswith(good) and b"DEADBEEF" not in log.read_bytes()
    assert FileCounters(tmp_path / "state").reserve(KEY, 10) == (20, 30)


def test_after_a_call_that_failed_blocks_go_on_behind_what_may_have_been_written(tmp_path: Path) -> None:
    store = FileCounters(tmp_path / "state")
    blocks = [store.reserve(KEY, 10, start=0)]
    for at in range(12):
        with failing(at, ERRORS["broken"], once=True), suppress(StateUnavailable):
            blocks.append(store.reserve(KEY, 10))
        blocks.append(store.reserve(KEY, 10))
    assert len(blocks) > 12 and all(before[1] <= after[0] for before, after in pairwise(blocks))
    assert FileCounters(tmp_path / "state").reserve(KEY, 1)[0] == blocks[-1][1]


def test_a_failed_compaction_is_not_the_reservation_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has room for a record, not for a second file."""
    store = FileCounters(tmp_path / "state")
    store.reserve(KEY, 10, start=0)
    monkeypatch.setattr(counters, "_SPARE_RECORDS", 0)

    def full(*_: object) -> None:
        raise OSError(ERRORS["full"], "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert store.reserve(KEY, 10) == (10, 20)
    assert FileCounters(tmp_path / "state").reserve(KEY, 10) == (20, 30)


def test_journal_counters_live_in_the_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "meter") as journal:
        store = JournalCounters(journal)
        store.reserve(KEY, 10, start=0)
        journal.commit({"key": "something of the meter's"})
        store.note_received(PEER, 4)
        store.note_received(PEER, 5)
        store.sync()
        assert journal.length == 3
    with Journal(tmp_path / "meter") as journal:
        store = JournalCounters(journal)
        assert [store.apply(record) for record in journal.records()] == [True, False, True]
        assert store.received(PEER) == 5
        assert store.reserve(KEY, 10) == (10, 20)
        journal.compact([*store.snapshot(), {"key": "something of the meter's"}])
        assert journal.length == 3
    with Journal(tmp_path / "meter") as journal:
        store = JournalCounters(journal)
        assert [store.apply(record) for record in journal.records()] == [True, True, False]
        assert (store.reserve(KEY, 1), store.received(PEER)) == ((20, 21), 5)


def test_what_is_set_aside_is_taken_with_the_next_write_and_never_twice(tmp_path: Path) -> None:
    with Journal(tmp_path / "meter") as journal:
        store = JournalCounters(journal)
        assert [store.set_aside(KEY, 10, 0), store.set_aside(KEY, 10)] == [(0, 10), (10, 20)]
        assert journal.length == 0, "nothing is on disk: no value of either may be used"
        store.note_received(PEER, 4)
        with failing(0, ERRORS["full"]), pytest.raises(StateUnavailable):
            store.sync()
        assert store.set_aside(KEY, 5) == (20, 25), "behind what may have been written all the same"
        store.sync()
        assert journal.length == 4
    with Journal(tmp_path / "meter") as journal:
        store = JournalCounters(journal)
        assert all(store.apply(record) for record in journal.records())
        assert (store.reserve(KEY, 1), store.received(PEER)) == ((25, 26), 4)
    assert MemoryCounters().set_aside(KEY, 10, 3) == (3, 13)


def test_noted_floors_survive_a_sync_that_failed(tmp_path: Path) -> None:
    with Journal(tmp_path / "meter") as journal:
        in_journal, in_files = JournalCounters(journal), FileCounters(tmp_path / "client")
        in_files.reserve(KEY, 1, 0)
        for store in (in_journal, in_files):
            store.note_received(PEER, 9)
            with failing(0, ERRORS["full"]), pytest.raises(StateUnavailable):
                store.sync()
            assert store.received(PEER) == 9
            store.sync()
    assert FileCounters(tmp_path / "client").received(PEER) == 9
    with Journal(tmp_path / "meter") as journal:
        assert journal.records() == [{"rx": PEER, "lowest": 9}]


def test_an_older_state_under_a_running_process(tmp_path: Path) -> None:
    """C09 as far as one process sees it: the whole folder put back to what it was."""
    folder = tmp_path / "state"
    store = FileCounters(folder)
    store.reserve(KEY, 10, start=0)
    old = {path.name: path.read_bytes() for path in folder.iterdir()}
    store.reserve(KEY, 10)
    for name, octets in old.items():
        (folder / name).write_bytes(octets)
    with pytest.raises(StateDamaged, match="older"):
        store.reserve(KEY, 10)


def test_records_of_another_kind_are_not_counters(tmp_path: Path) -> None:
    with Journal(tmp_path / "state", "counters") as journal:
        journal.commit({"tx": KEY, "end": "soon"})
    with pytest.raises(StateDamaged):
        FileCounters(tmp_path / "state").reserve(KEY, 1, 0)
