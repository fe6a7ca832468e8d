"""Attacks on sign-on at the association itself, without sockets (catalogue A)."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu import acse, services
from meterseal.apdu.acse import Aare, Aarq, Rlrq
from meterseal.apdu.ciphered import FORMS, build, parse
from meterseal.apdu.common import AttributeDescriptor, MethodDescriptor
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Associated, Failed, Refusal, Released, Reply, State
from meterseal.codec.data import Data
from meterseal.crypto import GcmKey
from meterseal.errors import AuthenticationFailed, MetersealError, Misuse, Replayed, TooWeak
from meterseal.security import KeyInUse, Style, protect, unprotect
from tests.apdu.shapes import SAMPLES
from tests.association.pair import (
    AK,
    CLIENT_CHALLENGE,
    CLIENT_TITLE,
    CLOCK,
    DEK,
    EK,
    GBEK,
    METER_TITLE,
    SECRET,
    SMALL,
    TO_METER,
    Pair,
    associated,
    drawing,
    get,
    key,
    octet_string,
    put,
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


# --- A02: the mechanism belongs to the association -------------------------------------------------


@pytest.mark.parametrize("mine", range(7))
def test_core_A02_only_the_configured_mechanism_opens(mine: int) -> None:
    for theirs in range(8):
        for ciphered in (True, False):
            pair = Pair(mechanism=mine, ciphered=ciphered, server=hook(mine), client=hook(mine))
            (octets,) = replies(pair.client.associate(CLIENT_CHALLENGE if mine > 1 else b""))
            aarq = Aarq.decode(octets).replace(
                mechanism_name=acse.mechanism_name(theirs),
                sender_acse_requirements=acse.AUTHENTICATION_UNIT,
            )
            (answer,) = replies(pair.to_meter(aarq.encode()))
            aare = Aare.decode(answer)
            assert (aare.result == 0) is (theirs == mine), (mine, theirs)
            if theirs != mine:
                assert aare.user_diagnostic == 11


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
            style = Style.GENERAL_GLO if octets[0] == 0x0F else Style.GLO
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


# --- A14, A16, A19 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [*range(8), 65, 66, 127, 128, 255])
def test_core_A14_challenges_of_the_wrong_length(length: int) -> None:
    pair = Pair()
    (octets,) = replies(pair.client.associate(CLIENT_CHALLENGE))
    aarq = Aarq.decode(octets).replace(calling_authentication_value=bytes(length))
    effects = pair.to_meter(aarq.encode())
    assert isinstance(single(effects, Refusal).error, AuthenticationFailed)
    assert Aare.decode(replies(effects)[0]).result == 1


def test_core_A14_a_challenge_in_another_encoding() -> None:
    """The bit-string and external alternatives of the field, and a constructed string."""
    pair = Pair()
    (octets,) = replies(pair.client.associate(CLIENT_CHALLENGE))
    for tag in (0x81, 0x82, 0xA0, 0x04):
        changed = octets.replace(b"\xac\x12\x80\x10", bytes((0xAC, 0x12, tag, 0x10)))
        assert changed != octets
        assert isinstance(single(pair.to_meter(changed), Refusal).error, MetersealError)
        assert state_of(pair) is State.IDLE


def test_core_A16_a_second_aarq_starts_anew_and_counters_go_on() -> None:
    pair = associated(client={"dedicated_key": DEK})
    old = pair.server.context.dedicated
    assert old is not None
    lowest = pair.server.profile.setup.key("global").rx.lowest
    pair.client.end()
    pair.client.profile.dedicated_key = bytes(range(1, 17))
    assert pair.sign_on(bytes(16)) == [Associated(None)]
    assert pair.server.profile.setup.key("global").rx.lowest > lowest
    with pytest.raises(MetersealError):
        old.handle.seal(0x30, bytes(12), b"")


def test_core_A16_a_refused_aarq_leaves_the_association_alone() -> None:
    pair = associated()
    stranger = Pair()
    stranger.client.profile.setup.unicast = KeyInUse(GcmKey(GBEK, AK), key(1).tx, key(1).rx)
    (octets,) = replies(stranger.client.associate(bytes(16)))
    before = pair.server_state()
    for _ in range(5):
        effects = pair.to_meter(octets)
        assert Aare.decode(single(effects, Reply).octets).result == 1
        assert pair.server_state() == before
    assert pair.outcomes(get())


def test_core_A16_a_refused_aarq_leaves_a_pending_sign_on_alone() -> None:
    pair = pending()
    before = pair.server_state()
    pair.to_meter(Aarq().encode())
    assert pair.server_state() == before
    assert single(pair.to_meter(pass_3(pair)), Associated)


def test_core_A16_a_sign_on_that_breaks_off_leaves_nothing() -> None:
    """Counters end in the middle, and there are none to be had."""
    pair = Pair(client={"dedicated_key": DEK})
    tx = pair.server.profile.setup.key("global").tx
    while tx.left > 1:
        tx.take()
    pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
    pair.sign_on()
    (need,) = pair.server.receive(pass_3(pair))
    assert state_of(pair) is State.IDLE
    dedicated = pair.server.context.dedicated
    effects = pair.server.resume(need.token)  # type: ignore[union-attr]
    assert isinstance(effects[0], Refusal)
    assert (state_of(pair), pair.server.context.dedicated) == (State.IDLE, None)
    assert dedicated is not None
    assert "destroyed" in repr(dedicated.handle)


def test_core_A16_what_waits_behind_a_second_aarq_is_answered_too() -> None:
    pair = associated()
    pair.hold = True
    message = services.GetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None)
    request = protect(pair.client.context, message.encode(), 3, Style.GLO)
    (indication,) = pair.server.receive(request)
    pair.client.end()
    (aarq,) = replies(pair.client.associate(bytes(16)))
    late = protect(pair.client.context, services.GetRequestNext(0xC1, 1).encode(), 3, Style.GLO)
    assert pair.server.receive(aarq) == pair.server.receive(late) == []
    effects = pair.server.respond(indication.token, [pair.plant.do(get())])  # type: ignore[union-attr]
    kinds = [octets[0] for octets in replies(effects)]
    # The answer, the AARE, and for what came before its proof: not now.
    assert kinds == [0xCC, 0x61, 0xD8]


def test_core_A17_rlre_and_rlrq_at_the_wrong_end_do_nothing() -> None:
    pair = associated()
    before = pair.state()
    assert isinstance(pair.to_meter(b"\x63\x03\x80\x01\x00")[0], Refusal)
    assert isinstance(pair.client.receive(Rlrq(0).encode())[0], Failed)
    assert pair.state() == before


@pytest.mark.parametrize("size", [64, 65, 100, 0, 0xFFFF])
def test_core_A19_sizes_are_taken_at_their_word(size: int) -> None:
    pair = associated(client={"max_pdu": size})
    pair.plant.values[get().instance, 2] = octet_string(bytes(3000)).raw
    assert pair.outcomes(get())[0].code == 0
    longest = max(len(o) for s, o in pair.wire if s != TO_METER and o[0] != 0x61)
    assert longest <= size or size == 0


def test_core_A19_conformance_is_what_both_have() -> None:
    pair = associated(client={"conformance": 0xFFFFFF})
    assert pair.client.negotiated == pair.server.negotiated == pair.server.profile.conformance


def test_core_A20_the_wrong_secret_and_the_right_key() -> None:
    pair = Pair(mechanism=6, server={"secret": lambda: SECRET + b"!"})
    failed = single(pair.sign_on(), Failed)
    assert failed.error.kind == "refused"
    assert isinstance(single(pair.refusals, Refusal).error, AuthenticationFailed)


def test_core_B03_plain_requests_in_a_ciphered_association() -> None:
    pair = associated()
    before = len(pair.plant.done)
    for operation in (get(), put(SMALL)):
        message: Any = (
            services.GetRequestNormal(0xC1, AttributeDescriptor(3, operation.instance, 2), None)
            if operation.data is None
            else services.SetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None, SMALL)
        )
        (answer,) = replies(pair.to_meter(message.encode()))
        opened = unprotect(pair.client.context, answer)
        told: Any = apdu.decode(opened.apdu)
        code = told.result if isinstance(told.result, int) else told.result.code
        assert code == 0x0D
        assert opened.applied == 3
    assert len(pair.plant.done) == before
    assert Data.decode(SMALL.raw) == SMALL
