"""What was prepared seals and opens as the general verbs do, and leaves to them what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterseal.crypto.v44 import PACKET
from meterseal.errors import CountersNeeded, MetersealError, UnknownKey
from meterseal.keys.counters import LIMIT, SendCounter
from meterseal.security import Context, Style, protect, unprotect
from meterseal.security.prepared import BOTH, Sealing, Unsealing, fits
from tests.security.keys import DEK, GET, OTHER, OWN, PEER, context, in_use, sealed

STYLES = (Style.GLO, Style.DED, Style.GENERAL_GLO, Style.GENERAL_DED)
TAG = GET[0]


def pair(lowest: int = 0, suite_id: int = 0) -> tuple[Context, Context]:
    """A client's context, and the meter's that it speaks to."""
    sender, receiver = (
        context(suite_id=suite_id, dedicated=False, peer=OWN, lowest=lowest) for _ in range(2)
    )
    sender.setup.own_title, receiver.peer_title = PEER, PEER
    if suite_id == 2:
        for end in (sender, receiver):
            end.setup.unicast = in_use(bytes(32), bytes(range(32)), lowest=lowest)
    for end in (sender, receiver):
        end.set_dedicated(DEK if suite_id != 2 else bytes(range(1, 33)))
    return sender, receiver


def stand(end: Context) -> list[object]:
    """Where all counters stand."""
    keys = [key for key in (end.setup.unicast, end.dedicated) if key is not None]
    return [(key.tx.left, key.rx.lowest, key.rx._seen) for key in keys]


@given(
    st.sampled_from(STYLES),
    st.sampled_from([0, 1, 2]),
    st.binary(max_size=200).map(lambda rest: b"\xc0" + rest),
)
@example(Style.GLO, 0, b"\xc0" + bytes(150))
@example(Style.GENERAL_DED, 2, b"\xc0" + bytes(300))
def test_it_seals_what_protect_seals(style: Style, suite_id: int, apdu: bytes) -> None:
    (prepared, _), (plain, _) = pair(suite_id=suite_id), pair(suite_id=suite_id)
    sealing = Sealing(prepared, TAG, style)
    for _ in range(2):
        assert sealing.seal(apdu) == protect(plain, apdu, BOTH, style)
        assert stand(prepared) == stand(plain)


@given(
    apdu=st.one_of(
        st.just(GET),
        st.builds(lambda tag, rest: bytes((tag,)) + rest, st.integers(0, 255), st.binary(max_size=130)),
    ),
    applied=st.sampled_from([3, 3, 3, 1, 2]),
    styles=st.one_of(
        st.sampled_from(STYLES).map(lambda s: (s, s)), st.tuples(*[st.sampled_from(STYLES)] * 2)
    ),
    floor=st.sampled_from([0, 100, 101, 102]),
    flips=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 255)), max_size=1),
    cut=st.integers(0, 60),
    most=st.sampled_from([0, 0, 40]),
    suite_id=st.sampled_from([0, 2]),
    likely=st.sampled_from([b"", GET, b"\xc0" + bytes(len(GET) - 1), GET[:-1]]),
)
def test_it_opens_what_unprotect_opens_and_nothing_else(
    apdu: bytes, applied: int, styles: tuple[Style, Style], floor: int,
    flips: list[tuple[int, int]], cut: int, most: int, suite_id: int, likely: bytes,
) -> None:  # fmt: skip
    sender, receiver = pair(floor, suite_id)
    unsealing = Unsealing(receiver, TAG, styles[1], most)
    try:
        octets = bytearray(protect(sender, apdu, applied, styles[0]))
    except MetersealError:
        return  # no such form
    for at, bits in flips:
        octets[at % len(octets)] ^= bits
    given_ = bytes(octets[: len(octets) - (cut if cut > 40 else 0)])
    before = stand(receiver)
    found = unsealing.open(given_, likely)
    assert stand(receiver) == before
    try:
        opened = unprotect(receiver, given_)
    except MetersealError:
        assert found is None
        return
    if found is not None:
        after = stand(receiver)
        assert found == (opened.apdu, opened.counter) and opened.applied == BOTH and opened.style is styles[1]
        assert not opened.broadcast and not opened.layers and opened.key is unsealing.key
        unsealing.key.rx.commit(opened.counter)
        assert stand(receiver) == after
    else:
        usual = (
            opened.applied == BOTH and opened.style is styles[1] and apdu[0] == TAG and not opened.broadcast
        )
        assert not usual or len(given_) > (most or 129)


@pytest.mark.parametrize("style", STYLES)
def test_what_has_a_length_of_one_octet_is_opened_and_nothing_longer(style: Style) -> None:
    sender, receiver = pair()
    unsealing, octets = Unsealing(receiver, TAG, style), b""
    for content in (126, 127, 128):
        apdu = b"\xc0" + bytes(content - 18)
        octets = protect(sender, apdu, BOTH, style)
        found = unsealing.open(octets)
        assert (found is not None) is (content < 128), content
    # The same content again, as if one octet could say 128.
    before, after = octets[:-130], octets[-128:]
    assert octets == before + b"\x81\x80" + after
    assert unsealing.open(before + b"\x80" + after) is None


@pytest.mark.parametrize("counter", [LIMIT - 1, LIMIT])
def test_the_last_counter_is_never_taken(counter: int) -> None:
    sender, receiver = pair()
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    assert sender.setup.unicast is not None
    sender.setup.unicast.tx = SendCounter(LIMIT - 1, LIMIT)
    octets = protect(sender, GET, BOTH, Style.GLO)
    octets = octets[:3] + counter.to_bytes(4, "big") + octets[7:]
    assert (unsealing.open(octets) is not None) is (counter < LIMIT)


@pytest.mark.parametrize("style", STYLES)
def test_every_octet_before_the_counter_is_as_it_was_prepared(style: Style) -> None:
    """None of them is looked at again by the cipher: it is told what they should be."""
    sender, receiver = pair()
    unsealing = Unsealing(receiver, TAG, style)
    octets = protect(sender, GET, BOTH, style)
    for at in range(len(octets) - len(GET) - 12 - 4):
        for bit in range(8):
            changed = octets[:at] + bytes((octets[at] ^ 1 << bit,)) + octets[at + 1 :]
            assert unsealing.open(changed) is None, (at, bit)
    assert unsealing.open(octets) is not None


def test_what_is_sealed_under_the_last_number_or_holds_another_request_is_none_of_them() -> None:
    unsealing = Unsealing(pair()[1], TAG, Style.GLO)
    assert unsealing.open(sealed(0xC8, GET, counter=LIMIT - 1)) == (GET, LIMIT - 1)
    assert unsealing.open(sealed(0xC8, GET, counter=LIMIT)) is None
    assert unsealing.open(sealed(0xC8, b"\xc1" + GET[1:])) is None


def test_what_came_before_is_left_to_the_general_verb() -> None:
    sender, receiver = pair()
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    octets = protect(sender, GET, BOTH, Style.GLO)
    assert unsealing.open(octets) == (GET, 100)
    unsealing.key.rx.commit(100)
    assert unsealing.open(octets) is None


@given(st.lists(st.binary(max_size=130), min_size=1, max_size=6))
def test_messages_of_other_sizes_come_one_after_another(rests: list[bytes]) -> None:
    sender, receiver = pair()
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    for counter, rest in enumerate(rests, 100):
        octets = protect(sender, b"\xc0" + rest, BOTH, Style.GLO)
        found = unsealing.open(octets)
        assert found == (None if len(octets) > 129 else (b"\xc0" + rest, counter))
        for likely in (b"\xc0" + rest, b"\xc0" + rest[::-1], b"\xc0" + rest + b"x", b"\xc0"):
            assert unsealing.open(octets, likely) == found
        if found is not None:
            unsealing.key.rx.commit(counter)


@pytest.mark.parametrize("short", [b"", b"\xc8", b"\xc8\x05", bytes(18)])
def test_too_few_octets_are_none_of_them(short: bytes) -> None:
    assert Unsealing(pair()[1], TAG, Style.GLO).open(short) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("unicast", in_use()), ("policy", 4), ("own_title", OTHER), ("peer_title", OTHER), ("suite", None)],
)
def test_any_change_of_the_setup_ends_both(name: str, value: Any) -> None:
    sender, receiver = pair()
    sealing, unsealing = Sealing(sender, TAG, Style.GLO), Unsealing(receiver, TAG, Style.GLO)
    octets = sealing.seal(GET)
    assert octets is not None and unsealing.open(octets) == (GET, 100)
    for end in (sender, receiver):
        setattr(end.setup, name, value or getattr(end.setup, name))
    before = stand(sender)
    assert sealing.seal(GET) is None and unsealing.open(octets) is None
    assert stand(sender) == before


def test_without_a_counter_or_a_key_it_raises_as_protect() -> None:
    sender, _ = pair()
    sealing, key = Sealing(sender, TAG, Style.GLO), sender.setup.unicast
    assert key is not None
    key.tx._abandon()
    with pytest.raises(CountersNeeded):
        sealing.seal(GET)
    key.tx.extend(20_000, 20_010)
    key.handle.destroy()
    with pytest.raises(UnknownKey):
        sealing.seal(GET)
    assert Unsealing(sender, TAG, Style.GLO).open(bytes(32)) is None


def test_under_a_destroyed_key_nothing_opens() -> None:
    sender, receiver = pair()
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    octets = protect(sender, GET, BOTH, Style.GLO)
    assert unsealing.open(octets) == (GET, 100)
    unsealing.key.handle.destroy()
    before = stand(receiver)
    assert unsealing.open(octets) is None and stand(receiver) == before


FITS: dict[str, tuple[dict[str, Any], bool, bool, bool]] = {
    "as it is": ({}, True, True, True),
    "compression": ({"compression": PACKET}, False, False, False),
    "no general forms": ({"general": False}, True, True, False),
    "an unknown peer": ({"peer_title": None}, False, False, False),
    "its own title": ({"peer_title": OWN}, False, False, False),
    "no dedicated key": ({"dedicated": None}, True, False, True),
    "only the dedicated key": ({"exclusive_dedicated": True}, False, True, False),
}
"""What is set, and whether GLO, DED and GENERAL_GLO can be prepared then."""


@pytest.mark.parametrize("kind", FITS)
def test_what_can_be_prepared(kind: str) -> None:
    options, *expected = FITS[kind]
    end = pair()[1]
    for name, value in options.items():
        setattr(end, name, value)
    assert [fits(end, TAG, style) for style in (Style.GLO, Style.DED, Style.GENERAL_GLO)] == expected
    assert not fits(end, TAG, Style.PLAIN) and not fits(end, TAG, Style.LAYERED)
    assert not fits(end, 0xD9, Style.GLO), "no form of its own"


def test_an_end_without_a_key_prepares_nothing() -> None:
    end = pair()[1]
    end.setup.unicast = None
    assert not fits(end, TAG, Style.GLO)


def test_older_datagrams_are_left_to_the_general_verb() -> None:
    sender, receiver = pair()
    receiver.window = 64
    unsealing = Unsealing(receiver, TAG, Style.GLO)
    late, soon = (protect(sender, GET, BOTH, Style.GLO) for _ in range(2))
    assert unprotect(receiver, soon).counter == 101
    assert unsealing.open(late) is None
    assert unprotect(receiver, late).counter == 100
