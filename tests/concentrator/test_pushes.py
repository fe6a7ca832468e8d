"""Pushes through a concentrator: from meters on TCP, UDP and a bus, on to the head-end with a prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal import net
from meterseal.codec.types import Tag
from meterseal.concentrator import Route, SharedLine, management, pushes
from meterseal.concentrator.front import REFUSED
from meterseal.concentrator.rounds import Round
from meterseal.cosem.obis import Obis
from meterseal.errors import ConfigurationError, Refused
from meterseal.framing import gateway, gbt
from meterseal.meter import credentials_of
from meterseal.meter.push import PushSetup
from meterseal.meter.values import Held
from tests.concentrator.yard import Yard, yard
from tests.net.parties import Parties, until

PUSH = Obis("0.0.25.9.0.255")


def push(title: bytes, body: bytes = b"\x30" + bytes(20)) -> bytes:
    """What looks like a push of a meter, from the outside; that is all that a concentrator sees."""
    return b"\xdb\x08" + title + bytes((len(body),)) + body


class HeadEnd:
    """Where pushes go on to: what came, each with its prefix."""

    def __init__(self) -> None:
        self.came: list[tuple[int, int, gateway.Prefix, bytes]] = []
        self.url = ""

    def take(self, link: net.Link, source: int, destination: int, payload: bytes) -> None:
        self.came.append((source, destination, *gateway.decode(payload)))


@asynccontextmanager
async def passing(folder: Path, **config: Any) -> AsyncIterator[tuple[Yard, HeadEnd]]:
    """A yard whose pushes go on to a head-end."""
    async with AsyncExitStack() as stack:
        there = HeadEnd()
        server = await stack.enter_async_context(await net.serve("127.0.0.1", 0, Parties(there.take)))
        there.url = server.url
        config = {"head_end": server.url, "pushes": ("tcp://127.0.0.1:0", "udp://127.0.0.1:0"), **config}
        yield await stack.enter_async_context(yard(folder, **config)), there


def title(here: Yard, name: str) -> bytes:
    found = here.route(name).title
    assert found is not None
    return found


@pytest.mark.parametrize("line", [0, 1], ids=["tcp", "udp"])
async def test_a_push_goes_on_under_the_prefix_of_its_route(tmp_path: Path, line: int) -> None:
    async with passing(tmp_path, direct=2) as (here, there):
        for name in ("tcp-1", "tcp-2"):
            octets = push(title(here, name))
            async with await net.connect(here.house.inlets[line].url) as meter:
                await meter.send(1, 103, octets)
                await until(lambda octets=octets: octets in [one[3] for one in there.came])  # type: ignore[misc]
        assert [one[:3] for one in there.came] == [
            (1, 103, gateway.Prefix(False, *here.route(name).key)) for name in ("tcp-1", "tcp-2")
        ]
        assert [one.pushes for one in here.house.record.accounts.values()] == [1, 1]


async def test_a_push_in_blocks_goes_on_in_one_piece(tmp_path: Path) -> None:
    async with passing(tmp_path) as (here, there):
        octets = push(title(here, "tcp-1"), b"\x30" + bytes(100))
        async with await net.connect(here.house.inlets[0].url) as meter:
            parts = [octets[at : at + 40] for at in range(0, len(octets), 40)]
            for number, part in enumerate(parts, 1):
                await meter.send(1, 103, gbt.encode(gbt.Block(number, part, last=number == len(parts))))
            await until(lambda: bool(there.came))
        assert there.came[0][3] == octets


async def test_E08_what_is_no_push_of_a_routes_meter_goes_nowhere(tmp_path: Path) -> None:
    async with passing(tmp_path) as (here, there):
        own, before = title(here, "tcp-1"), here.house.record.strays
        bad = [
            push(b"MSL99999"),
            b"\x0f" + bytes(12),
            b"\xcf\x30" + bytes(16),
            gateway.encode(gateway.Prefix(False, 1, b"\1"), push(own)),
            gbt.encode(gbt.Block(2, push(own))),
            b"\xe0",
            push(own)[:7],
        ]
        async with await net.connect(here.house.inlets[0].url) as meter:
            for octets in bad:
                await meter.send(1, 103, octets)
            await meter.send(99, 103, push(own))  # a logical device that is not listed
            await until(lambda: here.house.record.strays == before + len(bad) + 1)
            await meter.send(1, 103, push(own))
            await until(lambda: bool(there.came))
        assert [one[3] for one in there.came] == [push(own)]
        assert here.house.record.accounts[here.route("tcp-1").key].title == own, "a push pins nothing"


async def test_F12_blocks_that_never_end_are_held_within_bounds(tmp_path: Path) -> None:
    async with passing(tmp_path) as (here, there):
        own = push(title(here, "tcp-1"))
        async with await net.connect(here.house.inlets[0].url) as flood:
            for client in range(1, 100):
                await flood.send(1, client, gbt.encode(gbt.Block(1, bytes(1000))))
            await until(lambda: here.house.record.strays == 99 - pushes.PAIRS)
            for number in range(2, 70):
                await flood.send(1, 1, gbt.encode(gbt.Block(number, bytes(1000))))
            await flood.send(1, 90, own)
            await until(lambda: bool(there.came))
        assert here.house.record.strays > 99 - pushes.PAIRS, "an APDU has an end"


async def test_H06_while_the_head_end_is_away_pushes_wait_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(pushes, "LONGEST_PAUSE", 0.02)
    there = HeadEnd()
    async with yard(tmp_path, direct=2, pushes=("tcp://127.0.0.1:0",)) as here:
        first, second = title(here, "tcp-1"), title(here, "tcp-2")
        async with await net.connect(here.house.inlets[0].url) as meter:
            for at in range(pushes.OF_ROUTE + 5):
                await meter.send(1, 103, push(first, bytes((0x30, at)) + bytes(18)))
            await until(lambda: here.house.record.strays == 5)
            await meter.send(1, 103, push(second))
            await until(lambda: here.house.outlet.waiting == pushes.OF_ROUTE + 1)
            async with await net.serve("127.0.0.1", 0, Parties(there.take)) as server:
                where = here.house.own.devices[1].objects[1, management.HEAD_END]
                assert isinstance(where, Held)
                where._set(server.url)
                await until(lambda: len(there.came) == pushes.OF_ROUTE + 1)
        assert [one[3][12] for one in there.came[:-1]] == list(range(pushes.OF_ROUTE)), "in their order"
        assert there.came[-1][3] == push(second), "a flood of one meter takes no room of another's"


def test_H06_pauses_double_and_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = [{pushes._pause(failures) for _ in range(50)} for failures in (1, 2, 3, 30)]
    bounds = [(0.5, 1.5), (1.0, 3.0), (2.0, 6.0), (30.0, 90.0)]
    for drawn, (low, high) in zip(spans, bounds, strict=True):
        assert low <= min(drawn) and max(drawn) <= high and len(drawn) > 1


async def test_meters_on_a_shared_line_are_asked_for_pushes(tmp_path: Path) -> None:
    """In UI frames, between the requests of callers."""

    def asked(line: SharedLine) -> SharedLine:
        return replace(line, push_clients=(103,), ask_every=0.05)

    async with passing(tmp_path, direct=0, bus=2, timeout=1.0, shared=asked) as (here, there):
        for meter in here.meters:
            setup = meter.devices[1].objects[40, PUSH]
            assert isinstance(setup, PushSetup)
            setup.values[3] = ((5, b"", 0), setup.values[3][1])
            setup.values[9] = (103, Tag.INTEGER)
        # A meter is heard once somebody has been on the line: until then it has nobody to answer to.
        await until(lambda: all(server.party and server.party.links() for server in here.servers))
        for meter in here.meters:
            found = meter.devices[1].objects[40, PUSH]
            assert isinstance(found, PushSetup)
            found.push()
            found.push()
        async with here.sign_on("bus-1") as one:
            await until(lambda: len(there.came) == 4)
            assert (await one.read("3/1.0.1.8.0.255:2")).error is None
        keys = [here.route(name).key for name in ("bus-1", "bus-2") for _ in range(2)]
        assert sorted(one[2][1:] for one in there.came) == keys
        assert all(one[:2] == (1, 103) for one in there.came)
        assert gateway.decode(await here.raw(b"\xc0\x01", "bus-1", client=103))[1] == REFUSED


def test_rounds_are_fair_and_have_their_time() -> None:
    line = SharedLine(name="bus", url="", push_clients=(102, 103), ask_every=10.0)
    routes = [
        Route(name=f"m{at}", address=bytes((at,)), line=line, device=at, servers=(1, 17)) for at in (1, 2)
    ]
    other = Route(name="o", address=b"9", line=SharedLine(name="x", url=""), device=1)
    round_ = Round(line, [*routes, other])
    due = [round_.take(0.0) for _ in range(8)]
    assert len({(one.route.name, one.server, one.client) for one in due if one}) == 8
    assert round_.take(0.0) is None and round_.wait(4.0) == 6.0
    assert round_.take(10.0) == due[0]
    assert Round(line, []).wait(0.0) is None and Round(line, []).take(0.0) is None


async def test_where_pushes_go_is_said_by_the_file_or_by_a_manager(tmp_path: Path) -> None:
    """A manager's word lasts; what is no URL of a head-end is not taken."""
    async with passing(tmp_path, head_end="") as (here, there):
        held = credentials_of(here.house.own, here.house.url)
        name = f"1/{management.HEAD_END}:2"
        async with meterseal.connect(here.house.url, held, "manager", counters=here.counters) as manager:
            assert (await manager.read(name)).value == ""
            for wrong in ("udp://127.0.0.1:1", "nowhere"):
                with pytest.raises(Refused):
                    await manager.write(name, wrong, "utf8")
            await manager.write(name, there.url, "utf8")
        async with await net.connect(here.house.inlets[0].url) as meter:
            await meter.send(1, 103, push(title(here, "tcp-1")))
            await until(lambda: bool(there.came))
        assert management.head_end(here.house.own) == there.url
        with pytest.raises(Refused):
            async with meterseal.connect(here.house.url, held, "operator", counters=here.counters) as other:
                await other.write(name, "", "utf8")


async def test_a_place_for_pushes_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    async with passing(tmp_path) as (here, _):
        with pytest.raises(ConfigurationError):
            (tmp_path / "b").mkdir()
            async with yard(tmp_path / "b", pushes=(here.house.inlets[0].url,)):
                pass
