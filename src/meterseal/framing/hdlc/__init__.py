"""HDLC frames, format type 3, as DLMS/COSEM uses them (IEC 62056-46; acse-xdlms 9).

`address` and `control` are the two small tables, `frame` the codec of one frame, `reader` finds frames in a
stream of octets, `segments` joins the frames of a long APDU, `parameters` is the information of SNRM and UA.
`states` is the table of a link, `link` one link at either end; `primary` and `secondary` are the two kinds of
`station`: who asks on a line and who answers, each with any number of links.
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
from .link import Down, Event, Link, Received, Up
from .parameters import Parameters
from .primary import Primary, on_device
from .reader import FrameReader
from .secondary import Secondary
from .segments import Segments
from .states import Role, State
from .station import Station, Timing

__all__ = [
    "ALL_STATION",
    "CLIENT",
    "COMMAND",
    "FLAG",
    "MAX_LENGTH",
    "RESPONSE",
    "Address",
    "Control",
    "Down",
    "Event",
    "Frame",
    "FrameReader",
    "Kind",
    "Link",
    "Parameters",
    "Primary",
    "Received",
    "Role",
    "Secondary",
    "Segments",
    "State",
    "Station",
    "Timing",
    "Up",
    "checksum",
    "decode",
    "decode_at",
    "encode",
    "length_at",
    "llc",
    "on_device",
    "strip_llc",
]
