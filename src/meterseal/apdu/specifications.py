"""Alternatives of the CHOICEs of ACCESS and of the short-name services (acse-xdlms 5.1, 7)."""

from __future__ import annotations

from meterseal.apdu.common import AttributeDescriptor, MethodDescriptor, SelectiveAccess
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.codec.parts import I16, U8, U16, Boolean, OctetString

# --- ACCESS -----------------------------------------------------------------------------------


class AccessGet(Message, tag=b"\x01"):
    """Read one attribute."""

    attribute: AttributeDescriptor


class AccessSet(Message, tag=b"\x02"):
    """Write one attribute."""

    attribute: AttributeDescriptor


class AccessAction(Message, tag=b"\x03"):
    """Invoke one method."""

    method: MethodDescriptor


class AccessGetWithSelection(Message, tag=b"\x04"):
    """Read a part of one attribute."""

    attribute: AttributeDescriptor
    selection: SelectiveAccess


class AccessSetWithSelection(Message, tag=b"\x05"):
    """Write a part of one attribute."""

    attribute: AttributeDescriptor
    selection: SelectiveAccess


AccessSpecification = AccessGet | AccessSet | AccessAction | AccessGetWithSelection | AccessSetWithSelection
"""What one element of an ACCESS request asks for."""


class AccessGetResult(Message, tag=b"\x01"):
    """How a read ended (Data-Access-Result)."""

    result: U8


class AccessSetResult(Message, tag=b"\x02"):
    """How a write ended (Data-Access-Result)."""

    result: U8


class AccessActionResult(Message, tag=b"\x03"):
    """How a call ended (Action-Result)."""

    result: U8


AccessResult = AccessGetResult | AccessSetResult | AccessActionResult
"""How one element of an ACCESS request ended."""

# --- short names --------------------------------------------------------------------------------


class VariableName(Message, tag=b"\x02"):
    """The short name of an attribute or method."""

    variable_name: I16


class ParameterizedAccess(Message, tag=b"\x04"):
    """A short name with a selector and its parameter, or with the parameters of a method."""

    variable_name: I16
    selector: U8
    parameter: Data


class BlockNumberAccess(Message, tag=b"\x05"):
    """Asks for the block after `block_number`, the block received."""

    block_number: U16


class ReadDataBlockAccess(Message, tag=b"\x06"):
    """A block of a long ReadRequest."""

    last_block: Boolean
    block_number: U16
    raw_data: OctetString


class WriteDataBlockAccess(Message, tag=b"\x07"):
    """Says which block of a long WriteRequest the data of the request are."""

    last_block: Boolean
    block_number: U16


VariableAccess = (
    VariableName | ParameterizedAccess | BlockNumberAccess | ReadDataBlockAccess | WriteDataBlockAccess
)
"""Variable-Access-Specification: what one element of a short-name request names."""


class ReadBlock(Message, tag=b"\x02"):
    """A block of a long answer to a ReadRequest."""

    last_block: Boolean
    block_number: U16
    raw_data: OctetString


class ReadBlockTaken(Message, tag=b"\x03"):
    """The block of a long ReadRequest was taken; send the next one."""

    block_number: U16


class WriteSuccess(Message, tag=b"\x00"):
    """The value was written."""


class WriteBlockTaken(Message, tag=b"\x02"):
    """The block of a long WriteRequest was taken; send the next one."""

    block_number: U16
