"""The credentials file of design 5: what it may hold, how it is written, what an object of it does."""

from __future__ import annotations

import logging
import os
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.credentials import Credentials, MeterCredentials, RoleCredentials
from meterseal.errors import ConfigurationError, Expired, StateUnavailable
from meterseal.security import AUTHENTICATED, ENCRYPTED

GUEK, GAK = "000102030405060708090A0B0C0D0E0F", "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"

FILE = f"""
[meter]
url = "tcp://127.0.0.1:4059"
system_title = "4D534C0000000001"
suite = 0
logical_device = 1
trust = ["root.pem"]
signing_certificate = "meter-sign.pem"

[roles.public]
client = 16
mechanism = "none"

[roles.operator]
client = 2
mechanism = "gmac"
policy = "authenticated+encrypted"
client_system_title = "4D534C4845530001"
guek = "{GUEK}"
gak = "{GAK}"
counter_start = 1
counter_object = "0.0.43.1.2.255"
timeout = 2.5
[roles.operator.peer]
plain_release = true
hls_token_shares_counter = false
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "meter.toml"
    file.write_text(FILE)
    file.chmod(0o600)
    return file


def test_a_url_that_the_caller_gives_is_not_the_fault_of_the_file(path: Path) -> None:
    held = Credentials.load(path)
    assert held.at("udp://192.0.2.9").meter.url == "udp://192.0.2.9"
    with pytest.raises(ConfigurationError, match=r"^a line's URL begins with one of tcp:"):
        held.at("192.0.2.9:4059")


def test_a_mark_of_byte_order_does_not_matter(path: Path) -> None:
    plain = Credentials.load(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    marked = Credentials.load(path)
    assert marked.meter == plain.meter and marked.roles.keys() == plain.roles.keys()


def test_the_file_of_the_design_is_read(path: Path) -> None:
    credentials = Credentials.load(path)
    assert credentials.meter == MeterCredentials(
        url="tcp://127.0.0.1:4059",
        system_title=bytes.fromhex("4D534C0000000001"),
        trust=("root.pem",),
        signing_certificate="meter-sign.pem",
    )
    operator = credentials.role("operator")
    assert (operator.client, operator.mechanism, operator.timeout) == (2, "gmac", 2.5)
    assert operator.protection == AUTHENTICATED | ENCRYPTED and operator.in_ciphered_context
    assert operator.octets("guek") == bytes.fromhex(GUEK)
    assert operator.peer == {"plain_release"}
    assert operator.counter_object == "0.0.43.1.2.255"
    public = credentials.role("public")
    assert public.protection == 0 and not public.in_ciphered_context
    assert credentials.state_folder == path.with_name("meter.toml.state")


def test_what_is_written_is_read_again(path: Path) -> None:
    credentials = Credentials.load(path)
    again = Credentials.from_mapping(tomllib.loads(credentials.to_toml()))
    assert again.to_toml() == credentials.to_toml()
    assert again.meter == credentials.meter
    assert again.role("operator").octets("gak") == bytes.fromhex(GAK)


def test_a_file_is_written_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        Credentials(MeterCredentials(), {}).save(tmp_path / "new.toml")
    finally:
        os.umask(old)
    assert (tmp_path / "new.toml").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["new.toml"]


def test_saving_over_a_link_leaves_alone_what_it_leads_to(path: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "link.toml").symlink_to(tmp_path / "victim")
    Credentials.load(path).save(tmp_path / "link.toml")
    assert (tmp_path / "victim").read_text() == "untouched"
    assert not (tmp_path / "link.toml").is_symlink()


def test_a_file_that_cannot_be_written_leaves_the_old_one(path: Path) -> None:
    with pytest.raises(StateUnavailable, match="No such file"):
        Credentials.load(path).save(path.parent / "missing" / "meter.toml")
    assert path.read_text() == FILE


def test_a_file_that_others_may_read_is_warned_about(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Credentials.load(path)
        assert not caplog.records
        path.chmod(0o644)
        Credentials.load(path)
    assert "can be read by others" in caplog.text


def test_keys_show_nowhere(path: Path) -> None:
    credentials = Credentials.load(path)
    shown = f"{credentials!r} {credentials} {credentials.role('operator')!r}".upper()
    assert GUEK not in shown and GAK not in shown
    assert repr(bytes.fromhex(GUEK)).upper() not in shown


def test_cut_leaves_one_role(path: Path) -> None:
    cut = Credentials.load(path).cut("operator")
    assert list(cut.roles) == ["operator"] and cut.path is None
    assert cut.meter.url == "tcp://127.0.0.1:4059"
    assert "public" not in cut.to_toml() and GUEK in cut.to_toml()
    with pytest.raises(ConfigurationError, match="no role 'manager'"):
        Credentials.load(path).cut("manager")


def test_a_role_must_be_named_when_there_are_several(path: Path) -> None:
    credentials = Credentials.load(path)
    with pytest.raises(ConfigurationError, match="say which role"):
        credentials.role()
    assert credentials.cut("public").role_name() == "public"


def test_keys_may_stand_in_files_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guek.hex").write_text(GUEK.lower() + "\n")
    (tmp_path / "guek.hex").chmod(0o600)
    monkeypatch.setenv("METER_GAK", GAK)
    text = FILE.replace(f'"{GUEK}"', '"@guek.hex"').replace(f'"{GAK}"', '"env:METER_GAK"')
    (tmp_path / "meter.toml").write_text(text)
    operator = Credentials.load(tmp_path / "meter.toml").role("operator")
    assert operator.octets("guek") == bytes.fromhex(GUEK)
    assert operator.octets("gak") == bytes.fromhex(GAK)


def test_a_secret_may_be_hex_or_text() -> None:
    table = {"client": 5, "mechanism": "lls", "allow_weak": True}
    for written in ("3132333435363738", "text:12345678"):
        credentials = Credentials.from_mapping({"roles": {"old": table | {"secret": written}}})
        assert credentials.role().octets("secret") == b"12345678"


def test_objects_made_in_a_program_are_checked_too() -> None:
    with pytest.raises(ConfigurationError, match=r"\[roles.x\] guek: 15 octets"):
        Credentials(
            MeterCredentials(),
            {
                "x": RoleCredentials(
                    client=1, mechanism="gmac", guek=bytes(15), gak=bytes(16), client_system_title=bytes(8)
                )
            },
        )
    with pytest.raises(ConfigurationError, match=r"\[meter\] logical_device"):
        Credentials(MeterCredentials(logical_device=0))
    with pytest.raises(ConfigurationError, match="name of a role"):
        Credentials(MeterCredentials(), {"../x": RoleCredentials(client=1, mechanism="none")})


def test_keys_that_are_lent_have_an_end_with_its_zone() -> None:
    role = {"client": 1, "mechanism": "none"}
    end = datetime(2026, 12, 1, 11, tzinfo=UTC)
    for told in ("2026-12-01T11:00:00Z", "2026-12-01T12:00:00+01:00", end):
        found = Credentials.from_mapping({"roles": {"x": {**role, "not_after": told}}}).role()
        assert found.not_after == end
        found.check_lent("x", end)
        with pytest.raises(Expired, match=r"role x: .* lent until 2026-12-01T11:00:00Z \(not_after\)"):
            found.check_lent("x", end + timedelta(microseconds=1))
    bare = end.replace(tzinfo=None)
    for wrong in ("2026-12-01T11:00:00", "soon", 1, bare, "0001-01-01T00:00:00+12:00"):
        with pytest.raises(ConfigurationError, match="not_after"):
            Credentials.from_mapping({"roles": {"x": {**role, "not_after": wrong}}})


_texts = st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text)
_keys = st.binary(min_size=16, max_size=16)


@given(
    st.builds(
        RoleCredentials,
        client=st.integers(1, 0xFFFF),
        mechanism=st.sampled_from(["gmac", "sha256", "md5"]),
        policy=st.sampled_from([0, 1, 2, 3]),
        client_system_title=st.binary(min_size=8, max_size=8).filter(lambda title: title != b"MSL00001"),
        guek=_keys,
        gak=_keys,
        kek=st.none() | _keys,
        secret=st.binary(min_size=1, max_size=64),
        ciphered=st.sampled_from([None, True]),
        user=st.none() | st.integers(0, 255),
        counter_start=st.none() | st.integers(0, 2**32 - 2),
        not_after=st.none() | st.datetimes(timezones=st.just(UTC)),
        timeout=st.floats(min_value=0.001) | st.just(30.0),
        allow_weak=st.booleans(),
        signing_key=st.none() | _texts,
        peer=st.sets(st.sampled_from(["plain_release", "hls_token_shares_counter"])).map(frozenset),
    ),
    st.builds(
        MeterCredentials,
        system_title=st.none() | st.just(b"MSL00001"),
        suite=st.sampled_from([0, 1]),
        logical_device=st.integers(1, 0xFFFF),
        server_address=st.none() | st.tuples(st.integers(0, 16383), st.integers(0, 16383)),
        frame_size=st.none() | st.integers(1, 2030),
        window=st.none() | st.integers(1, 7),
        trust=st.lists(_texts, max_size=3).map(tuple),
    ),
)
def test_any_credentials_survive_the_file(role: RoleCredentials, meter: MeterCredentials) -> None:
    credentials = Credentials(meter, {"some-role": role})
    parsed = tomllib.loads(credentials.to_toml())
    assert credentials.tables() == (parsed["meter"], parsed["roles"])
    again = Credentials.from_mapping(parsed)
    assert again.to_toml() == credentials.to_toml()
    assert again.meter == meter
    for name in ("guek", "kek", "secret"):
        assert again.role().octets(name) == role.octets(name)
    assert (again.role().client, again.role().protection) == (role.client, role.protection)
    assert (again.role().timeout, again.role().peer) == (role.timeout, role.peer)
