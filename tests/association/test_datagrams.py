"""Associations over datagrams: lost, repeated, reordered and strangers' ones, at both ends (C11, H08)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.apdu.initiate import CounterErrorResponse, ExceptionResponse
from meterseal.association import Associated, Confirmed, Failed, Outcome, Refusal, Released, Reply, State
from meterseal.errors import Forged, Refused, Replayed
from meterseal.security.protection import policy_bits
from tests.association.pair import CLOCK, SMALL, TO_METER, Pair, get, octet_string, put
from tests.association.test_layers import ALL, associated_in

FORMS = [{}, {"mechanism": 6}, {"mechanism": 6, "ciphered": False}, {"mechanism": 0, "ciphered": False}]
"""Ways to be associated: by GMAC and by SHA-256, ciphered and not, and the public client."""


class Shuffler:
    """A network: of what either end sends, some is repeated, some late; what is lost is the test's choice."""

    def __init__(self, seed: int, repeated: float = 0.2, late: float = 0.2) -> None:
        self._random = random.Random(seed)
        self._repeated, self._late = repeated, late
        self._waiting: dict[str, list[bytes]] = {}

    def __call__(self, direction: str, octets: bytes) -> list[bytes]:
        """What arrives now in place of `octets`: itself, perhaps twice, and late ones around it."""
        waiting = self._waiting.setdefault(direction, [])
        arriving = [octets]
        if self._random.random() < self._repeated:
            (waiting if self._random.random() < 0.5 else arriving).append(octets)
        late = [held for held in waiting if held is not octets and self._random.random() < 0.5]
        for held in late:
            waiting.remove(held)
            arriving.insert(self._random.randrange(len(arriving) + 1), held)
        return arriving


def confirmed(effects: list[Any]) -> tuple[Outcome, ...] | None:
    """The outcomes among effects, None while the answer is still waited for."""
    found = [effect for effect in effects if isinstance(effect, Confirmed | Failed)]
    if not found:
        return None
    assert len(found) == 1 and isinstance(found[0], Confirmed), found
    return found[0].outcomes


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS[:2], ids=str)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_C11_repeated_and_late_datagrams_change_nothing(form: dict[str, Any], seed: int) -> None:
    """20 % repeated, and those late: each request is done once and gets its own answer.

    Where nothing is sealed nothing tells a request that comes again from one that is meant again.
    """
    pair = Pair(datagrams=True, **form)
    pair.tap = Shuffler(seed)
    assert any(isinstance(effect, Associated) for effect in pair.sign_on())
    for number in range(30):
        value = octet_string(number.to_bytes(12, "big"))
        assert confirmed(pair.ask(put(value))) == (Outcome(0),)
        assert confirmed(pair.ask(get(CLOCK, 2, 8))) == (Outcome(0, value.raw),)
    assert [o.data.raw for o in pair.plant.done if o.data] == [
        octet_string(number.to_bytes(12, "big")).raw for number in range(30)
    ]
    assert any(isinstance(effect, Released) for effect in pair.release())


@pytest.mark.slow
@given(order=st.permutations(range(12)), again=st.lists(st.integers(0, 11), max_size=6))
def test_C11_requests_that_overtake_each_other_are_done_once_each(order: list[int], again: list[int]) -> None:
    pair = Pair(datagrams=True)
    pair.sign_on()
    sent: list[bytes] = []
    for number in range(12):
        (effect,) = pair.client.request([put(octet_string(bytes((number,)) * 12))])
        assert isinstance(effect, Reply)
        sent.append(effect.octets)
        pair.client.give_up()
    done: list[int] = []
    for number in [*order, *again]:
        effects = pair.to_meter(sent[number])
        answered = any(isinstance(effect, Reply) for effect in effects)
        assert answered == (number not in done)  # what came before gets no answer at all
        done += [number] * answered
    assert [o.data.value[0] for o in pair.plant.done if o.data] == order


