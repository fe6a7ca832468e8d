"""HDLC frames, format type 3, as DLMS/COSEM uses them (IEC 62056-46; acse-xdlms 9).

`address` and `control` are the two small tables, `frame` the codec of one frame, `reader` finds frames in a
stream of octets, `segments` joins the frames of a long APDU, `parameters` is the information of SNRM and UA.
The link itself (sequence numbers kept, windows, time-outs) is built on these and is not here.
"""

from __future__ import annotations

from .address import ALL_STATION, CLIENT, Address
from .control import Control, Kind
from .frame import (
    COMMAND,
    FLAG,
    MAX_LENGTH,
    RESPONSE,
    Frame,
    checksum,
    decode,
    decode_at,
    encode,
    length_at,
    llc,
    strip_llc,
)
from .parameters import Parameters
from .reader import FrameReader
from .segments import Segments

__all__ = [
    "ALL_STATION",
    "CLIENT",
    "COMMAND",
    "FLAG",
    "MAX_LENGTH",
    "RESPONSE",
    "Address",
    "Control",
    "Frame",
    "FrameReader",
    "Kind",
    "Parameters",
    "Segments",
    "checksum",
    "decode",
    "decode_at",
    "encode",
    "length_at",
    "llc",
    "strip_llc",
]
