"""`meterseal read`, `write`, `call` with a simulated meter: results, refusals, exit codes, both streams."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from meterseal.credentials import Credentials
from tests.cli.conftest import Running
from tests.cli.shell import Ran, run, spawn

ENERGY = "1.0.1.8.0.255"
HIDDEN = "1/0.0.97.97.0.255"
POINT = "1/0.0.96.1.10.255"
SHIFT = "8/0.0.1.0.0.255:6"
PROFILE = "1.0.99.1.0.255"


def talk(running: Running, verb: str, *words: str, role: str = "operator") -> Ran:
    return run(verb, running.url, "--credentials", str(running.credentials), "--role", role, *words)


def only(ran: Ran) -> dict[str, Any]:
    """The one line of JSON on stdout."""
    (line,) = ran.lines()
    assert isinstance(line, dict)
    return line


# --- read ------------------------------------------------------------------------------------------


def test_read_json(running: Running) -> None:
    ran = talk(running, "read", "--json", ENERGY, "0.0.1.0.0.255", "1.0.32.7.0.255")
    assert ran.code == 0 and ran.err == ""
    line = only(ran)
    assert line["association"] == {
        "role": "operator",
        "mechanism": "gmac",
        "suite": 0,
        "policy": "authenticated+encrypted",
    }
    energy, clock, voltage = line["values"]
    assert set(energy) == {"obis", "class", "attribute", "value", "unit", "raw"}
    assert (energy["obis"], energy["class"], energy["attribute"]) == (ENERGY, 3, 2)
    assert energy["unit"] == "Wh" and energy["raw"] == f"06{energy['value']:08X}"
    assert clock["unit"] is None and clock["value"][10] == "T"
    assert voltage["unit"] == "V" and 200 < voltage["value"] < 260


def test_read_one_attribute_and_nothing_else(running: Running) -> None:
    (value,) = only(talk(running, "read", "--json", f"3/{ENERGY}:2"))["values"]
    assert value["unit"] is None
    (value,) = only(talk(running, "read", "--json", f"3/{ENERGY}:3"))["values"]
    assert value["value"] == [0, 30]


def test_read_page(running: Running) -> None:
    ran = talk(running, "read", ENERGY, "0.0.42.0.0.255")
    assert ran.code == 0 and ran.err == ""
    first, second = ran.out.splitlines()
    assert first.startswith(f"{ENERGY}:2  ") and first.endswith(" Wh")
    assert second.startswith("0.0.42.0.0.255:2  ")


def test_read_profile(running: Running) -> None:
    (profile,) = only(talk(running, "read", "--json", PROFILE))["values"]
    assert [column["obis"] for column in profile["columns"]] == [
        "0.0.1.0.0.255",
        "0.0.96.10.1.255",
        "1.0.1.8.0.255",
        "1.0.2.8.0.255",
    ]
    assert profile["columns"][2] == {
        "class": 3,
        "obis": ENERGY,
        "attribute": 2,
        "index": 0,
        "unit": "Wh",
    }
    assert len(profile["value"][0]) == 4 and profile["value"][0][0][10] == "T"
    page = talk(running, "read", PROFILE)
    assert page.code == 0
    assert "3/1.0.1.8.0.255:2 (Wh)" in page.out.splitlines()[1]
    assert len(page.out.splitlines()) == len(profile["value"]) + 2


def test_refused_attribute(running: Running) -> None:
    """A refusal is in place of the value, the others are there, and the exit code is 1."""
    ran = talk(running, "read", "--json", ENERGY, HIDDEN)
    assert ran.code == 1
    good, refused = only(ran)["values"]
    assert good["value"] > 0
    assert "value" not in refused
    assert refused["error"]["type"] == "refused" and refused["error"]["reason"] == "object-undefined"
    assert ran.err.startswith("meterseal: refused: ") and ran.err.count("\n") == 1
    page = talk(running, "read", HIDDEN)
    assert page.code == 1 and page.out == f"{HIDDEN}:2  not read\n" and page.err == ran.err


def test_role_without_security(running: Running) -> None:
    ran = talk(running, "read", "--json", "0.0.1.0.0.255", ENERGY, role="public")
    assert ran.code == 1
    clock, energy = only(ran)["values"]
    assert "value" in clock and "error" in energy
    assert only(ran)["association"]["policy"] == "none"


def test_F18_a_name_that_wants_to_steer_the_terminal(running: Running) -> None:
    page = talk(running, "read", "1/0.0.96.1.1.255")
    ran = talk(running, "read", "--json", "1/0.0.96.1.1.255")
    for out in (page.out, ran.out):
        assert out.isascii() and out.rstrip("\n").isprintable() and r"\u202e" in out
    (value,) = only(ran)["values"]
    assert value["value"] == "name\x1b[2J\u202e\x07"


# --- write and call -----------------------------------------------------------------------------------


def test_write(running: Running) -> None:
    ran = talk(running, "write", POINT, "os:414243", role="installer")
    assert (ran.code, ran.out, ran.err) == (0, f"{POINT}:2  written\n", "")
    (value,) = only(talk(running, "read", "--json", POINT, role="installer"))["values"]
    assert value["value"] == "414243"
    ran = talk(running, "write", "--json", POINT, "os:44", role="installer")
    (done,) = only(ran)["values"]
    assert done == {"obis": "0.0.96.1.10.255", "class": 1, "attribute": 2, "value": "os:44"}


def test_write_refused(running: Running) -> None:
    ran = talk(running, "write", "--json", POINT, "os:414243")
    assert ran.code == 1
    (refused,) = only(ran)["values"]
    assert refused["error"]["reason"] == "read-write-denied"
    assert talk(running, "write", POINT, "os:414243").out == ""


@pytest.mark.parametrize("value", ["414243", "u99:1", "os:4", "[1"])
def test_write_of_a_value_that_is_none(running: Running, value: str) -> None:
    ran = talk(running, "write", POINT, value, role="installer")
    assert ran.code == 2 and ran.out == "" and ran.err.startswith("meterseal: misuse: ")


def test_write_of_a_time_that_means_nothing_names_the_field(running: Running) -> None:
    ran = talk(running, "write", "0.0.1.0.0.255", "2026-13-01T00:00:00", role="installer")
    assert (ran.code, ran.out) == (2, "") and ran.err.count("\n") == 1
    assert ran.err.startswith("meterseal: misuse: ") and "its month is 13" in ran.err


def test_call(running: Running) -> None:
    ran = talk(running, "call", SHIFT, "-5", role="manager")
    assert (ran.code, ran.out, ran.err) == (0, f"{SHIFT}  done\n", "")
    line = only(talk(running, "call", "--json", SHIFT, "5", role="manager"))
    assert line["values"] == [{"obis": "0.0.1.0.0.255", "class": 8, "method": 6, "value": None, "raw": None}]
    assert line["association"]["role"] == "manager"
    for method, state in (("1", False), ("2", True)):
        assert talk(running, "call", f"70/0.0.96.3.10.255:{method}", role="manager").code == 0
        (value,) = only(talk(running, "read", "--json", "70/0.0.96.3.10.255"))["values"]
        assert value["value"] is state


def test_call_refused(running: Running) -> None:
    ran = talk(running, "call", "--json", "70/0.0.96.3.10.255:1")
    assert ran.code == 1
    (value,) = only(ran)["values"]
    assert value["error"]["type"] == "refused"
    assert value["method"] == 1 and "attribute" not in value  # named as where it is done


# --- the line, files, folders ---------------------------------------------------------------------------


def test_wire_log_opens_with_the_same_credentials(running: Running, tmp_path: Path) -> None:
    log = tmp_path / "wire.jsonl"
    assert talk(running, "read", "--wire-log", str(log), ENERGY).code == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["direction"] for entry in entries} == {"in", "out"}
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    ran = run("decode", "--json", str(log), "--credentials", str(running.credentials))
    assert ran.code == 0, ran.err
    lines = ran.lines()
    assert len(lines) == len(entries)
    assert [line["apdu"] for line in lines][:2] == ["aarq", "aare"]
    assert [line["apdu"] for line in lines][-2:] == ["rlrq", "rlre"]
    assert all(line["layers"][-1]["verified"] is True for line in lines)


def test_a_role_that_was_used_goes_on_counting_in_its_own_file(running: Running, tmp_path: Path) -> None:
    """No counter twice, also when a role is handed on; its state goes into the folder that is named."""
    assert talk(running, "read", POINT, role="installer").code == 0
    cut, state = tmp_path / "installer.toml", tmp_path / "counters"
    ran = run("credentials", "cut", str(running.credentials), "--role", "installer", "--out", str(cut))
    assert ran.code == 0
    used = Credentials.load(running.credentials).role("installer").counter_start
    start = Credentials.load(cut).role().counter_start
    assert start is not None and used is not None and start > used
    ran = run("read", running.url, "--credentials", str(cut), "--state", str(state), POINT)
    assert ran.code == 0, ran.err
    assert stat.S_IMODE(state.stat().st_mode) == 0o700 and list(state.iterdir())
    assert not Path(f"{cut}.state").exists()


def test_H16_umask_opens_nothing(running: Running, tmp_path: Path) -> None:
    folder = running.credentials.with_name("meter.toml.state")
    words = ["read", running.url, "--credentials", str(running.credentials), "--role", "manager", ENERGY]
    assert spawn([*words, "--wire-log", str(tmp_path / "log")], umask=0).returncode == 0
    for path in (running.credentials, tmp_path / "log", *folder.iterdir()):
        assert not path.stat().st_mode & 0o077, path
    assert not folder.stat().st_mode & 0o077


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "LANG": "nonsense"}])
def test_H16_any_locale(running: Running, env: dict[str, str]) -> None:
    words = ["read", running.url, "--credentials", str(running.credentials), "--role", "manager", ENERGY]
    done = spawn(words, env=env)
    assert done.returncode == 0 and done.stderr == b""


def test_METERSEAL_STATE(running: Running, tmp_path: Path) -> None:
    words = ["read", running.url, "--credentials", str(running.credentials), "--role", "manager", ENERGY]
    spawn(words, env={"METERSEAL_STATE": str(tmp_path / "state")})
    assert list((tmp_path / "state").iterdir())


def test_wrong_keys_under_a_role(running: Running, tmp_path: Path) -> None:
    """The operator's keys under the installer's SAP open nothing."""
    text = run("credentials", "cut", str(running.credentials), "--role", "operator").out
    wrong = tmp_path / "wrong.toml"
    wrong.touch(0o600)
    wrong.write_text(text.replace("client = 2\n", "client = 3\n"))
    ran = run("read", "--json", running.url, "--credentials", str(wrong), ENERGY)
    assert ran.code == 1 and ran.out == ""
    assert ran.err.startswith("meterseal: ") and ran.err.count("\n") == 1


# --- what does not work ------------------------------------------------------------------------------------


def test_failures(running: Running, tmp_path: Path) -> None:
    file = str(running.credentials)
    for words, kind in (
        (["tcp://127.0.0.1:1", "--credentials", file, "--role", "operator", ENERGY], "connection-lost"),
        ([running.url, "--credentials", file, "--role", "nobody", ENERGY], "configuration"),
        ([running.url, "--credentials", file, ENERGY], "configuration"),
        ([running.url, "--credentials", str(tmp_path / "none"), ENERGY], "configuration"),
        (
            [running.url, "--credentials", file, "--role", "operator", "--wire-log", str(tmp_path), ENERGY],
            "configuration",
        ),
    ):
        for verb in ("read", "call"):
            ran = run(verb, *words[:-1], f"{words[-1]}:2")
            assert ran.code == 1 and ran.out == "", (verb, words)
            assert ran.err.startswith(f"meterseal: {kind}: ") and ran.err.count("\n") == 1, ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["read", "ftp://127.0.0.1", "--credentials", "f", ENERGY],
        ["call", "udp://h?gateway=0/1", "--credentials", "f", f"{ENERGY}:1"],
        ["read", "tcp://127.0.0.1:1", "--credentials", "f"],
        ["read", "tcp://127.0.0.1:1", ENERGY],
        ["read", "tcp://127.0.0.1:1", "--credentials", "f", "rubbish"],
        ["read", "tcp://127.0.0.1:1", "--credentials", "f", "1.0.1.8.0.256"],
        ["read", "tcp://127.0.0.1:1", "--credentials", "f", "70000/1.0.1.8.0.255"],
        ["write", "tcp://127.0.0.1:1", "--credentials", "f", ENERGY],
        ["call", "tcp://127.0.0.1:1", "--credentials", "f", ENERGY],
        ["read", "tcp://127.0.0.1:1", "--credentials", "f", "--nonsense", ENERGY],
        ["nonsense"],
        ["meter"],
    ],
)
def test_what_is_not_understood(words: list[str]) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_version_and_help() -> None:
    assert run("--version").out.startswith("meterseal 0.")
    for words in (
        [],
        ["read"],
        ["write"],
        ["call"],
        ["decode"],
        ["meter", "run"],
        ["access", "show"],
        ["demo"],
    ):
        ran = run(*words, "--help")
        assert ran.code == 0 and ran.out.startswith("Usage: ")
        assert max(map(len, ran.out.splitlines())) <= 80
