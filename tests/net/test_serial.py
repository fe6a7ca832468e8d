"""HDLC over a serial port: two pseudo-terminals and a wire between them; ports that go, and come back."""

from __future__ import annotations

import asyncio
import builtins
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from meterseal import net
from meterseal.errors import ConfigurationError, ConnectionLost, TimedOut, Unsupported
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Address, Control, Frame, Kind, Parameters, Timing
from meterseal.net import Answering, Asking, Link, blocking
from meterseal.net.serial_line import SerialServer
from tests.net.parties import SOON, Parties, until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")

APDU = bytes.fromhex("C001C100080000010000FF0200")
QUICK = Timing(response=0.3, retries=200, pause=0.01, hold=0.05)
"""Asks again soon, and gives nobody up who is only slow."""


@dataclass
class Wire:
    """Two serial ports, or more on a bus, and what runs between them; `dropped` pieces are lost on the way.

    With `baud` each octet takes its time, ten bits of it.
    """

    ends: int = 2
    baud: int = 0
    masters: list[int] = field(default_factory=list)
    slaves: list[int] = field(default_factory=list)
    dropped: int = 0

    def __post_init__(self) -> None:
        import tty

        for _ in range(self.ends):
            master, slave = os.openpty()
            tty.setraw(slave)
            self.masters.append(master)
            self.slaves.append(slave)
        for master in self.masters:
            threading.Thread(target=self._carry, args=(master,), daemon=True).start()

    def _carry(self, source: int) -> None:
        try:
            while octets := os.read(source, 4096):
                if self.dropped:
                    self.dropped -= 1
                    continue
                for piece in self._paced(octets):
                    for sink in self.masters:
                        if sink != source:
                            os.write(sink, piece)
        except OSError:
            pass

    def _paced(self, octets: bytes) -> Iterator[bytes]:
        if not self.baud:
            yield octets
            return
        for octet in octets:
            time.sleep(10 / self.baud)
            yield bytes((octet,))

    def url(self, end: int) -> str:
        return f"serial://{os.ttyname(self.slaves[end])}?baud={self.baud or 115200}"

    def close(self) -> None:
        for descriptor in self.slaves + self.masters:
            os.close(descriptor)


@pytest.fixture
def wire() -> Iterator[Wire]:
    one = Wire()
    yield one
    one.close()


async def serve(wire: Wire, parties: Parties, timing: Timing | None = None) -> SerialServer:
    answering = Answering(lambda server: server in (1, 17), timing=timing)
    server = await net.listen(net.parse(wire.url(0)), parties, hdlc=answering)
    assert isinstance(server, SerialServer)
    return server


async def test_both_ends_with_asyncio(wire: Wire) -> None:
    parties = Parties()
    async with await serve(wire, parties) as server:
        assert server.url == wire.url(0)
        async with await net.connect(wire.url(1), hdlc=Asking(17)) as line:
            one, two = line.channel(16, 1), line.channel(1, 17)
            for channel, apdu in ((one, APDU), (two, bytes(range(256)) * 40), (one, APDU * 2)):
                await channel.send(apdu)
                assert await channel.receive(SOON) == apdu
        party = parties.made[0]
        await until(lambda: len(party.partings) == 2)
        assert server.links and not party.ended.is_set(), "the meter stays on its line"


async def test_a_blocking_client(wire: Wire) -> None:
    def talk() -> None:
        with blocking.connect(wire.url(1), hdlc=Asking(17, 4)) as line:
            channel = line.channel(16, 1)
            for apdu in (APDU, bytes(range(256)) * 40):
                channel.send(apdu)
                assert channel.receive(SOON) == apdu
            with pytest.raises(TimedOut):
                line.receive(0)

    async with await serve(wire, Parties()):
        await asyncio.to_thread(talk)


@pytest.mark.parametrize("baud", [4800, pytest.param(300, marks=pytest.mark.soak)])
async def test_H07_octet_by_octet_at_the_pace_of_the_line(baud: int) -> None:
    """In real time; at 300 baud a frame takes longer than the response time, and is asked for once."""
    wire, sizes = Wire(baud=baud), Parameters(128, 128)
    apdu = APDU if baud > 300 else APDU * 9

    def talk() -> None:
        with blocking.connect(wire.url(1), hdlc=Asking(17, wanted=sizes)) as line:
            line.send(16, 1, apdu)
            assert line.receive_for(None, SOON) == (1, 16, apdu)

    parties = Parties()
    try:
        async with await serve(wire, parties):
            async with await net.connect(wire.url(1), hdlc=Asking(17, wanted=sizes)) as line:
                await line.send(16, 1, apdu)
                assert await line.receive(SOON) == (1, 16, apdu)
            await asyncio.to_thread(talk)
        assert [payload for _, _, payload in parties.made[0].frames] == [apdu, apdu]
    finally:
        wire.close()


