"""Requests of a client, one after the other: numbers, transactions, sizes, and what they wait for."""

from __future__ import annotations

import pytest

from meterseal import apdu
from meterseal.apdu import services as s
from meterseal.apdu.access import AccessRequest
from meterseal.apdu.acse import Rlrq
from meterseal.apdu.common import AttributeDescriptor
from meterseal.apdu.general import GeneralCiphering
from meterseal.apdu.initiate import InitiateRequest
from meterseal.apdu.specifications import AccessGet
from meterseal.association import Associated, Compute, Confirmed, Failed, Need, Outcome, Reply, State
from meterseal.codec.data import Data
from meterseal.errors import Misuse, TimedOut
from meterseal.security import unprotect
from tests.association.pair import (
    DEK,
    REGISTER,
    SMALL,
    TO_CLIENT,
    TO_METER,
    Pair,
    associated,
    get,
    octet_string,
    put,
    replies,
)
from tests.association.test_layers import associated_in, pair_in
from tests.association.thirds import carrier
from tests.association.thirds import get as sealed_get

# --- numbers ----------------------------------------------------------------------------------------


def plain(**options: object) -> Pair:
    """An association in which everything can be read."""
    return associated(mechanism=0, ciphered=False, **options)


def test_B09_invoke_ids_go_round_and_pass_over_those_given_up() -> None:
    pair = plain()
    asked = []
    for _ in range(18):
        pair.client._given_up = {2, 5}
        octets = replies(pair.client.request([get()]))[0]
        asked.append(octets[2])
        assert pair.run([Reply(octets)]) == [Confirmed((Outcome(0, SMALL.raw),))]
    assert asked == [0xC0 | number for number in (1, 3, 4, *range(6, 16), 0, 1, 3, 4, 6)]


def test_B09_long_invoke_ids_count_by_themselves() -> None:
    pair = plain()
    for number in (1, 2, 3):
        octets = replies(pair.client.request([get()], access=True))[0]
        assert octets[1:5] == (0xC000_0000 | number).to_bytes(4, "big")
        assert pair.run([Reply(octets)]) == [Confirmed((Outcome(0, SMALL.raw),))]
    pair.client._long_invoke = 0xFF_FFFF
    assert replies(pair.client.request([get()], access=True))[0][1:5] == bytes.fromhex("C0000000")


@pytest.mark.parametrize(
    ("stops", "described", "flags"),
    [(False, False, 0xC0), (False, True, 0xD0), (True, False, 0xE0), (True, True, 0xF0)],
)
def test_what_an_access_asks_for_besides(stops: bool, described: bool, flags: int) -> None:
    """Bit 31 priority, 30 confirmed, 29 break on error, 28 self-descriptive (acse-xdlms 5.1)."""
    pair = plain()
    octets = replies(pair.client.request([get()], access=True, stops=stops, described=described))[0]
    assert octets[1] == flags
    asked = AccessGet(AttributeDescriptor(3, REGISTER, 2))
    number = flags << 24 | 1
    assert octets == AccessRequest(number, b"", (asked,), (Data.decode(b"\0"),)).encode()
    assert pair.run([Reply(octets)]) == [Confirmed((Outcome(0, SMALL.raw),))]


@pytest.mark.parametrize(
    ("first", "following"),
    [
        ("0000000000000000", ("0000000000000001", "0000000000000002")),
        ("00000000000000FE", ("00000000000000FF", "0000000000000100")),
        ("FFFFFFFFFFFFFFFE", ("FFFFFFFFFFFFFFFF", "0000000000000000")),
    ],
)
def test_E03_transactions_count_up_from_the_octets_that_were_drawn(
    first: str, following: tuple[str, str]
) -> None:
    pair = pair_in("identified", mechanism=0)
    assert pair.run(pair.client.associate(b"", bytes.fromhex(first))) == [Associated(None)]
    for expected in following:
        assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
        for end in (TO_METER, TO_CLIENT):
            assert GeneralCiphering.decode(pair.sent(end)[-1]).transaction_id.hex().upper() == expected


