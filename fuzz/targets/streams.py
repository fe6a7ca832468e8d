"""Readers of streams: octets that come in pieces, out of which frames and APDUs are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fuzz.script import Script, written
from fuzz.target import Decode, Target, in_thirds
from meterseal.errors import DecodeError
from meterseal.framing import gateway, gbt, hdlc, mbus, p1, wrapper
from meterseal.framing.detect import unframe
from meterseal.framing.gbt import Block, Reassembly
from meterseal.framing.hdlc import FrameReader
from meterseal.framing.live import LineReader
from meterseal.framing.wrapper import WrapperReader
from meterseal.probe import dissect
from tests.framing.captures import (
    E450,
    EVERYTHING,
    HDLC_FRAMES,
    LONG_APDU,
    MBUS_FRAMES,
    P1_OLD_TEXT,
    WRAPPER_FRAMES,
    gbt_blocks,
    hdlc_segments,
    p1_ciphered,
    p1_telegram,
)
from tests.probe import samples


def reader(make: Callable[[], Any]) -> Decode:
    """A new reader for each input."""
    return lambda octets: in_thirds(list_of(make().feed))(octets)


def list_of(feed: Callable[[bytes], Iterable[object]]) -> Decode:
    return lambda octets: list(feed(octets))


def in_place(octets: bytes) -> object:
    """The wrapper's reader by its buffer, as a socket fills it: a piece is what there is room for."""
    found, held, at = [], WrapperReader(limit=2000), 0
    while at < len(octets):
        room = held.get_buffer()
        part = octets[at : at + min(len(room), 37)]
        room[: len(part)] = part
        held.advance(len(part))
        at += len(part)
        while (frame := held.next_frame()) is not None:
            found.append(frame)
    return found


def segments(octets: bytes) -> object:
    """Frames out of a stream, joined; what does not join is dropped, and the next one may."""
    held, found = hdlc.Segments(2000), []
    for frame in FrameReader().feed(octets):
        try:
            found.append(held.add(frame))
        except DecodeError as error:
            found.append(str(error).encode())
    return found


def blocks(octets: bytes) -> object:
    """General blocks one after another, joined."""
    reassembly, at, found = Reassembly(limit=1000, blocks=100), 0, []
    while at < len(octets):
        block, at = gbt.decode_at(octets, at)
        found.append(reassembly.add(block))
    return found


def live(octets: bytes) -> object:
    """A line that is listened to: nothing that comes is an error."""
    line = LineReader(limit=4096)
    third = len(octets) // 3
    found = line.feed(octets[:third]) + line.feed(octets[third:]) + line.pause() + line.feed(octets)
    return found


def captured(octets: bytes) -> object:
    """A script of frames whose check sums are right, as a capture, on a line, and under the probe."""
    script = Script(octets)
    frames: list[bytes] = []
    while script.goes_on and len(frames) < 40:
        frames.append(script.choose(FRAMES)(script))
    whole = b"".join(frames)
    items = unframe(whole, limit=4096)
    line = LineReader(limit=4096)
    for frame in frames:
        items += line.feed(frame)
    return items + line.pause(), dissect(whole, RING)


def _hdlc(script: Script) -> bytes:
    control, more = script.octet(), bool(script.octet() & 1)
    return hdlc.encode(hdlc.Frame(hdlc.Address(16), hdlc.Address(1, 17), control, script.part(), more))


def _mbus(script: Script) -> bytes:
    return b"".join(mbus.encode(script.part() or b"\x0f", script.octet()))


def _block(script: Script) -> bytes:
    control, number = script.octet(), script.octet()
    return gbt.encode(
        gbt.Block(number, script.part(), bool(control & 0x80), bool(control & 0x40), control & 0x3F)
    )


def _prefixed(script: Script) -> bytes:
    apdu = gateway.encode(gateway.Prefix(True, script.octet(), script.part()), script.part())
    return wrapper.encode(1, 16, apdu)


FRAMES: tuple[Callable[[Script], bytes], ...] = (
    _hdlc,
    lambda script: hdlc.RESPONSE + script.part(),
    _mbus,
    lambda script: wrapper.encode(1, script.octet(), script.part() or b"\x0f"),
    _block,
    _prefixed,
    lambda script: p1_telegram(b"/XXX5T\r\n\r\n" + script.part() + b"!"),
    lambda script: samples.sealed(script.part(), sc=script.octet()),
    lambda script: script.part(),
)
RING = samples.RING
PUSH = bytes.fromhex("0F0000000100060000000A")

CONFIRMED = b"".join(
    gbt.encode(Block(number, b"data", number == 9, window=5)) for number in (1, 2, 4, 3, 6, 7, 5, 8, 9)
)
SEGMENTS = b"".join(hdlc_segments(LONG_APDU))
LONG_MBUS = b"".join(mbus.encode(LONG_APDU))

TARGETS = tuple(
    Target(*row)
    for row in (
        ("wrapper-stream", reader(WrapperReader), [*WRAPPER_FRAMES, b"".join(WRAPPER_FRAMES)]),
        ("wrapper-in-place", in_place, [*WRAPPER_FRAMES, b"".join(WRAPPER_FRAMES)]),
        ("hdlc-stream", reader(FrameReader), [b"".join(HDLC_FRAMES), b"".join(E450), SEGMENTS]),
        ("hdlc-segments", segments, [SEGMENTS, b"".join(E450)]),
        ("m-bus-stream", reader(mbus.FrameReader), [b"".join(MBUS_FRAMES), LONG_MBUS]),
        ("p1-stream", reader(p1.TextReader), [p1_telegram(), P1_OLD_TEXT]),
        ("p1-ciphered-stream", reader(p1.CipheredReader), [p1_ciphered() * 2, b"\x00" + p1_ciphered(300)]),
        ("gbt-blocks", blocks, [b"".join(gbt_blocks(LONG_APDU)), CONFIRMED]),
        ("live", live, EVERYTHING),
        (
            "captured",
            captured,
            [
                written(0, 0x13, 1, b"\xe6\xe7\x00" + PUSH[:5], 0, 0x13, 0, PUSH[5:], 0, 0x93, 0, b""),
                written(0, 0x30, 1, b"\xe6\xe7\x00\xc4\x01\xc1", 0, 0x32, 0, b"\x00\x11\x05"),
                written(2, PUSH * 20, 1, 2, PUSH, 1, 3, 16, PUSH, 5, 3, b"42", b"\xc0\x01\xc1", 1, PUSH),
                written(
                    4, 0x40, 1, PUSH[:4], 4, 0x80, 2, PUSH[4:], 6, b"1-0:1.8.0(1*kWh)\r\n", 7, PUSH, 0x30
                ),
            ],
        ),
    )
)
