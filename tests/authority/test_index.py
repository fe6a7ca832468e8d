"""The index of a CA: one process at a time, and nothing believed that was not written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zlib import crc32

import pytest

from meterseal.authority import ca as module
from meterseal.authority import look
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.keyfiles import write_key
from meterseal.errors import ConfigurationError, Misuse, StateDamaged, StateLocked
from tests.authority.house import TITLE, numbered, opened, request, root, title

# --- who else is here -------------------------------------------------------------------------------


def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    with root(tmp_path / "root") as made:
        entry = made.issue(request(), TITLE, Purpose.SIGNATURE)
        with pytest.raises(StateLocked, match=f"process {os.getpid()}"):
            opened(tmp_path / "root")
        assert list(look(tmp_path / "root")) == [entry]  # looking needs no lock
    with opened(tmp_path / "root"):
        pass
    with pytest.raises(Misuse, match="not open"):
        made.issue(numbered(2), title(2), Purpose.SIGNATURE)


# --- an index that is not what was written ----------------------------------------------------------


def line(number: int, record: object) -> bytes:
    body = b"%d %b" % (number, json.dumps(record).encode())
    return b"%08X %b\n" % (crc32(body), body)


def lines(folder: Path) -> list[bytes]:
    return (folder / "index.log").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_shortened_index(cut: int, tmp_path: Path) -> None:
    with root(tmp_path / "root") as made:
        made.issue(request(), TITLE, Purpose.SIGNATURE)
    log = tmp_path / "root" / "index.log"
    log.write_bytes(log.read_bytes()[:-cut])
    for use in (opened, look):
        with pytest.raises(StateDamaged, match="put the folder back from a copy"):
            use(tmp_path / "root")


def test_a_changed_octet_and_a_missing_mark(tmp_path: Path) -> None:
    with root(tmp_path / "root") as made:
        made.issue(request(), TITLE, Purpose.SIGNATURE)
    log, mark = tmp_path / "root" / "index.log", tmp_path / "root" / "index.mark"
    right = log.read_bytes()
    for at in range(0, len(right), 97):
        log.write_bytes(right[:at] + bytes((right[at] ^ 1,)) + right[at + 1 :])
        with pytest.raises(StateDamaged):
            look(tmp_path / "root")
    log.write_bytes(right)
    assert len(look(tmp_path / "root")) == 1
    for octets in (b"", b"x" * mark.stat().st_size):
        mark.write_bytes(octets)
        with pytest.raises(StateDamaged):
            look(tmp_path / "root")
    mark.unlink()
    with pytest.raises(StateDamaged):
        look(tmp_path / "root")


def test_records_that_make_no_sense(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with root(folder) as made:
        entry = made.issue(request(), TITLE, Purpose.SIGNATURE)
    header, first, second = lines(folder)
    records = [json.loads(one.split(b" ", 2)[2]) for one in (first, second)]
    stated = {"at": "2026-11-25T12:00:00Z", "by": "", "why": ""}
    serial = entry.serial.hex()
    for wrong in (
        {"record": "unheard-of", **stated},
        {"record": "list", "number": 1, **stated},
        {"record": "list", "number": "1", "next": stated["at"], **stated},
        {"record": "list", "number": 0, "next": stated["at"], **stated},
        {"record": "revoked", "serial": "00", "reason": "superseded", **stated},
        {"record": "revoked", "serial": serial, "reason": "whim", **stated},
        {"record": "revoked", "serial": serial, "reason": "superseded", **stated, "at": "yesterday"},
        {"record": "revoked", "serial": serial, "reason": "superseded", **stated, "at": "2026-11-25T12:00"},
        {},
        records[0],
        records[1],
    ):
        (folder / "index.log").write_bytes(header + first + second + line(3, wrong))
        with pytest.raises(StateDamaged, match="record 3 of the authority's index"):
            look(folder)
    newer = {**records[0], "format": 2}
    (folder / "index.log").write_bytes(header + line(1, newer) + second)
    for use in (opened, look):
        with pytest.raises(ConfigurationError, match="format 2, this version reads 1"):
            use(folder)
    (folder / "index.log").write_bytes(header + first + second)
    assert list(look(folder)) == [entry]


def test_a_key_file_of_another_kind(tmp_path: Path) -> None:
    with root(tmp_path / "root"):
        pass
    (tmp_path / "root" / "ca-key.pem").write_bytes(b"no key")
    with opened(tmp_path / "root") as made, pytest.raises(ConfigurationError, match="no private key"):
        made.issue(request(), TITLE, Purpose.SIGNATURE)
    (tmp_path / "root" / "ca-key.pem").write_bytes(write_key(SigningKey.generate(curve("P-384"))))
    with opened(tmp_path / "root") as made, pytest.raises(StateDamaged):
        made.issue(request(), TITLE, Purpose.SIGNATURE)
