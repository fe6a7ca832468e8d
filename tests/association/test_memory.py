"""What half-open transfers keep: one budget, the oldest of whoever keeps most goes first (F12)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.common import AttributeDescriptor, DataBlock
from meterseal.apdu.services import SetRequestWithDatablock, SetRequestWithFirstDatablock
from meterseal.association import (
    Confirmed,
    Indication,
    Line,
    Outcome,
    Refusal,
    Reply,
    ServerAssociation,
    ServerProfile,
    TransferMemory,
)
from meterseal.association.transfer import Transfer, unconfirmed
from meterseal.codec.data import Data
from meterseal.crypto import suite
from meterseal.framing import gbt
from meterseal.security import SecuritySetup
from tests.association.blocky import SIZE, blocky
from tests.association.pair import CLOCK, METER_TITLE, View, associated, drawing, get, octet_string, put

MANY = 10_000


class Holder:
    """Remembers that it lost."""

    def __init__(self, name: int = 0) -> None:
        self.name, self.lost = name, 0

    def lose_transfer(self) -> None:
        self.lost += 1


def test_F12_the_oldest_goes_first() -> None:
    memory = TransferMemory(100)
    holders = [Holder(n) for n in range(5)]
    for holder in holders:
        memory.keep(holder, "here", 30)
    assert [h.lost for h in holders] == [1, 1, 0, 0, 0]
    memory.keep(holders[2], "here", 40)  # growing does not make it younger, and never drops itself
    assert [h.lost for h in holders] == [1, 1, 0, 0, 0]
    memory.keep(holders[4], "here", 60)
    assert [h.lost for h in holders] == [1, 1, 1, 0, 0]
    memory.keep(holders[3], "here", 0)
    assert (memory.total, len(memory)) == (60, 1)


def test_F12_who_keeps_most_gives_first() -> None:
    """One source with many transfers does not push out the only one of another, older as it is."""
    memory = TransferMemory(1000)
    owner, others = Holder(), [Holder(n) for n in range(500)]
    memory.keep(owner, "owner", 100)
    for holder in others:
        memory.keep(holder, "flood", 10)
    assert owner.lost == 0 and memory.total <= 1000
    assert sum(h.lost for h in others) == 500 - 90
    assert [h.lost for h in others[-90:]] == [0] * 90


def test_F12_blocks_of_both_kinds_count_together() -> None:
    """What waits in confirmed blocks, and beside it what came in unconfirmed ones."""
    pair = blocky()
    pair.server._memory = memory = TransferMemory(MANY)
    first = Transfer(size=SIZE, window=1, limit=MANY).send(bytes(1000))[0]
    pair.to_meter(first)
    confirmed = memory.total
    piece = unconfirmed(bytes(500), SIZE)[0]
    pair.to_meter(piece)
    assert confirmed == len(gbt.decode(first).data)
    assert memory.total == confirmed + len(gbt.decode(piece).data)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 50)), max_size=50),
    st.integers(50, 120),
)
def test_F12_the_budget_holds(steps: list[tuple[int, int, int]], limit: int) -> None:
    memory = TransferMemory(limit)
    holders = {(n, share): Holder(n) for n in range(10) for share in range(3)}
    kept: dict[tuple[int, int], int] = {}
    for n, share, octets in steps:
        before = {key: holder.lost for key, holder in holders.items()}
        memory.keep(holders[n, share], share, octets)
        kept[n, share] = octets
        lost = [key for key, holder in holders.items() if holder.lost > before[key]]
        assert (n, share) not in lost
        kept.update(dict.fromkeys(lost, 0))
        assert memory.total == sum(kept.values()) <= limit
        assert len(memory) == sum(1 for octets in kept.values() if octets)


# --- ten thousand associations ----------------------------------------------------------------------------


def standing(memory: TransferMemory) -> Callable[[str], ServerAssociation]:
    """Pre-established associations without ciphering: nothing but what is kept counts here."""
    profile = ServerProfile(
        client_sap=1,
        server_sap=1,
        setup=SecuritySetup(suite(0), METER_TITLE),
        view=View(),
        pre_established=True,
    )
    draw = drawing()
    return lambda share: ServerAssociation(profile, draw, Line(memory=memory, share=share))


LONG = octet_string(bytes(5000)).raw
FIRST = SetRequestWithFirstDatablock(
    0xC1, AttributeDescriptor(8, CLOCK, 2), None, DataBlock(False, 1, LONG[:4000])
).encode()
REST = SetRequestWithDatablock(0xC1, DataBlock(True, 2, LONG[4000:])).encode()
GBT_FIRST = gbt.encode(gbt.Block(1, bytes(4000), window=8))


@pytest.mark.slow
@pytest.mark.parametrize("first", [FIRST, GBT_FIRST], ids=["service-specific", "general"])
def test_F12_ten_thousand_half_open_transfers(first: bytes) -> None:
    memory = TransferMemory(1 << 20)
    make = standing(memory)
    owner = make("owner")
    owner.receive(FIRST)
    flood = [make("flood") for _ in range(MANY)]
    for association in flood:
        (reply,) = association.receive(first)
        assert isinstance(reply, Reply)
        assert memory.total <= 1 << 20
    open_ones = [a for a in flood if a.half_open]
    assert len(memory) == len(open_ones) + 1 == (1 << 20) // 4000
    assert open_ones == flood[-len(open_ones) :]  # the oldest have gone
    # The owner, older than all of them, goes on; who lost is told so and writes nothing.
    (indication,) = owner.receive(REST)
    assert isinstance(indication, Indication)
    assert owner.respond(indication.token, [Outcome(0)]) == [Reply(bytes.fromhex("C503C10000000002"))]
    rest = REST if first is FIRST else gbt.encode(gbt.Block(2, b"x", last=True, window=8, acknowledged=1))
    effects = flood[0].receive(rest)
    answer = effects[-1]
    assert isinstance(answer, Reply)
    assert answer.octets == bytes.fromhex("C503C11200000002" if first is FIRST else "D80101")
    for association in flood:
        association.end()
    assert (memory.total, len(memory)) == (0, 0)


def test_F12_long_answers_count_too() -> None:
    memory = TransferMemory(2000)
    pair = associated(client={"max_pdu": 128})
    pair.server._memory, pair.server._share = memory, "here"
    pair.plant.values[CLOCK, 2] = octet_string(bytes(1500)).raw
    pair.tap = lambda direction, octets: []
    pair.run(pair.client.request((get(CLOCK, 2, 8),)))
    (request,) = [octets for direction, octets in pair.wire[-1:]]
    pair.to_meter(request)
    assert memory.total > 1400 and pair.server.half_open
    memory.keep(Holder(), "other", 1000)
    assert (pair.server_state()[4], memory.total) == (False, 1000)  # nothing more to be fetched
    pair.client.give_up()
    pair.tap = lambda direction, octets: [octets]
    assert pair.ask(put(Data.decode(b"\0"))) == [Confirmed((Outcome(0),))]


def test_F12_one_that_is_being_answered_keeps_its_place() -> None:
    """The party is at work on the operation: losing what is kept of a transfer does not lose the request."""
    memory = TransferMemory(6000)
    owner = standing(memory)("here")
    owner.receive(FIRST)
    (indication,) = owner.receive(REST)
    assert isinstance(indication, Indication)
    owner.lose_transfer()
    assert owner.respond(indication.token, [Outcome(0)]) == [Reply(bytes.fromhex("C503C10000000002"))]


def test_F12_a_transfer_that_breaks_off_gives_its_memory_back() -> None:
    memory = TransferMemory(1 << 20)
    owner = standing(memory)("here")
    sender = Transfer(size=100, window=8, limit=1 << 16)
    (first,) = sender.send(bytes(1000))
    owner.receive(first)
    assert memory.total == 93
    refusal = owner.receive(gbt.encode(gbt.Block(0, b"x", window=8)))[0]
    assert isinstance(refusal, Refusal)
    assert memory.total == 0


def test_F12_what_is_kept_is_on_the_account_of_its_source() -> None:
    kept: list[tuple[object, object, int]] = []

    class Ledger(TransferMemory):
        def keep(self, holder: object, share: object, octets: int) -> None:
            kept.append((holder, share, octets))

    one = standing(Ledger())("a source")
    one.receive(FIRST)
    assert kept == [(one, "a source", 4000)] and one.half_open
    one.timed_out()
    assert kept[1:] == [(one, "a source", 0)] and not one.half_open
