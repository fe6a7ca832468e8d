"""The listener as primary of an HDLC line: meters are asked for what waits, what asks for it is confirmed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meterseal import net
from meterseal.association.transfer import unconfirmed
from meterseal.cosem.obis import Obis
from meterseal.errors import ConfigurationError
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Timing
from meterseal.listener import Book, Listener, Received, Receiver, lines
from meterseal.meter import MeterServer, load_plan, open_meter, write_credentials
from meterseal.net import Answering, Link, parse
from meterseal.net.hdlc import HdlcConnection
from meterseal.state import MemoryCounters
from tests.listener.pushes import TITLE, sealed, write
from tests.net.parties import Parties, silent, until
from tests.net.test_serial import Wire
from tests.wired import spoilt

ADDRESS = "server_address = [1, {}]\naddress_size = {}\n"
NAME = Obis("0.0.25.9.0.255")


def on_line(path: Path, *lines: str, **options: Any) -> Path:
    """Credentials with more in their table `[meter]`."""
    new = write(path.with_suffix(".new"), **options)  # somebody may be looking at the folder
    head, rest = new.read_text().split("\n\n", 1)
    new.write_text("\n".join((head, *lines)) + "\n\n" + rest)
    return new.rename(path)


def title_of(device: int) -> bytes:
    return TITLE[:7] + bytes((device,))


@asynccontextmanager
async def collecting(
    where: str, path: Path, **options: Any
) -> AsyncIterator[tuple[Listener, list[Received]]]:
    got: list[Received] = []
    store = MemoryCounters()
    async with Listener(Receiver(Book(path, store), store), got.append, **options) as listener:
        await listener.open(parse(where), collect=True)
        yield listener, got


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is taken for an answer soon."""
    monkeypatch.setattr(lines, "_ASKING", Timing(response=0.05, retries=0, pause=0.01, longest_pause=0.02))


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
async def test_pushes_of_several_meters_on_one_bus(tmp_path: Path) -> None:
    """Two of three have something: whole, in segments, in blocks; strangers' files are left alone."""
    wire, folder = Wire(3), tmp_path / "meters"
    folder.mkdir()
    try:
        for device in (17, 18, 19):
            on_line(folder / f"m{device}.toml", ADDRESS.format(device, 2), title=title_of(device))
        on_line(folder / "elsewhere.toml", 'url = "tcp://127.0.0.1:9"', title=title_of(1))
        on_line(folder / "other.toml", 'url = "serial:///dev/null"', ADDRESS.format(20, 2), title=title_of(2))
        meters = {device: Parties(silent) for device in (17, 18)}
        async with AsyncExitStack() as stack:
            for end, (device, parties) in enumerate(meters.items()):
                answering = Answering(lambda server: server == 1, device, (2,))
                await stack.enter_async_context(
                    await net.listen(net.parse(wire.url(end)), parties, hdlc=answering)  # type: ignore[arg-type]
                )
            links: dict[int, Link] = {device: (await made.last()).link for device, made in meters.items()}
            links[17].notify(1, 103, sealed(1, title=title_of(17)))
            links[18].notify(
                1, 103, sealed(1, title=title_of(18), inside=b"\x0f\0\0\0\1\0\x09\x81\xfa" + bytes(250))
            )
            for block in unconfirmed(sealed(2, title=title_of(17)), 24):
                links[17].notify(1, 103, block)
            _, got = await stack.enter_async_context(collecting(wire.url(2), folder))
            await until(lambda: len(got) == 3)
            assert [one.error for one in got] == [None] * 3
            assert sorted((str(one.meter), one.layers[0]["source_lower"]) for one in got) == [
                ("m17", 17), ("m17", 17), ("m18", 18),
            ]  # fmt: skip
            kinds = {tuple(layer["kind"] for layer in one.layers) for one in got}
            sealed_in = "general-glo-ciphering"
            assert kinds == {("hdlc", sealed_in), ("hdlc", "general-block-transfer", sealed_in)}
            assert got[0].source == wire.url(2).partition("?")[0]
            links[18].notify(1, 103, sealed(5, title=title_of(18)))
            links[18].notify(1, 103, sealed(5, title=title_of(18)))
            await until(lambda: len(got) == 5)
            assert got[3].error is None and got[4].error is not None and got[4].error.kind == "replayed"
    finally:
        wire.close()


CONFIG = """[[objects]]
class = 40
obis = "0.0.25.9.0.255"
version = 2
role = "operator"
push = ["3/1.0.1.8.0.255:1", "3/1.0.1.8.0.255:2"]
destination = "hdlc"
confirmed = true
retries = 3
repetition_delay = [0, 100, 0]
"""


