"""Pushes over real lines: attempts, pauses, confirmations; a meter that pushes to a listener, end to end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal import net
from meterseal.cosem.obis import Obis
from meterseal.errors import StateUnavailable, TooLarge
from meterseal.framing import gbt, hdlc
from meterseal.framing.live import LineReader
from meterseal.listener import Book, Listener, Received, Receiver
from meterseal.listener.confirm import confirmation
from meterseal.meter import MeterServer, load_plan, open_meter, write_credentials
from meterseal.meter.orders import HDLC, TCP, UDP, Order
from meterseal.meter.pushing import AT_ONCE, Pusher
from meterseal.net import parse
from meterseal.state import MemoryCounters
from tests.net.parties import Parties, serve, silent, until

NAME = Obis("0.0.25.9.0.255")


PUSH = b"\x0f\x00\x00\x00\x01\x00\x00"


def order(transport: int, port: int, **options: Any) -> Order:
    return Order(NAME, transport, f"127.0.0.1:{port}", 1, 103, lambda: PUSH, **options)


async def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


async def test_over_tcp_and_udp() -> None:
    notes: list[str] = []
    pusher = Pusher(notes.append)
    tcp, udp = Parties(silent), Parties(silent)
    async with await serve(tcp) as one, await net.serve_datagrams("127.0.0.1", 0, udp) as other:
        pusher.send(order(TCP, one.port))
        pusher.send(order(UDP, other.port))
        for parties in (tcp, udp):
            party = await parties.last()
            await until(lambda party=party: bool(party.frames))  # type: ignore[misc]
            assert party.frames == [(1, 103, PUSH)]
    await pusher.close()
    assert notes == []


async def test_again_after_a_pause_when_nobody_listens_with_the_same_octets() -> None:
    notes: list[str] = []
    pusher = Pusher(notes.append)
    port, sealed = await free_port(), [0]

    def seal() -> bytes:
        sealed[0] += 1
        return bytes((0x0F, sealed[0]))

    pusher.send(replace(order(TCP, port, delays=(0.01, 0.01, *(0.1,) * 300)), seal=seal))
    await asyncio.sleep(0.1)
    async with await net.serve("127.0.0.1", port, parties := Parties(silent)):
        party = await parties.last()
        await until(lambda: bool(party.frames))
    await pusher.close()
    assert sealed == [1] and notes == []


async def test_the_last_failure_is_a_line_in_the_journal() -> None:
    notes: list[str] = []
    pusher = Pusher(notes.append)
    port = await free_port()
    pusher.send(order(TCP, port, delays=(0.01,)))
    await until(lambda: len(notes) == 1)
    assert f"did not reach 127.0.0.1:{port}" in notes[0]

    def full() -> bytes:
        raise StateUnavailable("no space left")

    pusher.send(replace(order(TCP, port, delays=(5.0,)), seal=full))
    await until(lambda: len(notes) == 2)
    assert "no space left" in notes[1]
    await pusher.close()


async def test_others_are_served_between_the_parts_of_a_long_push() -> None:
    notes: list[str] = []
    pusher, turns = Pusher(notes.append), list[str]()

    def making(name: str, error: Exception | None = None) -> Iterator[None]:
        for _ in range(3):
            turns.append(name)
            yield
        if error is not None:
            raise error

    tcp = Parties(silent)
    async with await serve(tcp) as server:
        pusher.send(order(TCP, server.port, making=making("one")))
        pusher.send(order(TCP, server.port, making=making("other", TooLarge("too much"))))
        party = await tcp.last()
        await until(lambda: bool(party.frames) and not pusher.busy)
    assert turns == ["one", "other"] * 3
    assert party.frames == [(1, 103, PUSH)] and notes == [f"push {NAME} was not made: too much"]
    await pusher.close()


async def test_until_it_is_confirmed_under_a_new_counter_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.meter.pushing.PATIENCE", 0.05)
    heard: list[bytes] = []
    sealed = iter(range(100))

    def answer_the_third(link: Any, source: int, destination: int, payload: bytes) -> None:
        heard.append(payload)
        if len(heard) == 2:  # the third is confirmed, however long that takes
            monkeypatch.setattr("meterseal.meter.pushing.PATIENCE", 60.0)
        link.send(destination, source, b"\x10" + payload[1:] if len(heard) == 3 else b"\x10\xff")

    notes: list[str] = []
    pusher = Pusher(notes.append)
    async with await net.serve_datagrams("127.0.0.1", 0, Parties(answer_the_third)) as server:
        confirmed = order(UDP, server.port, delays=(0.01,) * 9, confirms=lambda answer: answer == b"\x10\x02")
        pusher.send(replace(confirmed, seal=lambda: bytes((0x0F, next(sealed)))))
        await until(lambda: not pusher._tasks)
    assert heard == [b"\x0f\x00", b"\x0f\x01", b"\x0f\x02"] and notes == []


async def test_bounds_and_reset() -> None:
    notes: list[str] = []
    pusher = Pusher(notes.append)
    for _ in range(AT_ONCE + 3):
        pusher.send(order(TCP, 9, start=60.0))
    assert len(notes) == 3 and len(pusher._tasks) == AT_ONCE
    pusher.drop(Obis("0.1.25.9.0.255"))
    await asyncio.sleep(0)
    assert len(pusher._tasks) == AT_ONCE
    pusher.drop(NAME)
    await until(lambda: not pusher._tasks)
    await pusher.close()


CONFIG = """[[objects]]
class = 40
obis = "0.0.25.9.0.255"
version = {version}
role = "operator"
push = ["3/1.0.1.8.0.255:1", "3/1.0.1.8.0.255:2", "3/1.0.1.8.0.255:3"]
destination = "{url}"
writable = true
"""


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
@pytest.mark.parametrize("version", [0, 1, 2])
async def test_a_meter_pushes_to_a_listener(tmp_path: Path, url: str, version: int) -> None:
    """A manager calls the push of a running meter; the listener opens it by the meter's own credentials."""
    got: list[Received] = []
    folder = tmp_path / "meters"
    folder.mkdir()
    with ExitStack() as stack:
        config = tmp_path / "push.toml"
        config.write_text(CONFIG.format(version=version, url="udp://127.0.0.1:9"))
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack)
        async with MeterServer(meter) as server:
            write_credentials(meter, folder / "kitchen.toml", server.url)
            store = MemoryCounters()
            async with Listener(Receiver(Book(folder, store), store), got.append) as listener:
                where = parse(await listener.open(parse(url)))
                transport = 0 if where.scheme == "tcp" else 1
                async with meterseal.connect(credentials=folder / "kitchen.toml", role="manager") as client:
                    there = (transport, f"127.0.0.1:{where.port}".encode(), 0)
                    await client.write("40/0.0.25.9.0.255:3", there)
                    for number in range(3):
                        await client.call("40/0.0.25.9.0.255:1")
                        await until(lambda number=number: len(got) > number)  # type: ignore[misc]
                    energy = await client.read("1.0.1.8.0.255")
    assert [one.error for one in got] == [None] * 3
    assert {(one.meter, one.role) for one in got} == {("kitchen", "operator")}
    name, value, unit = got[-1].message.notification_body.value  # type: ignore[union-attr]
    assert (name, unit) == (Obis("1.0.1.8.0.255"), (0, 30)) and 0 <= energy.value - value < 100
    assert len({one.layers[-1]["invocation_counter"] for one in got}) == 3


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
async def test_a_long_push_in_blocks(tmp_path: Path, url: str) -> None:
    """Cut after it was sealed, joined by the listener before it is opened; no block is acknowledged."""
    got: list[Received] = []
    with ExitStack() as stack:
        store = MemoryCounters()
        config = tmp_path / "push.toml"
        config.write_text(CONFIG.format(version=1, url="udp://127.0.0.1:9") + "blocks = 32\n")
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack)
        log = tmp_path / "wire.jsonl"
        wires = stack.enter_context(net.WireLog(log))
        async with MeterServer(meter, wire_log=wires) as server:
            write_credentials(meter, tmp_path / "kitchen.toml", server.url)
            receiver = Receiver(Book(tmp_path / "kitchen.toml", store), store)
            async with Listener(receiver, got.append) as listener:
                where = parse(await listener.open(parse(url)))
                held: Any = meter.devices[1].objects[40, NAME]
                there = (0 if where.scheme == "tcp" else 1, f"127.0.0.1:{where.port}".encode(), 0)
                held.set({3: (there, held.values[3][1])})
                for number in range(2):
                    held.push()
                    await until(lambda number=number: len(got) > number)  # type: ignore[misc]
    assert [one.error for one in got] == [None] * 2
    kinds = [layer["kind"] for layer in got[0].layers]
    assert kinds == ["wrapper", "general-block-transfer", "general-glo-ciphering"]
    frames = [json.loads(line) for line in log.read_text().splitlines()]
    blocks = [gbt.decode(bytes.fromhex(frame["hex"])[8:]) for frame in frames]
    half = len(blocks) // 2
    assert half > 2 and [block.number for block in blocks] == 2 * list(range(1, half + 1))
    assert {(block.window, block.acknowledged) for block in blocks} == {(0, 0)}
    assert {frame["direction"] for frame in frames} == {"out"}
    assert max(len(frame["hex"]) // 2 - 8 for frame in frames) == 32


class Own:
    """The meter's own line: what is sent over it is kept."""

    def __init__(self, sent: list[bytes]) -> None:
        self.sent = sent

    def notify(self, source: int, destination: int, payload: bytes) -> None:
        self.sent.append(payload)


async def test_too_many_blocks_for_an_hdlc_line_are_a_line_in_the_journal() -> None:
    notes: list[str] = []
    sent: list[bytes] = []

    pusher = Pusher(notes.append, hdlc_lines=lambda: [Own(sent)])  # type: ignore[list-item]
    pusher.send(replace(order(HDLC, 0, blocks=32), seal=lambda: bytes(16 * 25)))
    await until(lambda: not pusher._tasks)
    assert len(sent) == 16 and gbt.decode(sent[-1]).last and notes == []
    pusher.send(replace(order(HDLC, 0, blocks=32), seal=lambda: bytes(16 * 25 + 1)))
    await until(lambda: len(notes) == 1)
    assert "17 blocks" in notes[0] and len(sent) == 16
    await pusher.close()


async def test_a_confirmed_push_ends_with_its_confirmation(tmp_path: Path) -> None:
    """Version 2, method 2: the listener confirms under the same key, with the client's own counters."""
    got: list[Received] = []
    folder = tmp_path / "meters"
    folder.mkdir()
    with ExitStack() as stack:
        config = tmp_path / "push.toml"
        text = CONFIG.format(version=2, url="udp://127.0.0.1:9") + "confirmed = true\nretries = 2\n"
        config.write_text(text + "repetition_delay = [60, 100, 60]\n")
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack)
        async with MeterServer(meter) as server:
            write_credentials(meter, folder / "kitchen.toml", server.url)
            store = MemoryCounters()
            receiver = Receiver(Book(folder, store), store)
            async with Listener(receiver, got.append, confirm=True) as listener:
                where = parse(await listener.open(parse("udp://127.0.0.1:0")))
                held = meter.devices[1].objects[40, NAME]
                async with meterseal.connect(credentials=folder / "kitchen.toml", role="manager") as client:
                    await client.write("40/0.0.25.9.0.255:3", (1, f"127.0.0.1:{where.port}".encode(), 0))
                    await client.call("40/0.0.25.9.0.255:1")
                    pusher = server._pusher
                    assert pusher is not None
                    await until(lambda: bool(got) and not pusher._tasks)
                async with meterseal.connect(credentials=folder / "kitchen.toml", role="operator") as client:
                    await client.read("0.0.42.0.0.255")  # its counters go on behind those of the confirmation
        assert len(got) == 1 and got[0].error is None
        assert held._confirmed_at[:2] != b"\xff\xff"  # type: ignore[attr-defined]


