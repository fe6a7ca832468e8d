"""General block transfer with a hostile end (F11): what it may say, and what that costs this one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.association import transfer as transfers
from meterseal.association.transfer import REPEATS
from meterseal.errors import Malformed, MetersealError, TooLarge
from meterseal.framing.gbt import Block, decode
from tests.association.test_transfer import APDU, transfer


def test_F11_endless_blocks_stop_at_the_limit() -> None:
    meter = transfer(limit=1000)
    with pytest.raises(TooLarge):
        for number in range(1, 1000):
            meter.take(Block(number, bytes(10), window=1))
            assert meter.held <= 1000
    assert number == 101


def test_F11_endless_empty_blocks_stop_at_the_count() -> None:
    meter = transfer(blocks=50)
    with pytest.raises(TooLarge):
        for number in range(1, 100):
            meter.take(Block(number, b"", window=1))
    assert number == 51
    assert meter.held == 0


def test_F11_empty_blocks_that_acknowledge_nothing_new_are_no_progress() -> None:
    meter = transfer()
    meter.send(APDU)
    with pytest.raises(Malformed, match="progress"):
        for number in range(1, 1000):
            meter.take(Block(number, b"", last=True, window=1, acknowledged=1))
    assert number == REPEATS + 2


@pytest.mark.parametrize("number", [0, 64, 65, 1000, 0xFFFF])
def test_F11_a_number_far_ahead_is_refused(number: int) -> None:
    with pytest.raises(Malformed):
        transfer().take(Block(number, b"x", window=1))


def test_F11_acknowledging_what_was_not_sent_is_refused() -> None:
    meter = transfer()
    meter.send(APDU)
    with pytest.raises(Malformed):
        meter.take(Block(1, b"", True, window=1, acknowledged=2))


def test_F11_only_what_is_stored_is_acknowledged() -> None:
    meter = transfer(window=5)
    for number in (3, 5, 63):
        (ack,) = meter.take(Block(number, b"x", window=1)).send
        assert decode(ack).acknowledged == 0
    (ack,) = meter.take(Block(1, b"x", window=1)).send
    assert (decode(ack).acknowledged, decode(ack).window) == (1, 1)
    (ack,) = meter.take(Block(2, b"x", window=1)).send
    assert (decode(ack).acknowledged, decode(ack).window) == (3, 1)


def test_F11_repeats_change_nothing() -> None:
    meter = transfer()
    meter.take(Block(1, b"first", window=1))
    for _ in range(100):
        (ack,) = meter.take(Block(1, b"other", window=1)).send
        assert decode(ack) == Block(1, b"", True, False, 3, 1)
    assert meter.held == 5
    assert meter.take(Block(2, b" and last", last=True, window=1, acknowledged=1)).whole == b"first and last"


def test_F11_repeats_without_end_are_refused() -> None:
    meter = transfer()
    repeated = Block(1, b"x", window=1)
    for _ in range(REPEATS + 1):
        meter.take(repeated)
    with pytest.raises(Malformed, match="progress"):
        meter.take(repeated)


def test_F11_data_that_comes_while_the_answer_is_on_its_way_is_of_another_exchange() -> None:
    meter = transfer()
    meter.take(Block(1, b"request", last=True, window=1))
    (first,) = meter.send(APDU)
    for stray in (Block(2, b"stray", last=True, window=1), Block(3, b"stray", window=1, acknowledged=1)):
        taken = meter.take(stray)
        assert taken.whole is None and decode(taken.send[0]).acknowledged == 1
    assert meter.held < len(APDU) + 100 and decode(first).data


def test_C11_what_comes_twice_is_answered_by_one_end_alone() -> None:
    """Else each repetition makes another one: who asks answers what brings something, and has the clock."""
    meter, client = transfer(window=1), transfer(window=1, answers_repeats=False)
    (question,) = client.send(b"question")
    meter.take(decode(question))
    first = decode(meter.send(APDU)[0])
    (said,) = client.take(first).send
    assert client.take(first).send == ()
    assert client.take(Block(2, b"", True, window=2)).send == (), "an acknowledgement of nothing"
    assert client.again() and meter.take(decode(said)).send and meter.take(decode(said)).send


def test_F11_acknowledgements_of_acknowledgements_have_an_end() -> None:
    one, other = transfer(), transfer()
    queue = [(other, octets) for octets in one.acknowledge()]
    with pytest.raises(Malformed, match="progress"):
        for end, octets in queue:
            assert len(queue) < 3 * REPEATS
            queue += [(one if end is other else other, sent) for sent in end.take(decode(octets)).send]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_F11_data_after_the_last_block(order: tuple[int, int]) -> None:
    meter = transfer()
    blocks = {1: Block(2, b"a", last=True, window=1), 2: Block(3, b"b", window=1)}
    meter.take(blocks[order[0]])
    with pytest.raises(Malformed):
        meter.take(blocks[order[1]])


def test_F11_a_window_of_zero_is_one() -> None:
    meter = transfer()
    meter.send(APDU)
    assert len(meter.take(Block(1, b"", True, window=0, acknowledged=1)).send) == 1


@given(
    st.lists(
        st.builds(
            Block,
            st.integers(0, 70),
            st.binary(max_size=4),
            st.booleans(),
            st.booleans(),
            st.integers(0, 63),
            st.integers(0, 5),
        ),
        max_size=60,
    )
)
def test_F11_any_blocks_keep_to_the_bounds(blocks: list[Block]) -> None:
    """Whatever comes: typed errors, no more octets than allowed, no more blocks out than a window."""
    end = transfer(limit=64, blocks=60)
    end.send(APDU)
    for block in blocks:
        try:
            taken = end.take(block)
        except MetersealError as error:
            assert isinstance(error, Malformed | TooLarge)
            return
        assert end.held <= 64 + len(APDU)
        assert len(taken.send) <= max(block.window, 1)
        sent = [decode(octets) for octets in taken.send]
        assert all(b.acknowledged <= end._received for b in sent)
        assert not taken.whole or not taken.send


def test_F11_block_numbers_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledgements are blocks with numbers too: the last number is used, and none twice."""
    monkeypatch.setattr(transfers, "MAX_BLOCKS", 5)
    ends = transfer(window=1)

    def peer(number: int) -> Block:
        return Block(number, b"", last=False, streaming=False, window=1, acknowledged=number)

    numbers = [decode(octets).number for octets in ends.acknowledge()]
    for number in range(1, 5):
        numbers += [decode(octets).number for octets in ends.take(peer(number)).send]
    assert numbers == [1, 2, 3, 4, 5]
    with pytest.raises(TooLarge, match="5 blocks are the most"):
        ends.take(peer(5))
    with pytest.raises(TooLarge, match="70 octets needs more than 5 blocks"):
        transfer().send(APDU)
