"""GcmKey: what it seals it opens, what somebody touched it refuses, and it gives nothing away."""

from __future__ import annotations

import contextlib
import copy
import mmap
import pickle
import re
import traceback
from collections.abc import Callable
from types import TracebackType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.crypto import GcmKey, Secret, WrappingKey, gcm
from meterseal.errors import (
    Forged,
    KeyLength,
    Malformed,
    Misuse,
    TooLarge,
    TooWeak,
    UnknownKey,
)

EK = bytes(range(16))
AK = bytes(range(0xD0, 0xE0))
IV = b"MSL\0\0\0\0\1" + bytes(4)
H5 = bytes.fromhex("080102030405060708" + "084D4D4D0000BC614E" + "084D4D4D0000000001" + "0000")
TEXT = b"the canary sings: C0010000080000010000FF0200"
PROTECTING = [sc for sc in range(256) if sc & 0x30]
AUTHENTICATING = [sc for sc in range(256) if sc & 0x10]

key_sizes = st.sampled_from([16, 32])
headers = st.sampled_from([b"", H5, bytes(5)])


@given(
    ek=st.binary(min_size=16, max_size=16),
    sc=st.sampled_from(PROTECTING),
    with_ak=st.booleans(),
    text=st.binary(max_size=200),
    header=headers,
    iv=st.binary(min_size=12, max_size=12),
)
def test_what_is_sealed_opens(
    ek: bytes, sc: int, with_ak: bool, text: bytes, header: bytes, iv: bytes
) -> None:
    key = GcmKey(ek, AK if with_ak else b"")
    body = key.seal(sc, iv, text, header)
    assert len(body) == len(text) + (12 if sc & 0x10 else 0)
    assert key.open(sc, iv, body, header) == text
    assert key.seal(sc, iv, text, header) == body  # first use and cached use agree


def test_sc_is_authenticated_as_a_whole() -> None:
    """B04, B05, B06, B07: a message moved to another SC of the same form does not verify."""
    key = GcmKey(EK, AK)
    for sealed in AUTHENTICATING:
        body = key.seal(sealed, IV, TEXT)
        for opened in AUTHENTICATING:
            if opened == sealed:
                assert key.open(opened, IV, body) == TEXT
                continue
            with pytest.raises(Forged):
                key.open(opened, IV, body)


