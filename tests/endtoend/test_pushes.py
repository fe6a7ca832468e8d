"""Pushes past the head-end: kept sealed, offered to their utility alone, opened there, each once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meterseal import net
from meterseal.cosem.obis import Obis
from meterseal.demo.street import UTILITY_TITLE
from meterseal.demo.street_meters import PUSH
from meterseal.errors import Altered, Moved, Replayed, UnknownKey
from meterseal.headend import HeadEnd, store
from meterseal.headend.journal import Journal
from meterseal.listener import Received
from meterseal.meter.orders import Order
from meterseal.security.sealed import Sealed
from meterseal.state import MemoryCounters
from meterseal.utility.over_https import Via, Waiting
from meterseal.utility.pushes import Arrived, Pushes
from tests.endtoend.whole import Whole, until, until_some, whole
from tests.headend.home import sealed_for

HERE: dict[str, Any] = {"pushes": (net.parse("tcp://127.0.0.1:0"), net.parse("udp://127.0.0.1:0"))}


def pushes(all_: Whole, via: Via | None = None, **more: Any) -> Pushes:
    """The utility's end; it holds credentials of the one meter."""
    held = {all_.meter.system_title: all_.credentials}
    return Pushes(via or all_.via, more.pop("find", held.get), counters=MemoryCounters(), **more)


@pytest.mark.parametrize(("suite", "line"), [(0, 0), (1, None), (2, 1)], ids=["tcp", "behind", "udp"])
async def test_E01_a_push_passes_a_head_end_that_learns_nothing(
    tmp_path: Path, suite: int, line: int | None
) -> None:
    """Straight, or by way of a concentrator."""
    with net.WireLog(tmp_path / "wires") as wires:
        async with whole(tmp_path, suite, behind=line is None, wires=wires, **HERE) as all_:
            all_.push(None if line is None else all_.house.pushes.urls[line])
            (row,) = await all_.waiting()
            shown = [
                await all_.answer(f"/v1/{path}") for path in ("pushes", f"pushes/{row['id']}", "account")
            ]
            came: list[Arrived] = []
            assert await pushes(all_).fetch(came.append) == 1
            (one,) = came
            assert one.error is None and one.pushed is not None
            value = one.pushed.value
            assert value[0] == Obis(PUSH) and value[2] > 0
            kinds = [layer["kind"] for layer in one.pushed.layers]
            assert kinds == ["general-ciphering", "general-signing"][: 1 + bool(suite)]
            assert await pushes(all_).fetch(came.append) == 0, "acknowledged: it is kept no longer"
            (account,) = await all_.house.store.run(store.account_of("utility", None, 9))
            assert (account["outcome"], account["size"], account["answer_size"]) == (
                "fetched",
                row["size"],
                None,
            )
            held = all_.held() + (tmp_path / "wires").read_bytes() + "".join(shown).encode()
            plain = one.pushed.plain
            canaries = [plain[at : at + 12] for at in range(0, len(plain) - 12, 6)]
            canaries += [canary for canary in (all_.credentials.third_party().octets("kek"),) if canary]
            forms = [f for one in canaries for f in (one, one.hex().encode(), one.hex().upper().encode())]
            assert not [form for form in forms if form in held], "0 hits in files, journal, trace and answers"
            assert row["id"].encode() in held, "the search finds what is there"


async def test_E02_E03_what_a_head_end_does_to_a_push_the_utility_names(tmp_path: Path) -> None:
    async with whole(tmp_path, **HERE) as all_:
        for _ in range(3):
            all_.push()
        rows = await all_.waiting(3)
        kept = [(await all_.house.store.run(store.push(row["id"], "utility")))[0]["sealed"] for row in rows]
        brought: list[bytes] = []

        class Hostile(Via):
            async def push(self, waiting: Waiting) -> Sealed:
                return Sealed.of(brought.pop(0))

            async def acknowledge(self, waiting: Waiting) -> None: ...

        other = bytearray(kept[1])
        at = other.index(all_.meter.system_title)
        other[at : at + 8] = b"MSL99999"
        brought += [kept[0][:-1] + bytes((kept[0][-1] ^ 1,)), bytes(other), kept[0]]
        again = [kept[0], kept[2], kept[1]]
        came: list[Arrived] = []
        async with Hostile(str(all_.via._client.base_url), all_.credentials) as via:
            end = pushes(all_, via)
            await end.fetch(came.append)
            assert [type(one.error) for one in came] == [Altered, Moved, type(None)]
            came.clear()
            brought += again
            await end.fetch(came.append)
        assert [type(one.error) for one in came] == [Replayed, type(None), type(None)], (
            "out of order is taken"
        )


