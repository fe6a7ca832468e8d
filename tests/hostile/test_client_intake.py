"""F01 to F04, F09, F11 at the client: octets that are no answer; typed errors only, and nothing believed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from meterseal.errors import ConnectionLost, DecodeError, MetersealError, TooLarge
from meterseal.framing import wrapper
from meterseal.security import Style
from tests.client.fake_meter import Exchange, FakeMeter, Role
from tests.hostile.client_side import READ, VALUE, Requests, signed_on

AARE, PASS_4, ANSWER = 1, 2, 3
PLAIN = Role(mechanism="none", policy=0)


def replies(role: Role) -> list[bytes]:
    """What the meter says in a session: AARE, pass 4 where there is one, the answer to a read."""
    said: list[bytes] = []

    def note(exchange: Exchange) -> None:
        said.append(exchange.reply)

    with signed_on(FakeMeter(role, alter=note)) as meter:
        meter.get(*READ)
    return said


Change = Callable[[bytes], bytes]


def signs_on_with(role: Role, number: int, change: Change) -> MetersealError | None:
    """What a sign-on and a read come to when one answer is changed on its way."""
    fake = FakeMeter(role, alter=Requests({number: lambda x: [change(x.reply)]}))
    try:
        with signed_on(fake) as meter:
            assert meter.get(*READ) == VALUE
    except MetersealError as error:
        return error
    return None


def flipped(at: int, mask: int) -> Change:
    """One octet changed."""
    return lambda octets: octets[:at] + bytes((octets[at] ^ mask,)) + octets[at + 1 :]


@pytest.mark.parametrize(
    ("role", "number"),
    [
        (Role(), AARE),
        (Role(), PASS_4),
        (Role(mechanism="sha256", policy=0), AARE),
        (Role(mechanism="sha256", policy=0), PASS_4),
        (PLAIN, AARE),
    ],
)
def test_F01_every_truncation_of_a_sign_on(role: Role, number: int) -> None:
    whole = replies(role)[number - 1]
    for length in range(1, len(whole)):
        error = signs_on_with(role, number, lambda octets, end=length: octets[:end])  # type: ignore[misc]
        assert isinstance(error, DecodeError), (length, error)


@pytest.mark.parametrize("role", [Role(), PLAIN], ids=["gmac", "none"])
def test_F01_every_truncation_of_an_answer(role: Role) -> None:
    with signed_on(FakeMeter(role)) as meter:
        fake = meter_of(meter)
        for length in range(1, 40):
            cut = length

            def short(exchange: Exchange, cut: int = cut) -> list[bytes]:
                if cut >= len(exchange.reply):
                    return [exchange.reply]
                return [exchange.reply[:cut], exchange.reply]

            fake.alter = short
            try:
                assert meter.get(*READ) == VALUE and length > 8
            except DecodeError:
                continue
            fake.alter = None


def meter_of(meter: object) -> FakeMeter:
    """The fake meter behind an association in memory."""
    line = meter._driver.line  # type: ignore[attr-defined]
    found: FakeMeter = line.deliver.__self__.handler.meter
    return found


def test_F02_every_octet_of_an_answer_changed() -> None:
    with signed_on(FakeMeter()) as meter:
        fake = meter_of(meter)
        chance = Random(4059)
        for _ in range(600):

            def changed(exchange: Exchange) -> list[bytes]:
                octets = bytearray(exchange.reply)
                octets[chance.randrange(len(octets))] ^= chance.randrange(1, 256)
                return [bytes(octets), exchange.reply]

            fake.alter = changed
            with pytest.raises(MetersealError):
                meter.get(*READ)
            fake.alter = None
            assert meter.get(*READ) == VALUE


@pytest.mark.parametrize(
    ("role", "number", "free"),
    [
        (Role(), AARE, 0),
        (Role(), PASS_4, 0),
        # Without ciphering nothing protects the Initiate: services and size at its end.
        (Role(mechanism="sha256", policy=0), AARE, 7),
        (Role(mechanism="sha256", policy=0), PASS_4, 0),
    ],
)
def test_F02_every_octet_of_a_sign_on_changed(role: Role, number: int, free: int) -> None:
    size = len(replies(role)[number - 1])
    for at in range(size - free):
        for bit in (at % 8, (at + 1) % 8):
            error = signs_on_with(role, number, flipped(at, 1 << bit))
            assert isinstance(error, MetersealError), (at, bit)


def test_F02_noise_in_every_place() -> None:
    chance = Random(7)
    for number in (AARE, PASS_4, ANSWER):
        for _ in range(150):
            noise = chance.randbytes(chance.randrange(1, 80))
            lead = chance.choice([b"", b"\x61", b"\xc4", b"\xcc", b"\xdb\x08", b"\xcf", b"\x0e", b"\xd8"])
            error = signs_on_with(Role(), number, lambda octets, noise=lead + noise: noise)  # type: ignore[misc]
            assert isinstance(error, MetersealError)


@pytest.mark.parametrize(
    "data",
    [
        "01" * 1 + "84FFFFFFFF",
        "0101" * 500 + "00",
        "0201" * 100 + "00",
        "0984FFFFFFFF00",
        "130200120F16080001020300020405",
        "130001AA",
        "02FF",
        "01",
    ],
)
@pytest.mark.parametrize("protected", [True, False])
def test_F03_F04_killer_inputs_as_an_answer(data: str, protected: bool) -> None:
    def lie(exchange: Exchange) -> list[bytes]:
        plain = b"\xc4\x01" + (b"\xc2" if protected else b"\xc1") + b"\x00" + bytes.fromhex(data)
        return [exchange.seal(plain) if protected else plain]

    role = Role() if protected else PLAIN
    fake = FakeMeter(role, alter=Requests({ANSWER if protected else 2: lie}))
    with signed_on(fake) as meter:
        with pytest.raises(DecodeError):
            meter.get(*READ)
        assert meter.get(*READ) == VALUE


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x02\x00\x01\x00\x02\x00\x01\x00",
        b"\x00\x01\x00\x01\x00\x02\x00\x00",
        b"\xff" * 64,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_F09_a_line_that_brings_no_frames_ends(frame: bytes) -> None:
    fake = FakeMeter()
    with signed_on(fake) as meter:
        line: Any = meter._driver.line
        fake.alter = lambda exchange: line.arrive(frame) or []
        for _ in range(2):
            with pytest.raises(DecodeError):
                meter.get(*READ)
        fake.alter = None


def test_F09_frames_for_other_pairs_are_nobodys_answers() -> None:
    def lie(exchange: Exchange) -> list[bytes]:
        for source, destination in ((1, 3), (2, 1), (1, 0), (17, 2), (2, 2)):
            exchange.meter.lines[-1].link.send(source, destination, exchange.reply)
        return [exchange.reply]

    with signed_on(FakeMeter(alter=lie)) as meter:
        assert meter.get(*READ) == VALUE


def test_F09_what_nobody_waits_for_is_bounded() -> None:
    frame = wrapper.encode(1, 9, bytes(60_000))
    fake = FakeMeter()
    with signed_on(fake) as meter:
        line: Any = meter._driver.line

        def flood(exchange: Exchange) -> list[bytes]:
            for _ in range(40):
                line.arrive(frame)
            return [exchange.reply]

        fake.alter = flood
        with pytest.raises((TooLarge, ConnectionLost)):
            meter.get(*READ)
        fake.alter = None


def test_F11_blocks_without_end() -> None:
    def endless(exchange: Exchange) -> list[bytes] | None:
        if exchange.number < ANSWER:
            return None
        head = b"\xc4\x02\xc2\x00" + (exchange.number - ANSWER + 1).to_bytes(4, "big") + b"\x00"
        return [exchange.seal(head + b"\x82\x0f\x00" + bytes(0xF00))]

    with (
        signed_on(FakeMeter(alter=endless)) as meter,
        pytest.raises(TooLarge, match="above 4194304 octets"),
    ):
        meter.get(*READ)


@pytest.mark.parametrize(
    "plain", ["C402C201000000010000", "C402C200000000010000", "C402C2000000000000010001"]
)
def test_F11_blocks_with_nothing_in_them(plain: str) -> None:
    def lie(exchange: Exchange) -> list[bytes]:
        return [exchange.seal(bytes.fromhex(plain), 3, Style.GENERAL_GLO)]

    seen = Requests({ANSWER: lie, ANSWER + 1: lambda exchange: [bytes.fromhex("D80101")]})
    with signed_on(FakeMeter(alter=seen)) as meter, pytest.raises(MetersealError):
        meter.get(*READ)
