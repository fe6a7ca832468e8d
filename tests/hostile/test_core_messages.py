"""Hostile protected messages: changed bits, forms and keys out of place (catalogue B, at the two verbs)."""

from __future__ import annotations

import pytest

from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import DEDICATED, FORMS, GLOBAL, Form
from meterseal.crypto import GcmKey
from meterseal.errors import (
    Forged,
    Malformed,
    MetersealError,
    ProtectionError,
    Replayed,
    TooWeak,
    Truncated,
    UnknownKey,
    Unsupported,
)
from meterseal.security import AUTHENTICATED, ENCRYPTED, Context, unprotect
from meterseal.security.protection import of_control
from tests.mutate import hammer
from tests.security.keys import (
    AK,
    DEK,
    EK,
    GBEK,
    GET,
    OTHER,
    OWN,
    PEER,
    context,
    counters,
    key_octets,
    sealed,
)

SET = bytes.fromhex("C1018100080000010000FF02001100")
BOTH = AUTHENTICATED | ENCRYPTED
SERVICE_SPECIFIC = [form for form in FORMS.values() if form.plain_tag]
GENERAL = [form for form in FORMS.values() if not form.plain_tag]


def frame(handle: GcmKey, form: Form, sc: int, counter: int) -> bytes:
    """What somebody with this key seals, whether or not such a frame is legal."""
    plain = plain_for(form)
    body = handle.seal(sc, PEER + counter.to_bytes(4, "big"), plain) if sc & 0x30 else plain
    return ciphered.build(form, PEER, sc, counter, body)


def plain_for(form: Form) -> bytes:
    """An APDU that fits the form."""
    return bytes((form.plain_tag or 0xC1,)) + SET[1:]


def refused(c: Context, octets: bytes, error: type[MetersealError] = MetersealError) -> MetersealError:
    """Opening fails with this error, and nothing has changed."""
    before = counters(c)
    with pytest.raises(error) as caught:
        unprotect(c, octets)
    assert counters(c) == before
    return caught.value


# --- B01 --------------------------------------------------------------------------------------------

FRAMES = [
    (form, sc, plain)
    for form, sc in [(0xC8, 0x30), (0xC8, 0x10), (0xD0, 0x30), (0xDB, 0x30), (0xDB, 0x10), (0xDC, 0x30)]
    for plain in (GET, GET + bytes(130))
] + [(0xC9, 0x70, SET), (0x21, 0x30, b"\x01" + bytes(13)), (0xCB, 0x30, b"\xc3" + bytes(40))]


@pytest.mark.parametrize(("form", "sc", "plain"), FRAMES, ids=lambda x: x if isinstance(x, int) else len(x))
def test_core_B01_every_single_bit(form: int, sc: int, plain: bytes) -> None:
    c = context(minimum=AUTHENTICATED)
    octets = sealed(form, plain, sc=sc)
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        refused(c, bytes(changed))
    assert unprotect(c, octets).apdu == plain


def test_core_B01_a_bit_of_an_unauthenticated_frame_moves_no_counter() -> None:
    """Where policy lets encryption alone pass, changes cannot be seen; no counter moves, whatever comes."""
    c = context()
    before = counters(c)
    octets = sealed(0xC8, GET, sc=0x20)
    opened = 0
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            unprotect(c, bytes(changed))
            opened += 1
        except MetersealError:
            pass
        assert counters(c) == before
    assert opened > 0  # which is why no policy should allow it


def test_core_B01_two_frames_spliced() -> None:
    c = context(minimum=AUTHENTICATED)
    first, second = sealed(0xC8, GET, counter=5), sealed(0xC8, GET[:-1] + b"\x01", counter=6)
    for at in range(1, len(first) - 1):
        refused(c, first[:at] + second[at:]) if first[:at] + second[at:] != second else None
    assert unprotect(c, first).counter == 5
    assert unprotect(c, second).counter == 6


# --- B02 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [0xC8, 0xDB])
@pytest.mark.parametrize("sc", [0x10, 0x30])
def test_core_B02_tags_of_every_length(form: int, sc: int) -> None:
    c = context()
    octets = sealed(form, GET, sc=sc)
    message = ciphered.parse(octets)
    text, tag = message.body[:-12], message.body[-12:]
    full = tag + bytes(4)
    for length in range(17):
        if length != 12:
            refused(c, ciphered.build(FORMS[form], PEER, sc, 7, text + full[:length]))
    for size in range(41):
        refused(c, ciphered.build(FORMS[form], PEER, sc, 7, bytes(size)), MetersealError)
    empty = sealed(0xDB, b"", sc=sc)
    assert isinstance(refused(c, empty), Malformed)
    assert unprotect(c, octets).apdu == GET


