"""Protection of answers, each variant sealed by a meter under the right keys: A12, A17, A19, B02, B05 to B07,
B10, B11, C02 at the client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meterseal.apdu.acse import Aare, Rlre
from meterseal.apdu.ciphered import FORMS, GENERAL_GLO, build
from meterseal.apdu.initiate import InitiateResponse
from meterseal.association import DEFAULT_CONFORMANCE
from meterseal.codec.data import Data, Tag
from meterseal.crypto import GcmKey
from meterseal.errors import (
    AuthenticationFailed,
    DecodeError,
    MetersealError,
    ProtocolViolation,
    Replayed,
    Unsupported,
)
from meterseal.keys.counters import LIMIT
from meterseal.security import Handshake, KeyInUse
from tests.client.fake_meter import TITLE, Alter, Exchange, FakeMeter, Role
from tests.hostile.client_side import READ, RLRQ, VALUE, Requests, aare, instead, signed_on
from tests.mutate import truncations

ANSWER = b"\xc4\x01\xc2\x00" + VALUE
FIRST_REQUEST = 3


def own_key(exchange: Exchange) -> KeyInUse:
    key = exchange.association.profile.setup.unicast
    assert key is not None
    return key


def sealed_as(
    exchange: Exchange, sc: int, tag: int = 0xCC, plain: bytes = ANSWER, counter: int | None = None
) -> bytes:
    """An answer under the meter's own key, sealed just as its security control says."""
    key = own_key(exchange)
    number = key.tx.take() if counter is None else counter
    header = b"" if sc & 0x30 else b"\0"
    body = key.handle.seal(sc, TITLE + number.to_bytes(4, "big"), plain, header)
    return build(FORMS[tag], TITLE, sc, number, body)


def each(variants: list[Callable[[Exchange], bytes]]) -> None:
    """Every variant in place of an answer: a typed error; the read after it is true."""
    fake = FakeMeter()
    for at in range(0, len(variants), 10):  # an association gives up on so many unanswered requests
        with signed_on(fake) as meter:
            for make in variants[at : at + 10]:
                fake.alter = lambda exchange, make=make: [make(exchange)]
                with pytest.raises(MetersealError):
                    meter.get(*READ)
                fake.alter = None
                assert meter.get(*READ) == VALUE


# --- A12: the token of pass 4 ---------------------------------------------------------------------


@pytest.mark.parametrize("policy", [0, 3])
def test_A12_only_one_security_control_is_right_in_the_token_of_pass_4(policy: int) -> None:
    """All 256, each tagged as it says."""
    fake = FakeMeter(Role(policy=policy))
    opened = []
    for sc in range(256):

        def token(exchange: Exchange, sc: int = sc) -> list[bytes] | None:
            if exchange.number != 2:
                return None
            key = own_key(exchange)
            challenges: Handshake = fake.handshakes[exchange.pair]  # type: ignore[attr-defined]
            counter = key.tx.take().to_bytes(4, "big")
            tag = key.handle.tag(sc, TITLE + counter, challenges.peer_challenge)
            proof = Data.of(bytes((sc,)) + counter + tag, Tag.OCTET_STRING).raw
            plain = b"\xc7\x01\xc1\x00\x01\x00" + proof
            return [exchange.seal(plain) if policy else plain]

        fake.handshakes = Challenges(fake)  # type: ignore[attr-defined]
        fake.alter = fake.handshakes.watch(token)  # type: ignore[attr-defined]
        try:
            with signed_on(fake) as meter:
                assert meter.get(*READ) == VALUE
            opened.append(sc)
        except (AuthenticationFailed, MetersealError) as error:
            assert error.kind in ("authentication-failed", "forged", "malformed", "unsupported"), (sc, error)
    assert opened == [0x10]


class Challenges(dict[tuple[int, int], Handshake]):
    """The meter's side of sign-ons that are under way, by pair of SAPs."""

    def __init__(self, fake: FakeMeter) -> None:
        super().__init__()
        self.fake = fake

    def watch(self, alter: Alter) -> Alter:
        def both(exchange: Exchange) -> list[bytes] | None:
            if exchange.number == 1:
                held = exchange.association._handshake
                assert held is not None
                self[exchange.pair] = held
            return alter(exchange)

        return both


# --- B02, B05, B06, B07, B10, B11 -----------------------------------------------------------------


