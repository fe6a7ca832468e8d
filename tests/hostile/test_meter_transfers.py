"""F11 and F12 over a socket: block transfers of a meter that lie, stop, or are very many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal import MemoryCounters, sync
from meterseal.apdu.common import AttributeDescriptor, DataBlock
from meterseal.apdu.services import SetRequestNormal, SetRequestWithFirstDatablock
from meterseal.association import SERVER_CONFORMANCE
from meterseal.association.transfer import Transfer
from meterseal.codec.data import Data, Tag
from meterseal.cosem.obis import Obis
from meterseal.framing import gbt
from meterseal.framing.gbt import Block
from meterseal.meter.session import TRANSFER_TIME
from meterseal.net import WireLog
from tests.hostile.raw import NOT_POSSIBLE, Line, Running, running
from tests.meter.world import Client

POINT = AttributeDescriptor(1, Obis("0.0.96.1.10.255"), 2)
LONG = Data.of(bytes(range(256)) * 8, Tag.OCTET_STRING)
SIZE = 300
BLOCKS: dict[str, Any] = {"conformance": SERVER_CONFORMANCE, "max_pdu": SIZE}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


def request(client: Client, value: Data = LONG) -> bytes:
    """A long write, protected."""
    return client.sealed(SetRequestNormal(0xC1, POINT, None, value).encode())


def blocks_of(octets: bytes, window: int = 63) -> list[bytes]:
    """All blocks at once, whatever the meter's window."""
    sender = Transfer(size=SIZE, window=window, limit=1 << 16, peer_window=63)
    return list(sender.send(octets))


def test_a_long_write_and_a_long_read_by_blocks(here: Running) -> None:
    client = here.signed_on("installer", **BLOCKS)
    sender = Transfer(size=SIZE, window=8, limit=1 << 16)
    queue, whole = list(sender.send(request(client))), b""
    while not whole:
        answer = b""
        for octets in queue:
            client.line.put(octets, client.sap)
        answer = client.line.take() or b""
        taken = sender.take(gbt.decode(answer))
        queue, whole = list(taken.send), taken.whole or b""
    assert client.opened(whole) == bytes.fromhex("C501C100")
    assert client.get(1, "0.0.96.1.10.255") == LONG.value


@pytest.mark.parametrize(
    "block",
    [
        Block(0, b"x", window=1),
        Block(64, b"x", window=1),
        Block(0xFFFF, b"x", last=True, window=1),
        Block(2, b"x", window=1, acknowledged=5),
        Block(1, bytes.fromhex("6000"), last=True, window=1),
        Block(1, bytes.fromhex("E08100010000"), last=True, window=1),
        Block(1, b"\xc9\x05\x30\x00\x00\x00\x01", last=True, window=1),
    ],
)
def test_F11_blocks_that_cannot_be(here: Running, block: Block) -> None:
    client = here.signed_on("installer", **BLOCKS)
    before = here.counters()
    answer = client.line.ask(gbt.encode(block), client.sap)
    assert answer[0] == 0xD8 or gbt.decode(answer).data[:1] == b"\xd8"
    assert here.counters() == before
    assert client.get(8, "0.0.1.0.0.255")


def test_F11_a_gap_a_repeat_and_a_release_in_the_middle(here: Running) -> None:
    client = here.signed_on("installer", **BLOCKS)
    value = client.get(1, "0.0.96.1.10.255")
    first, second, third, *rest = blocks_of(request(client, Data.of(bytes(2000), Tag.OCTET_STRING)))
    ask = client.line.ask
    for octets in (first, second):
        client.line.put(octets, client.sap)  # both say that more of the window follow
    last = rest[-1]
    answer = gbt.decode(ask(last, client.sap))
    assert (answer.acknowledged, answer.window) == (2, len(rest))
    again = gbt.decode(ask(gbt.encode(gbt.decode(first)._replace(streaming=False)), client.sap))
    assert again.number == 1  # the first block anew: another transfer
    client.release()
    client = here.signed_on("installer", client.line, **BLOCKS)
    assert ask(gbt.encode(gbt.decode(third)._replace(acknowledged=1)), client.sap) == NOT_POSSIBLE
    assert client.get(1, "0.0.96.1.10.255") == value
    assert here.do(lambda: here.party.memory.total) == 0


