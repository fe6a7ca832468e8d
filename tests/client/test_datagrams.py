"""The client and the meter over UDP, through a network that loses, repeats and reorders (C11, H08, A15)."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal import Credentials, sync
from meterseal.client import Read, Value
from meterseal.cosem.obis import Obis
from meterseal.errors import TimedOut
from meterseal.framing import wrapper
from meterseal.meter import MeterServer, load_plan, open_meter, write_credentials
from meterseal.meter.events import Events
from meterseal.net import WireLog
from tests.client.conftest import PATIENCE, wait_for_answers
from tests.net.parties import SOON

OBJECTS = ["1.0.1.8.0.255", "0.0.1.0.0.255", "0.0.42.0.0.255"]


@pytest.fixture
async def credentials(tmp_path: Path) -> AsyncIterator[Path]:
    """The credentials file of a meter that listens for datagrams."""
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0"), tmp_path / "meter", stack)
        async with MeterServer(meter, url="udp://127.0.0.1:0") as server:
            path = tmp_path / "meter.toml"
            write_credentials(meter, path, server.url)
            yield path


Fate = Callable[[bool, bytes], list[bytes]]
"""Is it on its way to the meter, and its octets: what arrives."""


def passed_on(to_meter: bool, octets: bytes) -> list[bytes]:
    """A network as it should be."""
    return [octets]


class Network(asyncio.DatagramProtocol):
    """Stands between one client and a meter: `fate` says what arrives in place of a datagram."""

    def __init__(self, url: str) -> None:
        self._meter = url.rpartition(":")[2]
        self._client: Any = None
        self.fate: Fate = passed_on

    async def open(self) -> str:
        loop = asyncio.get_running_loop()
        here: Any = ("127.0.0.1", 0)
        self._near, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=here)
        there: Any = ("127.0.0.1", int(self._meter))
        self._far, _ = await loop.create_datagram_endpoint(lambda: _Back(self), remote_addr=there)
        return f"udp://127.0.0.1:{self._near.get_extra_info('sockname')[1]}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._client = addr
        for octets in self.fate(True, data):
            self._far.sendto(octets)

    def back(self, data: bytes) -> None:
        for octets in self.fate(False, data):
            self._near.sendto(octets, self._client)

    def close(self) -> None:
        self._near.close()
        self._far.close()


class _Back(asyncio.DatagramProtocol):
    def __init__(self, network: Network) -> None:
        self._network = network

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._network.back(data)


@pytest.fixture
async def network(credentials: Path) -> AsyncIterator[tuple[Network, str]]:
    """A network before the meter, and the URL of its near side."""
    network = Network(Credentials.load(credentials).meter.url or "")
    url = await network.open()
    yield network, url
    network.close()


@pytest.mark.parametrize("role", ["operator", "installer", "manager", "public"])
async def test_every_role_over_udp(credentials: Path, role: str) -> None:
    async with meterseal.connect(credentials=credentials, role=role) as meter:
        assert (await meter.read("8/0.0.1.0.0.255:2")).value is not None
        if role == "operator":
            rows = await meter.profile("1.0.99.1.0.255", entries=(1, 500))
            assert len(rows) == 500


async def test_F16_a_long_answer_to_who_has_proved_nothing_comes_in_small_blocks(
    credentials: Path, tmp_path: Path
) -> None:
    """The public client's object list: whole, though no more than thrice what it sends goes back."""
    log = tmp_path / "wire.jsonl"
    with WireLog(log) as wires:
        async with meterseal.connect(credentials=credentials, role="public", wire_log=wires) as meter:
            names = {str(one.obis) for one in await meter.object_list()}
        with credentials.open("a") as file:
            file.write("[roles.public.peer]\nprefers_gbt = true\n")
        async with meterseal.connect(credentials=credentials, role="public", wire_log=wires) as meter:
            (listed,) = await meter.access([Read("15/0.0.40.0.0.255:2")])
    assert isinstance(listed, Value) and "0.0.42.0.0.255" in names
    assert len(names) == len(listed.value) >= 4
    sent = got = 0
    for line in log.read_text().splitlines():
        frame = json.loads(line)
        octets = len(frame["hex"]) // 2
        sent, got = (sent + octets, got) if frame["direction"] == "out" else (sent, got + octets)
        assert got <= 3 * sent
    async with meterseal.connect(credentials=credentials, role="operator") as meter:
        await meter.object_list()  # who has signed on gets it in one piece


