"""What meters of a fleet say by themselves, and a port for each of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal.credentials import Credentials
from meterseal.errors import ConfigurationError
from meterseal.listener import Book, Listener, Received, Receiver
from meterseal.meter import Fleet, FleetServer, load_plan, serve_fleet
from meterseal.meter.fleet_server import write_fleet
from meterseal.meter.model import Meter
from meterseal.meter.orders import Order
from meterseal.net import parse
from meterseal.security import Context, SecuritySetup, unprotect
from meterseal.state import MemoryCounters
from tests.meter.test_fleet import Street

HANGING = 30.0
"""Seconds after which a test is given up."""

CONFIG = """[[objects]]
class = 40
obis = "0.0.25.9.0.255"
role = "operator"
push = ["3/1.0.1.8.0.255:2"]
destination = "{url}"
{more}
writable = true
"""


def plan_of(folder: Path, url: str = "tcp://192.0.2.9:4059", more: str = "interval = 900") -> Any:
    config = folder / "config.toml"
    config.write_text(CONFIG.format(url=url, more=more))
    return load_plan(config=config)


class Outlet:
    """Keeps the orders of one meter; `busy` as long as the test says so."""

    busy = False

    def __init__(self, orders: list[Order]) -> None:
        self._orders = orders

    def send(self, order: Order) -> None:
        self._orders.append(order)

    def drop(self, name: object) -> None:
        self._orders.clear()


class Talking(Street):
    """A street whose pushes are kept by the test."""

    def start(self) -> None:
        self.orders: list[Order] = []
        self.outlets: list[Outlet] = []
        self.fleet = Fleet(
            self.plan,
            self.count,
            self.folder,
            timer=self.timer,
            wall=lambda: self.seconds,
            outlet=self.outlet,
        )
        self.party = self.fleet

    def outlet(self, meter: Meter) -> Outlet:
        self.outlets.append(Outlet(self.orders))
        return self.outlets[-1]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Meters that stay at work without need: two, to have some at rest in a street of five."""
    monkeypatch.setattr("meterseal.meter.fleet.LINGER", 2)
    return 2


def test_meters_at_rest_are_woken_for_their_pushes_and_rest_again(tmp_path: Path, few: int) -> None:
    street = Talking(tmp_path / "state", 5, plan_of(tmp_path))
    assert street.fleet.at_work == 0
    for rounds in (1, 2):
        street.pass_time(899 if rounds == 1 else 896)
        assert len(street.orders) == 5 * (rounds - 1)
        for _ in range(4):
            street.pass_time(1)
        assert len(street.orders) == 5 * rounds
    assert street.fleet.at_work == few
    assert sorted(order.source for order in street.orders) == sorted(2 * list(range(1001, 1006)))
    assert {order.destination for order in street.orders} == {"192.0.2.9:4059"}


def test_what_has_still_to_be_sent_keeps_a_meter_at_work(
    tmp_path: Path, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outlet, "busy", True)
    street = Talking(tmp_path / "state", 5, plan_of(tmp_path))
    street.pass_time(900)
    for _ in range(3):
        street.pass_time(1)
    assert street.fleet.at_work == len(street.outlets) == 5
    monkeypatch.setattr(Outlet, "busy", False)
    street.pass_time(1)
    assert street.fleet.at_work == few


def test_each_push_is_under_the_meter_s_own_keys(tmp_path: Path) -> None:
    street = Talking(tmp_path / "state", 3, plan_of(tmp_path))
    for seconds in (900, 1, 1):
        street.pass_time(seconds)
    assert len(street.orders) == 3
    titles = set()
    for order in street.orders:
        house = street.house(order.source - 1000)
        title = house.credentials.meter.system_title
        assert title is not None
        setup = SecuritySetup(meterseal.crypto.suite(0), b"", title)
        setup.unicast = house.key("operator")  # type: ignore[misc]
        assert unprotect(Context(setup, title, general=True), order.seal()).apdu[:1] == b"\x0f"
        titles.add(title)
    assert len(titles) == 3


def test_meters_that_nobody_waits_for_are_not_woken_again(tmp_path: Path, few: int) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.replace('destination = "{url}"\n', "").format(more="interval = 900"))
    street = Talking(tmp_path / "state", 4, load_plan(config=config))
    for seconds in (900, 1, 1, 900, 1):
        street.pass_time(seconds)
    assert street.orders == [] and street.fleet._calls == []
    assert street.fleet.at_work == few


SCRIPTED = """
[[objects]]
class = 9
obis = "0.0.10.0.108.255"
[objects.scripts]
1 = ["40/0.0.25.9.0.255:1()"]
2 = ["9/0.0.10.0.108.255:1(u16:1)"]
3 = ["70/0.0.96.3.10.255:1()"]
4 = ["9/0.0.10.0.108.255:1(u16:4)"]

[[objects]]
class = 22
obis = "0.0.15.0.3.255"
writable = true
[objects.attributes]
executed_script = ["0.0.10.0.108.255", {script}]
type = 1
execution_time = [["12:15:00", "*-*-*"]]
"""


