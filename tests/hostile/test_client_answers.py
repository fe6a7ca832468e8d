"""Catalogue B and H10 at the client: a meter, or somebody on the line, that answers what it should not."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import MemoryCounters, net, sync
from meterseal.apdu.ciphered import GENERAL_GLO, build
from meterseal.errors import (
    DecodeError,
    Forged,
    Malformed,
    MetersealError,
    ProtocolViolation,
    Refused,
    Replayed,
    TooLarge,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.security import Style
from tests.client.fake_meter import CLIENT_TITLE, TITLE, Alter, Exchange, FakeMeter, Role
from tests.hostile.client_side import READ, VALUE, Requests, instead, signed_on

FIRST_REQUEST = 3
"""Number of the first request behind AARQ and pass 3."""


def failing_read(
    change: Alter,
    error: type[MetersealError] | tuple[type[MetersealError], ...],
    role: Role | None = None,
    **arguments: Any,
) -> MetersealError:
    """A read that must fail so; the association must go on, and give the next read what is true."""
    seen = Requests({FIRST_REQUEST: change})
    fake = FakeMeter(role or Role(), alter=seen)
    with signed_on(fake, **arguments) as meter:
        with pytest.raises(error) as caught:
            meter.get(*READ)
        assert meter.get(*READ) == VALUE
    return caught.value


# --- B03, B04, B20: protection --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "plain"),
    [
        (lambda meter: meter.get(*READ), "C401C100060001E240"),
        (lambda meter: meter.set(1, "0.0.42.0.0.255", 2, b"\x00"), "C501C100"),
        (lambda meter: meter.action(70, "0.0.96.3.10.255", 1), "C701C10000"),
    ],
    ids=["get", "set", "action"],
)
def test_B03_plain_answers_in_a_ciphered_association(verb: Any, plain: str) -> None:
    def lie(exchange: Exchange) -> list[bytes]:
        forged = bytearray.fromhex(plain)
        forged[2] = 0xC2  # the invoke-id that is waited for: sign-on took the first
        return [bytes(forged), exchange.reply]

    with signed_on(FakeMeter(alter=Requests({FIRST_REQUEST: lie}))) as meter:
        with pytest.raises(TooWeak):
            verb(meter)
        assert meter.get(*READ) == VALUE


@pytest.mark.parametrize("ciphered", [False, True])
def test_B03_a_push_between_is_neither_an_answer_nor_an_end(ciphered: bool) -> None:
    push = bytes.fromhex("0F000000010006DEADBEEF")

    def between(exchange: Exchange) -> list[bytes]:
        first = exchange.seal(push, 3, Style.GENERAL_GLO) if ciphered else push
        return [first, exchange.seal(b"\xc4\x01\xc2\x00" + VALUE)]

    with signed_on(FakeMeter(alter=Requests({FIRST_REQUEST: between}))) as meter:
        assert meter.get(*READ) == VALUE


@pytest.mark.parametrize("applied", [0, 1, 2, 3])
@pytest.mark.parametrize("policy", [0, 1, 2, 3])
def test_B20_an_answer_is_protected_as_the_policy_says(policy: int, applied: int) -> None:
    plain = b"\xc4\x01\xc2\x00" + VALUE

    def lie(exchange: Exchange) -> list[bytes]:
        return [exchange.seal(plain, applied) if applied else plain]

    role = Role(policy=policy, mechanism="gmac")
    fake = FakeMeter(role, alter=Requests({FIRST_REQUEST: lie}))
    with signed_on(fake, allow_weak=True) as meter:
        if policy & ~applied or (applied and not policy):
            with pytest.raises((TooWeak, Unsupported)):
                meter.get(*READ)
        else:
            assert meter.get(*READ) == VALUE


@pytest.mark.parametrize("sc", [0x00, 0x10, 0x20, 0x31, 0x32, 0x3F, 0x70, 0xB0, 0xF0, 0xFF])
def test_B04_the_security_control_is_not_the_answerers_choice(sc: int) -> None:
    def lie(exchange: Exchange) -> list[bytes]:
        return [exchange.reply[:2] + bytes((sc,)) + exchange.reply[3:], exchange.reply]

    failing_read(lie, (TooWeak, UnknownKey, Malformed, Forged))


# --- B09: which answer it is ----------------------------------------------------------------------


@pytest.mark.parametrize("invoke", [invoke for invoke in range(16) if invoke != 2])
def test_B09_the_invoke_id_of_another_request(invoke: int) -> None:
    plain = bytes((0xC4, 0x01, 0xC0 | invoke, 0x00)) + VALUE
    failing_read(lambda x: [x.seal(plain)], ProtocolViolation)


@pytest.mark.parametrize(
    "plain",
    [
        "C501C200",
        "C701C20000",
        "C502C200000001",
        "C503C20000000001",
        "C704C200000001",
        "C403C20100060001E240",
        "C001C200030100010800FF0200",
    ],
)
def test_B09_the_answer_to_another_kind_of_request(plain: str) -> None:
    octets = bytes.fromhex(plain)
    failing_read(lambda x: [x.seal(octets, 3, Style.GENERAL_GLO)], ProtocolViolation)


def test_B09_an_answer_of_another_association_on_the_line() -> None:
    held: dict[tuple[int, int], bytes] = {}

    def swap(exchange: Exchange) -> list[bytes] | None:
        if exchange.request[0] != 0xC8:
            return None
        held.setdefault(exchange.pair, exchange.reply)
        return [held[2, 1], exchange.reply] if len(held) > 1 else None

    fake = FakeMeter(Role(client=2), Role(client=3, title=b"MSLHES\x00\x02"), alter=swap)
    line = net.blocking_loopback(fake.factory)
    with (
        sync.link(credentials=fake.credentials(), counters=MemoryCounters(), line=line) as link,
        link.associate("c2") as one,
        link.associate("c3") as other,
    ):
        assert one.get(*READ) == VALUE
        with pytest.raises(Forged):
            other.get(8, "0.0.1.0.0.255", 2)
        held.clear()
        assert other.get(*READ) == VALUE


def test_B09_an_answer_that_nobody_asked_for() -> None:
    def twice(exchange: Exchange) -> list[bytes]:
        return [exchange.reply, exchange.seal(b"\xc4\x01\xc2\x00\x11\x07")]

    with signed_on(FakeMeter(alter=Requests({FIRST_REQUEST: twice}))) as meter:
        assert meter.get(*READ) == VALUE
        with pytest.raises(ProtocolViolation, match="another invoke-id"):
            meter.get(*READ)
        assert meter.get(*READ) == VALUE


# --- B12, B13, B01 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 17))
def test_B12_octets_behind_an_answer(count: int) -> None:
    rest = bytes(count)
    failing_read(lambda x: [x.reply + rest, x.reply], (Malformed, Forged))
    failing_read(lambda x: [x.seal(b"\xc4\x01\xc2\x00" + VALUE + rest)], DecodeError)


@pytest.mark.parametrize(
    ("title", "error"),
    [
        (CLIENT_TITLE, UnknownKey),
        (b"MSL\x00\x00\x00\x00\x09", UnknownKey),
        (bytes(8), UnknownKey),
        (TITLE[:7], Malformed),
        (TITLE + b"\x00", Malformed),
        (bytes(255), Malformed),
    ],
)
def test_B13_another_title_in_a_general_answer(title: bytes, error: type[MetersealError]) -> None:
    def lie(exchange: Exchange) -> list[bytes]:
        # DB, length, 8 octets of title, length, security control, counter, body
        body = exchange.reply[11:]
        return [
            build(GENERAL_GLO, title, body[0], int.from_bytes(body[1:5], "big"), body[5:]),
            exchange.reply,
        ]

    failing_read(lie, error, general=True)


def test_B13_an_empty_title_stands_for_the_meters() -> None:
    def shorter(exchange: Exchange) -> list[bytes]:
        return [b"\xdb\x00" + exchange.reply[10:]]

    with signed_on(FakeMeter(alter=Requests({FIRST_REQUEST: shorter})), general=True) as meter:
        assert meter.get(*READ) == VALUE


@pytest.mark.parametrize("general", [False, True])
def test_B13_the_clients_own_request_given_back(general: bool) -> None:
    error = failing_read(lambda x: [x.request, x.reply], (UnknownKey, Forged), general=general)
    assert isinstance(error, UnknownKey if general else Forged)


def test_B08_the_global_key_is_not_for_an_association_with_its_own() -> None:
    def lie(exchange: Exchange) -> list[bytes]:
        key = exchange.association.profile.setup.unicast
        assert key is not None
        context = exchange.association.context
        context.exclusive_dedicated, context.dedicated, own = False, None, context.dedicated
        forged = exchange.seal(b"\xc4\x01\xc2\x00" + VALUE)
        context.dedicated = own
        return [forged, exchange.reply]

    failing_read(lie, UnknownKey, dedicated=True)


# --- B21: errors without protection -------------------------------------------------------------------


ERRORS = [f"D801{code:02X}" for code in (1, 2, 3, 4, 5)] + [
    "D8020206",
    "D80106FFFFFFFE",
    "0E010601",
    "0E050306",
]


@pytest.mark.parametrize("error", [e for e in ERRORS if e != "D8020206"])
def test_B21_an_unprotected_error_ends_a_request_and_nothing_else(error: str) -> None:
    seen = Requests({FIRST_REQUEST: lambda x: [bytes.fromhex(error), x.reply]})
    counters = MemoryCounters()
    with signed_on(FakeMeter(alter=seen), counters=counters) as meter:
        before = meter._session.association.context
        with pytest.raises(Refused) as caught:
            meter.get(*READ)
        assert not caught.value.authenticated
        assert caught.value.source in ("exception-response", "confirmed-service-error")
        assert meter._session.association.context is before
        assert meter.get(*READ) == VALUE
        assert meter.is_open
    assert seen.counters == list(range(seen.counters[0], seen.counters[0] + len(seen.counters)))


@pytest.mark.parametrize("error", ["D80105", "0E010601", "D80106FFFFFFFE"])
def test_B21_an_unprotected_error_ends_a_sign_on(error: str) -> None:
    for number in (1, 2):
        fake = FakeMeter(alter=Requests({number: instead(bytes.fromhex(error))}))
        with pytest.raises(Refused), signed_on(fake):
            pass
        fake.alter = None
        with signed_on(fake) as meter:
            assert meter.get(*READ) == VALUE


# --- H10: real bugs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda x: [x.seal(b"\xc4\x01\xc0\x00" + VALUE)], ProtocolViolation),
        (lambda x: [x.seal(b"\xc4\x01\xc2\x00" + VALUE + b"\x00")], DecodeError),
        (lambda x: [x.seal(b"\xc4\x01\xc2\x00" + VALUE[:-1])], DecodeError),
        (lambda x: [x.seal(b"\xc4\x01\xc2\x02" + VALUE)], DecodeError),
        (lambda x: [x.seal(b"\xc4\x01\xc2")], DecodeError),
        (lambda x: [x.seal(b"\xc4\x01\xc2\x00\x09\x82\x13\x88" + bytes(5000))], TooLarge),
        (lambda x: [x.reply + bytes(4), x.reply], (Malformed, Forged)),
        (lambda x: [x.reply[:-4], x.reply], DecodeError),
        (lambda x: [x.reply[:1], x.reply], DecodeError),
    ],
    ids=["invoke-0", "padding", "short", "choice", "header", "oversized", "trailer", "cut", "tag"],
)
def test_H10_answers_with_bugs_are_refused_by_name(make: Alter, error: Any) -> None:
    failing_read(make, error)


def test_H10_a_meter_whose_counter_goes_backwards() -> None:
    def backwards(exchange: Exchange) -> list[bytes] | None:
        if exchange.number < FIRST_REQUEST:
            return None
        key = exchange.association.profile.setup.unicast
        assert key is not None
        key.tx.left = key.tx.end - (1000 - exchange.number)
        return [exchange.seal(b"\xc4\x01" + bytes((0xC0 | exchange.number - 1,)) + b"\x00" + VALUE)]

    with signed_on(FakeMeter(alter=backwards)) as meter:
        assert meter.get(*READ) == VALUE
        with pytest.raises(Replayed):
            meter.get(*READ)


def test_H10_blocks_out_of_order() -> None:
    blocks = {3: "C402C2000000000100020600", 4: "C402C20000000003000300BC61", 5: "D80101"}

    def lie(exchange: Exchange) -> list[bytes] | None:
        plain = blocks.get(exchange.number)
        return None if plain is None else [exchange.seal(bytes.fromhex(plain), 3, Style.GENERAL_GLO)]

    with (
        signed_on(FakeMeter(alter=lie)) as meter,
        pytest.raises(Malformed, match="block number 3, expected 2"),
    ):
        meter.get(*READ)
