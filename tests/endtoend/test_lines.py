"""Bad lines and bad company between utility and meter: H06 to H09, F11, F12, F15, F16, all parties there."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meterseal import net
from meterseal.concentrator import house as houses
from meterseal.concentrator.pushes import PAIRS
from meterseal.errors import Refused, Withheld
from meterseal.framing import gateway, gbt
from meterseal.framing.hdlc import Timing
from meterseal.headend import store
from meterseal.headend import visitor as visitors
from meterseal.meter import MeterServer
from meterseal.utility import SealedMeter
from meterseal.utility.over_https import Via
from tests.endtoend.between import Between, Frame
from tests.endtoend.whole import SOON, Whole, new_meter, until, whole

ENERGY = "3/1.0.1.8.0.255:2"
SWITCH = "70/0.0.96.3.10.255:1"
HERE: dict[str, Any] = {"pushes": (net.parse("tcp://127.0.0.1:0"), net.parse("udp://127.0.0.1:0"))}
PLACES = ["front", "back"]
SHORT = 0.5


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "FIRST_PAUSE", 0.01)


def short(all_: Whole, seconds: float = SHORT) -> tuple[Via, SealedMeter]:
    """The utility with little patience, and its way."""
    via = Via(str(all_.via._client.base_url), all_.credentials, timeout=seconds)
    return via, all_.utility(via.carry)


async def outcomes(all_: Whole) -> list[str]:
    """What has become of requests, oldest first."""
    found = await all_.house.store.run(store.account_of("utility", None, 100))
    return [row["outcome"] for row in reversed(found)]


# --- H06: partition -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
async def test_H06_a_line_that_is_cut_delays_reads_and_does_no_late_command(
    tmp_path: Path, place: str
) -> None:
    """What has not gone out in its time is not done when the line is whole again."""
    async with whole(tmp_path, behind=True, between=True) as all_:
        between: Between = getattr(all_, place)
        between.cut_now()
        via, utility = short(all_)
        async with via:
            with pytest.raises(Withheld):
                await utility.call(SWITCH)
        waits = asyncio.create_task(all_.utility().read(ENERGY))
        await until(lambda: bool(all_.house.visitors[all_.meter.system_title].failures))
        between.cut = False
        assert (await waits).error is None
        assert all_.meter.plant.connected, "the command has expired"
        assert (await outcomes(all_))[-1] == "answered"


@pytest.mark.parametrize("place", PLACES)
async def test_H06_a_line_that_carries_one_way_only_has_no_command_done_twice(
    tmp_path: Path, place: str
) -> None:
    """It is done, and nobody can know it; the head-end does not try again by itself."""
    async with whole(tmp_path, behind=True, between=True, linger=SOON) as all_:
        assert (await all_.utility().read(ENERGY)).error is None
        between: Between = getattr(all_, place)
        between.back = lambda frame: []
        before = between.passed
        for patience in (SHORT, 2 * SHORT, SOON):  # what did not even go out in its time is asked for again
            via, utility = short(all_, patience)
            async with via:
                with pytest.raises(Withheld):
                    await utility.call(SWITCH)
            if between.passed > before:
                break
        await until(lambda: not all_.meter.plant.connected)
        assert between.passed == before + 1, "once"
        between.back = lambda frame: [frame]
        assert (await all_.utility().read(ENERGY)).error is None
        found = [one for one in await outcomes(all_) if one != "expired"]
        assert found[:2] == ["answered", "unanswered"]


# --- H07, H08: slow, lossy, late --------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 7], ids=["whole", "each seventh is lost"])
async def test_H07_frames_of_128_octets_and_a_line_that_loses_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Behind the concentrator: what is lost is sent again there, and the utility gets all of it."""
    monkeypatch.setattr("meterseal.concentrator.lanes.Timing", partial(Timing, retries=150))
    monkeypatch.setattr("meterseal.concentrator.lanes._TRIES", 150)  # asks again soon, and gives up late
    async with whole(tmp_path, behind=True, lost=lost, timeout=SOON) as all_:
        utility = all_.utility()
        assert (await utility.read(ENERGY)).error is None
        assert lost or len(await utility.profile("1.0.99.1.0.255", entries=(1, 12))) == 12
        await utility.call(SWITCH)
        assert not all_.meter.plant.connected and utility.missed == 0
        assert set(await outcomes(all_)) == {"answered"}


