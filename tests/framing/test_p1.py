"""P1 telegrams: text with and without CRC, and the length of ciphered ones."""

from __future__ import annotations

import pytest

from meterseal.errors import Malformed, TooLarge, Truncated
from meterseal.framing import p1
from meterseal.framing.p1 import CipheredReader, Telegram, TextReader
from tests.framing.captures import P1_OLD_TEXT, P1_TEXT, p1_ciphered, p1_telegram
from tests.mutate import hammer, truncations


def test_lines_and_values() -> None:
    assert p1.decode(p1_telegram()) == Telegram(
        "XXX5TESTMETER",
        (
            ("1-3:0.2.8", ("50",)),
            ("0-0:1.0.0", ("250101120000W",)),
            ("1-0:1.8.1", ("000051.775*kWh",)),
            ("0-1:24.2.1", ("250101120000W", "00012.785*m3")),
        ),
        True,
    )


def test_old_telegrams_have_no_crc_and_lines_that_go_on() -> None:
    telegram = p1.decode(P1_OLD_TEXT)
    assert telegram.checked is False
    assert telegram.lines == (
        ("0-1:24.3.0", ("120101000000", "00", "60", "1", "0-1:24.2.1", "m3", "00000.123")),
    )


def test_published_check_value() -> None:
    assert p1.crc(b"123456789") == 0xBB3D  # CRC-16/ARC


def test_every_octet_counts_in_the_crc() -> None:
    good = p1_telegram()
    for pos in range(1, len(P1_TEXT) - 1):
        changed = bytearray(good)
        changed[pos] ^= 1
        with pytest.raises(Malformed):
            p1.decode(changed)


def test_several_telegrams() -> None:
    both = p1_telegram() + P1_OLD_TEXT
    first, end = p1.decode_at(both, 0)
    assert (first.checked, end) == (True, len(p1_telegram()))
    assert p1.decode_at(both, end)[1] == len(both)


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        (b"XXX5!\r\n", "begins with /"),
        (b"/XXX5\r\n\xff(1)\r\n!\r\n", "printable"),
        (b"/XXX5\r\n\x00\r\n!\r\n", "printable"),
        (b"/XXX5\r\n1-0:1.8.1(1\r\n!\r\n", "not reference"),
        (b"/XXX5\r\n1-0:1.8.1)1(\r\n!\r\n", "not reference"),
        (b"/XXX5\r\n(1)\r\n!\r\n", "without a reference"),
        (b"/XXX5\r\n!\r\nrest", "4 octets after"),
    ],
)
def test_text_that_is_no_telegram(octets: bytes, cause: str) -> None:
    with pytest.raises(Malformed, match=cause):
        p1.decode(octets)


def test_the_smallest_telegram() -> None:
    assert p1.decode(b"/ABC5\n!") == Telegram("ABC5", (), False)
    for octets in (b"/!", b"/ABC\n!", b"/ABC5!", b"/\n1-0:1.8.0(1)\n!"):
        with pytest.raises(Malformed, match="identification"):
            p1.decode(octets)


def test_F18_control_octets_do_not_get_through() -> None:
    for octet in [*range(0x0A), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0x100)]:
        with pytest.raises(Malformed, match="printable"):
            p1.decode(b"/ABC5\r\n1(" + bytes((octet,)) + b")\r\n!\r\n")


def test_F22_long_telegrams_are_refused_and_brackets_take_no_time() -> None:
    with pytest.raises(TooLarge):
        p1.decode(b"/" + b"x" * p1.MAX_TELEGRAM)
    with pytest.raises(Truncated):
        p1.decode(b"/" + b"x" * 100)
    with pytest.raises(Malformed):
        p1.decode(b"/ABC5\r\n" + b"(" * 16_000 + b"!\r\n")
    assert len(p1.decode(b"/ABC5\r\na" + b"(1)" * 5_000 + b"\r\n!").lines[0][1]) == 5_000


def test_length_of_ciphered_telegrams() -> None:
    assert p1.ciphered_length(p1_ciphered(40)) == 53
    assert p1.ciphered_length(b"..." + p1_ciphered(40), 3) == 53
    for end in range(13):
        with pytest.raises(Truncated):
            p1.ciphered_length(p1_ciphered()[:end])
    for wrong, error in ((0, Malformed), (16, Malformed), (0x4001, TooLarge), (0xFFFF, TooLarge)):
        with pytest.raises(error):
            p1.ciphered_length(p1_ciphered()[:11] + wrong.to_bytes(2, "big"))
    for head in (b"\xdc", b"\xdb\x07", b"\xdb\x08SAG12345\x81\xff\x00"):
        with pytest.raises(Malformed):
            p1.ciphered_length(head)