@pytest.mark.parametrize("takes", [0, 0xFFFF], ids=["no limit", "more than a datagram"])
async def test_F16_an_answer_never_grows_beyond_a_datagram(credentials: Path, takes: int) -> None:
    """Whatever the client says that it takes: what is longer than the line carries goes in blocks."""
    given = Credentials.load(credentials)
    roles = {"operator": replace(given.role("operator"), max_pdu=takes)}
    async with meterseal.connect(credentials=replace(given, roles=roles), role="operator") as meter:
        rows = await meter.profile("1.0.99.1.0.255", entries=(1, 3000))
        assert len(rows) == 3000
        assert (await meter.read("8/0.0.1.0.0.255:2")).value is not None


async def test_the_blocking_twin_over_udp(credentials: Path, tmp_path: Path) -> None:
    def read() -> list[Any]:
        with sync.connect(credentials=credentials, role="operator") as meter:
            return meter.read_many(OBJECTS)

    found = await asyncio.to_thread(read)
    assert [one.error for one in found] == [None] * 3


async def test_C11_reading_through_a_network_that_repeats_and_reorders(
    credentials: Path, network: tuple[Network, str]
) -> None:
    chance, held = random.Random(11), list[bytes]()

    def fate(to_meter: bool, octets: bytes) -> list[bytes]:
        arriving = [octets] * (2 if chance.random() < 0.2 else 1)
        if held and chance.random() < 0.5:
            arriving.insert(0, held.pop())
        if to_meter and chance.random() < 0.2:
            held.append(octets)
        return arriving

    between, url = network
    between.fate = lambda to_meter, octets: fate(to_meter, octets) if to_meter else [octets, octets]
    async with meterseal.connect(url, credentials=credentials, role="manager") as meter:
        for number in range(25):
            name = f"{number:064X}"
            await meter.write("1/0.0.96.1.10.255:2", f"os:{name}")
            assert (await meter.read("1/0.0.96.1.10.255:2")).value == bytes.fromhex(name)


async def test_H07_with_thirty_per_cent_lost_who_asks_again_gets_there(
    credentials: Path, network: tuple[Network, str]
) -> None:
    """Each request that is lost, or whose answer is, is a TimedOut; no write is done by an earlier one."""
    chance = random.Random(7)
    between, url = network
    lost = 0
    async with meterseal.connect(url, credentials=credentials, role="manager") as meter:
        between.fate = lambda to_meter, octets: [] if chance.random() < 0.3 else [octets]
        for number in range(8):
            found, missed = None, 0
            while True:
                wait_for_answers(meter, 0.04 * 1.2**missed)
                try:
                    await meter.write("1/0.0.96.1.10.255:2", f"os:{number:02X}")
                    found = (await meter.read("1/0.0.96.1.10.255:2")).value
                except TimedOut:
                    lost += 1
                    missed += 1
                else:
                    break
            assert found == bytes((number,))
        between.fate = passed_on
    assert lost


