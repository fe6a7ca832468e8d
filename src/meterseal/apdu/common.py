"""Pieces that several services share: descriptors, data blocks, results (acse-xdlms 5)."""

from __future__ import annotations

from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.codec.parts import I8, U8, U16, U32, Boolean, Octets6, OctetString

CONFIRMED = 0x40
"""Bit 6 of invoke-id-and-priority: the sender wants an answer."""

SHORT_INVOKE_ID = 0x0F
"""The four bits of invoke-id-and-priority that are the invoke-id."""


class AttributeDescriptor(Message):
    """Cosem-Attribute-Descriptor: class, logical name (6 octets), attribute index."""

    class_id: U16
    instance_id: Octets6
    attribute_id: I8


class MethodDescriptor(Message):
    """Cosem-Method-Descriptor: class, logical name (6 octets), method index."""

    class_id: U16
    instance_id: Octets6
    method_id: I8


class SelectiveAccess(Message):
    """Selective-Access-Descriptor: selector and its parameters."""

    access_selector: U8
    access_parameters: Data


class AttributeWithSelection(Message):
    """Cosem-Attribute-Descriptor-With-Selection."""

    attribute: AttributeDescriptor
    selection: SelectiveAccess | None


class DataBlock(Message):
    """DataBlock-SA: a piece of a long parameter; block numbers start at 1."""

    last_block: Boolean
    block_number: U32
    raw_data: OctetString


class ResultData(Message, tag=b"\x00"):
    """The data alternative of a result."""

    data: Data


class ResultCode(Message, tag=b"\x01"):
    """The Data-Access-Result alternative of a result."""

    code: U8


class RawBlock(Message, tag=b"\x00"):
    """The raw-data alternative of a GET data block."""

    octets: OctetString


GetDataResult = ResultData | ResultCode

DATA_ACCESS_RESULT = {
    0: "success",
    1: "hardware-fault",
    2: "temporary-failure",
    3: "read-write-denied",
    4: "object-undefined",
    9: "object-class-inconsistent",
    0x0B: "object-unavailable",
    0x0C: "type-unmatched",
    0x0D: "scope-of-access-violated",
    0x0E: "data-block-unavailable",
    0x0F: "long-get-aborted",
    0x10: "no-long-get-in-progress",
    0x11: "long-set-aborted",
    0x12: "no-long-set-in-progress",
    0x13: "data-block-number-invalid",
    0xFA: "other-reason",
}
ACTION_RESULT = {
    code: name.replace("get", "action")
    for code, name in DATA_ACCESS_RESULT.items()
    if not 0x11 <= code <= 0x13
}
