"""The bar for a meter under load: an echo on `asyncio.BufferedProtocol`, no parsing and no cipher.

`python -m bench.echo serve REQUEST RESPONSE` answers so many octets with so many; it says its port first.
`python -m bench.echo load PORT COUNT REQUEST RESPONSE`, told `get`, keeps COUNT connections busy, one message
at a time each.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

from bench.processes import answer, orders


class Echo(asyncio.BufferedProtocol):
    """Counts octets in; after every `size` of them it sends `reply`."""

    def __init__(self, size: int, reply: bytes) -> None:
        self._size, self._reply = size, reply
        self._buffer, self._have = memoryview(bytearray(4096)), 0
        self.done = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        self._have += count
        while self._have >= self._size:
            self._have -= self._size
            self.message()

    def message(self) -> None:
        self.transport.write(self._reply)


class Caller(Echo):
    """Sends the next message when the last one has been answered, until `end`."""

    end = 0.0

    def message(self) -> None:
        self.done += 1
        if time.perf_counter() < self.end:
            self.transport.write(self._reply)


async def serve(request: int, response: int) -> None:
    """Echo until stdin closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(request, bytes(response)), "127.0.0.1", 0)
    answer(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)


async def load(port: int, count: int, request: int, response: int) -> None:
    """Connections that wait to be told."""
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    for _ in range(count):
        _, protocol = await loop.create_connection(
            lambda: Caller(response, bytes(request)), "127.0.0.1", port
        )
        callers.append(protocol)
    lines = orders()
    while told := await loop.run_in_executor(None, next, lines, None):
        answer(await _run(callers, request, **told[1]))


async def _run(callers: list[Caller], request: int, seconds: float) -> dict[str, Any]:
    start = time.perf_counter()
    for caller in callers:
        caller.done, caller.end = 0, start + seconds
        caller.transport.write(bytes(request))
    await asyncio.sleep(seconds)
    return {"rate": sum(caller.done for caller in callers) / (time.perf_counter() - start)}


def main() -> None:
    """Serve or load."""
    which, *numbers = sys.argv[1:]
    run: Callable[..., Coroutine[Any, Any, None]] = serve if which == "serve" else load
    asyncio.run(run(*map(int, numbers)))


if __name__ == "__main__":
    main()
