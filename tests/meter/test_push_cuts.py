"""Pushes over a line that is cut and heals: what retries promise comes, and to the caller once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from meterseal import net
from meterseal.apdu.services import DataNotification
from meterseal.codec.data import Data, Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import suite
from meterseal.listener import Book, Door, Listener, Received, Receiver
from meterseal.listener.confirm import REMEMBERED, Repetitions
from meterseal.meter import Meter, load_plan, open_meter, write_credentials
from meterseal.meter.pushing import Pusher
from meterseal.net import Handler, Link, parse
from meterseal.security import SecuritySetup
from meterseal.state import MemoryCounters
from tests.listener.pushes import item
from tests.net.parties import until

SETUP = SecuritySetup(suite(0), b"")
NAME = Obis("0.0.25.9.0.255")
CONFIG = """[[objects]]
class = 40
obis = "0.0.25.9.0.255"
version = 2
role = "operator"
push = ["3/1.0.1.8.0.255:1", "3/1.0.1.8.0.255:2"]
destination = "udp://127.0.0.1:9"
retries = {retries}
repetition_delay = [0, 100, 0]
confirmed = {confirmed}
"""


class Cut:
    """In front of the listener: what comes is lost, or it arrives and no answer goes back."""

    def __init__(self, ways: list[str]) -> None:
        self.ways, self.seen = ways, list[str]()

    def around(self, make: Callable[[Link], Handler]) -> Callable[[Link], Handler]:
        return lambda link: _Way(self, link, make)


class _Way:
    def __init__(self, cut: Cut, link: Link, make: Callable[[Link], Handler]) -> None:
        self._cut, self._link = cut, link
        self._handler = make(link)

    def received(self, source: int, destination: int, payload: bytes) -> None:
        way = self._cut.ways[len(self._cut.seen)] if len(self._cut.seen) < len(self._cut.ways) else "heals"
        self._cut.seen.append(way)
        if way == "asked":  # it arrived, and the line was gone before the confirmation
            self._handler.received(source, destination, payload)
            self._link.close()
        elif way == "lost":
            self._link.abort()
        else:
            self._handler.received(source, destination, payload)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        self._handler.parted(source, destination, cause)

    def closed(self, cause: Exception | None) -> None:
        self._handler.closed(cause)


class Deaf(Listener):
    """A listener whose newcomers go through a cut."""

    cut = Cut([])

    def _caller(self, link: Link) -> Handler:
        return self.cut.around(super()._caller)(link)


@contextmanager
def pushing(folder: Path, *, confirmed: bool, retries: int = 5) -> Iterator[tuple[Meter, Any, Path]]:
    config = folder / "push.toml"
    config.write_text(CONFIG.format(retries=retries, confirmed=str(confirmed).lower()))
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0", config), folder / "state", stack)
        path = folder / "kitchen.toml"
        write_credentials(meter, path)
        yield meter, meter.devices[1].objects[40, NAME], path


def to(held: Any, scheme: str, port: int) -> None:
    there = 0 if scheme == "tcp" else 1, f"127.0.0.1:{port}".encode(), 0
    held.set({3: (there, held.values[3][1])})


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
@pytest.mark.parametrize(
    "ways", [["lost"], ["asked"], ["asked", "lost", "asked"]], ids=["lost", "asked", "both ways"]
)
async def test_H06_a_confirmed_push_comes_once_through_a_line_that_is_cut_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, ways: list[str]
) -> None:
    """The meter tries again until it hears the confirmation; the caller gets each push once, in order."""
    monkeypatch.setattr("meterseal.meter.pushing.PATIENCE", 0.3)
    got: list[Received] = []
    with pushing(tmp_path, confirmed=True) as (meter, held, path):
        pusher = Pusher(meter.events.note)
        meter.send = pusher.send
        store = MemoryCounters()
        listener = Deaf(Receiver(Book(path, store), store), got.append, confirm=True)
        listener.cut = Cut([*ways])
        async with listener:
            port = parse(await listener.open(parse(f"{scheme}://127.0.0.1:0"))).port
            to(held, scheme, port)
            held.push()
            await until(lambda: not pusher.busy)
            held.push()
            await until(lambda: not pusher.busy)
        assert listener.cut.seen == [*ways, "heals", "heals"]
        assert [one.error for one in got] == [None, None]
        numbers = [one.message.long_invoke_id_and_priority & 0xFFFFFF for one in got]  # type: ignore[union-attr]
        assert numbers == [1, 2]
        assert held._confirmed_at[:2] != b"\xff\xff"


async def test_H06_a_push_waits_for_a_line_that_is_away_and_goes_once(tmp_path: Path) -> None:
    """Without a confirmation: the layer below fails, the very same octets go again, and arrive once."""
    got: list[Received] = []
    with pushing(tmp_path, confirmed=False, retries=200) as (meter, held, path):
        pusher = Pusher(meter.events.note)
        meter.send = pusher.send
        attempts = [0]
        attempt = pusher._attempt

        async def counted(order: Any, octets: bytes, answered: Any) -> None:
            attempts[0] += 1
            await attempt(order, octets, answered)

        pusher._attempt = counted  # type: ignore[method-assign]
        async with await net.serve("127.0.0.1", 0, _Hangs) as away:
            port = away.port
        to(held, "tcp", port)
        held.values[7] = ((1, 100, 1), held.values[7][1])  # a second between two attempts, at most
        order_delay = held._delay
        held._delay = lambda number: order_delay(number) / 100
        held.push()
        await until(lambda: attempts[0] >= 3)
        store = MemoryCounters()
        async with Listener(Receiver(Book(path, store), store), got.append) as listener:
            await listener.open(parse(f"tcp://127.0.0.1:{port}"))
            await until(lambda: not pusher.busy and bool(got))
    assert [one.error for one in got] == [None] and attempts[0] >= 4


class _Hangs:
    def __init__(self, link: Link) -> None:
        link.close()

    def received(self, source: int, destination: int, payload: bytes) -> None: ...

    def parted(self, source: int, destination: int, cause: Exception | None) -> None: ...

    def closed(self, cause: Exception | None) -> None: ...


async def test_H06_the_same_octets_twice_are_a_replay_to_the_listener(tmp_path: Path) -> None:
    """The line broke after all had arrived: the second time is refused by its counter."""
    with pushing(tmp_path, confirmed=False) as (meter, held, path):
        orders: list[Any] = []
        meter.send = orders.append
        to(held, "tcp", 9)
        held.push()
        octets = orders[0].seal()
        store = MemoryCounters()
        receiver = Receiver(Book(path, store), store)
        outcomes = [
            one.error for _ in range(2) for one in receiver.take([item(octets, 2)], "meter", window=64)
        ]
    assert outcomes[0] is None and outcomes[1] is not None and outcomes[1].kind == "replayed"


def test_only_what_has_a_time_of_its_own_is_known_when_it_comes_again() -> None:
    one, other = Door("kitchen", "push", 2, SETUP), Door("hall", "push", 2, SETUP)
    again = Repetitions()
    timed, bare = (DataNotification(7 | 1 << 30, time, Data.of(5, Tag.UNSIGNED)) for time in (bytes(12), b""))
    assert [again.is_one(one, timed) for _ in range(3)] == [False, True, True]
    assert not again.is_one(other, timed)
    assert [again.is_one(one, bare) for _ in range(2)] == [False, False]
    for number in range(REMEMBERED):
        assert not again.is_one(one, DataNotification(number, bytes(12), Data.of(5, Tag.UNSIGNED)))
    assert not again.is_one(one, timed), "so many are remembered"