async def test_H07_what_is_lost_on_the_wire_comes_again(wire: Wire) -> None:
    asking = Asking(timing=QUICK, wanted=Parameters(64, 64, 3, 3))
    async with await serve(wire, Parties(), QUICK), await net.connect(wire.url(1), hdlc=asking) as line:
        channel = line.channel(16, 1)
        for _ in range(3):
            wire.dropped = 1
            await channel.send(APDU * 10)
            assert await channel.receive(SOON) == APDU * 10


async def test_F10_half_a_frame_is_forgotten(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.net.serial_line.INTER_OCTET", 0.05)
    parties = Parties()
    async with await serve(wire, parties):
        snrm = hdlc.encode(
            Frame(Address(1), Address(16), Control(Kind.SNRM, True).encode(), Parameters().encode())
        )
        os.write(wire.slaves[1], snrm[: len(snrm) // 2])
        await asyncio.sleep(0.2)
        async with await net.connect(wire.url(1), hdlc=Asking(timing=QUICK)) as line:
            await line.send(16, 1, APDU)
            assert await line.receive(SOON) == (1, 16, APDU)


async def test_F10_half_an_answer_is_forgotten(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.net.blocking_hdlc.SerialPort.patience", 0.05)

    def talk() -> None:
        with blocking.connect(wire.url(1), hdlc=Asking(timing=QUICK)) as line:
            os.write(wire.slaves[0], b"\x7e\xa0\x30\x21")
            with pytest.raises(TimedOut):
                line.receive(0.2)
            line.send(16, 1, APDU)
            assert line.receive_for(None, SOON) == (1, 16, APDU)

    async with await serve(wire, Parties()):
        await asyncio.to_thread(talk)


async def test_a_party_that_aborts_starts_anew_and_keeps_the_port(wire: Wire) -> None:
    def picky(link: Link, source: int, destination: int, payload: bytes) -> None:
        if payload == b"\xc0bad":
            link.abort(ConnectionLost("too much"))
        else:
            link.send(destination, source, payload)

    parties = Parties(picky)
    async with (
        await serve(wire, parties, QUICK),
        await net.connect(wire.url(1), hdlc=Asking(timing=replace(QUICK, retries=1))) as line,
    ):
        bad, good = line.channel(16, 1), line.channel(1, 1)
        await bad.send(b"\xc0bad")
        await until(lambda: len(parties.made) == 2)
        assert isinstance(parties.made[0].cause, ConnectionLost)
        with pytest.raises(ConnectionLost):
            await bad.receive(SOON)
        line.link._station.timing = QUICK  # type: ignore[attr-defined]
        await good.send(APDU)
        assert await good.receive(SOON) == APDU


async def test_a_meter_whose_port_goes_tries_again(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.net.serial_line._AGAIN", 0.05)
    parties = Parties()
    async with await serve(wire, parties) as server:
        link = server.links[0]
        transport: Any = link._transport  # type: ignore[attr-defined]
        transport.abort()
        await until(lambda: len(parties.made) == 2)
        assert server.links and server.links != [link]
        async with await net.connect(wire.url(1), hdlc=Asking(timing=QUICK)) as line:
            await line.send(16, 1, APDU)
            assert await line.receive(SOON) == (1, 16, APDU)


@pytest.mark.parametrize(
    "text", ["0", "fast", "99999999", "-9600", "", "9600.0", "9600&form=9N1", "9600&form=8X1"]
)
async def test_a_speed_or_form_that_is_none(wire: Wire, text: str) -> None:
    url = wire.url(1).partition("?")[0] + f"?baud={text}"
    with pytest.raises(ConfigurationError, match=r"speed|form"):
        await net.connect(url)
    with pytest.raises(ConfigurationError, match=r"speed|form"):
        blocking.connect(url)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a pseudo-terminal may take any form")
async def test_a_form_that_the_port_does_not_do(wire: Wire) -> None:
    """A pseudo-terminal has no parity: a typed error at every end, and the port is free again."""
    url = f"{wire.url(0)}&form=8E1"
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="cannot be set"):
            await net.connect(url)
        with pytest.raises(ConfigurationError, match="cannot be set"):
            blocking.connect(url)
        with pytest.raises(ConfigurationError, match="cannot be set"):
            await net.listen(net.parse(url), Parties(), hdlc=Answering(lambda server: True))


async def test_a_port_that_is_not_there() -> None:
    with pytest.raises(ConnectionLost):
        await net.connect("serial:///dev/no-such-port")
    with pytest.raises(ConnectionLost):
        blocking.connect("serial:///dev/no-such-port")
    with pytest.raises(ConfigurationError, match="cannot listen"):
        await net.listen(
            net.parse("serial:///dev/no-such-port"), Parties(), hdlc=Answering(lambda server: True)
        )


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("serial"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **more)

    for name in [name for name in sys.modules if name.split(".")[0] in ("serial", "serial_asyncio_fast")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unsupported, match=r"meterseal\[serial\]"):
        await net.connect("serial:///dev/x")
    with pytest.raises(Unsupported, match=r"meterseal\[serial\]"):
        blocking.connect("serial:///dev/x")
