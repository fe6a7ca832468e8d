"""Where a capture that begins in the middle of a frame may be picked up."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from meterseal.errors import DecodeError
from meterseal.framing import hdlc, mbus, p1

WINDOW: Final = 1 << 15
"""Octets in which a whole frame must begin: twice the longest telegram."""

_MARKS: Final = re.compile(
    rb"\x7e(?=[\xa0-\xaf])|\x68(?=..\x68)|\xdb\x08(?=.{8}[\x11-\x7f\x81-\x84])|/(?=[A-Za-z])", re.DOTALL
)
_TELEGRAM: Final = b"\xdb\x08"
_MARKS_TRIED: Final = 256
_FRAMES_TRIED: Final = 16
"""What has more of these without an APDU behind any is no capture."""


def frames_within(octets: bytes, length_modulo_256: bool = False) -> list[int]:
    """Positions after 0 where a frame or telegram is whole, likeliest first: those with check sums, in order.

    Forms that anything could pass for (wrapper headers, one-octet frames) do not count, ciphered telegrams
    only where another one or the end follows.
    """
    marks = islice(_MARKS.finditer(octets, 1, WINDOW), _MARKS_TRIED)
    whole = [mark.start() for mark in marks if _is_whole(octets, mark.start(), length_modulo_256)]
    return sorted(whole, key=lambda pos: octets[pos] == _TELEGRAM[0])[:_FRAMES_TRIED]


def _is_whole(octets: bytes, pos: int, length_modulo_256: bool) -> bool:
    first = octets[pos]
    try:
        if first == hdlc.FLAG:
            hdlc.decode_at(octets, pos)
        elif first == mbus.LONG:
            mbus.decode_at(octets, pos, length_modulo_256)
        elif first == ord("/"):
            return p1.decode_at(octets, pos)[0].checked
        else:
            end = pos + p1.ciphered_length(octets, pos)
            return end == len(octets) or octets.startswith(_TELEGRAM, end)
    except DecodeError:
        return False
    return True
