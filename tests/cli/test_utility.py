"""`meterseal utility` with the credentials of a preset and no head-end: the command carries for itself."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterseal.credentials import Credentials
from tests.cli.conftest import Running, meter
from tests.cli.shell import Ran, run

ENERGY, CLOCK, SWITCH = "1.0.1.8.0.255", "8/0.0.1.0.0.255:2", "70/0.0.96.3.10.255"


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Preset suite1 as it is."""
    with meter(tmp_path_factory.mktemp("suite1"), "--preset", "suite1") as one:
        yield one


def utility(running: Running, verb: str, *words: str, role: str | None = "operator") -> Ran:
    title = (Credentials.load(running.credentials).meter.system_title or b"").hex()
    who = [] if role is None else ["--role", role]
    return run("utility", verb, title, *words, "--credentials", str(running.credentials), *who)


def test_the_utility_of_a_preset_reads_and_commands(signing: Running, tmp_path: Path) -> None:
    log = tmp_path / "wire.jsonl"
    ran = utility(signing, "read", ENERGY, CLOCK, "--json", "--wire-log", str(log))
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert [value["obis"] for value in told["values"]] == [ENERGY, "0.0.1.0.0.255"]
    assert [layer["kind"] for layer in told["layers"]] == ["general-ciphering", "general-signing"]
    assert told["values"][0]["raw"] not in log.read_text() and log.read_text()
    assert utility(signing, "call", f"{SWITCH}:1").code == 0
    ran = utility(signing, "read", f"{SWITCH}:2", "--json")
    assert json.loads(ran.out)["values"][0]["value"] is False
    # Whoever carries may not: a right that holds only for the utility.
    ran = run(
        "call", signing.url, f"{SWITCH}:2", "--credentials", str(signing.credentials), "--role", "operator"
    )
    assert ran.code == 1 and "read-write-denied" in ran.err
    ran = utility(signing, "write", CLOCK, "2026-01-01T00:00:00", role="manager")
    assert ran.code == 1 and "read-write-denied" in ran.err


def test_keys_of_the_utility_stand_in_files_of_their_own(signing: Running) -> None:
    third = Credentials.load(signing.credentials).third_party("utility")
    for name in (third.signing_key, third.agreement_key):
        path = signing.credentials.parent / str(name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "PRIVATE" in path.read_text()
    assert "PRIVATE" not in signing.credentials.read_text()


def test_who_carries_is_said(signing: Running) -> None:
    ran = utility(signing, "read", ENERGY, role=None)
    assert ran.code == 2 and "--via" in ran.err and "--role" in ran.err
