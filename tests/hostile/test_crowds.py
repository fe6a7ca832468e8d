"""A crowd of slow and silent connections beside those who work: nobody who works notices (F14)."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import meterseal
from meterseal import net
from meterseal.framing import wrapper
from meterseal.meter import FleetServer, load_plan
from meterseal.meter.fleet_server import write_fleet

HANGING = 120.0
"""Seconds after which the test is given up."""

BEGUN = wrapper.encode(16, 1, bytes.fromhex("C001C100080000010000FF0200"))[:-1]
"""A frame that lacks its last octet."""


async def crowd(port: int, count: int) -> list[socket.socket]:
    """Connections: of three one says nothing, one has begun a frame, one sends an octet now and then."""
    loop = asyncio.get_running_loop()
    made = []
    for number in range(count):
        plain = socket.socket()
        plain.setblocking(False)
        made.append(plain)
        await loop.sock_connect(plain, ("127.0.0.1", port))
        if number % 3:
            await loop.sock_sendall(plain, BEGUN if number % 3 == 1 else BEGUN[:1])
    return made


async def drip(sockets: list[socket.socket]) -> None:
    """One octet more on each of the slowest, again and again."""
    for at in range(1, len(BEGUN)):
        for plain in sockets[2::3]:
            try:
                plain.send(BEGUN[at : at + 1])
            except OSError:  # its time was over
                continue
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("slow", "good"), [(200, 6), pytest.param(5000, 50, marks=pytest.mark.soak)], ids=["200", "5000"]
)
async def test_F14_slow_and_silent_connections_do_not_disturb_good_ones(
    tmp_path: Path, slow: int, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meterseal.meter.fleet_server._PER_METER", 2 + slow // good)
    net.allow_files(2 * slow + 10 * good + 512)
    async with asyncio.timeout(HANGING), AsyncExitStack() as stack:
        server = await stack.enter_async_context(FleetServer(load_plan(), good, tmp_path / "state"))
        write_fleet(server.fleet, tmp_path / "street", server.url_of)
        sockets = await crowd(int(server.url.rpartition(":")[2]), slow)
        for plain in sockets:
            stack.callback(plain.close)
        dripping = asyncio.create_task(drip(sockets))
        stack.callback(dripping.cancel)

        async def work(number: int) -> int:
            path = tmp_path / "street" / f"meter-{number:05}.toml"
            async with meterseal.connect(credentials=path, role="operator", timeout=HANGING) as meter:
                for _ in range(20):
                    assert (await meter.get(3, "1.0.1.8.0.255", 2))[:1] == b"\x06"
            return number

        done = await asyncio.gather(*(work(number) for number in range(1, good + 1)))
        assert done == list(range(1, good + 1))
        assert len(server._servers[0].links) > slow // 4, "the silent ones are still there: they cost nothing"
