"""General block transfer, end by end: the published exchange, windows, losses, lies, bounds (more 2)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.association.transfer import NOTHING, TRIES, Transfer, room, unconfirmed
from meterseal.errors import Malformed, Misuse, TimedOut, TooLarge
from meterseal.framing import gbt
from meterseal.framing.gbt import Block, Reassembly, decode, encode

APDU = bytes(range(70))
SEVEN = 7 + 10
"""Octets of a block with ten octets of data: APDU is seven of them."""


def transfer(size: int = SEVEN, window: int = 3, limit: int = 4096, **options: Any) -> Transfer:
    return Transfer(size=size, window=window, limit=limit, **options)


def test_the_published_exchange_octet_for_octet() -> None:
    """Seven blocks, the client's window 3, block 3 lost once."""
    meter, client = transfer(window=1), transfer(window=3)
    d = [APDU[at : at + 10].hex().upper() for at in range(0, 70, 10)]
    (first,) = meter.send(APDU)
    assert first.hex().upper() == f"E001000100000A{d[0]}"
    (ack,) = client.take(decode(first)).send
    assert ack.hex().upper() == "E0830001000100"
    second, third, fourth = meter.take(decode(ack)).send
    assert second.hex().upper() == f"E04100020001 0A{d[1]}".replace(" ", "")
    assert third.hex().upper() == f"E04100030001 0A{d[2]}".replace(" ", "")
    assert fourth.hex().upper() == f"E00100040001 0A{d[3]}".replace(" ", "")
    assert client.take(decode(second)) == NOTHING
    (ack,) = client.take(decode(fourth)).send  # the third is lost
    assert ack.hex().upper() == "E0810002000200"
    (again,) = meter.take(decode(ack)).send
    assert again.hex().upper() == f"E00100030002 0A{d[2]}".replace(" ", "")
    (ack,) = client.take(decode(again)).send
    assert ack.hex().upper() == "E0830003000400"
    blocks = meter.take(decode(ack)).send
    assert [b.hex().upper() for b in blocks] == [
        f"E041000500030A{d[4]}",
        f"E041000600030A{d[5]}",
        f"E081000700030A{d[6]}",
    ]
    assert [client.take(decode(b)) for b in blocks[:2]] == [NOTHING, NOTHING]
    done = client.take(decode(blocks[2]))
    assert done.whole == APDU and done.send == ()


def test_a_long_request_is_the_mirror_image() -> None:
    """The first block of data of the answer acknowledges the last one of the request."""
    client, meter = transfer(window=5), transfer(window=2)
    (first,) = client.send(APDU)
    assert first[:6].hex().upper() == "E00500010000"
    taken = meter.take(decode(first))
    assert [s.hex().upper() for s in taken.send] == ["E0820001000100"]
    sent = client.take(decode(taken.send[0])).send
    seen = [first]
    while True:
        seen += sent
        for octets in sent:
            taken = meter.take(decode(octets))
        if taken.whole is not None:
            break
        sent = client.take(decode(taken.send[0])).send
    assert taken.whole == APDU and taken.send == ()
    assert [decode(o).number for o in seen] == list(range(1, 8))
    answer = meter.send(b"answer")
    assert [(decode(a).number, decode(a).acknowledged) for a in answer] == [(4, 7)]
    assert client.take(decode(answer[0])).whole == b"answer"


@pytest.mark.parametrize("final", [False, True])
def test_a_final_acknowledgement_may_come_or_not(final: bool) -> None:
    meter, client = transfer(), transfer()
    (only,) = meter.send(b"short")
    assert client.take(decode(only)).whole == b"short"
    if final:
        (ack,) = client.acknowledge()
        assert decode(ack) == Block(1, b"", True, False, 3, 1)
        held = meter.held
        assert meter.complete is False and held == 5
        # Towards an end that has not sent anything itself an empty block asks for more.
        meter.take(decode(ack))
        assert meter.held == 0


def test_a_final_acknowledgement_is_not_acknowledged() -> None:
    client, meter = transfer(), transfer()
    (request,) = client.send(b"request")
    assert meter.take(decode(request)).whole == b"request"
    (answer,) = meter.send(b"answer")
    assert client.take(decode(answer)).whole == b"answer"
    (ack,) = client.acknowledge()
    assert meter.take(decode(ack)) == NOTHING
    assert meter.take(decode(ack)) == NOTHING
    assert meter.held == 0


@pytest.mark.parametrize(
    ("size", "data"),
    [
        (8, 1),
        (133, 126),
        (134, 127),
        (135, 127),
        (136, 128),
        (263, 255),
        (264, 255),
        (265, 256),
        (1024, 1015),
    ],
)
def test_blocks_fill_the_size_that_was_agreed(size: int, data: int) -> None:
    assert room(size) == data
    assert len(encode(Block(1, bytes(data)))) <= size
    assert len(encode(Block(1, bytes(data + 1)))) > size
    assert len(encode(Block(1, bytes(room(0))))) == 0xFFFF


@pytest.mark.parametrize("size", [1, 6, 7])
def test_a_size_without_room(size: int) -> None:
    with pytest.raises(TooLarge):
        transfer(size=size)


