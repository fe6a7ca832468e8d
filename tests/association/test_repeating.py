"""The beaten track answers what the road of every message answers, and leaves what that leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.association import Indication, Operation, Outcome, Reply
from meterseal.association.operations import Service
from meterseal.association.profile import DEFAULT_CONFORMANCE, EVENTS, SERVER_CONFORMANCE
from meterseal.association.repeating import MOST
from meterseal.codec.data import Data, Tag
from meterseal.errors import MetersealError
from meterseal.security import Style
from tests.association.pair import CLOCK, REGISTER, Pair
from tests.association.twins import ATTRIBUTES, Twins, twins

LONG = Data.of(bytes(300), Tag.OCTET_STRING)
WITHOUT_BLOCKS = DEFAULT_CONFORMANCE & ~0x001800


def test_a_read_that_came_before_goes_the_short_road_whatever_its_invoke_id() -> None:
    here = twins()
    for invoke in range(256):
        (answer,) = here.get(invoke=invoke)
        assert answer[0] == 0xCC
    assert here.short == 256


@pytest.mark.parametrize("style", [Style.GLO, Style.GENERAL_GLO])
@pytest.mark.parametrize("suite_id", [0, 1, 2])
def test_both_forms_of_every_suite(style: Style, suite_id: int) -> None:
    here = Twins(suite_id=suite_id)
    for _ in range(3):
        here.get(style=style)
    assert here.short == 2
    other = Style.GLO if style is Style.GENERAL_GLO else Style.GENERAL_GLO
    here.get(style=other)
    here.get(style=other)
    assert here.short == 3


def test_values_are_read_anew_each_time() -> None:
    here = twins()
    first = here.pairs[0].plant
    for number in range(3):
        raw = Data.of(number, Tag.UNSIGNED).raw
        here.change(lambda pair, raw=raw: pair.plant.values.update({(REGISTER, 2): raw}))  # type: ignore[misc]
        (answer,) = here.get()
        assert first.values[REGISTER, 2] == raw
        assert len(answer) == 2 + 5 + 4 + len(raw) + 12
    assert here.short == 3


def test_what_is_remembered_has_an_end() -> None:
    here = twins()
    for member in range(1, MOST + 20):
        plain = b"\xc0\1\xc1\0\3" + REGISTER + bytes((member, 0))
        here.both(here.seal(plain))
    track = here.pairs[0].server._track
    assert track is not None and len(track.known) == MOST


def test_what_the_party_cannot_do_again_is_not_remembered() -> None:
    here = twins()
    here.change(lambda pair: pair.server.end())
    here.sign_on()
    (indication,) = here.pairs[0].server.receive(here.seal(b"\xc0\1\xc1" + ATTRIBUTES[0]))
    assert isinstance(indication, Indication)
    effects = here.pairs[0].server.respond(indication.token, [Outcome(0, LONG.raw)], lambda operation: None)
    assert isinstance(effects[0], Reply)
    assert here.pairs[0].server._track is None and here.pairs[0].server._ready is None


# --- each kind of change takes effect on the very next request -----------------------------------

CHANGES: dict[str, tuple[Callable[[Twins], object], int]] = {
    "a right is gone": (lambda here: here.allow(0), 0),
    "it is not in the view any more": (lambda here: here.allow(None), 0),
    "a right asks for a signature": (lambda here: here.allow(1 | 0x10), 0),
    "the policy asks for signatures": (lambda here: here.policy(0x6C | 0x10 | 0x80), 0),
    "new keys": (lambda here: here.rekey(bytes(16), bytes(16)), 0),
    "a new authentication key": (lambda here: here.rekey(bytes(range(16)), bytes(16)), 0),
    "another title of the client": (
        lambda here: here.change(lambda pair: setattr(pair.server.profile.setup, "peer_title", b"MSLHES09")),
        0,
    ),
    "the association has ended": (lambda here: here.change(lambda pair: pair.server.end()), 0),
    "it was opened anew": (lambda here: here.sign_on(), 0),
    "no counters are left": (lambda here: here.counters(0), 0),
    "the object fails": (lambda here: setattr(here, "failing", True), 0),
    "nothing": (lambda here: None, 1),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_takes_effect_on_the_very_next_request(kind: str) -> None:
    change, expected = CHANGES[kind]
    here = twins()
    change(here)
    here.get()
    assert here.short == expected


@pytest.mark.parametrize("left", [0, 1, 2])
def test_counters_that_cannot_be_had_are_missed_in_the_same_way(left: int) -> None:
    here = twins()
    here.counters(left)
    for pair in here.pairs:
        pair.block = 0
    for _ in range(4):
        here.get()
    assert here.short == left


def test_B01_a_read_with_another_tag_is_refused_as_on_the_long_road() -> None:
    here = twins()
    octets = here.seal(b"\xc0\1\xc1" + ATTRIBUTES[0])
    server, unicast = here.pairs[0].server, here.pairs[0].server.profile.setup.unicast
    assert unicast is not None
    before = unicast.rx.lowest
    forged = octets[:-1] + bytes((octets[-1] ^ 1,))
    assert server.repeat(forged) is None and unicast.rx.lowest == before
    (answer,) = here.both(forged)
    assert answer[0] == 0xD8 and here.short == 0
    here.both(octets)
    assert here.short == 1


def test_long_answers_go_in_blocks_and_a_new_read_ends_them() -> None:
    here = twins(client={"max_pdu": 128})
    here.change(lambda pair: pair.plant.values.update({(REGISTER, 2): LONG.raw}))
    here.get()
    assert all(pair.server.answering for pair in here.pairs)
    here.get()  # instead of the next block
    here.both(here.seal(bytes.fromhex("C002C100000001")))
    here.change(lambda pair: pair.plant.values.clear())
    here.get()
    here.get()
    assert here.short == 1


def test_long_answers_without_blocks_are_refused_alike() -> None:
    here = twins(client={"max_pdu": 128}, server={"conformance": WITHOUT_BLOCKS})
    here.change(lambda pair: pair.plant.values.update({(REGISTER, 2): LONG.raw}))
    here.get()
    assert here.short == 0


def test_an_association_that_ends_while_the_object_is_read_is_not_answered() -> None:
    here = twins()
    server = here.pairs[0].server
    do = here._do

    def ends(pair: Pair, operation: Operation) -> Outcome:
        pair.server.end()
        return do(pair, operation)

    here._do = ends  # type: ignore[method-assign]
    assert here.get() == []
    assert server._track is None


def test_a_change_while_the_object_is_read_counts_for_this_answer() -> None:
    here = twins()
    do = here._do

    def changes(pair: Pair, operation: Operation) -> Outcome:
        pair.server.profile.setup.changes.note()
        return do(pair, operation)

    here._do = changes  # type: ignore[method-assign]
    here.get()
    here.get()
    assert here.short == 0


def test_an_event_told_in_between_costs_one_round_on_the_other_road() -> None:
    events = {"conformance": SERVER_CONFORMANCE | EVENTS}
    here = twins(client={"events": print}, server=events)
    told = [
        pair.server.notify(Operation(Service.GET, 3, REGISTER, 2), Data.of(1, Tag.UNSIGNED))
        for pair in here.pairs
    ]
    assert len(told[0]) == 1
    here.get()
    here.get()
    assert here.short == 1


def test_a_datagram_out_of_order_takes_the_other_road_and_counts_once() -> None:
    here = twins(datagrams=True)
    late = here.seal(b"\xc0\1\xc1" + ATTRIBUTES[0])
    here.get()
    here.both(late)
    here.both(late)
    here.get()
    assert here.short == 2


# --- anything ------------------------------------------------------------------------------------

WHICH = st.integers(0, len(ATTRIBUTES) - 1)
READS = st.fixed_dictionaries(
    {"which": WHICH, "invoke": st.integers(0, 255), "style": st.sampled_from([Style.GLO, Style.GENERAL_GLO])},
    optional={"applied": st.sampled_from([1, 2, 3]), "skipped": st.integers(0, 2)},
)
POLLED = st.tuples(st.lists(WHICH, min_size=1, max_size=2), st.just(3), st.integers(0, 15))
USUAL = st.fixed_dictionaries({"which": st.integers(0, 2), "invoke": st.integers(0, 255)})
STEPS = st.one_of(
    st.tuples(st.just("get"), USUAL),
    st.tuples(st.just("get"), USUAL),
    st.tuples(st.just("get"), READS),
    st.tuples(st.just("polled"), POLLED),
    st.tuples(st.just("again"), st.integers(0, 50)),
    st.tuples(st.just("changed"), st.tuples(READS, st.integers(0, 80), st.integers(0, 255))),
    st.tuples(st.just("hostile"), st.binary(max_size=40)),
    st.tuples(st.just("inside"), st.binary(max_size=20)),
    st.tuples(st.just("selected"), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("write"), st.binary(max_size=200)),
    st.tuples(st.just("block"), st.integers(0, 3)),
    st.tuples(st.just("value"), st.binary(max_size=200)),
    st.tuples(st.just("right"), st.sampled_from([None, 0, 1, 3, 0x11, 0x85])),
    st.tuples(st.just("policy"), st.sampled_from([0x6C, 0x24, 0x7C])),
    st.tuples(st.just("keys"), st.integers(0, 3)),
    st.tuples(st.just("left"), st.integers(0, 3)),
    st.tuples(st.just("fails"), st.booleans()),
    st.tuples(st.just("sign on"), st.none()),
)


def changed(here: Twins, how: dict[str, Any], at: int, bits: int) -> None:
    """A read with an octet that is another, or with its end cut off."""
    rest = {name: value for name, value in how.items() if name not in ("which", "invoke")}
    octets = bytearray(here.seal(b"\xc0\1" + bytes((how["invoke"],)) + ATTRIBUTES[how["which"]], **rest))
    octets[at % len(octets)] ^= bits
    here.both(bytes(octets[: len(octets) - (at > 70)]))


def polled(here: Twins, which: list[int], rounds: int, step: int) -> None:
    """The same attributes in turn, some rounds, the invoke-id so much further each time."""
    for at, attribute in enumerate(which * rounds):
        here.get(attribute, 0xC0 | at * step & 0x0F)


def written(here: Twins, value: bytes) -> None:
    """A write to another attribute."""
    data = Data.of(value, Tag.OCTET_STRING).raw
    here.both(here.seal(b"\xc1\1\xc1\0\10" + CLOCK + b"\2\0" + data))


def held(here: Twins, value: bytes) -> None:
    """Another value in the register."""
    raw = Data.of(value, Tag.OCTET_STRING).raw
    here.change(lambda pair: pair.plant.values.update({(REGISTER, 2): raw}))


def anew(here: Twins) -> None:
    here.policy(0x6C)
    here.sign_on()


DO: dict[str, Callable[[Twins, Any], object]] = {
    "get": lambda here, how: here.get(**how),
    "polled": lambda here, how: polled(here, *how),
    "again": lambda here, at: here.both(here.sent[at % len(here.sent)]),
    "changed": lambda here, value: changed(here, *value),
    "hostile": lambda here, octets: here.both(octets),
    "inside": lambda here, octets: here.both(here.seal(b"\xc0" + octets)),
    "selected": lambda here, octets: here.both(
        here.seal(b"\xc0\1\xc1" + ATTRIBUTES[0][:-1] + b"\1\1" + octets)
    ),
    "write": written,
    "block": lambda here, number: here.both(here.seal(b"\xc0\2\xc1" + number.to_bytes(4, "big"))),
    "value": held,
    "right": lambda here, right: here.allow(right),
    "policy": lambda here, bits: here.policy(bits),
    "keys": lambda here, n: here.rekey(bytes((n,)) * 16, bytes((n // 2,)) * 16),
    "left": lambda here, left: here.counters(left),
    "fails": lambda here, fails: setattr(here, "failing", fails),
    "sign on": lambda here, _: anew(here),
}
"""The steps of a conversation that both meters have."""


@given(st.lists(STEPS, min_size=3, max_size=14), st.sampled_from([0, 128]), st.booleans())
def test_the_short_road_equals_the_long_one(steps: list[tuple[str, Any]], size: int, datagrams: bool) -> None:
    here = twins(client={"max_pdu": size or 4096}, datagrams=datagrams)
    for name, value in steps:
        try:
            DO[name](here, value)
        except MetersealError:
            return  # the client itself cannot go on
