"""EventNotification: a meter tells its clients of entries in its logs, on every wire; who hears what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

import meterseal
from meterseal import Notice, sync
from meterseal.apdu.initiate import CONFORMANCE_BITS
from meterseal.association.profile import SERVER_CONFORMANCE
from meterseal.cosem.obis import Obis
from meterseal.meter import MeterServer, load_plan, open_meter, write_credentials
from meterseal.meter.events import NOT_AUTHENTIC, PARAMETERS, Event
from meterseal.net import WireLog

CODE, POINT = Obis("0.0.96.11.1.255"), "1/0.0.96.1.10.255:2"
SERVED = [name for name, bit in CONFORMANCE_BITS.items() if SERVER_CONFORMANCE & bit]
CONFIG = "".join(
    f"[roles.{role}]\nservices = {json.dumps([*SERVED, 'event-notification'])}\n"
    for role in ("manager", "operator", "public")
)
HANGING = 30.0
"""Seconds after which a test is given up."""

SCHEMES = ["tcp", "udp", "hdlc+tcp"]


async def heard(meter: meterseal.Meter, told: list[Notice], count: int) -> None:
    """Watch until so many events have come."""
    async with asyncio.timeout(HANGING):
        while len(told) < count:
            await meter.watch(0.2)


class House:
    def __init__(self, server: MeterServer, file: Path) -> None:
        self.server, self.file = server, file

    def happens(self, event: Event = PARAMETERS) -> None:
        self.server.meter.events.happened(event)


@pytest.fixture(params=SCHEMES)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack)
        async with MeterServer(meter, url=f"{request.param}://127.0.0.1:0") as server:
            write_credentials(meter, tmp_path / "meter.toml", server.url)
            yield House(server, tmp_path / "meter.toml")


async def test_a_client_is_told_between_its_requests_and_while_it_watches(house: House) -> None:
    told: list[Notice] = []
    async with meterseal.connect(credentials=house.file, role="manager", events=told.append) as meter:
        assert "event-notification" in meter.services
        house.happens()
        await asyncio.sleep(0)
        assert (await meter.read(POINT)).error is None
        house.happens(NOT_AUTHENTIC)
        await heard(meter, told, 2)
        assert (await meter.read(POINT)).error is None, "counters and answers go on as before"
    assert [(one.class_id, one.obis, one.attribute, one.value) for one in told] == [
        (1, CODE, 2, 47),
        (1, CODE, 2, 49),
    ]
    assert all(one.time is not None for one in told)


async def test_an_event_goes_out_as_what_nobody_asked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On HDLC that reaches a client without a link, too; an answer does not."""
    went: list[bytes] = []
    async with meterseal.connect(credentials=house.file, role="manager", events=lambda notice: None):
        assert house.server.party is not None
        (link,) = house.server.party.links()
        monkeypatch.setattr(
            type(link), "notify", lambda self, source, destination, octets: went.append(octets)
        )
        house.happens()
        await asyncio.sleep(0)
    assert len(went) == 1


async def test_what_a_client_does_is_told_after_its_answer(house: House, tmp_path: Path) -> None:
    """A write that makes an entry: the answer first, then the event, each under its own counter."""
    told: list[Notice] = []
    log = tmp_path / "wire.jsonl"
    with WireLog(log) as wires:
        async with meterseal.connect(
            credentials=house.file, role="manager", events=told.append, wire_log=wires
        ) as meter:
            await meter.call("70/0.0.96.3.10.255:1")
            await heard(meter, told, 1)
    assert [one.value for one in told] == [62], "switched off from afar"


async def test_who_did_not_ask_hears_nothing(house: House, tmp_path: Path) -> None:
    log = tmp_path / "wire.jsonl"
    with WireLog(log) as wires:
        async with meterseal.connect(credentials=house.file, role="operator", wire_log=wires) as meter:
            before = len(log.read_text().splitlines())
            house.happens()
            await asyncio.sleep(0.05)
            if "hdlc" not in house.server.url:
                assert len(log.read_text().splitlines()) == before
            assert (await meter.read("0.0.42.0.0.255")).value


async def test_a_role_that_may_not_read_the_code_is_not_told_of_it(house: House) -> None:
    told: list[Notice] = []
    async with meterseal.connect(credentials=house.file, role="public", events=told.append) as meter:
        assert "event-notification" in meter.services
        house.happens()
        await meter.watch(0.3)
    assert told == []


async def test_the_blocking_twin_is_told(house: House) -> None:
    told: list[Notice] = []
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with sync.connect(credentials=house.file, role="manager", events=told.append) as meter:
            loop.call_soon_threadsafe(house.happens)
            while not told:
                meter.watch(0.2)

    await asyncio.to_thread(watch)
    assert [one.value for one in told] == [47]


async def test_events_are_protected_as_answers_are(tmp_path: Path) -> None:
    """By the service's own form, with a dedicated key by that one; by no means in the clear."""
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    async with AsyncExitStack() as stack:
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack.enter_context(ExitStack()))
        server = await stack.enter_async_context(MeterServer(meter))
        file = tmp_path / "meter.toml"
        write_credentials(meter, file, server.url)
        for dedicated, tag in ((False, "CA"), (True, "D2")):
            told: list[Notice] = []
            log = tmp_path / f"{tag}.jsonl"
            with WireLog(log) as wires:
                async with meterseal.connect(
                    credentials=file, role="manager", events=told.append, dedicated=dedicated, wire_log=wires
                ) as client:
                    meter.events.happened(PARAMETERS)
                    await heard(client, told, 1)
            assert len(told) == 1
            tags = [json.loads(line)["hex"][16:18] for line in log.read_text().splitlines()]
            assert tags.count(tag) == 1 and "C2" not in tags
