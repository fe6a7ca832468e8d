"""UDP over real sockets: one frame a datagram, silence for the rest, and no more answered than was asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meterseal import net
from meterseal.errors import ConfigurationError, ConnectionLost, Misuse, TimedOut, TooLarge
from meterseal.framing import wrapper
from meterseal.framing.wrapper import MAX_IN_DATAGRAM as LARGEST
from meterseal.net import Admission, DatagramServer, Limits, Link, WireLog, blocking
from meterseal.net.datagram import AMPLIFICATION
from tests.net.parties import ANSWER, APDU, CONNECTS, FRAME, SOON, Parties, echo, silent, until

GARBAGE = [
    b"",
    b"\x00",
    b"\x00\x01\x00\x10\x00\x01\x00",
    b"\x00\x02" + FRAME[2:],
    FRAME[:-1],
    FRAME + b"\x00",
    FRAME[:6] + b"\x00\x00",
    b"\xff" * 1472,
    bytes(65_507),
]


async def serve(parties: Parties, **options: object) -> DatagramServer:
    """A server on this machine."""
    return await net.serve_datagrams("127.0.0.1", 0, parties, **options)  # type: ignore[arg-type]


@contextmanager
def plain_socket(server: DatagramServer) -> Iterator[socket.socket]:
    """A datagram socket that sends to the server whatever the test says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect(("127.0.0.1", server.port))
        plain.setblocking(False)
        yield plain


async def take(plain: socket.socket) -> bytes:
    """The next datagram."""
    async with asyncio.timeout(SOON):
        return await asyncio.get_running_loop().sock_recv(plain, 65_536)


def received(plain: socket.socket) -> bytes:
    """A datagram that is there already; empty when none is."""
    try:
        return plain.recv(65_536)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("connect", CONNECTS)
async def test_both_calling_ends_send_and_receive(connect: Callable[..., Awaitable[Any]]) -> None:
    async with await serve(parties := Parties()) as server:
        assert server.url == f"udp://127.0.0.1:{server.port}"
        line = await connect(server.url)
        assert line.datagrams
        loop = asyncio.get_running_loop()

        def in_thread() -> tuple[int, int, bytes]:
            line.send(16, 1, APDU)
            frame: tuple[int, int, bytes] = line.receive(SOON)
            line.close()
            return frame

        if isinstance(line, blocking.Line):
            frame = await loop.run_in_executor(None, in_thread)
        else:
            await line.send(16, 1, APDU)
            frame = await line.receive(SOON)
            await line.close()
        assert frame == (1, 16, APDU)
        party = await parties.last()
        assert party.frames == [(16, 1, APDU)]
        assert (party.link.name, party.link.source) == (line.name, "127.0.0.1")


async def test_F16_what_is_no_frame_gets_no_answer_and_leaves_no_trace() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            for octets in GARBAGE:
                plain.send(octets)
            plain.send(FRAME)
            assert await take(plain) == ANSWER
            assert not received(plain)
        assert len(parties.made) == 1 and server.ignored == len(GARBAGE)


async def test_F16_an_address_that_has_not_signed_on_gets_at_most_three_times_what_it_sent() -> None:
    def generous(link: Link, source: int, destination: int, payload: bytes) -> None:
        for size in (4000, 60, 60, 10, 9, 1):
            link.send(destination, source, bytes(size))

    async with await serve(parties := Parties(generous)) as server:
        with plain_socket(server) as plain:
            sent = got = 0
            for number in range(40):
                frame = wrapper.encode(16, 1, bytes(1 + number % 7))
                plain.send(frame)
                sent += len(frame)
            party = await parties.last()
            await until(lambda: len(party.frames) == 40)
            while answer := received(plain):
                got += len(answer)
            assert sent < got <= AMPLIFICATION * sent


