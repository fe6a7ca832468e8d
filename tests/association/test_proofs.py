"""Pass 3 at the meter: the one call that a pending association takes; whatever else comes ends it."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu.common import CONFIRMED, AttributeDescriptor, MethodDescriptor
from meterseal.apdu.services import ActionRequestNormal, ActionResponseNormal, GetRequestNormal
from meterseal.association import Associated, Refusal, Released, Reply, State
from meterseal.association import exchange as ex
from meterseal.association.memory import TransferMemory
from meterseal.association.operations import Outcome, Several
from meterseal.association.serving import error_response
from meterseal.codec.data import Data, Tag
from meterseal.errors import (
    AuthenticationFailed,
    MetersealError,
    Misuse,
    ProtocolViolation,
    Replayed,
    TooWeak,
    UnknownKey,
)
from meterseal.security import AUTHENTICATED, ENCRYPTED, KeyInUse, Style, protect, unprotect
from tests.association.pair import (
    CLIENT_CHALLENGE,
    GBEK,
    Direction,
    Pair,
    drawing,
    key,
    octet_string,
    replies,
    single,
)
from tests.association.test_memory import Holder

BOTH = AUTHENTICATED | ENCRYPTED
INVOKE = CONFIRMED | 1
ASSOCIATION = bytes.fromhex("0000280000FF")
REPLY_TO_HLS = MethodDescriptor(15, ASSOCIATION, 1)
PROOF = octet_string(bytes(17))


def pending(**options: Any) -> Pair:
    """A pair whose client has got the challenge; its proof is lost on the way."""
    pair = Pair(**options)

    def tap(direction: Direction, octets: bytes) -> list[bytes]:
        return [octets] if octets[0] in (0x60, 0x61) else []

    pair.tap = tap
    pair.sign_on()
    assert pair.server.state is State.PENDING
    return pair


def refused(pair: Pair, octets: bytes) -> tuple[MetersealError, bytes]:
    """What the meter holds against pass 3, and its answer; the association is gone."""
    effects = pair.to_meter(octets)
    (answer,) = replies(effects)
    assert [type(effect) for effect in effects] == [Refusal, Reply, Released]
    assert single(effects, Refusal).during == "pass 3" and single(effects, Reply).penalty
    assert pair.server.state is State.IDLE and pair.server.user is None
    return single(effects, Refusal).error, answer


def asked(pair: Pair, plain: bytes, applied: int = BOTH) -> bytes:
    return protect(pair.client.context, plain, applied, Style.GLO) if applied else plain


def calling(parameters: Data | None = PROOF, method: MethodDescriptor = REPLY_TO_HLS) -> bytes:
    return ActionRequestNormal(INVOKE, method, parameters).encode()


@pytest.mark.parametrize(
    ("plain", "error", "text"),
    [
        (calling(), AuthenticationFailed, "token"),
        (calling(None), ProtocolViolation, "another call than reply_to_HLS"),
        (calling(method=MethodDescriptor(15, ASSOCIATION, 2)), ProtocolViolation, "another call"),
        (calling(method=MethodDescriptor(12, ASSOCIATION, 1)), ProtocolViolation, "another call"),
        (
            calling(method=MethodDescriptor(15, bytes.fromhex("0000280001FF"), 1)),
            ProtocolViolation,
            "another call",
        ),
        (calling(Data.of(17, Tag.UNSIGNED)), AuthenticationFailed, "not an octet-string"),
        (calling(Data.of("0" * 17, Tag.VISIBLE_STRING)), AuthenticationFailed, "not an octet-string"),
    ],
    ids=["wrong", "absent", "method 2", "class 12", "another association", "a number", "a text"],
)
def test_core_pass_3_is_one_call_with_one_value(plain: bytes, error: type[MetersealError], text: str) -> None:
    pair = pending()
    cause, answer = refused(pair, asked(pair, plain))
    assert type(cause) is error and text in str(cause)
    opened = unprotect(pair.client.context, answer)
    assert opened.applied == BOTH
    response = ActionResponseNormal.decode(opened.apdu)
    assert (response.invoke_id_and_priority, response.outcome.result) == (INVOKE, 250)
    assert pair.to_meter(asked(pair, plain))[-1] != Associated(None)


def test_core_B03_pass_3_with_less_protection_than_the_policy_asks() -> None:
    pair = pending()
    cause, answer = refused(pair, asked(pair, calling(), AUTHENTICATED))
    assert type(cause) is TooWeak and "less protection than the policy" in str(cause)
    response = ActionResponseNormal.decode(unprotect(pair.client.context, answer).apdu)
    assert response.outcome.result == 13


def test_core_another_service_before_the_proof() -> None:
    pair = pending()
    get = GetRequestNormal(INVOKE, AttributeDescriptor(15, ASSOCIATION, 1), None).encode()
    cause, answer = refused(pair, asked(pair, get))
    assert type(cause) is ProtocolViolation and str(cause).startswith("get-request-normal before")
    assert answer == error_response(ProtocolViolation("whatever"), False)


def test_core_B06_pass_3_under_the_broadcast_key() -> None:
    pair = pending(broadcast=True)
    setup = pair.client.profile.setup
    own, setup.unicast = setup.unicast, key(7, ek=GBEK)
    octets = bytearray(protect(pair.client.context, calling(), BOTH, Style.GLO))
    setup.unicast = own
    assert isinstance(own, KeyInUse)
    # The broadcast bit is authenticated, so it has to be there when the tag is made.
    handle = key(7, ek=GBEK).handle
    sealed = handle.seal(0x70, b"MSLHES01" + octets[3:7], calling())
    cause, _ = refused(pair, bytes(octets[:2]) + b"\x70" + bytes(octets[3:7]) + sealed)
    assert type(cause) is UnknownKey and "broadcast" in str(cause)


def test_without_a_counter_for_the_answer_it_goes_in_plain() -> None:
    pair = pending()
    unicast = pair.server.profile.setup.unicast
    assert unicast is not None
    while unicast.tx.left:
        unicast.tx.take()
    _, answer = refused(pair, asked(pair, calling()))
    assert answer == error_response(ProtocolViolation("whatever"), False)


def test_A13_a_random_source_that_repeats_itself_opens_nothing() -> None:
    """Neither the client's own challenge nor an earlier one is ever sent as the meter's."""
    old = b"said it already!"
    pair = Pair(draw=drawing(*[CLIENT_CHALLENGE, old] * 2))
    pair.server.profile.recent.append(old)
    pair.sign_on()
    assert pair.server.state is State.IDLE
    (refusal,) = pair.refusals
    assert type(refusal.error) is Misuse and "repeats itself" in str(refusal.error)
    third = Pair(draw=drawing(CLIENT_CHALLENGE, CLIENT_CHALLENGE, CLIENT_CHALLENGE, b"a fresh one of 16"))
    assert third.sign_on() == [Associated(None)], "the fourth draw counts"


@pytest.mark.parametrize(
    ("report", "octets"), [(True, "D80106 00000007".replace(" ", "")), (False, "D80105")]
)
def test_I02_a_low_counter_is_told_only_where_the_association_tells(report: bool, octets: str) -> None:
    assert error_response(Replayed("counter 3 is below 7", 7), report).hex().upper() == octets


def test_an_access_answer_needs_its_request() -> None:
    x = ex.Exchange(Several.ACCESS, 1, 0, Style.PLAIN, outcomes=[Outcome(0)])
    with pytest.raises(Misuse, match="without a request"):
        ex.answer(x, None, False)


def test_F12_one_transfer_alone_may_be_above_the_budget() -> None:
    """Whoever asks keeps what it has: its own bound is its association's."""
    memory, one, other = TransferMemory(100), Holder(), Holder()
    memory.keep(one, "here", 150)
    assert (one.lost, memory.total) == (0, 150)
    memory.keep(other, "there", 10)  # the largest share gives, and it is not the asker's
    assert (one.lost, other.lost, memory.total) == (1, 0, 10)
    memory.keep(one, "here", 99)
    memory.keep(one, "here", 95)  # the largest share has only the asker: the next one gives
    assert (one.lost, other.lost, memory.total, len(memory)) == (1, 1, 95, 1)