async def test_a_confirmed_push_end_to_end_while_a_client_is_signed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meter pushes until the listener's confirmation has come in a UI frame; a lost one is made good."""
    monkeypatch.setattr("meterseal.meter.pushing.PATIENCE", 0.5)
    config = tmp_path / "push.toml"
    config.write_text(CONFIG)
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack)
        async with MeterServer(meter, url="hdlc+tcp://127.0.0.1:0") as server:
            path = tmp_path / "kitchen.toml"
            write_credentials(meter, path, server.url)
            held: Any = meter.devices[1].objects[40, NAME]
            pusher = server._pusher
            assert pusher is not None and server.party is not None
            # The listener ends as soon as it has what it wants: the last confirmation goes out all the same.
            async with collecting(server.url, path, confirm=True) as (listener, got):
                await until(lambda: bool(server.party and server.party.links()))
                confirm, lost = listener._confirmed, [True]

                def once_lost(received: Received, link: Any) -> None:
                    confirm(received, _Deaf() if lost.pop() else link)
                    lost.append(False)

                monkeypatch.setattr(listener, "_confirmed", once_lost)
                held.push()
                await until(lambda: not pusher.busy)
                assert [one.error for one in got] == [None], "each is handed on once"
                held.push()
                await until(lambda: len(got) == 2)
            await until(lambda: not pusher.busy)
            assert held._confirmed_at[:2] != b"\xff\xff"
    assert [one.message.long_invoke_id_and_priority & 0xFFFF for one in got] == [1, 2]  # type: ignore[union-attr]
    assert got[0].role == "operator" and got[0].layers[0]["control"] == "UI"


class _Deaf:
    def send(self, source: int, destination: int, payload: bytes) -> None: ...

    def established(self) -> None: ...


async def test_a_line_that_is_lost_is_opened_again_and_files_may_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("meterseal.listener.lines._AGAIN", "meterseal.listener.lines.LOOK_EVERY"):
        monkeypatch.setattr(name, 0.02)
    monkeypatch.setattr("meterseal.listener.book.LOOK_EVERY", 0.01)
    on_line(tmp_path / "a.toml", ADDRESS.format(17, 4), title=title_of(17))
    on_line(tmp_path / "b.toml", ADDRESS.format(18, 2), title=title_of(9))  # another form of address
    parties = Parties(silent)
    server: Any = await net.listen(
        parse("hdlc+tcp://127.0.0.1:0"), parties, hdlc=Answering(lambda server: server == 1, 17)
    )
    async with server, collecting(server.url, tmp_path) as (_, got):
        (await parties.last()).link.notify(1, 103, sealed(1, title=title_of(17)))
        await until(lambda: len(got) == 1)
        parties.made[0].link.abort()
        second = await parties.last(2)
        second.link.notify(1, 103, sealed(2, title=title_of(17)))
        await until(lambda: len(got) == 2)
        assert server.url in caplog.text, "it was told of"
        on_line(tmp_path / "c.toml", ADDRESS.format(17, 4), title=title_of(17), client=104)
        second.link.notify(1, 104, sealed(3, title=title_of(17)))
        await until(lambda: len(got) == 3)
        freed: list[tuple[int, int]] = []
        monkeypatch.setattr(HdlcConnection, "free", lambda self, *pair: freed.append(pair))
        (tmp_path / "a.toml").unlink()
        await until(lambda: freed == [(103, hdlc.on_device(1, 17))])
        assert [one.error for one in got] == [None] * 3


async def test_nobody_to_ask(tmp_path: Path) -> None:
    on_line(tmp_path / "m.toml", 'url = "tcp://127.0.0.1:9"')
    store = MemoryCounters()
    async with Listener(Receiver(Book(tmp_path, store), store), lambda received: None) as listener:
        with pytest.raises(ConfigurationError, match="no meter on this line"):
            await listener.open(parse("hdlc+tcp://127.0.0.1:1"))


async def test_B22_what_was_not_asked_for_is_passed_over_and_forged_or_repeated_refused(
    tmp_path: Path,
) -> None:
    """A meter that answers for another server, or another client, is not taken for the one that was asked."""
    on_line(tmp_path / "m.toml", ADDRESS.format(17, 2), title=title_of(17))

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        good, forged = sealed(4, title=title_of(17)), spoilt(sealed(5, title=title_of(17)))
        for control, client, server, device, push in (
            (0x03, 103, 2, 17, sealed(1, title=title_of(17))),
            (0x03, 104, 1, 17, sealed(2, title=title_of(17))),
            (0x03, 103, 1, 18, sealed(3, title=title_of(17))),
            (0x03, 103, 1, 17, good),
            (0x03, 103, 1, 17, forged),
            (0x13, 103, 1, 17, good),
        ):
            whose = hdlc.Address(client), hdlc.Address(server, device)
            writer.write(hdlc.encode(hdlc.Frame(*whose, control, hdlc.RESPONSE + push)))
        await reader.read()
        writer.close()

    liar = await asyncio.start_server(lie, "127.0.0.1", 0)
    where = f"hdlc+tcp://127.0.0.1:{liar.sockets[0].getsockname()[1]}"
    async with collecting(where, tmp_path) as (_, got):
        await until(lambda: len(got) == 3)
        assert [one.layers[-1]["invocation_counter"] for one in got] == [4, 5, 4]
        assert [one.error and one.error.kind for one in got] == [None, "forged", "replayed"]
    liar.close()