async def test_who_has_signed_on_gets_answers_of_any_length() -> None:
    def proved(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.established()
        link.send(destination, source, bytes(4000))

    async with await serve(Parties(proved)) as server:
        with plain_socket(server) as plain:
            plain.send(FRAME)
            assert await take(plain) == wrapper.encode(1, 16, bytes(4000))


async def test_A15_every_address_is_a_party_of_its_own() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as one, plain_socket(server) as other:
            for plain in (one, other, one):
                plain.send(FRAME)
                assert await take(plain) == ANSWER
        assert [len(party.frames) for party in parties.made] == [2, 1]


async def test_addresses_are_bounded_and_those_that_have_signed_on_stay() -> None:
    def first_signs_on(link: Link, source: int, destination: int, payload: bytes) -> None:
        if payload[0] == 1:
            link.established()
        echo(link, source, destination, payload)

    async with await serve(parties := Parties(first_signs_on), admission=Admission(total=4)) as server:
        sockets = []
        try:
            for number in range(1, 20):
                plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sockets.append(plain)
                plain.connect(("127.0.0.1", server.port))
                plain.setblocking(False)
                plain.send(wrapper.encode(16, 1, bytes((number,))))
                assert (await take(plain))[8] == number
            assert len(server.links) == 4 and parties.made[0].link in server.links
            sockets[0].send(FRAME)
            assert await take(sockets[0]) == ANSWER
        finally:
            for plain in sockets:
                plain.close()
        assert len(parties.made[0].frames) == 2


async def test_sizes() -> None:
    async with (
        await serve(parties := Parties(silent), limits=Limits(apdu=100)) as server,
        await net.connect(server.url) as line,
    ):
        with pytest.raises(TooLarge):
            await line.send(16, 1, bytes(LARGEST + 1))
        await line.send(16, 1, bytes(LARGEST))  # fits a datagram, not this server
        await line.send(16, 1, bytes(100))
        party = await parties.last()
        assert [len(frame[2]) for frame in party.frames] == [100]
    with pytest.raises(Misuse):
        Limits(apdu=0)


async def test_blocking_line_refuses_what_fits_no_datagram() -> None:
    async with await serve(Parties(silent)) as server:
        with blocking.connect(server.url) as line, pytest.raises(TooLarge):
            line.send(16, 1, bytes(LARGEST + 1))


@pytest.mark.parametrize("connect", CONNECTS)
async def test_garbage_at_a_calling_end_is_passed_over(connect: Callable[..., Awaitable[Any]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as meter:
        meter.bind(("127.0.0.1", 0))
        meter.setblocking(False)
        loop = asyncio.get_running_loop()
        line = await connect(f"udp://127.0.0.1:{meter.getsockname()[1]}")

        async def answer() -> None:
            _, address = await loop.sock_recvfrom(meter, 65_536)
            for octets in (*GARBAGE[1:], ANSWER):
                meter.sendto(octets, address)

        task = asyncio.create_task(answer())
        if isinstance(line, blocking.Line):
            line.send(16, 1, APDU)
            await task
            assert line.receive(SOON) == (1, 16, APDU)
            with pytest.raises(TimedOut):
                line.receive(0)
            line.close()
        else:
            await line.send(16, 1, APDU)
            assert await line.receive(SOON) == (1, 16, APDU)
            await task
            with pytest.raises(TimedOut):
                await line.receive(0)
            await line.close()


async def test_nobody_there_is_a_connection_lost() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{held.getsockname()[1]}"
    async with await net.connect(url) as line:
        await line.send(16, 1, APDU)
        with pytest.raises(ConnectionLost):
            await line.receive(SOON)


async def test_ports_in_use_and_names_without_an_address() -> None:
    async with await serve(Parties()) as server:
        with pytest.raises(ConfigurationError):
            await net.serve_datagrams("127.0.0.1", server.port, Parties())
    with pytest.raises(ConfigurationError):
        await net.serve_datagrams("no.such.host.invalid", 0, Parties())


async def test_the_end_of_a_server_is_told_to_its_parties(tmp_path: Path) -> None:
    with WireLog(tmp_path / "wires") as wires:
        async with await serve(parties := Parties(), wire_log=wires) as server:
            with plain_socket(server) as plain:
                plain.send(FRAME)
                await take(plain)
            party = await parties.last()
        assert party.ended.is_set() and party.cause is None and not server.links
    lines = (tmp_path / "wires").read_text().splitlines()
    assert [FRAME.hex().upper() in line or ANSWER.hex().upper() in line for line in lines] == [True, True]
