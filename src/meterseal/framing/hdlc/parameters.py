"""The information field of SNRM and UA: sizes and windows of a link (acse-xdlms 9)."""

from __future__ import annotations

from dataclasses import dataclass

from meterseal.errors import Malformed, Misuse, Truncated
from meterseal.framing.bounds import Octets

MAX_INFORMATION = 2030
MAX_WINDOW = 7

_FORMAT, _GROUP, _USER_DATA = 0x81, 0x80, 0xFF
_FIELDS = {5: "max_transmit", 6: "max_receive", 7: "window_transmit", 8: "window_receive"}
_TOP = {5: MAX_INFORMATION, 6: MAX_INFORMATION, 7: MAX_WINDOW, 8: MAX_WINDOW}
_WIDTHS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Parameters:
    """Octets of information per frame (1..2030) and frames per window (1..7), as their sender sees them."""

    max_transmit: int = 128
    max_receive: int = 128
    window_transmit: int = 1
    window_receive: int = 1

    def __post_init__(self) -> None:
        for number, name in _FIELDS.items():
            if not 1 <= getattr(self, name) <= _TOP[number]:
                raise Misuse(f"HDLC {name} is 1..{_TOP[number]}, not {getattr(self, name)}")

    def encode(self, wide: bool = False) -> bytes:
        """The information field; sizes in one octet where they fit, in two always when `wide`."""
        fields = bytearray()
        for number, name in _FIELDS.items():
            value: int = getattr(self, name)
            width = 4 if number >= 7 else 2 if wide or value > 0xFF else 1
            fields += bytes((number, width)) + value.to_bytes(width, "big")
        return bytes((_FORMAT, _GROUP, len(fields))) + fields

    def answer(self, own: Parameters) -> Parameters:
        """What a server with `own` limits answers to this proposal: the smaller ones, crosswise."""
        return Parameters(
            min(own.max_transmit, self.max_receive),
            min(own.max_receive, self.max_transmit),
            min(own.window_transmit, self.window_receive),
            min(own.window_receive, self.window_transmit),
        )


DEFAULT = Parameters()
ROOMY = Parameters(MAX_INFORMATION, MAX_INFORMATION, MAX_WINDOW, MAX_WINDOW)
"""The largest frames and windows that can be agreed on."""


def decode(information: Octets) -> Parameters:
    """The parameters in an information field; what is left out, as all of them may be, has its default.

    User data behind them (FF, up to the end, as in XID frames of ITU-T V.42) are passed over.
    Malformed for any other parameter, a repeated one, or a value outside its range (a server answers DM).
    """
    octets = bytes(information)
    if not octets:
        return DEFAULT
    if octets[0] != _FORMAT:
        raise Malformed("HDLC parameters begin with 81")
    if len(octets) > 1 and octets[1] == _USER_DATA:
        return DEFAULT
    if len(octets) < 3:
        raise Truncated("HDLC parameters end inside their header")
    if octets[1] != _GROUP:
        raise Malformed(f"HDLC parameters in a group {octets[1]:02X}")
    end = 3 + octets[2]
    if end > len(octets):
        raise Truncated(f"HDLC parameters of {octets[2]} octets, {len(octets) - 3} are there")
    if octets[end : end + 1] not in (b"", bytes((_USER_DATA,))):
        raise Malformed(f"octets behind HDLC parameters of {octets[2]} octets, and no user data")
    found: dict[str, int] = {}
    pos = 3
    while pos < end:
        name, value, pos = _field_at(octets[:end], pos)
        if name in found:
            raise Malformed(f"HDLC parameter {name} twice")
        found[name] = value
    return Parameters(**found)


def _field_at(octets: bytes, pos: int) -> tuple[str, int, int]:
    """Name, value and the position after the field at `pos`."""
    if pos + 2 > len(octets):
        raise Truncated("HDLC parameters end inside a field")
    number, width = octets[pos], octets[pos + 1]
    end = pos + 2 + width
    if number not in _FIELDS:
        raise Malformed(f"HDLC parameter {number}")
    if width not in _WIDTHS:
        raise Malformed(f"HDLC parameter of {width} octets")
    if end > len(octets):
        raise Truncated("HDLC parameters end inside a value")
    value = int.from_bytes(octets[pos + 2 : end], "big")
    if not 1 <= value <= _TOP[number]:
        raise Malformed(f"HDLC {_FIELDS[number]} is 1..{_TOP[number]}, not {value}")
    return _FIELDS[number], value, end
