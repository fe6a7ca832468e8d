"""Benchmarks of whole conversations: sessions against other clients, a meter under load, many meters.

Sessions: processor time (user and system) of 100 reads, each client its own process, all against the same
meter.  Load: wall time, both sides alternating; signing on is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.case import Figures
from bench.processes import child, meter, resident
from bench.sessions import CLIENTS, GETS

SECONDS = 3.0
CONNECTIONS = 100
METERS = 5_000
MOST_IDLE, MOST_CONNECTION = 150 * 1024 * 1024, 3.5 * 1024

REQUEST, RESPONSE = 8 + 2 + 5 + 13 + 12, 8 + 2 + 5 + 9 + 12
"""Octets on the line of a small GET and its answer: wrapper, header, counter, APDU, tag."""

REGISTER = """# a register that stays as it is
[[objects]]
class = 3
obis = "1.0.15.8.0.255"
type = "u32"
value = 12345
unit = "Wh"
[[roles.operator.rights]]
objects = ["1.0.15.8.0.255"]
attributes = "read"
"""
ROLE = """[roles.{name}]
client = {client}
mechanism = "gmac"
policy = "authenticated+encrypted"
client_system_title = "4D534C48455300{client:02X}"
[roles.{name}.peer]
hls_token_shares_counter = {peer}
plain_release = {peer}
[[roles.{name}.rights]]
objects = ["0.0.40.0.0.255", "1.0.15.8.0.255"]
attributes = "read"
methods = "access"
"""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for the time of a benchmark."""
    with TemporaryDirectory(prefix="meterseal-bench-") as name:
        yield Path(name)


