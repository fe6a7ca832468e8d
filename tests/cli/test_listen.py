"""`meterseal listen` as a process: recorded pushes come out, refusals are lines, the end is clean."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from meterseal.framing import wrapper
from tests.cli.conftest import MAIN
from tests.cli.shell import run
from tests.framing.captures import E450, E450_KEYS
from tests.listener.pushes import sealed, write
from tests.probe.samples import TIROL, of
from tests.wired import spoilt

CREDENTIALS = """[meter]
system_title = "{title}"
suite = {suite}

[roles.customer]
client = 103
mechanism = "none"
policy = "none"
guek = "{ek}"
gak = "{ak}"
"""


def keys(path: Path, title: str, ek: str, ak: str, suite: int = 0) -> Path:
    """A credentials file of a customer."""
    path.touch(0o600)
    text = CREDENTIALS.format(title=title, ek=ek, ak=ak, suite=suite)
    path.write_text(text if ak else text.replace('gak = ""\n', ""))
    return path


@contextmanager
def listening(*words: str) -> Iterator[tuple[subprocess.Popen[str], str, IO[str], IO[str]]]:
    """A listener, its URL and both its streams, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "listen", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            line = process.stderr.readline()
            while "listening on" not in line:
                assert "warning" in line, line + process.stderr.read()
                line = process.stderr.readline()
            yield process, line.split()[-1], process.stdout, process.stderr
        finally:
            process.kill()


def test_pushes_as_json_lines(tmp_path: Path) -> None:
    folder = tmp_path / "meters"
    folder.mkdir()
    write(folder / "kitchen.toml")
    key = "4D5944554D4D59474C4F42414C4B4559"
    keys(folder / "u9n.toml", "2F19229199164103", key, key)
    wires = tmp_path / "wires"
    words = ("udp://127.0.0.1:0", "--credentials", str(folder), "--json", "--wire-log", str(wires))
    with listening(*words) as (process, url, out, err):
        there = ("127.0.0.1", int(url.rpartition(":")[2]))
        recorded = wrapper.encode(1, 1, of("u9n-general-glo-datanotification"))
        forged = wrapper.encode(1, 103, spoilt(sealed(3)))
        stranger = wrapper.encode(1, 103, sealed(3, title=b"XYZ\x00\x00\x00\x00\x01"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as meter:
            for frame in (recorded, forged, stranger, recorded, wrapper.encode(1, 103, sealed(4))):
                meter.sendto(frame, there)
            lines = [json.loads(out.readline()) for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert err.read().count("\n") == 3
    assert [(line["meter"], line["apdu"]) for line in lines] == [
        ("u9n", "data-notification"), (None, None), (None, None), (None, None),
        ("kitchen", "data-notification"),
    ]  # fmt: skip
    assert [line["error"]["type"] for line in lines if "error" in line] == [
        "forged",
        "unknown-key",
        "replayed",
    ]
    assert set(lines[0]) == {"time", "source", "meter", "role", "layers", "apdu", "plain", "value"}
    assert lines[0]["layers"][1]["verified"] is True and lines[1]["layers"][1]["verified"] is None
    assert Path(lines[2]["aside"]).is_file()
    assert len(wires.read_text().splitlines()) == 5


def test_customer_ports_as_text(tmp_path: Path) -> None:
    ek, ak = E450_KEYS["ek"], E450_KEYS["ak"]
    tirol = keys(tmp_path / "tirol.toml", "4B464D1010000023", "101112131415161718191A1B1C1D1E1F", "", 1)
    e450 = keys(tmp_path / "e450.toml", E450_KEYS["system_title"], ek, ak)
    for file, name, octets, reading in (
        (tirol, "tirol", TIROL, "active energy import (+A)"),
        (e450, "e450", b"".join(E450), "1.0.1.8.0.255  4408736"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as bridge:
            where = f"han+tcp://127.0.0.1:{bridge.getsockname()[1]}"
            words = ("--credentials", str(file), "--preset", name, "--count", "1")
            with listening(where, *words) as (process, _, out, _):
                line, _ = bridge.accept()
                with line:
                    line.sendall(octets[50:] + octets)
                    assert process.wait(60) == 0
                text = out.read()
        assert f"{name} from {where}" in text and reading in text


def test_it_ends_when_nobody_reads_along(tmp_path: Path) -> None:
    words = ("udp://127.0.0.1:0", "--credentials", str(write(tmp_path / "kitchen.toml")), "--json")
    with listening(*words) as (process, url, out, err):
        out.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as meter:
            meter.sendto(wrapper.encode(1, 103, sealed(3)), ("127.0.0.1", int(url.rpartition(":")[2])))
        assert process.wait(60) == 1
        assert err.read() == ""


def test_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "meters"
    folder.mkdir()
    write(folder / "kitchen.toml")
    monkeypatch.chdir(folder)
    with listening("udp://127.0.0.1:0", "--credentials", "."):
        assert (tmp_path / "meters.state" / "listener").is_dir()
        assert [path.name for path in folder.iterdir()] == ["kitchen.toml"]


def test_what_makes_no_sense(tmp_path: Path) -> None:
    file = str(write(tmp_path / "kitchen.toml"))
    for words, code, text in (
        (["--preset", "mars"], 2, "no preset 'mars'"),
        (["--accept", "maybe"], 2, "maybe"),
        (["--count", "0"], 2, "--count"),
        (["--state", str(tmp_path / "kitchen.toml")], 1, "state-unavailable"),
    ):
        ran = run("listen", "udp://127.0.0.1:0", "--credentials", file, *words)
        assert ran.code == code and text in ran.err, ran
    ran = run("listen", "udp://127.0.0.1:0", "--credentials", str(tmp_path / "none.toml"))
    assert ran.code == 1 and ran.err.startswith("meterseal: configuration: ")