async def test_E04_an_answer_that_overtakes_a_push_makes_it_no_old_one(tmp_path: Path) -> None:
    """Also for a process of the utility that begins later: answers and pushes have floors of their own."""
    async with whole(tmp_path, **HERE) as all_:
        all_.push()
        await all_.waiting()
        store_ = MemoryCounters()
        async with all_.utility(counters=store_) as utility:
            for _ in range(3):
                assert (await utility.read("3/1.0.1.8.0.255:2")).error is None
        held = {all_.meter.system_title: all_.credentials}
        came: list[Arrived] = []
        for _ in range(2):
            await Pushes(all_.via, held.get, counters=store_).fetch(came.append)
            all_.push()
            await all_.waiting()
        assert [one.error for one in came] == [None, None]


async def test_a_push_of_a_meter_without_credentials_stays_until_they_are_there(tmp_path: Path) -> None:
    async with whole(tmp_path, **HERE) as all_:
        all_.push()
        await all_.waiting()
        held: dict[bytes, Any] = {}
        end, came = pushes(all_, find=held.get), list[Arrived]()
        assert [await end.fetch(came.append) for _ in range(2)] == [1, 0]
        assert isinstance(came[0].error, UnknownKey) and not came[0].done
        held[all_.meter.system_title] = all_.credentials
        assert await pushes(all_, find=held.get).fetch(came.append) == 1
        assert came[1].error is None


async def test_B22_pushes_that_came_before_a_restart_wait_and_count_as_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[bytes] = []
    async with whole(tmp_path, **HERE) as all_:
        send = all_.meter.send

        def twice(order: Order) -> None:
            octets = order.seal()
            sent.append(octets)
            send(replace(order, seal=lambda: octets))

        all_.meter.send = twice
        all_.push()
        all_.push()
        await all_.waiting(2)
    async with HeadEnd(all_.house.config, tmp_path / "headend", Journal(all_.journal)) as again:
        async with await net.connect(again.pushes.urls[0]) as line:
            for octets in sent:
                await line.send(1, 4, octets)
            await until(lambda: again.pushes.refused == 2)
        assert len(await again.store.run(store.pushes_of("utility", None, 9))) == 2
    assert [record.message.split(": ")[1] for record in caplog.records] == ["replayed"] * 2


async def test_B22_a_push_of_an_unknown_meter_is_put_aside_by_its_title_within_bounds(tmp_path: Path) -> None:
    async with whole(tmp_path, **HERE) as all_:
        async with await net.connect(all_.house.pushes.urls[0]) as line:
            for at in range(300):
                title = b"MSL" + at.to_bytes(5, "big")
                await line.send(1, 4, b"\xdb\x08" + title + b"\x11\x30" + bytes(16))
            await until(lambda: all_.house.pushes.refused == 300)
        aside = sorted((tmp_path / "headend" / "pushes" / "unknown").iterdir())
        assert aside[0].name == "4D534C0000000000.jsonl" and len(aside) == 300
        all_.push()
        assert len(await all_.waiting()) == 1, "who makes up titles is in nobody's way"
        refused = b'meterseal_refusals_total{cause="unknown-key"}'
        assert refused in all_.house.metrics.text()
        assert b"meterseal_pushes_refused 300.0" in all_.house.metrics.text()


async def test_a_push_that_no_utility_here_is_meant_by_is_not_kept(tmp_path: Path) -> None:
    """Sealed for a stranger, or by another meter than the one that sends."""
    async with whole(tmp_path, **HERE) as all_:
        house, title = all_.house, all_.meter.system_title
        for originator, recipient in ((title, b"MSLUTI99"), (b"MSL00099", UTILITY_TITLE)):
            sealed = Sealed.of(sealed_for(recipient, originator))
            house.pushes._take(Received("here", (), title=title, sealed=sealed))
        assert await house.store.run(store.pushes_of(None, None, 9)) == []
        lines = all_.journal.getvalue()
        assert b"MSLUTI99".hex().upper() in lines and lines.count('"push refused"') == 2


async def test_of_too_many_pushes_the_oldest_goes_and_the_account_says_so(tmp_path: Path) -> None:
    async with whole(tmp_path, pushes_of_meter=2, **HERE) as all_:
        for _ in range(3):
            all_.push()
        await until_some(lambda: all_.house.store.run(store.account_of("utility", None, 9)))
        (row,) = await all_.house.store.run(store.account_of("utility", None, 9))
        assert row["outcome"] == "displaced"
        came: list[Arrived] = []
        assert await pushes(all_).fetch(came.append, most=1) == 1
        assert await pushes(all_).fetch(came.append) == 1


async def test_a_push_for_the_head_ends_own_role_is_a_reading_and_the_utility_sees_none_of_it(
    tmp_path: Path,
) -> None:
    """A push that is for the head-end itself is a reading of its role."""
    async with whole(tmp_path, **HERE) as all_:
        setup = all_.push_setup
        setup.values[10] = ([], setup.values[10][1])
        all_.push()
        await until_some(
            lambda: all_.house.store.run(store.readings_of(all_.meter.system_title.hex().upper(), 9))
        )
        (row,) = await all_.house.store.run(store.readings_of(all_.meter.system_title.hex().upper(), 9))
        assert row["object"] == "push" and row["value"].endswith("null, null]")
        assert await all_.house.store.run(store.pushes_of("utility", None, 9)) == []