async def test_H08_an_answer_that_is_late_is_never_the_next_one(
    credentials: Path, network: tuple[Network, str]
) -> None:
    between, url = network
    late: list[bytes] = []

    def answers_are_late(to_meter: bool, octets: bytes) -> list[bytes]:
        if to_meter:
            return [octets]
        late.append(octets)
        return []

    async with meterseal.connect(url, credentials=credentials, role="operator") as meter:
        between.fate = answers_are_late
        meter._session._exchange.timeout = 0.05
        with pytest.raises(TimedOut):
            await meter.get(1, Obis("0.0.42.0.0.255"), 2)
        meter._session._exchange.timeout = SOON
        between.fate = lambda to_meter, octets: [octets] if to_meter else [*late, octets, *late]
        for _ in range(5):
            clock = await meter.get(8, Obis("0.0.1.0.0.255"), 2)
            assert clock[:2] == b"\x09\x0c"  # a date-time, never the name of the device
        assert late


async def test_a_lost_request_is_a_typed_error_and_the_association_goes_on(
    credentials: Path, network: tuple[Network, str]
) -> None:
    """Nothing is sent again under the same counter: the meter would not take it, and an answer may exist."""
    between, url = network
    sent: list[bytes] = []

    def lost(to_meter: bool, octets: bytes) -> list[bytes]:
        sent.append(octets)
        return []

    async with meterseal.connect(url, credentials=credentials, role="operator") as meter:
        between.fate = lost
        meter._session._exchange.timeout = 0.05
        with pytest.raises(TimedOut):
            await meter.get(1, Obis("0.0.42.0.0.255"), 2)
        between.fate = passed_on
        meter._session._exchange.timeout = SOON
        assert (await meter.read("0.0.42.0.0.255")).value
    assert len(sent) == 1


async def test_a_time_out_tells_what_was_passed_over(credentials: Path, network: tuple[Network, str]) -> None:
    between, url = network
    stranger = wrapper.encode(1, 2, bytes.fromhex("D80105"))
    async with meterseal.connect(url, credentials=credentials, role="operator") as meter:
        between.fate = lambda to_meter, octets: [octets] if to_meter else [stranger]
        for seconds in PATIENCE:
            wait_for_answers(meter, seconds)
            with pytest.raises(TimedOut) as late:
                await meter.get(1, Obis("0.0.42.0.0.255"), 2)
            if "deciphering-error" in str(late.value):
                break
        else:
            pytest.fail("the cause was not said")
        between.fate = passed_on
        meter._session._exchange.timeout = SOON
        assert (await meter.read("0.0.42.0.0.255")).value


async def test_A15_another_address_is_not_in_the_association(credentials: Path, tmp_path: Path) -> None:
    """The very next request of an open association, sent from another socket, finds none there."""
    wires = WireLog(tmp_path / "wires")
    url = Credentials.load(credentials).meter.url or ""
    async with meterseal.connect(credentials=credentials, role="operator", wire_log=wires) as meter:
        await meter.read("0.0.42.0.0.255")
        entries = [json.loads(line) for line in (tmp_path / "wires").read_text().splitlines()]
        request = bytes.fromhex([entry["hex"] for entry in entries if entry["direction"] == "out"][-1])
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        class Other(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                answers.put_nowait(data)

        there: Any = ("127.0.0.1", int(url.rpartition(":")[2]))
        transport, _ = await loop.create_datagram_endpoint(Other, remote_addr=there)
        transport.sendto(request)
        async with asyncio.timeout(SOON):
            assert (await answers.get())[8:] == bytes.fromhex("D80101")
        transport.close()
        assert (await meter.read("0.0.42.0.0.255")).value
    wires.close()


async def test_F16_failed_sign_ons_over_udp_end_nothing(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad AARQs under a good client's own address neither end its association nor hold it up."""
    refused: list[str] = []
    monkeypatch.setattr(Events, "refused", lambda self, who, error, during: refused.append(during))
    async with meterseal.connect(credentials=credentials, role="operator") as meter:
        bad = bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFF")
        for _ in range(100):
            await meter._driver.line.send(2, 1, bad)
        async with asyncio.timeout(SOON):
            assert (await meter.read("0.0.42.0.0.255")).value
    assert "signing on" in refused
