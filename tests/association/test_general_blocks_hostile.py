"""General block transfer with an end that lies, stops or goes away (F11)."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu.ciphered import FORMS
from meterseal.apdu.common import AttributeDescriptor, ResultData
from meterseal.apdu.services import (
    GetRequestNext,
    GetRequestNormal,
    GetResponseNormal,
    SetRequestNormal,
)
from meterseal.association import (
    Confirmed,
    Failed,
    Operation,
    Outcome,
    Refusal,
    Released,
    Reply,
    ServerAssociation,
)
from meterseal.association.transfer import Transfer
from meterseal.codec.data import Data, Tag
from meterseal.errors import ProtocolViolation, TimedOut, TooLarge
from meterseal.framing import gbt
from meterseal.framing.gbt import Block
from meterseal.security import Style, protect
from tests.association.blocky import LONG, SIZE, blocky, in_blocks
from tests.association.pair import (
    CLOCK,
    REGISTER,
    SMALL,
    Pair,
    drawing,
    get,
    put,
    replies,
    sealed,
)

# --- a meter that lies to the client --------------------------------------------------------------


def asked(pair: Pair, operation: Operation | None = None) -> bytes:
    """The client has asked, plainly; a long answer, protected by the meter."""
    pair.client.request((operation or get(),))
    plain = GetResponseNormal(0xC0 | pair.client._invoke, ResultData(LONG)).encode()
    return sealed(pair, plain)


def test_F11_a_client_that_gets_endless_blocks() -> None:
    pair = blocky(client={"reassembly_limit": 2000})
    asked(pair)
    number = 0
    while True:
        number += 1
        (effect,) = pair.client.receive(gbt.encode(Block(number, bytes(100), window=8)))
        if isinstance(effect, Failed):
            break
        assert isinstance(effect, Reply)
        assert gbt.decode(effect.octets).acknowledged == number
    assert isinstance(effect.error, TooLarge) and number == 21
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


@pytest.mark.parametrize(
    "lies",
    [
        [Block(0, b"x", window=1)],
        [Block(65, b"x", window=1)],
        [Block(1, b"x", window=1), Block(0xFFFF, b"x", window=1)],
        [Block(1, b"x", window=1, acknowledged=1)],
        [Block(1, b"x", window=1), Block(2, b"x", window=1, acknowledged=9)],
        [Block(1, b"x", last=True, streaming=True, window=1)],
        [Block(1, b"\xc4", last=True, window=1), Block(2, b"x", window=1)],
        [Block(1, bytes.fromhex("C402C10100000001000100"), last=True, window=1)],
        [Block(1, bytes.fromhex("E08100010000"), last=True, window=1)],
    ],
)
def test_F11_a_client_that_gets_impossible_blocks(lies: list[Block]) -> None:
    pair = blocky()
    asked(pair)
    effects: list[Any] = []
    for lie in lies:
        effects += pair.client.receive(gbt.encode(lie))
        if isinstance(effects[-1], Failed):
            break
    assert isinstance(effects[-1], Failed), effects
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_F11_blocks_of_an_answer_that_was_given_up() -> None:
    pair = blocky()
    answer = asked(pair)
    meter = Transfer(size=SIZE, window=8, limit=1 << 16)
    late = meter.send(answer) + meter.take(Block(1, b"", True, window=8, acknowledged=1)).send
    pair.client.give_up()
    effects = pair.client.request((get(CLOCK, 2, 8),))
    for octets in late[1:]:
        assert not [e for e in pair.client.receive(octets) if isinstance(e, Failed | Confirmed)]
    (confirmed,) = pair.run(effects)
    assert confirmed == Confirmed((Outcome(0, SMALL.raw),))


def test_blocks_that_nobody_asked_for() -> None:
    pair = blocky()
    (failed,) = pair.client.receive(gbt.encode(Block(1, b"x", window=1)))
    assert isinstance(failed, Failed) and isinstance(failed.error, ProtocolViolation)


# --- the end of things ----------------------------------------------------------------------------


def half_sent(pair: Pair) -> list[bytes]:
    """The first two blocks of a long request have arrived; the rest of them."""
    request = SetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None, LONG).encode()
    sender = Transfer(size=SIZE, window=8, limit=1 << 16)
    (first,) = sender.send(protect(pair.client.context, request, 3, Style.GLO))
    (ack,) = replies(pair.to_meter(first))
    second, *rest = sender.take(gbt.decode(ack)).send
    assert pair.to_meter(second) == []
    assert pair.server.half_open and rest
    return rest


def test_F11_a_release_frees_what_was_kept() -> None:
    pair = blocky()
    rest = half_sent(pair)
    assert pair.release() == [Released()]
    assert not pair.server.half_open
    (refusal, reply) = pair.to_meter(rest[-1])
    assert isinstance(refusal, Refusal) and pair.plant.done == []
    assert isinstance(reply, Reply)


def test_F11_a_new_request_ends_the_old_transfer() -> None:
    pair = blocky()
    rest = half_sent(pair)
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
    assert not pair.server.half_open
    for octets in rest:
        effects = pair.to_meter(octets)
        assert isinstance(effects[0], Refusal)
    assert pair.plant.done == []


def test_F11_a_transfer_that_stands_still_is_let_go() -> None:
    pair = blocky()
    rest = half_sent(pair)
    (refusal,) = pair.server.timed_out()
    assert isinstance(refusal, Refusal) and isinstance(refusal.error, TimedOut)
    assert not pair.server.half_open and pair.server.timed_out() == []
    assert isinstance(pair.to_meter(rest[0])[0], Refusal)
    assert pair.outcomes(put(LONG)) == (Outcome(0),)


def test_F11_blocks_of_another_association_are_not_taken() -> None:
    """Each association joins its own: the same blocks elsewhere lead nowhere."""
    pair, other = blocky(), blocky()
    for octets in half_sent(pair):
        effects = other.to_meter(octets)
        assert isinstance(effects[0], Refusal) or not replies(effects) or other.plant.done == []
    assert other.plant.done == []


def test_an_answer_longer_than_the_numbers_reach_is_refused() -> None:
    pair = blocky(client={"max_pdu": 12}, mechanism=0, ciphered=False, server={"max_pdu": 4096})
    pair.plant.values[REGISTER, 2] = Data.of(bytes(400_000), Tag.OCTET_STRING).raw
    (failed,) = pair.ask(get())
    assert isinstance(failed, Failed) and failed.error.kind in ("refused", "malformed", "too-large")
    assert isinstance(pair.refusals[-1].error, TooLarge)
    assert pair.outcomes(get(CLOCK, 2, 8)) == (Outcome(0, SMALL.raw),)


def test_requests_that_come_while_one_is_answered_wait_in_blocks_too() -> None:
    pair = blocky()
    pair.hold = True
    effects = in_blocks(pair, GetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None).encode())
    (indication,) = [e for e in effects if not isinstance(e, Reply)]
    again = gbt.encode(Block(1, b"x", last=True, window=8))
    assert pair.server.receive(again) == []
    found = pair.server.respond(indication.token, [Outcome(0, LONG.raw)])
    assert gbt.decode(replies(found)[0]).data[0] in FORMS
    assert isinstance(found[-1], Reply) and isinstance(found[-2], Refusal)
    assert pair.to_meter(protect(pair.client.context, GetRequestNext(0xC1, 1).encode(), 3, Style.GLO))


def test_a_server_needs_no_memory_budget() -> None:
    pair = blocky()
    alone = ServerAssociation(pair.server.profile, drawing())
    alone.end()
    assert not alone.half_open and alone.timed_out() == []


@pytest.mark.parametrize("datagrams", [False, True])
def test_F11_data_in_the_middle_of_an_answer_is_of_another_exchange(datagrams: bool) -> None:
    """Blocks whose numbers would follow are dropped; the answer goes on, and nothing is raised."""
    pair = blocky(server={"window": 4}, client={"window": 4}, datagrams=datagrams)
    request = asked_octets(pair)
    answer = [gbt.decode(octets) for octets in replies(pair.to_meter(request))]
    assert answer[0].data and not answer[-1].last
    for number in (1, 2, 3):
        stray = Block(number, b"stray", last=number == 3, window=1, acknowledged=1)
        (again,) = map(gbt.decode, replies(pair.to_meter(gbt.encode(stray))))
        assert again.data and again.number == 2 and not again.acknowledged
    assert pair.server.answering


def asked_octets(pair: Pair) -> bytes:
    """A read of what is long, as the client sends it."""
    pair.plant.values[REGISTER, 2] = LONG.raw
    (effect,) = pair.client.request((get(),))
    assert isinstance(effect, Reply)
    return effect.octets
