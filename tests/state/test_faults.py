"""State when things break: system calls that fail, power that goes, processes that are killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from meterseal.errors import StateUnavailable
from meterseal.keys.counters import SendCounter
from meterseal.state import FileCounters, Journal, counters
from tests.state.conftest import ERRORS, KEY, PEER, Disk, Power, failing, live_and_die, moments

Step = Callable[[FileCounters], None]


def until_power_goes(at: int, act: Callable[[], None], half: bool = False) -> bool:
    """Act, and lose the power at the `at`-th call; False when there was no such call."""
    try:
        with failing(at, None, half=half):
            act()
    except Power:
        return True
    return False


def noted(store: FileCounters) -> None:
    store.note_received(PEER, (store.received(PEER) or 0) + 1)
    store.sync()


def scenario(store: FileCounters, given: list[tuple[int, int]], reserves: int = 4) -> None:
    """First use, more use, a floor noted, a compaction (the patched limit is low): blocks land in `given`."""
    for _ in range(reserves):
        given.append(store.reserve(KEY, 10, start=1))
        noted(store)


@pytest.fixture(autouse=True)
def compact_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "_SPARE_RECORDS", 2)


def test_the_scenario_compacts(tmp_path: Path) -> None:
    with failing(-1, None) as made:
        scenario(FileCounters(tmp_path / "state"), [])
    assert made.count("replace") >= 4  # log and mark are made, then compactions
    assert {"open", "pwrite", "fsync", "replace", "mkdir", "pread"} <= set(made)


@pytest.mark.parametrize("half", [False, True], ids=["nothing", "half"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_G11_every_system_call_may_fail(error: int, half: bool, tmp_path: Path) -> None:
    """From any call on the disk refuses: a typed error; then no value twice, a block lost at most."""
    for at in count():
        folder = tmp_path / str(at)
        store, given = FileCounters(folder), list[tuple[int, int]]()
        with failing(at, error, half=half) as made:
            try:
                scenario(store, given, 2 if at < 30 else 4)
            except StateUnavailable as refused:
                assert os.strerror(error) in str(refused)
            else:
                # Only what does not matter may fail unseen: the mark, a compaction, our own cleaning up.
                assert len(given) >= 2
        end = given[-1][1] if given else 1
        for again in (store, FileCounters(folder)):  # the disk works again, with or without a new start
            first, next_end = again.reserve(KEY, 10, start=1)
            assert first in (end, end + 10)
            end = next_end
        if len(made) <= at:
            break
    assert at > 60


def test_C07_power_goes_at_every_system_call_and_all_was_written(tmp_path: Path) -> None:
    """What was written is there although it was not synced; half of the last write, too."""
    for half in (False, True):
        for at in count():
            folder = tmp_path / f"{at}{half}"
            given: list[tuple[int, int]] = []
            if not until_power_goes(at, lambda: scenario(FileCounters(folder), given), half):  # noqa: B023
                break
            end = given[-1][1] if given else 1
            first, _ = FileCounters(folder).reserve(KEY, 10, start=1)
            assert first in (end, end + 10)
        assert at > 60


linux = pytest.mark.skipif(sys.platform != "linux", reason="keeps file numbers in use by way of /proc")


@linux
@pytest.mark.parametrize("contents_kept", [False, True], ids=["contents-lost", "names-lost"])
def test_C07_power_goes_at_every_system_call_and_the_disk_forgets(
    contents_kept: bool, tmp_path: Path
) -> None:
    """Names go back to the last fsync of the folder, contents to that of the file, or not."""
    for at in count():
        disk = Disk(tmp_path / str(at))
        given: list[tuple[int, int]] = []
        with disk.watched():
            went = until_power_goes(at, lambda: scenario(FileCounters(disk.folder), given))  # noqa: B023
        disk.power_cut(contents_kept)
        end = given[-1][1] if given else 1
        first, _ = FileCounters(disk.folder).reserve(KEY, 10, start=1)
        assert first in (end, end + 10)
        assert (FileCounters(disk.folder).received(PEER) or 0) >= len(given) - 1
        if not went:
            break
    assert at > 60


@linux
def test_C07_a_process_is_killed_and_then_the_power_goes(tmp_path: Path) -> None:
    """What the killed one had not synced, the next one must not build on."""
    for at in count():
        disk = Disk(tmp_path / str(at))
        given: list[tuple[int, int]] = []
        with disk.watched():
            went = until_power_goes(at, lambda: scenario(FileCounters(disk.folder), given))  # noqa: B023
            given.append(FileCounters(disk.folder).reserve(KEY, 10, start=1))
        disk.power_cut()
        assert FileCounters(disk.folder).reserve(KEY, 10, start=1)[0] == given[-1][1]
        if not went:
            break
    assert at > 60


# --- processes killed at random points ----------------------------------------------------------


def kill_repeatedly(folder: Path, lives: int) -> None:
    """Lives that reserve, use and note, each killed; every value used is in the file `sent`."""
    sent = folder / "sent"

    def life(descriptor: int) -> None:
        store, sending = FileCounters(folder / "state"), SendCounter(0, 0)
        while True:
            if not sending.left:
                sending.extend(*store.reserve(KEY, 7, start=1))
                noted(store)
            os.write(descriptor, b"%d\n" % sending.take())

    def used() -> list[int]:
        return [int(line) for line in sent.read_bytes().split()]

    for number, moment in enumerate(moments(lives, lambda: len(used()) > lives)):
        live_and_die(life, sent, moment, number=1 + number % 2)
    assert len(set(used())) == len(used())
    first, _ = FileCounters(folder / "state").reserve(KEY, 1)
    assert first > max(used())
    killed = 2 * (number + 1)
    assert first - len(used()) <= 14 * killed  # two blocks at most are lost to each


def kill_the_meter_repeatedly(folder: Path, lives: int) -> None:
    """Lives of one journal, each killed; what was said to be durable is there afterwards, in order."""
    told = folder / "told"
    said: list[int] = []
    last = 0

    def life(descriptor: int) -> None:
        with Journal(folder / "meter") as journal:
            number = max((record["n"] for record in journal.records()), default=0)
            while True:
                number += 1
                journal.append({"log": "entry", "n": number})
                number += 1
                journal.commit({"key": "00" * 16, "n": number})
                os.write(descriptor, b"%d\n" % number)
                if journal.length > 20:
                    journal.compact([{"snapshot": True, "n": number}])

    for moment in moments(lives, lambda: told.stat().st_size > 0, seed=11):
        live_and_die(life, told, moment)
        said = [int(line) for line in told.read_bytes().split()]
        with Journal(folder / "meter") as journal:
            found = [record["n"] for record in journal.records()]
        assert found == list(range(found[0], found[0] + len(found))) if found else not said
        assert said == sorted(set(said))
        if found:  # one group at most beyond what was told, and beyond what the life before it left
            assert max([last, *said[-1:]]) <= found[-1] <= max([last, *said[-1:]]) + 2
            last = found[-1]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_C07_kill_9(tmp_path: Path) -> None:
    kill_repeatedly(tmp_path, 30)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_C07_kill_9_the_meter(tmp_path: Path) -> None:
    kill_the_meter_repeatedly(tmp_path, 30)


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kill", [kill_repeatedly, kill_the_meter_repeatedly])
def test_C07_kill_9_a_thousand_times(kill: Callable[[Path, int], None], tmp_path: Path) -> None:
    kill(tmp_path, 1_000)