def quartiles(numbers: Sequence[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return [round(q, 3) for q in statistics.quantiles(numbers, n=4)]


def row(ratio: float, bar: float, rounds: int, **figures: Any) -> dict[str, Any]:
    """What every ratio has, and what its two sides measured."""
    return {"ratio": round(ratio, 3), "bar": bar, "holds": ratio >= bar, "rounds": rounds, **figures}


# --- sessions -----------------------------------------------------------------------------------


def sessions(rounds: int) -> dict[str, dict[str, Any]]:
    """One association, 100 reads, release: our synchronous client, two others, and bare calls."""
    cpu: dict[str, list[float]] = {name: [] for name in CLIENTS}
    wall: dict[str, list[float]] = {name: [] for name in CLIENTS}
    with folder() as here, ExitStack() as stack:
        roles = [
            ROLE.format(name=name.replace("_", "-"), client=32 + at, peer=str(name in PEERS).lower())
            for at, name in enumerate(CLIENTS)
        ]
        (here / "meter.toml").write_text(REGISTER + "".join(roles))
        stack.enter_context(meter(here, "--config", str(here / "meter.toml")))
        clients = {
            name: stack.enter_context(child("sessions", name, str(here / "meters"))) for name in CLIENTS
        }
        for at in range(rounds + 1):  # one to warm up, whose values are held against each other
            for name, client in clients.items():
                spent = client.tell("session")
                if set(spent["values"]) != {12345} or len(spent["values"]) != GETS:
                    raise AssertionError(f"{name} read something else")
                if at:
                    cpu[name].append(spent["cpu"] / GETS * 1e6)
                    wall[name].append(GETS / spent["wall"])
    mine = statistics.median(cpu["ours"])
    found = {}
    for peer, bar in PEERS.items():
        ratio = statistics.median(cpu[peer]) / mine
        found[f"session_vs_{peer}"] = row(
            ratio, bar, rounds, ours_us=quartiles(cpu["ours"]), theirs_us=quartiles(cpu[peer])
        )
    for name, rates in wall.items():
        found[f"session_wall_{name}"] = {"gets_per_second": quartiles(rates), "rounds": rounds}
    found["session_wall_vs_bare"] = row(
        statistics.median(wall["ours"]) / statistics.median(wall["bare"]),
        0.5,
        rounds,
        ours_per_second=quartiles(wall["ours"]),
        theirs_per_second=quartiles(wall["bare"]),
    )
    return found


PEERS = {"dlms_cosem": 2.5, "gurux": 20.0}
"""Other clients, and how many times our processor time theirs has to be."""


# --- load ---------------------------------------------------------------------------------------


def load(rounds: int) -> dict[str, dict[str, Any]]:
    """100 associations at 100 meters, each with one request under way, against an echo of equal octets.

    Beside it the same meters and connections read without our client: sockets and cipher calls.
    """
    gets: list[float] = []
    bares: list[float] = []
    echoes: list[float] = []
    profiles: list[float] = []
    with folder() as here, ExitStack() as stack:
        (here / "meter.toml").write_text(REGISTER)
        words = ("--meters", str(CONNECTIONS), "--config", str(here / "meter.toml"))
        stack.enter_context(meter(here, *words))
        clients = stack.enter_context(child("load", str(here / "meters")))
        clients.tell("lines", count=CONNECTIONS)
        clients.tell("associate", count=CONNECTIONS)
        echo = stack.enter_context(child("echo", "serve", str(REQUEST), str(RESPONSE)))
        assert echo.process.stdout is not None
        port = echo.process.stdout.readline().strip()
        sizes = (str(CONNECTIONS), str(REQUEST), str(RESPONSE))
        callers = stack.enter_context(child("echo", "load", port, *sizes))
        for _ in range(rounds):
            found = clients.tell("get", seconds=SECONDS)
            if set(found["values"]) != {12345}:
                raise AssertionError("a meter said something else")
            gets.append(found["rate"])
            echoes.append(callers.tell("get", seconds=SECONDS)["rate"])
            bare = clients.tell("bare", seconds=SECONDS)
            if set(bare["values"]) != {12345}:
                raise AssertionError("a meter said something else to cipher calls")
            bares.append(bare["rate"])
            rows = clients.tell("profile", seconds=SECONDS)
            if set(rows["values"]) != {96}:
                raise AssertionError("a profile is not whole")
            profiles.append(rows["rate"])
    small = statistics.median(gets)
    return {
        "ciphered_get_vs_echo": row(
            small / statistics.median(echoes),
            0.35,
            rounds,
            ours_per_second=quartiles(gets),
            theirs_per_second=quartiles(echoes),
        ),
        "ciphered_get_bare": {
            "per_second": quartiles(bares),
            "ours_to_it": round(small / statistics.median(bares), 3),
            "it_to_echo": round(statistics.median(bares) / statistics.median(echoes), 3),
            "rounds": rounds,
        },
        "profile_reads_per_second": {
            "per_second": quartiles(profiles),
            "to_small_get": round(statistics.median(profiles) / small, 4),
            "rounds": rounds,
        },
    }


# --- many meters --------------------------------------------------------------------------------


def many(rounds: int) -> dict[str, dict[str, Any]]:
    """Memory of a process with 5,000 meters: idle, with a connection to each, with an association each."""
    with folder() as here, ExitStack() as stack:
        start = time.perf_counter()
        pid, _ = stack.enter_context(meter(here, "--meters", str(METERS)))
        started = time.perf_counter() - start
        clients = stack.enter_context(child("load", str(here / "meters")))
        time.sleep(1.5)  # a tick
        idle = resident(pid)
        clients.tell("lines", count=METERS)
        time.sleep(1.5)
        connected = resident(pid)
        start = time.perf_counter()
        signed_on = clients.tell("associate", count=METERS)
        took = time.perf_counter() - start
        time.sleep(1.5)
        associated = resident(pid)
    if signed_on != METERS:
        raise AssertionError("not every meter has been signed on to")
    connection = (connected - idle) / METERS
    return {
        "meters_per_process": {
            "meters": METERS,
            "start_seconds": round(started, 1),
            "idle_mib": round(idle / 1024 / 1024, 1),
            "connection_kib": round(connection / 1024, 2),
            "with_an_association_each_mib": round(associated / 1024 / 1024, 1),
            "association_kib": round((associated - connected) / METERS / 1024, 2),
            "sign_ons_per_second": round(METERS / took),
            "holds": idle <= MOST_IDLE and connection <= MOST_CONNECTION,
        }
    }


CASES: Sequence[Figures] = (
    Figures(("session_vs_dlms_cosem", "session_vs_gurux", "session_wall"), sessions, 7),
    Figures(("ciphered_get_vs_echo", "profile_reads_per_second"), load, 7),
    Figures(("meters_per_process",), many, 1),
)
"""What each of them measures, and how many rounds it needs at least."""
