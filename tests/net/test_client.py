"""The calling end, with asyncio and without: what `send` and `receive` promise on every kind of line."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
)
from typing import TypeAlias

import pytest

from meterseal import net
from meterseal.errors import (
    ConfigurationError,
    ConnectionLost,
    Misuse,
    TimedOut,
    TooLarge,
    Unsupported,
)
from meterseal.net import Limits, Link
from tests.net.parties import APDU, CONNECTS, SOON, Parties, echo, ended, numbered, serve, silent, until


@asynccontextmanager
async def tcp_line(parties: Parties, limits: Limits | None = None) -> AsyncIterator[net.Line]:
    """A line to a party over a socket."""
    async with await serve(parties) as server, await net.connect(server.url, limits=limits) as line:
        yield line


@asynccontextmanager
async def memory_line(parties: Parties, limits: Limits | None = None) -> AsyncIterator[net.Line]:
    """A line to a party in memory."""
    async with net.loopback(parties, limits=limits) as line:
        yield line


LINES = pytest.mark.parametrize("opened", [tcp_line, memory_line], ids=["tcp", "memory"])
Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[net.Line]]


@LINES
async def test_send_and_receive(opened: Opened) -> None:
    async with opened(Parties()) as line:
        for size in (1, 13, 2000, 65_535):
            await line.send(16, 1, bytes(size))
            assert await line.receive(SOON) == (1, 16, bytes(size))


@LINES
async def test_what_came_early_waits_in_order(opened: Opened) -> None:
    async with opened(Parties(numbered)) as line:
        await line.send(16, 1, b"\x05")
        assert [(await line.receive(SOON))[2][0] for _ in range(5)] == [0, 1, 2, 3, 4]


@LINES
async def test_channels_get_their_own_frames_and_only_these(opened: Opened) -> None:
    async with opened(Parties()) as line:
        one, two = line.channel(16, 1), line.channel(2, 1)
        await two.send(b"two")
        await one.send(b"one")
        await line.send(3, 1, b"none")
        assert list(await asyncio.gather(one.receive(SOON), two.receive(SOON))) == [b"one", b"two"]
        assert await line.receive(SOON) == (1, 3, b"none")
        with pytest.raises(Misuse, match="already"):
            line.channel(16, 1)
        one.close()
        one.close()
        again = line.channel(16, 1)
        one.close()  # frees nothing of the other's
        await again.send(b"again")
        assert await again.receive(SOON) == b"again"
        again.close()
        await line.send(16, 1, b"late")
        assert await line.receive(SOON) == (1, 16, b"late")


@LINES
async def test_a_time_out_leaves_the_line_usable(opened: Opened) -> None:
    async with opened(Parties(numbered)) as line:
        for timeout in (0, 0.01, 0.03, 0.02):
            with pytest.raises(TimedOut):
                await line.receive(timeout)
        await line.send(16, 1, b"\x01")
        assert (await line.receive(SOON))[2] == b"\x00\x01"


async def test_one_timer_serves_waits_of_any_length() -> None:
    async with memory_line(parties := Parties(silent)) as line:
        party = await parties.last()
        loop = asyncio.get_running_loop()
        for _ in range(3):
            loop.call_later(0.02, party.link.send, 1, 16, APDU)
            assert await line.receive(60) == (1, 16, APDU)  # a long wait, and the timer stays set
            with pytest.raises(TimedOut):
                await line.receive(0.01)  # a shorter one needs a sooner timer
        waiting = asyncio.ensure_future(line.receive(0.01))
        await asyncio.sleep(0)
        party.link.send(1, 16, APDU)
        assert await waiting == (1, 16, APDU)
        forever = asyncio.ensure_future(line.receive(None))
        await asyncio.sleep(0.03)  # the timer of the wait before fires and finds another one
        assert not forever.done()
        party.link.send(1, 16, APDU)
        assert await forever == (1, 16, APDU)
        longer = asyncio.ensure_future(line.receive(0.01))
        await asyncio.sleep(0)
        party.link.send(1, 16, APDU)
        await longer
        with pytest.raises(TimedOut):
            await line.receive(0.05)  # set again when the earlier one fires


@LINES
async def test_only_one_may_wait(opened: Opened) -> None:
    async with opened(Parties(silent)) as line:
        first = asyncio.ensure_future(line.receive(SOON))
        await asyncio.sleep(0)
        with pytest.raises(Misuse, match="waits"):
            await line.receive(SOON)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_frame_that_came_to_a_cancelled_wait_is_not_lost() -> None:
    async with memory_line(parties := Parties(silent)) as line:
        waiting = asyncio.ensure_future(line.receive(SOON))
        await asyncio.sleep(0)
        (await parties.last()).link.send(1, 16, APDU)
        (await parties.last()).link.send(1, 16, b"second")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [(await line.receive(SOON))[2] for _ in range(2)] == [APDU, b"second"]


@LINES
async def test_the_peers_end_is_told_after_what_it_sent(opened: Opened) -> None:
    def last_words(link: Link, source: int, destination: int, payload: bytes) -> None:
        echo(link, source, destination, payload)
        link.close()

    async with opened(Parties(last_words)) as line:
        channel = line.channel(2, 1)
        await line.send(16, 1, APDU)
        assert (await line.receive(SOON))[2] == APDU
        with pytest.raises(ConnectionLost):
            await line.receive(SOON)
        assert line.is_closing
        for call in (
            lambda: line.send(16, 1, APDU),
            lambda: channel.receive(SOON),
            lambda: channel.send(APDU),
        ):
            with pytest.raises(ConnectionLost):
                await call()
        with pytest.raises(ConnectionLost):
            line.channel(5, 1)


@LINES
async def test_closing_ends_a_wait(opened: Opened) -> None:
    async with opened(parties := Parties(silent)) as line:
        waiting = asyncio.ensure_future(line.receive(SOON))
        in_channel = asyncio.ensure_future(line.channel(2, 1).receive(None))
        await asyncio.sleep(0)
        await line.close()
        for wait in (waiting, in_channel):
            with pytest.raises(ConnectionLost, match="at this end"):
                await wait
        assert isinstance(await ended(await parties.last()), ConnectionLost)


@LINES
async def test_A19_an_apdu_above_the_own_limit_ends_the_line(opened: Opened) -> None:
    def too_much(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.send(destination, source, bytes(1025))

    async with opened(Parties(too_much), Limits(apdu=1024)) as line:
        await line.send(16, 1, APDU)
        with pytest.raises(TooLarge):
            await line.receive(SOON)


@LINES
async def test_F14_a_flood_that_nobody_asked_for_ends_the_line(opened: Opened) -> None:
    def flood(link: Link, source: int, destination: int, payload: bytes) -> None:
        for _ in range(40):
            link.send(destination, source, bytes(60_000))

    async with opened(Parties(flood)) as line:
        await line.channel(16, 1).send(APDU)
        await until(lambda: bool(line.is_closing))
        with pytest.raises(TooLarge, match="nobody"):
            await line.send(16, 1, APDU)


async def test_sending_waits_for_the_peer_to_read() -> None:
    async with await serve(parties := Parties(silent)) as server, await net.connect(server.url) as line:
        link = (await parties.last()).link
        link._transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.ensure_future(send_many(line, 300))
        await until(lambda: line.link.unsent)
        assert not sending.done()
        link._transport.resume_reading()  # type: ignore[attr-defined]
        await sending
        await until(lambda: len(parties.made[0].frames) == 300)


async def send_many(line: net.Line, count: int) -> None:
    for _ in range(count):
        await line.send(16, 1, bytes(60_000))


async def test_two_ends_with_much_to_send_do_not_wait_for_each_other() -> None:
    async with await serve(Parties()) as server, await net.connect(server.url) as line:
        sending = asyncio.ensure_future(send_many(line, 300))
        for _ in range(300):
            assert (await line.receive(SOON))[2] == bytes(60_000)
        await sending
        await line.link.drain()
        line.link.established()  # means nothing at this end


async def test_F14_sending_to_a_peer_that_never_reads_ends_by_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        async with await net.connect(url, limits=Limits(write_time=0.1)) as line:
            with pytest.raises(TimedOut, match="read"):
                await send_many(line, 300)


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    for connect in CONNECTS:
        with pytest.raises(ConnectionLost, match=r"tcp://127\.0\.0\.1"):
            await connect(url)
        with pytest.raises(ConnectionLost, match="no-such-host"):
            await connect("tcp://no-such-host.invalid:4059")
        with pytest.raises(ConnectionLost):
            await connect("tcp://" + "a" * 70 + ".invalid:4059")


async def test_which_urls_can_be_opened() -> None:
    for connect in CONNECTS:
        with pytest.raises(Unsupported):
            await connect("han+tcp://127.0.0.1")
        with pytest.raises(ConfigurationError):
            await connect("http://127.0.0.1")
