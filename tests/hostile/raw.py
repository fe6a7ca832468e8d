"""A meter on a real socket, and a client that sends what it likes, its own frames or changed ones.

The meter runs on its own loop in a thread; `Meter.do` looks into it from there.  `Line` has the face of the
line in memory (`tests.meter.world`), so a `Client` works over either.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from meterseal.association import Effect
from meterseal.credentials import Credentials
from meterseal.errors import ConnectionLost
from meterseal.meter import Meter, MeterServer, Party, credentials_of, load_plan
from meterseal.meter.delays import Delays
from meterseal.net import Admission
from meterseal.security import KeyInUse
from tests.meter import world
from tests.meter.world import Client, Steps

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds that a test waits for an answer at most."""

NOT_POSSIBLE = bytes.fromhex("D80101")
DECIPHERING = bytes.fromhex("D80105")
REJECTED = bytes.fromhex("6117A109060760857405080103A203020101A305A103020101")
"""The one AARE for everything that depends on a key, secret, title, user or counter."""


class NoDelays(Delays):
    """For tests of many refusals that are not about the delay."""

    def failed(self, source: str, sap: int, now: float) -> float | None:
        delay = super().failed(source, sap, now)
        return None if delay is None else 0.0


class Line:
    """One TCP connection; `source` is the address that it comes from (127.0.0.0/8 are all this machine)."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
        self._buffer = b""

    def close(self) -> None:
        self.socket.close()

    def raw(self, octets: bytes) -> None:
        """Octets as they are."""
        self.socket.sendall(octets)

    def put(self, apdu: bytes, client: int, server: int = 1) -> None:
        """One APDU in its wrapper."""
        self.raw(frame(apdu, client, server))

    def take(self) -> bytes | None:
        """The next APDU from the meter; None when the connection is closed."""
        header = self._exactly(8)
        if header is None:
            return None
        version, _, _, length = struct.unpack(">HHHH", header)
        assert version == 1
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            try:
                part = self.socket.recv(65536)
            except ConnectionResetError:
                part = b""
            if not part:
                return None
            self._buffer += part
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def quiet(self, seconds: float = 0.05) -> bool:
        """True when nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            return not self._buffer and not self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def ask(self, apdu: bytes, client: int, server: int = 1) -> bytes:
        """Send an APDU and take the answer.  ConnectionLost when the meter closes instead."""
        try:
            self.put(apdu, client, server)
            answer = self.take()
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        if answer is None:
            raise ConnectionLost("closed by the meter")
        return answer

    def run(self, steps: Steps, client: int, server: int = 1) -> list[Effect]:
        """Carry a conversation through."""
        answer: bytes | None = None
        try:
            while True:
                answer = self.ask(steps.send(answer), client, server)
        except StopIteration as done:
            found: list[Effect] = done.value
            return found


def frame(apdu: bytes, client: int, server: int = 1) -> bytes:
    """The wrapper in front of an APDU."""
    return struct.pack(">HHHH", 1, client, server, len(apdu)) + apdu


@dataclass
class Running:
    """A meter that listens.  It has what `tests.meter.world.Client` asks of a world."""

    meter: Meter
    server: MeterServer
    loop: asyncio.AbstractEventLoop
    credentials: Credentials
    keys: dict[str, KeyInUse] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    key = world.World.key

    def do(self, work: Callable[[], T]) -> T:
        """Do something where the meter lives, between two of its steps."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)

    @property
    def party(self) -> Party:
        party = self.server.party
        assert party is not None
        return party

    def line(self, source: str = "127.0.0.1") -> Line:
        line = Line(self.server.port, source)
        self.lines.append(line)
        return line

    def client(self, role: str, line: Line | None = None, **options: Any) -> Client:
        return Client(self, role, line or self.line(), **options)

    def signed_on(self, role: str, line: Line | None = None, **options: Any) -> Client:
        return self.client(role, line, **options).sign_on()

    def counters(self) -> dict[int, tuple[int, ...]]:
        """Every counter of every Security setup: what nothing that is refused may change."""

        def read() -> dict[int, tuple[int, ...]]:
            found = {}
            for sap, ring in self.meter.rings.items():
                keys = [key for key in (ring.setup.unicast, ring.setup.broadcast) if key is not None]
                found[sap] = tuple(key.rx.lowest for key in keys)
            return found

        return self.do(read)


@contextmanager
def running(
    tmp_path: Path,
    config: str = "",
    *,
    state: Path | None = None,
    delays: bool = False,
    admission: Admission | None = None,
    url: str | None = None,
    preset: str = "suite0",
) -> Iterator[Running]:
    """A meter of a preset with a configuration over it, on a socket of this machine."""
    path = None
    if config:
        path = tmp_path / "meter.toml"
        path.write_text(config)
    meter = Meter(load_plan(preset, path), state)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> MeterServer:
        server = MeterServer(meter, url=url, admission=admission)
        await server.start()
        assert server.party is not None
        if not delays:
            server.party.delays = NoDelays()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE)
    here = Running(meter, server, loop, credentials_of(meter, server.url))
    try:
        yield here
    finally:
        for line in here.lines:
            line.close()
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
        meter.close()
