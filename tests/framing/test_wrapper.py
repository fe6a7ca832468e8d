"""The wrapper: vectors, pieces of any size, and streams that are none."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import DecodeError, Malformed, Misuse, TooLarge, Truncated
from meterseal.framing import wrapper
from meterseal.framing.wrapper import Frame, WrapperReader
from tests.framing.captures import APDU, WRAPPER_FRAMES
from tests.mutate import hammer, truncations
from tests.vectors import load

frames = st.lists(
    st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(min_size=1, max_size=300)), max_size=8
)


@pytest.mark.parametrize("row", load("wrapper"), ids=lambda row: row["id"])
def test_vectors_decode_and_encode(row: dict[str, dict[str, object]]) -> None:
    octets = bytes.fromhex(str(row["inputs"]["wpdu"]))
    expected = row["expected"]
    frame = (expected["source"], expected["destination"], bytes.fromhex(str(expected["apdu"])))
    assert wrapper.decode(octets) == frame
    assert wrapper.encode(*wrapper.decode(octets)) == octets


@given(
    st.sampled_from(
        [wrapper.encode(1, 16, APDU), wrapper.encode(16, 1, APDU), wrapper.encode(1, 16, APDU) * 2]
    ),
    st.integers(0, 22),
    st.integers(0, 60),
    st.sampled_from([0, 0, 1, 0x80]),
    st.sampled_from([5, len(APDU), 65_535]),
)
def test_what_comes_alone_is_what_decodes_whole(
    octets: bytes, at: int, cut: int, flip: int, limit: int
) -> None:
    changed = bytearray(octets)
    changed[at % len(changed)] ^= flip
    given_ = bytes(changed[: len(changed) - (cut if cut < 12 else 0)])
    try:
        source, destination, apdu = wrapper.decode(given_)
    except DecodeError:
        assert wrapper.alone(given_, 1, 16, limit) is None
    else:
        fits = (source, destination) == (1, 16) and len(apdu) <= limit
        assert wrapper.alone(given_, 1, 16, limit) == (apdu if fits else None)


def test_an_answer_that_comes_alone() -> None:
    assert wrapper.alone(wrapper.encode(1, 16, APDU), 1, 16, len(APDU)) == APDU
    assert wrapper.alone(wrapper.encode(1, 16, APDU), 1, 16, len(APDU) - 1) is None
    assert wrapper.alone(wrapper.encode(1, 16, APDU), 1, 17, len(APDU)) is None
    assert wrapper.alone(b"", 1, 16, len(APDU)) is None


@given(frames, st.integers(1, 700))
def test_any_pieces_give_the_same_frames(sent: list[Frame], size: int) -> None:
    stream = b"".join(wrapper.encode(*frame) for frame in sent)
    reader = WrapperReader(300)
    found: list[Frame] = []
    for pos in range(0, len(stream), size):
        found += reader.feed(stream[pos : pos + size])
    assert found == sent
    assert reader.held == 0


@given(frames, st.integers(1, 700))
def test_in_place_reception_gives_the_same_frames(sent: list[Frame], size: int) -> None:
    stream = b"".join(wrapper.encode(*frame) for frame in sent)
    reader = WrapperReader(300)
    found: list[Frame] = []
    pos = 0
    while pos < len(stream):
        room = reader.get_buffer()
        part = stream[pos : pos + min(size, len(room))]
        room[: len(part)] = part
        reader.advance(len(part))
        pos += len(part)
        found += reader.frames()
    assert found == sent


@given(frames, st.integers(1, 700))
def test_one_whole_frame_at_a_time_is_given_out_at_once(sent: list[Frame], size: int) -> None:
    stream = b"".join(wrapper.encode(*frame) for frame in sent)
    reader, found, pos, room = WrapperReader(300), list[Frame](), 0, memoryview(bytearray(700))
    while pos < len(stream):
        if reader.held:  # as a connection does it
            here = reader.get_buffer()
            count = min(size, len(here), len(stream) - pos)
            here[:count] = stream[pos : pos + count]
            reader.advance(count)
        else:
            count = min(size, len(stream) - pos)
            room[:count] = stream[pos : pos + count]
            frame = wrapper.whole(room, count)
            if frame is not None:
                found.append(frame)
            else:
                reader.take_in(room[:count])
        pos += count
        found += reader.frames()
    assert found == sent


def test_what_is_no_whole_frame_is_left_as_it_is() -> None:
    good = wrapper.encode(1, 2, b"abc")
    assert wrapper.whole(memoryview(good + bytes(5)), len(good)) == (1, 2, b"abc")
    for octets in (b"", good[:8], good[:-1], good + b"\0", b"\0\2" + good[2:], b"\0\1\0\1\0\2\0\0"):
        assert wrapper.whole(memoryview(octets + bytes(5)), len(octets)) is None


def test_frames_that_were_given_out_stay_as_they_are() -> None:
    reader = WrapperReader()
    first = next(reader.feed(wrapper.encode(1, 2, b"first")))
    list(reader.feed(wrapper.encode(1, 2, b"other")))
    assert first == (1, 2, b"first")


def test_F09_header_in_single_octets_and_several_apdus_at_once() -> None:
    frame = wrapper.encode(16, 1, APDU)
    reader = WrapperReader()
    found = [piece for octet in frame for piece in reader.feed(bytes((octet,)))]
    assert found == [(16, 1, APDU)]
    assert list(reader.feed(frame * 3 + frame[:5])) == [(16, 1, APDU)] * 3
    assert reader.held == 5
    assert list(reader.feed(frame[5:])) == [(16, 1, APDU)]


@pytest.mark.parametrize(
    "first", [b"\x01", b"\x00\x02", b"GET / HTTP/1.1\r\n", b"\x7e\xa0", b"\x00\x00\x00\x00\x00\x00\x00\x00"]
)
def test_F09_another_version_is_known_from_the_first_octets(first: bytes) -> None:
    reader = WrapperReader()
    with pytest.raises(Malformed, match="version"):
        list(reader.feed(first))
    with pytest.raises(Malformed, match="version"):  # a stream without frame marks cannot be picked up
        list(reader.feed(wrapper.encode(16, 1, APDU)))


def test_F09_garbage_between_frames_ends_the_stream_after_the_good_ones() -> None:
    frame = wrapper.encode(16, 1, APDU)
    reader = WrapperReader()
    found = reader.feed(frame + b"\xff" + frame)
    assert next(found) == (16, 1, APDU)
    with pytest.raises(Malformed):
        next(found)


def test_F09_length_0_and_above_the_limit() -> None:
    with pytest.raises(Malformed, match="without an APDU"):
        list(WrapperReader().feed(bytes.fromhex("0001000100010000")))
    with pytest.raises(TooLarge, match="65535"):
        list(WrapperReader(1024).feed(bytes.fromhex("000100010001FFFF")))
    largest = wrapper.encode(1, 1, bytes(1024))
    assert len(next(WrapperReader(1024).feed(largest))[2]) == 1024


def test_F09_wport_0_is_for_the_party_to_judge() -> None:
    assert wrapper.decode(wrapper.encode(0, 0, APDU)) == (0, 0, APDU)


def test_F09_buffer_is_capped_at_one_frame() -> None:
    reader = WrapperReader(5000)
    frame = wrapper.encode(1, 1, bytes(5000))
    fed = 0
    while fed < len(frame) - 1:
        room = reader.get_buffer()
        assert len(room) <= 5008
        count = min(len(room), len(frame) - 1 - fed)
        room[:count] = frame[fed : fed + count]
        reader.advance(count)
        fed += count
        assert reader.next_frame() is None
    assert len(reader.get_buffer()) == 1


def test_F14_a_header_alone_allocates_nothing_for_the_length_it_announces() -> None:
    header = wrapper.encode(1, 1, bytes(65535))[:8]
    tracemalloc.start()
    readers = [WrapperReader() for _ in range(50)]
    for reader in readers:
        room = reader.get_buffer()
        room[:8] = header
        reader.advance(8)
        assert reader.next_frame() is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50 * 4096


def test_idle_reader_holds_no_buffer() -> None:
    tracemalloc.start()
    readers = [WrapperReader() for _ in range(50)]
    for reader in readers:
        list(reader.feed(wrapper.encode(1, 1, bytes(60000))))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50 * 512


def test_untaken_frames_fill_the_buffer_and_no_more() -> None:
    reader = WrapperReader(13)
    room = reader.get_buffer()
    room[:21] = wrapper.encode(16, 1, APDU)
    reader.advance(21)
    with pytest.raises(Misuse, match="taken"):
        reader.get_buffer()
    with pytest.raises(Misuse, match="fit"):
        reader.advance(1)
    assert reader.next_frame() == (16, 1, APDU)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wrapper.encode(-1, 1, APDU),
        lambda: wrapper.encode(1, 0x10000, APDU),
        lambda: wrapper.encode(1, 1, b""),
        lambda: WrapperReader(0),
        lambda: WrapperReader(0x10000),
    ],
)
def test_misuse_is_named(call: object) -> None:
    assert callable(call)
    with pytest.raises(Misuse):
        call()


def test_an_apdu_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TooLarge):
        wrapper.encode(1, 1, bytes(0x10000))


def test_a_datagram_is_one_frame() -> None:
    frame = wrapper.encode(16, 1, APDU)
    with pytest.raises(Malformed, match="after"):
        wrapper.decode(frame + b"\x00")
    with pytest.raises(Malformed, match="version"):
        wrapper.decode(b"\x00\x02" + frame[2:])
    with pytest.raises(Malformed, match="without"):
        wrapper.decode(bytes.fromhex("0001000100010000"))


def test_F01_every_truncation_is_truncated() -> None:
    for _, prefix in truncations(WRAPPER_FRAMES):
        with pytest.raises(Truncated):
            wrapper.decode(prefix)
        assert list(WrapperReader().feed(prefix)) == []


@pytest.mark.slow
def test_F02_mutated_datagrams() -> None:
    outcomes = hammer(wrapper.decode, WRAPPER_FRAMES)
    assert {"value", "truncated", "malformed"} == set(outcomes)


@pytest.mark.slow
def test_F02_mutated_streams() -> None:
    def decode(octets: bytes) -> None:
        reader = WrapperReader(1024)
        half = len(octets) // 2
        try:
            list(reader.feed(octets[:half]))
            list(reader.feed(octets[half:]))
        except DecodeError:
            assert reader.held == 0
            raise
        assert reader.held <= len(octets)

    outcomes = hammer(decode, [*WRAPPER_FRAMES, b"".join(WRAPPER_FRAMES)], rng=1)
    assert {"value", "malformed", "too-large"} == set(outcomes)


@pytest.mark.parametrize("size", [1, 2, 511, 512, 513, 2000])
def test_one_whole_frame_in_a_buffer_comes_out_however_long_it_is(size: int) -> None:
    frame = wrapper.encode(1, 16, bytes(size))
    room = memoryview(bytearray(2048))
    room[: len(frame)] = frame
    for _ in range(2):
        assert wrapper.whole(room, len(frame)) == (1, 16, bytes(size))
    for wrong in (len(frame) - 1, len(frame) + 1, 8, 0):
        assert wrapper.whole(room, wrong) is None
