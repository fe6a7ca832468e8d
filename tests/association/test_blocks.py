"""Block transfer at the meter: whole both ways, every error of the sheet, bounds, protection."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu import services as s
from meterseal.apdu.common import (
    AttributeDescriptor,
    AttributeWithSelection,
    DataBlock,
    ResultCode,
    ResultData,
)
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Refusal, conformance
from meterseal.codec.message import Message
from meterseal.errors import DecodeError, TooLarge
from meterseal.security import AUTHENTICATED, Style, protect, unprotect
from tests.association.line import ATTRIBUTE, FIRST_INVOKE, LONG, METHOD, Line
from tests.association.pair import (
    CLOCK,
    REGISTER,
    SMALL,
    Pair,
    associated,
    call,
    get,
    octet_string,
    put,
    replies,
    single,
)


def get_next(number: int, invoke: int = FIRST_INVOKE) -> Message:
    return s.GetRequestNext(invoke, number)


def long_get(**options: Any) -> Line:
    """A line on which the first block of a long answer has come."""
    pair = associated(client={"max_pdu": 300}, **options)
    pair.plant.values[REGISTER, 3] = LONG.raw
    line = Line(pair)
    first = line.one(s.GetRequestNormal(FIRST_INVOKE, AttributeDescriptor(3, REGISTER, 3), None))
    assert (type(first), first.last_block, first.block_number) == (s.GetResponseWithDatablock, False, 1)
    return line


def ended(message: Any, code: int, number: int) -> bool:
    """True for the answer that ends a long GET."""
    return bool(
        message == s.GetResponseWithDatablock(message.invoke_id_and_priority, True, number, ResultCode(code))
    )


# --- long GET --------------------------------------------------------------------------------------


def test_a_long_get_from_block_to_block() -> None:
    line = long_get()
    before = line.pair.server.answering
    raw, number = b"", 1
    while True:
        answer = line.one(get_next(number))
        raw += answer.result.octets
        number = answer.block_number
        if answer.last_block:
            break
    assert LONG.raw.endswith(raw)
    assert (before, line.pair.server.answering) == (True, False)
    # What is over is over.
    assert ended(line.one(get_next(number)), 0x10, number)


def test_A19_blocks_asked_for_in_a_longer_form_are_no_longer_for_it() -> None:
    line = long_get()
    context, raw, last, number = line.context, b"", False, 1
    while not last:
        style = (Style.GENERAL_GLO, Style.GLO)[number % 2]
        (octets,) = replies(line.pair.to_meter(protect(context, get_next(number).encode(), 3, style)))
        assert len(octets) <= 300
        answer: Any = apdu.decode(unprotect(context, octets).apdu)
        raw, last, number = raw + answer.result.octets, answer.last_block, answer.block_number
    assert number > 3 and LONG.raw.endswith(raw) and len(raw) > 700


@pytest.mark.parametrize("options", [frozenset(), frozenset({"prefers_gbt"})])
def test_A19_who_names_no_limit_gets_no_more_than_lines_carry(options: frozenset[str]) -> None:
    """Nor does a meter that names none: 70,000 octets go both ways in blocks."""
    pair = associated(
        client={"max_pdu": 0, "options": options, "reassembly_limit": 1 << 17},
        server={"max_pdu": 0, "options": options, "reassembly_limit": 1 << 17},
    )
    pair.plant.values[REGISTER, 2] = long = octet_string(bytes(70_000)).raw
    assert pair.outcomes(get())[0].data == long
    assert pair.outcomes(put(octet_string(bytes(range(250)) * 280)))[0].code == 0
    assert pair.plant.values[CLOCK, 2].endswith(bytes(range(250)))
    assert max(len(octets) for sender in ("client", "meter") for octets in pair.sent(sender)) <= 0xFFFF


def test_get_next_without_a_long_get() -> None:
    line = Line()
    assert ended(line.one(get_next(1)), 0x10, 1)
    refused = s.ActionResponseNormal(0xC3, s.ActionResult(0x10, None))
    assert line.one(s.ActionRequestNextPblock(0xC3, 1)) == refused


@pytest.mark.parametrize("number", [0, 2, 0xFFFFFFFF])
def test_a_wrong_number_ends_the_long_get(number: int) -> None:
    line = long_get()
    assert ended(line.one(get_next(number)), 0x13, number)
    assert ended(line.one(get_next(1)), 0x10, 1)


def test_another_invoke_id_or_service_has_no_long_get() -> None:
    line = long_get()
    assert ended(line.one(get_next(1, 0xC3)), 0x10, 1)
    assert line.one(s.ActionRequestNextPblock(FIRST_INVOKE, 1)).outcome.result == 0x10
    assert line.pair.server.answering
    assert line.one(get_next(1)).block_number == 2


def test_a_new_request_ends_the_long_get() -> None:
    line = long_get()
    assert line.one(s.GetRequestNormal(0xC3, ATTRIBUTE, None)).invoke_id_and_priority == 0xC3
    assert ended(line.one(get_next(1)), 0x10, 1)


@pytest.mark.parametrize("applied", [0, AUTHENTICATED])
def test_a_block_is_not_given_to_a_weaker_request(applied: int) -> None:
    """What was earned under one protection is not asked for under less; the rightful client goes on."""
    line = long_get()
    assert ended(line.one(get_next(1), applied), 0x0D, 1)
    assert line.one(get_next(1)).block_number == 2


def test_the_answer_is_that_of_one_moment() -> None:
    """A value that changes between two blocks does not tear."""
    line = long_get()
    line.pair.plant.values[REGISTER, 3] = octet_string(bytes(1000)).raw
    raw, number = b"", 1
    while not (answer := line.one(get_next(number))).last_block:
        raw, number = raw + answer.result.octets, answer.block_number
    assert LONG.raw.endswith(raw + answer.result.octets)
    assert len(line.pair.view.asked) == 1


def test_blocks_are_only_used_where_they_were_negotiated() -> None:
    for service, operation in (("get-or-read", get(member=3)), ("action", call(LONG))):
        bits = Pair().client.profile.conformance & ~conformance(f"block-transfer-with-{service}")
        pair = associated(client={"max_pdu": 300, "conformance": bits | conformance("get")})
        if service == "action":
            pair.client.negotiated |= conformance("block-transfer-with-action")
        pair.plant.values[REGISTER, 3] = LONG.raw
        error = pair.failure(operation)
        assert error.kind == "refused"
        assert isinstance(single(pair.refusals, Refusal).error, TooLarge)


# --- long SET ----------------------------------------------------------------------------------------


def first_set(last: bool = False, number: int = 1, raw: bytes = LONG.raw[:100]) -> Message:
    return s.SetRequestWithFirstDatablock(FIRST_INVOKE, ATTRIBUTE, None, DataBlock(last, number, raw))


def set_block(number: int, raw: bytes, last: bool = False, invoke: int = FIRST_INVOKE) -> Message:
    return s.SetRequestWithDatablock(invoke, DataBlock(last, number, raw))


def long_set() -> Line:
    line = Line()
    assert line.one(first_set()) == s.SetResponseDatablock(FIRST_INVOKE, 1)
    return line


def set_ended(message: Any, code: int, number: int, invoke: int = FIRST_INVOKE) -> bool:
    return bool(message == s.SetResponseLastDatablock(invoke, code, number))


def test_a_long_set_from_block_to_block() -> None:
    line = long_set()
    assert line.one(set_block(2, LONG.raw[100:700])) == s.SetResponseDatablock(FIRST_INVOKE, 2)
    assert line.pair.plant.done == []
    assert set_ended(line.one(set_block(3, LONG.raw[700:], True)), 0, 3)
    (done,) = line.pair.plant.done
    assert done.data == LONG


def test_one_block_is_enough() -> None:
    line = Line()
    assert set_ended(line.one(first_set(True, raw=SMALL.raw)), 0, 1)
    line = Line()
    request = s.ActionRequestWithFirstPblock(FIRST_INVOKE, METHOD, DataBlock(True, 1, SMALL.raw))
    assert line.one(request).outcome.result == 0


def test_a_set_block_without_a_long_set() -> None:
    line = Line()
    assert set_ended(line.one(set_block(2, b"\0", True)), 0x12, 2)
    line = long_set()
    assert set_ended(line.one(set_block(2, LONG.raw[100:], True, invoke=0xC3)), 0x12, 2, 0xC3)
    action = s.ActionRequestWithPblock(FIRST_INVOKE, DataBlock(True, 2, b"\0"))
    assert line.one(action).outcome.result == 0x10
    assert line.pair.plant.done == []


@pytest.mark.parametrize("number", [0, 1, 3, 0xFFFFFFFF])
def test_a_wrong_number_ends_the_long_set(number: int) -> None:
    line = long_set()
    assert set_ended(line.one(set_block(number, LONG.raw[100:], True)), 0x13, number)
    assert set_ended(line.one(set_block(2, LONG.raw[100:], True)), 0x12, 2)
    assert line.pair.plant.done == []


@pytest.mark.parametrize("number", [0, 2, 7])
def test_the_first_block_is_number_1(number: int) -> None:
    line = Line()
    assert set_ended(line.one(first_set(number=number)), 0x13, number)
    assert set_ended(line.one(set_block(number + 1, b"\0", True)), 0x12, number + 1)


@pytest.mark.parametrize(
    "raw", [b"", b"\x09", LONG.raw[100:-1], LONG.raw[100:] + b"\0", b"\xff" * 950], ids=len
)
def test_a_value_that_is_none_ends_the_long_set(raw: bytes) -> None:
    line = long_set()
    assert set_ended(line.one(set_block(2, raw, True)), 0x11, 2)
    assert line.pair.plant.done == []
    assert isinstance(single(line.pair.server.receive(b"\0\0"), Refusal).error, DecodeError)


def test_a_block_without_octets_is_none() -> None:
    line = long_set()
    assert set_ended(line.one(set_block(2, b"")), 0x11, 2)
    assert line.pair.plant.done == []


def test_core_F11_endless_blocks_are_cut() -> None:
    line = Line(server={"reassembly_limit": 1000})
    answer = line.one(first_set())
    number = 1
    while isinstance(answer, s.SetResponseDatablock):
        number += 1
        answer = line.one(set_block(number, bytes(100)))
    assert set_ended(answer, 0x11, number)
    assert number == 11
    assert line.pair.server._exchange is None


@pytest.mark.parametrize("weak", [0, 1, 2])
@pytest.mark.parametrize("applied", [0, AUTHENTICATED])
def test_B03_a_weaker_block_is_refused_and_ends_nothing(weak: int, applied: int) -> None:
    """It is not taken for a part of the whole, nor for the client's: its own block is waited for."""
    line = Line()
    blocks = [first_set(), set_block(2, LONG.raw[100:700]), set_block(3, LONG.raw[700:], True)]
    for number, block in enumerate(blocks, 1):
        if number == weak + 1:
            assert set_ended(line.one(block, applied), 0x0D, number)
            assert line.pair.plant.done == []
        line.one(block)
    assert len(line.pair.plant.done) == 1


