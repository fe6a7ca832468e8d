"""Meter and client as processes on lines with HDLC: over TCP, and between two pseudo-terminals."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from meterseal.credentials import Credentials
from tests.cli.conftest import Running, meter
from tests.cli.shell import run
from tests.net.test_serial import Wire

ENERGY = "1.0.1.8.0.255"


def energy(one: Running, url: str, *words: str) -> int:
    ran = run(
        "read", "--json", url, "--credentials", str(one.credentials), "--role", "operator", ENERGY, *words
    )
    assert ran.code == 0, ran.err
    value = ran.lines()[0]["values"][0]["value"]
    assert isinstance(value, int)
    return value


def test_hdlc_over_tcp(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[meter]\nphysical_address = 300\naddress_sizes = [4]\n")
    log = tmp_path / "wire.jsonl"
    with meter(tmp_path, "--url", "hdlc+tcp://127.0.0.1:0", "--config", str(config)) as one:
        described = Credentials.load(one.credentials).meter
        assert (described.url, described.server_address, described.address_size) == (one.url, (1, 300), 4)
        assert energy(one, one.url, "--wire-log", str(log)) > 0
        assert one.end() == 0
    frames = [json.loads(line)["hex"] for line in log.read_text().splitlines()]
    assert len(frames) > 6 and all(frame.startswith("7EA") and frame.endswith("7E") for frame in frames)


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_hdlc_over_a_serial_line(tmp_path: Path) -> None:
    wire = Wire()
    try:
        with meter(tmp_path, "--url", wire.url(0)) as one:
            assert one.url == wire.url(0)
            assert energy(one, wire.url(1)) > 0
            assert one.end() == 0
    finally:
        wire.close()


@pytest.mark.soak
@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_H07_a_reading_at_300_baud_in_real_time(tmp_path: Path) -> None:
    """Half a minute of it: no frame is sent twice, and a time-out of a minute is enough."""
    wire, log = Wire(baud=300), tmp_path / "wire.jsonl"
    try:
        with meter(tmp_path, "--url", wire.url(0)) as one:
            text = one.credentials.read_text()
            one.credentials.write_text(re.sub(r"(?m)^timeout = .*$", "timeout = 60", text))
            assert energy(one, wire.url(1), "--wire-log", str(log)) > 0
            assert one.end() == 0
    finally:
        wire.close()
    frames = [(line["direction"], line["hex"]) for line in map(json.loads, log.read_text().splitlines())]
    assert [way for way, _ in frames] == ["out", "in"] * (len(frames) // 2)
    assert len(set(frames)) == len(frames)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("serial:///dev/no-such-port", "cannot listen"),
        ("serial:///dev/null?baud=fast", "speed"),
        ("hdlc+tcp://127.0.0.1:0?gateway=0/1", "gateway"),
    ],
)
def test_lines_that_cannot_be(tmp_path: Path, url: str, cause: str) -> None:
    ran = run("meter", "run", "--url", url)
    assert ran.code and cause in ran.err and not ran.out
