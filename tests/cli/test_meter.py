"""`meterseal meter run`, `access show`, `credentials cut`."""

from __future__ import annotations

import socket
import stat
import tomllib
from pathlib import Path

import pytest

from meterseal.credentials import Credentials
from tests.cli.conftest import Running, meter
from tests.cli.shell import run, spawn


def energy(one: Running) -> int:
    ran = run(
        "read",
        "--json",
        one.url,
        "--credentials",
        str(one.credentials),
        "--role",
        "operator",
        "1.0.1.8.0.255",
    )
    assert ran.code == 0, ran.err
    value = ran.lines()[0]["values"][0]["value"]
    assert isinstance(value, int)
    return value


def test_one_line_and_a_clean_end(tmp_path: Path) -> None:
    with meter(tmp_path, umask=0) as one:
        assert stat.S_IMODE(one.credentials.stat().st_mode) == 0o600
        assert one.end() == 0
        assert one.process.stdout is not None and one.process.stdout.read() == ""
        assert one.process.stderr is not None and one.process.stderr.read() == ""


def test_the_same_state_is_the_same_meter(tmp_path: Path) -> None:
    with meter(tmp_path) as one:
        first = Credentials.load(one.credentials)
        before = energy(one)
    with meter(tmp_path) as one:
        again = Credentials.load(one.credentials)
        assert again.meter.system_title == first.meter.system_title
        assert again.role("operator").octets("guek") == first.role("operator").octets("guek")
        assert energy(one) >= before


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = spawn(["meter", "run", "--port", str(taken.getsockname()[1])], cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.startswith(b"meterseal: ") and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["--preset", "suite3"], 2, "there are suite0, suite1, suite2"),
        (["--preset", "nonsense"], 2, "no preset"),
        (["--config", "nothing-there.toml"], 1, "configuration"),
        (["--port", "65536"], 2, "65535"),
        (["--port", "many"], 2, "port"),
    ],
)
def test_meter_that_cannot_run(words: list[str], code: int, cause: str) -> None:
    ran = run("meter", "run", *words)
    assert ran.code == code and ran.out == "" and cause in ran.err


# --- access show ------------------------------------------------------------------------------------


def test_access_of_a_role() -> None:
    (line,) = run("access", "show", "--json", "--role", "operator").lines()
    rows = line["access"]
    assert {row["role"] for row in rows} == {"operator"}
    energy = next(row for row in rows if row["obis"] == "1.0.1.8.0.255" and row["attribute"] == 2)
    assert energy == {
        "role": "operator",
        "logical_device": 1,
        "class": 3,
        "obis": "1.0.1.8.0.255",
        "attribute": 2,
        "name": "value",
        "right": "read",
        "request": "authenticated+encrypted",
        "response": "authenticated+encrypted",
    }
    assert not [row for row in rows if row["class"] == 64]
    assert any("method" in row for row in rows)


def test_access_page() -> None:
    page = run("access", "show")
    assert page.code == 0
    lines = page.out.splitlines()
    assert lines[0].split() == ["role", "device", "object", "members", "right", "request", "response"]
    assert {line.split()[0] for line in lines[1:]} == {
        "public", "operator", "installer", "manager", "utility",
    }  # fmt: skip
    rows = [line.split() for line in lines[1:]]
    assert ["public", "1", "8/0.0.1.0.0.255", "attributes", "1-9", "read", "none", "none"] in rows


def test_access_of_nobody() -> None:
    ran = run("access", "show", "--role", "nobody")
    assert ran.code == 1 and ran.out == "" and "no role 'nobody'" in ran.err
    assert run("access", "show", "--preset", "suite3").code == 2


# --- credentials cut ----------------------------------------------------------------------------------


FILE = """[meter]
url = "tcp://127.0.0.1:4059"
[roles.operator]
client = 2
mechanism = "gmac"
client_system_title = "4D534C4845530002"
guek = "11111111111111111111111111111111"
gak = "22222222222222222222222222222222"
[roles.manager]
client = 1
mechanism = "gmac"
client_system_title = "4D534C4845530001"
guek = "33333333333333333333333333333333"
gak = "44444444444444444444444444444444"
kek = "55555555555555555555555555555555"
"""


@pytest.fixture
def both(tmp_path: Path) -> Path:
    file = tmp_path / "meter.toml"
    file.touch(0o600)
    file.write_text(FILE)
    return file


def test_cut(both: Path, tmp_path: Path) -> None:
    out = tmp_path / "operator.toml"
    ran = run("credentials", "cut", str(both), "--role", "operator", "--out", str(out))
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    alone = Credentials.load(out)
    assert list(alone.roles) == ["operator"]
    assert alone.role().octets("guek") == b"\x11" * 16
    text = out.read_text()
    assert not [digit for digit in "345" if digit * 32 in text]
    assert run("credentials", "cut", "--credentials", str(both), "--role", "operator").out == text


def test_cut_does_not_write_over_the_file_with_all_roles(both: Path, tmp_path: Path) -> None:
    before = both.read_bytes()
    (tmp_path / "link.toml").symlink_to(both)
    assert run("credentials", "cut", str(both), "--role", "operator", "--out", "").code == 1
    for out in (both, tmp_path / "link.toml"):
        ran = run("credentials", "cut", str(both), "--role", "operator", "--out", str(out))
        assert ran.code == 2 and "the keys of the others would be gone" in ran.err
    assert both.read_bytes() == before


def test_cut_takes_private_keys_and_certificates_along(tmp_path: Path) -> None:
    with meter(tmp_path, "--preset", "suite1") as one:
        out = tmp_path / "other" / "operator.toml"
        out.parent.mkdir()
        cut = ["credentials", "cut", str(one.credentials), "--role", "operator"]
        assert run(*cut, "--out", str(out)).code == 0
        folder = out.parent / "operator.toml.files"
        assert {file.name for file in folder.iterdir()} == {
            "root.pem", "meter-sign.pem", "meter-agree.pem",
            "operator-sign.key", "operator-sign.pem", "operator-agree.key", "operator-agree.pem",
        }  # fmt: skip
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())
        assert Credentials.load(out).role().signing_key == "operator.toml.files/operator-sign.key"
        read = run("read", one.url, "--credentials", str(out), "3/1.0.1.8.0.255:3", "--json")
        assert read.code == 0 and read.lines()[0]["association"]["mechanism"] == "ecdsa"
        printed = Credentials.from_mapping(tomllib.loads(run(*cut).out)).role()
        assert Path(str(printed.signing_key)).read_bytes() == (folder / "operator-sign.key").read_bytes()
        (folder / "operator-sign.key").unlink()
        again = run(
            "credentials", "cut", str(out), "--role", "operator", "--out", str(tmp_path / "third.toml")
        )
        assert again.code == 1 and "operator-sign.key" in again.err


def test_cut_of_nothing(both: Path) -> None:
    assert run("credentials", "cut", str(both), "--role", "nobody").code == 1
    assert run("credentials", "cut", "--role", "operator").code == 2
    assert run("credentials", "cut", str(both), "--credentials", str(both), "--role", "operator").code == 2
    assert run("credentials", "cut", str(both)).code == 2
    nowhere = both.parent / "nowhere" / "file"
    assert run("credentials", "cut", str(both), "--role", "operator", "--out", str(nowhere)).code == 1
