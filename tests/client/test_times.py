"""Time at the client: answers that come late or never, cancelled requests, time-outs that make no sense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import meterseal
from meterseal import MemoryCounters, net
from meterseal.errors import (
    ConfigurationError,
    Forged,
    Misuse,
    Refused,
    TimedOut,
)
from tests.client.conftest import Twin, unanswered
from tests.client.fake_meter import ENERGY, Exchange, FakeMeter

# --- time -----------------------------------------------------------------------------------------


def silent(*numbers: int) -> Any:
    """A meter that does not answer these requests, and keeps what it would have said."""
    kept: list[bytes] = []

    def alter(exchange: Exchange) -> list[bytes] | None:
        if exchange.number in numbers:
            kept.append(exchange.reply)
            return []
        late, kept[:] = list(kept), []
        return [*late, exchange.reply]

    return alter


def test_a_late_answer_is_never_the_next_ones(twin: Twin) -> None:
    fake = FakeMeter(alter=silent(4, 6))
    with twin.connect(fake) as meter:
        first = meter.get(3, "1.0.1.8.0.255", 2)
        with unanswered(meter):
            meter.get(8, "0.0.1.0.0.255", 2)
        assert meter.get(3, "1.0.1.8.0.255", 2) == first
        with unanswered(meter):
            meter.get(8, "0.0.1.0.0.255", 2)
        assert meter.get(3, "1.0.32.7.0.255", 2) == bytes.fromhex("120900")


def test_an_association_that_is_never_answered_ends(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake, timeout=0.001) as meter:
        fake.alter = lambda exchange: []
        for _ in range(16):
            with pytest.raises(TimedOut):
                meter.get(3, "1.0.1.8.0.255", 2)
        with pytest.raises(TimedOut, match="sign on anew"):
            meter.get(3, "1.0.1.8.0.255", 2)


def test_a_sign_on_without_an_answer_spoils_its_pair(memory_twin: Twin) -> None:
    fake = FakeMeter(alter=lambda exchange: [])
    with memory_twin.link(fake) as link:
        with pytest.raises(TimedOut), link.associate(timeout=0.02):
            pass
        fake.alter = None
        with pytest.raises(Misuse, match="open another line"), link.associate():
            pass


async def test_a_cancelled_request_leaves_the_association_in_order() -> None:
    fake = FakeMeter(alter=silent(4))
    async with meterseal.connect(
        credentials=fake.credentials(), counters=MemoryCounters(), line=net.loopback(fake.factory)
    ) as meter:
        first = await meter.get(3, "1.0.1.8.0.255", 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await meter.get(8, "0.0.1.0.0.255", 2)
        assert await meter.get(3, "1.0.1.8.0.255", 2) == first


async def test_cancelling_the_whole_does_not_wait_for_a_release() -> None:
    fake = FakeMeter()
    opened = asyncio.Event()

    async def use() -> None:
        async with meterseal.connect(
            credentials=fake.credentials(), counters=MemoryCounters(), line=net.loopback(fake.factory)
        ):
            fake.alter = lambda exchange: pytest.fail("a release was sent")
            opened.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(use())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "soon", True])
def test_H16_times_that_make_no_sense(twin: Twin, timeout: Any) -> None:
    with (
        pytest.raises(ConfigurationError, match="timeout: a time of more than 0 seconds"),
        twin.connect(FakeMeter(), timeout=timeout),
    ):
        pass


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 10**400], ids=["huge", "infinite", "beyond"])
def test_H16_times_without_end(twin: Twin, timeout: Any) -> None:
    with twin.connect(FakeMeter(), timeout=timeout) as meter:
        assert meter.read("1.0.1.8.0.255").unit == "Wh"


def test_a_read_that_was_asked_before_is_answered_late_refused_or_forged(twin: Twin) -> None:
    """As on the general road: what is no answer ends the read alone, and the next one finds all in order."""
    fake = FakeMeter(alter=silent(5))
    with twin.connect(fake) as meter:
        first = meter.get(*ENERGY, 2)
        assert meter.get(*ENERGY, 2) == first
        with unanswered(meter):
            meter.get(*ENERGY, 2)
        assert meter.get(*ENERGY, 2) == first

        def refuse(exchange: Exchange) -> list[bytes]:
            invoke = 0xC0 | meter._session.association._asking.identity
            return [exchange.seal(bytes((0xC4, 1, invoke, 1, 3)))]

        fake.alter = refuse
        with pytest.raises(Refused, match="read-write-denied"):
            meter.get(*ENERGY, 2)
        fake.alter = lambda exchange: [exchange.reply[:-1] + bytes((exchange.reply[-1] ^ 1,))]
        with pytest.raises(Forged):
            meter.get(*ENERGY, 2)
        fake.alter = None
        assert meter.get(*ENERGY, 2) == first


async def test_a_cancelled_read_that_was_asked_before_gives_up_its_answer() -> None:
    fake = FakeMeter(alter=silent(4))
    async with meterseal.connect(
        credentials=fake.credentials(), counters=MemoryCounters(), line=net.loopback(fake.factory)
    ) as meter:
        first = await meter.get(*ENERGY, 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await meter.get(*ENERGY, 2)
        assert [await meter.get(*ENERGY, 2) for _ in range(3)] == [first] * 3


async def test_reads_of_one_association_at_a_time_whoever_asks() -> None:
    fake = FakeMeter()
    async with meterseal.connect(
        credentials=fake.credentials(), counters=MemoryCounters(), line=net.loopback(fake.factory)
    ) as meter:
        first = await meter.get(*ENERGY, 2)
        assert await asyncio.gather(*(meter.get(*ENERGY, 2) for _ in range(5))) == [first] * 5
