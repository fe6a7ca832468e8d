"""Meters behind a concentrator: read on TCP and on a bus, at once, by several callers; its own management."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import meterseal
from meterseal.concentrator.management import LINES, ROUTES
from meterseal.errors import AuthenticationFailed, Refused
from meterseal.meter import credentials_of
from meterseal.state import MemoryCounters
from tests.concentrator.yard import ENERGY, SOON, yard


async def test_meters_on_tcp_and_on_a_bus_are_read_with_their_own_keys(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=1, bus=2) as here:
        for name in ("tcp-1", "bus-1", "bus-2"):
            async with here.sign_on(name) as meter:
                assert meter.system_title == here.credentials[name].meter.system_title
                assert (await meter.read(ENERGY)).raw is not None
        counts = [account.answers for account in here.house.record.accounts.values()]
        assert min(counts) >= 4, "sign-on, proof, answer and release of each"
        assert len(set(counts)) == 1


async def test_two_meters_on_one_bus_are_signed_on_to_at_the_same_time(tmp_path: Path) -> None:
    async with (
        yard(tmp_path, direct=0, bus=2) as here,
        here.sign_on("bus-1") as one,
        here.sign_on("bus-2") as two,
        here.sign_on("bus-1", "installer") as own,
    ):
        for _ in range(3):
            values = await asyncio.gather(one.read(ENERGY), two.read(ENERGY), own.read("8/0.0.1.0.0.255"))
            assert all(value.error is None for value in values)


async def test_large_answers_and_blocks_pass(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=1, bus=1) as here:
        for name in ("tcp-1", "bus-1"):
            async with here.sign_on(name, max_pdu=200) as meter:
                assert (await meter.read("15/0.0.40.0.0.255:2")).error is None
                assert len((await meter.profile("1.0.99.1.0.255", entries=(1, 60))).value) == 60


async def test_keys_of_one_meter_open_no_other(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=2) as here:
        with pytest.raises((AuthenticationFailed, Refused)):
            async with here.sign_on("tcp-2", keys="tcp-1"):
                pass


async def test_a_meter_that_is_not_there_is_answered_for(tmp_path: Path) -> None:
    async with yard(tmp_path, change=lambda name, url: "tcp://127.0.0.1:1") as here:
        with pytest.raises(Refused) as refused:
            async with here.sign_on("tcp-1"):
                pass
        assert refused.value.source == "exception-response"
        (account,) = here.house.record.accounts.values()
        assert account.standing.name == "UNREACHED"


async def test_its_own_management_has_keys_of_its_own_and_tells_of_the_routes(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=1, bus=1) as here:
        async with here.sign_on("tcp-1"):
            pass
        own = credentials_of(here.house.own, here.house.url)
        assert own.meter.system_title not in {one.meter.system_title for one in here.credentials.values()}
        async with meterseal.connect(credentials=own, role="operator", counters=MemoryCounters()) as device:
            rows = (await device.read(f"1/{ROUTES}:2")).value
            assert [(row[0], row[4]) for row in rows] == [("tcp-1", 1), ("bus-1", 0)]
            title = here.credentials["tcp-1"].meter.system_title
            assert title is not None
            assert rows[0][3] == title
            assert (await device.read(f"1/{LINES}:2")).value == [("bus", 0)]
            with pytest.raises(Refused):
                await device.read(ENERGY)
        with pytest.raises((AuthenticationFailed, Refused)):
            credentials = here.credentials["tcp-1"].at(here.house.url)
            async with meterseal.connect(credentials=credentials, role="operator", counters=MemoryCounters()):
                pass


async def test_a_caller_that_leaves_ends_its_associations_and_no_others(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=1, bus=1) as here, here.sign_on("bus-1", "installer") as stays:
        leaver = here.sign_on("bus-1")
        meter = await leaver.__aenter__()
        await meter.read(ENERGY)
        meter.drop()
        await leaver.__aexit__(None, None, None)
        async with asyncio.timeout(SOON):
            async with here.sign_on("bus-1") as newcomer:
                assert (await newcomer.read(ENERGY)).error is None
        assert (await stays.read("8/0.0.1.0.0.255:2")).error is None
