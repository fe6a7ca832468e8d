"""The client with the simulated meter of this package, over TCP: roles, files, counters, profiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal import Call, Credentials, NotDone, NotRead, Read, Write, Written, sync
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.times import DateTime
from meterseal.errors import Refused
from meterseal.meter import MeterServer, load_plan, open_meter, write_credentials


@pytest.fixture
async def credentials(tmp_path: Path) -> AsyncIterator[Path]:
    """The credentials file of a running meter."""
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0"), tmp_path / "meter", stack)
        async with MeterServer(meter) as server:
            path = tmp_path / "meter.toml"
            write_credentials(meter, path, server.url)
            yield path


async def test_ten_lines_read_a_meter(credentials: Path) -> None:
    async with meterseal.connect(credentials=credentials, role="operator") as meter:
        energy = await meter.read("1.0.1.8.0.255")
        rows = await meter.profile("1.0.99.1.0.255", entries=(1, 96))
    assert isinstance(energy.value, Decimal) and energy.unit == "Wh"
    assert len(rows) == 96 and isinstance(rows[0][0], DateTime)
    assert rows.columns[2].source.obis == energy.obis


async def test_every_role_sees_what_is_its_own(credentials: Path) -> None:
    wanted = ["3/1.0.1.8.0.255:2", "8/0.0.1.0.0.255:2", "1/0.0.43.1.2.255:2"]
    seen: dict[str, list[bool]] = {}

    async def look(link: meterseal.Link, role: str) -> None:
        async with link.associate(role) as meter:
            seen[role] = [not isinstance(found, NotRead) for found in await meter.read_many(wanted)]

    async with meterseal.link(credentials=credentials) as link:
        await asyncio.gather(*(look(link, role) for role in ("operator", "installer", "manager", "public")))
    assert seen["operator"] == [True, True, False]
    assert seen["installer"] == [False, True, False]
    assert seen["manager"] == [True, True, True]
    assert seen["public"] == [False, True, True]


async def test_a_window_of_time_is_what_the_meter_has_in_it(credentials: Path) -> None:
    async with meterseal.connect(credentials=credentials, role="operator") as meter:
        rows = await meter.profile("1.0.99.1.0.255", entries=(1, 200))
        start: DateTime = rows[40][0]
        end = start.to_datetime() + timedelta(hours=6)
        part = await meter.profile("1.0.99.1.0.255", since=start, until=end, columns=["0.0.1.0.0.255"])
    assert [row[0] for row in part] == [row[0] for row in rows[40:65]]


@pytest.mark.parametrize("wishes", [{"dedicated": True}, {"general": True}, {"max_pdu": 256}], ids=str)
async def test_other_ways_to_be_associated(credentials: Path, wishes: dict[str, Any]) -> None:
    async with meterseal.connect(credentials=credentials, role="manager", **wishes) as meter:
        found = await meter.read_many([f"{o.class_id}/{o.obis}:1" for o in await meter.object_list()])
        assert not [value for value in found if isinstance(value, NotRead)]
        clock = await meter.read("0.0.1.0.0.255")
        await meter.write("0.0.1.0.0.255", clock.value)
        assert (await meter.call("0.0.96.3.10.255:1")).value is None


async def test_the_wrong_keys_open_nothing(credentials: Path) -> None:
    loaded = Credentials.load(credentials)
    operator, installer = loaded.role("operator"), loaded.role("installer")
    mixed = replace(operator, client=installer.client)
    swapped = replace(operator, guek=operator.gak, gak=operator.guek)
    for role in (mixed, swapped):
        wrong = Credentials(loaded.meter, {"wrong": role})
        with pytest.raises(Refused, match="no-reason-given"):
            async with meterseal.connect(credentials=wrong, counters=meterseal.MemoryCounters()):
                pass


async def test_the_meters_counter_objects_say_where_to_begin(credentials: Path) -> None:
    async with meterseal.connect(credentials=credentials, role="operator") as meter:
        for _ in range(50):
            await meter.read("8/0.0.1.0.0.255:2")
    loaded = Credentials.load(credentials)
    operator = replace(loaded.role("operator"), counter_start=None)
    elsewhere = credentials.with_name("elsewhere.toml")
    Credentials(loaded.meter, {"operator": operator}).save(elsewhere)
    async with meterseal.connect(credentials=elsewhere) as meter:
        assert (await meter.read("1.0.1.8.0.255")).unit == "Wh"


async def test_the_blocking_client_does_the_same(credentials: Path) -> None:
    def use() -> tuple[Any, int]:
        with sync.link(credentials=credentials) as link, link.associate("operator") as meter:
            with link.associate("public") as public:
                assert public.read("0.0.42.0.0.255").value.startswith(b"MSL")
            return meter.read("1.0.1.8.0.255").as_json(), len(meter.profile("1.0.99.1.0.255"))

    blocking, count = await asyncio.to_thread(use)
    async with meterseal.connect(credentials=credentials, role="operator") as meter:
        assert (await meter.read("1.0.1.8.0.255")).as_json().keys() == blocking.keys()
        assert len(await meter.profile("1.0.99.1.0.255")) >= count


async def test_access_in_one_request(credentials: Path) -> None:
    """Reads, writes and calls at once, each held to the role's right; with and without the loop."""
    elements: list[Read | Write | Call] = [
        Read("1/0.0.42.0.0.255"),
        Write("1/0.0.96.1.10.255", b"M1", Tag.OCTET_STRING),
        Read("1.0.1.8.0.255"),
        Call("70/0.0.96.3.10.255:1"),
    ]
    async with meterseal.connect(credentials=credentials, role="installer") as meter:
        assert "access" in meter.services
        name, written, energy, call = await meter.access(elements, described=True)
        assert isinstance(name, meterseal.Value) and name.value.startswith(b"MSL")
        assert written == Written(1, Obis("0.0.96.1.10.255"), 2)
        assert isinstance(energy, NotRead) and energy.error.kind == "refused"
        assert isinstance(call, NotDone) and call.error.kind == "refused"
        stopped = await meter.access([elements[2], elements[1]], stop_at_error=True)
        assert isinstance(stopped[1], NotDone) and "other-reason" in str(stopped[1].error)

    def use() -> list[Any]:
        with sync.connect(credentials=credentials, role="manager") as manager:
            return manager.access(elements)

    found = await asyncio.to_thread(use)
    assert [type(one) for one in found] == [meterseal.Value, Written, meterseal.Value, meterseal.Answer]
