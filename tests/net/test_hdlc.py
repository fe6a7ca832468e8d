"""HDLC over TCP, asyncio and blocking: pairs as on any line, links that come and go, time-outs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meterseal import net
from meterseal.errors import ConfigurationError, ConnectionLost, Misuse, TimedOut
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Address, Control, Frame, Kind, Parameters, Timing
from meterseal.net import Answering, Asking, Limits, Link, Server, WireLog, blocking
from meterseal.net.hdlc import serve_hdlc
from tests.net.parties import SOON, Parties, ended, forward, plain_socket, read_all, silent, until

APDU = bytes.fromhex("C001C100080000010000FF0200")
QUICK = Timing(response=0.2, retries=200, pause=0.01, hold=0.05)
"""Asks again soon, and gives nobody up who is only slow."""
ONCE = replace(QUICK, retries=1)
SNRM = hdlc.encode(Frame(Address(1), Address(16), Control(Kind.SNRM, True).encode()))
DISC = hdlc.encode(Frame(Address(1), Address(16), Control(Kind.DISC, True).encode()))


def serves(server: int) -> bool:
    return server in (1, 17)


@asynccontextmanager
async def serving(parties: Parties, answering: Answering | None = None, **more: Any) -> AsyncIterator[Server]:
    answering = answering or Answering(serves)
    async with await serve_hdlc("127.0.0.1", 0, parties, answering, **more) as server:
        yield server


async def asyncio_talk(url: str, asking: Asking, pairs: list[tuple[int, int, bytes]]) -> list[bytes]:
    """Each APDU over a channel of its pair; what came back, in order."""
    came = []
    async with await net.connect(url, hdlc=asking) as line:
        for client, server, apdu in pairs:
            channel = line.channel(client, server)
            await channel.send(apdu)
            came.append(await channel.receive(SOON))
            channel.close()
    return came


async def blocking_talk(url: str, asking: Asking, pairs: list[tuple[int, int, bytes]]) -> list[bytes]:
    """The same without a loop."""

    def talk() -> list[bytes]:
        came = []
        with blocking.connect(url, hdlc=asking) as line:
            for client, server, apdu in pairs:
                channel = line.channel(client, server)
                channel.send(apdu)
                came.append(channel.receive(SOON))
                channel.close()
        return came

    return await asyncio.to_thread(talk)


Talk = Callable[[str, Asking, list[tuple[int, int, bytes]]], Awaitable[list[bytes]]]
both = pytest.mark.parametrize("talk", [asyncio_talk, blocking_talk], ids=["asyncio", "blocking"])
LARGE = bytes(range(256)) * 250


@both
@pytest.mark.parametrize(
    "asking", [Asking(), Asking(17), Asking(17, 4), Asking(17, wanted=Parameters(128, 128, 1, 1))]
)
async def test_apdus_of_any_size_by_pair(talk: Talk, asking: Asking) -> None:
    parties = Parties()
    pairs = [(16, 1, APDU), (1, 1, LARGE), (2, 17, b"\xc0"), (16, 1, APDU * 3)]
    async with serving(parties) as server:
        assert server.url == f"hdlc+tcp://127.0.0.1:{server.port}"
        assert await talk(server.url, asking, pairs) == [apdu for _, _, apdu in pairs]
        party = await parties.last()
        assert await ended(party) is None or isinstance(party.cause, ConnectionLost)
    assert party.frames == pairs
    assert [parted[:2] for parted in party.partings] == [pair[:2] for pair in pairs], "DISC after each"


@both
@pytest.mark.parametrize("end", ["client", "meter"])
async def test_the_url_says_the_sizes(talk: Talk, end: str, tmp_path: Path) -> None:
    """At either end: what is agreed on is the smaller one, and every frame keeps to it."""
    options = "?frame_size=50&window=2"
    log = tmp_path / "wire.jsonl"
    with WireLog(log) as wires:
        where = net.parse("hdlc+tcp://127.0.0.1:0" + (options if end == "meter" else ""))
        server = await net.listen(where, Parties(), hdlc=Answering(serves), wire_log=wires)
        try:
            came = await talk(
                server.url + (options if end == "client" else ""), Asking(), [(16, 1, LARGE[:400])]
            )
        finally:
            await server.close()
    assert came == [LARGE[:400]]
    frames = [hdlc.decode(bytes.fromhex(json.loads(line)["hex"])) for line in log.read_text().splitlines()]
    sizes = [len(frame.information) for frame in frames if frame.meaning and frame.meaning.kind is Kind.I]
    assert max(sizes) == 50
    asked = {frame.meaning.kind: frame for frame in reversed(frames) if frame.meaning}
    agreed = hdlc.parameters.decode(asked[Kind.UA if end == "meter" else Kind.SNRM].information)
    assert (agreed.max_transmit, agreed.window_transmit) == (50, 2)


@both
async def test_a_slow_answer_is_asked_for(talk: Talk) -> None:
    def slow(link: Link, source: int, destination: int, payload: bytes) -> None:
        asyncio.get_running_loop().call_later(0.4, link.send, destination, source, payload)

    async with serving(Parties(slow), Answering(serves, timing=QUICK)) as server:
        assert await talk(server.url, Asking(timing=QUICK), [(16, 1, APDU)]) == [APDU]


@both
async def test_an_answer_that_does_not_come_is_a_time_out_and_the_line_goes_on(talk: Talk) -> None:
    def picky(link: Link, source: int, destination: int, payload: bytes) -> None:
        if source == 16:
            link.send(destination, source, payload)

    async with serving(Parties(picky)) as server:
        if talk is asyncio_talk:
            async with await net.connect(server.url) as line:
                channel, other = line.channel(1, 1), line.channel(16, 1)
                await channel.send(APDU)
                with pytest.raises(TimedOut):
                    await channel.receive(0.2)
                await other.send(APDU)
                assert await other.receive(SOON) == APDU
        else:
            await asyncio.to_thread(blocking_time_out, server.url)


def blocking_time_out(url: str) -> None:
    with blocking.connect(url) as line:
        channel, other = line.channel(1, 1), line.channel(16, 1)
        channel.send(APDU)
        with pytest.raises(TimedOut):
            channel.receive(0.2)
        other.send(APDU)
        assert other.receive(SOON) == APDU


@both
async def test_nobody_of_that_address_ends_the_pair_and_not_the_line(talk: Talk) -> None:
    asking = Asking(timing=ONCE)
    async with serving(Parties()) as server:
        if talk is asyncio_talk:
            async with await net.connect(server.url, hdlc=asking) as line:
                wrong, right = line.channel(16, 99), line.channel(16, 1)
                await wrong.send(APDU)
                with pytest.raises(ConnectionLost, match="server 99"):
                    await wrong.receive(SOON)
                with pytest.raises(ConnectionLost, match="server 99"):
                    await wrong.send(APDU)
                line.link._station.timing = QUICK  # type: ignore[attr-defined]
                await right.send(APDU)
                assert await right.receive(SOON) == APDU
                assert not line.is_closing
        else:
            await asyncio.to_thread(blocking_wrong, server.url, asking)


def blocking_wrong(url: str, asking: Asking) -> None:
    with blocking.connect(url, hdlc=asking) as line:
        wrong, right = line.channel(16, 99), line.channel(16, 1)
        wrong.send(APDU)
        with pytest.raises(ConnectionLost, match="server 99"):
            wrong.receive(SOON)
        with pytest.raises(ConnectionLost, match="server 99"):
            wrong.send(APDU)
        line._station.timing = QUICK  # type: ignore[attr-defined]
        right.send(APDU)
        assert right.receive(SOON) == APDU
        assert not line.is_closing


async def test_many_pairs_at_once_on_one_line() -> None:
    pairs = [(client, server) for client in range(1, 12) for server in (1, 17)]
    async with serving(Parties()) as server, await net.connect(server.url) as line:
        channels = [line.channel(*pair) for pair in pairs]

        async def talk(channel: net.Channel) -> bytes:
            await channel.send(bytes((0xC0, channel.client, channel.server)) * 900)
            return await channel.receive(SOON)

        came = await asyncio.gather(*map(talk, channels))
        assert came == [bytes((0xC0, *pair)) * 900 for pair in pairs]


async def test_several_answers_to_one_request() -> None:
    def three(link: Link, source: int, destination: int, payload: bytes) -> None:
        for number in range(3):
            link.send(destination, source, bytes((0xC4, number)))

    asking = Asking(wanted=Parameters(128, 128, 1, 1))
    async with serving(Parties(three)) as server, await net.connect(server.url, hdlc=asking) as line:
        channel = line.channel(16, 1)
        await channel.send(APDU)
        assert [await channel.receive(SOON) for _ in range(3)] == [bytes((0xC4, n)) for n in range(3)]


async def test_a_push_without_a_link_is_collected() -> None:
    parties = Parties()
    async with serving(parties) as server, await net.connect(server.url) as line:
        party = await parties.last()
        party.link.send(1, 16, b"\xc4late")  # an answer without a link is lost
        party.link.notify(1, 16, b"\x0fpush")
        channel = line.channel(16, 1)
        assert await channel.receive(SOON) == b"\x0fpush"


async def test_a_meter_that_speaks_unasked_is_heard() -> None:
    parties = Parties()
    answering = Answering(serves, unasked=True)
    async with serving(parties, answering) as server, await net.connect(server.url) as line:
        (await parties.last()).link.notify(1, 103, b"\x0fpush" * 100)
        assert await line.receive(SOON) == (1, 103, b"\x0fpush" * 100)


# --- the meter's end, octet by octet --------------------------------------------------------------


async def test_law_9_silence_is_an_answer_here_and_an_unfinished_frame_is_not() -> None:
    parties = Parties()
    async with serving(parties, limits=Limits(frame_time=SOON)) as server:
        with plain_socket(server) as plain:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(plain, SNRM[:-3] + b"\x00\x00\x7e")
            await loop.sock_sendall(plain, hdlc.encode(Frame(Address(2), Address(16), 0x93)))
            await loop.sock_sendall(plain, SNRM)
            answer = hdlc.decode(await loop.sock_recv(plain, 1000))
            assert answer.meaning == Control(Kind.UA, True)
            await forward(2 * SOON)
            assert not (await parties.last()).ended.is_set(), "flags and quiet are no frame"
            await loop.sock_sendall(plain, SNRM[:6])
            await until(lambda: server.links[0]._frame_timer is not None)  # type: ignore[attr-defined]
            await forward(2 * SOON)
            cause = await ended(await parties.last())
            assert isinstance(cause, TimedOut)


async def test_disc_ends_the_association_of_that_pair_only() -> None:
    parties = Parties(silent)
    async with serving(parties) as server:
        with plain_socket(server) as plain:
            loop = asyncio.get_running_loop()
            other = hdlc.encode(Frame(Address(1), Address(2), Control(Kind.SNRM, True).encode()))
            await loop.sock_sendall(plain, SNRM + other + DISC)
            party = await parties.last()
            await until(lambda: bool(party.partings))
            assert [parting[:2] for parting in party.partings] == [(16, 1)]
            assert not party.ended.is_set()


async def test_a_link_that_goes_quiet_is_ended() -> None:
    parties = Parties()
    quiet = Answering(serves, timing=Timing(inactivity=0.05))
    async with serving(parties, quiet) as server, await net.connect(server.url) as line:
        await line.send(16, 1, APDU)
        party = await parties.last()
        await until(lambda: bool(party.partings))
        assert isinstance(party.partings[0][2], TimedOut)


async def test_a_line_that_is_lost_ends_all_channels() -> None:
    parties = Parties(silent)
    async with serving(parties) as server, await net.connect(server.url) as line:
        channel = line.channel(16, 1)
        await channel.send(APDU)
        waiting = asyncio.create_task(channel.receive(None))
        (await parties.last()).link.abort()
        with pytest.raises(ConnectionLost):
            await waiting
        assert line.is_closing


async def test_closing_waits_for_a_dead_peer_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.net.hdlc.CLOSING_TIME", 0.1)
    monkeypatch.setattr("meterseal.net.blocking_hdlc.CLOSING_TIME", 0.1)
    deaf = Limits()
    async with await net.serve("127.0.0.1", 0, Parties(silent), limits=deaf) as server:
        url = server.url.replace("tcp://", "hdlc+tcp://")
        line = await net.connect(url)
        line.link.send(16, 1, APDU)
        await line.close()
        await asyncio.to_thread(blocking_dead, url)


def blocking_dead(url: str) -> None:
    line = blocking.connect(url)
    channel = line.channel(16, 1)
    with pytest.raises(ConnectionLost):  # the other end speaks another language
        channel.send(APDU)
        channel.receive(SOON)
    line.close()


async def test_a_client_that_does_not_read_is_closed() -> None:
    parties = Parties(lambda link, source, destination, payload: link.send(destination, source, LARGE))
    async with serving(parties, limits=Limits(write_time=0.2)) as server:
        with plain_socket(server) as plain:
            loop = asyncio.get_running_loop()
            largest = Parameters(2030, 2030, 7, 7).encode()
            frames = [
                Frame(Address(1), Address(16), Control(Kind.SNRM, True).encode(), largest),
                Frame(Address(1), Address(16), Control(Kind.I, True, 0, 0).encode(), hdlc.COMMAND + APDU),
                *[Frame(Address(1), Address(16), Control(Kind.RR, True, None, 0).encode())] * 2000,
            ]
            await loop.sock_sendall(plain, b"".join(map(hdlc.encode, frames)))
            cause = await ended(await parties.last())
            assert isinstance(cause, TimedOut)


async def test_the_wire_log_has_each_frame_at_both_ends(tmp_path: Path) -> None:
    with WireLog(tmp_path / "client") as client, WireLog(tmp_path / "meter") as meter:
        async with (
            serving(Parties(), wire_log=meter) as server,
            await net.connect(server.url, wire_log=client) as line,
        ):
            await line.send(16, 1, APDU)
            assert await line.receive(SOON) == (1, 16, APDU)
    ours, theirs = (
        [json.loads(text) for text in (tmp_path / name).read_text().splitlines()]
        for name in ("client", "meter")
    )
    turned = {"in": "out", "out": "in"}
    assert [(turned[entry["direction"]], entry["hex"]) for entry in ours] == [
        (entry["direction"], entry["hex"]) for entry in theirs
    ]
    kinds = [hdlc.decode(bytes.fromhex(entry["hex"])).meaning.kind for entry in ours]  # type: ignore[union-attr]
    assert kinds == [Kind.SNRM, Kind.UA, Kind.I, Kind.I, Kind.DISC, Kind.UA]


async def test_addresses_that_cannot_be() -> None:
    with pytest.raises(Misuse):
        await serve_hdlc("127.0.0.1", 0, Parties(), Answering(serves, 300, (2,)))
    with pytest.raises(ConfigurationError):
        await net.listen(net.parse("hdlc+tcp://127.0.0.1:0"), Parties())
    async with serving(Parties()) as server, await net.connect(server.url) as line:
        with pytest.raises(Misuse):
            await line.send(200, 1, APDU)


async def test_what_is_no_hdlc_is_read_to_the_end_and_not_answered() -> None:
    parties = Parties()
    async with serving(parties) as server:
        with plain_socket(server) as plain:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(plain, bytes(5000) + b"\x7e" * 5000 + b"GET / HTTP/1.1\r\n\r\n")
            plain.shutdown(1)
            assert await read_all(plain) == b""
    assert parties.made[0].frames == []


async def half_a_frame(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A meter that begins an answer and never ends it."""
    writer.write(SNRM[:7])
    await reader.read()
    writer.close()


@both
async def test_an_answer_that_never_ends_ends_the_line(talk: Talk) -> None:
    async with await asyncio.start_server(half_a_frame, "127.0.0.1", 0) as server:
        url = f"hdlc+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        limits = Limits(frame_time=0.1)
        if talk is asyncio_talk:
            async with await net.connect(url, limits=limits) as line:
                with pytest.raises(TimedOut, match="not complete"):
                    await line.receive(SOON)
                assert line.is_closing
        else:
            await asyncio.to_thread(blocking_half, url, limits)


def blocking_half(url: str, limits: Limits) -> None:
    with blocking.connect(url, limits=limits) as line:
        channel = line.channel(16, 1)
        with pytest.raises(TimedOut, match="not complete"):
            channel.receive(SOON)
        assert line.is_closing
        for call in (lambda: channel.send(APDU), lambda: line.receive(1)):
            with pytest.raises(TimedOut, match="not complete"):
                call()


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A meter that hangs up on the first octet."""
    await reader.read(1)
    writer.transport.abort()


@both
async def test_a_peer_that_hangs_up_is_told_at_once(talk: Talk) -> None:
    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        url = f"hdlc+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ConnectionLost):
            await talk(url, Asking(), [(16, 1, APDU)])
