"""Catalogue C at the client: counter errors, counter objects and old answers of a meter that lies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meterseal.codec.data import Data, Tag
from meterseal.errors import (
    CounterUnknown,
    Refused,
    Replayed,
)
from meterseal.security import Style
from tests.client.fake_meter import COUNTER, PUBLIC, Exchange, FakeMeter, Role
from tests.hostile.client_side import READ, VALUE, Requests, signed_on
from tests.hostile.test_client_answers import FIRST_REQUEST

# --- C03, C04: counters -----------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [1, 2**16, 2**31, 2**32 - 2])
@pytest.mark.parametrize("protected", [False, True])
def test_C03_a_counter_error_is_told_and_not_followed(jump: int, protected: bool) -> None:
    def error(exchange: Exchange) -> list[bytes]:
        plain = bytes.fromhex("D80106") + jump.to_bytes(4, "big")
        return [exchange.seal(plain, 3, Style.GENERAL_GLO) if protected else plain]

    seen = Requests({FIRST_REQUEST: error})
    fake = FakeMeter(alter=seen)
    with signed_on(fake) as meter:
        with pytest.raises(Refused, match=f"lowest acceptable {jump}") as caught:
            meter.get(*READ)
        assert caught.value.authenticated is protected
        assert meter.get(*READ) == VALUE
    first = seen.counters[0]
    assert seen.counters == list(range(first, first + len(seen.counters)))
    seen.sent.clear()
    with signed_on(fake):
        pass
    assert seen.counters[0] < 200


@pytest.mark.parametrize(
    "value",
    [
        Data.of(2**32 - 1, Tag.DOUBLE_LONG_UNSIGNED),
        Data.of(2**32 - 2, Tag.DOUBLE_LONG_UNSIGNED),
        Data.of(2_000_000_000, Tag.DOUBLE_LONG_UNSIGNED),
        Data.of(2**63, Tag.LONG64_UNSIGNED),
        Data.of(-1, Tag.LONG),
        Data.of(True, Tag.BOOLEAN),
        Data.of(b"\x00\x00\x00\x05", Tag.OCTET_STRING),
        Data.of(None, Tag.NULL),
    ],
    ids=repr,
)
def test_C03_a_counter_object_that_cannot_be_believed(value: Data) -> None:
    fake = FakeMeter(Role(), PUBLIC)
    fake.objects[*COUNTER, 2] = value
    credentials = fake.credentials(counter_start=None, counter_object="0.0.43.1.2.255")
    with (
        pytest.raises(CounterUnknown, match=r"0\.0\.43\.1\.2\.255 of the meter says"),
        signed_on(fake, "c2", credentials=credentials),
    ):
        pass
    fake.objects[*COUNTER, 2] = Data.of(0, Tag.DOUBLE_LONG_UNSIGNED)
    with signed_on(fake, "c2", credentials=credentials) as meter:
        assert meter.get(*READ) == VALUE


@pytest.mark.parametrize("hidden", [True, False])
def test_C03_a_counter_object_that_is_not_shown(hidden: bool) -> None:
    roles = [Role()] if hidden else [Role(), Role(client=16, mechanism="none", policy=0, objects=[])]
    fake = FakeMeter(*roles)
    credentials = fake.credentials(counter_start=None, counter_object="0.0.43.1.2.255")
    with (
        pytest.raises(CounterUnknown, match="first use of this key"),
        signed_on(fake, "c2", credentials=credentials),
    ):
        pass


def test_C04_nothing_lowers_a_counter() -> None:
    seen = Requests()
    fake = FakeMeter(Role(), PUBLIC, alter=seen)
    fake.objects[*COUNTER, 2] = Data.of(3, Tag.DOUBLE_LONG_UNSIGNED)
    high = fake.credentials(counter_start=70_000)
    low = fake.credentials(counter_start=1)
    asked = fake.credentials(counter_start=None, counter_object="0.0.43.1.2.255")
    last = 0
    for credentials in (high, low, asked, fake.credentials(counter_start=None)):
        seen.sent.clear()
        with signed_on(fake, "c2", credentials=credentials) as meter:
            meter.get(*READ)
        assert seen.counters[0] > max(last, 70_000)
        last = seen.counters[-1]
    assert not [o for o in fake.done if o.class_id == 1], "the object is not even read"


def test_C04_an_operator_may_move_a_counter_up() -> None:
    seen = Requests()
    fake = FakeMeter(alter=seen)
    for start in (1, 90_000):
        seen.sent.clear()
        with signed_on(fake, credentials=fake.credentials(counter_start=start)):
            pass
        assert seen.counters[0] >= start
    assert seen.counters[0] < 90_100


def test_C01_an_old_answer_again() -> None:
    kept: list[bytes] = []

    def replay(exchange: Exchange) -> list[bytes] | None:
        if exchange.number == FIRST_REQUEST:
            kept.append(exchange.reply)
        return [kept[0], exchange.reply] if exchange.number == FIRST_REQUEST + 16 else None

    with signed_on(FakeMeter(alter=replay)) as meter:
        for _ in range(16):
            meter.get(*READ)
        with pytest.raises(Replayed):
            meter.get(*READ)
        assert meter.get(*READ) == VALUE


def test_C01_an_answer_of_an_earlier_session_again() -> None:
    kept: list[bytes] = []

    def replay(exchange: Exchange) -> list[bytes] | None:
        kept.append(exchange.reply)
        return None

    fake = FakeMeter(alter=replay)
    with signed_on(fake) as meter:
        meter.get(*READ)
    fake.alter = lambda exchange: [kept[0]] if exchange.number == 1 else None
    with pytest.raises(Replayed), signed_on(fake):
        pass


def test_C01_an_earlier_session_again_where_the_title_is_not_known() -> None:
    kept: list[bytes] = []

    def keep(exchange: Exchange) -> None:
        kept.append(exchange.reply)

    # Without a challenge nothing but the counters tells an old session from a new one.
    fake = FakeMeter(Role(mechanism="none"), alter=keep)
    known = fake.credentials()
    unknown = replace(known, meter=replace(known.meter, system_title=None))
    for _ in range(2):
        with signed_on(fake, credentials=unknown) as meter:
            meter.get(*READ)
    fake.alter = lambda exchange: [kept[exchange.number - 1]]
    with pytest.raises(Replayed, match="counters below"), signed_on(fake, credentials=unknown):
        pass
