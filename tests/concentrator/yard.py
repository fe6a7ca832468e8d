"""A yard: meters on TCP and on a bus, a concentrator in front of them, clients that go through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import meterseal
from meterseal import net
from meterseal.concentrator import Concentrator, Config, Route, SharedLine, management
from meterseal.credentials import Credentials
from meterseal.framing import gateway
from meterseal.meter import Meter, MeterServer, credentials_of, load_plan
from meterseal.meter.blueprint import Blueprint
from meterseal.meter.plan import MeterPlan
from meterseal.net import CallingLink, Line
from meterseal.state import MemoryCounters

SOON = 30.0
ENERGY = "3/1.0.1.8.0.255:2"


@cache
def blueprint(device: int = 17) -> tuple[MeterPlan, Blueprint]:
    """A small plan of the first preset at a physical address, and its blueprint."""
    from dataclasses import replace

    plan = replace(load_plan(), days=1, physical_address=device)
    return plan, Blueprint(plan)


def new_meter(device: int = 17) -> Meter:
    """A meter in memory with keys and a title of its own."""
    plan, shared = blueprint(device)
    return Meter(plan, blueprint=shared)


@cache
def own_plan() -> MeterPlan:
    return management.plan({})


class Through(Line):
    """A line to the meter of one route: what is sent gets its prefix, what is received loses it."""

    prefix: gateway.Prefix

    async def __aenter__(self) -> Through:
        return self

    async def send(self, source: int, destination: int, payload: bytes) -> None:
        await super().send(source, destination, gateway.encode(self.prefix, payload))

    async def take(self) -> bytes:
        """The next answer, without its prefix."""
        prefix, apdu = gateway.decode((await self.receive(SOON))[2])
        assert prefix == self.prefix.answer()
        return apdu


async def through(url: str, route: Route) -> Through:
    """A bare line to the meter of a route, by way of the concentrator."""
    made: list[Through] = []

    def make(link: CallingLink) -> Through:
        made.append(Through(link))
        made[-1].prefix = gateway.Prefix(True, *route.key)
        return made[-1]

    await net.call(net.parse(url), make)
    return made[0]


def by_way_of(url: str, route: Route) -> str:
    """The URL of a route's meter."""
    return f"{url}?gateway={route.network}/{route.address.hex()}"


class Yard:
    """What a test sees: the concentrator, its routes by name, the credentials of the meters behind them."""

    def __init__(self, house: Concentrator, credentials: dict[str, Credentials]) -> None:
        self.house, self.credentials = house, credentials
        self.counters = MemoryCounters()
        self.meters: list[Meter] = []
        self.servers: list[MeterServer] = []

    def route(self, name: str) -> Route:
        return next(route for route in self.house.config.routes if route.name == name)

    @asynccontextmanager
    async def sign_on(
        self, name: str, role: str = "operator", keys: str | None = None, **wishes: Any
    ) -> AsyncIterator[meterseal.Meter]:
        """A client at a meter, by way of the concentrator; with `keys` those of another meter."""
        url, credentials = by_way_of(self.house.url, self.route(name)), self.credentials[keys or name]
        async with meterseal.connect(url, credentials, role, counters=self.counters, **wishes) as meter:
            yield meter

    async def raw(self, apdu: bytes, name: str | None = None, client: int = 16, server: int = 1) -> bytes:
        """One APDU on a line of its own, under a route's prefix; the payload that comes back."""
        async with await net.connect(self.house.url) as line:
            if name is not None:
                apdu = gateway.encode(gateway.Prefix(True, *self.route(name).key), apdu)
            await line.send(client, server, apdu)
            return (await line.receive(SOON))[2]


async def relay(stack: AsyncExitStack, urls: list[str]) -> str:
    """A bus: what is said on the one connection reaches all devices, and what they say comes back on it."""
    tasks: set[asyncio.Task[None]] = set()
    writers_open: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        with suppress(OSError):
            while octets := await reader.read(4096):
                for writer in writers:
                    writer.write(octets)
        for writer in writers:
            writer.close()

    async def bus(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers_open.append(writer)
        ends = [await asyncio.open_connection(*_place(url)) for url in urls]
        writers_open.extend(end for _, end in ends)
        both = [pump(reader, [end for _, end in ends]), *(pump(device, [writer]) for device, _ in ends)]
        made = {asyncio.ensure_future(one) for one in both}
        tasks.update(made)

    async def leave() -> None:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers_open:
            writer.transport.abort()
        await asyncio.sleep(0)

    server = await asyncio.start_server(bus, "127.0.0.1", 0)
    stack.push_async_callback(leave)
    return f"hdlc+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _place(url: str) -> tuple[str, int]:
    found = net.parse(url)
    return found.host, found.port


@asynccontextmanager
async def yard(
    folder: Path,
    *,
    direct: int = 1,
    bus: int = 0,
    pinned: bool = True,
    change: Callable[[str, str], str] = lambda name, url: url,
    shared: Callable[[SharedLine], SharedLine] = lambda line: line,
    **config: Any,
) -> AsyncIterator[Yard]:
    """Meters `tcp-1`.. on TCP and `bus-1`.. on one line; `change` may put somebody else where a meter is.

    `shared` may change what is said of the line.
    """
    async with AsyncExitStack() as stack:
        credentials, routes, devices = {}, [], []
        meters, servers = list[Meter](), list[MeterServer]()
        names = [f"tcp-{at + 1}" for at in range(direct)] + [f"bus-{at + 1}" for at in range(bus)]
        for at, name in enumerate(names, 1):
            on_bus = name.startswith("bus")
            meter = new_meter(20 + at) if on_bus else new_meter()
            stack.callback(meter.close)
            scheme = "hdlc+tcp" if on_bus else "tcp"
            server = await stack.enter_async_context(MeterServer(meter, url=f"{scheme}://127.0.0.1:0"))
            meters.append(meter)
            servers.append(server)
            credentials[name] = credentials_of(meter, "tcp://127.0.0.1:1")
            where: dict[str, Any] = {"url": change(name, server.url)}
            if on_bus:
                devices.append(where.pop("url"))
                where = {"device": 20 + at}
            title = meter.system_title if pinned else None
            routes.append(
                Route(name=name, network=1, address=bytes((at,)), title=title, servers=(1, 17), **where)
            )
        if bus:
            line = shared(SharedLine(name="bus", url=await relay(stack, devices), address_size=4))
            from dataclasses import replace

            routes = [replace(route, line=line) if route.device else route for route in routes]
        own = Meter(own_plan(), folder / "own")
        stack.callback(own.close)
        house = Concentrator(Config(routes=tuple(routes), **config), own, folder)
        made = Yard(await stack.enter_async_context(house), credentials)
        made.meters, made.servers = meters, servers
        yield made
