"""The wire log: a line of JSON per frame, on every kind of line."""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime
from pathlib import Path

import pytest

from meterseal import net
from meterseal.errors import ConfigurationError
from meterseal.net import WireLog
from tests.net.parties import ANSWER, APDU, FRAME, SOON, Parties, serve


def entries(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def exchanged(path: Path) -> list[tuple[str, str]]:
    return [(entry["direction"], entry["hex"]) for entry in entries(path)]


CALLER = [("out", FRAME.hex().upper()), ("in", ANSWER.hex().upper())]
PARTY = [("in", FRAME.hex().upper()), ("out", ANSWER.hex().upper())]


async def test_both_ends_over_tcp_name_the_connection_alike(tmp_path: Path) -> None:
    with WireLog(tmp_path / "caller") as caller, WireLog(tmp_path / "party") as party:
        async with (
            await serve(Parties(), wire_log=party) as server,
            await net.connect(server.url, wire_log=caller) as line,
        ):
            await line.send(16, 1, APDU)
            await line.receive(SOON)
            name = line.name
    assert exchanged(tmp_path / "caller") == CALLER
    assert exchanged(tmp_path / "party") == PARTY
    for entry in entries(tmp_path / "caller") + entries(tmp_path / "party"):
        assert list(entry) == ["time", "connection", "direction", "hex"]
        assert entry["connection"] == name
        assert datetime.fromisoformat(entry["time"]).tzinfo is not None


async def test_lines_in_memory_and_without_a_loop(tmp_path: Path) -> None:
    with WireLog(tmp_path / "log") as log:
        async with net.loopback(Parties(), wire_log=log) as line:
            await line.send(16, 1, APDU)
            await line.receive(SOON)
        with net.blocking_loopback(Parties(), wire_log=log) as twin:
            twin.send(16, 1, APDU)
            twin.receive(SOON)
    assert sorted(exchanged(tmp_path / "log")) == sorted(CALLER * 2)


def test_the_log_is_appended_flushed_and_private(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for _ in range(2):
        with WireLog(path) as log:
            log.record("a->b", "out", b"\xab")
            assert entries(path)[-1]["hex"] == "AB"  # there before the log is closed
        log.record("a->b", "out", b"\xcd")
        log.close()
    assert len(entries(path)) == 2
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="wire log"):
        WireLog(tmp_path / "missing" / "log")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_H03_a_full_disk_ends_the_log_and_not_the_line(caplog: pytest.LogCaptureFixture) -> None:
    log = WireLog("/dev/full")
    with caplog.at_level(logging.WARNING), net.blocking_loopback(Parties(), wire_log=log) as line:
        for _ in range(3):
            line.send(16, 1, APDU)
            assert line.receive(0) == (1, 16, APDU)
    assert caplog.text.count("ended") == 1
