"""The HDLC control field: all 256 values as a table (acse-xdlms 9)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from meterseal.errors import Misuse


class Kind(Enum):
    """What a frame is for; the value is the name in the standard."""

    I = "I"  # noqa: E741 - the standard's own name
    RR = "RR"
    RNR = "RNR"
    SNRM = "SNRM"
    DISC = "DISC"
    UA = "UA"
    DM = "DM"
    FRMR = "FRMR"
    UI = "UI"


_POLL = 0x10
_SUPERVISORY = {Kind.RR: 0x01, Kind.RNR: 0x05}
_UNNUMBERED = {
    Kind.SNRM: 0x83,
    Kind.DISC: 0x43,
    Kind.UA: 0x63,
    Kind.DM: 0x0F,
    Kind.FRMR: 0x87,
    Kind.UI: 0x03,
}


@dataclass(frozen=True, slots=True)
class Control:
    """`poll` is the P/F bit; `send` N(S) in I frames, `receive` N(R) in I, RR and RNR frames, else None."""

    kind: Kind
    poll: bool = False
    send: int | None = None
    receive: int | None = None

    def encode(self) -> int:
        """The octet on the line. Misuse when the sequence numbers do not belong to the kind."""
        octet = _OCTETS.get(self)
        if octet is None:
            raise Misuse(f"{self.kind.value} frame with N(S) {self.send} and N(R) {self.receive}")
        return octet


def _all_controls() -> dict[int, Control]:
    table = {}
    for poll in (False, True):
        final = _POLL if poll else 0
        for kind, base in _UNNUMBERED.items():
            table[base | final] = Control(kind, poll)
        for receive in range(8):
            for kind, base in _SUPERVISORY.items():
                table[receive << 5 | final | base] = Control(kind, poll, None, receive)
            for send in range(8):
                table[receive << 5 | final | send << 1] = Control(Kind.I, poll, send, receive)
    return table


_BY_OCTET = _all_controls()
_OCTETS = {control: octet for octet, control in _BY_OCTET.items()}

CONTROLS: tuple[Control | None, ...] = tuple(_BY_OCTET.get(octet) for octet in range(256))
"""The meaning of each control octet; None for values that DLMS/COSEM does not use (a server answers FRMR)."""