# --- sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"dedicated_key": DEK}, {"general": True}], ids=str)
def test_F11_nothing_above_the_agreed_size_and_whole_where_it_goes_in(options: dict[str, object]) -> None:
    """Both ways; four octets are kept for the longest length field, nine for a title."""
    spare = 4 if options.get("general") else 4 + 9
    for size in (128, 300):
        pair = associated(client={"max_pdu": size, **options}, server={"max_pdu": size})
        for length in (*range(size - 60, size, 3), size):
            value = octet_string(bytes(length))
            pair.plant.values[REGISTER, 2] = value.raw
            for operation in (put(value), get()):
                before = len(pair.wire)
                assert pair.outcomes(operation)[0].code == 0
                frames = [octets for _, octets in pair.wire[before:]]
                assert max(map(len, frames)) <= size
                if len(frames) > 2:  # it would not have gone in, or only just
                    head = 13 + len(value.raw) if operation.data else 4 + len(value.raw)
                    around = len(frames[0]) - len(plain_of(pair, frames[0]))
                    assert head + around + 2 > size - spare, (length, operation)


def test_F11_in_plain_what_is_as_long_as_agreed_goes_whole() -> None:
    """To the octet, both ways: nothing is kept free for a protection that there is not."""
    size = 128
    pair = plain(client={"max_pdu": size}, server={"max_pdu": size})
    for operation, head in ((put, 13), (get, 4)):
        for length, frames in ((size - head - 2, 2), (size - head - 1, 4)):
            value = octet_string(bytes(length))
            pair.plant.values[REGISTER, 2] = value.raw
            before = len(pair.wire)
            assert pair.outcomes(put(value) if operation is put else get())[0].code == 0
            sent = [len(octets) for _, octets in pair.wire[before:]]
            assert len(sent) == frames and (max(sent) == size if frames == 2 else max(sent) <= size)


def plain_of(pair: Pair, octets: bytes) -> bytes:
    """What a frame of the client holds."""
    context = pair.server.context
    for key in (context.setup.unicast, context.dedicated):
        if key is not None:
            key.rx.lowest = 0
    return unprotect(context, octets).apdu


@pytest.mark.parametrize("size", [32, 33])
def test_a_request_needs_at_least_an_octet_of_room(size: int) -> None:
    pair = associated()
    pair.client.server_max_pdu = size
    with pytest.raises(
        Exception, match="no room for a request" if size == 32 else "longer than the 1 octets"
    ):
        pair.client.request([get()])


# --- waiting ------------------------------------------------------------------------------------------


def starve(pair: Pair, *ends: str) -> None:
    for end in ends:
        setup = (pair.client if end == TO_METER else pair.server).profile.setup
        for counted in (setup.unicast, setup.fresh):
            while counted is not None and 0 < counted.tx.left < 1 << 20:
                counted.tx.take()
            if counted is setup.fresh:
                counted.tx = type(counted.tx)(5, 5)


def test_C10_a_step_waits_for_each_kind_of_counter_that_it_takes() -> None:
    """Under keys made for a message both the lasting key's and theirs are asked for, one after the other."""
    pair = associated_in("wrapped")
    starve(pair, TO_METER, TO_CLIENT)
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
    client, meter = pair.client.profile.setup, pair.server.profile.setup
    assert [(who, need.key, need.count) for who, need in pair.needs] == [
        (TO_METER, client.unicast, 1),
        (TO_METER, client.fresh, 1),
        (TO_CLIENT, meter.unicast, 1),
        (TO_CLIENT, meter.fresh, 1),
    ]


def test_C10_under_a_lasting_key_no_other_counter_is_asked_for() -> None:
    pair = associated_in("identified")
    starve(pair, TO_METER, TO_CLIENT)
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
    client, meter = pair.client.profile.setup, pair.server.profile.setup
    assert [(who, need.key) for who, need in pair.needs] == [
        (TO_METER, client.unicast),
        (TO_CLIENT, meter.unicast),
    ]


def test_C10_an_answer_to_a_third_party_takes_that_ones_counter_too() -> None:
    pair = carrier()
    setup = pair.third.setup
    setup.fresh.tx = type(setup.fresh.tx)(5, 5)
    starve(pair, TO_CLIENT)
    answer = pair.carry(pair.seal(sealed_get()))
    assert isinstance(pair.opened(answer), s.GetResponseNormal)
    meter = pair.server.profile.setup
    assert [need.key for who, need in pair.needs if who == TO_CLIENT] == [meter.unicast, setup.fresh]