@pytest.mark.parametrize("blocks", [0, 64], ids=["whole", "blocks"])
async def test_over_the_meter_s_own_hdlc_line_in_ui_frames(tmp_path: Path, blocks: int) -> None:
    """A client on the line collects the push by empty UI frames with the poll bit, opens it by title."""
    config = tmp_path / "push.toml"
    config.write_text(CONFIG.format(version=1, url="hdlc") + (f"blocks = {blocks}\n" if blocks else ""))
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack)
        async with MeterServer(meter, url="hdlc+tcp://127.0.0.1:0") as server:
            write_credentials(meter, tmp_path / "kitchen.toml", server.url)
            held: Any = meter.devices[1].objects[40, NAME]
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert server.party is not None
            await until(lambda: bool(server.party and server.party.links()))
            held.push()
            await until(lambda: not (server._pusher and server._pusher._tasks))
            question = hdlc.Frame(hdlc.Address(1, meter.plan.physical_address, 2), hdlc.Address(2), 0x13)
            line, items = LineReader(), list[Any]()
            async with asyncio.timeout(30):
                while not any(item.payload for item in items):
                    writer.write(hdlc.encode(question))
                    items += line.feed(await reader.read(4096))
            writer.close()
        store = MemoryCounters()
        receiver = Receiver(Book(tmp_path / "kitchen.toml", store), store)
        (one,) = receiver.take(items, "line")
    assert one.error is None and one.role == "operator"
    between = ["general-block-transfer"] if blocks else []
    assert [layer["kind"] for layer in one.layers] == ["hdlc", *between, "general-glo-ciphering"]
    assert one.layers[0]["control"] == "UI"


