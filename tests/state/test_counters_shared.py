"""Counters that processes and threads share: no block twice; locks, rights, places that cannot be written."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import stat
from pathlib import Path
from threading import Thread

import pytest

from meterseal.errors import (
    ConfigurationError,
    StateLocked,
    StateUnavailable,
)
from meterseal.state import FileCounters, Journal, MemoryCounters, counters
from meterseal.state.folder import FolderLock
from tests.state.conftest import ERRORS, KEY, failing

# --- several at once ----------------------------------------------------------------------------


def _reserve_many(folder: Path, results: multiprocessing.Queue[list[tuple[int, int]]]) -> None:
    store = FileCounters(folder)
    results.put([store.reserve(KEY, 3, start=0) for _ in range(40)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_C10_processes_share_a_folder_and_never_a_block(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[list[tuple[int, int]]] = context.Queue()
    workers = [context.Process(target=_reserve_many, args=(tmp_path / "state", results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    blocks = sorted(block for _ in workers for block in results.get(timeout=300))
    for worker in workers:
        worker.join()
    assert blocks == [(3 * number, 3 * number + 3) for number in range(160)]


def test_C10_threads_share_a_store_and_never_a_block(tmp_path: Path) -> None:
    store, blocks = FileCounters(tmp_path / "state"), list[tuple[int, int]]()
    threads = [
        Thread(target=lambda: blocks.extend(store.reserve(KEY, 3, start=0) for _ in range(25)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(blocks) == [(3 * number, 3 * number + 3) for number in range(100)]


def test_a_process_that_keeps_the_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileCounters(tmp_path / "state")
    store.reserve(KEY, 1, 0)
    monkeypatch.setattr(counters, "_PATIENCE", 0.02)
    with FolderLock(tmp_path / "state", "counters") as lock:
        lock.acquire(sign=True)
        with pytest.raises(StateLocked, match=f"process {os.getpid()}"):
            store.reserve(KEY, 1)
    assert store.reserve(KEY, 1) == (1, 2)


def test_a_lock_file_taken_away_while_it_is_being_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock counts only on the file that others find under the name."""
    real = fcntl.flock
    calls: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not calls:
            (tmp_path / "state.lock").unlink()
        calls.append(operation)
        real(descriptor, operation)

    with FolderLock(tmp_path, "state") as lock, FolderLock(tmp_path, "state") as other:
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.acquire(1.0)
        assert len(calls) == 2
        with pytest.raises(StateLocked):
            other.acquire()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_counters_in_memory_are_not_for_a_forked_child() -> None:
    store = MemoryCounters()
    store.reserve(KEY, 1, 0)
    child = os.fork()
    if not child:
        status = 1
        try:
            store.reserve(KEY, 1)
        except StateUnavailable:
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.reserve(KEY, 1) == (1, 2)


# --- H16: umask, rights, places that cannot be written ------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_H16_modes_do_not_depend_on_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        FileCounters(tmp_path / "state").reserve(KEY, 1, 0)
        Journal(tmp_path / "meter").close()
    finally:
        os.umask(before)
    for folder in (tmp_path / "state", tmp_path / "meter"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert len(list(folder.iterdir())) == 3


def test_H16_an_empty_folder_becomes_private_and_a_shared_one_is_refused(tmp_path: Path) -> None:
    empty, shared = tmp_path / "empty", tmp_path / "shared"
    for folder in (empty, shared):
        folder.mkdir()
        folder.chmod(0o777)
    (shared / "somebody").touch()
    FileCounters(empty).reserve(KEY, 1, 0)
    assert stat.S_IMODE(empty.stat().st_mode) == 0o700
    with pytest.raises(ConfigurationError, match="chmod 700"):
        FileCounters(shared).reserve(KEY, 1, 0)
    shared.chmod(0o755)
    FileCounters(shared).reserve(KEY, 1, 0)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_H16_file_rights_that_were_loosened_are_tightened(tmp_path: Path) -> None:
    FileCounters(tmp_path / "state").reserve(KEY, 1, 0)
    log = tmp_path / "state" / "counters.log"
    log.chmod(0o644)
    FileCounters(tmp_path / "state").reserve(KEY, 1)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_H16_no_link_is_followed(tmp_path: Path) -> None:
    store = FileCounters(tmp_path / "state")
    store.reserve(KEY, 1, 0)
    log = tmp_path / "state" / "counters.log"
    log.rename(tmp_path / "elsewhere")
    log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateUnavailable):
        store.reserve(KEY, 1)


def test_H16_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnavailable, match="file"):
        FileCounters(tmp_path / "file" / "state").reserve(KEY, 1, 0)
    with pytest.raises(StateUnavailable):
        FileCounters(tmp_path / "file").reserve(KEY, 1, 0)
    with failing(0, ERRORS["read-only"]), pytest.raises(StateUnavailable, match="Read-only"):
        FileCounters(tmp_path / "state").reserve(KEY, 1, 0)
    assert not (tmp_path / "state").exists()
