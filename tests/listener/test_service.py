"""The listener on real lines: TCP, UDP and bridges of customer ports, floods, full disks (B22, H15)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meterseal.apdu.services import DataNotification
from meterseal.codec.data import Data, Tag
from meterseal.errors import ConfigurationError, ConnectionLost, StateUnavailable
from meterseal.framing import hdlc, mbus, wrapper
from meterseal.listener import Listener, Received, preset
from meterseal.listener.service import REFUSALS_PER_SECOND
from meterseal.net import octets as lines
from meterseal.net import parse
from meterseal.state import MemoryCounters
from tests.listener.pushes import TITLE, item, kinds, receiver, sealed, write
from tests.net.parties import SOON, until
from tests.net.test_serial import Wire
from tests.wired import spoilt


class Desk:
    """What was handed on."""

    def __init__(self) -> None:
        self.got: list[Received] = []

    @property
    def counters(self) -> list[int]:
        return [one.layers[-1]["invocation_counter"] for one in self.got if one.error is None]


@asynccontextmanager
async def listening(folder: Path, url: str, **options: Any) -> AsyncIterator[tuple[Listener, Desk, str]]:
    desk = Desk()
    store = options.pop("store", None)
    accept = options.pop("accept", 3)
    path = write(folder / "kitchen.toml")
    async with Listener(receiver(path, store, accept=accept), desk.got.append, **options) as listener:
        yield listener, desk, await listener.open(parse(url))


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_pushes_over_tcp_and_udp(tmp_path: Path) -> None:
    async with listening(tmp_path, "tcp://127.0.0.1:0") as (listener, desk, tcp):
        udp = await listener.open(parse("udp://127.0.0.1:0"))
        for ic in (1, 2):
            with socket.create_connection(("127.0.0.1", port(tcp))) as meter:
                meter.sendall(wrapper.encode(1, 103, sealed(ic)))
            await until(lambda ic=ic: len(desk.got) == ic)  # type: ignore[misc]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as meter:
            for ic in (3, 5, 4, 4, 3):
                meter.sendto(wrapper.encode(1, 103, sealed(ic)), ("127.0.0.1", port(udp)))
            await until(lambda: len(desk.got) == 7)
        assert desk.counters == [1, 2, 3, 5, 4]
        assert [one.error.kind for one in desk.got if one.error] == ["replayed"] * 2
        assert {one.meter for one in desk.got if one.error is None} == {"kitchen"}


async def test_octets_that_are_no_frames_are_told_of(tmp_path: Path) -> None:
    async with listening(tmp_path, "tcp://127.0.0.1:0") as (_, desk, url):
        with socket.create_connection(("127.0.0.1", port(url))) as meter:
            meter.sendall(sealed(1))
            await until(lambda: len(desk.got) == 1)
        (told,) = desk.got
        assert (told.meter, told.layers) == (None, ())
        assert told.error is not None and told.error.kind == "malformed" and "wrapper" in str(told.error)


async def test_what_is_not_taken_is_not_confirmed(tmp_path: Path) -> None:
    path = write(tmp_path / "kitchen.toml")
    sent: list[bytes] = []
    asked: list[int] = []
    more = 'client_system_title = "4D534C4845530002"\ncounter_start = 1\n'
    path.write_text(path.read_text().replace("guek =", f"{more}guek =", 1))

    class Meter:
        def established(self) -> None:
            asked.append(1)

        def send(self, source: int, destination: int, octets: bytes) -> None:
            sent.append(octets)

    takes = [False, True]
    push = DataNotification((1 << 30) + 5, b"", Data.of(1, Tag.UNSIGNED)).encode()
    async with Listener(receiver(path), lambda _: takes[len(asked) - 1], confirm=True) as listener:
        for ic in (1, 2):
            listener.take([item(sealed(ic, inside=push))], "here", Meter(), 0)
            await until(lambda ic=ic: len(asked) == ic)  # type: ignore[misc]
            assert len(sent) == ic - 1


async def test_a_customer_port_over_a_bridge_is_opened_again_when_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meterseal.listener.lines._AGAIN", 0.01)
    ic = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ic
        ic += 1
        writer.write(b"\x00\x11" + b"".join(mbus.encode(sealed(ic))))
        await writer.drain()
        writer.close()

    bridge = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"han+tcp://127.0.0.1:{bridge.sockets[0].getsockname()[1]}"
    async with listening(tmp_path, url, preset=preset("sagemcom-t210-d")) as (_, desk, where):
        assert where == url
        await until(lambda: len(desk.got) >= 3)
        assert desk.counters[:3] == [1, 2, 3]
        assert desk.got[0].source == url and desk.got[0].layers[0]["kind"] == "m-bus"
    bridge.close()


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
async def test_a_customer_port_on_a_serial_line(tmp_path: Path) -> None:
    """M-Bus frames out of a port, noise before them and between; a second port with HDLC."""
    wire = Wire()
    try:
        url = wire.url(0).partition("?")[0]
        async with listening(tmp_path, f"{url}?baud=2400") as (listener, desk, where):
            assert where == url
            await until(lambda: bool(listener._hearing))
            for ic in (1, 2):
                os.write(wire.slaves[1], b"\x00\xe5" + b"".join(mbus.encode(sealed(ic))))
                await until(lambda ic=ic: len(desk.got) == ic)  # type: ignore[misc]
            assert desk.counters == [1, 2] and desk.got[0].layers[0]["kind"] == "m-bus"
            assert desk.got[0].source == url
    finally:
        wire.close()
    wire = Wire()
    try:
        async with listening(tmp_path, wire.url(0), preset=preset("e450"), accept=3) as (_, desk, _):
            frame = hdlc.Frame(hdlc.Address(103), hdlc.Address(1), 0x13, hdlc.RESPONSE + sealed(9))
            os.write(wire.slaves[1], hdlc.encode(frame))
            await until(lambda: len(desk.got) == 1)
            assert desk.counters == [9] and desk.got[0].layers[0]["kind"] == "hdlc"
    finally:
        wire.close()


async def test_a_telegram_without_a_frame_comes_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "QUIET", 0.02)
    long = sealed(7, inside=b"/XXX5\r\n\r\n" + b"1-0:1.8.0(1*kWh)\r\n" * 10 + b"!")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(long)
        await reader.read()
        writer.close()

    bridge = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"han+tcp://127.0.0.1:{bridge.sockets[0].getsockname()[1]}"
    async with listening(tmp_path, url, preset=preset("luxembourg")) as (_, desk, _):
        await until(lambda: bool(desk.got))
        assert desk.got[0].apdu == "p1-telegram" and desk.got[0].title == TITLE
    bridge.close()


@pytest.mark.parametrize("thousands", [10, pytest.param(100, marks=pytest.mark.soak)])
async def test_H15_refusals_are_told_of_so_many_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, thousands: int
) -> None:
    class Still:
        """A loop whose time stands still."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.call_soon, self.create_task = loop.call_soon, loop.create_task

        def time(self) -> float:
            return 100.0

    caplog.set_level(logging.WARNING)
    async with listening(tmp_path, "udp://127.0.0.1:0") as (listener, desk, _):
        listener._loop = Still(asyncio.get_running_loop())  # type: ignore[assignment]
        forged = item(spoilt(sealed(1)))
        for _ in range(thousands):
            listener.take([forged] * 1000, "flood", None, 0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert listener.refusals.count == 1000 * thousands
        assert len(desk.got) == len(caplog.records) == REFUSALS_PER_SECOND
        listener.take([item(sealed(9))], "good", None, 0)
        await until(lambda: desk.counters == [9])
        listener._loop.time = lambda: 101.0  # type: ignore[method-assign]
        listener.take([forged], "flood", None, 0)
        left_out = 1000 * thousands - REFUSALS_PER_SECOND
        await until(lambda: f"{left_out} more refusals were left out" in caplog.text)


async def test_a_full_disk_hands_nothing_on_as_good(tmp_path: Path) -> None:
    class Full(MemoryCounters):
        full = True

        def sync(self) -> None:
            if self.full:
                raise StateUnavailable("no space left on device")

    store = Full()
    async with listening(tmp_path, "udp://127.0.0.1:0", store=store) as (listener, desk, _):
        listener.take([item(sealed(1))], "x", None, 0)
        await until(lambda: len(desk.got) == 1)
        assert kinds(desk.got) == ["state-unavailable"] and desk.got[0].plain is None
        store.full = False
        listener.take([item(sealed(2))], "x", None, 0)
        await until(lambda: len(desk.got) == 2)
        assert kinds(desk.got[1:]) == ["ok"]


async def test_lines_that_cannot_be(tmp_path: Path) -> None:
    async with listening(tmp_path, "udp://127.0.0.1:0") as (listener, _, url):
        for text, error in (
            (url, ConfigurationError),
            ("han+tcp://127.0.0.1:1", ConnectionLost),
            ("serial:///dev/no-such-line?baud=9600", ConnectionLost),
            ("serial:///dev/no-such-line?baud=fast", ConfigurationError),
            ("serial:///dev/no-such-line?form=9X9", ConfigurationError),
            ("hdlc+tcp://127.0.0.1:1", ConnectionLost),
            ("hdlc+tcp://127.0.0.1:1?gateway=0/01", ConfigurationError),
        ):
            async with asyncio.timeout(SOON):
                with pytest.raises(error):
                    await listener.open(parse(text))
        for text in ("tcp://127.0.0.1:0", "udp://127.0.0.1:0", "han+tcp://127.0.0.1:1"):
            with pytest.raises(ConfigurationError, match="HDLC only"):
                await listener.open(parse(text), collect=True)


SETTINGS: list[tuple[str, int, str, Any]] = [
    ("serial:///dev/a", 2400, "8E1", (2400, {"bytesize": 8, "parity": "E", "stopbits": 1})),
    (
        "serial:///dev/a?baud=115200&form=7O2",
        2400,
        "8E1",
        (115200, {"bytesize": 7, "parity": "O", "stopbits": 2}),
    ),
]


@pytest.mark.parametrize(("url", "baud", "form", "wanted"), SETTINGS)
def test_serial_settings(url: str, baud: int, form: str, wanted: Any) -> None:
    found: Callable[..., Any] = lines.serial_settings
    assert found(parse(url), baud, form) == wanted
    with pytest.raises(ConfigurationError):
        found(parse("serial:///dev/a"), 0, "8N1")
    for speed in ("9" * 5_000, "4000001", "\u00b2", "\u0661", "-1", "1e3", ""):
        with pytest.raises(ConfigurationError):
            found(parse(f"serial:///dev/a?baud={speed}"), baud, form)
