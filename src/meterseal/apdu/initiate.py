"""InitiateRequest, InitiateResponse, ConfirmedServiceError, exception-response (acse-xdlms 3, 4)."""

from __future__ import annotations

from typing import Annotated

from meterseal.codec.message import Message
from meterseal.codec.parts import I8, U8, U16, U32, Boolean, Call, Default, Fixed, Hidden, OctetString
from meterseal.errors import Malformed, Misuse, Truncated

DLMS_VERSION = 6
LN_VAA_NAME = 0x0007


_CONFORMANCE = b"\x5f\x1f\x04\x00"
"""Tag, length and unused bits of a conformance block."""


def _read_conformance(b: bytes, p: int, e: int) -> tuple[int, int]:
    if e - p >= 7 and b[p : p + 4] == _CONFORMANCE:
        return int.from_bytes(b[p + 4 : p + 7], "big"), p + 7
    if b[p] != 0x5F:
        raise Malformed("conformance: no tag 5F 1F")
    # The tag is written 5F 1F; some stacks leave out the 1F.
    p += 2 if b[p + 1] == 0x1F else 1
    if e - p < 5:
        raise Truncated("conformance: cut")
    if b[p] != 4 or b[p + 1] != 0:
        raise Malformed("conformance: not a bit string of 24 bits")
    return int.from_bytes(b[p + 2 : p + 5], "big"), p + 5


def _write_conformance(value: int) -> bytes:
    if not 0 <= value < 1 << 24:
        raise Misuse(f"conformance {value:X} is not a block of 24 bits")
    return _CONFORMANCE + value.to_bytes(3, "big")


Conformance = Annotated[int, Call(_read_conformance, _write_conformance, 6)]

CONFORMANCE_BITS = {
    name: 1 << (23 - bit)
    for name, bit in {
        "general-protection": 1,
        "general-block-transfer": 2,
        "read": 3,
        "write": 4,
        "unconfirmed-write": 5,
        "delta-value-encoding": 6,
        "attribute0-supported-with-set": 8,
        "priority-mgmt-supported": 9,
        "attribute0-supported-with-get": 10,
        "block-transfer-with-get-or-read": 11,
        "block-transfer-with-set-or-write": 12,
        "block-transfer-with-action": 13,
        "multiple-references": 14,
        "information-report": 15,
        "data-notification": 16,
        "access": 17,
        "parameterized-access": 18,
        "get": 19,
        "set": 20,
        "selective-access": 21,
        "event-notification": 22,
        "action": 23,
    }.items()
}
"""Bit masks of the 24-bit conformance block by name; bit 0 is the most significant."""


class InitiateRequest(Message, tag=b"\x01"):
    """xDLMS-Initiate.request; sizes in octets, 0 = no limit."""

    dedicated_key: Annotated[OctetString | None, Hidden()]
    response_allowed: Annotated[Boolean, Default(True)]
    proposed_quality_of_service: I8 | None
    proposed_dlms_version_number: U8
    proposed_conformance: Conformance
    client_max_receive_pdu_size: U16


class InitiateResponse(Message, tag=b"\x08"):
    """xDLMS-Initiate.response; vaa_name 0007 with logical names."""

    negotiated_quality_of_service: I8 | None
    negotiated_dlms_version_number: U8
    negotiated_conformance: Conformance
    server_max_receive_pdu_size: U16
    vaa_name: Annotated[int, Fixed("H")]


class ConfirmedServiceError(Message, tag=b"\x0e"):
    """confirmedServiceError: service (1 initiate, 5 read, 6 write), error class, value."""

    service: U8
    error_class: U8
    value: U8


INITIATE_ERROR = {
    0: "other",
    1: "dlms-version-too-low",
    2: "incompatible-conformance",
    3: "pdu-size-too-short",
    4: "refused-by-the-VDE-handler",
}


class ExceptionResponse(Message, tag=b"\xd8"):
    """exception-response without a counter."""

    state_error: U8
    service_error: U8


class CounterErrorResponse(Message, tag=b"\xd8", name="exception-response"):
    """exception-response with service-error 6 and the lowest acceptable invocation counter."""

    state_error: U8
    service_error: U8
    lowest_acceptable: U32


STATE_ERROR = {1: "service-not-allowed", 2: "service-unknown"}
SERVICE_ERROR = {
    1: "operation-not-possible",
    2: "service-not-supported",
    3: "other-reason",
    4: "pdu-too-long",
    5: "deciphering-error",
    6: "invocation-counter-error",
}
