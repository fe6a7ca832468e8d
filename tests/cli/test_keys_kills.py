"""`keys rotate` as a process that is killed at any moment, against a meter as a process: nothing is lost.

What went over the line is recorded: no key, title and counter comes twice on it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meterseal import Credentials
from meterseal.authority.store import open_store
from meterseal.crypto import GcmKey
from meterseal.errors import MetersealError
from meterseal.framing import wrapper
from tests.authority.changing import CONFIG, TARGET
from tests.cli.conftest import MAIN, meter
from tests.cli.shell import run

SLOTS = [
    ("guek", "operator"), ("gak", "operator"), ("gbek", "operator"), ("guek", "manager"), ("gak", "manager"),
    ("kek", "manager"), ("lls", "weak"), ("hls", "strong"),
]  # fmt: skip
PAIRS = [
    ("meter-sign", "manager"), ("meter-agree", "manager"), ("client-sign", "manager"),
    ("client-sign", "operator"), ("client-agree", "operator"),
]  # fmt: skip
AGREED = [("guek", "operator"), ("gak", "operator"), ("gbek", "operator"), ("kek", "manager")]
KILLS = 30


def sent(log: Path) -> list[bytes]:
    """The APDUs that the executor sent."""
    found = []
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["direction"] == "out":
            reader = wrapper.WrapperReader()
            reader.feed(bytes.fromhex(entry["hex"]))
            while (frame := reader.next_frame()) is not None:
                found.append(frame[2])
    return found


def protected(apdu: bytes) -> tuple[int, bytes, bytes] | None:
    """Security control, counter and body of a glo-request; None for anything else."""
    if apdu[0] not in (0xC8, 0xC9, 0xCB):
        return None
    start = 2 if apdu[1] < 0x80 else 2 + (apdu[1] & 0x7F)
    return apdu[start], apdu[start + 1 : start + 5], apdu[start + 5 :]


def killed(words: list[str], log: Path, environment: dict[str, str], *more: str) -> None:
    """Start `keys rotate` again and again, kill it when chance says so, and end with `keys recover`."""
    chance, which = random.Random(" ".join(words)), [*more, "--wire-log", str(log)]
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "keys", "rotate", *words, *which], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(chance.uniform(0.5, 3.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        with open_store(environment["METERSEAL_STORE"]) as store, store.core.writing() as connection:
            connection.exec_driver_sql("UPDATE leases SET until = 0")  # nobody waits five minutes here
        done = run("keys", "recover", *words[:2], *which, env=environment)
        assert done.code == 0, done.out + done.err
    assert run("keys", "journal", "verify", env=environment).code == 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("kind", "role"), SLOTS)
def test_G01_H01_the_process_is_killed_at_any_moment(tmp_path: Path, kind: str, role: str) -> None:
    config, log = tmp_path / "config.toml", tmp_path / "wire.log"
    config.write_text(CONFIG)
    environment = {"PATH": os.environ["PATH"], "METERSEAL_STORE": str(tmp_path / "keys.db")}
    with meter(tmp_path, "--config", str(config)) as running:
        title = (Credentials.load(running.credentials).meter.system_title or b"").hex().upper()
        assert run("keys", "init", env=environment).code == 0
        file = str(running.credentials)
        assert run("keys", "adopt", file, "--broadcast", TARGET, env=environment).code == 0
        words = ["--device", title, "--kind", kind, "--role", role]
        killed(words, log, environment)
    nothing_twice(environment["METERSEAL_STORE"], title, log)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("kind", "role"), [*PAIRS, *AGREED])
def test_G01_H01_pairs_and_agreed_keys_killed_at_any_moment(tmp_path: Path, kind: str, role: str) -> None:
    config, log, ca = tmp_path / "config.toml", tmp_path / "wire.log", str(tmp_path / "ca")
    config.write_text(f'{CONFIG}\n[meter]\ntrust = ["ca/ca.pem"]\n')
    environment = {"PATH": os.environ["PATH"], "METERSEAL_STORE": str(tmp_path / "keys.db")}
    assert run("pki", "init", "--dir", ca, "--name", "Root").code == 0
    with meter(tmp_path, "--preset", "suite1", "--config", str(config)) as running:
        file = str(running.credentials)
        enrol = ["pki", "enrol", running.url, "--dir", ca, "--credentials", file, "--role", "installer"]
        assert run(*enrol).code == 0
        title = (Credentials.load(file).meter.system_title or b"").hex().upper()
        assert run("keys", "init", env=environment).code == 0
        assert run("keys", "adopt", file, "--broadcast", TARGET, env=environment).code == 0
        words = ["--device", title, "--kind", kind, "--role", role]
        if (kind, role) in AGREED:
            assert run("keys", "way", "agreement", *words, env=environment).code == 0
        killed(words, log, environment, "--authority", ca)
        read = ["export-credentials", *words[:2], "--out", str(tmp_path / "out.toml"), "--role", "manager"]
        assert run("keys", *read, env=environment).code == 0
        url, out = running.url, str(tmp_path / "out.toml")
        assert run("read", url, "--credentials", out, "--role", "manager", "1/0.0.42.0.0.255").code == 0
    nothing_twice(environment["METERSEAL_STORE"], title, log)


def nothing_twice(where: str, title: str, log: Path) -> None:
    """One active key in every slot, and no key, title and counter twice on the wire."""
    with open_store(where) as store:
        slots = store.keys.stored(bytes.fromhex(title))
        assert all([one.record.state.value for one in kept].count("active") == 1 for kept in slots.values())
        keys = {
            (guek.record.kcv, gak.record.kcv, who): GcmKey(
                store.keys.opened(guek).reveal(), store.keys.opened(gak).reveal()
            )
            for who, settings in store.keys.device(bytes.fromhex(title)).roles.items()
            if "client_system_title" in settings
            for slot, kept in slots.items()
            if slot.role == who and slot.kind in ("guek", "gbek")
            for guek in kept
            for gak in slots[slot._replace(kind="gak")]
        }
        titles = {
            who: bytes.fromhex(settings["client_system_title"])
            for who, settings in store.keys.device(bytes.fromhex(title)).roles.items()
            if "client_system_title" in settings
        }
    seen: set[tuple[str, str, bytes]] = set()
    for apdu in sent(log):
        parts = protected(apdu)
        if parts is None:
            continue
        sc, counter, body = parts
        for (check, _, who), handle in keys.items():
            try:
                handle.open(sc, titles[who] + counter, body)
            except MetersealError:
                continue
            assert (check, who, counter) not in seen
            seen.add((check, who, counter))
            break
    assert len(seen) > KILLS
