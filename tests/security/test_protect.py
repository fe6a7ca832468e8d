"""protect and unprotect: one order, and a message that fails anywhere has changed nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.ciphered import FORMS, parse
from meterseal.errors import (
    CounterExhausted,
    CountersNeeded,
    Forged,
    Malformed,
    MetersealError,
    Misuse,
    Replayed,
    TooWeak,
    Truncated,
    UnknownKey,
    Unsupported,
)
from meterseal.keys.counters import LIMIT, WINDOW, SendCounter
from meterseal.security import AUTHENTICATED, ENCRYPTED, Style, protect, unprotect
from meterseal.security.protection import of_control, style_of
from tests.security.keys import GBEK, GET, OTHER, OWN, PEER, context, counters, in_use, sealed

BOTH = AUTHENTICATED | ENCRYPTED
SET = bytes.fromhex("C10181000800000100 00FF02001100".replace(" ", ""))
PROTECTING = (Style.GLO, Style.DED, Style.GENERAL_GLO, Style.GENERAL_DED)

plain_apdus = st.builds(
    lambda tag, rest: bytes((tag,)) + rest, st.sampled_from([0xC0, 0xC1, 0xC3, 0xC4]), st.binary(max_size=400)
)


@given(
    plain_apdus,
    st.sampled_from([AUTHENTICATED, ENCRYPTED, BOTH]),
    st.sampled_from(PROTECTING),
    st.sampled_from([0, 1, 2]),
)
def test_what_one_end_protects_the_other_opens(
    apdu: bytes, applied: int, style: Style, suite_id: int
) -> None:
    length = 32 if suite_id == 2 else 16
    sender = context(suite_id=suite_id, dedicated=False)
    receiver = context(suite_id=suite_id, dedicated=False, peer=OWN)
    for end, own in ((sender, OWN), (receiver, PEER)):
        end.setup.own_title = own
        end.setup.unicast = in_use(bytes(length), bytes(range(length)))
        end.set_dedicated(bytes(range(1, length + 1)))
    octets = protect(sender, apdu, applied, style)
    opened = unprotect(receiver, octets)
    assert (opened.apdu, opened.applied, opened.style) == (apdu, applied, style)
    assert octets[0] == (style.form.tag if style.form else style.tags[apdu[0]])
    assert parse(octets).title == (OWN if style.general else None)
    key = receiver.receiving_key(style.key_set, False)
    assert opened.key is key
    assert opened.lowest_before == 0
    assert key.rx.lowest == (opened.counter + 1 if applied & AUTHENTICATED else 0)


@pytest.mark.parametrize("size", [10, 109, 110, 111, 237, 238, 4000, 65_535, 70_000])
@pytest.mark.parametrize("style", PROTECTING)
def test_lengths_around_their_longer_forms(style: Style, size: int) -> None:
    apdu = b"\xc4" + bytes(size - 1)
    octets = protect(context(), apdu, BOTH, style)
    message = parse(octets)
    assert len(message.body) == size + 12
    # The other end has the same keys and the titles exchanged.
    other = context(peer=OWN)
    other.setup.own_title = PEER
    assert unprotect(other, octets).apdu == apdu


def test_frames_without_a_title_need_a_known_peer() -> None:
    octets = sealed(0xC8, GET)
    with pytest.raises(UnknownKey, match="title is not known"):
        unprotect(context(peer=None), octets)
    # In a general form the title of the header is as good as a known one: the tag decides.
    assert unprotect(context(peer=None), sealed(0xDB, GET)).apdu == GET
    assert unprotect(context(), sealed(0xDB, GET, header_title=b"")).apdu == GET


# --- sending ---------------------------------------------------------------------------------------


def test_every_call_takes_one_counter_of_its_own_key() -> None:
    c = context()
    seen = [parse(protect(c, GET, BOTH, style)).counter for style in PROTECTING * 2]
    assert seen == [100, 0, 101, 1, 102, 2, 103, 3]


def test_what_has_no_ciphered_form_takes_no_counter() -> None:
    c = context()
    before = counters(c)
    for style in (Style.GLO, Style.DED):
        with pytest.raises(Unsupported):
            protect(c, b"\x0f\x00", BOTH, style)
    with pytest.raises(Unsupported):
        protect(c, GET, BOTH, Style.PLAIN)
    assert counters(c) == before
    # A push has a general form.
    assert protect(c, b"\x0f\x00", BOTH, Style.GENERAL_GLO)[0] == 0xDB


def test_without_the_key_nothing_goes_out() -> None:
    c = context(dedicated=False)
    with pytest.raises(UnknownKey, match="dedicated"):
        protect(c, GET, BOTH, Style.DED)
    c.setup.unicast = None
    with pytest.raises(UnknownKey, match="GUEK"):
        protect(c, GET, BOTH, Style.GLO)
    for octets in (sealed(0xC8, GET), sealed(0xD0, GET), sealed(0xDB, GET)):
        with pytest.raises(UnknownKey, match="dedicated" if octets[0] == 0xD0 else "GUEK"):
            unprotect(c, octets)
    destroyed = context()
    destroyed.setup.key().handle.destroy()
    with pytest.raises(UnknownKey, match="destroyed"):
        protect(destroyed, GET, BOTH, Style.GLO)


def test_at_the_end_of_the_block_and_of_the_space() -> None:
    c = context()
    c.setup.unicast = in_use()
    c.setup.unicast.tx = SendCounter(5, 6)
    protect(c, GET, BOTH, Style.GLO)
    with pytest.raises(CountersNeeded):
        protect(c, GET, BOTH, Style.GLO)
    c.setup.unicast.tx = SendCounter(LIMIT - 1, LIMIT)
    assert parse(protect(c, GET, BOTH, Style.GLO)).counter == LIMIT - 1
    with pytest.raises(CounterExhausted):
        protect(c, GET, BOTH, Style.GLO)
    with pytest.raises(Misuse):
        c.setup.unicast.tx.extend(LIMIT - 1, LIMIT)


# --- one order: look up, counter, verify, inside, commit --------------------------------------------


def spoilt(octets: bytes) -> bytes:
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def test_each_step_comes_before_the_next() -> None:
    c = context(lowest=50)
    before = counters(c)
    wrong_suite = sealed(0xC8, GET, sc=0x31, counter=3)
    old = sealed(0xC8, GET, counter=3)
    steps: list[tuple[bytes, type[MetersealError]]] = [
        (spoilt(wrong_suite), UnknownKey),  # and its counter is low, and its tag wrong
        (spoilt(old), Replayed),  # and its tag is wrong
        (spoilt(sealed(0xC8, SET, counter=50)), Forged),  # and its inner tag does not fit
        (sealed(0xC8, SET, counter=50), Forged),  # the inner tag alone
        (sealed(0xDB, b"", counter=50), Malformed),
    ]
    for octets, error in steps:
        with pytest.raises(error):
            unprotect(c, octets)
        assert counters(c) == before
    assert unprotect(c, sealed(0xC8, GET, counter=50)).counter == 50
    assert counters(c) != before


def test_the_last_counter_of_the_space_is_never_taken() -> None:
    c = context()
    for counter in (LIMIT, LIMIT - 1):
        octets = sealed(0xC8, GET, counter=counter)
        if counter == LIMIT:
            with pytest.raises(Replayed, match="never used"):
                unprotect(c, octets)
    assert unprotect(c, sealed(0xC8, GET, counter=LIMIT - 1)).counter == LIMIT - 1
    assert c.setup.key().rx.lowest == LIMIT
    for counter in (0, LIMIT - 1, LIMIT):
        with pytest.raises(Replayed):
            unprotect(c, sealed(0xC8, GET, counter=counter))


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["good", "forged", "bare"])), max_size=30))
def test_the_floor_is_one_above_the_highest_that_verified(sent: list[tuple[int, str]]) -> None:
    c = context()
    lowest = 0
    for counter, kind in sent:
        octets = sealed(0xC8, GET, counter=counter, sc=0x20 if kind == "bare" else 0x30)
        if kind == "forged":
            octets = spoilt(octets)
        try:
            unprotect(c, octets)
            assert kind != "forged"
            assert counter >= lowest
            if kind == "good":
                lowest = counter + 1
        except Replayed as error:
            assert counter < lowest == error.lowest_acceptable
        except Forged:
            assert kind == "forged"
            assert counter >= lowest
        assert c.setup.key().rx.lowest == lowest


# --- what is inside ----------------------------------------------------------------------------------


def test_a_message_names_its_sender_or_nobody() -> None:
    for form in (0xDB, 0xDC):
        with pytest.raises(UnknownKey, match="not this association's peer"):
            unprotect(context(), sealed(form, GET, title=OTHER))
        for peer in (PEER, None):
            with pytest.raises(UnknownKey, match="own system title"):
                unprotect(context(peer=peer), sealed(form, GET, title=OWN))
        # Sealed by another, under the name of the peer: the title is in the IV.
        with pytest.raises(Forged):
            unprotect(context(), sealed(form, GET, title=OTHER, header_title=PEER))


def test_the_least_that_is_trusted() -> None:
    for minimum, sc, held in [
        (BOTH, 0x20, False),
        (AUTHENTICATED, 0x20, False),
        (AUTHENTICATED, 0x10, True),
        (ENCRYPTED, 0x20, True),
        (0, 0x20, True),
        # Encryption that is missing is the business of the access rights: the contents are true.
        (BOTH, 0x10, True),
    ]:
        c = context(minimum=minimum)
        if held:
            assert unprotect(c, sealed(0xC8, GET, sc=sc)).applied == of_control(sc)
        else:
            with pytest.raises(TooWeak):
                unprotect(c, sealed(0xC8, GET, sc=sc))


def test_the_broadcast_key_is_kept_apart() -> None:
    c = context()
    opened = unprotect(c, sealed(0xC9, SET, sc=0x70, counter=9))
    assert (opened.broadcast, opened.applied, opened.counter) == (True, BOTH, 9)
    assert counters(c)[:3] == (0, 10, 0)
    with pytest.raises(UnknownKey, match="GBEK"):
        unprotect(context(broadcast=False), sealed(0xC9, SET, sc=0x70))
    with pytest.raises(UnknownKey, match="is not for"):
        unprotect(context(serving=False), sealed(0xC9, SET, sc=0x70))
    with pytest.raises(Forged):
        unprotect(context(), sealed(0xC9, SET, sc=0x30, ek=GBEK))


def test_with_a_dedicated_key_the_global_one_is_out_of_use() -> None:
    c = context()
    c.exclusive_dedicated = True
    with pytest.raises(UnknownKey, match="dedicated"):
        unprotect(c, sealed(0xC8, GET))
    assert unprotect(c, sealed(0xD0, GET)).style is Style.DED
    assert unprotect(c, sealed(0xC9, SET, sc=0x70)).broadcast
    c.drop_dedicated()
    assert unprotect(c, sealed(0xC8, GET)).style is Style.GLO
    with pytest.raises(UnknownKey):
        unprotect(c, sealed(0xD0, GET, counter=50))


@pytest.mark.parametrize("octets", ["", "C0", "DD00"])
def test_what_is_not_ciphered_is_not_opened(octets: str) -> None:
    with pytest.raises((Malformed, Truncated)):
        unprotect(context(), bytes.fromhex(octets))


def test_styles_follow_their_forms() -> None:
    for form in FORMS.values():
        style = style_of(form)
        assert style.general is form.general
        assert style.key_set == form.key_set
    assert not Style.PLAIN.general
    assert repr(Style.GENERAL_DED) == "Style.GENERAL_DED"


@pytest.mark.parametrize("apdu", [GET, b"\xc0" + bytes(200)], ids=["short", "long"])
@pytest.mark.parametrize("form", [0xC8, 0xD0, 0xDB, 0xDC])
def test_out_of_order_within_the_window_and_each_once(form: int, apdu: bytes) -> None:
    c = context()
    c.window = WINDOW
    for counter in (80, 79, 81 - WINDOW):
        assert unprotect(c, sealed(form, apdu, counter=counter)).counter == counter
    for counter in (80, 79, 81 - WINDOW, 80 - WINDOW):
        with pytest.raises(Replayed):
            unprotect(c, sealed(form, apdu, counter=counter))
    c.window = 0
    with pytest.raises(Replayed):
        unprotect(c, sealed(form, apdu, counter=78))
