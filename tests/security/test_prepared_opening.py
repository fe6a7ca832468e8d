"""A message that is known before it comes is recognised, and nothing else is taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import MetersealError
from meterseal.keys.counters import LIMIT, SendCounter
from meterseal.security import Context, KeyInUse, Style, protect, unprotect
from meterseal.security.prepared import BOTH, Unsealing
from tests.security.keys import GET
from tests.security.test_prepared import STYLES, TAG, pair, stand

OTHERS = (GET[:2] + b"\xc2" + GET[3:], GET[:-2] + b"\3\0", b"\xc1" + GET[1:], GET + b"\0", GET[:-1])


class Expected:
    """Tells a message that is expected from all others."""

    def __init__(self, receiver: Context, style: Style) -> None:
        self._unsealing = Unsealing(receiver, TAG, style)

    def counter(self, octets: bytes, plain: bytes) -> int | None:
        """Of a message that is `plain`, sealed."""
        found = self._unsealing.open(octets, plain)
        return None if found is None or found[0] is not plain else found[1]


@given(
    sent=st.sampled_from((GET, GET, GET, *OTHERS)),
    applied=st.sampled_from([3, 3, 3, 1, 2]),
    styles=st.one_of(
        st.sampled_from(STYLES).map(lambda s: (s, s)), st.tuples(*[st.sampled_from(STYLES)] * 2)
    ),
    floor=st.sampled_from([0, 100, 101, 102]),
    flips=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 255)), max_size=1),
    cut=st.integers(0, 60),
    suite_id=st.sampled_from([0, 1, 2]),
)
def test_it_is_what_unprotect_opens_to_the_same_and_nothing_else(
    sent: bytes, applied: int, styles: tuple[Style, Style], floor: int,
    flips: list[tuple[int, int]], cut: int, suite_id: int,
) -> None:  # fmt: skip
    sender, receiver = pair(floor, suite_id)
    expected = Expected(receiver, styles[1])
    octets = bytearray(protect(sender, sent, applied, styles[0]))
    for at, bits in flips:
        octets[at % len(octets)] ^= bits
    came = bytes(octets[: len(octets) - (cut if cut > 40 else 0)])
    before = stand(receiver)
    counter = expected.counter(came, GET)
    assert stand(receiver) == before
    try:
        opened = unprotect(receiver, came)
    except MetersealError:
        assert counter is None
        return
    same = opened.apdu == GET and opened.applied == BOTH and opened.style is styles[1]
    assert counter == (opened.counter if same and not opened.broadcast else None)


@pytest.mark.parametrize("bit", range(8 * 32))
def test_B01_no_bit_may_be_another(bit: int) -> None:
    sender, receiver = pair()
    expected, octets = Expected(receiver, Style.GLO), protect(sender, GET, BOTH, Style.GLO)
    assert len(octets) == 32 and expected.counter(octets, GET) == 100
    changed = bytearray(octets)
    changed[bit // 8] ^= 1 << bit % 8
    assert expected.counter(bytes(changed), GET) is None


@pytest.mark.parametrize("counter", [LIMIT - 1, LIMIT])
def test_the_last_counter_is_never_taken(counter: int) -> None:
    sender, receiver = pair()
    key = sender.setup.unicast
    assert key is not None
    expected = Expected(receiver, Style.GLO)
    body = key.handle.seal(0x30, sender.setup.own_title + counter.to_bytes(4, "big"), GET)
    octets = bytes.fromhex("C81E30") + counter.to_bytes(4, "big") + body
    assert (expected.counter(octets, GET) is not None) is (counter < LIMIT)


def test_any_change_of_the_setup_and_a_destroyed_key_end_it() -> None:
    sender, receiver = pair()
    expected, octets = Expected(receiver, Style.GLO), protect(sender, GET, BOTH, Style.GLO)
    assert expected.counter(octets, GET) == 100
    receiver.setup.policy = 4
    assert expected.counter(octets, GET) is None
    expected = Expected(receiver, Style.GLO)
    assert receiver.setup.unicast is not None and expected.counter(octets, GET) == 100
    receiver.setup.unicast.handle.destroy()
    assert expected.counter(octets, GET) is None


def test_C01_what_was_committed_is_not_taken_again() -> None:
    sender, receiver = pair()
    assert sender.setup.unicast is not None and receiver.setup.unicast is not None
    sender.setup.unicast.tx = SendCounter(200, 300)
    expected, octets = Expected(receiver, Style.GLO), protect(sender, GET, BOTH, Style.GLO)
    assert expected.counter(octets, GET) == 200
    receiver.setup.unicast.rx.commit(200)
    assert expected.counter(octets, GET) is None


@contextmanager
def counted(key: KeyInUse) -> Iterator[list[bytes]]:
    """What the cipher is called with meanwhile."""
    handle, calls = key.handle, list[bytes]()
    kept = handle._encrypt

    def counting(nonce: bytes, data: bytes, additional: bytes | None) -> bytes:
        calls.append(data)
        return kept(nonce, data, additional)

    handle._encrypt = counting
    try:
        yield calls
    finally:
        handle._encrypt = kept


@pytest.mark.parametrize("style", STYLES)
def test_what_is_likely_takes_one_call_of_the_cipher_and_anything_else_two(style: Style) -> None:
    sender, receiver = pair(100)
    unsealing = Unsealing(receiver, TAG, style)
    other = GET[:-1] + b"\1"
    for sent in (GET, other, other, GET):
        octets = protect(sender, sent, BOTH, style)
        with counted(unsealing.key) as calls:
            found = unsealing.open(octets, GET)
        assert found is not None and found[0] == sent
        assert len(calls) == (1 if sent == GET else 2)
        unsealing.key.rx.commit(found[1])
