"""Time at the client: answers that come late or never, cancelled requests, time-outs that make no sense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import meterseal
from meterseal import MemoryCounters, net
from meterseal.errors import (
    ConfigurationError,
    Misuse,
    TimedOut,
)
from tests.client.conftest import Twin
from tests.client.fake_meter import Exchange, FakeMeter

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
    with twin.connect(fake, timeout=0.5 if "tcp" in twin.kind else 0.05) as meter:
        first = meter.get(3, "1.0.1.8.0.255", 2)
        with pytest.raises(TimedOut):
            meter.get(8, "0.0.1.0.0.255", 2)
        assert meter.get(3, "1.0.1.8.0.255", 2) == first
        with pytest.raises(TimedOut):
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
def test_H16_times_that_make_no_sense(memory_twin: Twin, timeout: Any) -> None:
    with (
        pytest.raises(ConfigurationError, match="timeout: a time of more than 0 seconds"),
        memory_twin.connect(FakeMeter(), timeout=timeout),
    ):
        pass


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 10**400], ids=["huge", "infinite", "beyond"])
def test_H16_times_without_end(memory_twin: Twin, timeout: Any) -> None:
    with memory_twin.connect(FakeMeter(), timeout=timeout) as meter:
        assert meter.read("1.0.1.8.0.255").unit == "Wh"