@pytest.mark.parametrize("applied", [0, AUTHENTICATED])
@pytest.mark.parametrize(
    "message",
    [
        s.GetRequestNormal(FIRST_INVOKE, AttributeDescriptor(3, REGISTER, 2), None),
        s.GetRequestNext(FIRST_INVOKE, 1),
        s.SetRequestNormal(FIRST_INVOKE, ATTRIBUTE, None, SMALL),
        s.SetRequestWithFirstDatablock(FIRST_INVOKE, ATTRIBUTE, None, DataBlock(False, 1, b"\x09")),
        s.ActionRequestNormal(FIRST_INVOKE, METHOD, SMALL),
        s.ActionRequestWithFirstPblock(FIRST_INVOKE, METHOD, DataBlock(False, 1, b"\x09")),
    ],
    ids=lambda message: message.name,
)
def test_B03_what_anybody_may_have_sent_ends_no_transfer(message: Message, applied: int) -> None:
    line = long_get()
    line.one(message, applied)
    assert line.one(get_next(1)).block_number == 2
    assert line.pair.plant.done == []


def test_rights_are_asked_once_for_the_whole() -> None:
    line = long_set()
    assert line.pair.view.asked == []
    line.one(set_block(2, LONG.raw[100:], True))
    ((operation, _),) = line.pair.view.asked
    assert operation.data == LONG
    line.pair.view.rights[False, 8, CLOCK, 2] = 1
    line.one(first_set())
    assert set_ended(line.one(set_block(2, LONG.raw[100:], True)), 3, 2)