def test_F11_blocks_without_end_are_cut(here: Running) -> None:
    client = here.signed_on("installer", **(BLOCKS | {"max_pdu": 4096}))
    number, answer = 0, bytes((gbt.TAG,))
    while answer[0] == gbt.TAG:
        number += 1
        answer = client.line.ask(gbt.encode(Block(number, bytes(4000), window=1)), client.sap)
        assert here.do(lambda: here.party.memory.total) <= 1 << 16
    assert answer == bytes.fromhex("D80104") and number == 17
    assert here.do(lambda: here.party.memory.total) == 0
    assert client.get(8, "0.0.1.0.0.255")


def test_F11_before_the_sign_on_nothing_is_kept(here: Running) -> None:
    line = here.line()
    for sap in (1, 2, 3, 16, 77):
        assert line.ask(gbt.encode(Block(1, bytes(200), window=1)), sap) == bytes.fromhex("D80102")
    assert here.do(lambda: len(here.party.memory)) == 0


def test_F11_what_stands_still_is_let_go(here: Running) -> None:
    client = here.signed_on("installer", **BLOCKS)
    client.line.ask(
        gbt.encode(gbt.decode(blocks_of(request(client))[0])._replace(streaming=False)), client.sap
    )
    assert here.do(lambda: len(here.party.memory)) == 1

    def later() -> None:
        for _, live in here.party.live():
            live.touched -= TRANSFER_TIME + 1
        here.party.tick()

    here.do(later)
    assert here.do(lambda: len(here.party.memory)) == 0
    assert client.get(8, "0.0.1.0.0.255")


def half_open(line: Line, client: Client) -> None:
    """A long write whose first block alone comes."""
    block = DataBlock(False, 1, LONG.raw[:1000])
    octets = client.sealed(SetRequestWithFirstDatablock(0xC1, POINT, None, block).encode())
    assert client.opened(line.ask(octets, client.sap)) == bytes.fromhex("C502C100000001")


def test_F12_many_half_open_transfers_and_one_that_goes_on(here: Running) -> None:
    """The budget holds; a source with many gives way before the one transfer of another."""
    owner = here.signed_on("manager", here.line("127.0.0.9"), **BLOCKS)
    sender = Transfer(size=SIZE, window=8, limit=1 << 16)
    (first,) = sender.send(request(owner))
    queue = list(sender.take(gbt.decode(owner.line.ask(first, owner.sap))).send)
    here.do(lambda: setattr(here.party.memory, "limit", 20_000))
    lines = [here.line() for _ in range(40)]
    for line in lines:
        half_open(line, here.signed_on("installer", line, **BLOCKS))
        assert here.do(lambda: here.party.memory.total) <= 20_000
    assert here.do(lambda: len(here.party.memory)) < 40
    whole = None
    while whole is None:
        for octets in queue:
            owner.line.put(octets, owner.sap)
        taken = sender.take(gbt.decode(owner.line.take() or b""))
        queue, whole = list(taken.send), taken.whole
    assert owner.opened(whole) == bytes.fromhex("C501C100")
    for line in lines:
        line.close()


CONFIG = """# a peer that expects blocks
[roles.manager]
max_pdu = 400
[roles.manager.peer]
prefers_gbt = true
"""


def test_our_own_client_and_meter_by_blocks(tmp_path: Path) -> None:
    """With the peer option at both ends long APDUs go by general block transfer, both ways."""
    with running(tmp_path, CONFIG) as meter:
        role = meter.credentials.role("manager")
        assert "prefers_gbt" in role.peer
        known: dict[str, Any] = {"credentials": meter.credentials, "counters": MemoryCounters()}
        wire = tmp_path / "wire.jsonl"
        with (
            WireLog(wire) as log,
            sync.connect(role="manager", max_pdu=200, wire_log=log, **known) as client,
        ):
            assert "general-block-transfer" in client.services
            objects = client.object_list()
            assert len(list(objects)) > 20
            rows = client.profile("1.0.99.1.0.255", entries=(1, 50))
            assert len(rows) == 50
            client.write("1/0.0.96.1.10.255", bytes(5000), Tag.OCTET_STRING)
            found = client.access([meterseal.Read("1/0.0.96.1.10.255"), meterseal.Read("0.0.42.0.0.255")])
            assert isinstance(found[0], meterseal.Value) and found[0].value == bytes(5000)
        frames = [json.loads(line) for line in wire.read_text().splitlines()]
        blocks = [f["direction"] for f in frames if f["hex"][16:18] == "E0"]
        assert blocks.count("out") > 14 and blocks.count("in") > 40
