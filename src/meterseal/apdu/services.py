"""GET, SET, ACTION in normal, next, with-list and block forms; notifications (acse-xdlms 5)."""

from __future__ import annotations

from meterseal.apdu.common import (
    AttributeDescriptor,
    AttributeWithSelection,
    DataBlock,
    GetDataResult,
    MethodDescriptor,
    RawBlock,
    ResultCode,
    SelectiveAccess,
)
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.codec.parts import U8, U32, Boolean, OctetString

# --- GET ------------------------------------------------------------------------------------


class GetRequestNormal(Message, tag=b"\xc0\x01"):
    """Read one attribute."""

    invoke_id_and_priority: U8
    attribute: AttributeDescriptor
    selection: SelectiveAccess | None


class GetRequestNext(Message, tag=b"\xc0\x02"):
    """Ask for the block after `block_number`, the block received."""

    invoke_id_and_priority: U8
    block_number: U32


class GetRequestWithList(Message, tag=b"\xc0\x03"):
    """Read several attributes."""

    invoke_id_and_priority: U8
    attributes: tuple[AttributeWithSelection, ...]


class GetResponseNormal(Message, tag=b"\xc4\x01"):
    """The value of one attribute, or why not."""

    invoke_id_and_priority: U8
    result: GetDataResult


class GetResponseWithDatablock(Message, tag=b"\xc4\x02"):
    """A block of a long answer, or the code that ends it."""

    invoke_id_and_priority: U8
    last_block: Boolean
    block_number: U32
    result: RawBlock | ResultCode


class GetResponseWithList(Message, tag=b"\xc4\x03"):
    """One result per attribute asked for."""

    invoke_id_and_priority: U8
    results: tuple[GetDataResult, ...]


# --- SET ------------------------------------------------------------------------------------


class SetRequestNormal(Message, tag=b"\xc1\x01"):
    """Write one attribute."""

    invoke_id_and_priority: U8
    attribute: AttributeDescriptor
    selection: SelectiveAccess | None
    data: Data


class SetRequestWithFirstDatablock(Message, tag=b"\xc1\x02"):
    """First block of a long value."""

    invoke_id_and_priority: U8
    attribute: AttributeDescriptor
    selection: SelectiveAccess | None
    block: DataBlock


class SetRequestWithDatablock(Message, tag=b"\xc1\x03"):
    """A further block of a long value."""

    invoke_id_and_priority: U8
    block: DataBlock


class SetRequestWithList(Message, tag=b"\xc1\x04"):
    """Write several attributes; both lists have the same length."""

    invoke_id_and_priority: U8
    attributes: tuple[AttributeWithSelection, ...]
    values: tuple[Data, ...]


class SetRequestWithListAndFirstDatablock(Message, tag=b"\xc1\x05"):
    """First block of the long list of values."""

    invoke_id_and_priority: U8
    attributes: tuple[AttributeWithSelection, ...]
    block: DataBlock


class SetResponseNormal(Message, tag=b"\xc5\x01"):
    """Outcome of a write (Data-Access-Result)."""

    invoke_id_and_priority: U8
    result: U8


class SetResponseDatablock(Message, tag=b"\xc5\x02"):
    """The block was taken; send the next one."""

    invoke_id_and_priority: U8
    block_number: U32


class SetResponseLastDatablock(Message, tag=b"\xc5\x03"):
    """Outcome of a long write."""

    invoke_id_and_priority: U8
    result: U8
    block_number: U32


class SetResponseLastDatablockWithList(Message, tag=b"\xc5\x04"):
    """Outcomes of a long write of several attributes."""

    invoke_id_and_priority: U8
    results: tuple[U8, ...]
    block_number: U32


class SetResponseWithList(Message, tag=b"\xc5\x05"):
    """One outcome per attribute."""

    invoke_id_and_priority: U8
    results: tuple[U8, ...]


# --- ACTION ---------------------------------------------------------------------------------


class ActionRequestNormal(Message, tag=b"\xc3\x01"):
    """Invoke one method."""

    invoke_id_and_priority: U8
    method: MethodDescriptor
    parameters: Data | None


class ActionRequestNextPblock(Message, tag=b"\xc3\x02"):
    """Ask for the block after `block_number`."""

    invoke_id_and_priority: U8
    block_number: U32


class ActionRequestWithList(Message, tag=b"\xc3\x03"):
    """Invoke several methods; one parameter each, null-data where there is none."""

    invoke_id_and_priority: U8
    methods: tuple[MethodDescriptor, ...]
    parameters: tuple[Data, ...]


class ActionRequestWithFirstPblock(Message, tag=b"\xc3\x04"):
    """First block of long parameters."""

    invoke_id_and_priority: U8
    method: MethodDescriptor
    block: DataBlock


class ActionRequestWithListAndFirstPblock(Message, tag=b"\xc3\x05"):
    """First block of the long parameters of several methods."""

    invoke_id_and_priority: U8
    methods: tuple[MethodDescriptor, ...]
    block: DataBlock


class ActionRequestWithPblock(Message, tag=b"\xc3\x06"):
    """A further block of long parameters."""

    invoke_id_and_priority: U8
    block: DataBlock


class ActionResult(Message):
    """Action-Response-With-Optional-Data: Action-Result, and what the method returns."""

    result: U8
    returned: GetDataResult | None


class ActionResponseNormal(Message, tag=b"\xc7\x01"):
    """Outcome of one method."""

    invoke_id_and_priority: U8
    outcome: ActionResult


class ActionResponseWithPblock(Message, tag=b"\xc7\x02"):
    """A block of a long outcome."""

    invoke_id_and_priority: U8
    block: DataBlock


class ActionResponseWithList(Message, tag=b"\xc7\x03"):
    """One outcome per method."""

    invoke_id_and_priority: U8
    outcomes: tuple[ActionResult, ...]


class ActionResponseNextPblock(Message, tag=b"\xc7\x04"):
    """The block was taken; send the next one."""

    invoke_id_and_priority: U8
    block_number: U32


# --- notifications --------------------------------------------------------------------------


class DataNotification(Message, tag=b"\x0f"):
    """A push; `date_time` is empty or 12 octets."""

    long_invoke_id_and_priority: U32
    date_time: OctetString
    notification_body: Data


def without_time_tag(octets: bytes) -> bytes:
    """A DataNotification whose date-time has the tag of an octet-string in front (more 9), without it.

    What has none, and any other APDU, as it is.
    """
    if octets[:1] == DataNotification.tag and octets[5:7] == b"\x09\x0c":
        return octets[:5] + octets[6:]
    return octets


class DataNotificationConfirm(Message, tag=b"\x10"):
    """The push with this long invoke-id has arrived; `date_time` is empty or 12 octets (more 9)."""

    long_invoke_id_and_priority: U32
    date_time: OctetString


class EventNotificationRequest(Message, tag=b"\xc2"):
    """An attribute's value that the server tells unasked; `time` 12 octets where it is present."""

    time: OctetString | None
    attribute: AttributeDescriptor
    value: Data