@pytest.mark.parametrize("header", [b"", H5], ids=["plain-forms", "general-ciphering"])
@pytest.mark.parametrize("stream_from", [0, 1 << 40], ids=["stream", "two-calls"])
@pytest.mark.parametrize("sc", [0x10, 0x30])
def test_B01_every_bit(sc: int, stream_from: int, header: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcm, "STREAM_FROM", stream_from)
    key = GcmKey(EK, AK)
    wire = header + IV + key.seal(sc, IV, TEXT, header)
    cut = len(header) + 12
    assert key.open(sc, IV, wire[cut:], header) == TEXT
    for bit in range(len(wire) * 8):
        flipped = bytearray(wire)
        flipped[bit // 8] ^= 1 << bit % 8
        parts = bytes(flipped)
        with pytest.raises(Forged):
            key.open(sc, parts[len(header) : cut], parts[cut:], parts[: len(header)])


@pytest.mark.parametrize("sc", [0x10, 0x30, 0x31, 0x70])
def test_B02_tag_lengths(sc: int) -> None:
    key = GcmKey(EK, AK)
    body = key.seal(sc, IV, TEXT[:28])
    full = key._encrypt(IV, b"" if sc == 0x10 else TEXT[:28], key._sc_ak(sc))[-16:]
    for length in range(41):
        cut = body[:length]
        if length == 40:
            assert key.open(sc, IV, cut) == TEXT[:28]
            continue
        with pytest.raises(Malformed if length < 12 else Forged):
            key.open(sc, IV, cut)
    with pytest.raises(Forged):  # the whole 16-octet tag
        key.open(sc, IV, body[:-12] + full)
    assert key.open(sc, IV, key.seal(sc, IV, b"")) == b""


def test_nothing_protected_is_general_ciphering_only() -> None:
    key = GcmKey(EK, AK)
    for sc in (sc for sc in range(256) if not sc & 0x30):
        assert key.seal(sc, IV, TEXT, H5) == TEXT == key.open(sc, IV, TEXT, H5)
        for call in (key.seal, key.open):
            with pytest.raises(TooWeak):
                call(sc, IV, TEXT)


def test_encryption_only_is_the_key_stream() -> None:
    """No tag on the wire, and the AK plays no part."""
    for sc in (0x20, 0x21, 0x60):
        body = GcmKey(EK, AK).seal(sc, IV, TEXT)
        assert body == GcmKey(EK).seal(0x30, IV, TEXT)[:-12]
        assert GcmKey(EK).open(sc, IV, body, H5) == TEXT


def test_tag_is_the_gmac_of_a_sealed_challenge() -> None:
    key = GcmKey(EK, AK)
    assert key.seal(0x10, IV, TEXT) == TEXT + key.tag(0x10, IV, TEXT)
    assert key.tag(0x10, IV, TEXT) != GcmKey(EK).tag(0x10, IV, TEXT)


@pytest.mark.parametrize("length", [0, 4, 8, 11, 13, 16])
def test_iv_length(length: int) -> None:
    key, iv = GcmKey(EK, AK), bytes(length)
    for sc in (0x00, 0x10, 0x20, 0x30):
        with pytest.raises(Misuse):
            key.seal(sc, iv, TEXT, H5)
        with pytest.raises(Malformed):
            key.open(sc, iv, TEXT, H5)
    with pytest.raises(Misuse):
        key.tag(0x10, iv, TEXT)


@pytest.mark.parametrize(
    ("ek", "ak"),
    [(0, 0), (15, 0), (17, 0), (24, 0), (24, 24), (33, 0), (16, 15), (16, 32), (32, 16), (16, 1)],
)
def test_key_length(ek: int, ak: int) -> None:
    with pytest.raises(KeyLength):
        GcmKey(bytes(ek), bytes(ak))
    with pytest.raises(KeyLength):
        GcmKey(EK, AK).with_key(bytes(15))


def test_an_sc_that_is_no_octet() -> None:
    key = GcmKey(EK, AK)
    for sc in (0x110, 0x130, -1):
        with pytest.raises(Misuse):
            key.seal(sc, IV, TEXT)


def test_what_is_too_large_is_a_typed_error() -> None:
    key = GcmKey(EK, AK)
    key.seal(0x30, IV, TEXT)  # the short way is taken from the second call on
    with mmap.mmap(-1, 1 << 31) as giant:  # never touched, so never there
        for sc in (0x10, 0x20, 0x30):
            with pytest.raises(TooLarge):
                key.seal(sc, IV, giant)  # type: ignore[arg-type]
            with pytest.raises(TooLarge):
                key.open(sc, IV, giant)  # type: ignore[arg-type]


@given(
    size=st.sampled_from([0, 1, 13, 1000, gcm.STREAM_FROM - 1, gcm.STREAM_FROM, gcm.STREAM_FROM + 1, 70_000]),
    key_size=key_sizes,
    header=headers,
    damage=st.one_of(st.none(), st.tuples(st.floats(0, 1), st.integers(0, 7))),
)
def test_both_ways_of_opening_agree(
    size: int, key_size: int, header: bytes, damage: tuple[float, int] | None
) -> None:
    """Two calls of the kept object and one streaming cipher: the same text, the same refusals."""
    key = GcmKey(bytes(range(key_size)), bytes(range(100, 100 + key_size)))
    text = (b"octets." * (size // 7 + 1))[:size]
    body = key.seal(0x30, IV, text, header)
    if damage is not None:
        where, bit = min(int(damage[0] * len(body)), len(body) - 1), damage[1]
        body = body[:where] + bytes((body[where] ^ 1 << bit,)) + body[where + 1 :]
    results = []
    for stream_from in (0, 1 << 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gcm, "STREAM_FROM", stream_from)
            try:
                results.append(key.open(0x30, IV, body, header))
            except Forged:
                results.append(b"forged")
    assert results == ([text] * 2 if damage is None else [b"forged"] * 2)


# --- life of a handle ---------------------------------------------------------------------------


@given(
    size=st.sampled_from([16, 32]),
    texts=st.integers(0, 110).flatmap(lambda n: st.tuples(*[st.binary(min_size=n, max_size=n)] * 2)),
    is_likely=st.booleans(),
    flips=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 255)), max_size=1),
)
def test_what_is_likely_and_what_is_not_open_as_any_other(
    size: int, texts: tuple[bytes, bytes], is_likely: bool, flips: list[tuple[int, int]]
) -> None:
    key, (text, likely) = GcmKey(EK * (size // 16), AK * (size // 16)), texts
    if is_likely:
        likely = bytes(text)
    body = bytearray(key.seal(0x30, IV, text))
    for at, bits in flips:
        body[at % len(body)] ^= bits
    found = key.open_usual(0x30, IV, bytes(body), likely)
    try:
        assert found == key.open(0x30, IV, bytes(body))
    except Forged:
        assert found is None and flips


@pytest.mark.parametrize("bit", range(8 * 25))
def test_B01_no_bit_may_be_another_where_something_is_likely(bit: int) -> None:
    key = GcmKey(EK, AK)
    body = bytearray(key.seal(0x30, IV, TEXT[:13]))
    body[bit // 8] ^= 1 << bit % 8
    for likely in (TEXT[:13], TEXT[1:14], bytes(13)):
        assert key.open_usual(0x30, IV, bytes(body), likely) is None


def uses(key: GcmKey) -> list[Callable[[], object]]:
    body = bytes(40)
    verbs: list[Callable[[], object]] = [
        lambda: key.tag(0x10, IV, TEXT),
        lambda: key.with_key(EK),
        lambda: key.beside(AK),
        lambda: key.holds(EK),
    ]
    for sc in (0x00, 0x10, 0x20, 0x30):
        verbs.append(lambda sc=sc: key.seal(sc, IV, TEXT, H5))  # type: ignore[misc]
        verbs.append(lambda sc=sc: key.open(sc, IV, body, H5))  # type: ignore[misc]
    verbs.append(lambda: key.seal(0x30, IV, TEXT))
    verbs.append(lambda: key.seal_usual(0x30, IV, TEXT))
    verbs.append(lambda: key.open_usual(0x30, IV, body, body[12:]))
    verbs.append(lambda: key.open(0x30, IV, bytes(gcm.STREAM_FROM + 12)))
    return verbs


def test_a_destroyed_key_does_nothing() -> None:
    key = GcmKey(EK, AK)
    kept_method = key.seal
    beside = key.with_key(bytes(16))
    name = key.kcv
    for use in uses(key):
        with contextlib.suppress(Forged):  # every verb works, as far as the arguments allow
            use()
    key.destroy()
    key.destroy()
    for use in uses(key):
        with pytest.raises(UnknownKey):
            use()
    with pytest.raises(UnknownKey):
        kept_method(0x30, IV, TEXT)
    assert key.kcv == name
    assert repr(key) == f"<GcmKey {name}, destroyed>"
    assert beside.open(0x30, IV, beside.seal(0x30, IV, TEXT)) == TEXT


def test_with_key_keeps_the_ak() -> None:
    dedicated = GcmKey(EK, AK).with_key(bytes(16))
    assert dedicated.seal(0x30, IV, TEXT) == GcmKey(bytes(16), AK).seal(0x30, IV, TEXT)


def test_beside_keeps_the_ek() -> None:
    key = GcmKey(EK, AK)
    renewed = key.beside(bytes(16))
    assert renewed.seal(0x30, IV, TEXT) == GcmKey(EK, bytes(16)).seal(0x30, IV, TEXT)
    assert renewed.kcv == key.kcv
    with pytest.raises(KeyLength):
        key.beside(bytes(15))
    key.destroy()
    with pytest.raises(UnknownKey):
        key.beside(AK)
    assert renewed.holds(EK)


def test_holds() -> None:
    key = GcmKey(EK, AK)
    assert key.holds(EK)
    assert not key.holds(AK)
    assert not key.holds(EK + bytes(16))


CANARY = b"CANARY-key-0016!"


def handles() -> list[object]:
    used = GcmKey(CANARY, CANARY[::-1])
    used.seal(0x30, IV, TEXT)
    return [used, WrappingKey(CANARY), Secret(CANARY)]


@pytest.mark.parametrize("number", range(3))
def test_handles_are_not_copied_or_pickled(number: int) -> None:
    handle = handles()[number]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(Misuse):
            pickle.dumps(handle, protocol)
    for copier in (copy.copy, copy.deepcopy):
        with pytest.raises(Misuse):
            copier(handle)
    with pytest.raises(AttributeError):
        handle.__dict__  # noqa: B018


def test_G17_no_key_octet_shows() -> None:
    shown = " ".join(f"{handle!r} {handle!s} {handle:}" for handle in handles())
    assert_no_canary(shown)
    assert re.fullmatch(r"<GcmKey [0-9A-F]{10}>", repr(handles()[0]))


def assert_no_canary(text: str) -> None:
    for secret in (CANARY, CANARY[::-1], TEXT):
        for form in (repr(secret)[2:-1], secret.hex(), secret.hex().upper(), secret[4:12].decode()):
            assert form not in text


def frames(trace: TracebackType | None) -> str:
    """A traceback as a careless logger prints it: with every local of our own frames."""
    lines = []
    while trace is not None:
        if "meterseal" in trace.tb_frame.f_code.co_filename.split("tests")[0].rsplit("src", 1)[-1]:
            lines.append(repr(trace.tb_frame.f_locals))
        trace = trace.tb_next
    return "\n".join(lines)


@pytest.mark.parametrize("size", [0, 100, gcm.STREAM_FROM])
def test_I07_nothing_unverified_in_a_traceback(size: int) -> None:
    """Neither the text of a forged message nor a key octet is in reach of a printed traceback."""
    key = GcmKey(CANARY, CANARY[::-1])
    body = bytearray(key.seal(0x30, IV, TEXT + bytes(size)))
    body[-1] ^= 1
    with pytest.raises(Forged) as caught:
        key.open(0x30, IV, bytes(body))
    error: BaseException | None = caught.value
    printed = []
    while error is not None:
        printed += [*traceback.format_exception(error), frames(error.__traceback__)]
        error = error.__context__
    assert "body" in "".join(printed)  # our frames were looked at
    assert_no_canary("".join(printed))


@pytest.mark.parametrize(
    "make",
    [
        lambda: GcmKey(CANARY + b"!"),
        lambda: WrappingKey(CANARY + b"!"),
        lambda: WrappingKey(EK).wrap(CANARY + b"!"),
    ],
    ids=["ek", "kek", "wrapped"],
)
def test_G17_a_refused_key_is_not_in_the_traceback(make: Callable[[], object]) -> None:
    with pytest.raises(KeyLength) as caught:
        make()
    assert "octets" in str(caught.value)
    assert_no_canary(str(caught.value) + frames(caught.value.__traceback__))
