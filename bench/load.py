"""Many clients as a process: `python -m bench.load FOLDER`, FOLDER of `meter run --meters`' credentials.

Told `lines`, it opens a connection to each of so many meters; `associate`, it signs on at each; `get` and
`profile`, every association reads for so many seconds, each one request at a time; `bare`, the same small
reads go over the same connections without our client.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import meterseal
from bench.processes import answer, orders
from meterseal import Credentials, MemoryCounters, net
from meterseal.codec.data import decode
from meterseal.cosem.obis import Obis
from meterseal.net import allow_files

CLASS, NAME, PROFILE = 3, Obis("1.0.15.8.0.255"), "1.0.99.1.0.255"
ROWS = 96
PLAIN = bytes.fromhex("C001C1000301000F0800FF0200")
AHEAD = 10_000_000
"""Counters that an association has when others have counted on for it."""

AT_ONCE = 32


class Bare(asyncio.BufferedProtocol):
    """One of our connections after its sign-on: cipher calls and nothing else, no checks but the tag's.

    As in `bench.echo`, the next request goes out where the answer comes in: no task and no future.
    """

    def __init__(self, meter: Any) -> None:
        given, association = meter._session.plan.role, meter._session.association
        guek, gak = given.octets("guek"), given.octets("gak")
        assert guek is not None and gak is not None
        self._counters = association.profile.setup.unicast.tx
        self._encrypt, self._aad = AESGCM(guek).encrypt, b"\x30" + gak
        self._own, self._meter = given.client_system_title or b"", association.server_title
        client, server = meter._session.plan.pair
        ports = client.to_bytes(2, "big") + server.to_bytes(2, "big")
        self._head = b"\x00\x01" + ports + b"\x00\x20\xc8\x1e\x30"
        self._buffer = memoryview(bytearray(4096))
        self._client, self.transport = meter._driver.line.link, meter._driver.line.link._transport
        self.done, self.end = 0, 0.0
        self.value: Any = None

    def begin(self, end: float) -> None:
        """Read until then."""
        self.end, self.counter = end, self._counters.end
        self.transport.set_protocol(self)
        self._ask()

    def _ask(self) -> None:
        self.counter += 1
        counter = self.counter.to_bytes(4, "big")
        self.transport.write(self._head + counter + self._encrypt(self._own + counter, PLAIN, self._aad)[:-4])

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        octets = bytes(self._buffer[:count])
        nonce, body, tag = self._meter + octets[11:15], octets[15:-12], octets[-12:]
        text = self._encrypt(nonce, body, None)[:-16]
        if self._encrypt(nonce, text, self._aad)[-16:-4] != tag:
            raise ValueError("the tag is wrong")
        self.value = int.from_bytes(text[5:], "big")
        self.done += 1
        if time.perf_counter() < self.end:
            self._ask()
        else:
            self._counters.extend(self.counter + 1, self.counter + 1 + AHEAD)
            self.transport.set_protocol(self._client)


class Clients:
    """A connection and an association for each meter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[Any] = []
        self._links: list[Any] = []
        self._meters: list[Any] = []
        self._contexts: list[Any] = []

    async def lines(self, count: int) -> int:
        """Open connections; nothing is sent yet."""
        allow_files(count + 256)
        one = Credentials.load(self._folder / "meter-00001.toml")
        turn = asyncio.Semaphore(AT_ONCE)

        async def line() -> Any:
            async with turn:
                return await net.connect(one.meter.url or "")

        self._lines = await asyncio.gather(*(line() for _ in range(count)))
        return count

    async def associate(self, count: int) -> int:
        """Sign on at as many meters as there are connections."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def sign_on(at: int) -> None:
            async with turn:
                credentials = Credentials.load(self._folder / f"meter-{at + 1:05}.toml")
                link = meterseal.link(
                    credentials=credentials, counters=MemoryCounters(), line=self._lines[at]
                )
                await link.__aenter__()
                context = link.associate("operator", timeout=60)
                self._meters.append(await context.__aenter__())
                self._links.append(link)
                self._contexts.append(context)

        await asyncio.gather(*(sign_on(at) for at in range(count)))
        return len(self._meters)

    async def get(self, seconds: float) -> dict[str, Any]:
        """Small reads by descriptor."""

        return await self._for(seconds, lambda meter: meter.get(CLASS, NAME, 2), decode)

    async def bare(self, seconds: float) -> dict[str, Any]:
        """The same small reads, with sockets and cipher calls only."""
        ones = [Bare(meter) for meter in self._meters]
        start = time.perf_counter()
        for one in ones:
            one.begin(start + seconds)
        await asyncio.sleep(seconds)
        took, done = time.perf_counter() - start, sum(one.done for one in ones)
        await asyncio.sleep(0.5)  # the last answers
        return {"rate": done / took, "values": [one.value for one in ones]}

    async def profile(self, seconds: float) -> dict[str, Any]:
        """A day of a load profile, decoded to rows."""

        async def one(meter: Any) -> Any:
            return await meter.profile(PROFILE, entries=(1, ROWS))

        return await self._for(seconds, one, len)

    async def _for(
        self, seconds: float, read: Callable[[Any], Awaitable[Any]], shown: Callable[[Any], Any]
    ) -> dict[str, Any]:
        values = [shown(await read(meter)) for meter in self._meters]
        done, start = 0, time.perf_counter()
        end = start + seconds

        async def run(meter: Any) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await read(meter)
                done += 1

        await asyncio.gather(*(run(meter) for meter in self._meters))
        return {"rate": done / (time.perf_counter() - start), "values": values}


def main() -> None:
    """Do as told, on one loop for all of it."""
    clients = Clients(Path(sys.argv[1]))
    with asyncio.Runner() as runner:
        for word, values in orders():
            answer(runner.run(getattr(clients, word)(**values)))


if __name__ == "__main__":
    main()