def test_tokens_are_each_for_one_step() -> None:
    pair = associated()
    starve(pair, TO_METER)
    tokens = []
    for _ in range(3):
        pair.block = 1
        (need,) = pair.client.request([get()])
        assert isinstance(need, Need)
        tokens.append(need.token)
        for wrong in (need.token - 1, need.token + 1):
            assert pair.client.resume(wrong) == []
        pair.reserve(need)
        assert pair.run(pair.client.resume(need.token)) == [Confirmed((Outcome(0, SMALL.raw),))]
    assert len(set(tokens)) == 3


# --- ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("general", [False, True])
def test_a_release_is_normal_and_repeats_the_initiate(general: bool) -> None:
    pair = associated(client={"general": general, "dedicated_key": DEK})
    octets = replies(pair.client.release())[0]
    assert pair.client.state is State.CLOSING
    rlrq = Rlrq.decode(octets)
    assert rlrq.reason == 0
    inside = rlrq.user_information
    assert inside is not None and inside[0] == (0xDB if general else 0x21)
    pair.server.context.exclusive_dedicated = False
    message = apdu.decode(unprotect(pair.server.context, inside).apdu)
    assert isinstance(message, InitiateRequest)
    assert (message.dedicated_key, message.response_allowed) == (DEK, True)
    assert message.proposed_quality_of_service is None
    assert message.proposed_dlms_version_number == 6
    assert message.proposed_conformance == pair.client.profile.conformance
    assert message.client_max_receive_pdu_size == pair.client.profile.max_pdu


def test_a_release_in_plain_holds_nothing() -> None:
    octets = replies(plain().client.release())[0]
    assert Rlrq.decode(octets) == Rlrq(0, None)
    options = {"options": frozenset({"plain_release"})}
    octets = replies(associated(client=options, server=options).client.release())[0]
    assert Rlrq.decode(octets) == Rlrq(0, None)


def test_what_a_client_has_before_and_after_an_association() -> None:
    pair = Pair()
    client = pair.client
    for challenge in (bytes(16), bytes(range(16))):
        assert client.state is State.IDLE and client.passed_over is None
        assert client.context.dedicated is None and not client.context.exclusive_dedicated
        if challenge == bytes(16):
            assert (client.negotiated, client.server_max_pdu, pair.server.negotiated) == (0, 0, 0)
        assert client.receive(bytes.fromhex("C401C10000")) != []
        with pytest.raises(Misuse, match="non-associated, not associated"):
            client.request([get()])
        assert pair.sign_on(challenge) == [Associated(None)]
        pair.outcomes(get())
        pair.release()
        assert pair.server.negotiated == 0 and pair.server.user is None


def test_nobody_waits_for_blocks_where_none_are_under_way() -> None:
    pair = associated()
    assert pair.client.timed_out() == []
    pair.client.request([get()])
    assert pair.client.timed_out() == []


def test_D06_what_takes_curve_work_and_fails_ends_the_request_like_any_other() -> None:
    """A request whose key cannot be agreed on: the step fails after its job, and the association stands."""
    pair = associated_in("one-pass")
    (compute,) = pair.client.request([get()])
    assert isinstance(compute, Compute)
    (failed,) = pair.client.resume(compute.token, TimedOut("the HSM did not answer"))
    assert isinstance(failed, Failed) and isinstance(failed.error, TimedOut)
    assert pair.client.state is State.ASSOCIATED
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_C10_each_block_takes_one_counter() -> None:
    pair = associated(server={"max_pdu": 128})
    starve(pair, TO_METER, TO_CLIENT)
    pair.block = 1
    assert pair.outcomes(put(octet_string(bytes(300)))) == (Outcome(0),)
    assert len(pair.needs) > 5 and {need.count for _, need in pair.needs} == {1}


@pytest.mark.parametrize("options", [frozenset(), frozenset({"hls_token_shares_counter"})])
def test_C14_a_shared_counter_is_an_option_of_the_client_too(options: frozenset[str]) -> None:
    pair = Pair(client={"options": options})
    assert pair.sign_on() == [Associated(None)]
    assert pair.client._opening.handshake.shares_counter is bool(options)


def test_where_no_policy_asks_for_protection_the_proof_has_none() -> None:
    pair = associated(policy=0)
    assert [octets[0] for _, octets in pair.wire] == [0x60, 0x61, 0xC3, 0xC7]
