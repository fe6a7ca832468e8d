"""Limits of the machine: few descriptors, little memory; crowds are shed, who has keys is served after."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from meterseal import net
from meterseal.client.aio import connect
from meterseal.meter import Meter, Party, credentials_of, load_plan
from meterseal.meter.fleet_server import run_fleet
from meterseal.state import MemoryCounters
from meterseal.sync import connect as connected

ENERGY = "3/1.0.1.8.0.255:2"
ROOM = 256 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc as Linux has them")


def limited(folder: Path, ready: Connection, descriptors: int) -> None:
    """A meter with so many descriptors more than it has now, and 256 MB more of addresses."""
    used = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + descriptors, used + descriptors))
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    run_fleet(1, state=folder / "state", credentials_out=folder / "street", announce=ready.send)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    fork = multiprocessing.get_context("fork")
    ready, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=limited, args=(tmp_path, theirs, 40))
    process.start()
    try:
        assert ready.poll(60)
        yield int(ready.recv().rpartition(":")[2])
        assert process.is_alive(), "the limits have ended it"
    finally:
        process.kill()
        process.join(60)


def test_H04_more_connections_than_descriptors_are_shed_and_the_owner_is_served_after(
    port: int, tmp_path: Path
) -> None:
    begun = bytes.fromhex("00010010000107FF") + bytes(1000)  # half of what it says
    with ExitStack() as crowd:
        for _ in range(120):
            one = crowd.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            with suppress(OSError):
                one.sendall(begun)
    path = tmp_path / "street" / "meter-00001.toml"
    with connected(credentials=str(path), role="operator", timeout=60) as meter:
        assert meter.read(ENERGY).value > 0


def test_H11_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    """The short form: after some sessions to warm up, more of them leave neither objects nor descriptors."""
    meter = Meter(load_plan("suite0"), tmp_path / "meter")
    given, counters = credentials_of(meter), MemoryCounters()

    async def sessions(party: Party, count: int) -> tuple[int, int]:
        for _ in range(count):
            line = net.loopback(party.session)
            async with connect(credentials=given, role="operator", line=line, counters=counters) as one:
                await one.read(ENERGY)
        await asyncio.sleep(0)
        gc.collect()
        return len(gc.get_objects()), len(os.listdir("/proc/self/fd"))

    async def three() -> list[tuple[int, int]]:
        party = Party(meter, asyncio.get_running_loop())
        return [await sessions(party, 40) for _ in range(3)]

    try:
        _, before, after = asyncio.run(three())
    finally:
        meter.close()
    assert after[0] - before[0] < 40, "less than one object for each session"
    assert after[1] == before[1]
