"""The short way for a read of one attribute comes to what the general road comes to, whatever answers it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal import apdu
from meterseal.apdu import services
from meterseal.apdu.common import RawBlock, ResultCode, ResultData
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import (
    ClientAssociation,
    Confirmed,
    Effect,
    Failed,
    Need,
    Operation,
    Outcome,
    Reply,
    State,
)
from meterseal.association.requesting import Requesting
from meterseal.association.states import TABLE, Kind, Role
from meterseal.association.usual import UsualGet
from meterseal.codec.data import Data, Structure, Tag
from meterseal.errors import DecodeError, Misuse
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Style
from tests.association.pair import (
    CLOCK,
    DEK,
    REGISTER,
    SMALL,
    Pair,
    associated,
    get,
    octet_string,
    put,
    replies,
    sealed,
)
from tests.association.test_layers import associated_in

BOTH = AUTHENTICATED | ENCRYPTED
ENDS: dict[str, tuple[Style, dict[str, Any]]] = {
    "service-specific": (Style.GLO, {}),
    "dedicated": (Style.DED, {"client": {"dedicated_key": DEK}}),
    "general": (Style.GENERAL_GLO, {"client": {"general": True}}),
    "small": (Style.GLO, {"client": {"max_pdu": 64}}),
    "datagrams": (Style.GLO, {"datagrams": True}),
}
"""How the meter seals, and what makes the pair."""


@contextmanager
def general_road() -> Iterator[None]:
    """Nothing goes the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Requesting, "again", lambda self, read: None)
        patch.setattr(ClientAssociation, "answered", lambda self, octets: None)
        yield


def shown(effects: list[Effect]) -> list[object]:
    """Effects, with errors by class and text."""
    return [(type(e.error), str(e.error)) if isinstance(e, Failed) else e for e in effects]


def standing(pair: Pair) -> tuple[object, ...]:
    """All that a request or an answer may have changed at the client."""
    client = pair.client
    keys = [key for key in (client._setup.unicast, client.context.dedicated) if key is not None]
    asking = client._asking
    return (
        client.state,
        client._invoke,
        sorted(map(str, client._given_up)),
        None if asking is None else asking.identity,
        (client._transfer, client._pieces, client._by_blocks, client._added, client._layers),
        None if client.passed_over is None else str(client.passed_over),
        [(key.tx.left, key.rx.lowest, key.rx._seen) for key in keys],
    )


def play(kind: str, turns: list[tuple[Any, ...]]) -> list[object]:
    """Ask and answer as told; what came of it each time, and where everything stands then."""
    style, options = ENDS[kind]
    pair = associated(**options)
    found: list[object] = []
    octets = b""
    for operations, answers in turns:
        found.append(shown(pair.client.request(operations)))
        for plain, applied, repeated, flips in answers:
            octets = octets if repeated else _octets(pair, style, plain, applied, flips)
            found.append(shown(pair.client.receive(octets)))
            found.append(standing(pair))
        pair.client.give_up()
        found.append(standing(pair))
    return found


def _octets(pair: Pair, style: Style, plain: bytes, applied: int, flips: list[tuple[int, int]]) -> bytes:
    """`plain` with the invoke-id of what waits where it has FF, sealed by the meter's key, then changed."""
    asking = pair.client._asking
    if asking is not None and plain[2:3] == b"\xff":
        plain = plain[:2] + bytes((0xC0 | int(asking.identity),)) + plain[3:]
    if style.general or plain[0] in style.tags:
        plain = sealed(pair, plain, applied, style) if applied else plain
    octets = bytearray(plain)
    for at, bits in flips:
        octets[at % len(octets)] ^= bits
    return bytes(octets)