def test_a_list_of_values_in_blocks() -> None:
    line = Line()
    attribute = AttributeWithSelection(ATTRIBUTE, None)
    raw = b"\x02" + SMALL.raw + SMALL.raw
    for count, answer in ((2, "list"), (1, "ended"), (3, "ended")):
        first = s.SetRequestWithListAndFirstDatablock(
            FIRST_INVOKE, (attribute,) * count, DataBlock(False, 1, raw[:3])
        )
        assert line.one(first) == s.SetResponseDatablock(FIRST_INVOKE, 1)
        last = line.one(set_block(2, raw[3:], True))
        if answer == "list":
            assert last == s.SetResponseLastDatablockWithList(FIRST_INVOKE, (0, 0), 2)
        else:
            assert set_ended(last, 0x11, 2)
    assert len(line.pair.plant.done) == 2


def test_unequal_lists_are_refused_before_anything() -> None:
    line = Line()
    attribute = AttributeWithSelection(ATTRIBUTE, None)
    for message in (
        s.SetRequestWithList(FIRST_INVOKE, (attribute,) * 2, (SMALL,)),
        s.ActionRequestWithList(FIRST_INVOKE, (METHOD,), (SMALL, SMALL)),
    ):
        assert line.one(message) == ExceptionResponse(1, 1)
    assert line.pair.plant.done == []