@pytest.mark.parametrize("place", PLACES)
async def test_H08_an_answer_that_comes_late_is_not_that_to_the_next_request(
    tmp_path: Path, place: str
) -> None:
    async with whole(tmp_path, behind=True, between=True, linger=SOON) as all_:
        between: Between = getattr(all_, place)
        assert (await all_.utility().read(ENERGY)).error is None
        between.delay = 2 * SHORT
        via, utility = short(all_)
        async with via:
            with pytest.raises(Withheld):
                await utility.read("8/0.0.1.0.0.255:2")
        between.delay = 0.0
        energy = await all_.utility().read(ENERGY)
        assert energy.error is None and isinstance(energy.value, int)


@pytest.mark.parametrize("place", PLACES)
async def test_H08_frames_that_come_twice_are_one_answer_each(tmp_path: Path, place: str) -> None:
    """The meter refuses the second request by its counter; an association that is out of step is dropped."""
    async with whole(tmp_path, behind=True, between=True) as all_:
        between: Between = getattr(all_, place)
        between.back = lambda frame: [frame, frame]
        results = []
        for _ in range(2):
            via, utility = short(all_)
            async with via:
                try:
                    results.append((await utility.read(ENERGY)).error)
                except Withheld as error:
                    results.append(error)
        between.back = lambda frame: [frame]
        assert all(one is None or isinstance(one, Withheld) for one in results)
        assert (await all_.utility().read(ENERGY)).error is None


# --- H09: another meter -------------------------------------------------------------------------------


