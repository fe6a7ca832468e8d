"""General block transfer between a client and a meter: every service, both ways, like for like (more 2)."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu.common import AttributeDescriptor
from meterseal.apdu.services import (
    DataNotification,
    SetRequestNormal,
)
from meterseal.association import (
    DEFAULT_CONFORMANCE,
    SERVER_CONFORMANCE,
    Confirmed,
    Failed,
    Indication,
    Need,
    Outcome,
    Refusal,
    Released,
    Reply,
    State,
    conformance,
)
from meterseal.association.transfer import Transfer, unconfirmed
from meterseal.errors import Malformed, TimedOut, Unsupported
from meterseal.framing import gbt
from meterseal.framing.gbt import Block
from meterseal.keys.counters import SendCounter
from meterseal.security import Style, protect
from tests.association.blocky import LONG, PREFERS, SIZE, answer_of, blocks, blocky, in_blocks, joined
from tests.association.pair import (
    CLOCK,
    DEK,
    HIDDEN,
    REGISTER,
    SMALL,
    TO_CLIENT,
    TO_METER,
    Pair,
    associated,
    call,
    get,
    put,
    replies,
    sealed,
)

WAYS: list[Any] = [
    pytest.param({}, 0xC8, id="glo"),
    pytest.param({"client": {"general": True}}, 0xDB, id="general-glo"),
    pytest.param({"client": {"dedicated_key": DEK}}, 0xD0, id="ded"),
    pytest.param({"mechanism": 0, "ciphered": False}, 0xC0, id="plain"),
]


@pytest.mark.parametrize(("options", "first"), WAYS)
def test_every_service_both_ways(options: dict[str, Any], first: int) -> None:
    pair = blocky(**options)
    pair.plant.values[REGISTER, 2] = LONG.raw
    many = [get()] * 3 + [get(CLOCK, 2, 8)]
    assert pair.outcomes(get()) == (Outcome(0, LONG.raw),)
    assert [o.code for o in pair.outcomes(*many)] == [0, 0, 0, 0]
    assert pair.outcomes(put(LONG)) == (Outcome(0),)
    assert pair.outcomes(put(LONG), put(SMALL), put(LONG)) == (Outcome(0),) * 3
    assert pair.outcomes(call(LONG)) == (Outcome(0, LONG.raw),)
    assert pair.outcomes(call(LONG), call()) == (Outcome(0, LONG.raw), Outcome(0))
    assert pair.plant.values[CLOCK, 2] == LONG.raw
    assert all(len(octets) <= SIZE for _, octets in pair.wire[2:])
    assert not pair.refusals
    # One protected APDU, one counter, whatever the number of its blocks; and never blocks within blocks.
    tags = {whole[0] for whole in joined(pair, TO_METER)}
    plain_tags = {0xC1: "set", 0xC3: "action"}
    if first == 0xC0:
        assert tags == set(plain_tags)
    elif first == 0xDB:
        assert tags == {0xDB}
    else:
        assert tags == {tag + first - 0xC0 for tag in plain_tags}
    # All six answers: long ones, and those to requests that came in blocks.
    assert len(joined(pair, TO_CLIENT)) == 6 == len([b for b in blocks(pair, TO_CLIENT) if b.last and b.data])
    assert pair.release() == [Released()]


@pytest.mark.parametrize(("options", "first"), WAYS)
def test_access_in_blocks(options: dict[str, Any], first: int) -> None:
    pair = blocky(**options)
    pair.plant.values[REGISTER, 2] = LONG.raw
    operations = (get(), put(LONG), call(LONG))
    (effect,) = pair.run(pair.client.request(operations, access=True))
    assert effect == Confirmed((Outcome(0, LONG.raw), Outcome(0), Outcome(0, LONG.raw)))
    tag = {0xC8: 0xDB, 0xD0: 0xDC, 0xDB: 0xDB, 0xC0: 0xD9}[first]
    assert {whole[0] for whole in joined(pair, TO_METER)} == {tag}
    # Short ones too: their answer may be long, and ACCESS has no blocks of its own.
    (effect,) = pair.run(pair.client.request((get(),), access=True))
    assert effect == Confirmed((Outcome(0, LONG.raw),))


def test_law_10_blocks_answer_only_blocks() -> None:
    """A plain request gets no blocks, a request in blocks gets them, however short the answer."""
    pair = blocky(server={"options": frozenset()})
    pair.plant.values[REGISTER, 2] = LONG.raw
    assert pair.outcomes(get()) == (Outcome(0, LONG.raw),)  # service-specific blocks
    assert not blocks(pair, TO_CLIENT) and not blocks(pair, TO_METER)
    assert pair.outcomes(put(LONG)) == (Outcome(0),)
    assert [b.last for b in blocks(pair, TO_CLIENT) if b.data] == [True]
    assert pair.sent(TO_CLIENT)[-1][0] == gbt.TAG


def test_law_10_a_peer_that_prefers_blocks_gets_them() -> None:
    pair = blocky()
    pair.plant.values[REGISTER, 2] = LONG.raw
    assert pair.outcomes(get()) == (Outcome(0, LONG.raw),)
    assert not [b for b in blocks(pair, TO_METER) if b.data]
    assert blocks(pair, TO_CLIENT)[0].acknowledged == 0
    assert pair.outcomes(get(CLOCK, 2, 8)) == (Outcome(0, SMALL.raw),)
    assert pair.sent(TO_CLIENT)[-1][0] == 0xCC  # a short answer to a plain request stays as it is


def test_without_the_conformance_bit_there_are_no_blocks() -> None:
    pair = associated(server={"conformance": DEFAULT_CONFORMANCE}, client={"options": PREFERS})
    block = gbt.encode(Block(1, bytes.fromhex("C001C1000801000000FF0200"), last=True, window=1))
    (refusal, reply) = pair.to_meter(block)
    assert isinstance(refusal, Refusal) and isinstance(refusal.error, Unsupported)
    assert isinstance(reply, Reply) and reply.octets == bytes.fromhex("D80102")
    effects = pair.client.request((get(),))
    assert len(effects) == 1
    (failed,) = pair.client.receive(block)
    assert isinstance(failed, Failed) and isinstance(failed.error, Unsupported)
    assert not associated(server={"conformance": SERVER_CONFORMANCE}).client.negotiated & conformance(
        "general-block-transfer"
    )


@pytest.mark.parametrize("state", [State.IDLE, State.PENDING])
def test_A08_no_blocks_before_the_sign_on(state: State) -> None:
    pair = Pair(client={"options": PREFERS})
    if state is State.PENDING:
        pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
        pair.sign_on()
    before = pair.server_state()
    for window in (0, 1):
        effects = pair.to_meter(gbt.encode(Block(1, bytes(100), window=window)))
        assert isinstance(effects[0], Refusal)
        assert pair.server_state() == before
        assert not pair.server.half_open


# --- never mixed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plain",
    [
        "C0 02 C1 00000001",
        "C1 02 C1 0008 0000010000FF 02 00 00 00000001 01 09",
        "C1 03 C1 00 00000001 01 09",
        "C3 04 C1 0046 000060030AFF 01 00 00000001 01 09",
        "C3 06 C1 00 00000001 01 09",
        "C3 02 C1 00000001",
    ],
)
def test_F11_blocks_of_a_service_within_blocks_are_refused(plain: str) -> None:
    pair = blocky()
    effects = in_blocks(pair, bytes.fromhex(plain))
    assert [type(e.error) for e in effects if isinstance(e, Refusal)] == [Unsupported]
    assert answer_of(effects) == bytes.fromhex("D80102")  # in blocks, as it was asked
    assert pair.plant.done == []


@pytest.mark.parametrize(
    "octets",
    ["E0 81 0001 0000 01 00", "60 00", "61 00", "62 00", "63 00"],
    ids=["gbt", "aarq", "aare", "rlrq", "rlre"],
)
def test_B10_what_may_not_be_in_blocks(octets: str) -> None:
    pair = blocky()
    block = gbt.encode(Block(1, bytes.fromhex(octets), last=True, window=1))
    before = pair.server_state()
    effects = pair.to_meter(block)
    assert isinstance(effects[0], Refusal) and isinstance(effects[0].error, Malformed)
    assert pair.server_state() == before


def test_a_bad_tag_shows_when_the_blocks_are_joined() -> None:
    """The blocks prove nothing: a changed one breaks the tag of the whole, and only that."""
    pair = blocky()
    changed = False

    def tap(direction: str, octets: bytes) -> list[bytes]:
        nonlocal changed
        if direction == TO_METER and octets[0] == gbt.TAG and gbt.decode(octets).number == 2 and not changed:
            changed = True
            return [octets[:-1] + bytes((octets[-1] ^ 1,))]
        return [octets]

    pair.tap = tap
    before = pair.server.profile.setup.unicast.rx.lowest  # type: ignore[union-attr]
    failed = pair.failure(put(LONG))
    assert failed.kind == "refused" and pair.plant.done == []
    assert pair.server.profile.setup.unicast.rx.lowest == before  # type: ignore[union-attr]
    assert pair.outcomes(put(LONG)) == (Outcome(0),)


# --- losses ---------------------------------------------------------------------------------------


def test_lost_blocks_are_asked_for_when_time_passes() -> None:
    pair = blocky(server={"window": 4}, client={"window": 4})
    pair.plant.values[REGISTER, 2] = LONG.raw
    lost = {(TO_METER, 2), (TO_CLIENT, 3), (TO_CLIENT, 4)}

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if octets[0] == gbt.TAG:
            name = (direction, gbt.decode(octets).number)
            if name in lost:
                lost.discard(name)
                return []
        return [octets]

    pair.tap = tap
    found = pair.run(pair.client.request((put(LONG), put(SMALL))))
    for _ in range(5):
        found = found or pair.run(pair.client.timed_out())
    assert found == [Confirmed((Outcome(0), Outcome(0)))]
    found = pair.run(pair.client.request((get(),)))
    for _ in range(5):
        found = found or pair.run(pair.client.timed_out())
    assert found == [Confirmed((Outcome(0, LONG.raw),))]
    assert not lost


def test_a_meter_that_says_nothing_any_more() -> None:
    pair = blocky()
    pair.tap = lambda direction, octets: [octets] if direction == TO_METER else []
    pair.run(pair.client.request((put(LONG),)))
    for _ in range(3):
        assert all(isinstance(e, Reply) for e in pair.client.timed_out())
    (failed,) = pair.client.timed_out()
    assert isinstance(failed, Failed) and isinstance(failed.error, TimedOut)
    assert pair.client.timed_out() == []
    pair.tap = lambda direction, octets: [octets]
    assert pair.outcomes(put(LONG)) == (Outcome(0),)


def test_time_that_passes_without_blocks_is_the_partys_business() -> None:
    pair = blocky()
    pair.client.request((get(),))
    assert pair.client.timed_out() == []


def test_a_final_acknowledgement_is_taken_and_not_answered() -> None:
    pair = blocky()
    assert pair.outcomes(put(LONG)) == (Outcome(0),)
    last = [b for b in blocks(pair, TO_CLIENT) if b.data][-1]
    own = blocks(pair, TO_METER)[-1]
    ack = gbt.encode(Block(own.number + 1, b"", True, False, 8, last.number))
    assert pair.to_meter(ack) == []
    assert pair.to_meter(ack) == []
    assert not pair.server.half_open
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_the_end_of_a_transfer_by_an_empty_block_without_number() -> None:
    pair = blocky()
    protected = protect(pair.client.context, bytes.fromhex("C001C1000801000000FF0200") * 20, 3, Style.GLO)
    (first, *_) = Transfer(size=SIZE, window=8, limit=1 << 16).send(protected)
    pair.to_meter(first)
    assert pair.server.half_open
    assert pair.to_meter(gbt.encode(Block(0, b"", True))) == []
    assert not pair.server.half_open


# --- unconfirmed ----------------------------------------------------------------------------------


def test_an_unconfirmed_request_in_unconfirmed_blocks() -> None:
    pair = blocky()
    request = SetRequestNormal(0x81, AttributeDescriptor(8, CLOCK, 2), None, LONG).encode()
    effects: list[Any] = []
    for octets in unconfirmed(protect(pair.client.context, request, 3, Style.GLO), SIZE):
        effects += pair.to_meter(octets)
    assert effects == [] and pair.plant.values[CLOCK, 2] == LONG.raw
    assert not pair.server.half_open


def test_an_unconfirmed_request_in_confirmed_blocks_is_acknowledged() -> None:
    pair = blocky()
    request = SetRequestNormal(0x81, AttributeDescriptor(8, CLOCK, 2), None, LONG).encode()
    effects = in_blocks(pair, request)
    assert pair.plant.values[CLOCK, 2] == LONG.raw
    last = gbt.decode(replies(effects)[-1])
    assert last.acknowledges_only and last.last and last.acknowledged == 7


def test_an_unconfirmed_request_that_is_refused_is_acknowledged_all_the_same() -> None:
    """The journal has the cause, the line the acknowledgement; the next answer goes as its request came."""
    pair = blocky()
    request = SetRequestNormal(0x81, AttributeDescriptor(1, HIDDEN, 2), None, LONG).encode()
    refusal, acknowledgement = in_blocks(pair, request)[-2:]
    assert isinstance(refusal, Refusal) and refusal.during == "access"
    assert gbt.decode(acknowledgement.octets).acknowledges_only
    assert pair.outcomes(get(CLOCK, 2, 8)) == (Outcome(0, SMALL.raw),)
    assert pair.sent(TO_CLIENT)[-1][0] == 0xCC


def test_nothing_is_acknowledged_while_the_answer_is_still_to_come() -> None:
    """It acknowledges by itself: while the party works or counters are reserved, the line is quiet."""
    pair = blocky()
    pair.hold = True
    request = SetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None, LONG).encode()
    (indication,) = in_blocks(pair, request)[-1:]
    assert isinstance(indication, Indication)
    unicast = pair.server.profile.setup.unicast
    assert unicast is not None
    unicast.tx = SendCounter(7, 7)
    (need,) = pair.answer(indication)
    assert isinstance(need, Need)
    pair.reserve(need)
    (answer,) = pair.server.resume(need.token)
    assert isinstance(answer, Reply)
    block = gbt.decode(answer.octets)
    assert (block.last, block.acknowledged) == (True, 7) and block.data


def test_a_push_in_blocks_does_not_disturb_a_request() -> None:
    pair = blocky()
    pair.plant.values[REGISTER, 2] = LONG.raw
    push = DataNotification(1, b"", LONG).encode()
    pieces = unconfirmed(sealed(pair, push, 3, Style.GENERAL_GLO), SIZE)

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_CLIENT and pieces:
            return [pieces.pop(0), octets]
        return [octets]

    pair.tap = tap
    assert pair.outcomes(get()) == (Outcome(0, LONG.raw),)
    assert pair.outcomes(get()) == (Outcome(0, LONG.raw),)
    assert not pieces
