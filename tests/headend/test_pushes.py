"""Pushes at the API: whose they are, what is kept of them, and for how long (F21)."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meterseal.errors import ConfigurationError
from meterseal.headend import HeadEnd, load, store
from tests.cli.shell import app
from tests.headend.home import METERS, TITLES, Place, config, home, sealed_for
from tests.headend.test_config import M1 as ONE
from tests.headend.test_config import WHOLE, folder, written

__all__ = ["folder"]
NORTH, SOUTH = TITLES["north"], TITLES["south"]
HEX = {name: title.hex().upper() for name, title in METERS.items()}


def row(number: int, meter: str = "m1", utility: str = "north", at: float | None = None) -> store.Row:
    """A push as the listener keeps it."""
    octets = sealed_for(TITLES[utility], METERS[meter])
    return {
        "id": f"{number:024X}", "utility": utility, "meter": HEX[meter], "sealed": octets,
        "received": time.time() if at is None else at, "size": len(octets),
    }  # fmt: skip


async def kept(place: Place, *rows: store.Row, most: int = 99) -> None:
    for one in rows:
        await place.house.store.run(store.keep(one, most))


async def test_F21_a_utility_sees_the_pushes_of_its_own_meters_only(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north, south = await place.caller(NORTH), await place.caller(SOUTH)
        await kept(place, row(1), row(2, "m2"), row(3, "m3", "south"))
        assert [one["id"][-1] for one in (await north.get("/v1/pushes")).json()] == ["1", "2"]
        assert [one["id"][-1] for one in (await south.get("/v1/pushes")).json()] == ["3"]
        assert [one["id"][-1] for one in (await north.get(f"/v1/pushes?meter={HEX['m2']}")).json()] == ["2"]
        id, never = row(1)["id"], f"{9:024X}"
        foreign = [
            await south.get(f"/v1/pushes/{id}"),
            await south.delete(f"/v1/pushes/{id}"),
            await south.get(f"/v1/pushes?after={id}"),
            await south.get(f"/v1/pushes?meter={HEX['m1']}"),
        ]
        assert [one.status_code for one in foreign] == [404] * 4
        assert foreign[0].json() == (await south.get(f"/v1/pushes/{never}")).json(), "as one that never was"
        whole = (await north.get(f"/v1/pushes/{id}")).json()
        assert bytes.fromhex(whole.pop("sealed")) == row(1)["sealed"]
        assert whole == (await north.get("/v1/pushes")).json()[0] and "sealed" not in whole
        stranger = await place.caller(b"MSLXXX01")
        for method, path in (("GET", ""), ("GET", f"/{id}"), ("DELETE", f"/{id}")):
            assert (await stranger.request(method, f"/v1/pushes{path}")).status_code == 403


@pytest.mark.parametrize(
    "query",
    ["rows=0", "rows=1001", "wait=-1", "wait=61", "wait=nan", "after=x", "meter=%27", f"after={'0' * 99}"],
)
async def test_F21_what_is_asked_for_has_its_bounds(tmp_path: Path, query: str) -> None:
    async with home(tmp_path) as place:
        north = await place.caller(NORTH)
        assert (await north.get(f"/v1/pushes?{query}")).status_code == 400


async def test_a_push_is_acknowledged_once_and_the_account_keeps_a_row(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north = await place.caller(NORTH)
        await kept(place, row(1), row(2), row(3))
        page = (await north.get("/v1/pushes?rows=2")).json()
        assert [one["id"][-1] for one in page] == ["1", "2"]
        rest = (await north.get(f"/v1/pushes?after={page[1]['id']}")).json()
        assert [one["id"][-1] for one in rest] == ["3"]
        gone = [(await north.delete(f"/v1/pushes/{page[0]['id']}")).status_code for _ in range(2)]
        assert gone == [204, 404]
        (told,) = (await north.get("/v1/account")).json()
        assert (told["request"], told["originator"], told["outcome"]) == (page[0]["id"], HEX["m1"], "fetched")
        assert (told["size"], told["answer_size"], told["created"]) == (
            row(1)["size"], None, page[0]["received"],
        )  # fmt: skip


async def test_who_waits_is_told_when_one_comes(tmp_path: Path) -> None:
    """By the listener, once it is on the disk; nobody else's push ends the waiting."""
    async with home(tmp_path) as place:
        north, house = await place.caller(NORTH), place.house
        asking = asyncio.create_task(north.get("/v1/pushes?wait=20"))
        async with asyncio.timeout(30):
            while "north" not in house.pushes._came:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        utilities = {one.name: one for one in house.config.utilities}
        await house.pushes._write(store.keep(row(1, "m3", "south"), 9), METERS["m3"], utilities["south"], 1)
        assert not asking.done()
        await house.pushes._write(store.keep(row(2), 9), METERS["m1"], utilities["north"], 1)
        assert [one["id"][-1] for one in (await asking).json()] == ["2"]


