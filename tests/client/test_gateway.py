"""Meters behind a gateway: the prefix on every wire, and what a gateway may do wrong or maliciously (E08)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import meterseal
from meterseal import Credentials, net, sync
from meterseal.credentials import MeterCredentials
from meterseal.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DecodeError,
    MetersealError,
    ProtocolViolation,
    Refused,
    TimedOut,
    Unsupported,
)
from meterseal.framing import gateway
from meterseal.meter import MeterServer, load_plan, open_meter
from meterseal.meter.running import credentials_of
from meterseal.meter.server import Party
from meterseal.net import Answering, WireLog
from tests.client.conftest import PATIENCE, wait_for_answers
from tests.net.gateway import Cheat, Gateway, honest

NEAR, LONG = (1, b"SER12345"), (2, bytes(range(255)))
"""Two devices, one of them with the longest address there is."""

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCHEMES = ["tcp", "udp", "hdlc+tcp"]
CLOCK = "8/0.0.1.0.0.255:2"


class World:
    """Two meters behind one gateway that listens by every scheme."""

    def __init__(
        self,
        gate: Gateway,
        known: dict[tuple[int, bytes], Credentials],
        ports: dict[str, int],
        state: Path,
    ) -> None:
        self.gate, self._known, self._ports, self.state = gate, known, ports, state

    def credentials(self, scheme: str, device: tuple[int, bytes] = NEAR, **changes: Any) -> Credentials:
        known = self._known[device]
        url = f"{scheme}://127.0.0.1:{self._ports[scheme]}?gateway={device[0]}/{device[1].hex()}"
        hdlc: dict[str, Any] = {"server_address": (1, 17), "address_size": 1} if "hdlc" in scheme else {}
        return Credentials(replace(known.meter, url=url, **hdlc, **changes), known.roles)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("gateway")
    loop = asyncio.get_running_loop()
    gate, known, ports = Gateway({}), {}, {}
    with ExitStack() as stack:
        for number, device in enumerate((NEAR, LONG)):
            meter = open_meter(load_plan("suite0"), folder / str(number), stack)
            gate.devices[device] = Party(meter, loop).session
            known[device] = credentials_of(meter)
        async with AsyncExitStack() as open_lines:
            for scheme in SCHEMES:
                server = await net.listen(
                    net.parse(f"{scheme}://127.0.0.1:0"), gate, hdlc=Answering({1}.__contains__, 17, (1,))
                )
                open_lines.push_async_callback(server.close)
                ports[scheme] = server.port
            yield World(gate, known, ports, folder / "clients")


@pytest.fixture
def world(behind: World) -> World:
    behind.gate.cheat = honest
    behind.gate.asked.clear()
    return behind


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("device", [NEAR, LONG], ids=["near", "long"])
async def test_reading_through_a_gateway(
    world: World, scheme: str, device: tuple[int, bytes], tmp_path: Path
) -> None:
    log = tmp_path / "wire.jsonl"
    credentials = world.credentials(scheme, device)
    with WireLog(log) as wires:
        async with meterseal.connect(
            credentials=credentials, role="operator", state=world.state, wire_log=wires
        ) as meter:
            rows = await meter.profile("1.0.99.1.0.255", entries=(1, 200))
            name = (await meter.read("0.0.42.0.0.255")).value
    assert len(rows) == 200 and name
    assert {(one.network, one.address) for one, _ in world.gate.asked} == {device}
    assert all(one.request for one, _ in world.gate.asked)
    if scheme != "hdlc+tcp":  # there the frames are pieces
        prefixes = {bytes.fromhex(json.loads(line)["hex"])[8] for line in log.read_text().splitlines()}
        assert prefixes == {0xE6, 0xE7}


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_blocking_twin_through_a_gateway(world: World, scheme: str) -> None:
    def read() -> Any:
        with sync.connect(credentials=world.credentials(scheme), role="operator", state=world.state) as meter:
            return len(meter.profile("1.0.99.1.0.255", entries=(1, 50)))

    assert await asyncio.to_thread(read) == 50


async def test_the_prefix_counts_within_the_sizes_both_ways(world: World, tmp_path: Path) -> None:
    log = tmp_path / "wire.jsonl"
    with WireLog(log) as wires:
        async with meterseal.connect(
            credentials=world.credentials("tcp", LONG), role="manager", state=world.state, max_pdu=700,
            wire_log=wires,
        ) as meter:  # fmt: skip
            assert meter.max_pdu == load_plan("suite0").roles[0].max_pdu - 258
            await meter.object_list()
    frames = [json.loads(line) for line in log.read_text().splitlines()]
    sizes = [len(frame["hex"]) // 2 - 8 for frame in frames if frame["direction"] == "in"]
    assert 600 < max(sizes) <= 700


async def test_every_device_has_a_pinned_title_of_its_own(world: World) -> None:
    for device in (NEAR, LONG):
        credentials = world.credentials("tcp", device, system_title=None)
        async with meterseal.connect(credentials=credentials, role="operator", state=world.state) as meter:
            assert meter.system_title == world.credentials("tcp", device).meter.system_title


FOREIGN: dict[str, Cheat] = {
    "network": lambda prefix, apdu: [gateway.encode(prefix._replace(network=9), apdu)],
    "device": lambda prefix, apdu: [gateway.encode(prefix._replace(address=b"SER54321"), apdu)],
    "longer": lambda prefix, apdu: [gateway.encode(prefix._replace(address=prefix.address + b"\0"), apdu)],
    "longest": lambda prefix, apdu: [gateway.encode(prefix._replace(address=bytes(255)), apdu)],
    "empty": lambda prefix, apdu: [gateway.encode(prefix._replace(address=b""), apdu)],
    "request": lambda prefix, apdu: [gateway.encode(prefix._replace(request=True), apdu)],
    "none": lambda prefix, apdu: [apdu],
    "nested": lambda prefix, apdu: [gateway.encode(prefix, b"?")[:-1] + gateway.encode(prefix, apdu)],
    "cut": lambda prefix, apdu: [gateway.encode(prefix, apdu)[:5]],
    "nothing": lambda prefix, apdu: [b"\xe7"],
}  # fmt: skip


@pytest.mark.parametrize("cheat", FOREIGN.values(), ids=FOREIGN)
async def test_E08_an_answer_with_another_prefix_is_no_answer(world: World, cheat: Cheat) -> None:
    async with meterseal.connect(
        credentials=world.credentials("tcp"), role="operator", state=world.state
    ) as meter:
        world.gate.cheat = cheat
        with pytest.raises((ProtocolViolation, DecodeError), match=r"prefix|network"):
            await meter.read(CLOCK)
        world.gate.cheat = honest  # the association goes on
        assert (await meter.read(CLOCK)).value is not None
        world.gate.cheat = cheat
        with pytest.raises(MetersealError, match=r"prefix|network"):
            await meter.read(CLOCK)
        world.gate.cheat = honest


async def test_E08_a_sign_on_that_another_device_answers_fails(world: World) -> None:
    world.gate.cheat = FOREIGN["device"]
    with pytest.raises(ProtocolViolation, match="from network 1, device 5345523534333231"):
        async with meterseal.connect(
            credentials=world.credentials("tcp"), role="operator", state=world.state
        ):
            pass


async def test_E08_another_meter_under_the_right_prefix_is_known_by_its_title(world: World) -> None:
    """The prefix is not protected: what the gateway mixes up, title and keys tell apart."""
    devices = dict(world.gate.devices)
    world.gate.devices[NEAR], world.gate.devices[LONG] = devices[LONG], devices[NEAR]
    try:
        with pytest.raises((AuthenticationFailed, Refused)):
            async with meterseal.connect(
                credentials=world.credentials("tcp"), role="operator", state=world.state
            ):
                pass
    finally:
        world.gate.devices.update(devices)


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
async def test_E08_over_udp_what_others_answer_is_passed_over(world: World, kind: str) -> None:
    credentials = world.credentials("udp")
    strays = cycle(cheat for name, cheat in FOREIGN.items() if name not in ("none", "longest"))
    world.gate.cheat = lambda prefix, apdu: [*next(strays)(prefix, apdu), *honest(prefix, apdu)]

    def read() -> Any:
        with sync.connect(credentials=credentials, role="operator", state=world.state) as meter:
            return [meter.read(CLOCK).value for _ in FOREIGN][-1]

    if kind == "blocking":
        assert await asyncio.to_thread(read)
        return
    async with meterseal.connect(credentials=credentials, role="operator", state=world.state) as meter:
        assert [(await meter.read(CLOCK)).value for _ in FOREIGN][-1]


async def test_E08_over_udp_the_time_out_says_what_was_passed_over(world: World) -> None:
    credentials, hint = world.credentials("udp"), "passed over: an answer from network 9"
    async with meterseal.connect(credentials=credentials, role="operator", state=world.state) as meter:
        world.gate.cheat = FOREIGN["network"]
        for seconds in PATIENCE:
            wait_for_answers(meter, seconds)
            with pytest.raises(TimedOut) as late:
                await meter.read(CLOCK)
            if hint in str(late.value):
                break
        else:
            pytest.fail(f"not said: {hint}")
        world.gate.cheat = honest

    def read() -> None:
        with sync.connect(credentials=credentials, role="operator", state=world.state) as meter:
            world.gate.cheat = FOREIGN["network"]
            for seconds in PATIENCE:
                wait_for_answers(meter, seconds)
                with pytest.raises(TimedOut) as late:
                    meter.read(CLOCK)
                if hint in str(late.value):
                    break
            else:
                pytest.fail(f"not said: {hint}")
            world.gate.cheat = honest

    await asyncio.to_thread(read)


async def test_a_device_that_the_gateway_does_not_know_stays_silent(world: World) -> None:
    known = world.credentials("tcp")
    url = (known.meter.url or "").replace(NEAR[1].hex(), "00")
    with pytest.raises(TimedOut):
        async with meterseal.connect(url, known, role="operator", state=world.state, timeout=0.2):
            pass


async def test_E08_a_meter_that_is_no_gateway_is_found_out(tmp_path: Path) -> None:
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0"), tmp_path / "meter", stack)
        async with MeterServer(meter) as server:
            credentials = credentials_of(meter, f"{server.url}?gateway=0/")
            with pytest.raises(ProtocolViolation, match="without a gateway prefix"):
                async with meterseal.connect(credentials=credentials, role="operator", state=tmp_path / "s"):
                    pass


async def test_nobody_listens_behind_a_gateway(tmp_path: Path) -> None:
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0"), tmp_path / "meter", stack)
        with pytest.raises(Unsupported, match="gateway"):
            MeterServer(meter, url="tcp://127.0.0.1:0?gateway=0/01")


async def test_credentials_with_a_gateway_are_checked_when_they_are_read() -> None:
    with pytest.raises(ConfigurationError, match="gateway=NETWORK/ADDRESS"):
        Credentials(MeterCredentials(url="tcp://h?gateway=256/00"), {})
