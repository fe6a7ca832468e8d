"""C07 on the wire: meter and client are killed at random points, and no counter is used twice by either."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from meterseal.credentials import Credentials
from meterseal.crypto import GcmKey
from tests.wired import apdus, counters, twice

METER = "import sys, json; from meterseal.meter import run_meter; run_meter(**json.loads(sys.argv[1]))"
CLIENT = """
import sys
from meterseal import net, sync
url, credentials, state, log = sys.argv[1:]
with net.WireLog(log) as wires:
    while True:
        with sync.connect(url, credentials, "operator", state=state, wire_log=wires) as meter:
            print("on", flush=True)
            for _ in range(30):
                meter.get(3, "1.0.1.8.0.255", 2)
"""


@contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def said(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line, "the process ended before it said anything"
    return line.strip()


def live(folder: Path, lives: int, chance: random.Random) -> None:
    """Lives of both: each ends with a kill of one of them, or of both, some time after a sign-on."""
    arguments = {
        "state": str(folder / "meter-state"),
        "credentials_out": str(folder / "meter.toml"),
        "wire_log": str(folder / "meter.log"),
    }
    with ExitStack() as stack:
        meter = client = None
        url = ""
        for _ in range(lives):
            if meter is None:
                meter = stack.enter_context(process(METER, json.dumps(arguments)))
                url = said(meter).removeprefix("listening on ")
                client = None
            if client is None:
                places = (folder / name for name in ("meter.toml", "client-state", "client.log"))
                client = stack.enter_context(process(CLIENT, url, *map(str, places)))
                said(client)
            time.sleep(chance.random() * 0.15)
            both = (meter, client)
            for victim in chance.choice([both[:1], both[1:], both]):
                victim.kill()
                victim.wait()
            # Without its meter a client ends; the next one starts anew from what is kept.
            meter = None if meter.poll() is not None else meter
            client = None if meter is None or client.poll() is not None else client


def check(folder: Path, lives: int) -> None:
    chance = random.Random(7)
    live(folder, lives, chance)
    credentials = Credentials.load(folder / "meter.toml")
    role, meter_title = credentials.role("operator"), credentials.meter.system_title
    guek, gak, client_title = role.octets("guek"), role.octets("gak"), role.client_system_title
    assert guek is not None and gak is not None and client_title is not None and meter_title is not None
    key = GcmKey(guek, gak)

    def used(title: bytes, log: str) -> list[int]:
        return list(counters(apdus(folder / log), title, key))

    for end in ((client_title, "client.log"), (meter_title, "meter.log")):
        while len(used(*end)) <= 4 * lives:  # a machine with much else to do lets them come to little
            live(folder, 1, chance)
        assert twice(used(*end)) == []


def test_C07_both_ends_killed_at_random_points(tmp_path: Path) -> None:
    check(tmp_path, 8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_C07_both_ends_killed_a_thousand_times(tmp_path: Path) -> None:
    check(tmp_path, 1_000)
