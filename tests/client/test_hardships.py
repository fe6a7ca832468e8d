"""Lines that are cut and meters that start anew, as the client sees them: H06, H07, H09 on every wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal import Credentials
from meterseal.errors import AuthenticationFailed, ConnectionLost, Refused, TimedOut
from meterseal.meter import MeterServer, load_plan, open_meter, write_credentials
from meterseal.meter.running import credentials_of

ENERGY, POINT = "1.0.1.8.0.255", "1/0.0.96.1.10.255:2"
SCHEMES = ["tcp", "udp", "hdlc+tcp"]
MORE = """[[objects]]
class = 1
obis = "0.0.96.1.77.255"
type = "os"
value = "CAFE"
"""


class House:
    """A meter on a port that stays the same, however often it starts anew."""

    def __init__(self, folder: Path, scheme: str) -> None:
        self.folder, self.scheme, self.port = folder, scheme, 0
        self.file = folder / "meter.toml"

    @asynccontextmanager
    async def running(
        self, state: str = "state", config: str = "", preset: str = "suite0"
    ) -> AsyncIterator[Any]:
        path = self.folder / "config.toml"
        path.write_text(config)
        with ExitStack() as stack:
            meter = open_meter(load_plan(preset, path), self.folder / state, stack)
            url = f"{self.scheme}://127.0.0.1:{self.port}"
            async with MeterServer(meter, url=url) as server:
                self.port = server.port
                if not self.file.exists():
                    write_credentials(meter, self.file, server.url)
                yield meter


@pytest.fixture(params=SCHEMES)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    return House(tmp_path, request.param)


async def fails(house: House, meter: Any) -> None:
    """The next request ends in a typed error: the association is gone, or nobody has one."""
    meter._session._exchange.timeout = 1.0
    with pytest.raises((ConnectionLost, TimedOut, Refused)):
        await meter.read("1/0.0.42.0.0.255:2")


async def test_H09_a_meter_that_starts_anew_in_mid_session(house: House) -> None:
    """The association is gone and says so; keys and counters hold for the next one."""
    async with house.running():
        going = meterseal.connect(credentials=house.file, role="manager")
        meter = await going.__aenter__()
        await meter.write(POINT, "os:01")
    async with house.running(config=MORE):
        await fails(house, meter)
        meter.drop()
        await going.__aexit__(None, None, None)
        async with meterseal.connect(credentials=house.file, role="manager") as again:
            assert (await again.read(POINT)).value == b"\x01", "what was written is there"
            # What it is now is read anew: an object that the firmware before did not have.
            assert (await again.read("0.0.96.1.77.255")).value == b"\xca\xfe"


async def test_H09_another_meter_in_its_place(house: House) -> None:
    """Another title and other keys: refused by name, and nothing of what is known is lost by it."""
    async with house.running(), meterseal.connect(credentials=house.file, role="manager") as meter:
        await meter.write(POINT, "os:02")
    for change in ({"state": "other"}, {"state": "suite1", "preset": "suite1"}):
        async with house.running(**change):
            with pytest.raises((AuthenticationFailed, Refused)):
                async with meterseal.connect(credentials=house.file, role="manager", timeout=60.0):
                    pass
    async with house.running(), meterseal.connect(credentials=house.file, role="manager") as meter:
        assert (await meter.read(POINT)).value == b"\x02"


async def test_H09_another_title_under_the_same_keys(tmp_path: Path) -> None:
    """Pinned at the first sign-on: the meter that now says it is another one is not believed."""
    keys = f'[roles.operator]\nguek = "{7:032X}"\ngak = "{8:032X}"\n'
    house = House(tmp_path, "tcp")
    async with house.running(config='[meter]\nsystem_title = "4D534C0000000001"\n' + keys) as meter:
        known = credentials_of(meter, f"tcp://127.0.0.1:{house.port}")
    known = Credentials(replace(known.meter, system_title=None), {"operator": known.role("operator")})
    for title, state in (("4D534C0000000001", "one"), ("4D534C0000000002", "two")):
        config = f'[meter]\nsystem_title = "{title}"\n{keys}'
        async with house.running(state=state, config=config):
            if state == "one":
                async with meterseal.connect(credentials=known, state=tmp_path / "client") as first:
                    assert first.system_title == bytes.fromhex(title)
            else:
                with pytest.raises(AuthenticationFailed, match="4D534C0000000002"):
                    async with meterseal.connect(credentials=known, state=tmp_path / "client"):
                        pass


# --- a network that is cut --------------------------------------------------------------------------


class Relay:
    """Between client and meter: each way can be cut, and what comes meanwhile waits (as TCP has it)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.ways = {"there": asyncio.Event(), "back": asyncio.Event()}
        self._tasks: set[asyncio.Task[None]] = set()
        self.heal()

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self, *ways: str) -> None:
        for way in ways:
            self.ways[way].clear()

    def heal(self) -> None:
        for way in self.ways.values():
            way.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        for way, source, sink in (("there", reader, far_writer), ("back", far_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pump(self.ways[way], source, sink)))

    async def _pump(
        self, way: asyncio.Event, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        try:
            while octets := await source.read(65536):
                await way.wait()
                sink.write(octets)
        except OSError:
            pass
        finally:
            sink.close()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.parametrize("scheme", ["tcp", "hdlc+tcp"])
@pytest.mark.parametrize("ways", [("there",), ("back",), ("there", "back")], ids=["there", "back", "both"])
async def test_H06_a_cut_line_is_a_time_out_and_what_heals_goes_on(
    tmp_path: Path, scheme: str, ways: tuple[str, ...]
) -> None:
    """What was asked meanwhile ends in TimedOut; late answers are nobody's; a new sign-on always works."""
    house = House(tmp_path, scheme)
    async with house.running():
        relay = Relay(house.port)
        url = f"{scheme}://127.0.0.1:{await relay.open()}"
        async with meterseal.connect(url, house.file, role="manager") as meter:
            await meter.write(POINT, "os:0A")
            if scheme != "tcp":  # the line is given up soon, once it is cut
                station = meter._driver.line.link._station  # type: ignore[attr-defined]
                station.timing = replace(station.timing, response=0.2)
            relay.cut(*ways)
            meter._session._exchange.timeout = 0.05
            for number in range(3):
                with pytest.raises(TimedOut if scheme == "tcp" else (TimedOut, ConnectionLost)):
                    await meter.write(POINT, f"os:{number:02X}")
            meter._session._exchange.timeout = 60.0
            relay.heal()
            if scheme == "tcp":
                assert (await meter.read(ENERGY)).unit == "Wh", "the answers that were late are not this one"
                assert (await meter.read(POINT)).value == b"\x02", "what was on its way arrived, in order"
            meter.drop()
        async with meterseal.connect(url, house.file, role="manager") as meter:
            assert (await meter.read(ENERGY)).unit == "Wh"
        await relay.close()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_H07_apdus_of_at_most_128_octets_to_the_client(tmp_path: Path, scheme: str) -> None:
    house = House(tmp_path, scheme)
    config = "[roles.manager]\nmax_pdu = 256\n"
    async with house.running(config=config):
        async with meterseal.connect(credentials=house.file, role="manager", max_pdu=128) as meter:
            assert meter.max_pdu == 256
            value = bytes(range(250))
            await meter.write(POINT, f"os:{value.hex()}")
            assert (await meter.read(POINT)).value == value
        async with meterseal.connect(credentials=house.file, role="operator", max_pdu=128) as meter:
            assert len(await meter.profile("1.0.99.1.0.255", entries=(1, 20))) == 20
