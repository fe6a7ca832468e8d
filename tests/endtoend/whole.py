"""All parties in one process, over real sockets: meter, concentrator, head-end with its API, utility."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from meterseal.concentrator import Concentrator, Route, SharedLine, management
from meterseal.concentrator import Config as Yard
from meterseal.cosem.obis import Obis
from meterseal.credentials import Credentials
from meterseal.demo.street import HEADEND_TITLE, ROLE, UTILITY, UTILITY_TITLE
from meterseal.demo.street_meters import PUSH, meter_text
from meterseal.headend import Config, HeadEnd, MeterEntry, Served, store
from meterseal.headend import Utility as Served_for
from meterseal.headend.journal import Journal
from meterseal.headend.tls import fingerprint
from meterseal.meter import Meter, MeterServer, load_plan, write_credentials
from meterseal.meter.blueprint import Blueprint
from meterseal.meter.plan import MeterPlan
from meterseal.meter.push import PushSetup
from meterseal.meter.values import Held
from meterseal.net import WireLog, parse
from meterseal.security.sealed import Sealed
from meterseal.state import MemoryCounters
from meterseal.utility import SealedMeter
from meterseal.utility.over_https import Via
from tests.endtoend.between import Between, lossy
from tests.headend.home import authority, party

SOON = 30.0
Carry = Callable[[Sealed], Awaitable[Sealed]]


@cache
def _blueprint(suite: int, text: str) -> tuple[MeterPlan, Blueprint]:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        # Pushed when a test says so, and not also where a minute happens to begin.
        file.write(text.replace("interval = 60\n", ""))
        file.flush()
        plan = replace(load_plan(f"suite{suite}", file.name), days=2)
    return plan, Blueprint(plan)


def new_meter(suite: int) -> Meter:
    """A meter of the street, in memory."""
    plan, shared = _blueprint(suite, meter_text(suite))
    return Meter(plan, blueprint=shared)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is bound to happen."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def until_some(look: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """What is found, once there is something."""
    async with asyncio.timeout(SOON):
        while not (found := await look()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return found


class Whole:
    """What a test sees of all parties."""

    def __init__(self, folder: Path, meter: Meter, server: MeterServer) -> None:
        self.folder, self.meter, self.server = folder, meter, server
        self.journal = io.StringIO()
        self.house: HeadEnd
        self.via: Via
        self.yard: Concentrator | None = None
        self.front: Between
        """Between head-end and concentrator, where a test wants it."""
        self.back: Between
        """In front of the meter."""
        self.credentials: Credentials
        self.counters = MemoryCounters()

    def utility(self, carry: Carry | None = None, **more: Any) -> SealedMeter:
        """The utility's end, by way of the API or of whoever stands before it."""
        more = {"counters": self.counters, "timeout": SOON, **more}
        return SealedMeter(self.credentials, carry or self.via.carry, **more)

    @property
    def push_setup(self) -> PushSetup:
        """The meter's push setup for the utility."""
        found = self.meter.devices[1].objects[40, Obis(PUSH)]
        assert isinstance(found, PushSetup)
        return found

    def push(self, where: str | None = None) -> None:
        """Let the meter push, to the head-end, or to the concentrator in front of it, or to `where`."""
        setup = self.push_setup
        own = self.house.pushes.urls[0] if self.yard is None else self.yard.inlets[0].url
        url = parse(where or own)
        destination = ("tcp", "udp").index(url.scheme), f"{url.host}:{url.port}".encode(), 0
        setup.values[3] = (destination, setup.values[3][1])
        setup.push()

    async def waiting(self, count: int = 1) -> list[dict[str, Any]]:
        """The pushes that wait for the utility, once there are so many."""
        async with asyncio.timeout(SOON):
            while True:
                coming = self.house.pushes.coming(self.house.config.utilities[0])
                found = await self.house.store.run(store.pushes_of("utility", None, 100))
                if len(found) >= count:
                    return found
                await coming.wait()

    async def answer(self, path: str) -> str:
        """What the API says to the utility, as it is on the wire."""
        return (await self.via._client.get(f"/v1/{path}")).text

    def held(self) -> bytes:
        """All that the head-end keeps in files, its journal included."""
        files = [path.read_bytes() for path in (self.folder / "headend").rglob("*") if path.is_file()]
        return b"".join(files) + self.journal.getvalue().encode()