async def test_H09_a_meter_that_is_another_now_gets_no_request(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        other = new_meter(1)
        stack.callback(other.close)
        server = await stack.enter_async_context(MeterServer(other))
        all_ = await stack.enter_async_context(whole(tmp_path, behind=True, between=True))
        assert (await all_.utility().read(ENERGY)).error is None
        visitor = all_.house.visitors[all_.meter.system_title]
        await until(lambda: visitor._work is None)  # into an open association the command would have gone
        all_.back.cut_now()
        target, all_.back.target, all_.back.cut = all_.back.target, server.url, False
        waits = asyncio.create_task(all_.utility().call(SWITCH))
        await until(lambda: bool(visitor.failures))
        assert other.plant.connected and not waits.done(), "it has not gone out"
        all_.back.target = target
        await waits
        assert not all_.meter.plant.connected and other.plant.connected, "the meter is back, no key is lost"


# --- F11, F12: blocks ---------------------------------------------------------------------------------


def block(number: int, last: bool = False, size: int = 1000, streaming: bool = True) -> bytes:
    return gbt.encode(
        gbt.Block(number, bytes((number & 0xFF,)) * size, last=last, streaming=streaming, window=1)
    )


HOSTILE = {
    "no last one": [block(number) for number in range(1, 200)],
    "a gap": [block(1), block(3)],
    "a number again": [block(1), block(2), gbt.encode(gbt.Block(2, b"other", window=1, streaming=True))],
    "number 0": [block(0)],
    "release in the middle": [block(1), b"\x63\x00"],
    "no block": [b"\xe0\xff\xff"],
}


@pytest.mark.parametrize("blocks", HOSTILE.values(), ids=list(HOSTILE))
async def test_F11_a_meter_that_answers_in_blocks_without_end_costs_one_request(
    tmp_path: Path, blocks: list[bytes]
) -> None:
    """What gateway and head-end hold of it has an end, in octets and in time; the next request is served."""
    async with whole(tmp_path, behind=True, between=True) as all_:
        sealed: list[Frame] = []

        def back(frame: Frame) -> list[Frame]:
            if not sealed or len(frame[2]) < 150:
                return [frame]
            sealed.clear()
            return [(*frame[:2], octets) for octets in blocks]

        def there(frame: Frame) -> list[Frame]:
            if len(frame[2]) > 150:
                sealed.append(frame)
            return [frame]

        all_.back.there, all_.back.back = there, back
        via, utility = short(all_, SOON)
        async with via:
            with pytest.raises(Withheld):
                await utility.read(ENERGY)
        all_.back.there = all_.back.back = lambda frame: [frame]
        assert (await all_.utility().read(ENERGY)).error is None
        assert (await outcomes(all_))[0] in ("unanswered", "refused")


async def test_F12_half_open_transfers_of_strangers_take_no_room_of_the_head_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(houses, "PER_SOURCE", 16)
    async with whole(tmp_path, behind=True, linger=SOON, **HERE) as all_:
        assert all_.yard is not None
        assert (await all_.utility().read(ENERGY)).error is None
        prefix = gateway.Prefix(True, 1, b"\1")
        async with AsyncExitStack() as stack:
            for _ in range(60):
                line = await stack.enter_async_context(await net.connect(all_.yard.url))
                for client in range(20, 24):
                    await line.send(client, 1, gateway.encode(prefix, block(1)))
                pushing = await stack.enter_async_context(await net.connect(all_.yard.inlets[0].url))
                for client in range(PAIRS + 4):
                    await pushing.send(1, client, block(1))
            await until(lambda: all_.yard is not None and all_.yard.record.strays >= 4 * 60)
            assert all_.yard.lanes.count <= 16 + 1, "of strangers the oldest go, who has proved itself stays"
            assert (await all_.utility().read(ENERGY)).error is None
            all_.push()
            await all_.waiting()


# --- F15, F16: floods ---------------------------------------------------------------------------------


async def test_F15_connections_that_come_and_go_in_every_way_are_in_nobodys_way(tmp_path: Path) -> None:
    """At the API, at the concentrator, and where both listen for pushes."""
    async with whole(tmp_path, behind=True, **HERE) as all_:
        assert all_.yard is not None
        urls = [
            str(all_.via._client.base_url),
            all_.yard.url,
            all_.yard.inlets[0].url,
            all_.house.pushes.urls[0],
        ]
        part = b"\x00\x01\x00\x10\x00\x01\x00\x40\xe6\x01"  # a wrapper's header, and the APDU does not come
        for url in urls:
            where = net.parse(url.replace("https", "tcp"))
            for way in range(60):
                with socket.create_connection((where.host, where.port)) as one:
                    if way % 3:
                        one.sendall(part[: way % 11])
                    if way % 3 == 1:
                        one.shutdown(socket.SHUT_WR)
                    if way % 3 == 2:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await asyncio.sleep(0)
        assert (await all_.utility().read(ENERGY)).error is None
        all_.push()
        await all_.waiting()


async def test_F16_no_datagram_is_answered_where_pushes_are_listened_for(tmp_path: Path) -> None:
    """So nobody's address can be flooded with answers; the largest and the empty ones do no harm."""
    async with whole(tmp_path, behind=True, **HERE) as all_:
        where = net.parse(all_.house.pushes.urls[1])
        junk = [
            b"",
            bytes(65_507),
            b"\x00\x01",
            b"\x00\x01\x00\x01\x00\x04\xff\xff" + bytes(99),
            b"\xdb" * 1400,
        ]
        title = all_.meter.system_title
        junk.append(b"\x00\x01\x00\x01\x00\x04\x00\x1c\xdb\x08" + title + b"\x11\x30" + bytes(16))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            stranger.bind(("127.0.0.1", 0))
            for octets in junk:
                stranger.sendto(octets, (where.host, where.port))
                await asyncio.sleep(0.01)
            before = all_.house.pushes.refused
            async with asyncio.timeout(SOON):
                while all_.house.pushes.refused < before + 20:
                    stranger.sendto(junk[-1], (where.host, where.port))
                    await asyncio.sleep(0.001)
            all_.push(all_.house.pushes.urls[1])
            await all_.waiting()
            with pytest.raises(BlockingIOError):
                stranger.recv(1)


async def test_F21_an_answer_of_the_meter_that_is_no_sealed_one_is_named(tmp_path: Path) -> None:
    """What refuses in clear, on the way, is the carrier's word: withheld, and nothing is believed of it."""
    async with whole(tmp_path, behind=True, between=True) as all_:
        all_.back.back = lambda frame: [(*frame[:2], b"\xd8\x01\x01")]
        via, utility = short(all_)
        async with via:
            with pytest.raises((Withheld, Refused)):
                await utility.read(ENERGY)
        all_.back.back = lambda frame: [frame]
        assert (await all_.utility().read(ENERGY)).error is None
