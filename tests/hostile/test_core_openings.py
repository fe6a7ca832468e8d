"""Attacks on the opening of associations, without sockets (catalogue A02, A14 to A20, B03)."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu import acse, services
from meterseal.apdu.acse import Aare, Aarq, Rlrq
from meterseal.apdu.common import AttributeDescriptor
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Associated, Failed, Refusal, Reply, State
from meterseal.codec.data import Data
from meterseal.crypto import GcmKey
from meterseal.errors import AuthenticationFailed, MetersealError
from meterseal.security import KeyInUse, Style, protect, unprotect
from tests.association.pair import (
    AK,
    CLIENT_CHALLENGE,
    CLIENT_TITLE,
    CLOCK,
    DEK,
    GBEK,
    METER_TITLE,
    SECRET,
    SMALL,
    TO_METER,
    Pair,
    associated,
    get,
    key,
    octet_string,
    put,
    replies,
    single,
)
from tests.hostile.test_core_signon import hook, pass_3, pending, state_of

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


# --- A14, A16, A19 ------------------------------------------------------------


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
    lowest = pair.server.profile.setup.key().rx.lowest
    pair.client.end()
    pair.client.profile.dedicated_key = bytes(range(1, 17))
    assert pair.sign_on(bytes(16)) == [Associated(None)]
    assert pair.server.profile.setup.key().rx.lowest > lowest
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
    tx = pair.server.profile.setup.key().tx
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


def test_core_A16_the_line_ends_while_a_sign_on_waits_for_counters() -> None:
    pair = Pair(client={"dedicated_key": DEK})
    tx = pair.server.profile.setup.key().tx
    while tx.left:
        tx.take()
    (aarq,) = replies(pair.client.associate(CLIENT_CHALLENGE))
    (need,) = pair.server.receive(aarq)
    dedicated = pair.server.context.dedicated
    assert dedicated is not None
    pair.server.end()
    assert "destroyed" in repr(dedicated.handle)
    assert pair.server.resume(need.token) == []  # type: ignore[union-attr]


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


# --- I02: one answer ----------------------------------------------------------------------------------------


def test_core_I02_what_depends_on_keys_has_one_answer_inside_an_association() -> None:
    """Bad tag, other key, other suite, other title, wrong inner APDU, weak form: the same octets out."""
    pair = associated()
    request = services.GetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None).encode()
    context = pair.client.context
    good = protect(context, request, 3, Style.GLO)
    general = protect(context, request, 3, Style.GENERAL_GLO)
    other_key = Pair()
    other_key.client.profile.setup.unicast = KeyInUse(GcmKey(GBEK, AK), key(900).tx, key(1).rx)
    frames = [
        good[:-1] + bytes((good[-1] ^ 1,)),
        good[:2] + b"\x31" + good[3:],
        good[:2] + b"\x20" + good[3:],
        good[:2] + b"\x70" + good[3:],
        b"\xc9" + good[1:],
        b"\xd0" + good[1:],
        general.replace(CLIENT_TITLE, b"MSLHES02"),
        general.replace(CLIENT_TITLE, METER_TITLE),
        protect(other_key.client.context, request, 3, Style.GLO),
    ]
    before = pair.server_state()
    answers = {octets for frame in frames for octets in replies(pair.to_meter(frame))}
    assert answers == {ExceptionResponse(1, 5).encode()}
    assert pair.server_state() == before
