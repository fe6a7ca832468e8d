"""Lines that are listened to: their kind is found out, however the octets come, and noise ends nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import DecodeError, Malformed, Misuse
from meterseal.framing import gbt, hdlc, mbus, wrapper
from meterseal.framing.items import APDU as IS_APDU
from meterseal.framing.items import P1_TELEGRAM, Item, Layer
from meterseal.framing.live import BLIND, KINDS, LineReader
from tests.framing.captures import (
    APDU,
    CLIENT,
    E450,
    LONG_APDU,
    MBUS_FRAMES,
    SERVER,
    gbt_blocks,
    p1_ciphered,
    p1_telegram,
)

PUSH = b"\xdb\x08MSL00001\x82\x00\x18\x30\x00\x00\x00\x07" + bytes(19)
"""The shape of a ciphered push whose head could also be that of a ciphered telegram."""

UI = hdlc.Control(hdlc.Kind.UI, False).encode()
LINES = {
    "hdlc": b"".join(E450),
    "m-bus": b"".join(MBUS_FRAMES),
    "p1": p1_telegram(),
    "p1-ciphered": p1_ciphered(),
}
ONE_FRAME = {
    "hdlc": hdlc.encode(hdlc.Frame(CLIENT, SERVER, UI, hdlc.RESPONSE + PUSH)),
    "m-bus": b"".join(mbus.encode(PUSH)),
}


def heard(octets: bytes, sizes: list[int], reader: LineReader | None = None) -> tuple[LineReader, list[Item]]:
    """Everything that comes out of `octets` in pieces of these sizes, over and over, and a pause."""
    reader = reader or LineReader()
    items: list[Item] = []
    at = number = 0
    while at < len(octets):
        size = sizes[number % len(sizes)]
        items += reader.feed(octets[at : at + size])
        at, number = at + size, number + 1
    return reader, items + reader.pause()


@pytest.mark.parametrize("kind", KINDS)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5), noise=st.binary(max_size=20))
def test_each_kind_is_found_out(kind: str, sizes: list[int], noise: bytes) -> None:
    # Without what begins frames: such noise may swallow the first one, as it may on any line.
    quiet = bytes(octet for octet in noise if octet not in b"\x7e\x68\x10\xe5/\xdb")
    reader, items = heard(quiet + LINES[kind] * 3, sizes)
    assert reader.kind == kind
    assert len(items) == 3 and not [item for item in items if item.error]
    assert {item.kind for item in items} == {P1_TELEGRAM if kind == "p1" else IS_APDU}


@pytest.mark.parametrize("kind", ONE_FRAME)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_what_looks_like_a_telegram_inside_a_frame_is_none(kind: str, sizes: list[int]) -> None:
    reader, items = heard(ONE_FRAME[kind], sizes)
    assert reader.kind == kind
    assert [(item.payload, [layer.kind for layer in item.layers]) for item in items] == [(PUSH, [kind])]


def test_a_telegram_counts_after_a_pause_or_when_more_follows() -> None:
    reader = LineReader()
    assert reader.feed(p1_ciphered()) == []
    assert len(reader.pause()) == 1
    assert reader.kind == "p1-ciphered"
    assert len(reader.feed(p1_ciphered())) == 1  # known by now: at once
    reader = LineReader()
    assert reader.feed(p1_ciphered()) == []
    assert len(reader.feed(p1_ciphered())) == 2


def test_a_missing_segment_is_told_and_the_next_apdu_comes_whole() -> None:
    _, items = heard(E450[0] + E450[2] + b"".join(E450), [50])
    assert isinstance(items[0].error, Malformed) and "block" in str(items[0].error)
    assert [item.error for item in items[-1:]] == [None]
    _, items = heard(MBUS_FRAMES[1] + b"".join(MBUS_FRAMES), [50])
    assert isinstance(items[0].error, Malformed) and items[-1].error is None
    assert items[-1].layers[0].fields["frames"] == 2


def test_many_parties_that_never_end_cost_no_more_than_what_they_began() -> None:
    reader = LineReader()
    errors = 0
    for number in range(100):
        frame = hdlc.Frame(hdlc.Address(number + 16), SERVER, UI, b"\xe6\xe7\x00\xdb" + bytes(50), True)
        errors += sum(item.error is not None for item in reader.feed(hdlc.encode(frame)))
    assert 0 < errors < 20
    assert len(reader.feed(ONE_FRAME["hdlc"])) == 1


def test_wrapper_frames_with_blocks() -> None:
    reader = LineReader()
    blocks = [gbt.encode(gbt.Block(1, PUSH[:20])), gbt.encode(gbt.Block(2, PUSH[20:], last=True))]
    assert reader.frame((1, 103, blocks[0])) == []
    (item,) = reader.frame((1, 103, blocks[1]))
    assert item.payload == PUSH
    assert [layer.kind for layer in item.layers] == ["wrapper", "general-block-transfer"]
    (item,) = reader.frame((1, 103, b"\xfe"))
    assert isinstance(item.error, DecodeError)
    assert wrapper.VERSION == 1


def test_only_the_kinds_that_were_asked_for() -> None:
    assert heard(LINES["m-bus"], [100], LineReader(["hdlc"]))[1] == []
    with pytest.raises(Misuse):
        LineReader(["zigbee"])


def test_a_line_that_changes_its_kind_is_found_out_anew() -> None:
    reader, _ = heard(LINES["m-bus"], [100])
    assert reader.kind == "m-bus"
    heard(bytes(BLIND + 1), [4096], reader)
    _, items = heard(LINES["hdlc"], [100], reader)
    assert reader.kind == "hdlc" and len(items) == 1


@given(
    pieces=st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(sorted(LINES.values()))), max_size=12)
)
def test_nothing_that_comes_raises(pieces: list[bytes]) -> None:
    reader = LineReader()
    for piece in pieces:
        reader.feed(piece)
        if piece[:1] == b"a":
            reader.pause()
        if piece:
            reader.frame((1, 1, piece))
    for _ in range(2):
        reader.pause()


def test_what_others_took_out_of_its_frames() -> None:
    """Whole APDUs and blocks of one, each party's for itself, with the layer they came in."""
    here = LineReader()
    layer, other = (Layer("hdlc", {"source": 1, "source_lower": n, "control": "UI"}) for n in (17, 18))
    assert [(item.layers, item.payload) for item in here.carried(layer, APDU)] == [((layer,), APDU)]
    blocks = gbt_blocks(LONG_APDU, 100)
    assert not [item for block in blocks[:-1] for item in here.carried(layer, block)]
    assert not [item for item in here.carried(other, blocks[-1]) if item.payload]
    (whole,) = here.carried(layer, blocks[-1])
    assert whole.payload == LONG_APDU
    assert [one.kind for one in whole.layers] == ["hdlc", "general-block-transfer"]
    (broken,) = here.carried(layer, b"")
    assert broken.error is not None
