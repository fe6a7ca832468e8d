"""The journal of a meter: groups of records, one holder, room made by compaction."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meterseal.errors import Misuse, StateDamaged, StateLocked, StateUnavailable
from meterseal.state import Journal, journal, read_records
from tests.state.conftest import ERRORS, failing


def found(folder: Path) -> list[object]:
    with Journal(folder) as opened:
        return [record["n"] for record in opened.records()]


def test_what_is_committed_is_found_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        assert opened.records() == []
        opened.append({"n": 1})
        opened.append({"n": 2}, {"n": "three", "octets": "00FF", "deep": {"list": [1, None, True, 2.5]}})
        assert opened.length == 0
        opened.sync()
        opened.commit({"n": 4})
        assert opened.length == 4
        opened.append({"n": "never synced"})
    with Journal(tmp_path) as opened:
        assert opened.records()[2] == {"n": "three", "octets": "00FF", "deep": {"list": [1, None, True, 2.5]}}
    assert found(tmp_path) == [1, 2, "three", 4]


def test_a_group_is_one_write(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        opened.commit({"n": 0})  # the first write after a new file also syncs its name
        opened.append(*({"n": number} for number in range(1, 100)))
        with failing(-1, None) as made:
            opened.commit({"n": 100})
        assert made == ["pwrite", "fsync", "pwrite"]
        with failing(-1, None) as made:
            opened.sync()
        assert made == []
    assert found(tmp_path) == list(range(101))


def test_how_many_records_are_worth_a_compaction(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        opened.commit(*({"n": number} for number in range(50)))
        assert opened.surplus == 50
        opened.compact([{"n": number} for number in range(30)])
        assert opened.surplus == -30, "what cannot be made shorter is not written again and again"
        opened.commit(*({"n": number} for number in range(40)))
        assert opened.surplus == 10
    with Journal(tmp_path) as opened:
        assert opened.surplus == 10


def test_compaction(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        for number in range(50):
            opened.commit({"n": number})
        size = (tmp_path / "journal.log").stat().st_size
        opened.append({"n": "collected"})
        opened.compact([{"n": "all"}, {"n": "else"}])
        assert opened.length == 2
        assert (tmp_path / "journal.log").stat().st_size < size / 5
        opened.commit({"n": "later"})
    assert found(tmp_path) == ["all", "else", "later"]
    with Journal(tmp_path) as opened:
        opened.compact([])
    assert found(tmp_path) == []


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_G11_a_refused_commit_is_not_there_and_what_was_collected_is(error: int, tmp_path: Path) -> None:
    for at in range(4):
        folder = tmp_path / str(at)
        with Journal(folder) as opened:
            opened.commit({"n": 1})
            opened.append({"n": "collected"})
            with failing(at, error, half=True):
                if at < 2:
                    for _ in range(3):
                        with pytest.raises(StateUnavailable):
                            opened.commit({"n": "refused"})
                else:  # the mark alone fails: the record is durable all the same
                    opened.commit({"n": "taken"})
            opened.commit({"n": 2})
        assert found(folder) == [1, "collected", *(["taken"] if at >= 2 else []), 2]


def test_G11_one_failed_sync_is_taken_back_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        opened.commit({"n": 1})
        with failing(1, ERRORS["broken"], once=True) as made, pytest.raises(StateUnavailable):
            opened.commit({"n": "refused"})
        assert made == ["pwrite", "fsync", "ftruncate"]
    assert found(tmp_path) == [1]


def test_G11_what_could_not_be_taken_back_is_before_the_next_write(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        opened.commit({"n": 1})
        with failing(1, ERRORS["broken"]), pytest.raises(StateUnavailable):
            opened.commit({"n": "a"}, {"n": "b"})  # written, not synced, not taken back
        opened.commit({"n": "c"})  # as long as the first of the two
    assert found(tmp_path) == [1, "c"]


def test_G11_a_refused_compaction_leaves_the_old_file(tmp_path: Path) -> None:
    made: list[str] = []
    for at in range(12):
        folder = tmp_path / str(at)
        with Journal(folder) as opened:
            opened.commit({"n": 1}, {"n": 2})
            with failing(at, ERRORS["full"], half=True) as made:
                try:
                    opened.compact([{"n": "both"}])
                except StateUnavailable:
                    assert at < len(made)
            opened.commit({"n": 3})
        assert found(folder) in ([1, 2, 3], ["both", 3])
    assert len(made) <= at


def test_too_many_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 3)
    with Journal(tmp_path) as opened:
        opened.append({"n": 1}, {"n": 2})
        with pytest.raises(StateUnavailable):
            opened.append({"n": 3}, {"n": 4})
        opened.append({"n": 3})
        opened.sync()
        opened.append({"n": 4})
        opened.sync()
    assert found(tmp_path) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "record", [{"n": b"octets"}, {"n": float("nan")}, {"n": {1, 2}}, {"n": "x" * (1 << 20)}]
)
def test_what_is_no_record(record: dict[str, object], tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        for write in (opened.append, opened.commit):
            with pytest.raises(Misuse):
                write({"n": 0}, record)
        opened.commit({"n": 1})
    assert found(tmp_path) == [1]


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with Journal(tmp_path):
        with pytest.raises(StateLocked, match=rf"{tmp_path}.*process {os.getpid()}"):
            Journal(tmp_path)
        with Journal(tmp_path, "another"):  # another name is another journal
            pass
    Journal(tmp_path).close()


def test_another_process_is_told_who_has_it(tmp_path: Path) -> None:
    program = (
        "import sys; from meterseal.state import Journal; from meterseal.errors import StateLocked\n"
        "try: Journal(sys.argv[1])\nexcept StateLocked as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with Journal(tmp_path):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"process {os.getpid()}" in told
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_H13_a_forked_child_does_not_write(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        opened.commit({"n": 1})
        child = os.fork()
        if not child:
            status = 1
            try:
                opened.commit({"n": "child"})
            except Misuse:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        opened.commit({"n": 2})
    assert found(tmp_path) == [1, 2]


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    opened = Journal(tmp_path)
    opened.close()
    opened.close()
    with pytest.raises(Misuse):
        opened.commit({"n": 1})
    assert found(tmp_path) == []


def test_the_text_of_damage_is_the_meter_s_own(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        opened.commit({"n": 1})
    (tmp_path / "journal.log").write_bytes(b"")
    with pytest.raises(StateDamaged, match=r"journal\.log.*To mend it.*new keys"):
        Journal(tmp_path)
    with pytest.raises(StateDamaged, match="ask somebody"):
        Journal(tmp_path, mend="ask somebody")
    with pytest.raises(StateDamaged):  # and the lock was given back each time
        Journal(tmp_path)


# --- looking on -------------------------------------------------------------------------------------


def test_records_are_read_beside_the_writer(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        assert read_records(tmp_path, "journal") == []
        for number in range(5):
            opened.commit({"n": number})
            assert [record["n"] for record in read_records(tmp_path, "journal")] == list(range(number + 1))
        opened.compact([{"n": "all"}])
        assert read_records(tmp_path, "journal") == [{"n": "all"}]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "journal.log").write_bytes(before["journal.log"] + b"torn")
    assert read_records(tmp_path, "journal") == [{"n": "all"}]
    assert (tmp_path / "journal.log").read_bytes().endswith(b"torn")  # nothing is mended


def test_damage_is_seen_beside_the_writer(tmp_path: Path) -> None:
    with Journal(tmp_path) as opened:
        opened.commit({"n": 1}, {"n": 2})
    log, mark = tmp_path / "journal.log", tmp_path / "journal.mark"
    right, marked = log.read_bytes(), mark.read_bytes()
    for octets in (right[:-1], right[:-30], b"", right.replace(b'"n":1', b'"n":7')):
        log.write_bytes(octets)
        with pytest.raises(StateDamaged, match="ask somebody"):
            read_records(tmp_path, "journal", "ask somebody")
    log.write_bytes(right)
    for octets in (b"", marked[:-1], b"x" * len(marked)):
        mark.write_bytes(octets)
        with pytest.raises(StateDamaged, match=r"journal\.mark beside it is damaged"):
            read_records(tmp_path, "journal")
    mark.unlink()
    with pytest.raises(StateDamaged, match="mark beside it is missing"):
        read_records(tmp_path, "journal")
    log.unlink()
    with pytest.raises(StateUnavailable):
        read_records(tmp_path, "journal")


def test_a_journal_is_waited_for(tmp_path: Path) -> None:
    def wait_and_write() -> None:
        with Journal(tmp_path, patience=60.0) as waited:
            waited.commit({"n": 1})

    with ThreadPoolExecutor() as pool:
        opened = Journal(tmp_path)
        waiting = pool.submit(wait_and_write)
        assert not waiting.done()
        opened.close()
        waiting.result()
    assert found(tmp_path) == [1]
