"""Attacks on proofs at the association itself, without sockets (catalogue A05 to A12)."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu import services
from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.ciphered import FORMS, GLO_TAG, build, parse
from meterseal.apdu.common import AttributeDescriptor, MethodDescriptor
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Associated, Failed, Refusal, Released, Reply, State
from meterseal.crypto import GcmKey
from meterseal.errors import AuthenticationFailed, Misuse, Replayed, TooWeak
from meterseal.security import Style, protect, unprotect
from tests.apdu.shapes import SAMPLES
from tests.association.pair import (
    AK,
    CLIENT_CHALLENGE,
    CLIENT_TITLE,
    CLOCK,
    EK,
    GBEK,
    METER_TITLE,
    SMALL,
    TO_METER,
    Pair,
    associated,
    drawing,
    octet_string,
    replies,
    single,
)
from tests.association.test_sessions import manufacturer

REPLY_TO_HLS = MethodDescriptor(15, bytes.fromhex("0000280000FF"), 1)
PROVING = (2, 3, 4, 5, 6)


def hook(mechanism: int) -> dict[str, Any]:
    return {"manufacturer": manufacturer} if mechanism == 2 else {}


def pending(mechanism: int = 5, **options: Any) -> Pair:
    """A meter that waits for pass 3, and a client that would send it."""
    more = hook(mechanism)
    options["client"] = {**more, **options.get("client", {})}
    options["server"] = {**more, **options.get("server", {})}
    pair = Pair(mechanism=mechanism, **options)
    pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
    pair.sign_on()
    assert pair.server.state is State.PENDING
    return pair


def pass_3(pair: Pair) -> bytes:
    """What the client said last."""
    return pair.sent(TO_METER)[-1]


def state_of(pair: Pair) -> State:
    return pair.server.state


# --- A05, A06, A07: reflections ----------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", PROVING)
@pytest.mark.parametrize("ciphered", [True, False])
def test_core_A05_a_meter_that_echoes_the_challenge(mechanism: int, ciphered: bool) -> None:
    pair = Pair(mechanism=mechanism, ciphered=ciphered, client=hook(mechanism), server=hook(mechanism))

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if octets[0] == 0x61:
            return [Aare.decode(octets).replace(responding_authentication_value=CLIENT_CHALLENGE).encode()]
        return [octets]

    pair.tap = tap
    failed = single(pair.sign_on(), Failed)
    assert isinstance(failed.error, AuthenticationFailed)
    assert "own challenge back" in str(failed.error)
    assert len(pair.sent(TO_METER)) == 1
    assert pair.client.state is State.IDLE


def test_core_A05_a_meter_never_draws_the_clients_challenge() -> None:
    other = b"another drawing!"
    pair = pending(draw=drawing(CLIENT_CHALLENGE, CLIENT_CHALLENGE, other))
    aare = Aare.decode(pair.wire[-2][1] if pair.wire[-1][0] == TO_METER else pair.wire[-1][1])
    assert aare.responding_authentication_value == other


def test_core_A13_a_random_source_that_repeats_itself_signs_nobody_on() -> None:
    pair = Pair(draw=lambda count: CLIENT_CHALLENGE)
    failed = single(pair.sign_on(), Failed)
    assert failed.error.kind == "refused"
    assert isinstance(single(pair.refusals, Refusal).error, Misuse)
    assert state_of(pair) is State.IDLE
    assert pair.server.context.dedicated is None


@pytest.mark.parametrize("mechanism", [5, 6])
def test_core_A06_a_meter_that_echoes_the_title_too(mechanism: int) -> None:
    pair = Pair(mechanism=mechanism)
    pair.client.profile.setup.peer_title = None

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if octets[0] == 0x61:
            return [Aare.decode(octets).replace(responding_ap_title=CLIENT_TITLE).encode()]
        return [octets]

    pair = Pair(mechanism=mechanism, client={"setup": pair.client.profile.setup})
    pair.tap = tap
    failed = single(pair.sign_on(), Failed)
    assert isinstance(failed.error, AuthenticationFailed)
    assert "own system title" in str(failed.error)
    assert len(pair.sent(TO_METER)) == 1


@pytest.mark.parametrize("mechanism", [5, 6])
def test_core_A06_a_client_that_claims_to_be_the_meter(mechanism: int) -> None:
    pair = Pair(mechanism=mechanism)
    (octets,) = replies(pair.client.associate(CLIENT_CHALLENGE))
    aarq = Aarq.decode(octets).replace(calling_ap_title=METER_TITLE)
    refusal = single(pair.to_meter(aarq.encode()), Refusal)
    assert isinstance(refusal.error, AuthenticationFailed)


@pytest.mark.parametrize("mechanism", PROVING)
def test_core_A07_a_proof_made_for_another_session_does_not_fit(mechanism: int) -> None:
    """The meter's answer to session 1 is worth nothing in session 2, and the other way round."""
    first = pending(mechanism)
    second = pending(mechanism, draw=drawing(b"quite another one"[:16]))
    refusal = single(second.to_meter(pass_3(first)), Refusal)
    assert isinstance(refusal.error, AuthenticationFailed | Replayed)
    assert second.server.state is not State.ASSOCIATED


