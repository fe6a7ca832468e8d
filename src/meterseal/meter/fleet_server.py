"""Many meters as a process: the port or ports, the folder of credentials, the tick of them all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final

from meterseal.credentials.files import sync_folder, write_private
from meterseal.errors import ConfigurationError, Misuse, StateUnavailable
from meterseal.meter.config import load_plan
from meterseal.meter.fleet import Fleet
from meterseal.meter.live import Handle
from meterseal.meter.model import Meter
from meterseal.meter.plan import MeterPlan
from meterseal.meter.pool import Pool
from meterseal.meter.pushing import Pusher
from meterseal.meter.running import PathLike, run_until_signal, say, write_credentials
from meterseal.meter.server import TICK
from meterseal.net import PER_SOURCE, Admission, Limits, Listening, WireLog, allow_files, serve

INDEX: Final = "index.json"
"""In the folder of credentials: every meter with number, system title, URL, logical device, file."""

_PER_METER: Final = 2
"""Connections that have not signed on, of one source: tests with many clients come from one machine."""

_BEYOND_PORTS: Final = 0x10000

_FILES: Final = 256
"""Descriptors beside one for each connection."""


class FleetServer:
    """A fleet that listens on TCP.  Used with `async with`.

    With `ports` each meter has a port of its own: `port` and those that follow, or any free ones for 0.
    Raises ConfigurationError when an address cannot be had, and what `Fleet` raises.
    """

    def __init__(
        self,
        plan: MeterPlan,
        count: int,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        wire_log: WireLog | None = None,
        ports: bool = False,
    ) -> None:
        if ports and port + count > _BEYOND_PORTS:
            raise ConfigurationError(f"from port {port} there are not {count} of them")
        self._plan, self._count, self._folder = plan, count, folder
        self._host, self._port, self._wire_log, self._ports = host, port, wire_log, ports
        self._fleet: Fleet | None = None
        self._servers: list[Listening] = []
        self._pushers: set[Pusher] = set()
        self._tick: Handle | None = None
        self._pool: Pool | None = None

    async def __aenter__(self) -> FleetServer:
        loop = asyncio.get_running_loop()
        allow_files(self._count * (_PER_METER + self._ports) + _FILES)
        self._pool = Pool(loop)
        fleet = self._fleet = Fleet(
            self._plan, self._count, self._folder, timer=loop, outlet=self._pusher, ports=self._ports,
            compute=self._pool.run,
        )  # fmt: skip
        largest = max((role.max_pdu for role in self._plan.roles), default=0xFFFF)
        listen = partial(
            serve,
            self._host,
            limits=Limits(apdu=largest),
            admission=Admission(per_source=max(PER_SOURCE, self._count * _PER_METER)),
            wire_log=self._wire_log,
        )
        try:
            if self._ports:
                for number in range(1, self._count + 1):
                    port = self._port and self._port + number - 1
                    self._servers.append(await listen(port, fleet.session_at(number)))
            else:
                self._servers.append(await listen(self._port, fleet.session))
        except BaseException:
            await self._close_lines()
            fleet.close()
            raise
        self._tick = loop.call_later(TICK, self._ticked, loop)
        return self

    def _pusher(self, meter: Meter) -> Pusher:
        """What carries the pushes of a meter, for as long as it is at work."""
        self._pushers = {pusher for pusher in self._pushers if pusher.busy}
        pusher = Pusher(meter.events.note, self._wire_log)
        self._pushers.add(pusher)
        return pusher

    async def _close_lines(self) -> None:
        if self._pool is not None:
            self._pool.close()
        await asyncio.gather(*(pusher.close() for pusher in self._pushers))
        await asyncio.gather(*(server.close() for server in self._servers))

    def _ticked(self, loop: asyncio.AbstractEventLoop) -> None:
        self.fleet.tick()
        self._tick = loop.call_later(TICK, self._ticked, loop)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tick is not None:
            self._tick.cancel()
        await self._close_lines()
        self.fleet.close()

    @property
    def fleet(self) -> Fleet:
        """The meters."""
        if self._fleet is None:
            raise Misuse("the fleet has not been started")
        return self._fleet

    @property
    def url(self) -> str:
        """`tcp://host:port`, of all meters; with a port for each that of the first one."""
        return self.url_of(1)

    def url_of(self, number: int) -> str:
        """Where a meter is reached."""
        if not self._servers:
            raise Misuse("the fleet has not been started")
        return self._servers[number - 1 if self._ports else 0].url

    @property
    def where(self) -> str:
        """What is said of where it listens."""
        more = f" and {self._count - 1} more ports" if self._ports and self._count > 1 else ""
        return self.url + more


def write_fleet(fleet: Fleet, folder: Path, url_of: Callable[[int], str]) -> None:
    """Write a credentials file for each meter, mode 0600, and the index.  Raises StateUnavailable."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateUnavailable(f"folder {folder}: {error.strerror or error}") from None
    index = []
    for number in range(1, fleet.count + 1):
        name, address, url = f"meter-{number:05}.toml", fleet.address(number), url_of(number)
        with fleet.opened(number) as meter:
            # One sync at the end: what a crash takes is written anew at the next start.
            write_credentials(meter, folder / name, url, address, durable=False)
            title = meter.system_title.hex().upper()
        index.append(
            {
                "meter": number,
                "system_title": title,
                "url": url,
                "logical_device": address,
                "credentials": name,
            }
        )
    write_private(folder / INDEX, (json.dumps(index, indent=1) + "\n").encode(), "index")
    sync_folder(folder)


async def serve_fleet(
    count: int,
    *,
    preset: str = "suite0",
    host: str = "127.0.0.1",
    port: int = 0,
    config: PathLike | None = None,
    state: PathLike | None = None,
    credentials_out: PathLike | None = None,
    wire_log: PathLike | None = None,
    ports: bool = False,
    announce: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run `count` meters until `stop` is set, behind one port or with `ports` behind one each.

    `credentials_out` is a folder here; `announce` gets one line, `listening on tcp://HOST:PORT`, when the
    port is open and the folder complete; with `ports` it is that of the first meter, `and N more ports`.
    Raises what `load_plan` and `FleetServer` raise.
    """
    with ExitStack() as stack:
        plan = load_plan(preset, config)
        folder = Path(state) if state is not None else _temporary(stack)
        wires = None if wire_log is None else stack.enter_context(WireLog(wire_log))
        async with FleetServer(
            plan, count, folder, host=host, port=port, wire_log=wires, ports=ports
        ) as server:
            if credentials_out is not None:
                write_fleet(server.fleet, Path(credentials_out), server.url_of)
            (announce or say)(f"listening on {server.where}")
            await (stop or asyncio.Event()).wait()


def run_fleet(
    count: int,
    *,
    preset: str = "suite0",
    host: str = "127.0.0.1",
    port: int = 0,
    config: PathLike | None = None,
    state: PathLike | None = None,
    credentials_out: PathLike | None = None,
    wire_log: PathLike | None = None,
    ports: bool = False,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Run meters until SIGTERM or SIGINT; the arguments are those of `serve_fleet`."""
    serve = partial(
        serve_fleet, count, preset=preset, host=host, port=port, config=config, state=state,
        credentials_out=credentials_out, wire_log=wire_log, ports=ports, announce=announce,
    )  # fmt: skip
    run_until_signal(lambda stop: serve(stop=stop))


def _temporary(stack: ExitStack) -> Path:
    return Path(stack.enter_context(TemporaryDirectory(prefix="meterseal-")))
