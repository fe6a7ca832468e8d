"""One APDU out and the next one in: what `exchange` of a channel takes, in whatever pieces it comes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal import net
from meterseal.errors import ConnectionLost, Malformed, MetersealError, TimedOut, TooLarge
from meterseal.framing import wrapper
from meterseal.net import Limits, WireLog, blocking
from meterseal.net.blocking_lines import Line, SocketLine
from tests.net.parties import SOON, Parties, silent

PAIR, OTHER = (1, 16), (1, 2)
ASKED, SAID = b"asked", b"said"

PIECES = st.lists(
    st.one_of(
        st.sampled_from([
            wrapper.encode(*PAIR, SAID),
            wrapper.encode(*PAIR, b"twice"),
            wrapper.encode(*OTHER, b"for another"),
            wrapper.encode(16, 1, b"the wrong way round"),
            wrapper.encode(*PAIR, bytes(300)),
            wrapper.encode(*PAIR, bytes(3000)),
            b"\x00\x01\x00\x01\x00\x10\x00\x00",
            b"\x00\x01\x00\x01\x00\x10\xff\xff" + bytes(40),
            b"\x00\x02\x00\x01\x00\x10\x00\x01a",
        ]),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=3,
).map(b"".join)  # fmt: skip


def came(octets: bytes, ask: Callable[[blocking.Channel], bytes], limits: Limits) -> list[object]:
    """What a line gives when these octets lie on it, and what is there to be had afterwards."""
    near, far = socket.socketpair()
    with far, SocketLine(near, limits, None) as line:
        channel, other = line.channel(16, 1), line.channel(2, 1)
        far.sendall(octets)
        gives: list[Callable[[], object]] = [
            lambda: ask(channel),
            lambda: ask(channel),
            lambda: other.receive(0),
            lambda: line.receive(0),
        ]
        found: list[object] = []
        for give in gives:
            try:
                found.append(give())
            except MetersealError as error:
                found.append((type(error), str(error)))
        return [*found, line.is_closing]


def exchanged(channel: blocking.Channel) -> bytes:
    return channel.exchange(ASKED, 0, time.monotonic())


def by_two(channel: blocking.Channel) -> bytes:
    channel.send(ASKED)
    return channel.receive(0)


@settings(max_examples=60)
@given(PIECES, st.sampled_from([65_535, 100]))
def test_an_exchange_is_a_send_and_a_receive(octets: bytes, largest: int) -> None:
    limits = Limits(apdu=largest)
    assert came(octets, exchanged, limits) == came(octets, by_two, limits)


def test_an_answer_alone_takes_two_calls_of_the_system() -> None:
    near, far = socket.socketpair()

    calls: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            calls.append(name)
            return getattr(near, name)

    line = SocketLine(near, Limits(), None)
    with far, line:
        channel = line.channel(16, 1)
        for turn in range(3):
            far.sendall(wrapper.encode(*PAIR, SAID))
            if turn == 2:
                line._socket = Counting()  # type: ignore[assignment]
            assert channel.exchange(ASKED, SOON, time.monotonic() + SOON) == SAID
        assert calls == ["send", "recv"]


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (b"", TimedOut),
        (b"\x00\x01", TimedOut),
        (wrapper.encode(*OTHER, SAID), TimedOut),
        (b"\x00\x02" + bytes(8), Malformed),
        (b"\x00\x01\x00\x01\x00\x10\xff\xff", TooLarge),
    ],
)
def test_F14_what_is_no_whole_answer_is_waited_for_or_refused(
    octets: bytes, error: type[MetersealError]
) -> None:
    near, far = socket.socketpair()
    with far, SocketLine(near, Limits(apdu=100), None) as line:
        far.sendall(octets)
        with pytest.raises(error):
            line.channel(16, 1).exchange(ASKED, 0.02, time.monotonic() + 0.02)


def test_a_line_that_has_ended_exchanges_nothing(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    line: Line = SocketLine(near, Limits(), None)
    channel = line.channel(16, 1)
    far.close()
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            channel.exchange(ASKED, SOON, time.monotonic() + SOON)


def test_a_wire_log_has_both_frames(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    with WireLog(tmp_path / "wire") as log, far, SocketLine(near, Limits(), log) as line:
        far.sendall(wrapper.encode(*PAIR, SAID))
        assert line.channel(16, 1).exchange(ASKED, SOON, time.monotonic() + SOON) == SAID
    text = (tmp_path / "wire").read_text()
    assert ASKED.hex().upper() in text
    assert SAID.hex().upper() in text


def test_with_a_loop_it_waits_until_the_deadline_and_no_longer() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await net.serve("127.0.0.1", 0, Parties(silent))
        async with server, await net.connect(server.url) as line:
            channel = line.channel(16, 1)
            for wait in (0.02, 0.0, 0.01):
                with pytest.raises(TimedOut):
                    await channel.exchange(ASKED, wait, loop.time() + wait)
            late = loop.call_later(0.01, lambda: channel.inbox.put(SAID, len(SAID)))
            assert await channel.exchange(ASKED, None, float("inf")) == SAID
            late.cancel()
            channel.inbox.put(SAID, len(SAID))
            assert await channel.exchange(ASKED, SOON, loop.time() + SOON) == SAID

    asyncio.run(run())
