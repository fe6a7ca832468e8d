"""Services with short names: Read, Write, UnconfirmedWrite, InformationReport (acse-xdlms 7).

Decoded and encoded; associations with short names are not served.
"""

from __future__ import annotations

from meterseal.apdu.common import ResultCode, ResultData
from meterseal.apdu.specifications import (
    ReadBlock,
    ReadBlockTaken,
    VariableAccess,
    WriteBlockTaken,
    WriteSuccess,
)
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.codec.parts import OctetString


class ReadRequest(Message, tag=b"\x05"):
    """Read, or invoke methods that return something."""

    variables: tuple[VariableAccess, ...]


class ReadResponse(Message, tag=b"\x0c"):
    """One result per variable, or a block of a long answer."""

    results: tuple[ResultData | ResultCode | ReadBlock | ReadBlockTaken, ...]


class WriteRequest(Message, tag=b"\x06"):
    """Write; one value per variable."""

    variables: tuple[VariableAccess, ...]
    values: tuple[Data, ...]


class WriteResponse(Message, tag=b"\x0d"):
    """One outcome per variable, or that a block was taken."""

    results: tuple[WriteSuccess | ResultCode | WriteBlockTaken, ...]


class UnconfirmedWriteRequest(Message, tag=b"\x16"):
    """Write without an answer."""

    variables: tuple[VariableAccess, ...]
    values: tuple[Data, ...]


class InformationReportRequest(Message, tag=b"\x18"):
    """What a server tells unasked; `current_time` is text or date-time octets, by agreement."""

    current_time: OctetString | None
    variables: tuple[VariableAccess, ...]
    values: tuple[Data, ...]
