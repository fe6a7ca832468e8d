"""A fleet, a line that breaks, and workers at one campaign, each a process that is killed again and again.

All are forked, so that they cost little.  The line between is a process too: it records every frame, cuts
connections in the middle, loses answers, and says when somebody is to be killed, counted in frames.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from meterseal.authority.adoption import new_of
from meterseal.authority.campaign import Campaign, Plan
from meterseal.authority.probing import Line
from meterseal.authority.rotator import Rotator
from meterseal.authority.store import Store, create_store, open_store
from meterseal.credentials import Credentials
from meterseal.framing import wrapper
from meterseal.meter.fleet_server import run_fleet

NAME = "faults"
CUT = 0.08
"""Part of the connections that are cut after some frames, a request or an answer lost."""

LIMIT = 120.0
"""Seconds until something that has to come counts as hanging."""

_fork = multiprocessing.get_context("fork")


class Yard:
    """`count` meters behind a line; `every`: frames between two kills, about; `by`: the signal for that."""

    def __init__(
        self, folder: Path, count: int, every: int, by: signal.Signals = signal.SIGKILL, seed: int = 6
    ) -> None:
        self.folder, self.count, self.every, self._by = folder, count, every, by
        self.chance = random.Random(seed)
        self.store_path, self.wire = str(folder / "keys.db"), folder / "wire.jsonl"
        self.kills = {"worker": 0, "fleet": 0}
        self.ended: list[int] = []
        """How the fleets ended that were told to, by their exit codes."""
        self.fleet_port = 0
        self._fleet: Any = None

    # --- processes ----------------------------------------------------------------------------------

    @contextmanager
    def open(self) -> Iterator[None]:
        """Fleet and line, until the end of the block; the store has adopted every meter."""
        self._orders, theirs = _fork.Pipe(duplex=False)
        self._start_fleet(self.folder / "street")
        line = _started(partial(_carry, theirs, self.fleet_port, self.wire, self.every, self.chance.random()))
        try:
            port = self._told(self._orders)
            with create_store(self.store_path, by="test") as store:
                self._adopt(store, f"tcp://127.0.0.1:{port}")
                Campaign.new(store, NAME, Plan(kinds=("guek",), roles=("operator",), why="yearly"))
            yield
        finally:
            for process in (line, self._fleet):
                process.kill()
                process.join(LIMIT)

    def _start_fleet(self, credentials: Path | None = None) -> None:
        ready, theirs = _fork.Pipe(duplex=False)
        how: dict[str, Any] = {
            "state": self.folder / "state",
            "credentials_out": credentials,
            "port": self.fleet_port,
        }
        self._fleet = _started(partial(run_fleet, self.count, announce=theirs.send, **how))
        self.fleet_port = int(self._told(ready).rpartition(":")[2])

    def _told(self, ear: Connection) -> str:
        assert ear.poll(LIMIT), "nothing was said in time"
        return str(ear.recv())

    def _adopt(self, store: Store, url: str) -> None:
        files = sorted((self.folder / "street").glob("meter-*.toml"))
        with store.core.acting("adopted") as act:
            store.keys.put_new(act, [new_of(Credentials.load(path).at(url)) for path in files], "test")

    def _work(self) -> None:
        async def until_there_is_nothing() -> None:
            with open_store(self.store_path, by="test") as store:
                async for _ in Campaign(store, NAME).run(Rotator(store, Line(timeout=30)), workers=4):
                    pass

        asyncio.run(until_there_is_nothing())

    # --- the play -----------------------------------------------------------------------------------

    def run(self, crew: int = 2) -> dict[str, int]:
        """Let `crew` workers work, whoever is killed, until every meter is done; the counts then."""
        workers = [_started(self._work) for _ in range(crew)]
        try:
            while True:
                ready = wait([self._orders, *(one.sentinel for one in workers)], LIMIT)
                assert ready, "nobody is killed, and nobody comes to an end"
                if self._orders in ready:
                    self._kill(self._told(self._orders), workers)
                for one in [one for one in workers if not one.is_alive()]:
                    workers.remove(one)
                    assert one.exitcode == 0, "a worker broke off by itself"
                    with open_store(self.store_path, by="test") as store:
                        counts = self._turn_clock(store, not workers)
                    if counts["done"] == self.count:
                        return counts
                    workers.append(_started(self._work))
        finally:
            for one in workers:
                one.kill()
                one.join(LIMIT)

    def _kill(self, who: str, workers: list[Any]) -> None:
        self.kills[who] += 1
        if who == "fleet":
            self.ended.append(self._end(self._fleet))
            self._start_fleet()
            return
        one = workers.pop(self.chance.randrange(len(workers)))
        self._end(one)
        with open_store(self.store_path, by="test") as store, store.core.writing() as connection:
            # What he was at ends by itself in five minutes; here nobody waits for that, nor for what he had
            # taken and held no lease for, not yet or no longer.
            connection.exec_driver_sql("UPDATE leases SET until = 0 WHERE holder LIKE ?", (f"{one.pid}-%",))
            connection.exec_driver_sql(
                "UPDATE tasks SET next = 0 WHERE state = 'working' AND device NOT IN "
                "(SELECT device FROM leases WHERE until > 0)"
            )
        workers.append(_started(self._work))

    def _end(self, process: Any) -> int:
        os.kill(process.pid, self._by)
        process.join(LIMIT)
        assert process.exitcode is not None, "it goes on after all"
        return int(process.exitcode)

    def _turn_clock(self, store: Store, alone: bool) -> dict[str, int]:
        """Second tries have their time, and what is stuck waits again; with nobody at work all of it does."""
        campaign = Campaign(store, NAME)
        with store.core.writing() as connection:
            states = "('waiting', 'working')" if alone else "('waiting')"
            connection.exec_driver_sql(f"UPDATE tasks SET next = 0 WHERE state IN {states}")
            if alone:
                connection.exec_driver_sql("UPDATE leases SET until = 0")
        counts = campaign.counts()
        if counts["stuck"] or campaign.paused:
            campaign.resume("the line is better now")
        return counts

    def frames(self) -> list[tuple[int, str, bytes]]:
        """What went over the line: number of the connection, direction, and the frame."""
        found = [json.loads(line) for line in self.wire.read_text().splitlines()]
        return [(number, direction, bytes.fromhex(octets)) for number, direction, octets in found]


def _started(act: Callable[[], object]) -> Any:
    process = _fork.Process(target=act)
    process.start()
    return process


# --- the line ---------------------------------------------------------------------------------------


def _carry(parent: Connection, fleet: int, wire: Path, every: int, seed: float) -> None:
    """Carry frames between any port and the fleet's, recorded before they are passed on or lost."""
    chance, number, passed = random.Random(seed), 0, 0
    following = chance.randrange(every, 2 * every)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        parent.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        mine, left = number, [chance.randrange(1, 14) if chance.random() < CUT else -1]
        with suppress(OSError, asyncio.IncompleteReadError):
            others = await asyncio.open_connection("127.0.0.1", fleet)
            ways = [
                asyncio.ensure_future(passing(mine, "out", reader, others[1], left)),
                asyncio.ensure_future(passing(mine, "in", others[0], writer, left)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            others[1].close()
            await asyncio.gather(*ways, return_exceptions=True)
        writer.close()

    async def passing(
        mine: int, direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter, left: list[int]
    ) -> None:
        nonlocal passed, following
        while True:
            head = await source.readexactly(wrapper.HEADER_LENGTH)
            frame = head + await source.readexactly(int.from_bytes(head[-2:], "big"))
            record.write(f'[{mine}, "{direction}", "{frame.hex()}"]\n')
            record.flush()
            passed, left[0] = passed + 1, left[0] - 1
            if passed == following:
                following += chance.randrange(every, 2 * every)
                parent.send("fleet" if chance.random() < 0.25 else "worker")
            if left[0] == 0:
                return
            sink.write(frame)

    with wire.open("w") as record:
        asyncio.run(serve())
        os._exit(0)
