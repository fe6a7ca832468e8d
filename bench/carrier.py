"""A head-end as a child of a benchmark: it serves its API, and tells what processor time it has used.

A meter named `opaque` is not signed on to: what is carried goes to it as it is, and comes back as it is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.processes import answer
from meterseal import net
from meterseal.credentials import Credentials
from meterseal.headend import Config, HeadEnd, MeterEntry, Served, Utility
from meterseal.headend.journal import Journal
from meterseal.headend.tls import fingerprints
from meterseal.security.sealed import Sealed

CLOCK = "8/0.0.1.0.0.255:2"


class Opaque:
    """The bare way of the same octets: no association, no outer layer."""

    is_open, is_lost, counters_left = True, False, None

    def __init__(self, line: net.Line) -> None:
        self._line = line

    async def forward(self, sealed: Sealed) -> Sealed:
        await self._line.send(1, 1, sealed.octets)
        return Sealed.of((await self._line.receive(30))[2])

    def drop(self) -> None:
        self.is_open = False


class Carrier(HeadEnd):
    """A head-end some of whose meters are opaque."""

    @asynccontextmanager
    async def sign_on(self, meter: MeterEntry) -> AsyncIterator[Any]:
        if not meter.name.startswith("opaque"):
            async with super().sign_on(meter) as found:
                yield found
            return
        async with await net.connect(meter.credentials.meter.url or "") as line:
            yield Opaque(line)


def entries(folder: Path) -> tuple[MeterEntry, ...]:
    """All meters whose credentials are there, by the names of the files."""
    made = []
    for path in sorted(folder.glob("*.toml")):
        held = Credentials.load(path)
        role = "headend" if "headend" in held.roles else next(iter(held.roles))
        collect = () if path.stem.startswith(("opaque", "sealed")) else (CLOCK,)
        made.append(
            MeterEntry(
                name=path.stem, title=held.meter.system_title or b"", credentials=held, role=role,
                collect=collect, every=1e9,
            )
        )  # fmt: skip
    return tuple(made)


def config(folder: Path) -> Config:
    """One utility, all meters."""
    meters = entries(folder / "headend")
    prints = frozenset(fingerprints((folder / "utility-tls.pem").read_bytes()))
    title = bytes.fromhex("4D534C5554494C31")
    utility = Utility(
        name="utility", fingerprints=prints, titles=frozenset({title}),
        meters=frozenset(meter.title for meter in meters), rate=1_000_000,
    )  # fmt: skip
    return Config(
        certificate=folder / "headend-tls.pem", key=folder / "headend.key", clients=(folder / "root.pem",),
        linger=60.0, utilities=(utility,), meters=meters, at_once=64,
    )  # fmt: skip


async def collected(house: HeadEnd) -> None:
    """Have every meter read once, an association each."""
    for visitor in house.visitors.values():
        visitor._next_reading = 0.0
        visitor.wake()
    while any(visitor._next_reading <= time.time() or visitor._work for visitor in house.visitors.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def run(folder: Path, serves: bool) -> None:
    """Serve, and do as told."""
    plan = config(folder)
    if not serves:
        plan = replace(plan, linger=0.001)
        plan = replace(plan, meters=tuple(replace(meter, collect=()) for meter in plan.meters))
    loop = asyncio.get_running_loop()
    with (folder / "journal").open("w") as journal:
        async with Carrier(plan, folder / "state", Journal(journal)) as house:
            if serves:
                async with Served(house) as served:
                    answer({"url": served.url})
                    while line := await loop.run_in_executor(None, sys.stdin.readline):
                        answer({"cpu": time.process_time(), "for": json.loads(line)[0]})
                return
            for title, visitor in house.visitors.items():
                visitor.meter = replace(visitor.meter, collect=(CLOCK,), every=1e9)
                assert visitor.meter.title == title
            answer({"meters": len(house.visitors)})
            while await loop.run_in_executor(None, sys.stdin.readline):
                begun, cpu = time.perf_counter(), time.process_time()
                await collected(house)
                counted = house.metrics.sign_ons._value.get()
                answer(
                    {
                        "wall": time.perf_counter() - begun,
                        "cpu": time.process_time() - cpu,
                        "sign_ons": counted,
                    }
                )


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2] == "serve"))
