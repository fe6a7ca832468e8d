"""One HDLC frame (acse-xdlms 9).

`7E | format | destination | source | control | [HCS] | [information | FCS] | 7E`

Format type 3 carries the length, so the octets between the flags are sent as they are, without escapes.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple

from meterseal.errors import Malformed, Misuse, TooLarge, Truncated
from meterseal.framing.bounds import Octets

from . import address as addresses
from .address import Address
from .control import CONTROLS, Control

FLAG = 0x7E
MAX_LENGTH = 0x7FF
"""Octets between the flags that the format field can announce."""

COMMAND = b"\xe6\xe6\x00"
RESPONSE = b"\xe6\xe7\x00"
"""LLC in front of an APDU: towards the server, and from it."""

_TYPE = 0xA0  # format type 3 in the upper four bits
_SEGMENTED = 0x08
CHECK = 2  # octets of HCS and FCS
_SHORTEST = 2 + 1 + 1 + 1 + CHECK

# CRC-16/X.25 takes octets lowest bit first, `crc_hqx` highest bit first, same polynomial: mirrored octets in,
# mirrored sum out. Over octets followed by their own check sum the register ends in a constant.
_MIRROR = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
_INITIAL = 0xFFFF
_RESIDUE = 0x1D0F


class Frame(NamedTuple):
    """One frame. `control` is the octet; `Frame.meaning` its entry in the control table.

    `segmented` is the S bit: the information goes on in the next frame. `information` is empty or what stands
    between HCS and FCS, LLC octets included.
    """

    destination: Address
    source: Address
    control: int
    information: bytes = b""
    segmented: bool = False

    @property
    def meaning(self) -> Control | None:
        """Kind, P/F and sequence numbers; None when DLMS/COSEM does not use this control octet."""
        return CONTROLS[self.control]


def checksum(octets: Octets) -> bytes:
    """CRC-16/X.25 of `octets` as the two octets on the line, low octet first (HCS, FCS)."""
    return _as_sent(binascii.crc_hqx(bytes(octets).translate(_MIRROR), _INITIAL))


def _as_sent(mirrored: int) -> bytes:
    return bytes((_MIRROR[mirrored >> 8] ^ 0xFF, _MIRROR[mirrored & 0xFF] ^ 0xFF))


def encode(frame: Frame) -> bytes:
    """The frame with a flag on both sides. TooLarge above 2047 octets between them."""
    destination, source, control, information, segmented = frame
    if not 0 <= control <= 0xFF:
        raise Misuse(f"a control field is one octet, not {control}")
    rest = destination.encode() + source.encode() + bytes((control,))
    length = 2 + len(rest) + CHECK + (len(information) + CHECK if information else 0)
    if length > MAX_LENGTH:
        raise TooLarge(f"an HDLC frame of {length} octets, at most {MAX_LENGTH} can be announced")
    first = _TYPE | _SEGMENTED if segmented else _TYPE
    header = bytes((first | length >> 8, length & 0xFF)) + rest
    state = binascii.crc_hqx(header.translate(_MIRROR), _INITIAL)
    head = header + _as_sent(state)
    if not information:
        return b"\x7e" + head + b"\x7e"
    state = binascii.crc_hqx(information.translate(_MIRROR), _RESIDUE)
    return b"".join((b"\x7e", head, information, _as_sent(state), b"\x7e"))


def decode(octets: Octets) -> Frame:
    """The one frame that `octets` are, whole, with or without flags around it.

    Truncated, Malformed: which check failed is in the text.
    """
    octets = bytes(octets)
    if octets[:1] == b"\x7e":
        frame, end = decode_at(octets, 0)
    else:
        end = length_at(octets, 0)
        if end > len(octets):
            raise Truncated(f"HDLC frame of {end} octets, {len(octets)} are there")
        frame = _parse(octets[:end])
    if end != len(octets):
        raise Malformed(f"{len(octets) - end} octets after the HDLC frame")
    return frame


def decode_at(octets: Octets, pos: int) -> tuple[Frame, int]:
    """The frame whose opening flag is at `pos`, and the position after its closing flag.

    Doubled opening flags are skipped. The closing flag may be the opening one of the next frame: then go on
    from one octet earlier.
    """
    end = len(octets)
    if pos >= end or octets[pos] != FLAG:
        raise Malformed("an HDLC frame begins with 7E")
    while pos < end and octets[pos] == FLAG:
        pos += 1
    after = pos + length_at(octets, pos)
    if after >= end:
        raise Truncated(f"HDLC frame of {after - pos} octets and a flag, {end - pos} are there")
    if octets[after] != FLAG:
        raise Malformed(f"no 7E after the {after - pos} octets that the HDLC frame announces")
    return _parse(bytes(octets[pos:after])), after + 1


def length_at(octets: Octets, pos: int) -> int:
    """Octets between the flags, from the format field at `pos`. Truncated, Malformed."""
    if pos + 2 > len(octets):
        raise Truncated("HDLC frame ends inside its format field")
    if octets[pos] & 0xF0 != _TYPE:
        raise Malformed(f"HDLC format type {octets[pos] >> 4:X}, not A")
    length = (octets[pos] & 7) << 8 | octets[pos + 1]
    if length < _SHORTEST:
        raise Malformed(f"HDLC frame of {length} octets, the shortest has {_SHORTEST}")
    return length


def addresses_at(octets: Octets, pos: int, end: int) -> tuple[int, int]:
    """Where the two addresses of the frame whose format field is at `pos` end. Truncated, Malformed.

    The second position is that of the control field, which is there.
    """
    middle = pos + 2 + addresses.length_at(octets, pos + 2, end)
    control = middle + addresses.length_at(octets, middle, end)
    if control >= end:
        raise Truncated("HDLC frame ends before its control field")
    return middle, control


def check_holds(octets: Octets) -> bool:
    """Do the last two octets check those before them?"""
    return binascii.crc_hqx(bytes(octets).translate(_MIRROR), _INITIAL) == _RESIDUE


def _parse(octets: bytes) -> Frame:
    """The frame in exactly the octets between two flags."""
    length = len(octets)
    middle, control = addresses_at(octets, 0, length - CHECK)
    body = control + 1 + CHECK
    if body < length <= body + CHECK:
        raise Malformed("HDLC frame has no room for information and FCS")
    mirrored = octets.translate(_MIRROR)
    if binascii.crc_hqx(mirrored[:body], _INITIAL) != _RESIDUE:
        raise Malformed(f"{'HCS' if body < length else 'FCS'} of the HDLC frame is wrong")
    if body < length and binascii.crc_hqx(mirrored[body:], _RESIDUE) != _RESIDUE:
        raise Malformed("FCS of the HDLC frame is wrong")
    return Frame(
        addresses.decode(octets[2:middle]),
        addresses.decode(octets[middle:control]),
        octets[control],
        octets[body:-CHECK] if body < length else b"",
        bool(octets[0] & _SEGMENTED),
    )


def llc(information: bytes) -> str | None:
    """`command`, `response` or None: which LLC octets the information begins with."""
    return {COMMAND: "command", RESPONSE: "response"}.get(information[:3])


def strip_llc(information: bytes) -> bytes:
    """The information without LLC octets, where there are any (first segment only)."""
    return information[3:] if llc(information) else information
