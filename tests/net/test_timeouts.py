"""Time-outs and limits of every kind of line: 0, negative, huge, and what is no number."""

from __future__ import annotations

import socket

import pytest

from meterseal import net
from meterseal.errors import (
    Misuse,
    TimedOut,
)
from meterseal.net import Limits, blocking
from tests.net.parties import (
    ANSWER,
    APDU,
    CONNECTS,
    SOON,
    Parties,
    ended,
    in_thread,
    numbered,
    serve,
    silent,
    until,
)


@pytest.mark.parametrize("timeout", [-1, -0.0001, float("nan"), float("-inf"), True, "5", b"5", 1j])
async def test_H16_time_outs_that_are_none_are_misuse(timeout: object) -> None:
    async with net.loopback(Parties(silent)) as line:
        with pytest.raises(Misuse, match="timeout"):
            await line.receive(timeout)  # type: ignore[arg-type]
        with pytest.raises(Misuse, match="timeout"):
            await net.connect("tcp://127.0.0.1:1", timeout=timeout)  # type: ignore[arg-type]
    with pytest.raises(Misuse, match="timeout"):
        blocking.connect("tcp://127.0.0.1:1", timeout=timeout)  # type: ignore[arg-type]
    with net.blocking_loopback(Parties(silent)) as twin, pytest.raises(Misuse, match="timeout"):
        twin.receive(timeout)  # type: ignore[arg-type]
    for name in ("frame_time", "write_time"):
        with pytest.raises(Misuse, match=name):
            Limits(**{name: timeout})  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [1e7, 1e12, 1e300, float("inf"), 10**400, None])
async def test_H16_huge_time_outs_wait(timeout: float | None) -> None:
    limits = Limits(frame_time=timeout, write_time=timeout)
    async with await serve(Parties(), limits=limits) as server:
        async with await net.connect(server.url, timeout=timeout, limits=limits) as line:
            await line.send(16, 1, APDU)
            assert await line.receive(timeout) == (1, 16, APDU)
        assert await in_thread(blocking_exchange)(server.url, timeout, limits) == (1, 16, APDU)


def blocking_exchange(url: str, timeout: float | None, limits: Limits) -> object:
    with blocking.connect(url, timeout=timeout, limits=limits) as line:
        line.send(16, 1, APDU)
        return line.receive(timeout)


async def test_H16_zero_does_not_wait() -> None:
    async with await serve(parties := Parties(numbered)) as server:
        for connect in CONNECTS:
            with pytest.raises(TimedOut):
                await connect(server.url, timeout=0)
        async with await net.connect(server.url) as line:
            with pytest.raises(TimedOut):
                await line.receive(0)
            await line.send(16, 1, b"\x02")
            await line.receive(SOON)
            await until(lambda: bool(line._inbox.items))
            assert (await line.receive(0))[2][0] == 1
    assert parties.made


async def test_H16_frame_time_0_wants_a_frame_in_one_piece() -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=0)) as server:
        async with await net.connect(server.url) as line:
            await line.send(16, 1, APDU)
            assert await line.receive(SOON) == (1, 16, APDU)
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.sendall(ANSWER[:5])
            assert isinstance(await ended(await parties.last(2)), TimedOut)


def test_limits_that_are_none_are_misuse() -> None:
    for wrong in ({"apdu": 0}, {"apdu": 65_536}, {"unsent": -1}):
        with pytest.raises(Misuse):
            Limits(**wrong)
    for cap in ({"per_source": 0}, {"total": 0}):
        with pytest.raises(Misuse):
            net.Admission(**cap)
