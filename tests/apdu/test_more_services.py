"""ACCESS, events, push confirmations and short names: each layout of the sheet, octet for octet."""

from __future__ import annotations

import pytest

from meterseal import apdu
from meterseal.apdu import specifications as spec
from meterseal.apdu.access import AccessRequest, AccessResponse
from meterseal.apdu.common import (
    AttributeDescriptor,
    MethodDescriptor,
    ResultCode,
    ResultData,
    SelectiveAccess,
)
from meterseal.apdu.services import (
    DataNotification,
    DataNotificationConfirm,
    EventNotificationRequest,
    without_time_tag,
)
from meterseal.apdu.short_names import (
    InformationReportRequest,
    ReadRequest,
    ReadResponse,
    UnconfirmedWriteRequest,
    WriteRequest,
    WriteResponse,
)
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.errors import DecodeError, Truncated

NULL, FIVE = Data.decode(b"\x00"), Data.decode(b"\x11\x05")
CLOCK = AttributeDescriptor(8, bytes.fromhex("0000010000FF"), 2)
BREAKER = MethodDescriptor(70, bytes.fromhex("000060030AFF"), 1)
ENTRIES = SelectiveAccess(2, FIVE)

LAYOUTS: list[tuple[str, Message]] = [
    (
        "D9 40000001 00"
        "05 01 0008 0000010000FF 02  02 0008 0000010000FF 02  03 0046 000060030AFF 01"
        "   04 0008 0000010000FF 02 02 1105  05 0008 0000010000FF 02 02 1105"
        "05 00 1105 00 00 1105",
        AccessRequest(
            0x40000001,
            b"",
            (
                spec.AccessGet(CLOCK),
                spec.AccessSet(CLOCK),
                spec.AccessAction(BREAKER),
                spec.AccessGetWithSelection(CLOCK, ENTRIES),
                spec.AccessSetWithSelection(CLOCK, ENTRIES),
            ),
            (NULL, FIVE, NULL, NULL, FIVE),
        ),
    ),
    (
        "DA 40000001 0C 07E6021501111E1E00000000 00 03 1105 00 00 03 01 00 02 03 03 FA",
        AccessResponse(
            0x40000001,
            bytes.fromhex("07E6021501111E1E00000000"),
            None,
            (FIVE, NULL, NULL),
            (spec.AccessGetResult(0), spec.AccessSetResult(3), spec.AccessActionResult(0xFA)),
        ),
    ),
    (
        "DA 50000001 00 01 01 01 0008 0000010000FF 02 01 1105 01 01 00",
        AccessResponse(0x50000001, b"", (spec.AccessGet(CLOCK),), (FIVE,), (spec.AccessGetResult(0),)),
    ),
    ("C2 00 0008 0000010000FF 02 1105", EventNotificationRequest(None, CLOCK, FIVE)),
    (
        "C2 01 0C 07E6021501111E1E00000000 0008 0000010000FF 02 1105",
        EventNotificationRequest(bytes.fromhex("07E6021501111E1E00000000"), CLOCK, FIVE),
    ),
    ("10 01020304 00", DataNotificationConfirm(0x01020304, b"")),
    (
        "05 04 02 FA00 04 0100 02 1105 05 0003 06 01 0001 02 AABB",
        ReadRequest(
            (
                spec.VariableName(-0x600),
                spec.ParameterizedAccess(0x100, 2, FIVE),
                spec.BlockNumberAccess(3),
                spec.ReadDataBlockAccess(True, 1, b"\xaa\xbb"),
            )
        ),
    ),
    (
        "0C 04 00 1105 01 03 02 00 0001 02 AABB 03 0004",
        ReadResponse(
            (
                ResultData(FIVE),
                ResultCode(3),
                spec.ReadBlock(False, 1, b"\xaa\xbb"),
                spec.ReadBlockTaken(4),
            )
        ),
    ),
    (
        "06 02 02 0100 07 00 0002 02 1105 00",
        WriteRequest((spec.VariableName(0x100), spec.WriteDataBlockAccess(False, 2)), (FIVE, NULL)),
    ),
    ("16 01 02 0100 01 1105", UnconfirmedWriteRequest((spec.VariableName(0x100),), (FIVE,))),
    (
        "0D 03 00 01 0C 02 0002",
        WriteResponse((spec.WriteSuccess(), ResultCode(0x0C), spec.WriteBlockTaken(2))),
    ),
    ("18 00 01 02 0100 01 1105", InformationReportRequest(None, (spec.VariableName(0x100),), (FIVE,))),
    (
        "18 01 02 3232 01 02 0100 01 1105",
        InformationReportRequest(b"22", (spec.VariableName(0x100),), (FIVE,)),
    ),
]


@pytest.mark.parametrize(("octets", "message"), LAYOUTS, ids=[m.name for _, m in LAYOUTS])
def test_layout(octets: str, message: Message) -> None:
    raw = bytes.fromhex(octets)
    assert apdu.decode(raw) == message
    assert message.encode() == raw
    assert apdu.name(raw) == message.name


@pytest.mark.parametrize(("octets", "message"), LAYOUTS, ids=[m.name for _, m in LAYOUTS])
def test_layout_cut_short_or_followed_by_more(octets: str, message: Message) -> None:
    raw = bytes.fromhex(octets)
    for end in range(2, len(raw)):
        with pytest.raises(Truncated):
            apdu.decode(raw[:end])
    with pytest.raises(DecodeError):
        apdu.decode(raw + b"\0")


@pytest.mark.parametrize(
    "octets",
    [
        "D9 40000001 00 01 06 0008 0000010000FF 02 01 00",  # no such specification
        "DA 40000001 00 02 00 00",  # presence octet
        "DA 40000001 00 00 01 00 01 04 00",  # no such result
        "05 01 03 FA00",
        "0C 01 04 00",
        "0D 01 03 0000",
        "C2 09 0C 07E6021501111E1E00000000 0008 0000010000FF 02 1105",
    ],
)
def test_unknown_alternatives(octets: str) -> None:
    with pytest.raises(DecodeError):
        apdu.decode(bytes.fromhex(octets))


def test_counts_are_held_against_the_octets_that_are_there() -> None:
    for head in ("D9 40000001 00", "DA 40000001 00 00", "05", "06", "0C", "0D", "16", "18 00"):
        with pytest.raises(Truncated):
            apdu.decode(bytes.fromhex(head + "847FFFFFFF") + bytes(8))


def test_a_push_whose_time_has_a_tag_in_front_is_read_without_it() -> None:
    time = bytes.fromhex("07E90B19020A0000000000FF")
    message = DataNotification(0x40000001, time, FIVE)
    octets = message.encode()
    tagged = octets[:5] + b"\x09" + octets[5:]
    with pytest.raises(DecodeError):
        apdu.decode(tagged)
    assert apdu.decode(without_time_tag(tagged)) == message
    for other in (octets, b"", b"\xc1" + tagged[1:], DataNotification(1, b"", FIVE).encode()):
        assert without_time_tag(other) == other