def test_C11_width_0_on_a_stream() -> None:
    """The same reordering on a stream: only what is ahead is taken, and the rest is refused aloud."""
    pair = Pair()
    pair.sign_on()
    sent = []
    for number in range(3):
        (effect,) = pair.client.request([put(octet_string(bytes((number,)) * 12))])
        assert isinstance(effect, Reply)
        sent.append(effect.octets)
        pair.client.give_up()
    replies = [pair.to_meter(sent[number])[-1] for number in (1, 0, 1, 2)]
    assert [r.octets[:1] == CounterErrorResponse.tag for r in replies if isinstance(r, Reply)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert [o.data.value[0] for o in pair.plant.done if o.data] == [1, 2]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_H08_an_answer_after_the_timeout_is_not_the_next_request_s(form: dict[str, Any]) -> None:
    pair = Pair(datagrams=True, **form)
    pair.sign_on()
    late: list[bytes] = []

    def answers_are_late(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_METER:
            return [octets]
        late.append(octets)
        return []

    pair.tap = answers_are_late
    pair.plant.values[CLOCK, 2] = octet_string(b"first value!").raw
    assert pair.ask(get(CLOCK, 2, 8)) == []
    pair.client.give_up()
    pair.plant.values[CLOCK, 2] = octet_string(b"second value").raw
    assert pair.ask(get(CLOCK, 2, 8)) == []
    second = late.pop()
    for octets in (late[0], late[0]):
        assert pair.client.receive(octets) == []
    assert confirmed(pair.client.receive(second)) == (Outcome(0, pair.plant.values[CLOCK, 2]),)
    for octets in (late[0], second, second):
        assert pair.client.receive(octets) == []
    pair.tap = lambda direction, octets: [octets]
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


@pytest.mark.parametrize("state", ["pending", "associated"])
def test_H08_strangers_datagrams_end_nothing(state: str) -> None:
    """Errors and answers that nobody sealed are passed over; the latest cause is kept for the time-out."""
    forged = [
        ExceptionResponse(1, 5).encode(),
        CounterErrorResponse(1, 6, 4_000_000_000).encode(),
        bytes.fromhex("C401C100060000002A"),
        bytes.fromhex("CC0D3000000001") + bytes(7),
        bytes.fromhex("6129A109060760857405080103A203020101A305A103020101"),
        b"\xff",
        b"",
    ]
    pair = Pair(datagrams=True)
    spoilt = {"pending": b"\xcb", "associated": b"\xc8"}[state]

    def tap(direction: str, octets: bytes) -> list[bytes]:
        answer_next = direction != TO_METER and pair.sent(TO_METER)[-1][:1] == spoilt
        return [*forged, octets, *forged] if answer_next else [octets]

    pair.tap = tap
    assert any(isinstance(effect, Associated) for effect in pair.sign_on())
    before = pair.client.context.setup.key().tx.left
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
    assert pair.client.passed_over is not None
    assert pair.client.context.setup.key().tx.left == before - 1


def test_a_refusal_at_sign_on_is_told_at_once() -> None:
    """Over datagrams too: the AARE says no, and nobody has to wait for a time-out."""
    pair = Pair(datagrams=True, client={"mechanism": 6})
    (effect,) = pair.sign_on()
    assert isinstance(effect, Failed) and isinstance(effect.error, Refused)
    assert pair.client.state is State.IDLE


def test_garbage_at_a_meter_without_an_association_gets_no_answer() -> None:
    pair = Pair(datagrams=True)
    for octets in (b"", b"\x00", b"\xff" * 40, b"\x60", b"\x60\x02\xa1\x00", b"\xc0\x01"):
        assert not [effect for effect in pair.to_meter(octets) if isinstance(effect, Reply)], octets
    assert [e for e in pair.to_meter(bytes.fromhex("C001C1000800000100 00FF0200")) if isinstance(e, Reply)]


def test_C11_an_aarq_that_comes_again_is_not_answered() -> None:
    """Its counter has been used: a late copy, or somebody's; on a stream it would be refused aloud."""
    pair = Pair(datagrams=True)
    pair.sign_on()
    aarq = pair.sent(TO_METER)[0]
    pair.release()
    (effect,) = pair.to_meter(aarq)
    assert isinstance(effect, Refusal) and isinstance(effect.error, Replayed)
    assert pair.server.state is State.IDLE
    aloud = Pair()
    aloud.sign_on()
    aloud.release()
    assert [type(effect) for effect in aloud.to_meter(aloud.sent(TO_METER)[0])] == [Refusal, Reply]


@pytest.mark.parametrize("form", ["", "one-pass"])
def test_H08_what_curve_work_shows_to_be_nobodys_answer_is_passed_over(form: str) -> None:
    """Also a signature is looked at before anything ends: the genuine answer is still waited for."""
    pair = associated_in(form, policy=policy_bits(ALL, ALL), datagrams=True)

    pair.tap = lambda direction, octets: [
        octets if direction == TO_METER else octets[:-1] + bytes((octets[-1] ^ 1,))
    ]
    assert pair.ask(get()) == []
    assert isinstance(pair.client.passed_over, Forged)
    genuine = pair.wire[-1][1]
    assert pair.run(pair.client.receive(genuine)) == [Confirmed((Outcome(0, SMALL.raw),))]