def test_B02_a_tag_has_twelve_octets() -> None:
    """Contents of 0 to 40 octets, tags cut and grown, nothing inside: none is an answer."""

    def content(size: int) -> Callable[[Exchange], bytes]:
        def make(exchange: Exchange) -> bytes:
            whole = sealed_as(exchange, 0x30)
            octets = (whole[2:] + bytes(40))[:size]
            return bytes((0xCC, size)) + octets

        return make

    right = len(ANSWER) + 5 + 12
    each([content(size) for size in range(41) if size != right])


def test_B05_B06_B07_no_other_security_control_is_taken() -> None:
    """Every suite, broadcast and compression, each sealed as it says, in both forms."""
    wrong = [sc for sc in range(256) if sc not in (0x30,)]
    each([lambda x, sc=sc: sealed_as(x, sc) for sc in wrong if sc & 0x3F or sc & 0xC0])  # type: ignore[misc]
    each([lambda x, sc=sc: sealed_as(x, sc, 0xDB) for sc in wrong[::5]])  # type: ignore[misc]


def test_B06_an_answer_under_a_key_of_the_group() -> None:
    group = GcmKey(bytes(range(16)), bytes(16))

    def lie(exchange: Exchange) -> bytes:
        body = group.seal(0x70, TITLE + bytes(4), ANSWER)
        return build(FORMS[0xCC], b"", 0x70, 0, body)

    each([lie])


@pytest.mark.parametrize("depth", [2, 3, 10, 50])
def test_B10_a_ciphered_answer_holds_none(depth: int) -> None:
    def nested(tag: int) -> Callable[[Exchange], bytes]:
        def make(exchange: Exchange) -> bytes:
            octets = ANSWER
            for _ in range(depth):
                octets = sealed_as(exchange, 0x30, tag, octets)
            return octets

        return make

    each([nested(0xDB), nested(0xCC)])


def test_B11_the_outer_tag_fixes_the_inner_one() -> None:
    inner = {
        0xC4: ANSWER,
        0xC5: bytes.fromhex("C501C200"),
        0xC7: bytes.fromhex("C701C20000"),
        0xC0: bytes.fromhex("C001C200030100010800FF0200"),
        0x0E: bytes.fromhex("0E010601"),
        0x08: InitiateResponse(None, 6, DEFAULT_CONFORMANCE, 4096, 7).encode(),
        0x61: Aare(application_context_name=b"\x60\x85\x74\x05\x08\x01\x03", result=0).encode(),
        0x63: Rlre(0).encode(),
    }
    pairs = [
        (form.tag, octets)
        for form in FORMS.values()
        if not form.general and form.key_set == "global"
        for tag, octets in inner.items()
        if form.plain_tag != tag or tag != 0xC4
    ]
    assert len(pairs) > 100
    each([lambda x, tag=tag, octets=octets: sealed_as(x, 0x30, tag, octets) for tag, octets in pairs])  # type: ignore[misc]
    others = [octets for tag, octets in inner.items() if tag not in (0xC4, 0x0E)]
    each([lambda x, octets=octets: sealed_as(x, 0x30, GENERAL_GLO.tag, octets) for octets in others])  # type: ignore[misc]


# --- C02 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter", [LIMIT, LIMIT - 1, 1 << 31, 1 << 16])
def test_C02_a_forged_answer_with_a_high_counter_poisons_no_client(counter: int) -> None:
    stranger = GcmKey(bytes(range(16)), bytes(16))

    def forged(exchange: Exchange) -> list[bytes]:
        return [
            build(FORMS[tag], TITLE, sc, counter, stranger.seal(sc, bytes(12), ANSWER))
            for tag in (0xCC, 0xDB)
            for sc in (0x10, 0x20, 0x30)
        ]

    with signed_on(FakeMeter(alter=Requests({FIRST_REQUEST: lambda x: forged(x)[:1]}))) as meter:
        rx = meter._session.association.profile.setup.key().rx
        lowest = rx.lowest
        with pytest.raises(MetersealError):
            meter.get(*READ)
        fake: FakeMeter = meter._driver.line.deliver.__self__.handler.meter  # type: ignore[attr-defined]
        for at in range(6):
            fake.alter = lambda exchange, at=at: [forged(exchange)[at]]
            with pytest.raises(MetersealError):
                meter.get(*READ)
            assert rx.lowest == lowest
        fake.alter = None
        assert meter.get(*READ) == VALUE


