"""Benchmarks of what is carried: a head-end's own part, the part of each party, meters read in a second.

Processor time of processes, user and system; the utility is this one, head-end and meter are others.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import meterseal
from bench.case import Figures
from bench.processes import Child, child, meter
from meterseal import net
from meterseal.credentials import Credentials, MeterCredentials, RoleCredentials
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import write_key
from meterseal.demo.street import UTILITY, UTILITY_TITLE
from meterseal.demo.street_meters import meter_text
from meterseal.security.sealed import Sealed
from meterseal.state import MemoryCounters
from meterseal.utility import SealedMeter
from meterseal.utility.over_https import Via

READS, METERS = 100, 1_000
ENERGY, PROFILE = "3/1.0.1.8.0.255:2", "1.0.99.1.0.255"
OPAQUE = bytes.fromhex("4D534C000000AAAA")
_TICKS = os.sysconf("SC_CLK_TCK")


def _cpu(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _certificates(folder: Path) -> None:
    now = datetime.now(UTC)
    validity = Validity(now - timedelta(hours=1), now + timedelta(days=1))
    root = Authority.root(SigningKey.generate(curve("P-256")), "Bench", validity)
    (folder / "root.pem").write_bytes(root.certificate.to_pem())
    for party, title in (("headend", b"MSLHES01"), ("utility", UTILITY_TITLE)):
        key = TlsKey.generate(curve("P-256"))
        (folder / f"{party}.key").write_bytes(write_key(key))
        made = root.issue(key.public, title, Purpose.TLS, validity)
        (folder / f"{party}-tls.pem").write_bytes(made.to_pem())


class Way:
    """Utility here, head-end and meter in processes of their own."""

    def __init__(self, folder: Path, held: Credentials, carrier: Child, url: str, pid: int) -> None:
        self.held, self.carrier, self.meter_pid = held, carrier, pid
        third = replace(
            held.third_party(), tls_key=str(folder / "utility.key"),
            tls_certificate=str(folder / "utility-tls.pem"), head_end=str(folder / "headend-tls.pem"),
        )  # fmt: skip
        self.credentials = replace(held, roles={}, third_parties={UTILITY: third})
        self.via = Via(url, self.credentials)
        self.seen: list[Sealed] = []
        self.answers: list[Sealed] = []
        self.end = SealedMeter(self.credentials, self._carry, counters=MemoryCounters())

    async def _carry(self, sealed: Sealed) -> Sealed:
        answer = await self.via.carry(sealed)
        self.seen, self.answers = [sealed], [answer]
        return answer

    def headend(self) -> float:
        return float(self.carrier.tell("cpu")["cpu"])

    async def sealed(self) -> float:
        """Processor seconds of the head-end for a sealed read."""
        begun = self.headend()
        for _ in range(READS):
            await self.end.read(ENERGY)
        return (self.headend() - begun) / READS

    async def opaque(self) -> float:
        """The same for the same octets, opaque."""
        like = self.seen[0].octets.replace(self.held.meter.system_title or b"", OPAQUE)
        begun = self.headend()
        for _ in range(READS):
            await self.via.carry(Sealed.of(like))
        return (self.headend() - begun) / READS


async def _measured(rounds: int, folder: Path, stack: ExitStack) -> dict[str, dict[str, Any]]:
    (folder / "headend").mkdir()
    _certificates(folder)
    config = folder / "meter-config.toml"
    config.write_text(meter_text(1))
    pid, url = stack.enter_context(meter(folder, "--preset", "suite1", "--config", str(config)))
    held = Credentials.load(folder / "meters")
    held.cut("headend").with_copies(folder / "headend" / "sealed.toml").save(
        folder / "headend" / "sealed.toml"
    )
    answers: list[bytes] = []

    def bare(link: net.Link) -> Any:
        return _Echo(link, answers)

    async with await net.serve("127.0.0.1", 0, bare) as echo:
        role = {"public": RoleCredentials(client=16, mechanism="none")}
        there = MeterCredentials(url=echo.url, system_title=OPAQUE)
        Credentials(there, role).save(folder / "headend" / "opaque.toml")
        carrier = stack.enter_context(child("carrier", str(folder), "serve"))
        assert carrier.process.stdout is not None
        import json

        told = json.loads(await asyncio.to_thread(carrier.process.stdout.readline))
        way = Way(folder, held, carrier, told["url"], pid)
        try:
            await way.end.read(ENERGY)
            answers[:] = [way.answers[0].octets.replace(held.meter.system_title or b"", OPAQUE)]
            if len(answers[0]) != way.answers[0].size:
                raise AssertionError("the opaque way carries other octets")
            return await _rows(way, rounds, url)
        finally:
            await way.via.close()


class _Echo:
    """Answers every frame with the same octets."""

    def __init__(self, link: net.Link, answers: list[bytes]) -> None:
        self._link, self._answers = link, answers

    def received(self, source: int, destination: int, payload: bytes) -> None:
        self._link.send(destination, source, self._answers[0])

    def parted(self, source: int, destination: int, cause: Exception | None) -> None: ...

    def closed(self, cause: Exception | None) -> None: ...


async def _rows(way: Way, rounds: int, url: str) -> dict[str, dict[str, Any]]:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(await way.sealed())
        theirs.append(await way.opaque())
    ratio = statistics.median(ours) / statistics.median(theirs)
    forward = {
        "ratio": round(ratio, 3), "bar": 1.5, "holds": ratio <= 1.5, "rounds": rounds,
        "ours_us": _quartiles(ours), "theirs_us": _quartiles(theirs),
    }  # fmt: skip
    hops: dict[str, list[float]] = {
        "utility": [],
        "headend": [],
        "meter": [],
        "direct_client": [],
        "direct_meter": [],
    }
    direct = way.held.cut("manager")
    rows = same = await way.end.profile(PROFILE, entries=(1, 96))
    for _ in range(max(7, rounds)):
        begun = time.process_time(), way.headend(), _cpu(way.meter_pid)
        for _ in range(5):
            rows = await way.end.profile(PROFILE, entries=(1, 96))
        for name, before, after in zip(
            ("utility", "headend", "meter"), begun,
            (time.process_time(), way.headend(), _cpu(way.meter_pid)), strict=True,
        ):  # fmt: skip
            hops[name].append((after - before) / 5)
        async with meterseal.connect(url, direct, "manager", counters=MemoryCounters()) as one:
            before, meter_before = time.process_time(), _cpu(way.meter_pid)
            for _ in range(5):
                same = await one.profile(PROFILE, entries=(1, 96))
            hops["direct_client"].append((time.process_time() - before) / 5)
            hops["direct_meter"].append((_cpu(way.meter_pid) - meter_before) / 5)
        direct = replace(
            direct,
            roles={
                "manager": replace(direct.role(), counter_start=(direct.role().counter_start or 1) + 1000)
            },
        )
        if len(rows) != 96 or rows.cells[0] != same.cells[0]:
            raise AssertionError("the two ways bring other rows")
    return {
        "headend_forward_vs_plain": forward,
        "sealed_read_hops": {
            f"{name}_ms": round(statistics.median(values) * 1e3, 2) for name, values in hops.items()
        },
    }


def _quartiles(seconds: Sequence[float]) -> list[float]:
    return [round(q * 1e6, 1) for q in statistics.quantiles(seconds, n=4)]


def carried(rounds: int) -> dict[str, dict[str, Any]]:
    """Both measurements with one meter."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="meterseal-bench-")))
        return asyncio.run(_measured(rounds, folder, stack))


def many(rounds: int) -> dict[str, dict[str, Any]]:
    """A thousand meters, an association and one small read each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="meterseal-bench-")))
        _certificates(folder)
        stack.enter_context(meter(folder, "--meters", str(METERS)))
        (folder / "headend").mkdir()
        for path in (folder / "meters").glob("*.toml"):
            Credentials.load(path).cut("operator").save(folder / "headend" / path.name)
        carrier = stack.enter_context(child("carrier", str(folder), "collect"))
        assert carrier.process.stdout is not None
        carrier.process.stdout.readline()
        found = [carrier.tell("collect") for _ in range(3)]
    wall, cpu = (statistics.median(one[name] for one in found) for name in ("wall", "cpu"))
    return {
        "headend_meters_per_second": {
            "meters": METERS,
            "per_second": round(METERS / wall, 1),
            "per_cpu_second": round(METERS / cpu, 1),
            "cpu_hours_for_a_million": round(1e6 * cpu / METERS / 3600, 2),
        }
    }


CASES: list[Figures] = [
    Figures(("headend_forward_vs_plain", "sealed_read_hops"), carried, 7, faster=False),
    Figures(("headend_meters_per_second",), many, 1),
]