VALUES = st.one_of(
    st.sampled_from([SMALL.raw, b"\x00", b"\x06\x00", b"\x06" + bytes(5), b"", b"\x0f", b"\x03\x01"]),
    st.binary(max_size=20),
    st.binary(max_size=90).map(lambda octets: octet_string(octets).raw),
    st.integers(0, 255).map(lambda n: Data.of((n, b"x"), Structure((Tag.UNSIGNED, Tag.OCTET_STRING))).raw),
)
PLAIN = st.one_of(
    VALUES.map(lambda raw: b"\xc4\x01\xff\x00" + raw),
    VALUES.map(lambda raw: b"\xc4\x01\xc5\x00" + raw),
    VALUES.map(lambda raw: b"\xc4\x01\x41\x00" + raw),
    st.builds(
        lambda last, number, raw: services.GetResponseWithDatablock(
            0xFF, last, number, RawBlock(raw)
        ).encode(),
        st.booleans(), st.integers(1, 2), VALUES,
    ),
    st.sampled_from([
        services.GetResponseNormal(0xFF, ResultCode(3)).encode(),
        services.GetResponseNormal(0xFF, ResultCode(0)).encode(),
        services.GetResponseWithList(0xFF, (ResultData(SMALL),)).encode(),
        services.SetResponseNormal(0xFF, 0).encode(),
        ExceptionResponse(1, 5).encode(),
        b"\xc4", b"\xc4\x01", b"\xc4\x01\xff", b"\x0f\x00", b"\xcc\x00", b"\xe0\x80\x00\x01\x00\x00\x00",
    ]),
    st.binary(min_size=1, max_size=40),
)  # fmt: skip
ANSWERS = st.tuples(
    PLAIN,
    st.sampled_from([BOTH, BOTH, BOTH, AUTHENTICATED, ENCRYPTED, 0]),
    st.sampled_from([False, False, False, True]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 255)), max_size=1) | st.just([]),
)
TURNS = st.lists(
    st.tuples(
        st.sampled_from([(get(),), (get(),), (get(member=3),), (get(), get(member=3)), (put(SMALL),)]),
        st.lists(ANSWERS, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


FIRST: list[tuple[Any, ...]] = [((get(),), [(b"\xc4\x01\xff\x00" + SMALL.raw, BOTH, False, [])])]


@pytest.mark.parametrize("kind", ENDS)
@settings(max_examples=25)
@given(turns=TURNS)
def test_the_short_way_comes_to_what_the_general_road_does(kind: str, turns: list[tuple[Any, ...]]) -> None:
    found = play(kind, FIRST * 3 + turns)
    with general_road():
        assert found == play(kind, FIRST * 3 + turns)


@pytest.mark.parametrize("kind", ENDS)
@settings(max_examples=25)
@given(order=st.lists(st.integers(0, 3), min_size=1, max_size=20), changes=st.sets(st.integers(0, 20)))
def test_reads_in_any_order_of_values_that_change_are_answered(
    kind: str, order: list[int], changes: set[int]
) -> None:
    pair, values = associated(**ENDS[kind][1]), 0
    operations = [get(), get(member=3), get(CLOCK, class_id=8), put(SMALL)]
    for turn, which in enumerate(order * 3):
        if turn in changes:
            values += 1
        value = Data.of(values, Tag.DOUBLE_LONG_UNSIGNED)
        pair.plant.values.update({(REGISTER, 2): value.raw, (REGISTER, 3): value.raw, (CLOCK, 2): value.raw})
        (asked,) = pair.client.request((operations[which],))
        assert isinstance(asked, Reply)
        (answer,) = replies(pair.to_meter(asked.octets))
        (confirmed,) = pair.client.receive(answer)
        assert isinstance(confirmed, Confirmed)
        assert confirmed.outcomes == (Outcome(0, value.raw if which < 3 else None),)


def test_a_read_is_not_asked_again_while_something_is_under_way() -> None:
    pair = associated()
    pair.ask(get())
    pair.client.request((get(),))
    before = standing(pair)
    assert pair.client.again((3, REGISTER, 2)) is None and standing(pair) == before
    pair.client.give_up()
    assert pair.client.again((3, REGISTER, 2)) is not None


def test_a_read_after_a_signed_request_goes_out_as_before_it() -> None:
    pair = associated_in()
    pair.ask(get())
    assert pair.run(pair.client.request([get()], added=SIGNED)) == [Confirmed((Outcome(0, SMALL.raw),))]
    assert pair.client._added
    with general_road():
        expected = pair.ask(get())
    assert pair.run(pair.client.request([get()], added=SIGNED)) == expected
    assert pair.ask(get()) == expected == [Confirmed((Outcome(0, SMALL.raw),))]
    assert not pair.client._added and not pair.client._layers


def test_a_read_asked_again_takes_the_short_way_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = associated()
    assert pair.ask(get()) == [Confirmed((Outcome(0, SMALL.raw),))]

    def long(*_: Any) -> None:
        raise AssertionError("the general road")

    monkeypatch.setattr(Requesting, "_begin", long)
    (asked,) = pair.client.request((get(),))
    assert isinstance(asked, Reply)
    (answer,) = replies(pair.to_meter(asked.octets))
    monkeypatch.setattr(apdu, "decode", long)
    assert pair.client.receive(answer) == [Confirmed((Outcome(0, SMALL.raw),))]


@pytest.mark.parametrize("data", [b"", b"\x06\x00", b"\x0f", SMALL.raw + b"\x00"])
def test_data_that_is_none_is_judged_by_the_general_road(data: bytes) -> None:
    pair = associated()
    pair.ask(get())
    pair.client.request((get(),))
    (usual,) = pair.client._usual.values()
    answer = b"\xc4\x01" + bytes((usual.invoke,)) + b"\x00"
    good, bad = sealed(pair, answer + SMALL.raw), sealed(pair, answer + data)
    assert pair.client.answered(bad) is None
    assert usual.answered(good) == SMALL.raw
    (failed,) = pair.client.receive(sealed(pair, answer + data))
    assert isinstance(failed, Failed) and isinstance(failed.error, DecodeError)


def test_a_policy_that_has_grown_is_kept_to() -> None:
    pair = associated()
    pair.ask(get())
    pair.client._setup.policy |= SIGNED << 2
    with pytest.raises(Misuse, match="random octets"):  # for the transaction-ids of signed requests
        pair.client.request((get(),))


def test_without_a_counter_left_one_is_asked_for() -> None:
    pair = associated()
    pair.ask(get())
    unicast = pair.client._setup.unicast
    assert unicast is not None
    unicast.tx.left = 0
    (effect,) = pair.client.request((get(),))
    assert isinstance(effect, Need)


def test_what_is_prepared_is_bounded_and_ends_with_the_association() -> None:
    pair = associated()
    for member in range(1, 100):
        pair.ask(get(member=member % 120))
        pair.client.request((get(member=member % 120),))
        pair.client.give_up()
    assert 0 < len(pair.client._usual) <= 64
    assert all(type(usual) is UsualGet for usual in pair.client._usual.values())
    pair.ask(get())
    pair.release()
    assert not pair.client._usual


def test_a_longer_read_is_none_of_them() -> None:
    pair = associated()
    one: tuple[Operation, ...] = (get(),)
    assert UsualGet.is_one(one)
    assert not UsualGet.is_one((get(), get()))
    pair.ask(get(), get(member=3))
    pair.ask(put(SMALL))
    assert not pair.client._usual


def test_only_a_standing_association_has_answers() -> None:
    rows = {state for (role, state, kind), step in TABLE.items() if (role, kind, step.action) == (
        Role.CLIENT, Kind.RESPONSE, "answer"
    )}  # fmt: skip
    assert rows == {State.ASSOCIATED}
    pair = associated()
    pair.ask(get())
    (asked,) = pair.client.request((get(),))
    assert isinstance(asked, Reply)
    (answer,) = replies(pair.to_meter(asked.octets))
    pair.client.release()
    assert pair.client.answered(answer) is None
    pair.client.end()
    assert pair.client.answered(answer) is None
