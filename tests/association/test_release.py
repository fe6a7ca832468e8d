"""Release: only who signed on signs off; a weaker answer is told, and what was read stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meterseal.apdu.acse import Rlre, Rlrq
from meterseal.apdu.initiate import (
    ConfirmedServiceError,
    ExceptionResponse,
    InitiateRequest,
    InitiateResponse,
)
from meterseal.association import Outcome, Refusal, Released, State
from meterseal.errors import UnknownKey
from meterseal.security import AUTHENTICATED, ENCRYPTED, Style, protect
from tests.association.pair import (
    DEK,
    SMALL,
    TO_CLIENT,
    TO_METER,
    Pair,
    associated,
    get,
    replies,
    sealed,
    single,
)
from tests.wired import spoilt

BOTH = AUTHENTICATED | ENCRYPTED
INITIATE = InitiateRequest(None, True, None, 6, 0x401F1D, 4096).encode()
NOT_FINISHED = Rlre(1).encode()


def by_client(pair: Pair, octets: bytes, applied: int = BOTH, style: Style = Style.GLO) -> bytes:
    return protect(pair.client.context, octets, applied, style)


Make = Callable[[Pair], bytes | None]
WEAKER: list[tuple[str, Make, int | None]] = [
    ("nothing", lambda p: None, 0),
    ("plain", lambda p: INITIATE, 0),
    ("empty", lambda p: b"", 0),
    ("only authenticated", lambda p: by_client(p, INITIATE, AUTHENTICATED), 0),
    ("only encrypted", lambda p: by_client(p, INITIATE, ENCRYPTED), 0),
    ("spoilt", lambda p: spoilt(by_client(p, INITIATE)), 0),
    ("cut", lambda p: by_client(p, INITIATE)[:-1], 0),
    ("another APDU", lambda p: by_client(p, b"\x08" + INITIATE[1:]), 0),
    ("a get-request", lambda p: by_client(p, b"\xc0\x01\xc1" + bytes(10)), 0),
    ("half an Initiate", lambda p: by_client(p, INITIATE[:-1]), 0),
    ("an unknown reason", lambda p: by_client(p, INITIATE), 5),
    ("the urgent reason", lambda p: by_client(p, INITIATE), 1),
    ("a garbage reason", lambda p: by_client(p, INITIATE), -1),
    ("sealed by the meter", lambda p: sealed(p, INITIATE), 0),
    ("the AARQ's own Initiate", lambda p: p.wire[0][1][-len(by_client(p, INITIATE)) :], 0),
]


@pytest.mark.parametrize(("name", "make", "reason"), WEAKER, ids=[name for name, _, _ in WEAKER])
def test_core_A17_a_weaker_release_is_refused_and_the_association_stands(
    name: str, make: Make, reason: int | None
) -> None:
    pair = associated()
    before = pair.server_state()[:6]
    refusal, reply = pair.to_meter(Rlrq(reason, make(pair)).encode())
    assert isinstance(refusal, Refusal)
    assert replies([reply]) == [NOT_FINISHED]
    assert pair.server_state()[:6] == before
    assert pair.outcomes(get()) == (Outcome(0, SMALL.raw),)
    assert pair.release() == [Released()]


@pytest.mark.parametrize("style", [Style.GLO, Style.GENERAL_GLO])
@pytest.mark.parametrize("reason", [None, 0])
def test_the_release_of_the_right_client(style: Style, reason: int | None) -> None:
    pair = associated()
    effects = pair.to_meter(Rlrq(reason, by_client(pair, INITIATE, style=style)).encode())
    assert single(effects, Released) == Released()
    rlre = Rlre.decode(replies(effects)[0])
    assert rlre.reason == 0
    assert rlre.user_information is not None
    assert rlre.user_information[0] == (0x28 if style is Style.GLO else 0xDB)
    assert pair.server.state is State.IDLE


def test_with_a_dedicated_key_the_release_still_uses_the_global_one() -> None:
    pair = associated(client={"dedicated_key": DEK})
    under_dedicated = protect(pair.client.context, INITIATE, BOTH, Style.DED)
    assert replies(pair.to_meter(Rlrq(0, under_dedicated).encode())) == [NOT_FINISHED]
    key = pair.server.context.dedicated
    assert key is not None
    assert pair.release() == [Released()]
    assert pair.wire[-1][1][:1] == b"\x63"
    with pytest.raises(UnknownKey, match="destroyed"):
        key.handle.tag(0x10, bytes(12), b"")


def test_without_protection_at_sign_on_none_is_needed_for_the_release() -> None:
    for options in ({"ciphered": False}, {"policy": 0}):
        pair = associated(**options)
        assert pair.release() == [Released()]
        assert pair.sent(TO_METER)[-1] == Rlrq(0).encode()
        assert pair.sent(TO_CLIENT)[-1] == Rlre(0).encode()


def test_while_pending_only_the_right_client_ends_it() -> None:
    pair = Pair()
    pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
    pair.sign_on()
    states = [pair.server.state]
    assert replies(pair.to_meter(Rlrq(0).encode())) == [NOT_FINISHED]
    states.append(pair.server.state)
    effects = pair.to_meter(Rlrq(0, by_client(pair, INITIATE)).encode())
    assert single(effects, Released)
    assert [*states, pair.server.state] == [State.PENDING, State.PENDING, State.IDLE]


# --- the option ----------------------------------------------------------------------------------------


def test_plain_release_is_an_option_of_the_meter() -> None:
    pair = associated(server={"options": frozenset({"plain_release"})})
    effects = pair.to_meter(Rlrq(0).encode())
    assert single(effects, Released)
    assert replies(effects) == [Rlre(0).encode()]
    pair = associated(server={"options": frozenset({"plain_release"})})
    assert pair.release() == [Released()]  # the full form is still fine
    pair = associated(server={"options": frozenset({"plain_release"})})
    assert replies(pair.to_meter(Rlrq(0, INITIATE).encode())) == [NOT_FINISHED]


def test_plain_release_is_an_option_of_the_client() -> None:
    option = frozenset({"plain_release"})
    pair = associated(client={"options": option}, server={"options": option})
    assert pair.release() == [Released()]
    assert pair.sent(TO_METER)[-1] == Rlrq(0).encode()
    pair = associated(client={"options": option})
    (effect,) = pair.release()
    assert isinstance(effect, Released)
    assert "did not agree" in effect.warning


# --- the client's warnings --------------------------------------------------------------------------------


def answer(pair: Pair, applied: int = BOTH, **changes: Any) -> bytes:
    octets = InitiateResponse(None, 6, 1, 4096, 7).replace(**changes).encode()
    return sealed(pair, octets, applied) if applied else octets


WARNED: list[tuple[str, Callable[[Pair], bytes], str]] = [
    ("no Initiate", lambda p: Rlre(0).encode(), "weaker form"),
    ("a plain one", lambda p: Rlre(0, answer(p, 0)).encode(), "weaker form"),
    ("only authenticated", lambda p: Rlre(0, answer(p, AUTHENTICATED)).encode(), "weaker form"),
    ("only encrypted", lambda p: Rlre(0, answer(p, ENCRYPTED)).encode(), "weaker form"),
    ("a spoilt one", lambda p: Rlre(0, spoilt(answer(p))).encode(), "weaker form"),
    ("another APDU", lambda p: Rlre(0, sealed(p, b"\x0e\x01\x06\x00")).encode(), "weaker form"),
    ("not finished", lambda p: Rlre(1, answer(p)).encode(), "did not agree"),
    ("an unknown reason", lambda p: Rlre(7, answer(p)).encode(), "did not agree"),
    ("an error", lambda p: ExceptionResponse(1, 1).encode(), "answered by an exception-response"),
    ("another error", lambda p: ConfirmedServiceError(1, 6, 0).encode(), "answered by an confirmed"),
    ("garbage", lambda p: b"\x63\x05", "cannot be used"),
    ("an AARE", lambda p: b"\x61\x00", "cannot be used"),
]


@pytest.mark.parametrize(("name", "make", "warning"), WARNED, ids=[name for name, _, _ in WARNED])
def test_a_weaker_answer_closes_warns_and_keeps_what_was_read(
    name: str, make: Callable[[Pair], bytes], warning: str
) -> None:
    pair = associated()
    outcomes = pair.outcomes(get())
    pair.client.release()
    (effect,) = pair.client.receive(make(pair))
    assert isinstance(effect, Released)
    assert warning in effect.warning
    assert pair.client.state is State.IDLE
    assert outcomes == (Outcome(0, SMALL.raw),)


def test_a_right_answer_warns_of_nothing() -> None:
    pair = associated()
    pair.client.release()
    assert pair.client.receive(Rlre(0, answer(pair)).encode()) == [Released("")]


def test_release_waits_for_counters() -> None:
    pair = associated()
    for end in (pair.client, pair.server):
        tx = end.profile.setup.key().tx
        while tx.left:
            tx.take()
    pair.block = 1
    assert pair.release() == [Released()]
    assert [(sender, need.count) for sender, need in pair.needs] == [(TO_METER, 1), (TO_CLIENT, 1)]