def test_what_cannot_be_sent() -> None:
    with pytest.raises(TooLarge):
        transfer(size=8).send(bytes(gbt.MAX_BLOCKS + 1))
    with pytest.raises(TooLarge):
        unconfirmed(bytes(gbt.MAX_BLOCKS + 1), 8)
    with pytest.raises(Misuse):
        transfer().send(b"")
    busy = transfer()
    busy.send(APDU)
    with pytest.raises(Misuse):
        busy.send(APDU)
    for window in (0, 64):
        with pytest.raises(Misuse, match=f"^the window is 1 to 63 blocks, not {window}$"):
            transfer(window=window)
        with pytest.raises(Misuse, match=f"^the peer's window is 1 to 63 blocks, not {window}$"):
            transfer(peer_window=window)
    assert len(transfer(size=8).send(bytes(gbt.MAX_BLOCKS))) == 1


def test_windows_that_are_known_beforehand() -> None:
    meter = transfer(peer_window=63)
    blocks = [decode(octets) for octets in meter.send(APDU)]
    assert [b.streaming for b in blocks] == [True] * 6 + [False]
    assert [b.last for b in blocks] == [False] * 6 + [True]
    client = transfer(window=63)
    (ack,) = client.take(blocks[6]).send
    assert (decode(ack).acknowledged, decode(ack).window) == (0, 6)  # the size of the gap
    for block in blocks[:5]:
        client.take(block)
    assert client.take(blocks[5]).whole == APDU


# --- any line ------------------------------------------------------------------------------------------


def converse(
    request: bytes, answer: bytes, lose: Callable[[], bool], windows: tuple[int, int], sizes: tuple[int, int]
) -> tuple[list[bytes], int]:
    """A request and its answer over a line that loses blocks: what each end joined, how many were sent.

    `lose` is not asked between a time-out and the first block that comes back after it.
    """
    ends = [transfer(sizes[0], windows[0], 1 << 16), transfer(sizes[1], windows[1], 1 << 16)]
    joined: list[bytes] = []
    wire = [(0, octets) for octets in ends[0].send(request)]
    sent, spared = 0, False
    while len(joined) < 2:
        if not wire:
            wire, spared = [(0, octets) for octets in ends[0].again()], True
        sender, octets = wire.pop(0)
        sent += 1
        assert len(octets) <= max(sizes[sender], 8)
        if not spared and lose():
            continue
        spared = spared and sender == 0
        other = 1 - sender
        taken = ends[other].take(decode(octets))
        wire += [(other, o) for o in taken.send]
        if taken.whole is not None:
            joined.append(taken.whole)
            if other == 1:
                wire += [(1, o) for o in ends[1].send(answer)]
    return joined, sent


@given(
    st.binary(min_size=1, max_size=600),
    st.binary(min_size=1, max_size=600),
    st.tuples(st.integers(1, 63), st.integers(1, 63)),
    st.tuples(st.integers(8, 300), st.integers(8, 300)),
)
def test_any_request_and_answer_in_any_windows(
    request_: bytes, answer: bytes, windows: tuple[int, int], sizes: tuple[int, int]
) -> None:
    assert converse(request_, answer, lambda: False, windows, sizes)[0] == [request_, answer]


@given(st.integers(0, 1 << 32), st.tuples(st.integers(1, 8), st.integers(1, 8)), st.integers(40, 200))
def test_F11_what_is_lost_is_asked_for_again(seed: int, windows: tuple[int, int], size: int) -> None:
    """One block in five is lost, either way; after a time-out the line is well until it has been answered.

    Without that a run of bad luck is the end after `TRIES` time-outs, as the next test has it.
    """
    drawn = random.Random(seed)
    request, answer = bytes(range(256)) * 2, bytes(range(255, -1, -1)) * 3
    joined, _ = converse(request, answer, lambda: drawn.random() < 0.2, windows, (size, size))
    assert joined == [request, answer]


def test_after_some_tries_without_progress_it_is_over() -> None:
    meter = transfer()
    (first,) = meter.send(APDU)
    for _ in range(TRIES):
        assert meter.again() == (first,)
    with pytest.raises(TimedOut):
        meter.again()
    other = transfer()
    other.send(APDU)
    for _ in range(10):  # an acknowledgement is progress
        other.again()
        other.again()
        if not other.sending:
            break
        other.take(Block(1, b"", True, False, 1, other._number))


# --- unconfirmed ------------------------------------------------------------------------------------------


def test_unconfirmed_blocks_are_joined_again() -> None:
    blocks = [decode(octets) for octets in unconfirmed(APDU, SEVEN)]
    assert [(b.window, b.acknowledged, b.streaming) for b in blocks] == [(0, 0, True)] * 6 + [(0, 0, False)]
    joined = Reassembly()
    assert [joined.add(block) for block in blocks] == [None] * 6 + [APDU]
    joined = Reassembly()
    with pytest.raises(Malformed):  # a gap loses it all
        for block in (blocks[0], *blocks[2:]):
            joined.add(block)