@pytest.mark.parametrize(("script", "woken"), [(1, 4), (2, 4), (3, 0), (4, 0), (9, 0)])
def test_meters_at_rest_are_woken_for_scripts_that_push_and_for_no_others(
    tmp_path: Path, few: int, script: int, woken: int
) -> None:
    """By itself or by another script; one that calls itself for ever, or is not there, pushes nothing."""
    more = SCRIPTED.format(script=script)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(url="tcp://192.0.2.9:4059", more="") + more)
    street = Talking(tmp_path / "state", 4, load_plan(config=config))
    for _ in range(6):  # each meter looks once when it has to be woken next
        street.pass_time(1)
    assert (street.fleet.at_work, street.orders) == (few, [])
    assert sorted(number for _, number in street.fleet._calls) == ([1, 2] if woken else [])
    street.pass_time(15 * 60)
    for _ in range(4):
        street.pass_time(1)
    assert len(street.orders) == woken
    assert len({order.source for order in street.orders}) == woken


def listening(folder: Path, got: list[Received]) -> Callable[[], Listener]:
    return lambda: Listener(Receiver(Book(folder, MemoryCounters()), MemoryCounters()), got.append)


@pytest.mark.parametrize("ports", [False, True], ids=["one port", "own ports"])
async def test_a_fleet_pushes_to_a_listener(tmp_path: Path, ports: bool) -> None:
    """Each meter's push is opened by its own credentials; the source says which meter it is."""
    got: list[Received] = []
    out = tmp_path / "street"
    async with FleetServer(plan_of(tmp_path, more=""), 3, tmp_path / "state", ports=ports) as server:
        write_fleet(server.fleet, out, server.url_of)
        async with listening(out, got)() as listener:
            where = parse(await listener.open(parse("tcp://127.0.0.1:0")))
            there = (0, f"127.0.0.1:{where.port}".encode(), 0)
            for path in sorted(out.glob("*.toml")):
                async with meterseal.connect(credentials=path, role="manager") as meter:
                    await meter.write("40/0.0.25.9.0.255:3", there)
                    await meter.call("40/0.0.25.9.0.255:1")
            async with asyncio.timeout(HANGING):
                while len(got) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
    assert [one.error for one in got] == [None] * 3
    assert {one.meter for one in got} == {"meter-00001", "meter-00002", "meter-00003"}
    sources = sorted(one.layers[0]["source"] for one in got)
    assert sources == ([1, 1, 1] if ports else [1001, 1002, 1003])


async def test_a_port_for_each_meter(tmp_path: Path) -> None:
    out, said, stop = tmp_path / "street", list[str](), asyncio.Event()
    ready = asyncio.Event()

    def announce(line: str) -> None:
        said.append(line)
        ready.set()

    serving = asyncio.create_task(
        serve_fleet(
            4, state=tmp_path / "state", credentials_out=out, ports=True, announce=announce, stop=stop
        )
    )
    await ready.wait()
    index = json.loads((out / "index.json").read_text())
    assert len({entry["url"] for entry in index}) == 4
    assert {entry["logical_device"] for entry in index} == {1}
    assert said == [f"listening on {index[0]['url']} and 3 more ports"]
    titles = []
    for entry in index:
        path = out / entry["credentials"]
        async with meterseal.connect(credentials=path, role="operator") as meter:
            titles.append(meter.system_title.hex().upper() if meter.system_title else "")
            assert (await meter.read("1.0.1.8.0.255")).unit == "Wh"
        async with meterseal.connect(credentials=path, role="public") as meter:
            assert (await meter.read("8/0.0.1.0.0.255:2")).value is not None
    assert titles == [entry["system_title"] for entry in index]
    # A key of one meter is a stranger's at the port of another.
    one = Credentials.load(out / index[0]["credentials"])
    with pytest.raises(meterseal.errors.MetersealError):
        async with meterseal.connect(index[1]["url"], one, role="operator", state=tmp_path / "s"):
            pass
    stop.set()
    await serving


async def test_ports_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there are not 9"):
        FleetServer(load_plan(), 9, tmp_path / "state", port=65530, ports=True)
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0) as held:
        taken = int(held.sockets[0].getsockname()[1])
        with pytest.raises(ConfigurationError, match="cannot listen"):
            async with FleetServer(load_plan(), 2, tmp_path / "state", port=taken - 1, ports=True):
                pass
    async with FleetServer(load_plan(), 2, tmp_path / "state"):  # the folder was let go
        pass