# --- A08: nothing but the proof ------------------------------------------------------------------------


EVERYTHING = [m for m in SAMPLES if type(m) in apdu.MESSAGES]


@pytest.mark.parametrize("ciphered", [True, False], ids=["ciphered", "plain"])
def test_core_A08_before_the_proof_every_other_service_is_refused(ciphered: bool) -> None:
    """Every APDU there is, plain and protected; a request releases, the rest is refused."""
    refused = 0
    for message in EVERYTHING:
        pair = pending(ciphered=ciphered)
        octets = message.encode()
        if octets[0] == 0xD8 or (octets[0] == 0x62 and not ciphered):
            continue  # errors are for clients; a plain association may be released plainly
        if ciphered and octets[0] not in (0x60, 0x61, 0x62, 0x63):
            style = Style.GLO if octets[0] in GLO_TAG else Style.GENERAL_GLO
            octets = protect(pair.client.context, octets, 3, style)
        effects = pair.to_meter(octets)
        assert isinstance(effects[0], Refusal), message.name
        assert state_of(pair) in (State.PENDING, State.IDLE)
        assert (pair.plant.done, pair.view.asked) == ([], [])
        (answer,) = replies(effects)
        if answer[0] == 0xCF:
            inside: Any = apdu.decode(unprotect(pair.client.context, answer).apdu)
            assert inside.outcome.result == 0xFA
        else:
            assert answer[0] in (0xD8, 0x61, 0x63, 0xC7)
        refused += 1
    assert refused > 30


OTHER_CALLS = [
    services.ActionRequestNormal(0xC1, REPLY_TO_HLS.replace(method_id=2), SMALL),
    services.ActionRequestNormal(0xC1, REPLY_TO_HLS.replace(class_id=12), SMALL),
    services.ActionRequestNormal(
        0xC1, REPLY_TO_HLS.replace(instance_id=bytes.fromhex("0000280001FF")), SMALL
    ),
    services.ActionRequestNormal(0xC1, REPLY_TO_HLS, None),
    services.ActionRequestNormal(0xC1, REPLY_TO_HLS, SMALL),
    services.ActionRequestNormal(0xC1, REPLY_TO_HLS, octet_string(b"")),
    services.ActionRequestWithList(0xC1, (REPLY_TO_HLS,), (octet_string(bytes(17)),)),
    services.GetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None),
]


@pytest.mark.parametrize("message", OTHER_CALLS, ids=lambda m: f"{m.name}")
def test_core_A08_a_wrong_call_ends_the_attempt(message: Any) -> None:
    pair = pending()
    effects = pair.to_meter(protect(pair.client.context, message.encode(), 3, Style.GLO))
    assert single(effects, Released) == Released()
    assert single(effects, Reply).penalty
    assert state_of(pair) is State.IDLE
    # The proof that the client had ready comes too late.
    refusal, reply = pair.to_meter(pass_3(pair))
    assert isinstance(refusal, Refusal)
    assert reply == Reply(ExceptionResponse(1, 1).encode())


@pytest.mark.parametrize("applied", [0, 1])
def test_core_B04_a_proof_with_less_protection_than_the_policy(applied: int) -> None:
    pair = pending()
    plain = unprotect_as_meter(pair, pass_3(pair))
    octets = protect(pair.client.context, plain, applied, Style.GLO) if applied else plain
    effects = pair.to_meter(octets)
    assert isinstance(single(effects, Refusal).error, TooWeak)
    (answer,) = replies(effects)
    opened = unprotect(pair.client.context, answer)
    message: Any = apdu.decode(opened.apdu)
    assert message.outcome.result == 0x0D
    assert state_of(pair) is State.IDLE


def unprotect_as_meter(pair: Pair, octets: bytes) -> bytes:
    """The plain APDU, without the meter's counters noticing."""
    message = parse(octets)
    iv = CLIENT_TITLE + message.counter.to_bytes(4, "big")
    return GcmKey(EK, AK).open(message.sc, iv, message.body)


def test_core_B06_a_proof_under_the_groups_key() -> None:
    pair = pending(broadcast=True)
    plain = unprotect_as_meter(pair, pass_3(pair))
    body = GcmKey(GBEK, AK).seal(0x70, CLIENT_TITLE + bytes(4), plain)
    effects = pair.to_meter(build(FORMS[0xCB], b"", 0x70, 0, body))
    assert "broadcast" in str(single(effects, Refusal).error)
    assert state_of(pair) is State.IDLE