# --- long ACTION ---------------------------------------------------------------------------------------


def action_block(number: int, raw: bytes, last: bool = False) -> Message:
    return s.ActionRequestWithPblock(FIRST_INVOKE, DataBlock(last, number, raw))


def long_action() -> Line:
    line = Line()
    first = s.ActionRequestWithFirstPblock(FIRST_INVOKE, METHOD, DataBlock(False, 1, LONG.raw[:100]))
    assert line.one(first) == s.ActionResponseNextPblock(FIRST_INVOKE, 1)
    return line


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (action_block(3, LONG.raw[100:], True), 0x0F),
        (action_block(2, LONG.raw[100:-1], True), 0x0F),
        (action_block(2, b""), 0x0F),
        (set_block(2, LONG.raw[100:], True), 0x12),
    ],
)
def test_errors_of_a_long_action(block: Message, code: int) -> None:
    line = long_action()
    answer = line.one(block)
    assert (answer.outcome.result if isinstance(answer, s.ActionResponseNormal) else answer.result) == code
    assert line.pair.plant.done == []
    again = line.one(action_block(2, LONG.raw[100:], True))
    assert again.outcome.result == (0 if code == 0x12 else 0x10)


def test_a_long_answer_of_an_action() -> None:
    line = Line(associated(client={"max_pdu": 300}))
    answer = line.one(s.ActionRequestNormal(FIRST_INVOKE, METHOD, LONG))
    raw = answer.block.raw_data
    while not answer.block.last_block:
        answer = line.one(s.ActionRequestNextPblock(FIRST_INVOKE, answer.block.block_number))
        raw += answer.block.raw_data
    result = s.ActionResult.decode(raw)
    assert result == s.ActionResult(0, ResultData(LONG))
    assert line.one(s.ActionRequestNextPblock(FIRST_INVOKE, 9)).outcome.result == 0x10


def test_a_wrong_number_ends_the_long_answer_of_an_action() -> None:
    line = Line(associated(client={"max_pdu": 300}))
    line.one(s.ActionRequestNormal(FIRST_INVOKE, METHOD, LONG))
    assert line.one(s.ActionRequestNextPblock(FIRST_INVOKE, 5)).outcome.result == 0x0F
    assert line.one(s.ActionRequestNextPblock(FIRST_INVOKE, 1)).outcome.result == 0x10


def test_a_null_parameter_in_blocks_is_none() -> None:
    line = Line()
    line.one(s.ActionRequestWithFirstPblock(FIRST_INVOKE, METHOD, DataBlock(True, 1, b"\0")))
    assert line.pair.plant.done[0].data is None


# --- ends in the middle ----------------------------------------------------------------------------------


def test_core_F11_a_release_in_the_middle_frees_the_blocks() -> None:
    line = long_set()
    line.pair.release()
    assert line.pair.server._exchange is None
    line = long_get()
    line.pair.server.end()
    assert not line.pair.server.answering


def test_core_F11_blocks_of_one_association_are_unknown_to_another() -> None:
    mine, theirs = long_set(), Line()
    assert set_ended(theirs.one(set_block(2, LONG.raw[100:], True)), 0x12, 2)
    assert set_ended(mine.one(set_block(2, LONG.raw[100:], True)), 0, 2)
