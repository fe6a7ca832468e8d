"""Several processes at one store: blocks of counters that never meet, after forks, kills and full disks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meterseal.authority.store import Store
from meterseal.errors import MetersealError
from tests.authority.vaulted import GUEK, House, adopt, states

NAME = "ABCDEF0123-4D534C4845530002-tx"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="state in files needs POSIX")


def used(path: Path) -> list[int]:
    """The values that a process has noted as used."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def send(store: Store, out: Path, blocks: int, size: int) -> None:
    """Take blocks, and note each value before it would go out."""
    with out.open("a") as file:
        for _ in range(blocks):
            first, end = store.counters.reserve(NAME, count=size, start=1)
            file.write("".join(f"{value}\n" for value in range(first, end)))
            file.flush()


def in_child(act: Callable[[], object]) -> Any:
    """A forked process; forking is what shares descriptors and memory by mistake, if anything does."""
    process = multiprocessing.get_context("fork").Process(target=act)
    process.start()
    return process


def all_disjoint(files: list[Path]) -> set[int]:
    seen: set[int] = set()
    for path in files:
        values = used(path)
        assert len(values) == len(set(values)) and not seen & set(values), path.name
        seen |= set(values)
    return seen


def test_C10_H13_processes_that_were_forked_from_one_store_never_count_the_same(tmp_path: Path) -> None:
    house = House(tmp_path)
    files = [tmp_path / f"used-{number}" for number in range(5)]
    with house.open() as store:
        send(store, files[0], 2, 7)  # its connection is open when the others are made
        children = [in_child(lambda path=path: send(store, path, 6, 11)) for path in files[1:]]  # type: ignore[misc]
        send(store, files[0], 6, 11)
        for child in children:
            child.join(120)
            assert child.exitcode == 0
        adopt(store)
        assert states(store) == ["active"] and store.core.verify_journal() > 0
    assert len(all_disjoint(files)) == 2 * 7 + 30 * 11


ANOTHER = """
import sys
from meterseal.authority.store import open_store
with open_store(sys.argv[1], by="another") as store:
    print(*range(*store.counters.reserve(sys.argv[2], count=7, start=1)), sep="\\n")
"""


def test_C10_a_store_that_one_process_opens_twice_is_still_held_by_it(tmp_path: Path) -> None:
    """Locks of a database are a process's own, and go with any descriptor of its file that it closes."""
    house = House(tmp_path)
    files = [tmp_path / f"used-{number}" for number in range(3)]
    with house.open() as store:
        send(store, files[0], 2, 7)
        with house.open():
            pass
        words = (sys.executable, "-c", ANOTHER, str(house.path), NAME)
        for path in files[1:]:
            path.write_bytes(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
            send(store, files[0], 2, 7)
        assert store.core.verify_journal() > 0
    assert len(all_disjoint(files)) == 8 * 7


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_C10_C07_eight_processes_killed_again_and_again(tmp_path: Path) -> None:
    """A thousand kills at any moment: whatever was used before is used by nobody again."""
    house = House(tmp_path)
    files: list[Path] = []

    def work(path: Path) -> None:
        with house.open() as store:
            send(store, path, 10_000, 13)

    kills = 0
    while kills < 1000:
        children = []
        for _ in range(8):
            files.append(tmp_path / f"used-{len(files)}")
            children.append(in_child(lambda path=files[-1]: work(path)))  # type: ignore[misc]
        for child in children:
            child.join(0.02 + kills % 7 * 0.03)
            os.kill(child.pid, signal.SIGKILL)
            child.join(120)
            kills += 1
    with house.open() as store:
        assert store.core.verify_journal() > 0
    assert all_disjoint(files)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_C09_a_hundred_copies_put_back(tmp_path: Path) -> None:
    from meterseal.authority.store.counters import take_restored

    house = House(tmp_path)
    out = tmp_path / "used"
    with house.open() as store:
        send(store, out, 1, 10)
    for number in range(100):
        copy = house.files()
        with house.open() as store:
            send(store, out, 1 + number % 5, 10)
        house.put_back(copy)
        with pytest.raises(MetersealError, match="older than what was used"):
            house.open()
        with house.open(restored=True) as store:
            assert take_restored(store.core, "put back") > 0
            send(store, out, 1, 10)
    values = used(out)
    assert len(values) == len(set(values))


@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.timeout(3600)
def test_G11_H03_the_disk_is_full_in_the_middle(tmp_path: Path, times: int) -> None:
    """No file may grow: what was not durable was not given out, and it goes on when there is room again."""
    import resource

    house, outs = House(tmp_path), []

    def in_no_room(number: int, out: Path) -> None:
        sizes = [path.stat().st_size for path in tmp_path.glob("keys.db*")]
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + 4096 * (number % 5), hard))
        with house.open() as store:
            try:
                for _ in range(400):
                    send(store, out, 1, 10)
            except MetersealError:
                os._exit(7)
        os._exit(0)

    refused = 0
    with house.open() as store:
        adopt(store)
        for number in range(times):
            outs.append(tmp_path / f"used-{number}")
            child = in_child(lambda number=number: in_no_room(number, outs[-1]))  # type: ignore[misc]
            child.join(120)
            refused += child.exitcode == 7
            outs.append(tmp_path / f"more-{number}")
            send(store, outs[-1], 1, 10)
        assert states(store) == ["active"] and store.keys.slot(GUEK)
        assert store.core.verify_journal() > 0
    assert refused == times and all_disjoint(outs)
