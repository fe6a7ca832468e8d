"""gurux-dlms and general block transfer: it joins our blocks, and we join its own.

The count of the acknowledgements is kept here; their octets are the peer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gurux_dlms.enums import Conformance, DataType
from gurux_dlms.GXReplyData import GXReplyData
from gurux_dlms.objects import GXDLMSData

from meterseal.framing import gbt
from tests.peers import gurux
from tests.peers.gurux import Gurux
from tests.peers.house import House, house

CONFIG = """# long answers go by general block transfer
[roles.operator.peer]
prefers_gbt = true
[roles.installer.peer]
prefers_gbt = true
"""
POINT = "0.0.96.1.10.255"
WRAPPER = 8


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("blocks")
    with house(folder, CONFIG) as found:
        yield found


class Watched:
    """The peer's socket; keeps the APDUs of both sides."""

    def __init__(self, line: Any) -> None:
        self.line = line
        self.sent: list[bytes] = []
        self.received: list[bytes] = []

    def sendall(self, octets: bytes) -> None:
        self.sent.append(bytes(octets)[WRAPPER:])
        self.line.sendall(octets)

    def recv(self, size: int) -> bytes:
        octets: bytes = self.line.recv(size)
        self.received.append(octets[WRAPPER:])
        return octets


@contextmanager
def in_blocks(here: House, role: str, max_pdu: int) -> Iterator[tuple[Gurux, Watched]]:
    """The peer signed on, with general block transfer negotiated."""
    client = gurux.make(here.role(role), max_pdu=max_pdu)
    client.proposedConformance |= Conformance.GENERAL_BLOCK_TRANSFER
    with gurux.connected(here, client) as peer:
        peer.line.settimeout(gurux.PATIENCE)
        watched = Watched(peer.line)
        peer.line = watched  # type: ignore[assignment]
        peer.sign_on()
        assert client.negotiatedConformance & Conformance.GENERAL_BLOCK_TRANSFER
        watched.sent.clear()
        watched.received.clear()
        yield peer, watched


def ask(peer: Gurux, request: Any) -> Any:
    """One request and its answer, each block acknowledged."""
    reply, settings = GXReplyData(), peer.client.settings
    peer._exchange(request, reply)
    number = 0
    while reply.isMoreData():
        number += 1
        assert number < 500
        settings.blockNumber = number
        ready = peer.client.receiverReady(reply)
        settings.blockIndex = number + 1
        peer._exchange(ready, reply)
    assert not reply.error
    return reply


def test_the_peer_joins_a_long_answer(here: House) -> None:
    with in_blocks(here, "operator", 200) as (peer, watched):
        reply = ask(peer, peer.client.getObjectsRequest())
        joined = peer.client.parseObjects(reply.data, True)
        names = sorted(str(item.logicalName) for item in joined)
        blocks = [gbt.decode(octets) for octets in watched.received]
        assert len(blocks) > 5 and all(len(octets) <= 200 for octets in watched.received)
        assert [b.number for b in blocks] == list(range(1, len(blocks) + 1))
        assert [b.acknowledged for b in blocks] == list(range(len(blocks)))
        acks = [gbt.decode(octets) for octets in watched.sent[1:]]
        assert all(ack.acknowledges_only and ack.last for ack in acks)
    with gurux.associated(here, "operator", max_pdu=0xFFFF) as whole:
        assert sorted(str(item.logicalName) for item in whole.objects()) == names


def test_a_long_write_in_the_peers_blocks(here: House) -> None:
    value = bytes(range(256)) * 24  # two blocks
    item = GXDLMSData(POINT)
    item.value = bytearray(value)
    item.setDataType(2, DataType.OCTET_STRING)
    with in_blocks(here, "installer", 0xFFFF) as (peer, watched):
        # Room for what stands around the value in a block.
        peer.client.settings.maxPduSize -= 32
        reply = GXReplyData()
        for part in peer.client.write(item, 2):
            reply = GXReplyData()
            peer._exchange(part, reply)
        sent = [gbt.decode(octets) for octets in watched.sent]
        assert [b.last for b in sent] == [False, True]
        assert not reply.error
        taken = [gbt.decode(octets) for octets in watched.received]
        assert [b.acknowledged for b in taken] == [1, 2]
    with here.ours("installer") as client:
        assert client.read(f"1/{POINT}").value == value
