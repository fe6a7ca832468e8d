"""Small parties for the tests of lines: they answer, remember, and say when they are told of an end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from meterseal import net
from meterseal.framing import wrapper
from meterseal.net import Link, Server, blocking

APDU = bytes.fromhex("C001C1000100002A0000FF0200")
FRAME = wrapper.encode(16, 1, APDU)
ANSWER = wrapper.encode(1, 16, APDU)
SOON = 60.0  # seconds: ends a hang, and no busy machine comes near


class Party:
    """A handler that calls `answer` for each frame and remembers what happened."""

    def __init__(self, link: Link, answer: Callable[[Link, int, int, bytes], None]) -> None:
        self.link = link
        self.answer = answer
        self.frames: list[tuple[int, int, bytes]] = []
        self.partings: list[tuple[int, int, Exception | None]] = []
        self.ended = asyncio.Event()
        self.cause: Exception | None = None

    def received(self, source: int, destination: int, payload: bytes) -> None:
        self.frames.append((source, destination, payload))
        self.answer(self.link, source, destination, payload)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        self.partings.append((source, destination, cause))

    def closed(self, cause: Exception | None) -> None:
        self.cause = cause
        self.ended.set()


def echo(link: Link, source: int, destination: int, payload: bytes) -> None:
    """Answer with the request."""
    link.send(destination, source, payload)


def silent(link: Link, source: int, destination: int, payload: bytes) -> None:
    """Never answer."""


class Parties:
    """A factory that keeps the parties it made."""

    def __init__(self, answer: Callable[[Link, int, int, bytes], None] = echo) -> None:
        self.answer = answer
        self.made: list[Party] = []

    def __call__(self, link: Link) -> Party:
        party = Party(link, self.answer)
        self.made.append(party)
        return party

    async def last(self, count: int = 1) -> Party:
        """The newest party, once there are `count`."""
        async with asyncio.timeout(SOON):
            while len(self.made) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return self.made[-1]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is bound to happen."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def forward(seconds: float) -> None:
    """Put the running loop's clock forward: a pause that takes no time, whatever the machine is busy with."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    loop.time = lambda: clock() + seconds  # type: ignore[method-assign]
    for _ in range(3):  # the timers that are due now are found in one turn, and called in the next
        await asyncio.sleep(0)


async def ended(party: Party) -> Exception | None:
    """Why a connection ended."""
    async with asyncio.timeout(SOON):
        await party.ended.wait()
    return party.cause


@contextmanager
def plain_socket(server: Server) -> Iterator[socket.socket]:
    """A connected socket that does what the test says; never blocks the loop for long."""
    with socket.create_connection(("127.0.0.1", server.port), SOON) as plain:
        plain.setblocking(False)
        yield plain


async def read_all(plain: socket.socket) -> bytes:
    """Everything until the other end closes; a reset is an end as well."""
    loop = asyncio.get_running_loop()
    parts = []
    try:
        async with asyncio.timeout(SOON):
            while part := await loop.sock_recv(plain, 65536):
                parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


async def serve(parties: Parties, **options: object) -> Server:
    """A server on this machine."""
    return await net.serve("127.0.0.1", 0, parties, **options)  # type: ignore[arg-type]


def numbered(link: Link, source: int, destination: int, payload: bytes) -> None:
    """Answer with as many frames as the first octet says."""
    for number in range(payload[0]):
        link.send(destination, source, bytes((number,)) + payload)


def in_thread(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """A blocking call, awaited."""

    def awaited(*arguments: object, **options: object) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(None, lambda: call(*arguments, **options))

    return awaited


CONNECTS: list[Callable[..., Awaitable[Any]]] = [net.connect, in_thread(blocking.connect)]


async def put(plain: socket.socket, octets: bytes) -> None:
    """Send all of it."""
    await asyncio.get_running_loop().sock_sendall(plain, octets)


async def take(plain: socket.socket, count: int) -> bytes:
    """Exactly `count` octets."""
    octets = b""
    while len(octets) < count:
        part = await asyncio.get_running_loop().sock_recv(plain, count - len(octets))
        assert part, octets
        octets += part
    return octets
