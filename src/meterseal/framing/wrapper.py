"""The wrapper: 8 octets in front of each APDU on TCP and UDP (IEC 62056-47; acse-xdlms 8).

`0001 | source wPort u16 | destination wPort u16 | length u16 | APDU`, big endian. The wrapper has no
check sum and no mark to find the next frame by: after an error the stream is lost and has to be closed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TypeAlias

from meterseal.errors import Malformed, Misuse, TooLarge, Truncated

from .bounds import Octets

VERSION = 1
HEADER_LENGTH = 8
MAX_APDU = 0xFFFF
MAX_IN_DATAGRAM = 65_507 - HEADER_LENGTH
"""Octets of an APDU whose frame fits a datagram over IPv4."""
PORT = 4059
"""TCP and UDP port of the wrapper (IEC 62056-9-7)."""
ALL_STATION = 0x7F
"""The server wPort that addresses every logical device, in datagrams only."""

Frame: TypeAlias = tuple[int, int, bytes]
"""Source wPort, destination wPort, APDU."""

_HEADER = struct.Struct(">HHHH")
_header, _header_at = _HEADER.pack, _HEADER.unpack_from
_SHORT = 512
_NOTHING = memoryview(b"")
_FIRST_BUFFER = 2048  # holds any usual request; an idle connection holds no buffer at all


def encode(source: int, destination: int, apdu: Octets) -> bytes:
    """One frame. An answer swaps the wPorts of its request.

    TooLarge above 65535 octets; Misuse when the APDU is empty or a wPort is outside 0..65535.
    """
    length = len(apdu)
    if not length:
        raise Misuse("a wrapper frame carries an APDU of at least one octet")
    try:
        return _header(VERSION, source, destination, length) + apdu
    except struct.error:
        if length > MAX_APDU:
            raise TooLarge(f"an APDU of {length} octets does not fit a wrapper frame ({MAX_APDU})") from None
        raise Misuse(f"wPorts are 0..65535, not {source} and {destination}") from None


def decode(octets: Octets) -> Frame:
    """The one frame that `octets` are, whole: a datagram. Truncated, Malformed (also on octets left over)."""
    frame, end = decode_at(octets, 0)
    if end != len(octets):
        raise Malformed(f"{len(octets) - end} octets after the wrapper frame")
    return frame


def decode_at(octets: Octets, pos: int) -> tuple[Frame, int]:
    """The frame that begins at `pos`, and the position after it. Truncated, Malformed."""
    have = len(octets) - pos
    if have < HEADER_LENGTH:
        raise Truncated(f"{max(have, 0)} of the {HEADER_LENGTH} octets of a wrapper header")
    version, source, destination, length = _HEADER.unpack_from(octets, pos)
    if version != VERSION:
        raise Malformed(f"wrapper version {version}, not {VERSION}")
    if not length:
        raise Malformed("wrapper frame without an APDU")
    begin = pos + HEADER_LENGTH
    if length > have - HEADER_LENGTH:
        raise Truncated(f"wrapper frame of {length} octets, {have - HEADER_LENGTH} are there")
    return (source, destination, bytes(octets[begin : begin + length])), begin + length


def alone(octets: bytes, source: int, destination: int, limit: int) -> bytes | None:
    """The APDU of at most `limit` octets where `octets` are one whole frame of this pair; else None."""
    size = len(octets) - HEADER_LENGTH
    if 0 < size <= limit and octets.startswith(_HEADER.pack(VERSION, source, destination, size)):
        return octets[HEADER_LENGTH:]
    return None


def whole(room: memoryview, count: int) -> Frame | None:
    """The frame that the first `count` octets in `room` are; None for anything else, broken or not."""
    try:
        parts = _PARTS[count](room)
    except KeyError:
        if count <= HEADER_LENGTH:
            return None
        parts = _parts_of(count)(room)
    version, source, destination, length, payload = parts
    if version != VERSION or length != count - HEADER_LENGTH:
        return None
    return source, destination, payload


_Parts: TypeAlias = Callable[[memoryview], tuple[int, int, int, int, bytes]]
_PARTS: dict[int, _Parts] = {}
"""What takes header and APDU out of a buffer in one call, by their octets; made once for each short size."""


def _parts_of(count: int) -> _Parts:
    parts: _Parts = struct.Struct(f">HHHH{count - HEADER_LENGTH}s").unpack_from
    if count <= _SHORT:
        _PARTS[count] = parts
    return parts


class WrapperReader:
    """Frames out of a stream that arrives in pieces of any size.

    `get_buffer` and `advance` are made for `asyncio.BufferedProtocol` and `recv_into`: the stream is
    received in place and each APDU is copied once, out of the buffer. `feed` is the same for octets
    that are already somewhere. Take frames with `next_frame` until it returns None.

    The buffer grows with the octets that came, never on the word of a header, to at most
    8 + `limit` octets, and is let go when nothing is held. An error stays: once `next_frame` has raised,
    it raises the same again, because a stream without frame marks cannot be picked up.
    """

    __slots__ = ("_begin", "_broken", "_view", "held", "limit")

    def __init__(self, limit: int = MAX_APDU) -> None:
        if not 1 <= limit <= MAX_APDU:
            raise Misuse(f"the limit of a wrapper reader is 1..{MAX_APDU} octets, not {limit}")
        self.limit = limit
        self.held = 0
        """Octets held that were not yet given out as a frame."""
        self._view = _NOTHING
        self._begin = 0
        self._broken: Malformed | TooLarge | None = None

    def get_buffer(self) -> memoryview:
        """Room for the next octets, at least one. Misuse when whole frames fill the buffer untaken."""
        held = self.held
        if not held:
            self._begin = 0
            self._view = memoryview(bytearray(min(HEADER_LENGTH + self.limit, _FIRST_BUFFER)))
            return self._view
        end = self._begin + held
        if end == len(self._view):
            cap = HEADER_LENGTH + self.limit
            if held >= cap:
                raise Misuse("frames have to be taken before more octets come in")
            self._resize(min(cap, max(_FIRST_BUFFER, 2 * held)))
            end = held
        return self._view[end:]

    def _resize(self, size: int) -> None:
        """A new buffer, because the caller may still hold a view of the old one."""
        view = memoryview(bytearray(size))
        view[: self.held] = self._view[self._begin : self._begin + self.held]
        self._view, self._begin = view, 0

    def advance(self, count: int) -> None:
        """`count` octets were put into the room that `get_buffer` gave."""
        if not 0 <= count <= len(self._view) - self._begin - self.held:
            raise Misuse(f"{count} octets do not fit the buffer that was given out")
        self.held += count

    def feed(self, octets: Octets) -> Iterator[Frame]:
        """Take in all of `octets`, then iterate the frames that are complete. Errors as `next_frame`.

        The octets are there already, so what is held may pass the cap until the frames are taken.
        """
        self.take_in(octets)
        return self.frames()

    def take_in(self, octets: Octets) -> None:
        """The same without a look at the frames."""
        size = len(octets)
        end = self._begin + self.held
        if size >= len(self._view) - end:
            self._resize(max(2 * self.held, self.held + size))
            end = self.held
        self._view[end : end + size] = octets
        self.held += size

    def frames(self) -> Iterator[Frame]:
        """The complete frames, one after another."""
        while (frame := self.next_frame()) is not None:
            yield frame

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None when more octets are needed.

        Malformed: version not 1 (known from the first octets), or length 0. TooLarge: length above `limit`,
        known before anything is kept for it.
        """
        if self._broken is not None:
            raise self._broken
        held = self.held
        if held < HEADER_LENGTH:
            if held:
                self._check_beginning(held)
            return None
        view, begin = self._view, self._begin
        version, source, destination, length = _HEADER.unpack_from(view, begin)
        if version != VERSION or not 0 < length <= self.limit:
            raise self._break(version, length)
        left = held - HEADER_LENGTH - length
        if left < 0:
            return None
        after = begin + HEADER_LENGTH + length
        payload = bytes(view[begin + HEADER_LENGTH : after])
        self.held = left
        self._begin = after
        if not left:
            self._view, self._begin = _NOTHING, 0
        return source, destination, payload

    def _check_beginning(self, held: int) -> None:
        """Fewer than 8 octets: their first two already tell a stranger's stream."""
        begun = bytes(self._view[self._begin : self._begin + min(held, 2)])
        if begun != b"\x00\x01"[: len(begun)]:
            raise self._break(int.from_bytes(begun.ljust(2, b"\0"), "big"), 1)

    def _break(self, version: int, length: int) -> Malformed | TooLarge:
        """Let go of what is held, and remember why."""
        if version != VERSION:
            cause: Malformed | TooLarge = Malformed(f"wrapper version {version:04X}, not 0001")
        elif not length:
            cause = Malformed("wrapper frame without an APDU")
        else:
            cause = TooLarge(f"wrapper frame announces {length} octets, the limit is {self.limit}")
        self._view, self._begin, self.held = _NOTHING, 0, 0
        self._broken = cause
        return cause
