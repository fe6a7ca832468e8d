"""Carrying: once and never twice, deadlines, retries, a queue that lasts (H06, H09), what is kept."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from meterseal.errors import (
    AuthenticationFailed,
    ConnectionLost,
    MetersealError,
    Misuse,
    Refused,
    Replayed,
    TimedOut,
)
from meterseal.headend import HeadEnd, store
from meterseal.headend import visitor as visitors
from meterseal.headend.house import Busy
from meterseal.headend.tables import State
from meterseal.headend.visitor import Request, pause
from meterseal.security.sealed import Sealed
from tests.headend.home import METERS, SOON, TITLES, Home, Place, config, home, sealed_for, settled

M1, M2 = METERS["m1"], METERS["m2"]


async def carried(place: Place, octets: bytes | None = None, seconds: float = SOON) -> store.Row:
    """One request of north's to m1, ended."""
    north = place.house.config.utilities[0]
    request = await place.house.accept(north, M1, octets or sealed_for(M1), seconds)
    await place.house.wait(request.id, SOON)
    (row,) = await place.house.store.run(store.one(request.id, "north"))
    return row


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for; their shape is a test of its own."""
    monkeypatch.setattr(visitors, "FIRST_PAUSE", 0.01)


def test_H06_pauses_double_are_drawn_and_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "FIRST_PAUSE", 1.0)
    for failures in range(1, 60):
        middle = min(60.0, 2.0 ** (failures - 1))
        drawn = [pause(failures) for _ in range(20)]
        assert all(0.5 * middle <= one <= 1.5 * middle for one in drawn)
        assert len(set(drawn)) > 10, (
            "no two alike: those that were cut off together do not come back together"
        )


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (TimedOut("no answer"), State.UNANSWERED),
        (ConnectionLost("cut"), State.UNANSWERED),
        (Replayed("used", 5), State.UNANSWERED),
        (
            Refused("no", reason="x", code=1, source="exception-response", authenticated=False),
            State.UNANSWERED,
        ),
        (Refused("no", reason="x", code=1, source="data-access-result"), State.REFUSED),
        (Misuse("another meter"), State.REFUSED),
    ],
    ids=["timed-out", "lost", "replayed", "a hint", "refused", "misuse"],
)
async def test_what_an_error_tells_of_a_request_that_was_sent(
    tmp_path: Path, error: MetersealError, state: State
) -> None:
    async def fails(sealed: Sealed) -> bytes:
        raise error

    async with home(tmp_path, api=False) as place:
        place.fakes[M1].answer = fails
        row = await carried(place)
        assert row["state"] == state
        assert row["cause"].startswith(error.kind)
        assert len(place.fakes[M1].asked) == 1, "never a second time"
        place.fakes[M1].answer = None
        assert (await carried(place))["state"] == State.ANSWERED


async def test_H06_while_a_meter_is_not_there_requests_wait_and_then_go_once(tmp_path: Path) -> None:
    async with home(tmp_path, api=False) as place:
        fake, north = place.fakes[M1], place.house.config.utilities[0]
        fake.sign_on_error = ConnectionLost("nobody there")
        made = [await place.house.accept(north, M1, sealed_for(M1), SOON) for _ in range(5)]
        async with asyncio.timeout(SOON):
            while fake.signed_on < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert not fake.asked
        fake.sign_on_error = None
        await settled(place.house)
        assert len(fake.asked) == 5
        assert {(await place.house.store.run(store.one(one.id, "north")))[0]["state"] for one in made} == {
            "answered"
        }
        assert place.house.visitors[M1].failures == 0


async def test_H06_a_request_that_comes_as_the_work_ends_is_carried(tmp_path: Path) -> None:
    """Between the last look for requests and the end of the task there is a turn of the loop."""
    async with home(tmp_path, api=False) as place:
        visitor, sealed = place.house.visitors[M1], Sealed.of(sealed_for(M1))
        request = Request("A" * 24, "north", sealed, time.time() + SOON)
        row = {
            "id": request.id, "utility": "north", "meter": M1.hex().upper(), "state": State.QUEUED,
            "created": 0.0, "deadline": request.deadline, "sealed": sealed.octets,
        }  # fmt: skip
        await place.house.store.run(store.accept(row))
        work = visitor._run

        async def ends() -> None:
            return

        visitor._run = ends  # type: ignore[method-assign]
        visitor.wake()
        visitor._run = work  # type: ignore[method-assign]
        asyncio.get_running_loop().call_soon(visitor.add, request)
        async with asyncio.timeout(SOON):
            await request.done.wait()
        assert len(place.fakes[M1].asked) == 1


async def test_H06_a_command_past_its_deadline_is_not_sent(tmp_path: Path) -> None:
    async with home(tmp_path, api=False) as place:
        fake = place.fakes[M1]
        fake.sign_on_error = ConnectionLost("nobody there")
        row = await carried(place, seconds=0.3)
        assert row["state"] == State.EXPIRED
        fake.sign_on_error = None
        assert (await carried(place))["state"] == State.ANSWERED
        assert len(fake.asked) == 1


async def test_H06_an_answer_after_the_deadline_is_nobodys(tmp_path: Path) -> None:
    async def slow(sealed: Sealed) -> bytes:
        await asyncio.sleep(SOON)
        raise AssertionError("given up before")

    async with home(tmp_path, api=False) as place:
        place.fakes[M1].answer = slow
        row = await carried(place, seconds=0.3)
        assert (row["state"], row["answer"]) == (State.UNANSWERED, None)
        before = place.fakes[M1].signed_on
        place.fakes[M1].answer = None
        assert (await carried(place))["state"] == State.ANSWERED
        assert place.fakes[M1].signed_on == before + 1, "over another association"


async def test_one_meter_that_is_not_there_holds_up_no_other(tmp_path: Path) -> None:
    async with home(tmp_path, api=False, at_once=1) as place:
        place.fakes[M1].sign_on_error = ConnectionLost("nobody there")
        north = place.house.config.utilities[0]
        await place.house.accept(north, M1, sealed_for(M1), SOON)
        second = await place.house.accept(north, M2, sealed_for(M2), SOON)
        await place.house.wait(second.id, SOON)
        assert len(place.fakes[M2].asked) == 1
        assert await place.house.cancel(next(iter(place.house._live)), north)


async def test_H09_a_meter_that_is_another_now_is_told_and_nothing_is_sent(tmp_path: Path) -> None:
    async with home(tmp_path, api=False) as place:
        place.fakes[M1].sign_on_error = AuthenticationFailed("another system title")
        row = await carried(place, seconds=0.4)
        assert row["state"] == State.EXPIRED
        assert any(line.get("cause", "").startswith("authentication-failed") for line in place.lines)
        assert not place.fakes[M1].asked


async def test_H09_a_line_that_is_lost_under_an_association_is_seen_before_anything_goes_out(
    tmp_path: Path,
) -> None:
    async with home(tmp_path, api=False, linger=SOON) as place:
        fake = place.fakes[M1]
        assert (await carried(place))["state"] == State.ANSWERED
        assert fake.is_open
        fake.is_lost = True
        assert (await carried(place))["state"] == State.ANSWERED
        assert fake.signed_on == 2


# --- what lasts -----------------------------------------------------------------------------------------


async def test_what_was_accepted_is_carried_after_a_restart_and_what_was_sent_is_not_sent_again(
    tmp_path: Path,
) -> None:
    never = asyncio.Event()

    async def hangs(sealed: Sealed) -> bytes:
        await never.wait()
        return b""

    async with home(tmp_path, api=False) as place:
        fake, north = place.fakes[M1], place.house.config.utilities[0]
        fake.answer = hangs
        sent = await place.house.accept(north, M1, sealed_for(M1), SOON)
        waits = await place.house.accept(north, M1, sealed_for(M1, content=b"\x30\0\0\0\2second"), SOON)
        async with asyncio.timeout(SOON):
            while not fake.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    async with home(tmp_path, api=False) as again:
        await settled(again.house)
        (first,) = await again.house.store.run(store.one(sent.id, "north"))
        (second,) = await again.house.store.run(store.one(waits.id, "north"))
        assert (first["state"], second["state"]) == (State.UNANSWERED, State.ANSWERED)
        assert [one.octets for one in again.fakes[M1].asked] == [waits.sealed.octets]
        account = await again.house.store.run(store.account_of("north", None, 10))
        assert {row["request"]: row["outcome"] for row in account} == {
            sent.id: "unanswered",
            waits.id: "answered",
        }


async def test_a_meter_that_left_the_file_has_its_requests_refused(tmp_path: Path) -> None:
    async with home(tmp_path, api=False) as place:
        place.fakes[M1].sign_on_error = ConnectionLost("nobody there")
        request = await place.house.accept(place.house.config.utilities[0], M1, sealed_for(M1), SOON)
    plain = config(tmp_path)
    async with Home(replace(plain, meters=plain.meters[1:]), tmp_path / "state") as house:
        (row,) = await house.store.run(store.one(request.id, "north"))
        assert row["state"] == State.REFUSED


async def test_a_request_is_taken_back_until_it_is_sent(tmp_path: Path) -> None:
    async with home(tmp_path, api=False) as place:
        north, south = place.house.config.utilities
        place.fakes[M1].sign_on_error = ConnectionLost("nobody there")
        request = await place.house.accept(north, M1, sealed_for(M1), SOON)
        assert not await place.house.cancel(request.id, south)
        assert await place.house.cancel(request.id, north)
        (row,) = await place.house.store.run(store.account_of("north", None, 10))
        assert row["outcome"] == State.CANCELLED
        assert not await place.house.cancel("0" * 24, north)


async def test_a_meters_queue_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.headend.house.MOST_OF_METER", 3)
    async with home(tmp_path, api=False) as place:
        north = place.house.config.utilities[0]
        place.fakes[M1].sign_on_error = ConnectionLost("nobody there")
        for _ in range(3):
            await place.house.accept(north, M1, sealed_for(M1), SOON)
        with pytest.raises(Busy):
            await place.house.accept(north, M1, sealed_for(M1), SOON)


async def test_what_is_kept_has_its_days_and_is_gone_from_the_files_when_it_is_forgotten(
    tmp_path: Path,
) -> None:
    canary = b"\x30\0\0\0\1" + b"CANARY-IN-THE-QUEUE" * 3
    async with home(tmp_path, api=False) as place:
        run = place.house.store.run
        row = await carried(place, sealed_for(M1, content=canary))
        await run(store.read(M1.hex().upper(), time.time(), {"3/1.0.1.8.0.255:2": "CANARY-READING"}))
        now = time.time()
        assert await run(store.outdated(now + 6 * store.DAY, 90, 7)) == 0
        assert await run(store.outdated(now + 8 * store.DAY, 90, 7)) == 1, "the sealed octets"
        assert not await run(store.one(row["id"], "north"))
        assert len(await run(store.account_of("north", None, 10))) == 1
        assert await run(store.outdated(now + 91 * store.DAY, 90, 7)) == 2
        assert not await run(store.account_of(None, None, 10))
        await carried(place, sealed_for(M1, content=canary))
        assert await run(store.forget(M1.hex().upper(), "south")) == 0
        assert await run(store.forget(M1.hex().upper())) == 2
        await place.house.store.emptied()
        held = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir() if path.is_file())
        assert b"CANARY" not in held
        assert place.house.store._engine.dialect.name == "sqlite"
        assert oct((tmp_path / "state" / "headend.sqlite").stat().st_mode)[-3:] == "600"


async def test_its_own_role_reads_what_it_may(tmp_path: Path) -> None:
    class Value:
        error = None

        def as_json(self) -> dict[str, object]:
            return {"obis": "1.0.1.8.0.255", "value": 42}

    class No:
        error = Refused("no", reason="read-write-denied", code=3, source="data-access-result")

    plain = config(tmp_path)
    meter = replace(plain.meters[0], collect=("3/1.0.1.8.0.255:2", "3/1.0.2.8.0.255:2"), every=1000.0)
    async with home(tmp_path, api=False, meters=(meter, *plain.meters[1:])) as place:
        place.fakes[M1].values = [Value(), No()]
        async with asyncio.timeout(SOON):
            while not (rows := await place.house.store.run(store.readings_of(M1.hex().upper(), 10))):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert [(row["object"], row["value"]) for row in rows] == [
            ("3/1.0.1.8.0.255:2", '{"obis": "1.0.1.8.0.255", "value": 42}')
        ]
        assert any(line["event"] == "not read" for line in place.lines)


async def test_many_requests_share_writes(tmp_path: Path) -> None:
    async with home(tmp_path, api=False) as place:
        batches: list[int] = []
        plain = place.house.store._batch

        def counted(jobs: list[store.Job]) -> list[object]:
            batches.append(len(jobs))
            return plain(jobs)

        place.house.store._batch = counted  # type: ignore[method-assign]
        north = place.house.config.utilities[0]
        made = await asyncio.gather(*(place.house.accept(north, M1, sealed_for(M1), SOON) for _ in range(50)))
        assert len(made) == 50
        assert max(batches) >= 20
        await settled(place.house)


def test_a_head_end_is_no_more_than_its_extra(tmp_path: Path) -> None:
    assert issubclass(Home, HeadEnd)
    assert TITLES["north"] in config(tmp_path).utilities[0].titles
