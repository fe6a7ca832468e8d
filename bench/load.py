"""Many clients as a process: `python -m bench.load FOLDER`, FOLDER of `meter run --meters`' credentials.

Told `lines`, it opens a connection to each of so many meters; `associate`, it signs on at each; `get` and
`profile`, every association reads for so many seconds, each one request at a time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import meterseal
from bench.processes import answer, orders
from meterseal import Credentials, MemoryCounters, net
from meterseal.codec.data import decode
from meterseal.cosem.obis import Obis
from meterseal.net import allow_files

CLASS, NAME, PROFILE = 3, Obis("1.0.15.8.0.255"), "1.0.99.1.0.255"
ROWS = 96
AT_ONCE = 32


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

        async def one(meter: Any) -> Any:
            return await meter.get(CLASS, NAME, 2)

        return await self._for(seconds, one, lambda octets: decode(octets))

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
