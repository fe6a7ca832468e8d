"""Block transfer at the client, and cutting and joining on their own."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import services as s
from meterseal.apdu.common import (
    DataBlock,
    RawBlock,
    ResultCode,
)
from meterseal.association import Confirmed, Failed, Outcome, Reply
from meterseal.association.blocks import Incoming, Outgoing
from meterseal.codec.message import Message
from meterseal.errors import DecodeError, Malformed, MetersealError, ProtocolViolation, TooLarge
from tests.association.line import FIRST_INVOKE, LONG
from tests.association.pair import (
    DEK,
    REGISTER,
    Pair,
    associated,
    call,
    get,
    put,
    sealed,
)

# --- the client's side -----------------------------------------------------------------------------------


def waiting_for(*operations: Any, max_pdu: int = 128) -> Pair:
    pair = associated(server={"max_pdu": max_pdu})
    pair.client.request(operations)
    return pair


def block(number: int, raw: bytes, last: bool = False) -> Message:
    return s.GetResponseWithDatablock(FIRST_INVOKE, last, number, RawBlock(raw))


def tell(pair: Pair, message: Message) -> Any:
    (effect,) = pair.client.receive(sealed(pair, message.encode()))
    return effect


BROKEN: list[tuple[Any, list[Message], type[MetersealError]]] = [
    (get(), [block(2, b"\x11\x01", True)], Malformed),
    (get(), [block(1, b"\x11"), block(1, b"\x01", True)], Malformed),
    (get(), [block(1, b"\x11"), block(3, b"\x01", True)], Malformed),
    (get(), [block(1, b"")], Malformed),
    (get(), [block(1, b"\x11", True)], DecodeError),
    (get(), [block(1, b"\x11\x01\x02", True)], DecodeError),
    (put(LONG), [s.SetResponseDatablock(FIRST_INVOKE, 2)], ProtocolViolation),
    (put(LONG), [s.SetResponseDatablock(FIRST_INVOKE, 0)], ProtocolViolation),
    (put(LONG), [s.SetResponseLastDatablock(FIRST_INVOKE, 0, 1)], ProtocolViolation),
    (put(LONG), [s.SetResponseNormal(FIRST_INVOKE, 0)], ProtocolViolation),
    (put(LONG), [s.ActionResponseNextPblock(FIRST_INVOKE, 1)], ProtocolViolation),
    (call(LONG), [s.ActionResponseNextPblock(FIRST_INVOKE, 3)], ProtocolViolation),
    (call(LONG), [s.ActionResponseNormal(FIRST_INVOKE, s.ActionResult(0, None))], ProtocolViolation),
    (call(LONG), [s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(True, 1, b"\0\0"))], ProtocolViolation),
    (call(), [s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(True, 1, b"\0\0\0"))], DecodeError),
    (call(), [s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(True, 2, b"\0\0"))], Malformed),
]


@pytest.mark.parametrize(("operation", "answers", "error"), BROKEN, ids=range(len(BROKEN)))
def test_broken_blocks_end_the_request(
    operation: Any, answers: list[Message], error: type[MetersealError]
) -> None:
    pair = waiting_for(operation)
    for answer in answers[:-1]:
        assert isinstance(tell(pair, answer), Reply)
    failed = tell(pair, answers[-1])
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, error), failed.error
    assert pair.client._asking is None


ENDED: list[tuple[Any, Message, int]] = [
    (get(), s.GetResponseWithDatablock(FIRST_INVOKE, True, 1, ResultCode(2)), 2),
    (get(), s.GetResponseNormal(FIRST_INVOKE, ResultCode(0x0F)), 0x0F),
    (put(LONG), s.SetResponseLastDatablock(FIRST_INVOKE, 0x13, 1), 0x13),
    (call(LONG), s.ActionResponseNormal(FIRST_INVOKE, s.ActionResult(0x0F, None)), 0x0F),
]


@pytest.mark.parametrize(("operation", "answer", "code"), ENDED, ids=range(len(ENDED)))
def test_a_meter_may_end_a_transfer_with_a_code(operation: Any, answer: Message, code: int) -> None:
    pair = waiting_for(operation)
    assert tell(pair, answer) == Confirmed((Outcome(code),))


def test_an_action_answered_in_blocks_without_data() -> None:
    pair = waiting_for(call())
    answer = s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(True, 1, b"\0\0"))
    assert tell(pair, answer) == Confirmed((Outcome(0),))


def test_core_F11_a_meter_that_never_ends_is_cut() -> None:
    pair = associated(client={"reassembly_limit": 1000})
    pair.client.request([get()])
    number = 0
    while True:
        number += 1
        effect = tell(pair, block(number, bytes(100)))
        if not isinstance(effect, Reply):
            break
    assert isinstance(effect, Failed)
    assert isinstance(effect.error, TooLarge)
    assert number == 11


def test_no_room_for_a_block_is_said_before_anything_is_sent() -> None:
    pair = associated()
    pair.client.server_max_pdu = 40
    with pytest.raises(TooLarge):
        pair.client.request([put(LONG)])


# --- the pieces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 250, 251, 1000, 5000])
@pytest.mark.parametrize("length", [0, 1, 250, 999, 1000])
def test_cut_and_joined_is_the_same(size: int, length: int) -> None:
    raw = bytes(n % 251 for n in range(length))
    outgoing, incoming = Outgoing(raw, size), Incoming(1000)
    whole = None
    while whole is None:
        piece = outgoing.next()
        assert len(piece.raw_data) <= size
        whole = incoming.take(piece)
    assert whole == raw
    assert outgoing.done


def test_no_room_at_all() -> None:
    with pytest.raises(TooLarge):
        Outgoing(b"x", 0)


def test_a_dedicated_key_in_blocks() -> None:
    pair = associated(client={"dedicated_key": DEK, "max_pdu": 128}, server={"max_pdu": 128})
    pair.plant.values[REGISTER, 2] = LONG.raw
    assert pair.outcomes(get()) == (Outcome(0, LONG.raw),)
    assert pair.outcomes(put(LONG)) == (Outcome(0),)
    assert {octets[0] for _, octets in pair.wire} == {0x60, 0x61, 0xD0, 0xD1, 0xD3, 0xD4, 0xD5, 0xD7}


# --- raw-data of a long ACTION answer: three ways that peers have -------------------------------------------

VALUE = b"\x11\x05"
WRITINGS = {
    "": b"\x00\x01\x00" + VALUE,
    "long_action_result_only": b"\x00" + VALUE,
    "long_action_bare_data": VALUE,
}


@pytest.mark.parametrize("written", WRITINGS)
@pytest.mark.parametrize("option", WRITINGS)
def test_a_long_action_answer_is_read_in_the_one_way_that_is_switched_on(option: str, written: str) -> None:
    pair = associated(client={"options": frozenset({option} - {""})})
    pair.client.request((call(),))
    raw = WRITINGS[written]
    first = tell(pair, s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(False, 1, raw[:1])))
    assert isinstance(first, Reply)
    effect = tell(pair, s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(True, 2, raw[1:])))
    if option == written:
        assert effect == Confirmed((Outcome(0, VALUE),))
    else:
        assert isinstance(effect, Failed) and isinstance(effect.error, DecodeError)


def test_a_long_action_answer_that_is_an_error_in_that_way() -> None:
    pair = associated(client={"options": frozenset({"long_action_result_only"})})
    pair.client.request((call(),))
    effect = tell(pair, s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(True, 1, b"\x01\x04")))
    assert effect == Confirmed((Outcome(4),))
