"""Eight meters that share one key, and processes at one store that sign on to them: counters on the wire.

All count under the same key and client title, each toward a meter of its own: so no meter sees the others'
counters, and nothing but the store keeps them apart.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from meterseal import Credentials, net, sync
from meterseal.authority.store import Store
from meterseal.crypto import GcmKey, random_octets
from meterseal.meter.running import serve_meter
from tests.wired import apdus, counters, twice

CROWD = 8
LIMIT = 120.0
"""Seconds until something that has to come counts as hanging."""

CLIENT = bytes.fromhex("4D534C4845530002")

_fork = multiprocessing.get_context("fork")


class Street:
    """The meters, in a process of their own that records what goes over their lines."""

    def __init__(self, folder: Path, count: int = CROWD) -> None:
        self.folder, self.count = folder, count
        guek, gak = random_octets(16), random_octets(16)
        self._key = GcmKey(guek, gak)
        self._titles = [bytes.fromhex(f"4D534C00{number:08X}") for number in range(1, count + 1)]
        for number, title in enumerate(self._titles):
            self._at(number, "config.toml").write_text(
                f'[meter]\nsystem_title = "{title.hex()}"\n[roles.operator]\nguek = "{guek.hex()}"\n'
                f'gak = "{gak.hex()}"\nclient_system_title = "{CLIENT.hex()}"\n'
            )

    def _at(self, number: int, name: str) -> Path:
        return self.folder / f"meter-{number}-{name}"

    @contextmanager
    def open(self) -> Iterator[Street]:
        """The meters at work, until the end of the block."""
        ready, theirs = _fork.Pipe(duplex=False)
        process = _fork.Process(target=partial(self._serve, theirs), daemon=True)
        process.start()
        try:
            for _ in range(self.count):
                assert ready.poll(LIMIT), "no meter listens"
                ready.recv()
            yield self
        finally:
            process.kill()
            process.join(LIMIT)

    def _serve(self, tell: Connection) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(one(number) for number in range(self.count)))

        def one(number: int) -> Coroutine[Any, Any, None]:
            return serve_meter(
                config=self._at(number, "config.toml"),
                state=self._at(number, "state"),
                credentials_out=self._at(number, "credentials.toml"),
                wire_log=self._at(number, "wire.log"),
                announce=tell.send,
            )

        asyncio.run(all_of_them())

    def speak(self, store: Store, number: int, log: Path | None = None, reads: int = 6) -> Iterator[None]:
        """Sign on to a meter and read, again and again; goes on after each answer."""
        credentials = Credentials.load(self._at(number, "credentials.toml"))
        wires = None if log is None else net.WireLog(log)
        while True:
            with sync.connect(
                None, credentials, "operator", counters=store.counters, wire_log=wires
            ) as meter:
                for _ in range(reads):
                    meter.get(3, "1.0.1.8.0.255", 2)
                    yield

    def check(self, logs: list[Path]) -> int:
        """No key, title and counter twice: in what the meters heard and said, in what `logs` say was sent.

        How many counters the clients used.
        """
        heard = [one for number in range(self.count) for one in apdus(self._at(number, "wire.log"), "in")]
        used = list(counters(heard, CLIENT, self._key))
        assert twice(used) == []
        written = list(counters((one for log in logs for one in apdus(log)), CLIENT, self._key))
        assert twice(written) == []
        for number, title in enumerate(self._titles):
            said = list(counters(apdus(self._at(number, "wire.log")), title, self._key))
            assert said and twice(said) == []
        return len(set(used) | set(written))


class Worker:
    """A forked process that does something and may be killed; `answers` tells of each step that it made."""

    def __init__(self, act: Any) -> None:
        self._ear, mouth = _fork.Pipe(duplex=False)
        self._process = _fork.Process(target=partial(act, mouth.send), daemon=True)
        self._process.start()
        mouth.close()

    def hear(self, steps: int) -> int:
        """Wait for so many steps; how many there were before it ended."""
        for made in range(steps):
            assert self._ear.poll(LIMIT), "a worker hangs"
            try:
                self._ear.recv()
            except EOFError:
                return made
        return steps

    def live(self, seconds: float) -> None:
        """Let it work so long, at the most."""
        self._process.join(seconds)

    def kill(self) -> None:
        """End it where it is."""
        self._process.kill()
        self._process.join(LIMIT)

    def end(self) -> int:
        """Wait for its end; its exit code."""
        self._process.join(LIMIT)
        assert self._process.exitcode is not None, "a worker hangs"
        return int(self._process.exitcode)
