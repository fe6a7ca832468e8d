"""M-Bus frames that carry DLMS APDUs, and the joining of their segments (EN 13757-1; more 4.1).

`68 L L 68 | C A CI STSAP DTSAP data | CS 16`, where L counts from C to the end of the data and CS is their
sum. Short frames (`10 C A CS 16`) and single ones (`E5`) may stand between.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from meterseal.errors import DecodeError, Malformed, Misuse, TooLarge, Truncated

from .bounds import Octets
from .incoming import Frames

LONG = 0x68
SHORT = 0x10
SINGLE = 0xE5
_STOP = 0x16
_FINAL = 0x10
_NUMBER = 0x0F
_LAST_TRANSPORT_CI = 0x1F

_STARTS = re.compile(rb"[\x68\x10\xe5]")

SEND_USER_DATA = 0x53
BROADCAST = 0xFF
MAX_DATA = 250
"""Octets of an APDU in one frame."""

MAX_APDU = 16 * MAX_DATA
"""Octets of an APDU in the 16 segments that CI can number."""


class Frame(NamedTuple):
    """One frame; `information` is the CI octet and None in short and single frames, whose `data` is empty.

    `source` and `destination` are STSAP and DTSAP; None when CI is not one of the DLMS transport (00..1F).
    """

    control: int | None
    address: int | None = None
    information: int | None = None
    source: int | None = None
    destination: int | None = None
    data: bytes = b""

    @property
    def segment(self) -> int | None:
        """Segment number 0..15, or None when the frame carries no DLMS."""
        return None if self.source is None or self.information is None else self.information & _NUMBER

    @property
    def final(self) -> bool:
        """Is it the last (or only) segment?"""
        return self.information is not None and bool(self.information & _FINAL)


def encode(apdu: Octets, source: int = 1, destination: int = 0x67, address: int = BROADCAST) -> list[bytes]:
    """The long frames that carry an APDU. TooLarge above 4000 octets; Misuse for an empty one."""
    if not apdu:
        raise Misuse("an M-Bus frame carries an APDU of at least one octet")
    if len(apdu) > MAX_APDU:
        raise TooLarge(f"an APDU of {len(apdu)} octets, M-Bus segments carry {MAX_APDU}")
    frames = []
    for number, pos in enumerate(range(0, len(apdu), MAX_DATA)):
        final = _FINAL if pos + MAX_DATA >= len(apdu) else 0
        head = bytes((SEND_USER_DATA, address, final | number, source, destination))
        body = head + apdu[pos : pos + MAX_DATA]
        frames.append(bytes((LONG, len(body), len(body), LONG)) + body + bytes((sum(body) & 0xFF, _STOP)))
    return frames


def decode(octets: Octets, length_modulo_256: bool = False) -> Frame:
    """The one frame that `octets` are, whole. Truncated, Malformed: which check failed is in the text."""
    frame, end = decode_at(octets, 0, length_modulo_256)
    if end != len(octets):
        raise Malformed(f"{len(octets) - end} octets after the M-Bus frame")
    return frame


def decode_at(octets: Octets, pos: int, length_modulo_256: bool = False) -> tuple[Frame, int]:
    """The frame that begins at `pos`, and the position after it.

    `length_modulo_256` is for a meter (Sagemcom T210-D) that sends 257 octets and writes L as 01: where the
    stop octet does not fit, L + 256 is tried.
    """
    if pos >= len(octets):
        raise Truncated("no octet of an M-Bus frame")
    first = octets[pos]
    if first == SINGLE:
        return Frame(None), pos + 1
    if first == SHORT:
        return _short_at(octets, pos)
    if first == LONG:
        return _long_at(octets, pos, length_modulo_256)
    raise Malformed(f"an M-Bus frame begins with 68, 10 or E5, not {first:02X}")


def _short_at(octets: Octets, pos: int) -> tuple[Frame, int]:
    end = pos + 5
    if end > len(octets):
        raise Truncated("M-Bus short frame ends early")
    control, address, check, stop = octets[pos + 1 : end]
    if stop != _STOP:
        raise Malformed("M-Bus short frame without 16 at its end")
    if check != (control + address) & 0xFF:
        raise Malformed("check sum of the M-Bus short frame is wrong")
    return Frame(control, address), end


def _long_at(octets: Octets, pos: int, length_modulo_256: bool) -> tuple[Frame, int]:
    body = pos + 4
    if body > len(octets):
        raise Truncated("M-Bus long frame ends inside its header")
    length = octets[pos + 1]
    if octets[pos + 2] != length or octets[pos + 3] != LONG:
        raise Malformed("an M-Bus long frame begins with 68 L L 68")
    if length_modulo_256 and not _fits(octets, body, length):
        length = _longer(octets, body, length)
    if length < 3:
        raise Malformed(f"M-Bus long frame of {length} octets, the shortest has 3")
    check = body + length
    if check + 2 > len(octets):
        raise Truncated(f"M-Bus long frame of {length} octets, {len(octets) - body} are there")
    if octets[check + 1] != _STOP:
        raise Malformed("M-Bus long frame without 16 at its end")
    content = bytes(octets[body:check])
    if octets[check] != sum(content) & 0xFF:
        raise Malformed("check sum of the M-Bus long frame is wrong")
    return _frame(content), check + 2


def _fits(octets: Octets, body: int, length: int) -> bool:
    """Does a frame of that length end with its stop octet?"""
    stop = body + length + 1
    return length >= 3 and stop < len(octets) and octets[stop] == _STOP


def _longer(octets: Octets, body: int, length: int) -> int:
    """The length that was meant by one modulo 256 whose stop octet does not fit."""
    longer = length + 256
    if body + longer + 2 > len(octets):
        raise Truncated(f"M-Bus long frame of {length} or {longer} octets, {len(octets) - body} are there")
    return longer if _fits(octets, body, longer) else length


def _frame(content: bytes) -> Frame:
    control, address, information = content[:3]
    if information > _LAST_TRANSPORT_CI:
        return Frame(control, address, information, None, None, content[3:])
    if len(content) < 5:
        raise Malformed("M-Bus frame of the DLMS transport without STSAP and DTSAP")
    return Frame(control, address, information, content[3], content[4], content[5:])


class Segments:
    """`add` long frames in the order they came; out comes each APDU with the last of its segments.

    Segment 0 begins anew, whatever was open. One APDU (at most 4 kB) per meter address and SAP pair may be
    open, `links` of them together; the oldest goes first.
    """

    __slots__ = ("_links", "_open")

    def __init__(self, links: int = 16) -> None:
        self._links = links
        self._open: dict[tuple[int | None, int | None, int | None], tuple[int, bytes]] = {}

    def add(self, frame: Frame) -> bytes | None:
        """The whole APDU, or None. Malformed: a segment is missing; what was collected is dropped."""
        number = frame.segment
        if number is None:
            return None
        link = (frame.address, frame.source, frame.destination)
        expected, octets = self._open.pop(link, (0, b""))
        if number == 0:
            octets = b""
        elif number != expected:
            raise Malformed(f"M-Bus segment {expected} is missing, {number} came")
        octets += frame.data
        if frame.final:
            return octets
        if number == _NUMBER:
            raise TooLarge("M-Bus segment 15 is not the last one")
        if len(self._open) >= self._links:
            del self._open[next(iter(self._open))]
        self._open[link] = (number + 1, octets)
        return None


class FrameReader(Frames[Frame]):
    """Frames out of a stream: feed octets as they come; damaged frames and noise are skipped and counted.

    At most one frame is kept between calls. Bad input raises nothing.
    """

    __slots__ = ("_modulo",)

    def __init__(self, length_modulo_256: bool = False) -> None:
        super().__init__()
        self._modulo = length_modulo_256

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None when more octets are needed."""
        while self._at < len(self._buffer):
            if not self.budget.affords(self._cost()):
                self.reset()
                break
            try:
                frame, after = decode_at(self._buffer, self._at, self._modulo)
            except Truncated:
                break
            except DecodeError:
                self._skip()
                continue
            self._at = after
            return frame
        return None

    def _skip(self) -> None:
        """Go on to the next octet that can begin a frame."""
        start = _STARTS.search(self._buffer, self._at + 1)
        after = start.start() if start else len(self._buffer)
        self.noise += after - self._at
        self._at = after

    def _cost(self) -> int:
        """Octets that the frame at hand makes us look at: its sum covers them all, once they are here."""
        head = self._buffer[self._at : self._at + 4]
        if len(head) < 4 or head[0] != LONG or head[3] != LONG:
            return 1
        return head[1] if self.held >= head[1] + 6 else 1