@pytest.mark.parametrize("size", range(5))
def test_core_B02_content_without_a_header(size: int) -> None:
    for form in (b"\xc8", b"\xdb\x00", b"\xdb\x08MSLHES01"):
        refused(context(), form + bytes((size,)) + bytes(size), Malformed)


# --- B04 to B08: the security control octet against form, role and what was agreed ----------------------


def expected(form: Form, sc: int, *, serving: bool, general: bool, dedicated: bool, minimum: int) -> object:
    """What the sheet says of such a frame (security 2, 3, 5): an error, or None when it opens."""
    is_general = form.name.startswith("general")
    ded = form.name.startswith(("ded", "general-ded"))
    broadcast, compressed, protection = sc & 0x40, sc & 0x80, (sc >> 4) & 3
    if is_general and not general:
        return Unsupported
    if sc % 16 != 0:
        return UnknownKey
    if compressed:
        return Malformed
    if protection == 0:
        return TooWeak
    if broadcast and (ded or not serving):
        return UnknownKey
    if minimum & 1 and not protection & 1:
        return TooWeak
    if ded and not dedicated:
        return UnknownKey
    # Under the broadcast key come set- and action-requests, and nothing else.
    if broadcast and not is_general and form.plain_tag not in (0xC1, 0xC3):
        return UnknownKey
    return None


@pytest.mark.parametrize("minimum", [0, BOTH], ids=["any", "authenticated"])
@pytest.mark.parametrize("dedicated", [False, True], ids=["global", "dedicated"])
@pytest.mark.parametrize("general", [False, True], ids=["service-specific", "general"])
@pytest.mark.parametrize("serving", [False, True], ids=["client", "meter"])
def test_core_B05_B06_B07_every_control_octet_in_every_form(
    serving: bool, general: bool, dedicated: bool, minimum: int
) -> None:
    c = context(general=general, serving=serving, dedicated=dedicated, minimum=minimum)
    handles = {octets: GcmKey(octets, AK) for octets in (EK, GBEK, DEK)}
    for form in FORMS.values():
        for sc in range(256):
            octets = frame(handles[key_octets(form, sc)], form, sc, counter=sc)
            error = expected(form, sc, serving=serving, general=general, dedicated=dedicated, minimum=minimum)
            if error is None:
                opened = unprotect(c, octets)
                assert (opened.apdu, opened.applied) == (plain_for(form), of_control(sc))
                assert opened.broadcast is bool(sc & 0x40)
            else:
                assert type(refused(c, octets)) is error, (form.name, hex(sc))
            for key in (c.setup.unicast, c.setup.broadcast, c.dedicated):
                if key is not None:
                    key.rx.lowest = 0


def test_core_B06_what_the_group_key_may_not_carry() -> None:
    """A member of the group has GBEK and GAK: it must not read, sign on, release, answer or prove by them."""
    c = context(minimum=AUTHENTICATED)
    for form in SERVICE_SPECIFIC:
        if form.key_set == GLOBAL and form.plain_tag not in (0xC1, 0xC3):
            assert isinstance(refused(c, sealed(form, plain_for(form), sc=0x70)), UnknownKey)
    for tag in (0x01, 0x08, 0x0F, 0xC0, 0xC4, 0xC5, 0xC7, 0xD8):
        assert isinstance(refused(c, sealed(0xDB, bytes((tag, 1, 2, 3)), sc=0x70)), UnknownKey)
    # Nor does the bit alone turn the unicast key into the other, or back.
    refused(c, sealed(0xC9, SET, sc=0x70, ek=EK), Forged)
    refused(c, sealed(0xC9, SET, sc=0x30, ek=GBEK), Forged)


@pytest.mark.parametrize("form", SERVICE_SPECIFIC, ids=lambda form: form.name)
def test_core_B08_keys_of_the_other_set_open_nothing(form: Form) -> None:
    c = context()
    other = EK if form.key_set == DEDICATED else DEK
    refused(c, sealed(form, plain_for(form), ek=other), Forged)
    refused(context(dedicated=False), sealed(form, plain_for(form), ek=other), ProtectionError)


def test_core_B08_another_associations_dedicated_key() -> None:
    mine, theirs = context(), context(dedicated=False)
    theirs.set_dedicated(bytes(range(0x30, 0x40)))
    octets = sealed(0xD0, GET)
    refused(theirs, octets, Forged)
    assert unprotect(mine, octets).apdu == GET
    mine.drop_dedicated()
    refused(mine, sealed(0xD0, GET, counter=99), UnknownKey)


# --- B10, B11: what is inside ------------------------------------------------------------------------

PLAIN_TAGS = [form.plain_tag for form in SERVICE_SPECIFIC if form.key_set == GLOBAL]
OTHER_TAGS = [0x0F, 0x10, 0xD8, 0xD9, 0xDA]
NEVER = [*FORMS, 0x60, 0x61, 0x62, 0x63, 0xDD, 0xDF, 0xE0, 0xE6, 0xE7]


