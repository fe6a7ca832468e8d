"""Benchmarks of the store of keys: handles warm and cold, leases of counters, rotations, a large store.

Warm against a bare unwrap is thread time, both sides alternating; the others are wall time on the folder that
temporary files are in, whose disk counts.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.case import Figures
from bench.cases_service import folder

METERS = 8
LARGE = int(os.environ.get("METERSEAL_BENCH_METERS", "20000"))
SOFTHSM = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
_SLOTS = ("guek", "gak", "gbek")
_ROLES = ("manager", "operator")


def _thread(call: Any, count: int) -> float:
    start = time.thread_time()
    for _ in range(count):
        call()
    return (time.thread_time() - start) / count * 1e6


def warm(rounds: int) -> dict[str, dict[str, Any]]:
    """A handle from the cache of the process against a bare unwrap; and one that is not in it."""
    from meterseal.authority.store import create_store
    from meterseal.crypto import WrappingKey, random_octets
    from meterseal.keys.kinds import Slot

    with folder() as here, create_store(str(here / "keys.db")) as store:
        titles = _fill(store, 64)
        wrapping, title = WrappingKey(random_octets(32)), titles[0]
        blob = wrapping.wrap(random_octets(16))
        assert (
            store.handles.gcm(title, "operator").kcv
            == store.keys.slot(Slot(title, "operator", "guek"))[0].kcv
        )
        ours, theirs, cold = [], [], []
        for _ in range(rounds):
            store.handles.gcm(title, "operator")  # looked up within the last seconds
            ours.append(_thread(lambda: store.handles.gcm(title, "operator"), 2000))
            theirs.append(_thread(lambda: wrapping.unwrap(blob), 2000))
            for one in titles:
                store.handles.drop(one)
            start = time.perf_counter()
            for one in titles:
                store.handles.gcm(one, "operator")
            cold.append((time.perf_counter() - start) / len(titles) * 1e6)
    ratio = statistics.median(ours) / statistics.median(theirs)
    return {
        "key_warm_vs_unwrap": {
            "ratio": round(ratio, 3), "bar": 1.0, "holds": ratio <= 1.0, "rounds": rounds,
            "ours_us": _quartiles(ours), "theirs_us": _quartiles(theirs),
        },
        "key_cold_us": {"us": _quartiles(cold), "rounds": rounds},
    }  # fmt: skip


def leases(rounds: int) -> dict[str, dict[str, Any]]:
    """Blocks of counters a second, one process, each durable in the store and seen by the witness."""
    from meterseal.authority.store import create_store

    with folder() as here, create_store(str(here / "keys.db")) as store:
        rates = []
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(50):
                store.counters.reserve("ABCDEF0123-4D534C4845530002-tx", start=1)
            rates.append(50 / (time.perf_counter() - start))
    return {"counter_leases_per_second": {"per_second": _quartiles(rates), "rounds": rounds}}


def rotations(rounds: int) -> dict[str, dict[str, Any]]:
    """Meters a second that get a new GUEK over loopback, eight at a time, meters in the same process."""
    with folder() as here:
        return {"rotate_meters_per_second": asyncio.run(_rotated(here, rounds))}


def rotations_hsm(rounds: int) -> dict[str, dict[str, Any]]:
    """The same with the storage KEK in an HSM (SoftHSM): keys are wrapped and unwrapped there."""
    name = "rotate_meters_per_second_hsm"
    module = next((path for path in SOFTHSM if Path(path).exists()), None)
    tool = shutil.which("softhsm2-util")
    if module is None or tool is None:
        return {name: {"skipped": "SoftHSM is not installed (Debian: softhsm2)"}}
    with folder() as here, _token(here, module, tool) as kek:
        return {name: asyncio.run(_rotated(here, rounds, kek))}


async def _rotated(here: Path, rounds: int, kek: str | None = None) -> dict[str, Any]:
    from contextlib import AsyncExitStack

    from meterseal.authority.adoption import adopt
    from meterseal.authority.probing import Line
    from meterseal.authority.rotator import Rotator
    from meterseal.authority.store import create_store
    from meterseal.meter import Meter, MeterServer, credentials_of, load_plan

    rates = []
    async with AsyncExitStack() as stack:
        with create_store(str(here / "keys.db"), kek) as store:
            titles = []
            for number in range(METERS):
                meter = Meter(load_plan("suite0"), here / f"meter-{number}")
                stack.callback(meter.close)
                server = await stack.enter_async_context(MeterServer(meter))
                titles.append(adopt(store, credentials_of(meter, server.url)).title)
            rotator = Rotator(store, Line(timeout=30))
            for _ in range(rounds):
                start = time.perf_counter()
                reports = await asyncio.gather(
                    *(rotator.rotate(title, ["guek"], ["operator"]) for title in titles)
                )
                rates.append(METERS / (time.perf_counter() - start))
                assert all(report.done and not report.again for report in reports)
    return {"per_second": _quartiles(rates), "meters": METERS, "rounds": rounds}


@contextmanager
def _token(here: Path, module: str, tool: str) -> Iterator[str]:
    """A token of SoftHSM in a folder; the name of a storage KEK in it, drawn there."""
    from meterseal.crypto.token import make_kek, open_token

    tokens, conf, pin = here / "tokens", here / "softhsm2.conf", "471108"
    tokens.mkdir()
    conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    told = {"SOFTHSM2_CONF": str(conf), "METERSEAL_PKCS11_MODULE": module, "METERSEAL_HSM_PIN": pin}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        words = ["--init-token", "--free", "--label", "bench", "--pin", pin, "--so-pin", "5678"]
        subprocess.run([tool, *words], check=True, capture_output=True)
        make_kek(open_token(module, "bench", pin.encode()), "storage")
        yield "pkcs11:token=bench;object=storage"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def large(rounds: int) -> dict[str, dict[str, Any]]:
    """A store with many meters, six keys each: lookup against one of 1,000, size, `keys status`."""
    from datetime import UTC, datetime

    from meterseal.authority.overview import overview
    from meterseal.authority.store import create_store

    found: dict[int, dict[str, float]] = {}
    with folder() as here:
        for count in (1_000, LARGE):
            path = here / f"{count}.db"
            with create_store(str(path)) as store:
                start = time.perf_counter()
                titles = _fill(store, count)
                filled = time.perf_counter() - start
                chosen = titles[:: max(1, count // 400)][:400]
                lookup = []
                for _ in range(rounds):
                    start = time.perf_counter()
                    for title in chosen:
                        store.keys.slots(title)
                    lookup.append((time.perf_counter() - start) / len(chosen) * 1e6)
                start = time.perf_counter()
                overview(store, datetime.now(UTC))
                status = time.perf_counter() - start
            found[count] = {
                "lookup": statistics.median(lookup), "status": status, "filled": filled,
                "octets": path.stat().st_size / count,
            }  # fmt: skip
    small, big = found[1_000], found[LARGE]
    ratio = big["lookup"] / small["lookup"]
    return {
        "key_lookup_large_vs_small": {
            "ratio": round(ratio, 3), "bar": 2.0, "holds": ratio <= 2.0, "rounds": rounds, "meters": LARGE,
            "ours_us": [round(big["lookup"], 1)] * 3, "theirs_us": [round(small["lookup"], 1)] * 3,
        },
        "key_status_seconds": {"seconds": round(big["status"], 3), "meters": LARGE},
        "key_store_octets_per_meter": {"octets": round(big["octets"]), "meters": LARGE},
        "key_store_filled_per_second": {"meters": round(LARGE / big["filled"])},
    }  # fmt: skip


def _fill(store: Any, count: int, batch: int = 1000) -> list[bytes]:
    """So many devices, six active keys each."""
    from meterseal.authority.store import Device
    from meterseal.crypto import random_octets

    settings = {"roles": {role: {"client": at, "mechanism": "gmac"} for at, role in enumerate(_ROLES, 1)}}
    titles = [b"MSL" + number.to_bytes(5, "big") for number in range(count)]
    for first in range(0, count, batch):
        with store.core.acting() as act:
            store.keys.put_new(
                act,
                [
                    (
                        Device(title=title, settings=settings),
                        {(role, kind): random_octets(16) for role in _ROLES for kind in _SLOTS},
                    )
                    for title in titles[first : first + batch]
                ],
                "bench",
            )
    return titles


def _quartiles(numbers: list[float]) -> list[float]:
    return [round(q, 3) for q in statistics.quantiles(numbers, n=4)]


CASES = [
    Figures(("key_warm_vs_unwrap", "key_cold_us"), warm, 9, faster=False),
    Figures(("counter_leases_per_second",), leases, 9),
    Figures(("rotate_meters_per_second",), rotations, 5),
    Figures(("rotate_meters_per_second_hsm",), rotations_hsm, 5),
    Figures(("key_lookup_large_vs_small", "key_status_seconds", "key_store_octets_per_meter"), large, 7,
            faster=False),
]  # fmt: skip
