"""HDLC frames in a stream of octets, and the joining of segments."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meterseal.errors import Malformed, TooLarge
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Control, Frame, FrameReader, Kind, Segments
from tests.framing.captures import CLIENT, E450, HDLC_FRAMES, LONG_APDU, SERVER, hdlc_segments
from tests.mutate import hammer

FLAGGED = [frame for frame in HDLC_FRAMES if frame[0] == 0x7E]
FRAMES = [hdlc.decode(octets) for octets in FLAGGED]


def data(number: int, information: bytes = b"\xe6\xe7\x00\xc4", segmented: bool = True) -> Frame:
    """An I frame of the server."""
    control = Control(Kind.I, False, number % 8, 0).encode()
    return Frame(CLIENT, SERVER, control, information, segmented)


def shared(frames: list[bytes]) -> bytes:
    """One flag between frames, as senders may do."""
    return b"\x7e" + b"".join(frame.strip(b"\x7e") + b"\x7e" for frame in frames)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
@pytest.mark.parametrize(
    "stream",
    [b"".join(FLAGGED), shared(FLAGGED), b"\x7e\x7e\x7e".join(FLAGGED)],
    ids=["pairs", "shared", "many"],
)
def test_flags_may_be_shared_or_doubled_and_pieces_of_any_size(stream: bytes, size: int) -> None:
    reader = FrameReader()
    found = [frame for pos in range(0, len(stream), size) for frame in reader.feed(stream[pos : pos + size])]
    assert found == FRAMES
    assert (reader.noise, reader.held) == (0, 0)


@pytest.mark.slow
@given(st.lists(st.sampled_from(FLAGGED), max_size=4), st.binary(max_size=40), st.integers(1, 60))
def test_noise_without_flags_costs_no_frame(sent: list[bytes], noise: bytes, size: int) -> None:
    noise = noise.replace(b"\x7e", b"")
    stream = noise + noise.join(sent) + noise
    reader = FrameReader()
    found = [frame for pos in range(0, len(stream), size) for frame in reader.feed(stream[pos : pos + size])]
    assert found == [hdlc.decode(octets) for octets in sent]
    other = len(stream) - sum(map(len, sent))
    assert other <= reader.noise + reader.held <= other + len(sent)  # a closing flag before noise may count


def test_a_damaged_header_is_searched_behind_its_flag() -> None:
    good = FLAGGED[0]
    reader = FrameReader()
    assert list(reader.feed(b"\x7e\xa7\xff" + good)) == [FRAMES[0]]
    assert reader.noise == 3


def test_a_damaged_body_is_skipped_as_a_whole() -> None:
    inner = FLAGGED[0]
    outer = bytearray(hdlc.encode(Frame(SERVER, CLIENT, 0x10, inner)))
    outer[-3] ^= 1
    reader = FrameReader()
    assert list(reader.feed(bytes(outer) + inner)) == [FRAMES[0]]


def test_a_frame_cut_behind_its_header_takes_no_other_with_it() -> None:
    long = hdlc.encode(Frame(SERVER, CLIENT, 0x10, bytes(200)))
    follower = b"".join(FLAGGED[:3])
    for cut in range(12, len(long)):
        if follower[len(long) - 1 - cut :][:1] == b"\x7e":
            continue  # a flag stands where the cut one would end: it is taken for whole, and damaged
        reader = FrameReader()
        found = list(reader.feed(long[:cut] + follower + bytes(200)))
        assert found == FRAMES[:3], cut


def test_a_closing_flag_that_is_lost_costs_its_frame_alone() -> None:
    stream = bytearray(shared(FLAGGED[:3]))
    at = len(FLAGGED[0]) - 1
    del stream[at]
    reader = FrameReader()
    assert list(reader.feed(bytes(stream) + bytes(300))) == [FRAMES[2]]  # the lost flag was both frames'
    apart = bytearray(b"".join(FLAGGED[:3]))
    apart[at] ^= 1
    assert list(FrameReader().feed(bytes(apart))) == FRAMES[1:3]


@given(st.data(), st.sampled_from(FLAGGED), st.sampled_from(FLAGGED), st.integers(1, 60))
def test_any_frame_may_be_cut(data: st.DataObject, cut: bytes, next_one: bytes, size: int) -> None:
    stop = data.draw(st.integers(2, len(cut) - 1))
    stream = cut[:stop] + next_one
    where = len(cut) - 1  # the closing flag of the one that is cut, by its length
    assume(where >= len(stream) or stream[where] != 0x7E or stop == where)
    stream += bytes(len(cut) + 2)
    reader = FrameReader()
    found = [frame for pos in range(0, len(stream), size) for frame in reader.feed(stream[pos : pos + size])]
    assert found[-1:] == [hdlc.decode(next_one)]


def test_reset_forgets_a_frame_that_did_not_end() -> None:
    reader = FrameReader()
    assert list(reader.feed(FLAGGED[0][:-4])) == []
    assert reader.held == len(FLAGGED[0]) - 5  # the flag alone begins nothing
    reader.reset()
    assert reader.held == 0 and reader.noise == len(FLAGGED[0]) - 5
    assert list(reader.feed(FLAGGED[0])) == [FRAMES[0]]


def test_a_frame_too_short_for_its_addresses_is_noise() -> None:
    reader = FrameReader()
    assert list(reader.feed(bytes.fromhex("7EA0070202020202027E") + FLAGGED[0])) == [FRAMES[0]]


def test_F10_flags_flood_and_frames_that_never_end_hold_little() -> None:
    reader = FrameReader()
    assert list(reader.feed(b"\x7e" * 100_000)) == []
    assert reader.held == 0
    endless = hdlc.encode(Frame(SERVER, CLIENT, 0x10, bytes(2030)))[:-1]
    for _ in range(20):
        list(reader.feed(endless + b"\x00"))
    assert reader.held <= 2049
    assert reader.budget.spent <= reader.budget.allowed


def test_F10_false_starts_are_not_worth_their_work() -> None:
    reader = FrameReader()
    hostile = bytes.fromhex("7EA7") * 20_000
    list(reader.feed(hostile))
    assert reader.budget.spent <= reader.budget.allowed
    found = [frame for _ in range(40) for frame in reader.feed(FLAGGED[0])]
    assert found[-1:] == [FRAMES[0]]  # good frames are found again


@pytest.mark.slow
def test_F02_mutated_streams() -> None:
    readers: list[FrameReader] = []

    def decode(octets: bytes) -> None:
        reader = FrameReader()
        readers[:] = [reader]
        third = len(octets) // 3
        for part in (octets[:third], octets[third : 2 * third], octets[2 * third :]):
            list(reader.feed(part))
        assert reader.held <= 2049

    hammer(decode, [*FLAGGED, shared(FLAGGED)], work=lambda: readers[0].budget.spent)


def test_segments_are_joined_with_other_frames_between() -> None:
    segments = Segments()
    frames = [hdlc.decode(octets) for octets in hdlc_segments(LONG_APDU)]
    receive_ready = Frame(SERVER, CLIENT, Control(Kind.RR, True, None, 1).encode())
    joined = [
        segments.add(frame)
        for pair in zip(frames, [receive_ready] * len(frames), strict=True)
        for frame in pair
    ]
    assert [whole for whole in joined if whole is not None] == [hdlc.RESPONSE + LONG_APDU]
    assert joined[-2] is not None


def test_unsegmented_frames_and_unknown_controls() -> None:
    segments = Segments()
    assert segments.add(hdlc.decode(E450[1]))[:1] == b"\xe0"  # type: ignore[index]
    assert segments.add(Frame(CLIENT, SERVER, 0x0B, b"data")) is None


def test_segmented_ui_frames_are_joined_in_their_order() -> None:
    segments = Segments()
    assert segments.add(Frame(CLIENT, SERVER, 0x13, b"one", True)) is None
    assert segments.add(Frame(CLIENT, SERVER, 0x13, b"two", True)) is None
    assert segments.add(Frame(CLIENT, SERVER, 0x13, b"three")) == b"onetwothree"


def test_a_repeated_segment_is_dropped_and_a_missing_one_loses_the_apdu() -> None:
    segments = Segments()
    assert [segments.add(data(n)) for n in (6, 7, 7, 0)] == [None] * 4
    assert segments.add(data(1, segmented=False)) == b"\xe6\xe7\x00\xc4" * 4
    segments.add(data(0))
    with pytest.raises(Malformed, match=r"N\(S\) 1 is missing, 2"):
        segments.add(data(2))
    assert segments.add(data(3, b"fresh", segmented=False)) == b"fresh"


def test_a_new_link_forgets_what_had_begun() -> None:
    for control in (Kind.SNRM, Kind.DISC):
        segments = Segments()
        segments.add(data(0, b"old"))
        segments.add(Frame(SERVER, CLIENT, Control(control, True).encode()))
        assert segments.add(data(0, b"new", segmented=False)) == b"new"


def test_F10_segmentation_for_ever_is_bounded() -> None:
    segments = Segments(limit=1000)
    with pytest.raises(TooLarge, match="1000"):
        for number in range(1000):
            segments.add(data(number, bytes(100)))
    assert segments.add(data(5, b"fresh", segmented=False)) == b"fresh"


def test_F10_the_oldest_of_many_open_apdus_goes_first() -> None:
    segments = Segments(links=2)
    clients = [hdlc.Address(number) for number in (1, 2, 3)]
    for client in clients:
        segments.add(Frame(client, SERVER, 0x13, b"begun", True))
    ends = [segments.add(Frame(client, SERVER, 0x13, b".")) for client in clients[::-1]]
    assert ends == [b"begun.", b"begun.", b"."]
