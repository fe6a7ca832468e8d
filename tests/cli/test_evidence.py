"""`meterseal evidence`: saved from hex, verified, stamped, and what is said where it does not hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.revocation import Reason, Revocation
from tests.authority.signers import ANSWER, HES, METER, House
from tests.authority.tsa import TimeStamper
from tests.cli.shell import Ran, run

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


class Now(House):
    """The same house, its certificates in date today."""

    def __init__(self) -> None:
        at = curve("P-256")
        always = Validity(NOW - DAY, NOW + 3650 * DAY)
        self.root = Authority.root(SigningKey.generate(at), "Root", always)
        self.sub = self.root.sub(SigningKey.generate(at), "Meters", always)
        self.key = SigningKey.generate(at)
        validity = Validity(NOW - DAY, NOW + 365 * DAY)
        self.leaf = self.sub.issue(self.key.public, METER, Purpose.SIGNATURE, validity)


HOUSE, STAMPER = Now(), TimeStamper(days=36_500, before=7_300)
SIGNED = HOUSE.signed(date_time=bytes.fromhex("07EA0B1903173B3B00003C00"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that a keeper and a judge have."""
    chain = HOUSE.leaf.to_pem() + HOUSE.sub.certificate.to_pem() + HOUSE.root.certificate.to_pem()
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "root.pem").write_bytes(HOUSE.root.certificate.to_pem())
    (tmp_path / "tsa.pem").write_bytes(STAMPER.root.public_bytes(Encoding.PEM))
    return tmp_path


def evidence(folder: Path, verb: str, *words: object) -> Ran:
    return run("evidence", verb, *map(str, words))


def save(folder: Path, *words: object, source: str = SIGNED.hex(), out: str = "kept.json") -> Ran:
    more = ("--certificate", folder / "chain.pem", "--out", folder / out, "--by", "ana")
    return evidence(folder, "save", source, *more, *words)


def verify(folder: Path, *words: object) -> Ran:
    return evidence(folder, "verify", folder / "kept.json", "--trust", folder / "root.pem", *words)


def test_saved_and_verified(folder: Path) -> None:
    ran = save(folder, "--note", "a \x1b[31mred\x1b[0m note")
    assert ran.code == 0, ran.err
    assert ran.out == f"kept get-response-normal of {METER.hex().upper()} for {HES.hex().upper()}\n"
    assert (folder / "kept.json").stat().st_mode & 0o077 == 0
    ran = verify(folder)
    assert ran.code == 0 and "\x1b" not in ran.out
    lines = dict(line.split(maxsplit=1) for line in ran.out.splitlines() if line[:1].isalpha())
    assert lines["signed"] == f"by   {METER.hex().upper()}, CN={METER.hex().upper()}"
    assert lines["for"] == HES.hex().upper() and lines["transaction"] == "010203"
    assert lines["date-time"] == "2026-11-25T23:59:59-01:00 (the signer says so)"
    assert "by ana (the keeper says so)" in lines["kept"] and lines["holds"].endswith("by the keeper")
    assert "own statement" in ran.err


def test_as_json(folder: Path) -> None:
    (kept,) = save(folder, "--json").lines()
    assert kept["signer"] == METER.hex().upper() and kept["stamped"] is False
    ran = verify(folder, "--json")
    (answer,) = ran.lines()
    assert answer["holds"] is True and answer["plain"] == ANSWER.hex().upper()
    assert answer["value"]["result"] == {"data": 74565}
    assert answer["at"] == {"moment": answer["kept"]["at"], "by": "keeper"}
    assert [one["subject"] for one in answer["way"]] == [
        f"CN={METER.hex().upper()}", "CN=Meters", "CN=Root"
    ]  # fmt: skip


def test_nothing_is_written_over(folder: Path) -> None:
    assert save(folder).code == 0
    ran = save(folder)
    assert ran.code == 1 and "is there already" in ran.err


def test_several_in_one_recording(folder: Path) -> None:
    other = HOUSE.signed(bytes.fromhex("C001C100080000010000FF0200"))
    (folder / "log").write_text(f'{{"hex": "{SIGNED.hex()}"}}\n{{"hex": "{other.hex()}"}}\n')
    ran = save(folder, source=str(folder / "log"))
    assert ran.code == 1 and "1 get-response-normal, 2 get-request-normal" in ran.err
    assert "get-request-normal" in save(folder, "--number", 2, source=str(folder / "log")).out
    ran = save(folder, "--number", 3, source=str(folder / "log"), out="other.json")
    assert ran.code == 1 and "only 2 are signed" in ran.err