@pytest.mark.parametrize("form", range(5))
def test_F07_a_ciphered_telegram_in_every_form_of_length(form: int) -> None:
    telegram = p1_ciphered(100, form)
    assert p1.ciphered_length(telegram) == len(telegram) == 111 + form
    for end in range(12 + form):
        with pytest.raises(Truncated):
            p1.ciphered_length(telegram[:end])
    stream = b"\x00\xdb\x08" + telegram + b"noise" + telegram
    for size in (1, 7, len(stream)):
        reader = CipheredReader()
        found = [one for pos in range(0, len(stream), size) for one in reader.feed(stream[pos : pos + size])]
        assert found == [telegram, telegram] and reader.noise == 8


@pytest.mark.parametrize(
    ("behind_title", "error"),
    [
        (b"\x80\x30", Malformed),  # without an end
        (b"\x85\0\0\0\0\x64\x30", Malformed),
        (b"\xff\x30", Malformed),
        (b"\x10\x30", Malformed),  # shorter than counter and tag
        (b"\x81\x10\x30", Malformed),
        (b"\x83\x00\x40\x01\x30", TooLarge),
        (b"\x84\xff\xff\xff\xff\x30", TooLarge),
        (b"\x40\x00", Malformed),  # protects nothing
        (b"\x40\x33", Malformed),  # of no suite
        (b"\x82\x00\x40\x0f", Malformed),
    ],
)
def test_F07_what_is_no_length_or_no_security_control(behind_title: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        p1.ciphered_length(b"\xdb\x08SAG12345" + behind_title)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_ciphered_telegrams_out_of_a_stream_with_noise(size: int) -> None:
    telegram = p1_ciphered()
    stream = b"\x00\xdb" + telegram + b"\xdb\x08noise noise" + telegram + telegram[:20]
    reader = CipheredReader()
    found = [one for pos in range(0, len(stream), size) for one in reader.feed(stream[pos : pos + size])]
    assert found == [telegram, telegram]
    assert reader.noise == len(stream) - 2 * len(telegram) - 20
    assert reader.held == 20
    reader.reset()
    assert reader.held == 0
    assert reader.feed(telegram) == [telegram]


def test_what_a_pause_has_ended_keeps_no_shorter_telegram_waiting() -> None:
    reader = CipheredReader()
    assert reader.feed(p1_ciphered(900)[:100]) == []
    reader.reset()
    assert (reader.held, reader.noise) == (0, 100)
    assert reader.feed(p1_ciphered(60)) == [p1_ciphered(60)]


@pytest.mark.slow
def test_F14_a_ciphered_stream_of_starts_holds_little() -> None:
    reader = CipheredReader()
    for _ in range(100):
        reader.feed(b"\xdb\x08" * 1000)
    assert reader.held < 100
    assert reader.budget.spent <= reader.budget.allowed


def test_F01_every_truncation_is_typed() -> None:
    for seed, prefix in truncations([p1_telegram()]):
        if len(prefix) <= seed.index(b"!"):
            with pytest.raises(Truncated):
                p1.decode(prefix)
    for end in range(1, 4):  # what is left of a CRC is not a CRC
        with pytest.raises(Malformed):
            p1.decode(p1_telegram()[: len(P1_TEXT) + end])


@pytest.mark.slow
def test_F02_mutated_telegrams() -> None:
    outcomes = hammer(p1.decode, [p1_telegram(), P1_OLD_TEXT, b"/ABC5\r\n\r\n1(2)\r\n!\r\n"])
    assert {"value", "truncated", "malformed"} <= set(outcomes)


@pytest.mark.slow
def test_F02_mutated_ciphered_streams() -> None:
    readers: list[CipheredReader] = []

    def decode(octets: bytes) -> None:
        readers[:] = [CipheredReader()]
        for half in (octets[: len(octets) // 2], octets[len(octets) // 2 :]):
            for telegram in readers[0].feed(half):
                assert telegram[:2] == b"\xdb\x08"

    hammer(decode, [p1_ciphered() * 2, b"\x00" + p1_ciphered(300)], work=lambda: readers[0].budget.spent)


def test_a_text_that_is_cut_off_is_forgotten_after_a_pause_and_when_it_never_ends() -> None:
    reader = TextReader()
    assert reader.feed(p1_telegram()[:30]) == [] and reader.held == 30
    reader.reset()
    assert (reader.held, reader.noise) == (0, 30)
    assert reader.feed(b"/ABC5\r\n" + b"1(2)\r\n" * (p1.MAX_TELEGRAM // 6)) == []
    assert reader.held == 0
    assert [octets for _, octets in reader.feed(p1_telegram())] == [p1_telegram()]
