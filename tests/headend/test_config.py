"""The head-end's file: what it says, and mistakes with their place."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meterseal.credentials import Credentials, MeterCredentials, RoleCredentials
from meterseal.errors import ConfigurationError
from meterseal.headend import HeadEnd, load, store
from meterseal.headend.tls import fingerprint, fingerprints, server_context
from tests.cli.shell import app
from tests.headend.home import METERS, TITLES, authority, party

M1 = METERS["m1"].hex().upper()
WHOLE = f"""
# a head-end
[headend]
listen = "https://127.0.0.1:8443"
certificate = "headend.pem"
key = "headend.key"
clients = ["root.pem"]
retention = 30
answers = 2
at_once = 5
linger = 1
[utilities.north]
certificates = ["north.pem"]
titles = ["{TITLES["north"].hex()}"]
meters = ["one"]
rate = 7
[observers.monitor]
certificates = ["monitor.pem"]
[meters.one]
credentials = "one.toml"
role = "public"
collect = ["3/1.0.1.8.0.255:2"]
every = 60
"""


SOUTH = '[utilities.south]\ncertificates = ["north.pem"]\ntitles = []\nmeters = []\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    party(b"MSLHES01").files(tmp_path, "headend")
    party(TITLES["north"]).files(tmp_path, "north")
    party(b"MSLOBS01").files(tmp_path, "monitor")
    (tmp_path / "root.pem").write_bytes(authority("root").certificate.to_pem())
    role = RoleCredentials(client=16, mechanism="none")
    meter = MeterCredentials(url="tcp://127.0.0.1:4060?gateway=0/01", system_title=METERS["m1"])
    Credentials(meter, {"public": role}).save(tmp_path / "one.toml")
    Credentials(MeterCredentials(url="tcp://127.0.0.1:1"), {"public": role}).save(tmp_path / "bare.toml")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "headend.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_whole_file(folder: Path) -> None:
    config = load(written(folder, WHOLE))
    (north,), (one,) = config.utilities, config.meters
    assert (config.host, config.port) == ("127.0.0.1", 8443)
    assert (config.retention, config.answers, config.at_once) == (30, 2, 5)
    assert (set(north.titles), set(north.meters), north.rate) == ({TITLES["north"]}, {METERS["m1"]}, 7)
    assert config.who(fingerprint(party(TITLES["north"]).der)) is north
    assert config.who(fingerprint(party(TITLES["south"]).der)) is None
    assert config.observers == {fingerprint(party(b"MSLOBS01").der)}
    assert (one.role, one.every, one.title) == ("public", 60.0, METERS["m1"])
    assert one.collect == ("3/1.0.1.8.0.255:2",)
    server_context(config.certificate, config.key, config.clients)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[headend]", "[hes]", "unknown table 'hes'"),
        ('certificate = "headend.pem"\n', "", r"\[headend\] certificate: missing"),
        ('"https://127.0.0.1:8443"', '"http://127.0.0.1:8443"', "https://"),
        ("retention = 30", "retention = -1", r"\[headend\] retention"),
        ('certificates = ["north.pem"]', 'certificates = ["root.key"]', "No such file"),
        ('certificates = ["north.pem"]', 'certificates = ["north.key"]', "no certificate"),
        ('meters = ["one"]', 'meters = ["two"]', "no .meters.two"),
        ('credentials = "one.toml"', 'credentials = "bare.toml"', "url and system_title"),
        ('role = "public"', 'role = "operator"', "no role"),
        ('collect = ["3/1.0.1.8.0.255:2"]', 'collect = ["x"]', r"\[meters.one\] collect"),
        ("[observers.monitor]", "[observers.'m m']", "a name has"),
        ("rate = 7", "rates = 7", "unknown"),
        ("[meters.one]", '[meters.two]\ncredentials = "one.toml"\n[meters.one]', "the same as of two"),
        ("[observers.monitor]", f"{SOUTH}[observers.monitor]", "the same as of north"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_place(folder: Path, old: str, new: str, told: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigurationError, match=told):
        load(written(folder, WHOLE.replace(old, new)))


def test_files_that_are_no_pem_are_told_by_name(folder: Path) -> None:
    (folder / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError):
        fingerprints((folder / "bad.pem").read_bytes())
    with pytest.raises(ConfigurationError, match=r"root\.pem"):
        server_context(folder / "root.pem", folder / "headend.key", [])
    with pytest.raises(ConfigurationError, match=r"bad\.pem"):
        server_context(folder / "headend.pem", folder / "headend.key", [folder / "bad.pem"])


READING = '{"value": 1234567890123.4567890, "unit": "Wh"}'


def test_one_meters_data_are_exported_and_forgotten(folder: Path) -> None:
    path, runner = written(folder, WHOLE.replace("collect =", "#").replace("every", "#")), CliRunner()
    state = ["--config", str(path), "--state", str(folder / "state")]
    assert runner.invoke(app, ["headend", "export", M1, *state]).exit_code == 1, "no database yet"

    async def fill() -> None:
        async with HeadEnd(load(path), folder / "state") as house:
            await house.store.run(store.read(M1, time.time(), {"3/1.0.1.8.0.255:2": READING}))

    asyncio.run(fill())
    done = runner.invoke(app, ["headend", "export", M1.lower(), *state])
    assert done.exit_code == 0
    (row,) = json.loads(done.stdout, parse_float=Decimal)["readings"]
    assert row["object"] == "3/1.0.1.8.0.255:2"
    assert row["value"] == {"value": Decimal("1234567890123.4567890"), "unit": "Wh"}  # no text, all digits
    assert READING in done.stdout
    assert runner.invoke(app, ["headend", "forget", M1, *state]).exit_code == 0
    assert json.loads(runner.invoke(app, ["headend", "export", M1, *state]).stdout)["readings"] == []


def test_two_meters_under_one_key_are_refused(folder: Path) -> None:
    plain = load(written(folder, WHOLE))
    keyed = RoleCredentials(
        client=2, mechanism="gmac", client_system_title=b"MSLHES01", guek=bytes(16), gak=bytes(16)
    )
    meters = []
    for name in ("m1", "m2"):
        where = MeterCredentials(url="tcp://127.0.0.1:1", system_title=METERS[name])
        held = Credentials(where, {"r": keyed})
        meters.append(replace(plain.meters[0], name=name, title=METERS[name], credentials=held, role="r"))
    with pytest.raises(ConfigurationError, match="m1 and m2 have one key"):
        HeadEnd(replace(plain, meters=tuple(meters)), folder / "state")
