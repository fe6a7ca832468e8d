"""What is made before it is asked for, or comes, is what would be made then; nothing else is taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterseal.errors import CountersNeeded, UnknownKey
from meterseal.keys.counters import SendCounter
from meterseal.security import KeyInUse, Style, protect, unprotect
from meterseal.security.prepared import BOTH, Sealing, Unsealing
from tests.security.keys import GET, in_use
from tests.security.test_prepared import STYLES, TAG, pair, stand

OTHERS = (GET[:2] + b"\xc2" + GET[3:], GET[:-1] + b"\1", GET + b"\0", GET[:-1])


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
def test_what_was_foreseen_takes_no_call_of_the_cipher_and_what_is_likely_one(style: Style) -> None:
    sender, receiver = pair(100)
    unsealing = Unsealing(receiver, TAG, style)
    frames = [protect(sender, GET, BOTH, style) for _ in range(4)]

    def calls(at: int) -> int:
        unsealing.foresee(GET)
        with counted(unsealing.key) as made:
            found = unsealing.open(frames[at], GET)
        assert found is not None and found[0] is GET
        unsealing.key.rx.commit(found[1])
        return len(made)

    assert [calls(at) for at in range(4)] == [1, 0, 0, 0]
    protect(sender, GET, BOTH, style)
    frames.append(protect(sender, GET, BOTH, style))
    assert calls(4) == 1, "a counter was left out"
    with counted(unsealing.key) as made:
        unsealing.foresee(GET)
    assert not made, "who leaves counters out has others to speak to"


def test_another_answer_than_the_one_foreseen_takes_one_more_call() -> None:
    sender, receiver = pair(100)
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    other = GET[:-1] + b"\1"
    for turn, sent in enumerate((GET, other, other, GET)):
        octets = protect(sender, sent, BOTH, Style.GLO)
        unsealing.foresee(GET)
        with counted(unsealing.key) as calls:
            assert unsealing.open(octets, GET) == (sent, 100 + turn)
        assert len(calls) == (1 if turn == 0 or sent == other else 0)
        unsealing.key.rx.commit(100 + turn)


@pytest.mark.parametrize("bit", range(8 * 32))
def test_B01_no_bit_of_what_was_foreseen_may_be_another(bit: int) -> None:
    sender, receiver = pair(100)
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    first, octets = (protect(sender, GET, BOTH, Style.GLO) for _ in range(2))
    unsealing.foresee(GET)
    assert unsealing.open(first, GET) == (GET, 100)
    unsealing.key.rx.commit(100)
    unsealing.foresee(GET)
    changed = bytearray(octets)
    changed[bit // 8] ^= 1 << bit % 8
    before = stand(receiver)
    assert unsealing.open(bytes(changed), GET) is None and stand(receiver) == before
    assert unsealing.open(octets, GET) == (GET, 101), "what was forged has changed nothing"
    unsealing.key.rx.commit(101)
    assert unsealing.open(octets, GET) is None


@pytest.mark.parametrize("kind", ["key", "policy", "destroyed"])
def test_what_was_foreseen_ends_with_the_key_and_with_any_change(kind: str) -> None:
    sender, receiver = pair(100)
    sealing, unsealing = Sealing(sender, TAG, Style.GLO), Unsealing(receiver, TAG, Style.GLO)
    first, octets = sealing.seal(GET), sealing.seal(GET)
    sealing.foresee(GET)
    unsealing.foresee(GET)
    assert first and octets and unsealing.open(first, GET) == (GET, 100)
    unsealing.key.rx.commit(100)
    unsealing.foresee(GET)
    for end in (sender, receiver):
        assert end.setup.unicast is not None
        if kind == "destroyed":
            end.setup.unicast.handle.destroy()
        else:
            setattr(end.setup, *{"key": ("unicast", in_use()), "policy": ("policy", 4)}[kind])
    assert unsealing.open(octets, GET) is None
    unsealing.foresee(GET)
    assert unsealing.open(octets, GET) is None
    if kind == "destroyed":
        with pytest.raises(UnknownKey):
            sealing.seal(GET)
    else:
        assert sealing.seal(GET) is None
    sealing.foresee(GET)


def test_nothing_is_foreseen_with_a_destroyed_key() -> None:
    sender, receiver = pair(100)
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    first, octets = (protect(sender, GET, BOTH, Style.GLO) for _ in range(2))
    unsealing.foresee(GET)
    assert unsealing.open(first, GET) == (GET, 100)
    unsealing.key.rx.commit(100)
    unsealing.key.handle.destroy()
    unsealing.foresee(GET)
    assert unsealing.open(octets, GET) is None


FORESEEN = st.lists(
    st.tuples(
        st.sampled_from(["foresee", "seal", "seal", "protect", "reserve"]), st.sampled_from([GET, *OTHERS])
    ),
    max_size=20,
)


@given(FORESEEN, st.integers(1, 6), st.sampled_from(STYLES))
@example([("foresee", GET), ("seal", GET), ("foresee", GET), ("protect", GET), ("seal", GET)], 6, Style.GLO)
def test_what_is_made_ahead_is_what_protect_makes_and_no_counter_comes_twice(
    steps: list[tuple[str, bytes]], block: int, style: Style
) -> None:
    sender, receiver = pair()
    sealing, key = Sealing(sender, TAG, style), sender.sending_key(style.key_set)
    key.tx, sent = SendCounter(0, block), list[int]()
    for step, apdu in steps:
        try:
            if step == "reserve":
                key.tx.extend(key.tx.end, key.tx.end + block)
            elif step == "foresee":
                sealing.foresee(apdu)
            else:
                octets = sealing.seal(apdu) if step == "seal" else protect(sender, apdu, BOTH, style)
                assert octets is not None
                opened = unprotect(receiver, octets)  # which refuses a counter that is not above the last
                assert opened.apdu == apdu and opened.applied == BOTH and opened.style is style
                sent.append(opened.counter or 0)
        except CountersNeeded:
            assert not key.tx.left
    assert len(set(sent)) == len(sent)
    assert all(counter < key.tx.next for counter in sent)


def test_H13_what_was_made_ahead_is_not_for_a_child_after_a_fork() -> None:
    for block in range(1, 5):
        sender, _ = pair()
        sealing, key = Sealing(sender, TAG, Style.GLO), sender.sending_key(Style.GLO.key_set)
        key.tx = SendCounter(0, block)
        sealing.foresee(GET)
        key.tx._abandon()  # as in the child
        with pytest.raises(CountersNeeded):
            sealing.seal(GET)
