"""A head-end's database in PostgreSQL: requests and pushes all the way, restarts, a server that goes away."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from meterseal import net
from meterseal.errors import StateUnavailable
from meterseal.headend import HeadEnd, store
from meterseal.headend.journal import Journal
from meterseal.headend.store import Store
from meterseal.state import MemoryCounters
from meterseal.utility.pushes import Arrived, Pushes
from tests.cli.shell import app
from tests.endtoend.whole import whole
from tests.headend.home import METERS
from tests.headend.test_config import WHOLE, folder, written
from tests.headend.test_pushes import row

__all__ = ["folder"]
M1 = METERS["m1"].hex().upper()


def native(url: str) -> str:
    """The URL as psycopg itself takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


async def test_requests_and_pushes_pass_and_nothing_stays_on_this_machine(
    postgres: str, tmp_path: Path
) -> None:
    here = (net.parse("tcp://127.0.0.1:0"),)
    async with whole(tmp_path, behind=True, database=postgres, pushes=here) as all_:
        utility = all_.utility()
        found = await asyncio.gather(*(utility.read("3/1.0.1.8.0.255:2") for _ in range(5)))
        assert all(one.error is None for one in found)
        for _ in range(3):
            all_.push()
        await all_.waiting(3)
        came: list[Arrived] = []
        held = {all_.meter.system_title: all_.credentials}
        end = Pushes(all_.via, held.get, counters=MemoryCounters())
        assert await end.fetch(came.append, most=2) == 2
        assert [one.error for one in came] == [None, None]
        account = await all_.house.store.run(store.account_of("utility", None, 100))
        outcomes = [one["outcome"] for one in account]
        assert (outcomes.count("answered"), outcomes.count("fetched")) == (5, 2)
        plain = came[0].pushed.plain if came[0].pushed else b""
        assert plain
        with psycopg.connect(native(postgres)) as connection:
            kept = connection.execute("SELECT sealed, answer FROM requests").fetchall()
            kept += connection.execute("SELECT sealed, NULL FROM pushes").fetchall()
        assert len(kept) == 6 and not any(plain[-10:] in part for line in kept for part in line if part)
    assert not list((tmp_path / "headend").glob("*.sqlite"))
    async with HeadEnd(all_.house.config, tmp_path / "headend", Journal(all_.journal)) as again:
        assert len(await again.store.run(store.pushes_of("utility", None, 9))) == 1, "after a restart too"


async def test_a_queue_outlasts_a_restart_and_what_was_sent_is_not_sent_again(
    postgres: str, tmp_path: Path
) -> None:
    from meterseal.headend.tables import State
    from tests.headend.home import home, sealed_for, settled

    async with home(tmp_path, api=False, database=postgres) as place:
        now = time.time()
        for at, state in enumerate((State.QUEUED, State.SENT)):
            made = {
                "id": f"{at:024X}", "utility": "north", "meter": M1, "state": state, "created": now,
                "deadline": now + 60, "sealed": sealed_for(METERS["m1"]),
            }  # fmt: skip
            await place.house.store.run(store.accept(made))
    async with home(tmp_path, api=False, database=postgres) as place:
        await settled(place.house)
        found = {one["request"]: one["outcome"] for one in await place.house.store.run(
            store.account_of("north", None, 9))}  # fmt: skip
        assert found == {f"{0:024X}": "answered", f"{1:024X}": "unanswered"}
        assert len(place.fakes[METERS["m1"]].asked) == 1


async def test_a_server_that_ends_a_connection_costs_what_was_under_way_and_no_more(postgres: str) -> None:
    """G19, H06: who asked is told that it is not on the disk; the next one finds the server again."""
    where = Store(postgres)
    try:
        await where.run(store.keep(row(1), 9))
        with psycopg.connect(native(postgres), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(StateUnavailable) as caught:
            await where.run(store.keep(row(2), 9))
        assert "sealed" not in str(caught.value) and M1 not in str(caught.value)
        await where.run(store.keep(row(3), 9))
        assert [one["id"][-1] for one in await where.run(store.pushes_of(None, None, 9))] == ["1", "3"]
    finally:
        where.close()


async def test_many_at_once_share_transactions_and_all_are_there(postgres: str) -> None:
    where = Store(postgres)
    try:
        await asyncio.gather(*(where.run(store.keep(row(at), 150)) for at in range(200)))
        found = await where.run(store.pushes_of("north", M1, 999))
        assert [int(one["id"], 16) for one in found] == list(range(50, 200)), "the oldest went"
        rest = await where.run(store.pushes_of("north", None, 999, after=found[99]["id"]))
        assert rest == found[100:]
        ended = await asyncio.gather(
            *(where.run(store.acknowledge(found[0]["id"], "north", time.time())) for _ in range(9))
        )
        assert sum(ended) == 1, "a push is acknowledged once"
        assert await where.run(store.outdated(time.time() + 8 * store.DAY, 90, 7)) == 149
        assert await where.run(store.forget(M1)) == 200, "the rows of the account"
    finally:
        where.close()


def test_one_meters_data_are_exported_and_forgotten(postgres: str, folder: Path) -> None:
    text = WHOLE.replace("collect =", "#").replace("every", "#")
    path = written(folder, text.replace("[headend]", f'[headend]\ndatabase = "{postgres}"'))
    words = [M1, "--config", str(path), "--state", str(folder / "state")]

    async def fill() -> None:
        where = Store(postgres)
        await where.run(store.keep(row(1), 9))
        await where.run(store.read(M1, 0.0, {"push": "[1]"}))
        where.close()

    asyncio.run(fill())
    told = json.loads(CliRunner().invoke(app, ["headend", "export", *words]).stdout)
    assert [len(told[name]) for name in ("account", "pushes", "readings")] == [0, 1, 1]
    assert CliRunner().invoke(app, ["headend", "forget", *words]).exit_code == 0
    told = json.loads(CliRunner().invoke(app, ["headend", "export", *words]).stdout)
    assert [len(told[name]) for name in ("account", "pushes", "readings")] == [0, 0, 0]


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(StateUnavailable) as caught:
        Store("postgresql+psycopg://who:secret-word@127.0.0.1:1/nowhere")
    assert "secret-word" not in str(caught.value)
