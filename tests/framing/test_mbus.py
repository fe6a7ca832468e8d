"""M-Bus frames with DLMS segments: the recorded push, joins, damaged frames, the length quirk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Malformed, Misuse, TooLarge, Truncated
from meterseal.framing import mbus
from meterseal.framing.mbus import Frame, FrameReader, Segments
from tests.framing.captures import APDU, LONG_APDU, MBUS_FRAMES
from tests.mutate import hammer, truncations

SHORT = bytes.fromhex("1040FF3F16")
SINGLE = b"\xe5"


def long_frame(body: bytes) -> bytes:
    """A long frame around `body`, with L modulo 256."""
    length = len(body) & 0xFF
    return bytes((0x68, length, length, 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


def test_recorded_push() -> None:
    first, second = map(mbus.decode, MBUS_FRAMES)
    assert (first.control, first.address, first.source, first.destination) == (0x53, 0xFF, 1, 0x67)
    assert (first.segment, first.final, second.segment, second.final) == (0, False, 1, True)
    segments = Segments()
    assert segments.add(first) is None
    apdu = segments.add(second)
    assert apdu is not None and apdu[:2] == b"\xdb\x08" and len(apdu) == 13 + 0x109


def test_short_and_single_frames() -> None:
    assert mbus.decode(SHORT) == Frame(0x40, 0xFF)
    assert mbus.decode(SINGLE) == Frame(None)
    assert mbus.decode(SHORT).segment is None and mbus.decode(SINGLE).final is False


def test_other_ci_fields_are_not_dlms() -> None:
    frame = mbus.decode(long_frame(bytes.fromhex("08017A0000")))
    assert (frame.information, frame.segment, frame.source, frame.data) == (0x7A, None, None, b"\x00\x00")
    assert Segments().add(frame) is None


@given(st.binary(min_size=1, max_size=mbus.MAX_APDU), st.integers(0, 255), st.integers(0, 255))
def test_any_apdu_comes_back(apdu: bytes, source: int, destination: int) -> None:
    frames = [mbus.decode(octets) for octets in mbus.encode(apdu, source, destination)]
    segments = Segments()
    assert [segments.add(frame) for frame in frames] == [None] * (len(frames) - 1) + [apdu]
    assert {(frame.source, frame.destination) for frame in frames} == {(source, destination)}


def test_encode_refuses_what_does_not_fit() -> None:
    with pytest.raises(TooLarge):
        mbus.encode(bytes(4001))
    with pytest.raises(Misuse):
        mbus.encode(b"")


def test_a_wrong_number_drops_what_was_collected() -> None:
    parts = [mbus.decode(octets) for octets in mbus.encode(LONG_APDU)]
    segments = Segments()
    segments.add(parts[0])
    with pytest.raises(Malformed, match="segment 1 is missing, 2"):
        segments.add(parts[2])
    with pytest.raises(Malformed, match="segment 0 is missing, 1"):
        segments.add(parts[1])
    assert [segments.add(part) for part in parts] == [None, None, LONG_APDU]


def test_segment_0_begins_anew() -> None:
    parts = [mbus.decode(octets) for octets in mbus.encode(LONG_APDU)]
    segments = Segments()
    assert [segments.add(part) for part in (parts[0], parts[1], *parts)] == [None] * 4 + [LONG_APDU]


def test_segments_of_several_parties_are_kept_apart_and_bounded() -> None:
    links = [[mbus.decode(octets) for octets in mbus.encode(LONG_APDU, 1, sap)] for sap in (1, 2, 3)]
    segments = Segments(links=2)
    for link in links:
        segments.add(link[0])
    with pytest.raises(Malformed, match="segment 0"):
        segments.add(links[0][1])  # the oldest one had to go
    assert segments.add(links[2][1]) is None
    assert segments.add(links[2][2]) == LONG_APDU


def test_sixteen_segments_are_all() -> None:
    segments = Segments()
    for number in range(15):
        segments.add(mbus.decode(long_frame(bytes((0x53, 0xFF, number, 1, 0x67)) + b"x")))
    with pytest.raises(TooLarge):
        segments.add(mbus.decode(long_frame(bytes((0x53, 0xFF, 15, 1, 0x67)) + b"x")))


def test_length_modulo_256_is_a_named_option() -> None:
    body = bytes((0x53, 0xFF, 0x10, 1, 0x67)) + bytes(252)
    octets = long_frame(body)
    assert len(body) == 257 and octets[1] == 1
    with pytest.raises(Malformed):
        mbus.decode(octets)
    assert mbus.decode(octets, length_modulo_256=True).data == bytes(252)
    for strict in MBUS_FRAMES:
        assert mbus.decode(strict, length_modulo_256=True) == mbus.decode(strict)
    for end in range(5, len(octets)):
        with pytest.raises(Truncated):
            mbus.decode(octets[:end], length_modulo_256=True)
    with pytest.raises(Malformed):
        mbus.decode(octets[:-1] + b"\x00" + bytes(300), length_modulo_256=True)


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        ("FF", "68, 10 or E5"),
        ("6803046853FF101616", "68 L L 68"),
        ("6803031053FF101616", "68 L L 68"),
        ("6802026853FF5216", "2 octets"),
        ("6803036853FF106200", "without 16"),
        ("6803036853FF106316", "check sum"),
        ("6803036853FF106216", "STSAP"),
        ("1040FF3F17", "without 16"),
        ("1040FF4016", "check sum"),
        ("E5E5", "1 octets after"),
    ],
)
def test_damaged_frames_are_named(octets: str, cause: str) -> None:
    with pytest.raises(Malformed, match=cause):
        mbus.decode(bytes.fromhex(octets))


@pytest.mark.parametrize("size", [1, 3, 100, 10_000])
def test_frames_out_of_a_stream_with_noise(size: int) -> None:
    damaged = bytearray(MBUS_FRAMES[1])
    damaged[20] ^= 1
    stream = b"\x00\xff" + MBUS_FRAMES[0] + SINGLE + bytes(damaged) + SHORT + MBUS_FRAMES[1]
    reader = FrameReader()
    found = [frame for pos in range(0, len(stream), size) for frame in reader.feed(stream[pos : pos + size])]
    wanted = [mbus.decode(octets) for octets in (MBUS_FRAMES[0], SINGLE, SHORT, MBUS_FRAMES[1])]
    assert [frame for frame in found if frame in wanted] == wanted
    assert reader.noise > 0 and reader.held == 0


def test_a_pause_forgets_what_did_not_end() -> None:
    reader = FrameReader()
    assert list(reader.feed(MBUS_FRAMES[0][:-1])) == []
    reader.reset()
    assert (reader.held, reader.noise) == (0, len(MBUS_FRAMES[0]) - 1)


def test_F10_false_starts_are_not_worth_their_work() -> None:
    reader = FrameReader()
    list(reader.feed(bytes.fromhex("68FFFF68") * 5000))
    assert reader.budget.spent <= reader.budget.allowed
    found = [frame for _ in range(40) for frame in reader.feed(MBUS_FRAMES[1])]
    assert found[-1:] == [mbus.decode(MBUS_FRAMES[1])]


SEEDS = [*MBUS_FRAMES, SHORT, *mbus.encode(APDU)]


def test_F01_every_truncation_is_truncated() -> None:
    for _, prefix in truncations(SEEDS):
        with pytest.raises(Truncated):
            mbus.decode(prefix)


@pytest.mark.slow
def test_F02_mutated_frames() -> None:
    assert {"value", "truncated", "malformed"} == set(hammer(mbus.decode, [*SEEDS, SINGLE]))
    assert "value" in hammer(lambda octets: mbus.decode(octets, True), SEEDS, count=10_000)


@pytest.mark.slow
def test_F02_mutated_streams() -> None:
    readers: list[FrameReader] = []

    def decode(octets: bytes) -> None:
        reader = FrameReader()
        readers[:] = [reader]
        segments = Segments()
        for half in (octets[: len(octets) // 2], octets[len(octets) // 2 :]):
            for frame in reader.feed(half):
                segments.add(frame)

    outcomes = hammer(decode, [b"".join(MBUS_FRAMES), SHORT * 4], work=lambda: readers[0].budget.spent)
    assert {"value", "malformed"} <= set(outcomes)