async def test_a_push_on_the_meter_s_own_hdlc_line_is_confirmed_in_a_ui_frame(tmp_path: Path) -> None:
    """Version 2, method 2: until then it is pushed again; who collects it answers under the client's keys."""
    config = tmp_path / "push.toml"
    text = CONFIG.format(version=2, url="hdlc") + "confirmed = true\nretries = 3\n"
    config.write_text(text + "repetition_delay = [60, 100, 60]\n")
    with ExitStack() as stack:
        meter = open_meter(load_plan("suite0", config), tmp_path / "state", stack)
        async with MeterServer(meter, url="hdlc+tcp://127.0.0.1:0") as server:
            write_credentials(meter, tmp_path / "kitchen.toml", server.url)
            held: Any = meter.devices[1].objects[40, NAME]
            pusher, party = server._pusher, server.party
            assert pusher is not None and party is not None
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await until(lambda: bool(party.links()))
            held.push()
            await until(lambda: bool(pusher._unconfirmed))
            store = MemoryCounters()
            receiver = Receiver(Book(tmp_path / "kitchen.toml", store), store)
            own, client = hdlc.Address(1, meter.plan.physical_address, 2), hdlc.Address(2)
            line, items = LineReader(), list[Any]()
            async with asyncio.timeout(30):
                while not any(item.payload for item in items):
                    writer.write(hdlc.encode(hdlc.Frame(own, client, 0x13)))
                    items += line.feed(await reader.read(4096))
            (one,) = receiver.take(items, "line")
            assert one.error is None and one.door is not None
            assert pusher.busy, "nobody has confirmed it"
            answer = b"\xe6\xe6\x00" + confirmation(one.door, one.message)
            writer.write(hdlc.encode(hdlc.Frame(own, client, 0x03, answer)))
            await until(lambda: not pusher.busy)
            assert held._confirmed_at[:2] != b"\xff\xff" and not pusher._unconfirmed
            writer.close()