# --- A09, A10: one attempt --------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", PROVING)
@pytest.mark.parametrize("ciphered", [True, False])
def test_core_A09_pass_3_again(mechanism: int, ciphered: bool) -> None:
    pair = pending(mechanism, ciphered=ciphered)
    proof = pass_3(pair)
    assert single(pair.to_meter(proof), Associated) == Associated(None)
    # Again in the association that stands; after its release; in a sign-on of somebody else.
    for step in ("standing", "ended", "pending"):
        if step == "ended":
            pair.server.end()
        if step == "pending":
            pair.client.end()
            pair.sign_on(bytes(range(20, 50)))
            assert state_of(pair) is State.PENDING
        state = state_of(pair)
        effects = pair.to_meter(proof)
        assert not [e for e in effects if isinstance(e, Associated)]
        if ciphered or step == "ended":
            assert isinstance(effects[0], Refusal)
            assert state_of(pair) is state
        elif step == "pending":
            assert isinstance(effects[0], Refusal)
            assert state_of(pair) is State.IDLE


@pytest.mark.parametrize("mechanism", PROVING)
def test_core_A10_one_wrong_proof_ends_the_attempt(mechanism: int) -> None:
    pair = pending(mechanism)
    plain = unprotect_as_meter(pair, pass_3(pair))
    wrong = plain[:-1] + bytes((plain[-1] ^ 1,))
    effects = pair.to_meter(protect(pair.client.context, wrong, 3, Style.GLO))
    assert isinstance(single(effects, Refusal).error, AuthenticationFailed)
    assert single(effects, Reply).penalty
    assert state_of(pair) is State.IDLE
    # The right one, a moment later, meets nobody.
    effects = pair.to_meter(protect(pair.client.context, plain, 3, Style.GLO))
    assert replies(effects) == [ExceptionResponse(1, 1).encode()]
    assert state_of(pair) is State.IDLE


def test_core_A10_a_thousand_wrong_attempts_leave_the_owner_in() -> None:
    """Nothing is locked and nothing grows; every failed answer is marked for the delay of who failed."""
    pair = Pair(mechanism=6, ciphered=False)
    pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
    for number in range(1000):
        pair.client.end()
        pair.sign_on(number.to_bytes(16, "big"))
        message = services.ActionRequestNormal(0xC1, REPLY_TO_HLS, octet_string(number.to_bytes(32, "big")))
        effects = pair.to_meter(message.encode())
        assert single(effects, Reply).penalty
        assert state_of(pair) is State.IDLE
        pair.wire.clear()
        pair.refusals.clear()
        pair.events.clear()
    assert len(pair.server.profile.recent) == 64
    pair.client.end()
    pair.tap = lambda direction, octets: [octets]
    assert pair.sign_on(b"the owner's own.") == [Associated(None)]


def test_core_A09_challenges_of_the_client_do_not_come_twice() -> None:
    pair = associated()
    for challenge in (CLIENT_CHALLENGE, CLIENT_CHALLENGE):
        pair.client.end()
        failed = single(pair.sign_on(challenge), Failed)
        assert failed.error.kind == "refused"
    pair.client.end()
    assert pair.sign_on(b"a fresh challenge") == [Associated(None)]


# --- A12 in the conversation -------------------------------------------------------------------------------


@pytest.mark.parametrize("ciphered", [True, False], ids=["ciphered", "plain"])
def test_core_A12_the_token_of_pass_3_has_one_form(ciphered: bool) -> None:
    """All 256 first octets, each sealed as it says, under the right keys."""
    opened = []
    for sc in range(256):
        pair = pending(ciphered=ciphered)
        handshake = pair.server._handshake
        assert handshake is not None
        counter = (50).to_bytes(4, "big")
        token = (
            bytes((sc,)) + counter + GcmKey(EK, AK).tag(sc, CLIENT_TITLE + counter, handshake.own_challenge)
        )
        message = services.ActionRequestNormal(0xC1, REPLY_TO_HLS, octet_string(token)).encode()
        octets = protect(pair.client.context, message, 3, Style.GLO) if ciphered else message
        effects = pair.to_meter(octets)
        if [e for e in effects if isinstance(e, Associated)]:
            opened.append(sc)
        else:
            assert state_of(pair) is State.IDLE
    assert opened == [0x10]


@pytest.mark.parametrize("length", [0, 1, 12, 16, 18, 29, 200])
def test_core_A12_and_one_length(length: int) -> None:
    pair = pending()
    message = services.ActionRequestNormal(0xC1, REPLY_TO_HLS, octet_string(b"\x10" * length)).encode()
    effects = pair.to_meter(protect(pair.client.context, message, 3, Style.GLO))
    assert isinstance(single(effects, Refusal).error, AuthenticationFailed)
    assert state_of(pair) is State.IDLE
