"""Whole sessions: every mechanism, every style, dedicated keys, small and large sizes, lists and blocks."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.apdu.ciphered import FORMS
from meterseal.association import Associated, Outcome, Refusal, Released, State
from meterseal.errors import TooLarge
from tests.association.pair import (
    CLIENT_TITLE,
    DEK,
    HIDDEN,
    METER_TITLE,
    SMALL,
    TO_CLIENT,
    TO_METER,
    Pair,
    associated,
    call,
    get,
    octet_string,
    protected_headers,
    put,
    single,
)

LONG = octet_string(bytes(range(256)) * 12)
MECHANISMS = (0, 1, 2, 3, 4, 5, 6)


def manufacturer(secret: bytes, challenge: bytes) -> bytes:
    """A stand-in for what a maker of meters may have thought of."""
    return bytes(a ^ b for a, b in zip(secret, challenge, strict=False))


def options(mechanism: int, **more: Any) -> dict[str, Any]:
    hook = {"manufacturer": manufacturer} if mechanism == 2 else {}
    return hook | more


def everything(pair: Pair) -> None:
    """All services in all forms, with short and long values."""
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
    pair.plant.values[get(member=3).instance, 3] = LONG.raw
    assert pair.outcomes(get(member=3)) == (Outcome(0, LONG.raw),)
    assert pair.outcomes(get(), get(HIDDEN), get(member=3)) == (
        Outcome(0, SMALL.raw),
        Outcome(4),
        Outcome(0, LONG.raw),
    )
    assert pair.outcomes(put(SMALL)) == (Outcome(0),)
    assert pair.outcomes(put(LONG)) == (Outcome(0),)
    assert pair.outcomes(put(LONG), put(SMALL, HIDDEN), put(LONG, member=9)) == (
        Outcome(0),
        Outcome(4),
        Outcome(0),
    )
    assert pair.outcomes(call()) == (Outcome(0),)
    assert pair.outcomes(call(LONG)) == (Outcome(0, LONG.raw),)
    assert pair.outcomes(call(LONG), call(None, HIDDEN), call()) == (
        Outcome(0, LONG.raw),
        Outcome(4),
        Outcome(0),
    )
    assert [o.data for o in pair.plant.done] == [SMALL, LONG, LONG, LONG, None, LONG, LONG, None]


@pytest.mark.parametrize("sizes", [(4096, 4096), (300, 128), (0, 0)], ids=lambda s: f"pdu-{s[0]}-{s[1]}")
@pytest.mark.parametrize("dedicated", [None, DEK], ids=["global", "dedicated"])
@pytest.mark.parametrize("general", [False, True], ids=["service-specific", "general"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_ciphered_sessions(
    mechanism: int, general: bool, dedicated: bytes | None, sizes: tuple[int, int]
) -> None:
    pair = associated(
        mechanism=mechanism,
        client=options(mechanism, general=general, dedicated_key=dedicated, max_pdu=sizes[0]),
        server=options(mechanism, max_pdu=sizes[1]),
    )
    everything(pair)
    assert pair.release() == [Released()]
    assert pair.client.state is pair.server.state is State.IDLE
    assert pair.client.context.dedicated is pair.server.context.dedicated is None
    kinds = {FORMS[tag].key_set for _, tag, _, _ in protected_headers(pair.wire)}
    assert kinds == ({"global", "dedicated"} if dedicated else {"global"})
    generals = {FORMS[tag].general for _, tag, _, _ in protected_headers(pair.wire)}
    assert generals == {general}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_plain_sessions(mechanism: int) -> None:
    pair = associated(
        mechanism=mechanism,
        ciphered=False,
        client=options(mechanism, max_pdu=200),
        server=options(mechanism, max_pdu=200),
    )
    everything(pair)
    assert pair.release() == [Released()]
    assert protected_headers(pair.wire) == []


@pytest.mark.parametrize("policy", [0, 0x04, 0x08, 0x0C, 0x20, 0x24, 0x40, 0x48, 0x60, 0x6C, 0x64, 0x2C])
def test_every_policy_is_met_in_both_directions(policy: int) -> None:
    pair = associated(policy=policy)
    everything(pair)
    request, response = (policy >> 2) & 3, (policy >> 5) & 3
    for sender, tag, sc, _ in protected_headers(pair.wire):
        asked = request if sender == TO_METER else response | request
        assert sc == asked << 4, (sender, hex(tag), hex(sc))
    assert pair.release() == [Released()]


def test_two_signings_on_and_off_continue_the_counters() -> None:
    pair = associated()
    pair.outcomes(get())
    assert pair.release() == [Released()]
    assert pair.sign_on(bytes(16)) == [Associated(None)]
    pair.outcomes(get())
    counters = {
        sender: [c for s, _, _, c in protected_headers(pair.wire) if s == sender]
        for sender in (
            TO_METER,
            TO_CLIENT,
        )
    }
    for values in counters.values():
        assert values == sorted(set(values))


sizes = st.one_of(st.integers(64, 140), st.integers(64, 4096))


@pytest.mark.slow
@settings(max_examples=150)
@given(
    client=sizes,
    server=sizes,
    length=st.integers(0, 6000),
    general=st.booleans(),
    dedicated=st.booleans(),
    mechanism=st.sampled_from([0, 1, 3, 5, 6]),
)
def test_negotiated_sizes_are_never_exceeded(
    client: int, server: int, length: int, general: bool, dedicated: bool, mechanism: int
) -> None:
    pair = Pair(
        mechanism=mechanism,
        client={"max_pdu": client, "general": general, "dedicated_key": DEK if dedicated else None},
        server={"max_pdu": server},
    )
    value = octet_string(bytes(length))
    if pair.sign_on() != [Associated(None)]:
        # The longest proof does not fit the smallest sizes, and is not sent.
        assert mechanism == 6
        assert min(client, server) < 80
        assert pair.server.state is not State.ASSOCIATED
        return
    try:
        assert pair.outcomes(put(value)) == (Outcome(0),)
        assert pair.outcomes(get(put(value).instance)) == (Outcome(0, value.raw),)
        assert pair.outcomes(call(value)) == (Outcome(0, value.raw),)
        assert pair.outcomes(call(value), call(value)) == (Outcome(0, value.raw),) * 2
        assert len(pair.outcomes(get(), get())) == 2
    except TooLarge as error:
        # A list of names that does not fit: the client knows before it sends anything.
        assert server < 100, error
    for sender, octets in pair.wire:
        if octets[0] not in range(0x60, 0x64):
            assert len(octets) <= (server if sender == TO_METER else client)


def test_an_answer_that_cannot_be_cut_is_not_sent() -> None:
    """SET has no block form for its answer: too many results for a small client are an error."""
    pair = associated(client={"max_pdu": 64})
    error = pair.failure(*[put(SMALL)] * 60)
    assert error.kind == "refused"
    assert isinstance(single(pair.refusals, Refusal).error, TooLarge)
    assert len(pair.sent(TO_CLIENT)[-1]) <= 64


@pytest.mark.parametrize(("suite_id", "mechanism"), [*product((0, 1, 2), (0, 5, 6)), *product((1, 2), (7,))])
def test_every_suite(suite_id: int, mechanism: int) -> None:
    """What is common to the suites: the ciphers of 1 and 2 are those of 0 with other numbers."""
    dedicated = DEK * (2 if suite_id == 2 else 1)
    pair = associated(suite_id=suite_id, mechanism=mechanism, client={"dedicated_key": dedicated})
    everything(pair)
    assert pair.release() == [Released()]
    assert {sc for _, _, sc, _ in protected_headers(pair.wire)} == {0x30 | suite_id}


def test_titles_are_learned_only_where_they_are_not_configured() -> None:
    pair = Pair()
    pair.client.profile.setup.peer_title = None
    pair.client.end()
    fresh = Pair(client={"setup": pair.client.profile.setup})
    assert fresh.sign_on() == [Associated(None)]
    assert fresh.client.server_title == METER_TITLE
    assert fresh.server.context.peer_title == CLIENT_TITLE
