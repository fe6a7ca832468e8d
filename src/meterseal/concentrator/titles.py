"""Titles as they stand in front of messages: whose an APDU says it is.  Nothing here is verified.

A concentrator holds no meter key, so what it sees proves nothing to it; but a meter that was exchanged shows
another title, and that is told instead of being passed on (E10).
"""

from __future__ import annotations

from typing import Final

from meterseal import apdu
from meterseal.apdu import ciphered
from meterseal.apdu.acse import Aare
from meterseal.errors import DecodeError, Unsupported
from meterseal.framing import gbt

TITLE: Final = 8

_GENERAL: Final = (0xDB, 0xDC)
_LAYERED: Final = (0xDD, 0xDF)
_TITLED: Final = (*_GENERAL, *_LAYERED)


def originator(octets: bytes) -> bytes | None:
    """The system title that the sender of an APDU gives; None where it gives none, or none of 8 octets."""
    octets = _joined(octets)
    if octets[:1] == Aare.tag:
        return _responding(octets)
    return _field(octets, 1 if octets[:1] and octets[0] in _LAYERED else 0)


def recipient(octets: bytes) -> bytes | None:
    """The title that an APDU with layers of its own names as its recipient."""
    octets = _joined(octets)
    return _field(octets, 2) if octets[:1] and octets[0] in _LAYERED else None


def accepted(octets: bytes) -> bool:
    """Is this an AARE that accepts, or goes on with the sign-on?"""
    if octets[:1] != Aare.tag:
        return False
    try:
        message = apdu.decode(octets)
    except (DecodeError, Unsupported):
        return False
    return isinstance(message, Aare) and message.result == 0


def sealed(octets: bytes) -> bool:
    """Is it ciphered?  A meter answers so only to who has proved to hold its keys."""
    return bool(octets) and (octets[0] in ciphered.FORMS or octets[0] in _LAYERED)


def _joined(octets: bytes) -> bytes:
    """What the first block of a transfer begins with, else the APDU itself; of later blocks nothing."""
    if octets[:1] != bytes((gbt.TAG,)):
        return octets
    try:
        block = gbt.decode(octets)
    except DecodeError:
        return b""
    return block.data if block.number == 1 else b""


def _responding(octets: bytes) -> bytes | None:
    try:
        message = apdu.decode(octets)
    except (DecodeError, Unsupported):
        return None
    title = message.responding_ap_title if isinstance(message, Aare) else None
    return title if title is not None and len(title) == TITLE else None


def _field(octets: bytes, number: int) -> bytes | None:
    """The octet-string at this place behind the tag of an APDU whose header begins with titles."""
    if not octets or octets[0] not in _TITLED:
        return None
    position = 1
    for _ in range(number):
        if position >= len(octets) or octets[position] > 0x7F:
            return None  # no transaction-id of a standard is as long
        position += 1 + octets[position]
    found = octets[position + 1 : position + 1 + TITLE]
    return found if octets[position : position + 1] == b"\x08" and len(found) == TITLE else None


def streams(octets: bytes) -> bool:
    """Is it a block with more of the same window behind it?"""
    return len(octets) > 1 and octets[0] == gbt.TAG and bool(octets[1] & 0x40)
