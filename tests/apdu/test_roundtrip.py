"""Every declaration: encode and decode are inverse, octets canonical, what does not fit is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal import apdu
from meterseal.apdu import initiate, services
from meterseal.apdu.common import AttributeDescriptor, MethodDescriptor, ResultCode, ResultData
from meterseal.apdu.initiate import (
    CONFORMANCE_BITS,
    ConfirmedServiceError,
    ExceptionResponse,
    InitiateRequest,
)
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.errors import Malformed, MetersealError, Misuse, Truncated
from tests.apdu.shapes import DECLARED, SAMPLES, data, messages

anything = st.sampled_from(DECLARED).flatmap(messages)


@pytest.mark.parametrize("cls", DECLARED, ids=lambda cls: cls.__name__)
def test_every_declaration_has_a_sample_that_comes_back(cls: type[Message]) -> None:
    (sample,) = [m for m in SAMPLES if type(m) is cls]
    assert cls.decode(sample.encode()) == sample
    assert cls.decode(sample.encode()).encode() == sample.encode()
    assert len(sample.encode()) >= cls.minimum + len(cls.tag)


@given(anything)
def test_any_message_comes_back(message: Message) -> None:
    octets = message.encode()
    again = type(message).decode(octets)
    assert again == message
    assert again.encode() == octets
    assert hash(again) == hash(message)


@given(st.sampled_from(apdu.MESSAGES).flatmap(messages))
def test_any_apdu_is_found_by_its_tags(message: Message) -> None:
    octets = message.encode()
    if type(message) is ExceptionResponse and message.service_error == 6:
        # Two octets that promise a counter which is not there.
        with pytest.raises(Truncated):
            apdu.decode(octets)
        return
    if type(message) is initiate.CounterErrorResponse and message.service_error != 6:
        with pytest.raises(Malformed):
            apdu.decode(octets)
        return
    assert apdu.decode(octets) == message
    assert apdu.name(octets) == message.name


@given(anything, st.binary(min_size=1, max_size=16))
def test_B12_nothing_may_follow_a_message(message: Message, more: bytes) -> None:
    with pytest.raises(MetersealError):
        type(message).decode(message.encode() + more)


def test_messages_are_immutable_tuples_with_names() -> None:
    message = services.GetRequestNext(0xC1, 7)
    assert message != services.ActionRequestNextPblock(0xC1, 7)
    assert message != (0xC1, 7)
    assert message.block_number == 7
    assert message.replace(block_number=8) == services.GetRequestNext(0xC1, 8)
    assert repr(message) == "GetRequestNext(invoke_id_and_priority=193, block_number=7)"
    assert hash(message) != hash(services.ActionRequestNextPblock(0xC1, 7))
    with pytest.raises(AttributeError):
        message.block_number = 9  # type: ignore[misc]
    assert copy.copy(message) == message
    assert pickle.loads(pickle.dumps(message)) == message


def test_absent_fields_are_not_shown() -> None:
    assert repr(services.ActionRequestNormal(1, _METHOD, None)).endswith(f"method={_METHOD!r})")


_METHOD = MethodDescriptor(70, b"\0\0\x60\x03\x0a\xff", 1)
_ATTRIBUTE = AttributeDescriptor(8, b"\0\0\1\0\0\xff", 2)


@pytest.mark.parametrize(
    "message",
    [
        services.GetRequestNext(0x100, 1),
        services.GetRequestNext(1, -1),
        services.GetRequestNext(1, 1 << 32),
        services.GetRequestNormal(1, _ATTRIBUTE.replace(class_id=0x10000), None),
        services.GetRequestNormal(1, _ATTRIBUTE.replace(attribute_id=128), None),
        services.GetRequestNormal(1, _ATTRIBUTE.replace(instance_id="1.0.1.8.0.255"), None),
        services.SetResponseWithList(1, (0, 256)),
        ConfirmedServiceError(1, 6, 400),
        InitiateRequest(None, True, None, 6, 1 << 24, 0),
        InitiateRequest(None, True, None, 6, -1, 0),
        InitiateRequest(None, True, 300, 6, 0, 0),
    ],
    ids=repr,
)
def test_a_value_that_does_not_fit_is_misuse(message: Message) -> None:
    with pytest.raises(Misuse):
        message.encode()


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("01 02 01 00 06 5F1F0400007E1F 04B0", Malformed),  # presence octet 02
        ("01 00 00 00 06 5F1F0300007E1F 04B0", Malformed),  # three octets of bits
        ("01 00 00 00 06 5F1F0401007E1F 04B0", Malformed),  # unused bits
        ("01 00 00 00 06 601F0400007E1F 04B0", Malformed),  # another tag
        ("01 00 00 00 06", Truncated),
        ("01 00 00 00 06 5F", Truncated),
        ("01 00 00 00 06 5F1F0400", Truncated),
        ("C0 01 C1 0008 0000010000FF 02 02", Malformed),  # presence octet 02
        ("C4 01 C1 02 00", Malformed),  # unknown choice of a result
        ("C4 01 C1", Truncated),
        ("C1 04 C1 02 0008 0000010000FF 02 00", Truncated),  # a count that is not there
        ("C0 03 C1 84FFFFFFFF 0008 0000010000FF 02 00", Truncated),
        ("0F 00000001 0D 00", Truncated),
        ("62 03 80 01 00 00", Malformed),  # behind the last octet
    ],
)
def test_octets_outside_of_the_declaration(octets: str, error: type[MetersealError]) -> None:
    with pytest.raises(error):
        apdu.decode(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "canonical"),
    [
        # Conformance without the second tag octet, as some stacks write it.
        ("01 00 00 00 06 5F0400007E1F 04B0", "01 00 00 00 06 5F1F0400007E1F 04B0"),
        # DEFAULT written out, and TRUE as FF.
        ("01 00 01FF 00 06 5F1F0400007E1F 04B0", "01 00 00 00 06 5F1F0400007E1F 04B0"),
        ("C1 03 C1 FF 00000001 02 1122", "C1 03 C1 01 00000001 02 1122"),
        # A length and a count in a longer form than needed (acse-xdlms 1.2 leaves it to the reader).
        ("C1 03 C1 00 00000001 8102 1122", "C1 03 C1 00 00000001 02 1122"),
        ("C5 05 C1 8202 00".replace("8202", "820002") + "03", "C5 05 C1 02 00 03"),
    ],
)
def test_other_writings_are_read_and_written_in_one(octets: str, canonical: str) -> None:
    message = apdu.decode(bytes.fromhex(octets))
    assert message.encode() == bytes.fromhex(canonical)


def test_a_message_says_whose_octets_it_does_not_take() -> None:
    with pytest.raises(Malformed, match="get-request-next: does not start with C002"):
        services.GetRequestNext.decode(bytes.fromhex("C001C1"))


def test_conformance_bits_are_the_24_of_the_standard() -> None:
    assert CONFORMANCE_BITS["general-protection"] == 0x400000
    assert CONFORMANCE_BITS["action"] == 1
    assert sum(CONFORMANCE_BITS.values()) & 0x810000 == 0  # 0, 6 and 7: reserved, but for delta encoding at 6
    assert len(set(CONFORMANCE_BITS.values())) == 22


@given(data)
def test_data_in_a_message_keeps_its_octets(value: Data) -> None:
    message = services.GetResponseNormal(0xC1, ResultData(value))
    again = services.GetResponseNormal.decode(message.encode())
    assert isinstance(again.result, ResultData)
    assert again.result.data.raw == value.raw
    assert again != services.GetResponseNormal(0xC1, ResultCode(3))


def test_defaults_and_unknown_fields_of_a_declaration() -> None:
    wrong: Any = {"no_such_field": 1}
    with pytest.raises(TypeError):
        services.GetRequestNext(1, 2).replace(**wrong)
