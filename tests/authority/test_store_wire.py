"""Law 1 on recorded traffic: kills, full disks, copies put back, eight at one store (C07, C09, C10).

What counts is what went over the line, opened with the keys: frames, Initiates, and the tokens in them.
"""

from __future__ import annotations

import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from meterseal.authority.store.counters import take_restored
from meterseal.errors import MetersealError
from tests.authority.signing_on import CROWD, Street, Worker
from tests.authority.vaulted import House

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="state in files needs POSIX")

NO_ROOM = 7
Tell = Callable[[int], object]


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    with Street(tmp_path).open() as one:
        yield one


def work(house: House, street: Street, number: int, log: Path, tell: Tell) -> None:
    """Read a meter until somebody ends it."""
    with house.open() as store:
        for made, _ in enumerate(street.speak(store, number, log)):
            tell(made)


def kills(house: House, street: Street, rounds: int, lives: Callable[[Worker, int], object]) -> list[Path]:
    """`rounds` times eight at once, each killed when `lives` says; the wire logs that they wrote."""
    logs: list[Path] = []
    for _ in range(rounds):
        crowd = []
        for number in range(CROWD):
            logs.append(house.folder / f"wire-{len(logs)}.log")
            crowd.append(Worker(partial(work, house, street, number, logs[-1])))
        for turn, worker in enumerate(crowd):
            lives(worker, turn)
            worker.kill()
    return [log for log in logs if log.exists()]


def copies(house: House, street: Street, times: int) -> None:
    """Copies of the store put back; the one that is older than what was used gives nothing out."""
    for number in range(times):
        copy = house.files()
        with house.open() as store:
            list(islice(street.speak(store, number % CROWD), 1 + number % 9))
        house.put_back(copy)
        with pytest.raises(MetersealError, match="older than what was used"):
            house.open()
        with house.open(restored=True) as store:
            assert take_restored(store.core, "put back") > 0
            list(islice(street.speak(store, number % CROWD), 3))


def in_no_room(house: House, street: Street, number: int, tell: Tell) -> None:
    """Read a meter while no file of this process may grow by much: until a counter cannot be made durable."""
    sizes = [path.stat().st_size for path in house.folder.glob("keys.db*")]
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + 4096 * (number % 5), hard))
    with house.open() as store:
        try:
            for made, _ in enumerate(street.speak(store, number % CROWD, reads=1)):
                tell(made)
        except MetersealError:
            os._exit(NO_ROOM)


def full_disks(house: House, street: Street, times: int) -> None:
    """The disk fills up, and has room again."""
    for number in range(times):
        worker = Worker(partial(in_no_room, house, street, number))
        worker.hear(10_000)
        assert worker.end() == NO_ROOM
        with house.open() as store:
            list(islice(street.speak(store, number % CROWD), 2))


def test_C07_C09_C10_G11_no_counter_twice_on_the_wire(house: House, street: Street) -> None:
    """The short form: eight at once, each killed after some answers; then a copy, then a full disk."""
    logs = kills(house, street, 1, lambda worker, turn: worker.hear(1 + turn % 3))
    copies(house, street, 1)
    full_disks(house, street, 1)
    assert len(logs) == CROWD
    assert street.check(logs) > CROWD * 5


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_C07_C10_a_thousand_kills_of_eight_at_once(house: House, street: Street) -> None:
    chance = random.Random(6)

    def lives(worker: Worker, turn: int) -> None:
        worker.hear(chance.randrange(8))
        worker.live(chance.uniform(0, 0.02))

    logs = kills(house, street, 125, lives)
    with house.open() as store:
        assert store.core.verify_journal() > 0
    used = street.check(logs)
    print(f"1000 kills: {len(logs)} wire logs, {used} counters")
    assert used > 5000


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_C09_a_hundred_copies_put_back(house: House, street: Street) -> None:
    with house.open() as store:
        list(islice(street.speak(store, 0), 1))
    copies(house, street, 100)
    print(f"100 copies: {street.check([])} counters")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_G11_H03_a_hundred_full_disks(house: House, street: Street) -> None:
    full_disks(house, street, 100)
    print(f"100 full disks: {street.check([])} counters")