async def test_what_is_not_fetched_has_its_days_and_is_forgotten_when_asked(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north, now = await place.caller(NORTH), time.time()
        await kept(place, row(1, at=now - 8 * store.DAY), row(2), row(3, "m2"))
        await place.house.store.run(store.outdated(now, 90, 7))
        assert [one["id"][-1] for one in (await north.get("/v1/pushes")).json()] == ["2", "3"]
        (told,) = (await north.get("/v1/account")).json()
        assert told["outcome"] == "unfetched"
        sealed = row(2)["sealed"]
        assert (await north.delete(f"/v1/meters/{HEX['m1']}/account")).status_code == 204
        assert [one["id"][-1] for one in (await north.get("/v1/pushes")).json()] == ["3"]
        await place.house.store.run(store.forget(HEX["m2"]))
        await place.house.store.emptied()
        files = b"".join(path.read_bytes() for path in (tmp_path / "state").glob("headend*"))
        assert sealed[2:] not in files and (await north.get("/v1/pushes")).json() == []


def test_pushes_that_wait_are_part_of_what_is_exported(folder: Path) -> None:
    path, runner = written(folder, WHOLE.replace("collect =", "#").replace("every", "#")), CliRunner()
    state = ["--config", str(path), "--state", str(folder / "state")]

    async def fill() -> None:
        async with HeadEnd(load(path), folder / "state") as house:
            await house.store.run(store.keep(row(1), 9))

    asyncio.run(fill())
    (told,) = json.loads(runner.invoke(app, ["headend", "export", ONE, *state]).stdout)["pushes"]
    assert told["size"] == row(1)["size"] and "sealed" not in told
    assert runner.invoke(app, ["headend", "forget", ONE, *state]).exit_code == 0
    assert json.loads(runner.invoke(app, ["headend", "export", ONE, *state]).stdout)["pushes"] == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('pushes = ["serial:///dev/ttyUSB0"]', "tcp://HOST:PORT"),
        ('pushes = ["tcp://127.0.0.1:1?gateway=1/01"]', "tcp://HOST:PORT"),
        ("pushes_of_meter = 0", "pushes_of_meter"),
    ],
)
def test_where_pushes_cannot_be_listened_for_is_told(folder: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load(written(folder, WHOLE.replace("retention = 30", line)))


def test_where_pushes_are_listened_for(folder: Path) -> None:
    line = 'pushes = ["tcp://127.0.0.1:0", "udp://[::1]:4059"]\npushes_of_meter = 5'
    made = load(written(folder, WHOLE.replace("retention = 30", line)))
    assert [str(url) for url in made.pushes] == ["tcp://127.0.0.1:0", "udp://[::1]:4059"]
    assert made.pushes_of_meter == 5
    assert made.whose(METERS["m1"], NORTH) is made.utilities[0]
    assert made.whose(METERS["m2"], NORTH) is None and made.whose(METERS["m1"], SOUTH) is None


def test_a_title_that_two_utilities_seal_as_is_a_mistake(folder: Path) -> None:
    more = f'[utilities.south]\ncertificates = ["monitor.pem"]\ntitles = ["{NORTH.hex()}"]\nmeters = []\n'
    with pytest.raises(ConfigurationError, match="the same as of north"):
        load(written(folder, WHOLE.replace('[observers.monitor]\ncertificates = ["monitor.pem"]', more)))


async def test_a_place_that_is_taken_ends_the_start_and_leaves_nothing_open(tmp_path: Path) -> None:
    from meterseal import net

    async with home(tmp_path, api=False, pushes=(net.parse("tcp://127.0.0.1:0"),)) as place:
        taken = (net.parse(place.house.pushes.urls[0]),)
        second = HeadEnd(config(tmp_path, pushes=taken), tmp_path / "second")
        with pytest.raises(ConfigurationError):
            await second.__aenter__()
        assert second.store._pool._shutdown
