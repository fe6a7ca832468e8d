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
from meterseal import FileCounters, MemoryCounters, net
from meterseal.credentials import MeterCredentials, RoleCredentials
from meterseal.crypto import hls_md5
from meterseal.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionLost,
    Misuse,
    Refused,
)
from tests.client.conftest import Twin
from tests.client.fake_meter import PUBLIC, URL, Exchange, FakeMeter, Role

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


def test_arguments_that_are_none_are_refused(memory_twin: Twin) -> None:
    with pytest.raises(Misuse, match="no argument 'tiemout'"), memory_twin.connect(FakeMeter(), tiemout=5):
        pass
    with (
        pytest.raises(ConfigurationError, match="user: a number"),
        memory_twin.connect(FakeMeter(), user=300),
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

    assert set(meterseal.__all__) == {*meterseal._DOORS, "__version__"}
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


@pytest.mark.parametrize(("wishes", "patience"), [({}, 60.0), ({"timeout": 30.0}, 30.0)])
async def test_the_line_is_waited_for_as_its_roles_answers_are(
    monkeypatch: pytest.MonkeyPatch, wishes: dict[str, Any], patience: float
) -> None:
    """On HDLC all tries together, too: a meter that is slow by its role's word is given the time."""
    seen: list[tuple[float, float]] = []

    def here(url: str, *, timeout: float, hdlc: net.Asking, **_: Any) -> Any:
        assert hdlc.timing is not None
        seen.append((timeout, hdlc.timing.response))
        raise ConnectionLost("not in this test")

    async def later(url: str, **options: Any) -> Any:
        here(url, **options)

    monkeypatch.setattr(net.blocking, "connect", here)
    monkeypatch.setattr(net, "connect", later)
    known: dict[str, Any] = {"credentials": FakeMeter().credentials(), "counters": MemoryCounters()}
    with pytest.raises(ConnectionLost), meterseal.sync.connect(**known, **wishes):
        pass
    with pytest.raises(ConnectionLost):
        async with meterseal.connect(**known, **wishes):
            pass
    assert seen == [(patience, patience / 5)] * 2
    with pytest.raises(ConfigurationError, match="no role 'nobody'"):
        async with meterseal.connect(**known, role="nobody"):
            pass
