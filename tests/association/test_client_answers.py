"""The client's checks of answers: protection, service, number, block; hints, late ones and none."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import services
from meterseal.apdu.common import ResultCode, ResultData
from meterseal.apdu.initiate import (
    ConfirmedServiceError,
    CounterErrorResponse,
    ExceptionResponse,
)
from meterseal.association import (
    Confirmed,
    Failed,
    Operation,
    Outcome,
    Service,
    State,
)
from meterseal.association.asking import refused
from meterseal.errors import (
    ProtocolViolation,
    Refused,
    TimedOut,
    TooLarge,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.security import AUTHENTICATED, ENCRYPTED, Style, protect
from tests.association.pair import (
    CLIENT_CHALLENGE,
    DEK,
    SMALL,
    Pair,
    associated,
    call,
    get,
    octet_string,
    put,
    replies,
    sealed,
    single,
)

BOTH = AUTHENTICATED | ENCRYPTED

# --- answers ------------------------------------------------------------------------------------------


def to_client(pair: Pair, message: Any, *, plain: bool = False) -> list[Any]:
    octets = message if isinstance(message, bytes) else message.encode()
    return pair.client.receive(octets if plain else sealed(pair, octets))


def waiting(*operations: Operation, **options: Any) -> Pair:
    """A client that waits for an answer to this."""
    pair = associated(**options)
    pair.client.request(operations)
    return pair


VALUE = services.GetResponseNormal(0xC2, ResultData(SMALL))


@pytest.mark.parametrize(
    ("operations", "answer"),
    [
        ([get()], services.GetResponseNormal(0xC3, ResultData(SMALL))),  # another invoke-id
        ([get()], services.GetResponseWithList(0xC2, (ResultData(SMALL),))),
        ([get(), get()], VALUE),
        ([get(), get()], services.GetResponseWithList(0xC2, (ResultData(SMALL),))),
        ([get(), get()], services.GetResponseWithList(0xC2, (ResultData(SMALL),) * 3)),
        ([get()], services.SetResponseNormal(0xC2, 0)),
        ([get()], bytes.fromhex("C701C2 00 00")),
        ([put(SMALL)], VALUE),
        ([put(SMALL)], services.SetResponseWithList(0xC2, (0,))),
        ([put(SMALL)], services.SetResponseDatablock(0xC2, 1)),
        ([put(SMALL)], services.SetResponseLastDatablock(0xC2, 0, 1)),
        ([put(SMALL), put(SMALL)], services.SetResponseNormal(0xC2, 0)),
        ([put(SMALL), put(SMALL)], services.SetResponseLastDatablockWithList(0xC2, (0, 0), 1)),
        ([put(SMALL), put(SMALL)], services.SetResponseWithList(0xC2, (0,))),
        ([call()], services.ActionResponseNextPblock(0xC2, 1)),
        ([call()], bytes.fromhex("C703C2 01 00 00")),
        ([call(), call()], bytes.fromhex("C701C2 00 00")),
    ],
    ids=lambda x: (
        x.hex() if isinstance(x, bytes) else getattr(x, "name", str(len(x)) if isinstance(x, list) else "")
    ),
)
def test_core_B09_an_answer_to_something_else_ends_the_request(
    operations: list[Operation], answer: Any
) -> None:
    pair = waiting(*operations)
    failed = single(to_client(pair, answer), Failed)
    assert isinstance(failed.error, ProtocolViolation)
    assert pair.client.state is State.ASSOCIATED
    assert pair.client._asking is None


def test_core_B09_the_answers_of_two_requests_swapped() -> None:
    pair = associated()
    pair.plant.values[get().instance, 2] = SMALL.raw
    first, second = get(member=2), get(member=3)
    pair.plant.values[get().instance, 3] = octet_string(b"second").raw
    (asked,) = replies(pair.client.request([first]))
    (answer,) = replies(pair.to_meter(asked))
    pair.client.give_up()
    (asked,) = replies(pair.client.request([second]))
    (late,) = replies(pair.to_meter(asked))
    # The first answer comes now, when the second is awaited: it is dropped, not taken.
    assert pair.client.receive(answer) == []
    assert pair.client.receive(late) == [Confirmed((Outcome(0, octet_string(b"second").raw),))]


def test_an_answer_nobody_asked_for() -> None:
    pair = associated()
    failed = single(to_client(pair, VALUE), Failed)
    assert isinstance(failed.error, ProtocolViolation)
    assert "nobody asked" in str(failed.error)


@pytest.mark.parametrize("applied", [0, AUTHENTICATED, ENCRYPTED])
def test_core_B03_B04_a_weaker_answer_is_not_taken(applied: int) -> None:
    pair = waiting(get())
    octets = VALUE.encode()
    octets = sealed(pair, octets, applied) if applied else octets
    failed = single(pair.client.receive(octets), Failed)
    assert isinstance(failed.error, TooWeak)


@pytest.mark.parametrize("code", [0, 3, 0xFA, 99])
def test_codes_in_the_place_of_data(code: int) -> None:
    pair = waiting(get())
    effects = to_client(pair, services.GetResponseNormal(0xC2, ResultCode(code)))
    # "Success" without data is no data.
    assert effects == [Confirmed((Outcome(code or 0xFA),))]


def test_codes_that_end_a_list_or_a_method() -> None:
    pair = waiting(get(), get())
    assert to_client(pair, services.GetResponseNormal(0xC2, ResultCode(3))) == [Confirmed((Outcome(3),) * 2)]
    pair = waiting(call())
    (effect,) = to_client(pair, bytes.fromhex("C701C2 00 01 01 0C"))
    assert effect == Confirmed((Outcome(12),))
    pair = waiting(call())
    (effect,) = to_client(pair, bytes.fromhex("C701C2 03 01 01 00"))
    assert effect == Confirmed((Outcome(3),))
    pair = waiting(call(), call())
    (effect,) = to_client(pair, bytes.fromhex("C701C2 0B 00"))
    assert effect == Confirmed((Outcome(11),) * 2)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("C701C2 00 00", Outcome(0)),
        ("C701C2 00 01 00 1105", Outcome(0, b"\x11\x05")),
        ("C701C2 00 01 01 00", Outcome(0)),  # success, and of what is returned as well
        ("C701C2 00 01 01 0C", Outcome(12)),
        ("C701C2 03 01 01 0C", Outcome(3)),  # the method's own code goes before
        ("C701C2 03 01 00 1105", Outcome(3, b"\x11\x05")),
    ],
)
def test_what_a_method_has_come_to(answer: str, outcome: Outcome) -> None:
    assert to_client(waiting(call()), bytes.fromhex(answer)) == [Confirmed((outcome,))]


ERRORS: list[tuple[Any, str, int]] = [
    (ExceptionResponse(1, 1), "operation-not-possible", 1),
    (ExceptionResponse(1, 5), "deciphering-error", 5),
    (ExceptionResponse(1, 77), "service error 77", 77),
    (CounterErrorResponse(1, 6, 0xFFFFFFFF), "invocation-counter-error, lowest acceptable 4294967295", 6),
    (ConfirmedServiceError(5, 0, 6), "class 0 value 6", 6),
]


@pytest.mark.parametrize(("error", "reason", "code"), ERRORS, ids=[reason for _, reason, _ in ERRORS])
def test_core_B21_an_unprotected_error_is_a_hint(error: Any, reason: str, code: int) -> None:
    """It may end a request; keys, counters and state stay, whatever it says."""
    pair = waiting(get())
    before = pair.client_state()
    failed = single(pair.client.receive(error.encode()), Failed)
    assert isinstance(failed.error, Refused)
    assert (failed.error.reason, failed.error.code) == (reason, code)
    assert not failed.error.authenticated
    assert "only a hint" in str(failed.error)
    assert pair.client_state() == before
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_a_protected_error_is_the_meters_word() -> None:
    pair = waiting(get(), client={"general": True})
    octets = protect(pair.server.context, b"\xd8\x01\x02", BOTH, Style.GENERAL_GLO)
    failed = single(pair.client.receive(octets), Failed)
    assert isinstance(failed.error, Refused)
    assert failed.error.authenticated
    assert failed.error.source == "exception-response"
    # Where nothing has to be protected, everything is the meter's word.
    pair = waiting(get(), ciphered=False)
    failed = single(pair.client.receive(b"\xd8\x01\x02"), Failed)
    assert failed.error.authenticated


def test_a_confirmed_service_error_names_its_source() -> None:
    pair = waiting(get())
    failed = single(pair.client.receive(b"\x0e\x05\x00\x06"), Failed)
    assert failed.error.source == "confirmed-service-error"


def test_a_push_among_the_answers_disturbs_nobody() -> None:
    pair = waiting(get())
    assert pair.client.receive(bytes.fromhex("0F000000010000")) == []
    assert to_client(pair, VALUE) == [Confirmed((Outcome(0, SMALL.raw),))]


def test_ciphered_answers_need_a_ciphered_context_and_an_association() -> None:
    pair = waiting(get(), ciphered=False)
    other = associated()
    failed = single(pair.client.receive(sealed(other, VALUE.encode())), Failed)
    assert isinstance(failed.error, Unsupported)
    for idle in (Pair(), released()):
        before = idle.client_state()
        failed = single(idle.client.receive(sealed(other, VALUE.encode())), Failed)
        assert isinstance(failed.error, ProtocolViolation)
        assert idle.client_state() == before


def released() -> Pair:
    pair = associated()
    pair.release()
    return pair


def test_a_dedicated_key_ends_the_use_of_the_global_one() -> None:
    pair = waiting(get(), client={"dedicated_key": DEK})
    failed = single(pair.client.receive(sealed(pair, VALUE.encode())), Failed)
    assert isinstance(failed.error, UnknownKey)
    pair = waiting(get(), client={"dedicated_key": DEK})
    octets = protect(pair.server.context, VALUE.encode(), BOTH, Style.DED)
    assert pair.client.receive(octets) == [Confirmed((Outcome(0, SMALL.raw),))]


def test_an_answer_above_the_agreed_size_is_refused_unread() -> None:
    pair = waiting(get(), client={"max_pdu": 128})
    failed = single(pair.client.receive(bytes(129)), Failed)
    assert isinstance(failed.error, TooLarge)


# --- answers that never come, or come late --------------------------------------------------------------


def test_late_answers_are_known_by_their_number() -> None:
    pair = associated()
    (first,) = replies(pair.client.request([get()]))
    pair.client.give_up()
    (answer,) = replies(pair.to_meter(first))
    assert pair.client.receive(answer) == []
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_fifteen_numbers_later_the_association_is_given_up() -> None:
    pair = associated()
    for _ in range(16):
        pair.client.request([get()])
        pair.client.give_up()
    with pytest.raises(TimedOut, match="sign on anew"):
        pair.client.request([get()])
    assert pair.client.state is State.ASSOCIATED


def test_an_answer_clears_what_was_given_up_before_it() -> None:
    pair = associated()
    for _ in range(40):
        pair.client.request([get()])
        pair.client.give_up()
        assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)


def test_a_forged_late_answer_frees_no_number() -> None:
    pair = associated()
    pair.client.request([get()])
    pair.client.give_up()
    assert pair.client.receive(VALUE.encode()) == []  # plain: anybody's
    assert pair.client._given_up == {2}


def test_giving_up_a_sign_on_or_a_release_ends_the_association() -> None:
    pair = Pair()
    pair.client.associate(CLIENT_CHALLENGE)
    pair.client.give_up()
    assert pair.client.state is State.IDLE
    pair = associated()
    pair.client.release()
    pair.client.give_up()
    assert pair.client.state is State.IDLE


def test_the_end_of_the_line_leaves_nothing() -> None:
    pair = associated(client={"dedicated_key": DEK})
    key = pair.client.context.dedicated
    assert key is not None
    pair.client.request([get()])
    pair.client.end()
    assert (pair.client.state, pair.client._asking) == (State.IDLE, None)
    with pytest.raises(UnknownKey):
        key.handle.seal(0x30, bytes(12), b"")


@pytest.mark.parametrize("datagrams", [False, True])
def test_what_was_given_up_is_over_where_answers_come_in_order(datagrams: bool) -> None:
    """On a stream every answer is later than what was asked before; a plain datagram says nothing of that."""
    pair = associated(mechanism=0, ciphered=False, datagrams=datagrams)
    pair.client.request([get()])
    pair.client.give_up()
    assert pair.outcomes(put(SMALL)) == (Outcome(0),)
    assert pair.client._given_up == ({1} if datagrams else set())


@pytest.mark.parametrize(
    ("service", "code", "reason", "source"),
    [
        (Service.GET, 15, "long-get-aborted", "data-access-result"),
        (Service.SET, 3, "read-write-denied", "data-access-result"),
        (Service.SET, 99, "result 99", "data-access-result"),
        (Service.ACTION, 15, "long-action-aborted", "action-result"),
        (Service.ACTION, 99, "result 99", "action-result"),
    ],
)
def test_a_result_has_the_words_of_its_service(service: Service, code: int, reason: str, source: str) -> None:
    for authenticated in (True, False):
        error = refused(service, code, authenticated)
        assert (error.reason, error.code, error.source, error.authenticated) == (
            reason, code, source, authenticated,
        )  # fmt: skip
        assert str(error) == f"the meter answers {reason}"