def test_core_B11_the_outer_tag_fixes_the_inner_one() -> None:
    """32 outer forms x all inner tags: one of them fits."""
    c = context(minimum=AUTHENTICATED)
    handles = {octets: GcmKey(octets, AK) for octets in (EK, DEK)}
    for form in SERVICE_SPECIFIC:
        handle = handles[key_octets(form, 0x30)]
        for inner in range(256):
            counter = 1000 * form.tag + inner
            body = handle.seal(0x30, PEER + counter.to_bytes(4, "big"), bytes((inner,)) + bytes(20))
            octets = ciphered.build(form, PEER, 0x30, counter, body)
            if inner == form.plain_tag:
                assert unprotect(c, octets).apdu[0] == inner
            else:
                assert isinstance(refused(c, octets), Forged)


def test_core_B11_general_forms_take_plain_apdus_only() -> None:
    for form in GENERAL:
        for inner in range(256):
            c = context(minimum=AUTHENTICATED)
            octets = sealed(form, bytes((inner,)) + bytes(20))
            if inner in NEVER:
                assert isinstance(refused(c, octets), Malformed)
            else:
                assert unprotect(c, octets).apdu[0] == inner
        for inner in (*PLAIN_TAGS, *OTHER_TAGS):
            assert unprotect(context(), sealed(form, bytes((inner, 0)))).apdu[0] == inner


@pytest.mark.parametrize("depth", [2, 3, 10, 50])
@pytest.mark.parametrize("form", [0xC8, 0xD0, 0xDB, 0xDC])
def test_core_B10_nothing_ciphered_is_inside(form: int, depth: int) -> None:
    c = context()
    octets = GET
    for _ in range(depth):
        octets = sealed(form, octets)
    refused(c, octets)


# --- B13 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [0xDB, 0xDC])
def test_core_B13_titles_in_the_header_of_a_general_form(form: int) -> None:
    c = context()
    for title in (OTHER, OWN, bytes(8), b"\xff" * 8, PEER.lower()):
        refused(c, sealed(form, GET, title=title), UnknownKey)
    for length in (1, 7, 9, 12, 127, 128, 255):
        title = (PEER * 40)[:length]
        octets = sealed(form, GET, header_title=title)
        assert isinstance(refused(c, octets), Malformed | Truncated)
    # Somebody else's frame under the peer's name, the peer's under no name.
    refused(c, sealed(form, GET, title=OTHER, header_title=PEER), Forged)
    refused(c, sealed(form, GET, title=OTHER, header_title=b""), Forged)
    assert unprotect(c, sealed(form, GET, header_title=b"")).apdu == GET


def test_core_B13_ones_own_frames_do_not_come_back() -> None:
    """Both ends share keys: what this end sent must not open here, with whatever title in front."""
    c = context(peer=None)
    refused(c, sealed(0xDB, GET, title=OWN), UnknownKey)
    refused(context(), sealed(0xC8, GET, title=OWN), Forged)
    refused(context(), sealed(0xDB, GET, title=OWN, header_title=PEER), Forged)


# --- F02 -------------------------------------------------------------------------------------------


def test_core_F02_mutated_frames_never_open() -> None:
    """10^5 mutated frames at unprotect: only typed errors, and whatever opens is one of the originals."""
    seeds = [sealed(form, plain, sc=sc) for form, sc, plain in FRAMES]
    c = context(minimum=AUTHENTICATED)
    before = counters(c)
    known = {plain for _, _, plain in FRAMES}

    def decode(octets: bytes) -> None:
        opened = unprotect(c, octets)
        assert opened.apdu in known
        assert octets in seeds
        assert opened.key is not None
        opened.key.rx.lowest = 0

    outcomes = hammer(decode, seeds)
    assert {"forged", "malformed", "truncated", "unknown-key", "too-weak"} <= set(outcomes)
    assert counters(c) == before


def test_core_I02_all_of_them_look_alike_from_outside() -> None:
    """Bad tag, unknown key, wrong suite: one error on the wire."""
    c = context(minimum=AUTHENTICATED)
    errors = [
        refused(c, sealed(0xC8, GET, ek=DEK)),
        refused(c, sealed(0xC8, GET, ak=EK)),
        refused(c, sealed(0xC8, GET, sc=0x31)),
        refused(c, sealed(0xC8, SET)),
        refused(c, sealed(0xDB, GET, title=OTHER)),
        refused(c, sealed(0xC8, GET, sc=0x70)),
        refused(c, sealed(0xC8, GET, sc=0x20)),
        refused(context(dedicated=False), sealed(0xD0, GET)),
    ]
    assert {error.wire for error in errors} == {(1, 5)}
    c.setup.key().rx.lowest = 100
    assert isinstance(refused(c, sealed(0xC8, GET, ek=AK)), Replayed)