def test_C02_the_last_counter_is_a_genuine_meters_to_spend() -> None:
    """A meter that did jump to the end is believed, because its tag is right; nothing comes after that."""
    answers = [LIMIT - 1, LIMIT, 5]
    fake = FakeMeter()
    with signed_on(fake) as meter:
        for counter, fails in zip(answers, (False, True, True), strict=True):
            fake.alter = lambda x, c=counter: [
                sealed_as(x, 0x30, 0xCC, b"\xc4\x01" + bytes((0xC0 | x.number - 1,)) + b"\x00" + VALUE, c)
            ]
            if fails:
                with pytest.raises(Replayed):
                    meter.get(*READ)
            else:
                assert meter.get(*READ) == VALUE


# --- A17, A19, B12, F01: the ends of a session -----------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [Rlre(0).encode(), Rlre(1).encode(), b"\x63\x00", bytes.fromhex("D80101"), b"\x63"],
    ids=bytes.hex,
)
def test_A17_an_unprotected_end_is_not_taken_for_an_answer(answer: bytes) -> None:
    """An RLRE in the middle of a session fails a request at most; at its end it costs a warning."""
    with signed_on(FakeMeter(alter=Requests({FIRST_REQUEST: lambda x: [answer, x.reply]}))) as meter:
        with pytest.raises(MetersealError):
            meter.get(*READ)
        assert meter.is_open and meter.get(*READ) == VALUE

    def at_the_end(exchange: Exchange) -> list[bytes] | None:
        return [answer] if exchange.request[0] == RLRQ else None

    with signed_on(FakeMeter(alter=at_the_end)) as meter:
        assert meter.get(*READ) == VALUE


@pytest.mark.parametrize("size", [0, 1, 11, 63, 64, 65535])
@pytest.mark.parametrize("policy", [0, 3])
def test_A19_sizes_a_meter_may_name(size: int, policy: int) -> None:
    """0 means no limit; nothing is sent above what a meter says it takes."""
    response = InitiateResponse(None, 6, DEFAULT_CONFORMANCE, size, 7).encode()
    seen = Requests({1: aare(user_information=lambda x: x.seal(response) if policy else response)})
    fake = FakeMeter(Role(policy=policy), alter=seen)
    outcome = "done"
    try:
        with signed_on(fake) as meter:
            meter.set(1, "0.0.42.0.0.255", 2, Data.of(bytes(200), Tag.OCTET_STRING))
    except MetersealError as error:
        outcome = error.kind
    sent = [octets for octets in seen.sent if octets[0] not in (0x60, RLRQ)]
    if size in (0, 65535):
        assert outcome == "done"
    else:
        assert all(len(octets) <= size for octets in sent[1:]), (
            "pass 3 has to be sent before anything is agreed"
        )
        assert outcome == "done" if size == 64 else outcome in ("done", "too-large", "unsupported")
        assert size > 12 or outcome != "done"


def test_A19_services_that_were_not_proposed_are_not_used() -> None:
    """What a meter names beside them counts for nothing; where it names nothing else there is no sign-on."""
    response = InitiateResponse(None, 6, 0xFFFFFF, 4096, 7).encode()
    seen = Requests({1: aare(user_information=lambda x: x.seal(response))})
    fake = FakeMeter(alter=seen)
    with signed_on(fake) as meter:
        assert meter.get(*READ) == VALUE
        fake.alter = instead(bytes.fromhex("E0800001000001" + "D8"))
        with pytest.raises(Unsupported, match="was not negotiated"):
            meter.get(*READ)
    response = InitiateResponse(None, 6, 1 << 23, 4096, 7).encode()
    seen = Requests({1: aare(user_information=lambda x: x.seal(response))})
    with pytest.raises(ProtocolViolation, match="none of the services"), signed_on(FakeMeter(alter=seen)):
        pass
    assert len(seen.sent) == 1


def test_F01_every_truncation_of_an_answer_in_a_general_form() -> None:
    fake = FakeMeter()
    with signed_on(fake, general=True) as meter:
        kept: list[bytes] = []
        fake.alter = lambda x: kept.append(x.reply)
        meter.get(*READ)
    prefixes = [prefix for _, prefix in truncations(kept[:1]) if prefix]
    for at in range(0, len(prefixes), 10):
        with signed_on(fake, general=True) as meter:
            for prefix in prefixes[at : at + 10]:
                fake.alter = instead(prefix)
                with pytest.raises(DecodeError):
                    meter.get(*READ)
            fake.alter = None
            assert meter.get(*READ) == VALUE
