"""Sessions: sign-on by every mechanism, several on a line, counters, titles, time-outs, release."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal import Credentials, FileCounters, MemoryCounters, net
from meterseal.client import keyring
from meterseal.codec.data import Data, Tag
from meterseal.credentials import MeterCredentials, RoleCredentials
from meterseal.crypto import hls_md5
from meterseal.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionLost,
    CounterUnknown,
    Misuse,
    Refused,
    StateDamaged,
    TimedOut,
    Unsupported,
)
from tests.client.conftest import Twin
from tests.client.fake_meter import COUNTER, PUBLIC, TITLE, URL, Exchange, FakeMeter, Role


def without_title(credentials: Credentials) -> Credentials:
    """The same for a meter whose title is to be learned."""
    return replace(credentials, meter=replace(credentials.meter, system_title=None))


# --- sign-on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [0, 1, 3])
@pytest.mark.parametrize("mechanism", ["none", "lls", "md5", "sha1", "gmac", "sha256"])
def test_every_mechanism_signs_on(memory_twin: Twin, mechanism: str, policy: int) -> None:
    fake = FakeMeter(Role(mechanism=mechanism, policy=policy))
    with memory_twin.connect(fake) as meter:
        assert meter.read("1.0.1.8.0.255").unit == "Wh"
    assert not meter.is_open


def test_the_manufacturers_mechanism_needs_his_function(memory_twin: Twin) -> None:
    def function(secret: bytes, challenge: bytes) -> bytes:
        return hls_md5(challenge, secret)

    fake = FakeMeter(Role(mechanism="manufacturer", changes={"manufacturer": function}))
    with pytest.raises(Misuse, match="manufacturer="), memory_twin.connect(fake):
        pass
    with memory_twin.connect(fake, manufacturer=function) as meter:
        assert meter.is_open


@pytest.mark.parametrize("arguments", [{"dedicated": True}, {"general": True}, {"user": 7}])
def test_an_association_can_be_had_in_other_ways(twin: Twin, arguments: dict[str, Any]) -> None:
    tags = set[int]()

    def note(exchange: Exchange) -> None:
        tags.add(exchange.request[0])

    fake = FakeMeter(alter=note)
    with twin.connect(fake, **arguments) as meter:
        meter.read("0.0.1.0.0.255")
    request = {"dedicated": 0xD0, "general": 0xDB, "user": 0xC8}[next(iter(arguments))]
    assert request in tags and fake.profiles[2].setup.unicast is not None


def test_several_associations_share_a_line(twin: Twin) -> None:
    fake = FakeMeter(Role(client=2), Role(client=3, title=b"MSLHES\x00\x02"), PUBLIC)
    with twin.link(fake) as link, ExitStack() as stack:
        operator, installer, public = (
            stack.enter_context(link.associate(role)) for role in ("c2", "c3", "c16")
        )
        for meter in (operator, public, installer, operator):
            assert meter.read("1.0.1.8.0.255").unit == "Wh"
        with pytest.raises(Misuse, match="has an association with 1 on this line already"):
            stack.enter_context(link.associate("c2"))
        assert operator.read("1.0.1.8.0.255").unit == "Wh"
        assert installer.release() == ""
        stack.enter_context(link.associate("c3"))


async def test_requests_of_several_associations_run_side_by_side() -> None:
    fake = FakeMeter(Role(client=2), Role(client=3, title=b"MSLHES\x00\x02"))
    async with (
        await net.serve("127.0.0.1", 0, fake.factory) as server,
        meterseal.link(server.url, fake.credentials(), counters=MemoryCounters()) as link,
        link.associate("c2") as operator,
        link.associate("c3") as installer,
    ):
        reads = [meter.read("1.0.1.8.0.255") for meter in [operator, installer] * 20]
        assert {value.unit for value in await asyncio.gather(*reads)} == {"Wh"}


class UnevenCounters(FileCounters):
    """A store in files of which every other call comes back late."""

    calls = 0

    def reserve(self, key_id: str, count: int = 1, start: int | None = None) -> tuple[int, int]:
        self.calls += 1
        late = self.calls % 2
        block = super().reserve(key_id, count, start)
        if late:
            time.sleep(0.03)
        return block


async def test_roles_with_one_key_share_its_counters(tmp_path: Path) -> None:
    role = Role(client=2)
    twin = replace(role, client=3)
    fake = FakeMeter(role, twin)
    fake.profiles[3].setup.unicast = fake.profiles[2].setup.unicast
    line = net.loopback(fake.factory)
    async with (
        # A store in files is asked in a thread, so that both may be at it at once.
        meterseal.link(
            credentials=fake.credentials(), counters=UnevenCounters(tmp_path / "state"), line=line
        ) as link,
        link.associate("c2") as one,
        link.associate("c3") as other,
    ):
        await asyncio.gather(*(meter.get(3, "1.0.1.8.0.255", 2) for meter in [one, other] * 300))


@pytest.mark.parametrize(
    ("changes", "error", "cause"),
    [
        ({"mechanism": "ecdsa", "signing_key": "x.key"}, Unsupported, "mechanism ecdsa is not there yet"),
        (
            {"mechanism": "lls", "secret": b"x", "allow_weak": False},
            ConfigurationError,
            "lls is weak, and off",
        ),
        ({"policy": 2, "allow_weak": False}, ConfigurationError, "encryption without authentication is weak"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_sent(
    memory_twin: Twin, changes: dict[str, Any], error: type[Exception], cause: str
) -> None:
    fake = FakeMeter(alter=lambda exchange: pytest.fail("something was sent"))
    with (
        pytest.raises(error, match=cause),
        memory_twin.connect(fake, credentials=fake.credentials(**changes)),
    ):
        pass


def test_weak_ways_are_warned_about(memory_twin: Twin, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeMeter(Role(policy=2))
    with caplog.at_level(logging.WARNING), memory_twin.connect(fake, allow_weak=True):
        pass
    assert "role c2 uses encryption without authentication, which is weak" in caplog.text


def test_wrong_credentials_are_one_answer(memory_twin: Twin) -> None:
    fake = FakeMeter(Role(mechanism="sha256", policy=0))
    wrong = fake.credentials(secret=b"another secret")
    with pytest.raises((Refused, AuthenticationFailed)), memory_twin.connect(fake, credentials=wrong):
        pass


def test_where_the_meter_is_has_to_be_said(tmp_path: Path) -> None:
    fake = FakeMeter()
    nowhere = replace(fake.credentials(), meter=MeterCredentials())
    with pytest.raises(ConfigurationError, match="where the meter is"):
        meterseal.link(credentials=nowhere)
    with pytest.raises(ConfigurationError, match="no credentials"):
        meterseal.link(URL)
    with pytest.raises(ConfigurationError, match="No such file"):
        meterseal.sync.link(URL, tmp_path / "missing.toml")


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


# --- time -----------------------------------------------------------------------------------------


def silent(*numbers: int) -> Any:
    """A meter that does not answer these requests, and keeps what it would have said."""
    kept: list[bytes] = []

    def alter(exchange: Exchange) -> list[bytes] | None:
        if exchange.number in numbers:
            kept.append(exchange.reply)
            return []
        late, kept[:] = list(kept), []
        return [*late, exchange.reply]

    return alter


def test_a_late_answer_is_never_the_next_ones(twin: Twin) -> None:
    fake = FakeMeter(alter=silent(4, 6))
    with twin.connect(fake, timeout=0.5 if "tcp" in twin.kind else 0.05) as meter:
        first = meter.get(3, "1.0.1.8.0.255", 2)
        with pytest.raises(TimedOut):
            meter.get(8, "0.0.1.0.0.255", 2)
        assert meter.get(3, "1.0.1.8.0.255", 2) == first
        with pytest.raises(TimedOut):
            meter.get(8, "0.0.1.0.0.255", 2)
        assert meter.get(3, "1.0.32.7.0.255", 2) == bytes.fromhex("120900")


def test_an_association_that_is_never_answered_ends(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake, timeout=0.001) as meter:
        fake.alter = lambda exchange: []
        for _ in range(16):
            with pytest.raises(TimedOut):
                meter.get(3, "1.0.1.8.0.255", 2)
        with pytest.raises(TimedOut, match="sign on anew"):
            meter.get(3, "1.0.1.8.0.255", 2)


def test_a_sign_on_without_an_answer_spoils_its_pair(memory_twin: Twin) -> None:
    fake = FakeMeter(alter=lambda exchange: [])
    with memory_twin.link(fake) as link:
        with pytest.raises(TimedOut), link.associate(timeout=0.02):
            pass
        fake.alter = None
        with pytest.raises(Misuse, match="open another line"), link.associate():
            pass


async def test_a_cancelled_request_leaves_the_association_in_order() -> None:
    fake = FakeMeter(alter=silent(4))
    async with meterseal.connect(
        credentials=fake.credentials(), counters=MemoryCounters(), line=net.loopback(fake.factory)
    ) as meter:
        first = await meter.get(3, "1.0.1.8.0.255", 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await meter.get(8, "0.0.1.0.0.255", 2)
        assert await meter.get(3, "1.0.1.8.0.255", 2) == first


async def test_cancelling_the_whole_does_not_wait_for_a_release() -> None:
    fake = FakeMeter()
    opened = asyncio.Event()

    async def use() -> None:
        async with meterseal.connect(
            credentials=fake.credentials(), counters=MemoryCounters(), line=net.loopback(fake.factory)
        ):
            fake.alter = lambda exchange: pytest.fail("a release was sent")
            opened.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(use())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "soon", True])
def test_H16_times_that_make_no_sense(memory_twin: Twin, timeout: Any) -> None:
    with (
        pytest.raises(ConfigurationError, match="timeout: a time of more than 0 seconds"),
        memory_twin.connect(FakeMeter(), timeout=timeout),
    ):
        pass


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 10**400], ids=["huge", "infinite", "beyond"])
def test_H16_times_without_end(memory_twin: Twin, timeout: Any) -> None:
    with memory_twin.connect(FakeMeter(), timeout=timeout) as meter:
        assert meter.read("1.0.1.8.0.255").unit == "Wh"


# --- lines ----------------------------------------------------------------------------------------


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_meter_that_is_not_there(closed_port: int) -> None:
    fake = FakeMeter()
    url = f"tcp://127.0.0.1:{closed_port}"
    with pytest.raises(ConnectionLost):
        async with meterseal.connect(url, fake.credentials(), counters=MemoryCounters()):
            pass
    with (
        pytest.raises(ConnectionLost),
        meterseal.sync.connect(url, fake.credentials(), counters=MemoryCounters()),
    ):
        pass


def test_a_line_that_breaks(twin: Twin) -> None:
    def hang_up(exchange: Exchange) -> list[bytes]:
        exchange.meter.lines[-1].link.abort()
        return []

    fake = FakeMeter()
    with twin.connect(fake) as meter:
        fake.alter = hang_up
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                meter.get(3, "1.0.1.8.0.255", 2)


async def test_a_line_is_for_the_block_it_was_opened_by() -> None:
    link = meterseal.link(credentials=FakeMeter().credentials(), counters=MemoryCounters())
    with pytest.raises(ConnectionLost, match="not open"):
        link.associate()


# --- release --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        ("6300", "weaker form"),
        ("6303800101", "did not agree"),
        ("D80101", "answered by an exception-response"),
        ("630380010000", "cannot be used"),
    ],
)
def test_a_release_answered_weaker_warns_and_keeps_what_was_read(
    twin: Twin, caplog: pytest.LogCaptureFixture, answer: str, warning: str
) -> None:
    def weaker(exchange: Exchange) -> list[bytes] | None:
        return [bytes.fromhex(answer)] if exchange.request[0] == 0x62 else None

    fake = FakeMeter(alter=weaker)
    with caplog.at_level(logging.WARNING), twin.connect(fake) as meter:
        energy = meter.read("1.0.1.8.0.255")
    assert warning in caplog.text
    assert energy.unit == "Wh" and not meter.is_open


def test_a_release_says_what_was_wrong_with_it(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        assert meter.release() == ""
        assert meter.release() == "" and not meter.is_open
        with pytest.raises(Misuse, match="no association"):
            meter.read("1.0.1.8.0.255")
    with memory_twin.connect(fake, timeout=0.02) as meter:
        fake.alter = lambda exchange: []
        assert "the release failed" in meter.release()


def test_an_error_in_the_block_still_releases(memory_twin: Twin) -> None:
    released = []

    def note(exchange: Exchange) -> None:
        released.append(exchange.request[0])

    fake = FakeMeter(alter=note)
    with pytest.raises(ZeroDivisionError), memory_twin.connect(fake):
        raise ZeroDivisionError
    assert released[-1] == 0x62


def test_plain_release_is_a_peer_option(memory_twin: Twin, caplog: pytest.LogCaptureFixture) -> None:
    option = frozenset({"plain_release"})
    fake = FakeMeter(Role(changes={"options": option}))
    with (
        caplog.at_level(logging.WARNING),
        memory_twin.connect(fake, credentials=fake.credentials(peer=option)),
    ):
        pass
    assert not caplog.text


# --- what the blocking one does without -----------------------------------------------------------


def test_the_blocking_client_needs_no_loop_and_no_thread() -> None:
    import threading

    fake = FakeMeter()
    before = threading.active_count()
    with meterseal.sync.connect(
        credentials=fake.credentials(),
        counters=MemoryCounters(),
        line=net.blocking_loopback(fake.factory),
    ) as meter:
        meter.read("1.0.1.8.0.255")
        assert threading.active_count() == before
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()


def test_the_front_door_is_lazy_and_complete() -> None:
    import subprocess
    import sys

    assert set(meterseal.__all__) == {*meterseal._DOORS, *meterseal._MODULES, "__version__"}
    for name in meterseal.__all__:
        assert getattr(meterseal, name) is not None
    code = "import meterseal, sys; print('cryptography' in sys.modules, 'asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_secrets_stay_out_of_what_is_shown(memory_twin: Twin) -> None:
    fake = FakeMeter()
    guek = fake.roles[0].guek.hex()
    with memory_twin.connect(fake) as meter:
        session = meter._session
        shown = repr((session.plan, session.association.profile, session._held, meter.described()))
    assert guek not in shown.lower() and repr(fake.roles[0].guek)[2:-1] not in shown
    assert isinstance(session.plan.role, RoleCredentials)
