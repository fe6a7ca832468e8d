"""Counters and titles: where they are kept, where the first value of a key comes from, what is held to."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import meterseal
from meterseal import Credentials, FileCounters, MemoryCounters
from meterseal.client import keyring
from meterseal.codec.data import Data, Tag
from meterseal.errors import (
    AuthenticationFailed,
    ConfigurationError,
    CounterUnknown,
    Expired,
    Misuse,
    Refused,
    StateDamaged,
)
from tests.client.conftest import Twin
from tests.client.fake_meter import COUNTER, PUBLIC, TITLE, FakeMeter, Role


def without_title(credentials: Credentials) -> Credentials:
    """The same for a meter whose title is to be learned."""
    return replace(credentials, meter=replace(credentials.meter, system_title=None))


# --- counters -------------------------------------------------------------------------------------


def saved(fake: FakeMeter, folder: Path, **changes: Any) -> Path:
    """Credentials of the fake meter as a file."""
    path = folder / "meter.toml"
    fake.credentials(**changes).save(path)
    return path


def test_counters_are_kept_beside_the_file(memory_twin: Twin, tmp_path: Path) -> None:
    fake = FakeMeter()
    path = saved(fake, tmp_path)
    for _ in range(3):
        with memory_twin.connect(fake, credentials=path, counters=None) as meter:
            meter.read("1.0.1.8.0.255")
    folder = tmp_path / "meter.toml.state"
    assert folder.stat().st_mode & 0o777 == 0o700
    key = fake.profiles[2].setup.unicast
    assert key is not None and key.rx.lowest > 64
    assert key.handle.kcv.encode() in b"".join(f.read_bytes() for f in folder.iterdir() if f.is_file())


def test_the_state_folder_may_be_named(
    memory_twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeMeter()
    path = saved(fake, tmp_path)
    with memory_twin.connect(fake, credentials=path, state=tmp_path / "named"):
        pass
    monkeypatch.setenv("METERSEAL_STATE", str(tmp_path / "environment"))
    # The counter is not known there, and counter_start is used up: the meter has seen it.
    with pytest.raises(Refused), memory_twin.connect(fake, credentials=path, counters=None):
        pass
    assert (tmp_path / "named" / "counters.log").exists()
    assert (tmp_path / "environment" / "counters.log").exists()
    assert not (tmp_path / "meter.toml.state").exists()
    with pytest.raises(Misuse, match="give one"):
        meterseal.link(credentials=path, counters=MemoryCounters(), state=tmp_path)


def test_an_association_that_outlasts_keys_that_are_lent_has_its_block_and_no_more(
    memory_twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, end = FakeMeter(), datetime.now(UTC) + timedelta(hours=1)
    lent, past = (fake.credentials(not_after=one) for one in (end, end - timedelta(hours=2)))
    later = SimpleNamespace(now=lambda zone: end + timedelta(seconds=1))
    with pytest.raises(Expired, match="lent until"), memory_twin.connect(fake, credentials=lent) as meter:
        monkeypatch.setattr(keyring, "datetime", later)
        for _ in range(100):
            meter.read("1.0.1.8.0.255")
    with pytest.raises(Expired, match="lent until"), memory_twin.connect(fake, credentials=past):
        pass


def test_keys_without_a_place_for_their_counters_are_not_used(memory_twin: Twin) -> None:
    fake = FakeMeter(Role(), PUBLIC)
    with (
        pytest.raises(ConfigurationError, match="invocation counters have to be kept"),
        memory_twin.connect(fake, "c2", counters=None),
    ):
        pass
    with memory_twin.connect(fake, "c16", counters=None) as meter:
        assert meter.is_open


def test_the_first_value_of_a_key_must_come_from_somewhere(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with (
        pytest.raises(CounterUnknown, match=r"state.*counter_start.*counter_object"),
        memory_twin.connect(fake, credentials=fake.credentials(counter_start=None)),
    ):
        pass
    assert not fake.done


def test_the_first_value_can_be_read_through_the_public_client(
    twin: Twin, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeMeter(Role(), PUBLIC)
    key = fake.profiles[2].setup.unicast
    assert key is not None
    key.rx.lowest = 5001
    fake.objects[*COUNTER, 2] = Data.of(5000, Tag.DOUBLE_LONG_UNSIGNED)
    credentials = fake.credentials(counter_start=None, counter_object="0.0.43.1.2.255")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with twin.connect(fake, "c2", credentials=credentials) as meter:
                meter.read("1.0.1.8.0.255")
    assert [o.class_id for o in fake.done].count(1) == 1, "the state is asked first"
    assert "its counter starts at 5001" in caplog.text
    assert 5001 < key.rx.lowest < 5100


def test_many_requests_go_through_many_blocks(memory_twin: Twin, tmp_path: Path) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake, counters=FileCounters(tmp_path / "state")) as meter:
        for _ in range(200):
            meter.get(3, "1.0.1.8.0.255", 2)
    key = fake.profiles[2].setup.unicast
    assert key is not None and key.rx.lowest == 1 + 3 + 200 + 1


def test_damaged_state_sends_nothing(memory_twin: Twin, tmp_path: Path) -> None:
    fake = FakeMeter()
    path = saved(fake, tmp_path)
    with memory_twin.connect(fake, credentials=path, counters=None):
        pass
    log = tmp_path / "meter.toml.state" / "counters.log"
    log.write_bytes(log.read_bytes().replace(b"end", b"eNd"))
    fake.alter = lambda exchange: pytest.fail("something was sent")
    with (
        pytest.raises(StateDamaged, match="To mend it"),
        memory_twin.connect(fake, credentials=path, counters=None),
    ):
        pass


def test_what_was_received_is_noted_when_the_association_opens_and_closes(memory_twin: Twin) -> None:
    fake = FakeMeter()
    counters = MemoryCounters()
    key = fake.profiles[2].setup.unicast
    assert key is not None
    name = f"{key.handle.kcv}-{TITLE.hex().upper()}-rx"
    with memory_twin.connect(fake, counters=counters) as meter:
        opened = counters.received(name)
        assert opened is not None
        meter.read("1.0.1.8.0.255")
    assert counters.received(name) == opened + 2


def test_what_was_received_is_noted_meanwhile(memory_twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_NOTE_EVERY", 0.0)
    fake = FakeMeter()
    key = fake.profiles[2].setup.unicast
    assert key is not None
    name = f"{key.handle.kcv}-{TITLE.hex().upper()}-rx"
    with memory_twin.connect(fake) as meter:
        before = fake.counters.received(name)
        meter.get(3, "1.0.1.8.0.255", 2)
        assert before is not None and fake.counters.received(name) == before + 1


# --- titles ---------------------------------------------------------------------------------------


def test_a_title_is_learned_once_and_held_to(
    memory_twin: Twin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeMeter()
    path = tmp_path / "meter.toml"
    without_title(fake.credentials()).save(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with memory_twin.connect(fake, credentials=path, counters=None) as meter:
                assert meter.system_title == TITLE
    assert caplog.text.count("says it is 4D534C0000000001") == 1
    other = FakeMeter(fake.roles[0], title=b"MSL\x00\x00\x00\x00\x02")
    with (
        pytest.raises(AuthenticationFailed, match="not the expected 4D534C0000000001"),
        memory_twin.connect(other, credentials=path, counters=None),
    ):
        pass
    titles = tmp_path / "meter.toml.state" / "titles.json"
    assert titles.stat().st_mode & 0o777 == 0o600
    titles.write_text('{"x": 1}')
    with (
        pytest.raises(StateDamaged, match=r"titles\.json"),
        memory_twin.connect(fake, credentials=path, counters=None),
    ):
        pass


def test_a_title_that_was_not_proved_is_not_kept(memory_twin: Twin, tmp_path: Path) -> None:
    fake = FakeMeter()
    path = tmp_path / "meter.toml"
    without_title(fake.credentials(guek=bytes(16))).save(path)
    with pytest.raises(Refused), memory_twin.connect(fake, credentials=path, counters=None):
        pass
    assert not (tmp_path / "meter.toml.state" / "titles.json").exists()


def test_a_title_that_nothing_authenticates_is_not_kept(memory_twin: Twin, tmp_path: Path) -> None:
    fake = FakeMeter(Role(mechanism="md5", policy=2))
    path = tmp_path / "meter.toml"
    without_title(fake.credentials()).save(path)
    with memory_twin.connect(fake, credentials=path, counters=None) as meter:
        assert meter.system_title == TITLE
    assert not (tmp_path / "meter.toml.state" / "titles.json").exists()
