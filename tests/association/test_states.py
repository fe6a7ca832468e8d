"""The table of states: every row is walked, every message without a row is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu.acse import Aare, Rlre, Rlrq
from meterseal.apdu.general import GeneralCiphering
from meterseal.apdu.initiate import ExceptionResponse, InitiateResponse
from meterseal.association import TABLE, Failed, Kind, Refusal, Released, Reply, Role, State
from meterseal.association.states import KIND_OF
from meterseal.codec.message import Message
from tests.apdu.shapes import SAMPLES
from tests.association.pair import (
    CLIENT_CHALLENGE,
    Pair,
    associated,
    get,
    replies,
)

NOT_ALLOWED = ExceptionResponse(1, 1).encode()
NOT_SUPPORTED = ExceptionResponse(1, 2).encode()
GARBAGE_AARQ = bytes.fromhex("6003A10109")
C, S = Role.CLIENT, Role.SERVER


def silent(**options: Any) -> Pair:
    """A pair whose meter answers nothing, so that the client waits."""
    pair = Pair(**options)
    pair.tap = lambda direction, octets: []
    return pair


def in_state(role: Role, state: State, **options: Any) -> Pair:
    """A pair with one end in this state."""
    if state is State.STANDING:
        return Pair(server={"pre_established": True}, **options)
    if state is State.ASSOCIATED:
        return associated(**options)
    pair = silent(**options)
    if state is State.OPENING:
        pair.run(pair.client.associate(CLIENT_CHALLENGE))
    if state is State.CLOSING:
        pair = associated(**options)
        pair.tap = lambda direction, octets: []
        pair.release()
    if state is State.PENDING:
        # The meter answers the AARQ; what the client says to that is lost.
        pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
        pair.sign_on()
    end = pair.client if role is C else pair.server
    assert end.state is state
    return pair


STATES = [(S, s) for s in (State.IDLE, State.PENDING, State.ASSOCIATED, State.STANDING)] + [
    (C, s) for s in (State.IDLE, State.OPENING, State.PENDING, State.ASSOCIATED, State.CLOSING)
]
MESSAGES = [m for m in SAMPLES if m.tag and m.tag != b"\x00" and type(m) in apdu.MESSAGES]


def without_row(role: Role, state: State) -> list[Message]:
    return [m for m in MESSAGES if (role, state, KIND_OF.get(type(m))) not in TABLE]


def readable(message: Message) -> bytes:
    """The octets of a message that are taken for this message again."""
    if isinstance(message, ExceptionResponse):
        return message.replace(service_error=1).encode()
    if message.tag == b"\xd8":
        return message.replace(service_error=6).encode()
    return message.encode()


def test_the_states_of_the_table_are_those_walked_here() -> None:
    assert {(role, state) for role, state, _ in TABLE} | {(C, State.IDLE)} == set(STATES)
    assert set(apdu.MESSAGES) == {type(m) for m in MESSAGES}


@pytest.mark.parametrize("ciphered", [True, False], ids=["ciphered", "plain"])
@pytest.mark.parametrize("state", [s for r, s in STATES if r is S], ids=lambda s: s.value)
def test_at_the_meter_what_has_no_row_is_refused_and_changes_nothing(state: State, ciphered: bool) -> None:
    pair = in_state(S, state, ciphered=ciphered)
    before = pair.server_state()
    for message in without_row(S, state):
        effects = pair.to_meter(readable(message))
        assert [type(e) for e in effects] == [Refusal, Reply], message
        known = type(message) in KIND_OF
        assert replies(effects) == [NOT_ALLOWED if known else NOT_SUPPORTED]
        assert pair.server_state() == before, message


@pytest.mark.parametrize("ciphered", [True, False], ids=["ciphered", "plain"])
@pytest.mark.parametrize("state", [s for r, s in STATES if r is C], ids=lambda s: s.value)
def test_at_the_client_what_has_no_row_ends_only_what_was_waiting(state: State, ciphered: bool) -> None:
    for message in without_row(C, state):
        pair = in_state(C, state, ciphered=ciphered)
        before = pair.client_state()
        effects = pair.client.receive(readable(message))
        if state is State.CLOSING:
            assert isinstance(effects[0], Released)
            assert "cannot be used" in effects[0].warning
        else:
            assert [type(e) for e in effects] == [Failed], message
        after = pair.client_state()
        waiting = state in (State.OPENING, State.PENDING, State.CLOSING)
        assert after[0] is (State.IDLE if waiting else state)
        assert after[4] == before[4]  # counters


@pytest.mark.parametrize(("role", "state"), STATES, ids=lambda x: x.value)
@pytest.mark.parametrize("octets", ["", "C0", "FF00", "C8", "C80430000000", "C006C1", "6003800100"])
def test_octets_that_are_no_message_are_refused_in_every_state(role: Role, state: State, octets: str) -> None:
    pair = in_state(role, state)
    before = pair.server_state()
    if role is S:
        effects = pair.to_meter(bytes.fromhex(octets))
        assert isinstance(effects[0], Refusal)
        assert isinstance(effects[1], Reply)
        assert pair.server_state() == before
    else:
        (effect,) = pair.client.receive(bytes.fromhex(octets))
        assert isinstance(effect, Failed | Released)


# --- each row, each outcome ----------------------------------------------------------------------


def _resign(pair: Pair, challenge: bytes) -> None:
    """The client starts over on the same pair without a word of release."""
    pair.client.end()
    pair.tap = lambda direction, octets: [octets]
    pair.sign_on(challenge)


def _bad_aarq(pair: Pair) -> None:
    pair.to_meter(GARBAGE_AARQ)


def _aarq_only(pair: Pair) -> None:
    pair.client.end()
    pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
    pair.sign_on(bytes(range(30, 50)))


def _forward(pair: Pair) -> None:
    """Deliver what the client said last."""
    pair.to_meter(pair.wire[-1][1])


def _last_bit(octets: bytes) -> bytes:
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def _wrong_proof(pair: Pair) -> None:
    pair.to_meter(_last_bit(pair.wire[-1][1]))


def _plain_rlrq(pair: Pair) -> None:
    pair.to_meter(Rlrq(0).encode())


def _release(pair: Pair) -> None:
    pair.release()


def _ask(pair: Pair) -> None:
    pair.ask(get())


def _serve_standing(pair: Pair) -> None:
    other = associated()
    other.tap = lambda direction, octets: []
    other.ask(get())
    pair.to_meter(other.wire[-1][1])


def _to_client(message: Message) -> Callable[[Pair], None]:
    def deliver(pair: Pair) -> None:
        pair.client.receive(message.encode())

    return deliver


def _answer_open(pair: Pair) -> None:
    pair.tap = lambda direction, octets: [octets]
    pair.run(pair.client.receive(_server_reply(pair)), "client")


def _server_reply(pair: Pair) -> bytes:
    (octets,) = replies(pair.to_meter(pair.wire[-1][1]))
    return octets


def _wrong_answer(pair: Pair) -> None:
    octets = _server_reply(pair)
    pair.client.receive(_last_bit(octets))


GET_ANSWER = next(m for m in SAMPLES if m.name == "get-response-normal")
PUSH = next(m for m in SAMPLES if m.name == "data-notification")
SEALED = GeneralCiphering(b"", b"MSL00001", b"MSLUTI01", b"", b"", None, b"\x30" + bytes(30))
ERROR = ExceptionResponse(1, 1)
NONE: dict[str, Any] = {"mechanism": 0}
PLAIN: dict[str, Any] = {"ciphered": False}

Walk = tuple[Role, State, Kind, str, dict[str, Any], Callable[[Pair], None]]
IDLE, OPENING, PENDING, STANDS, CLOSING, STANDING = tuple(State)
WALKS: list[Walk] = [
    (S, IDLE, Kind.AARQ, "accepted", NONE, _aarq_only),
    (S, IDLE, Kind.AARQ, "challenged", {}, _aarq_only),
    (S, IDLE, Kind.AARQ, "refused", {}, _bad_aarq),
    (S, PENDING, Kind.AARQ, "challenged", {}, _aarq_only),
    (S, PENDING, Kind.AARQ, "refused", {}, _bad_aarq),
    (S, STANDS, Kind.AARQ, "accepted", NONE, _aarq_only),
    (S, STANDS, Kind.AARQ, "challenged", {}, _aarq_only),
    (S, STANDS, Kind.AARQ, "refused", {}, _bad_aarq),
    (S, PENDING, Kind.REQUEST, "proved", {}, _forward),
    (S, PENDING, Kind.REQUEST, "failed", PLAIN, _wrong_proof),
    (S, PENDING, Kind.RLRQ, "released", PLAIN, _plain_rlrq),
    (S, PENDING, Kind.RLRQ, "refused", {}, _plain_rlrq),
    (S, STANDS, Kind.REQUEST, "served", {}, _ask),
    (S, STANDS, Kind.RLRQ, "released", {}, _release),
    (S, STANDS, Kind.RLRQ, "refused", {}, _plain_rlrq),
    (S, STANDING, Kind.REQUEST, "served", {}, _serve_standing),
    (C, OPENING, Kind.AARE, "accepted", NONE, _answer_open),
    (C, OPENING, Kind.AARE, "challenged", {}, lambda pair: _challenge_only(pair)),
    (C, OPENING, Kind.AARE, "refused", {}, _to_client(Aare(result=1, user_diagnostic=1))),
    (C, OPENING, Kind.ERROR, "failed", {}, _to_client(ERROR)),
    (C, PENDING, Kind.RESPONSE, "proved", {}, _answer_open),
    (C, PENDING, Kind.RESPONSE, "failed", PLAIN, _wrong_answer),
    (C, PENDING, Kind.ERROR, "failed", {}, _to_client(ERROR)),
    (C, STANDS, Kind.RESPONSE, "answered", {}, _ask),
    (C, STANDS, Kind.ERROR, "failed", {}, _to_client(ERROR)),
    (C, STANDS, Kind.NOTIFICATION, "heard", {}, _to_client(PUSH)),
    (C, STANDS, Kind.SEALED, "carried", {"policy": 0}, _to_client(SEALED)),
    (C, CLOSING, Kind.RESPONSE, "ignored", {}, _to_client(GET_ANSWER)),
    (C, CLOSING, Kind.NOTIFICATION, "ignored", {}, _to_client(PUSH)),
    (C, CLOSING, Kind.SEALED, "ignored", {"policy": 0}, _to_client(SEALED)),
    (C, CLOSING, Kind.RLRE, "released", {}, _to_client(Rlre(0))),
    (C, CLOSING, Kind.ERROR, "released", {}, _to_client(ERROR)),
]


def _challenge_only(pair: Pair) -> None:
    pair.client.receive(_server_reply(pair))


@pytest.mark.parametrize(
    ("role", "state", "kind", "outcome", "options", "walk"),
    WALKS,
    ids=[f"{r.value}-{s.value}-{k.value}-{o}" for r, s, k, o, _, _ in WALKS],
)
def test_every_row_leads_where_the_table_says(
    role: Role,
    state: State,
    kind: Kind,
    outcome: str,
    options: dict[str, Any],
    walk: Callable[[Pair], None],
) -> None:
    pair = in_state(role, state, **options)
    walk(pair)
    end = pair.client if role is C else pair.server
    assert end.state is TABLE[role, state, kind].outcomes[outcome]


def test_no_row_and_no_outcome_is_left_out() -> None:
    walked = {(role, state, kind, outcome) for role, state, kind, outcome, _, _ in WALKS}
    table = {(*row, outcome) for row, step in TABLE.items() for outcome in step.outcomes}
    # A meter that waits for a proof has a mechanism with proofs, and does not accept without.
    assert table - walked == {(S, State.PENDING, Kind.AARQ, "accepted")}
    assert walked <= table


def test_actions_of_the_table_exist() -> None:
    from meterseal.association import client, server

    ours = {step.action for (role, _, _), step in TABLE.items() if role is C}
    theirs = {step.action for (role, _, _), step in TABLE.items() if role is S}
    assert ours == set(client._ACTIONS)
    assert theirs == set(server._ACTIONS) | {"open"}


def test_an_initiate_is_no_message_of_its_own() -> None:
    assert type(InitiateResponse(None, 6, 0, 0, 7)) not in KIND_OF
