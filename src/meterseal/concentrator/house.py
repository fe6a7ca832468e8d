"""A concentrator as a whole: the front, the lanes behind it, the record, and its own logical device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final

from meterseal.client.titles import FileTitles
from meterseal.concentrator import management
from meterseal.concentrator.config import Config, Route, load
from meterseal.concentrator.front import Front
from meterseal.concentrator.lanes import Caller, Direct, Shared, Surroundings
from meterseal.concentrator.pushes import Inlet, Outlet, take
from meterseal.concentrator.record import Record
from meterseal.errors import ConnectionLost, MetersealError, Misuse
from meterseal.meter import Meter, Party, open_meter, write_credentials
from meterseal.meter.live import Handle
from meterseal.meter.running import PathLike, run_until_signal, say
from meterseal.meter.server import TICK
from meterseal.meter.session import Session
from meterseal.net import Admission, Link, Listening, WireLog, listen, parse
from meterseal.state.folder import make_folder

PER_SOURCE: Final = 64
"""Connections to meters for one source of callers that no meter has answered under protection yet."""


class Concentrator:
    """A concentrator that listens.  Used with `async with`; the meter of its management stays the caller's.

    `folder` keeps the titles that were pinned.  Raises ConfigurationError when the address cannot be had.
    """

    def __init__(self, config: Config, own: Meter, folder: Path, *, wire_log: WireLog | None = None) -> None:
        self.config, self.own = config, own
        self.routes = {route.key: route for route in config.routes}
        self.record = Record(config.routes, FileTitles(folder))
        self.lanes = Admission(per_source=PER_SOURCE, total=config.connections)
        self.shared: dict[str, Shared] = {}
        self._wire_log = wire_log
        self.outlet = Outlet(lambda: config.head_end or management.head_end(own), self.record, wire_log)
        self.inlets: list[Listening] = []
        """Where meters push to."""
        self._around = Surroundings(
            self.record, config.timeout, config.queue, config.queue_of_caller,
            wire_log=wire_log, pushed=self._pushed,
        )  # fmt: skip
        self._party: Party | None = None
        self._server: Listening | None = None
        self._tick: Handle | None = None

    async def __aenter__(self) -> Concentrator:
        loop = asyncio.get_running_loop()
        self._party = Party(self.own, loop)
        lines = {route.line.name: route.line for route in self.config.routes if route.line is not None}
        self.shared = {name: Shared(self._around, line, self.config.routes) for name, line in lines.items()}
        management.tell(self.own, self.record, self._waiting)
        self.outlet.start()
        try:
            where = parse(self.config.listen)
            self._server = await listen(where, partial(Front, self), wire_log=self._wire_log)
            inlet = partial(Inlet, self.outlet, self.record)
            for url in self.config.pushes:
                self.inlets.append(await listen(parse(url), inlet, wire_log=self._wire_log))
        except BaseException:
            await self._close_lines()
            raise
        self.own.power_up()
        self._ticked(loop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tick is not None:
            self._tick.cancel()
        await self._close_lines()
        self.own.power_down()
        self._all_of_it.tick()

    async def _close_lines(self) -> None:
        for server in (self._server, *self.inlets):
            if server is not None:
                await server.close()
        await self.outlet.close()
        for shared in self.shared.values():
            await shared.close()
        await asyncio.sleep(0)  # connections that are aborted are gone on the loop's next turn

    def _ticked(self, loop: asyncio.AbstractEventLoop) -> None:
        self._all_of_it.tick()
        self._tick = loop.call_later(TICK, self._ticked, loop)

    def _waiting(self) -> list[tuple[str, int]]:
        return [(name, shared.waiting) for name, shared in self.shared.items()]

    def _pushed(self, route: Route, server: int, client: int, apdu: bytes) -> None:
        """A push on a shared line."""
        try:
            take(self.outlet, self.record, route, server, client, apdu)
        except MetersealError as error:
            self.record.stray(f"push on the line of {route}", error)

    @property
    def _all_of_it(self) -> Party:
        if self._party is None:
            raise Misuse("the concentrator has not been started")
        return self._party

    @property
    def url(self) -> str:
        """`tcp://host:port`."""
        if self._server is None:
            raise Misuse("the concentrator has not been started")
        return self._server.url

    # --- for the fronts ---------------------------------------------------------------------------

    def own_session(self, link: Link) -> Session:
        """The handler of what is for the concentrator itself."""
        return self._all_of_it.session(link)

    def lane(self, caller: Caller, route: Route) -> Direct:
        """A connection to a meter.  Raises ConnectionLost when all that may be are in use by others."""
        lane = Direct(self._around, caller, route)
        if not self.lanes.enter(lane):
            lane.abort()
            raise ConnectionLost("too many connections to meters")
        lane.on_end = self.lanes.leave
        return lane


async def serve_concentrator(
    config: PathLike | Config,
    *,
    state: PathLike | None = None,
    listen: str | None = None,
    credentials_out: PathLike | None = None,
    wire_log: PathLike | None = None,
    announce: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run a concentrator until `stop` is set.

    `state` keeps the keys of its own management and the titles that were pinned; without it both are new at
    each start.  `listen` stands in place of the file's.  `announce` gets the line `listening on
    tcp://HOST:PORT`, then one `pushes on URL` for each place where meters push to.
    """
    plan = config if isinstance(config, Config) else load(config)
    with ExitStack() as stack:
        folder = Path(state or stack.enter_context(TemporaryDirectory(prefix="meterseal-")))
        make_folder(folder)
        own = open_meter(management.plan(plan.management), folder / "own", stack)
        wires = None if wire_log is None else stack.enter_context(WireLog(wire_log))
        if listen is not None:
            plan = replace(plan, listen=listen)
        async with Concentrator(plan, own, folder, wire_log=wires) as house:
            if credentials_out is not None:
                write_credentials(own, credentials_out, house.url)
            (announce or say)(f"listening on {house.url}")
            for inlet in house.inlets:
                (announce or say)(f"pushes on {inlet.url}")
            await (stop or asyncio.Event()).wait()


def run_concentrator(config: PathLike, **options: PathLike | None) -> None:
    """Run a concentrator until SIGTERM or SIGINT; arguments as of `serve_concentrator`."""
    run_until_signal(lambda stop: serve_concentrator(config, stop=stop, **options))  # type: ignore[arg-type]