@pytest.mark.parametrize(
    ("source", "code", "cause"),
    [
        (ANSWER.hex(), 1, "unknown-key: nothing in there is signed"),
        ("00", 1, "truncated"),
        ("no hex", 2, "no hex either"),
        (str(Path(__file__).parent), 1, "is no file to read"),
        (SIGNED[:-1].hex(), 1, "truncated"),
        (SIGNED[:-1].hex() + f"{SIGNED[-1] ^ 1:02x}", 1, "forged"),
        (Now().signed(originator=HES).hex(), 1, f"no signature certificate of {HES.hex().upper()}"),
    ],
)
def test_what_is_not_saved(source: str, code: int, cause: str, folder: Path) -> None:
    ran = save(folder, source=source)
    assert ran.code == code and cause in ran.err and not (folder / "kept.json").exists()


def test_B17_another_root(folder: Path) -> None:
    save(folder)
    (folder / "root.pem").write_bytes(Now().root.certificate.to_pem())
    ran = verify(folder, "--json")
    assert ran.code == 1 and ran.lines()[0]["error"]["type"] == "certificate"


def test_D12_D16_what_came_later(folder: Path) -> None:
    save(folder)
    later = NOW + 5 * DAY
    made = HOUSE.crl(1, later, Revocation(HOUSE.leaf.serial, NOW + 2 * DAY, Reason.KEY_COMPROMISE))
    (folder / "crl").write_bytes(made.der)
    ran = verify(folder, "--crl", folder / "crl", "--at", f"{NOW + 400 * DAY:%Y-%m-%d}")
    assert ran.code == 0, ran.err
    assert f"; expired at {HOUSE.leaf.not_after:%Y-%m-%dT%H:%M:%SZ}, after that" in ran.out
    assert f"; revoked at {NOW + 2 * DAY:%Y-%m-%dT%H:%M:%SZ} (key-compromise), after that" in ran.out
    assert "keeper's word and nothing else" in ran.err
    made = HOUSE.crl(2, later, Revocation(HOUSE.leaf.serial, NOW - DAY))
    (folder / "crl").write_bytes(made.der)
    ran = verify(folder, "--crl", folder / "crl", "--at", f"{NOW + 400 * DAY:%Y-%m-%d}")
    assert ran.code == 1 and "was revoked at" in ran.err


def test_asked_and_stamped(folder: Path) -> None:
    save(folder)
    ran = evidence(folder, "query", folder / "kept.json", "--out", folder / "kept.tsq")
    assert ran.code == 0 and (folder / "kept.tsq").read_bytes()[:1] == b"\x30"
    (folder / "kept.tsr").write_bytes(STAMPER.response(SIGNED, at=NOW))
    words = (folder / "kept.json", folder / "kept.tsr", "--tsa-trust", folder / "tsa.pem")
    assert evidence(folder, "stamp", *words).code == 0
    ran = verify(folder, "--tsa-trust", folder / "tsa.pem")
    assert ran.code == 0 and f"time stamp  {NOW:%Y-%m-%dT%H:%M:%SZ} by CN=Time" in ran.out
    assert "by the time stamp" in ran.out and "own statement" not in ran.err
    (answer,) = verify(folder, "--json", "--tsa-trust", folder / "tsa.pem").lines()
    assert answer["time_stamp"]["authority"] == "CN=Time" and answer["at"]["by"] == "time-stamp"
    assert "NOT verified" in verify(folder).err


def test_a_stamp_that_does_not_hold_is_not_put_in(folder: Path) -> None:
    save(folder)
    before = (folder / "kept.json").read_bytes()
    (folder / "kept.tsr").write_bytes(STAMPER.response(b"something else", at=NOW))
    words = (folder / "kept.json", folder / "kept.tsr", "--tsa-trust", folder / "tsa.pem")
    ran = evidence(folder, "stamp", *words)
    assert ran.code == 1 and "forged: the time stamp does not hold" in ran.err
    assert (folder / "kept.json").read_bytes() == before


def test_a_file_that_is_none(folder: Path) -> None:
    (folder / "kept.json").write_text("{}")
    ran = verify(folder, "--json")
    assert ran.code == 1 and json.loads(ran.out)["error"]["type"] == "malformed"
    assert verify(folder, "--at", "yesterday").code == 2