@asynccontextmanager
async def whole(
    folder: Path,
    suite: int = 1,
    *,
    behind: bool = False,
    linger: float = 0.05,
    between: bool = False,
    lost: int | None = None,
    timeout: float = 10.0,
    wires: WireLog | None = None,
    **more: Any,
) -> AsyncIterator[Whole]:
    """Everything up, with one meter; `more` stands in the head-end's configuration.

    `behind` a concentrator; `between` puts a middle on the lines to the meter.  With `lost` the meter behind
    the concentrator is on a line with HDLC in short frames, of which each one with this number is
    lost (0: none).
    """
    async with AsyncExitStack() as stack:
        meter = new_meter(suite)
        stack.callback(meter.close)
        server = MeterServer(meter, url=f"{'tcp' if lost is None else 'hdlc+tcp'}://127.0.0.1:0")
        await server.start()
        made = Whole(folder, meter, server)
        stack.push_async_callback(lambda: made.server.close())
        url, where = server.url, dict[str, Any]()
        if between:
            made.back = await stack.enter_async_context(Between(url))
            url = made.back.url
        if lost is not None:
            line = await stack.enter_async_context(lossy(url, lost))
            where = {"line": SharedLine(name="bus", url=f"{line}?frame_size=128&window=1"), "device": 17}
        if behind:
            own = Meter(management.plan({}), folder / "own")
            stack.callback(own.close)
            where = where or {"url": url}
            route = Route(name="m", network=1, address=b"\1", title=meter.system_title, **where)
            config = Yard(routes=(route,), pushes=("tcp://127.0.0.1:0",), timeout=timeout)
            made.yard = await stack.enter_async_context(Concentrator(config, own, folder))
            url = made.yard.url
            if between:
                made.front = await stack.enter_async_context(Between(url))
                url = made.front.url
            url += "?gateway=1/01"
        path = folder / "meter.toml"
        write_credentials(meter, path, url)
        held = Credentials.load(path)
        own_cert, own_key = party(HEADEND_TITLE).files(folder, "hes")
        cert, key = party(UTILITY_TITLE).files(folder, "utility")
        (folder / "root.pem").write_bytes(authority("root").certificate.to_pem())
        tls: dict[str, Any] = {"tls_key": str(key), "tls_certificate": str(cert), "head_end": str(own_cert)}
        third = replace(held.third_party(), **tls)
        made.credentials = replace(held, roles={}, third_parties={UTILITY: third})
        entry = MeterEntry(name="m", title=meter.system_title, credentials=held.cut(ROLE), role=ROLE)
        served_for = Served_for(
            name="utility", fingerprints=frozenset({fingerprint(party(UTILITY_TITLE).der)}),
            titles=frozenset({UTILITY_TITLE}), meters=frozenset({meter.system_title}), rate=10_000,
        )  # fmt: skip
        setup = Config(
            certificate=own_cert, key=own_key, clients=(folder / "root.pem",), linger=linger,
            utilities=(served_for,), meters=(entry,), **more,
        )  # fmt: skip
        house = HeadEnd(setup, folder / "headend", Journal(made.journal), wires)
        made.house = await stack.enter_async_context(house)
        if made.yard is not None and house.pushes.urls:
            told = made.yard.own.devices[1].objects[1, management.HEAD_END]
            assert isinstance(told, Held)
            told._set(house.pushes.urls[0])
        served = await stack.enter_async_context(Served(made.house))
        made.via = await stack.enter_async_context(Via(served.url, made.credentials, timeout=SOON))
        yield made