async def test_what_nobody_confirms_on_the_own_line_is_pushed_again_and_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meterseal.meter.pushing.PATIENCE", 0.01)
    notes: list[str] = []
    sent: list[bytes] = []

    pusher = Pusher(notes.append, hdlc_lines=lambda: [Own(sent)])  # type: ignore[list-item]
    sealed = iter(range(9))
    one = order(HDLC, 0, delays=(0.01, 0.01), confirms=lambda answer: False)
    pusher.send(replace(one, seal=lambda: bytes((0x0F, next(sealed)))))
    await until(lambda: not pusher.busy)
    assert sent == [b"\x0f\x00", b"\x0f\x01", b"\x0f\x02"], "under a new counter each time"
    assert len(notes) == 1 and "nobody confirmed it" in notes[0]


async def test_a_confirmation_that_is_late_ends_the_pause_and_one_more_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meterseal.meter.pushing.PATIENCE", 0.01)
    sent: list[bytes] = []
    pusher = Pusher(pytest.fail, hdlc_lines=lambda: [Own(sent)])  # type: ignore[list-item]
    pusher.send(order(HDLC, 0, delays=(60.0,), confirms=lambda answer: answer == b"\x10yes"))
    await until(lambda: len(sent) == 1)
    await asyncio.sleep(0.05)  # nobody has confirmed it in time
    assert pusher.busy and not pusher.confirmed(b"\x10no")
    assert pusher.confirmed(b"\x10yes")
    await until(lambda: not pusher.busy)
    assert pusher.confirmed(b"\x10yes") and not pusher.confirmed(b"\x10no")
    assert len(sent) == 1
