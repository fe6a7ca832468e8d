"""Invocation counters: every value once, upwards only, and an end that is an end."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import CounterExhausted, CountersNeeded, Misuse, Replayed
from meterseal.keys.counters import LIMIT, REKEY_FROM, WINDOW, ReceiveCounter, SendCounter, key_id


def test_a_block_is_given_out_once_and_then_needs_another() -> None:
    counter = SendCounter(5, 8)
    assert counter.left == 3
    assert [counter.take() for _ in range(3)] == [5, 6, 7]
    assert counter.left == 0
    with pytest.raises(CountersNeeded):
        counter.take()
    counter.extend(8, 10)
    assert [counter.take(), counter.take()] == [8, 9]


def test_C05_the_end_of_the_space() -> None:
    """From 2^32 - 3: two values, then no more; FFFFFFFF itself is never given out."""
    counter = SendCounter(0xFFFFFFFD, LIMIT)
    assert [counter.take(), counter.take()] == [0xFFFFFFFD, 0xFFFFFFFE]
    for _ in range(3):
        with pytest.raises(CounterExhausted):
            counter.take()
    assert counter.exhausted
    for end in (LIMIT + 1, 1 << 33):
        with pytest.raises(Misuse):
            counter.extend(LIMIT, end)
        with pytest.raises(Misuse):
            SendCounter(0, end)


def test_C05_a_new_key_is_due_long_before() -> None:
    assert [SendCounter(first, LIMIT).rekey_due for first in (REKEY_FROM - 1, REKEY_FROM)] == [False, True]
    assert not SendCounter(REKEY_FROM, LIMIT).exhausted
    assert LIMIT - REKEY_FROM > 2_000_000_000


def test_extend_never_goes_back() -> None:
    counter = SendCounter(10, 20)
    counter.take()
    for block in ((9, 30), (19, 30), (10, 20), (25, 24)):
        with pytest.raises(Misuse):
            counter.extend(*block)
    assert counter.take() == 11
    counter.extend(40, 50)  # another process had 20 to 39: what was left of ours is skipped
    assert (counter.take(), counter.left) == (40, 9)


def test_unlimited_starts_at_zero() -> None:
    counter = SendCounter.unlimited()
    assert counter.take() == 0
    assert counter.left == LIMIT - 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20), st.integers(0, 25)), max_size=20))
def test_values_only_rise(steps: list[tuple[int, int, int]]) -> None:
    """Whatever blocks come, with gaps or without: strictly rising, and only reserved values."""
    counter, reserved, end, given_out = SendCounter(0, 0), set[int](), 0, list[int]()
    for gap, size, takes in steps:
        first, end = end + gap, end + gap + size
        reserved.update(range(first, end))
        counter.extend(first, end)
        given_out += [counter.take() for _ in range(min(takes, counter.left))]
    assert given_out == sorted(set(given_out))
    assert set(given_out) <= reserved


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_C06_a_forked_child_has_no_values() -> None:
    counter = SendCounter(0, 100)
    counter.take()
    child = os.fork()
    if not child:
        status = 1
        try:
            counter.take()
        except CountersNeeded:
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert counter.take() == 1


def test_receive_counter() -> None:
    counter = ReceiveCounter(5)
    for old in (0, 4):
        with pytest.raises(Replayed) as caught:
            counter.check(old)
        assert caught.value.lowest_acceptable == 5
    counter.check(5)
    counter.check(5)  # checking alone moves nothing
    counter.commit(5)
    assert counter.lowest == 6
    with pytest.raises(Replayed):
        counter.check(5)
    counter.check(1_000_000)  # a gap is accepted
    counter.commit(1_000_000)
    counter.commit(7)  # the token inside a frame that has been committed
    assert counter.lowest == 1_000_001


def test_receive_counter_at_the_end() -> None:
    counter = ReceiveCounter()
    with pytest.raises(Replayed) as caught:
        counter.check(LIMIT)
    assert caught.value.lowest_acceptable == 0
    with pytest.raises(Replayed):
        counter.commit(LIMIT)
    assert counter.lowest == 0
    counter.check(LIMIT - 1)
    counter.commit(LIMIT - 1)
    for ic in (0, LIMIT - 1, LIMIT):
        with pytest.raises(Replayed):
            counter.check(ic)


@pytest.mark.parametrize("lowest", [-1, LIMIT + 1])
def test_no_such_floor(lowest: int) -> None:
    with pytest.raises(Misuse):
        ReceiveCounter(lowest)


@pytest.mark.parametrize("block", [(-1, 5), (5, 4), (0, LIMIT + 1)])
def test_no_such_block(block: tuple[int, int]) -> None:
    with pytest.raises(Misuse):
        SendCounter(*block)


def test_C06_every_key_title_and_direction_has_its_own_name() -> None:
    names = {
        key_id(kcv, title, direction)
        for kcv in ("0123456789", "9876543210")
        for title in (b"MSL\0\0\0\0\1", b"MSL\0\0\0\0\2")
        for direction in ("tx", "rx")
    }
    assert len(names) == 8
    assert "0123456789-4D534C0000000001-tx" in names


def test_reprs_say_where_they_stand() -> None:
    assert repr(SendCounter(1, 2)) == "<SendCounter next 1 end 2>"
    assert repr(ReceiveCounter(3)) == "<ReceiveCounter lowest 3>"


# --- datagrams ------------------------------------------------------------------------------------

_START = 1000


@given(
    st.lists(st.integers(_START - 100, _START + 200), max_size=300),
    st.sampled_from([0, 1, 7, WINDOW]),
)
def test_C11_each_counter_at_most_once_in_any_order(arriving: list[int], window: int) -> None:
    """Held against a set of all that came: acceptable is what is new and not too far below."""
    counter, came = ReceiveCounter(_START), set[int]()
    for ic in arriving:
        highest = max([_START - 1, *came])
        fresh = ic >= _START and ic not in came and ic > highest - window if window else ic > highest
        try:
            counter.check(ic, window)
        except Replayed as error:
            assert not fresh and error.lowest_acceptable == highest + 1
        else:
            assert fresh
            counter.commit(ic)
            came.add(ic)


def test_C11_nothing_below_a_floor_from_the_state_is_acceptable() -> None:
    counter = ReceiveCounter(500)
    for ic in (499, 437, 0):
        with pytest.raises(Replayed):
            counter.check(ic, WINDOW)
    counter.commit(510)
    counter.check(505, WINDOW)
    counter.skip_to(508)  # not higher than it stands
    counter.check(505, WINDOW)
    counter.skip_to(600)
    for ic in (599, 505):
        with pytest.raises(Replayed):
            counter.check(ic, WINDOW)


def test_C11_a_jump_to_the_end_costs_nothing() -> None:
    counter = ReceiveCounter()
    counter.commit(LIMIT - 1)
    assert counter.lowest == LIMIT and counter._seen.bit_length() <= WINDOW
    counter.check(LIMIT - 2, WINDOW)
    with pytest.raises(Replayed):
        counter.check(LIMIT - 1, WINDOW)
