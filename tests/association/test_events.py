"""Events at the core: to whom, in which form, and when nothing is said; answers to who has proved nothing."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import services
from meterseal.association import Confirmed, Effect, Need, Refusal, Reply, State
from meterseal.association.profile import (
    BLOCKS,
    DEFAULT_CONFORMANCE,
    EVENTS,
    PREFERS_BLOCKS,
    SERVER_CONFORMANCE,
)
from meterseal.association.serving_blocks import UNPROVED
from meterseal.codec.data import Data, Tag
from meterseal.cosem.rights import READ, SIGN_RESPONSE
from meterseal.framing import gbt
from tests.association.pair import AUTHENTICATED_ENCRYPTED, CLOCK, DEK, REGISTER, Pair, get, octet_string

CODE = Data.of(47, Tag.UNSIGNED)
TOLD: dict[str, Any] = {"server": {"conformance": SERVER_CONFORMANCE | EVENTS}}


def pair_of(heard: list[services.EventNotificationRequest], **more: Any) -> Pair:
    client = {"events": heard.append, **more.pop("client", {})}
    pair = Pair(client=client, **{**TOLD, **more})
    pair.sign_on()
    assert pair.server.negotiated & EVENTS
    return pair


def tell(pair: Pair, instance: bytes = REGISTER) -> list[Effect]:
    """The meter tells of an attribute; its effects, those for the client delivered."""
    effects = pair.server.notify(get(instance), CODE, bytes(12))
    pair.run(effects, "meter")
    return effects


@pytest.mark.parametrize(
    ("tag", "more"),
    [
        (0xCA, {}),
        (0xD2, {"client": {"dedicated_key": DEK}}),
        (0xC2, {"policy": 0}),
        (0xC2, {"ciphered": False, "mechanism": 6}),
    ],
    ids=["glo", "ded", "no policy", "no ciphering"],
)
def test_what_is_told_is_heard_and_answers_nothing(tag: int, more: dict[str, Any]) -> None:
    heard: list[services.EventNotificationRequest] = []
    pair = pair_of(heard, **more)
    tell(pair)
    (message,) = heard
    assert (message.attribute.instance_id, message.value, message.time) == (REGISTER, CODE, bytes(12))
    assert pair.sent("meter")[-1][0] == tag
    assert pair.outcomes(get())[0].code == 0, "counters go on"


def test_nothing_is_said_to_who_did_not_ask_or_may_not_read() -> None:
    heard: list[services.EventNotificationRequest] = []
    silent = Pair()
    silent.sign_on()
    assert tell(silent) == []
    pair = pair_of(heard)
    assert tell(pair, bytes(6)) == [], "not in the view"
    for right in (0, READ | SIGN_RESPONSE):
        pair.view.rights[False, 3, REGISTER, 2] = right
        expected = right != 0  # suite 0 has no signatures: what a right asks of them is not asked there
        assert bool(tell(pair)) is expected
    signed = pair_of(heard, suite_id=1)
    signed.view.rights[False, 3, REGISTER, 2] = READ | SIGN_RESPONSE
    assert tell(signed) == []
    pair.release()
    assert pair.server.state is State.IDLE and tell(pair) == []


def test_who_is_at_work_is_not_told() -> None:
    pair = pair_of([])
    pair.hold = True
    pair.ask(get(CLOCK, 2, 8))
    assert pair.held and tell(pair) == []
    pair.run(pair.answer(pair.held[0]), "meter")
    assert len(tell(pair)) == 1


def test_counters_are_reserved_first_and_without_them_nothing_is_said() -> None:
    heard: list[services.EventNotificationRequest] = []
    pair = pair_of(heard)
    unicast = pair.server.profile.setup.unicast
    assert unicast is not None
    unicast.tx.left = 0
    (need,) = pair.server.notify(get(), CODE)
    assert isinstance(need, Need) and tell(pair) == [], "it waits for them"
    (refusal,) = pair.server.resume(need.token)
    assert isinstance(refusal, Refusal) and refusal.during == "telling of an event"
    (need,) = pair.server.notify(get(), CODE)
    assert isinstance(need, Need)
    pair.reserve(need)
    pair.run(pair.server.resume(need.token), "meter")
    assert [message.time for message in heard] == [None]


def test_a_client_without_an_ear_drops_what_it_is_told() -> None:
    pair = pair_of([])
    pair.client.profile.events = None
    tell(pair)
    assert pair.outcomes(get())[0].code == 0


# --- datagrams to an address that has proved nothing (F16) ---------------------------------------------


def test_A19_an_event_that_is_longer_than_the_client_takes_is_not_told() -> None:
    heard: list[services.EventNotificationRequest] = []
    pair = pair_of(heard, client={"max_pdu": 64})
    (effect,) = pair.server.notify(get(), octet_string(bytes(64)), bytes(12))
    assert isinstance(effect, Refusal) and effect.error.kind == "too-large"
    tell(pair)
    assert [message.value for message in heard] == [CODE], "the next one is"


@pytest.mark.parametrize("size", [0, 30, 4096])
def test_F16_long_answers_to_the_unproved_are_cut_small(size: int) -> None:
    pair = Pair(mechanism=0, ciphered=False, datagrams=True, client={"max_pdu": size})
    pair.sign_on()
    long = octet_string(bytes(500)).raw
    pair.plant.values[REGISTER, 2] = long
    assert pair.outcomes(get())[0].data == long
    answers = [octets for octets in pair.sent("meter") if octets[0] == 0xC4]
    assert len(answers) > 15 and max(map(len, answers)) <= min(size or UNPROVED, UNPROVED)


HEADER = 8
"""Octets of the wrapper around each APDU of a datagram."""


def law_holds(pair: Pair) -> bool:
    """At no time has the meter sent more than thrice what came to it."""
    balance = 0
    for sender, octets in pair.wire:
        balance += (len(octets) + HEADER) * (3 if sender == "client" else -1)
        if balance < 0:
            return False
    return True


@pytest.mark.parametrize("size", [0, 30, 4096])
@pytest.mark.parametrize("window", [1, 6, 63])
@pytest.mark.parametrize("access", [False, True], ids=["GET", "ACCESS"])
def test_F16_general_blocks_to_the_unproved_are_small_and_come_one_by_one(
    access: bool, window: int, size: int
) -> None:
    """An honest client has it all, whatever window it offers, within the law at every step."""
    client = {"max_pdu": size, "window": window, "conformance": DEFAULT_CONFORMANCE | BLOCKS}
    server: dict[str, Any] = {"options": frozenset() if access else frozenset({PREFERS_BLOCKS})}
    pair = Pair(mechanism=0, ciphered=False, datagrams=True, client=client, server=server)
    pair.sign_on()
    begun = len(pair.wire)
    long = octet_string(bytes(range(250)) * 2).raw
    pair.plant.values[REGISTER, 2] = long
    effects = pair.run(pair.client.request((get(),), access=access))
    assert [e.outcomes[0].data for e in effects if isinstance(e, Confirmed)] == [long]
    answers = [octets for sender, octets in pair.wire[begun:] if sender == "meter"]
    assert len(answers) > 15 and all(octets[0] == gbt.TAG for octets in answers)
    assert max(map(len, answers)) <= min(size or UNPROVED, UNPROVED) and law_holds(pair)


def test_F16_blocks_that_are_asked_for_again_keep_the_law() -> None:
    """Each repetition was asked for by a datagram of its own: it brings one block, never a window."""
    client = {"window": 63, "conformance": DEFAULT_CONFORMANCE | BLOCKS}
    pair = Pair(mechanism=0, ciphered=False, datagrams=True, client=client)
    pair.sign_on()
    pair.plant.values[REGISTER, 2] = octet_string(bytes(300)).raw
    lost = 0

    def every_third_is_lost(sender: str, octets: bytes) -> list[bytes]:
        nonlocal lost
        lost += sender == "meter" and octets[0] == gbt.TAG
        return [] if sender == "meter" and lost % 3 == 1 else [octets]

    pair.tap = every_third_is_lost
    effects = pair.run(pair.client.request((get(),), access=True))
    for _ in range(40):
        if effects:
            break
        effects = pair.run(pair.client.timed_out())
    (done,) = effects
    assert isinstance(done, Confirmed) and done.outcomes[0].data == pair.plant.values[REGISTER, 2]
    assert lost > 10 and law_holds(pair)


def test_F16_who_has_signed_on_gets_whole_windows_of_blocks() -> None:
    client = {"window": 6, "max_pdu": 128, "conformance": DEFAULT_CONFORMANCE | BLOCKS}
    pair = Pair(datagrams=True, client=client)
    pair.sign_on()
    pair.plant.values[REGISTER, 2] = octet_string(bytes(1500)).raw
    (done,) = pair.run(pair.client.request((get(),), access=True))
    assert isinstance(done, Confirmed)
    windows = [gbt.decode(octets) for octets in pair.sent("meter") if octets[0] == gbt.TAG]
    assert sum(block.streaming for block in windows) >= 10 and max(len(b.data) for b in windows) > UNPROVED


def test_F16_who_knows_no_blocks_or_has_signed_on_gets_what_it_takes() -> None:
    for more in (
        {"mechanism": 0, "ciphered": False, "client": {"conformance": DEFAULT_CONFORMANCE & ~(1 << 12)}},
        {"mechanism": 5},
    ):
        pair = Pair(datagrams=True, policy=AUTHENTICATED_ENCRYPTED, **more)
        pair.sign_on()
        pair.plant.values[REGISTER, 2] = octet_string(bytes(200)).raw
        assert pair.outcomes(get())[0].code == 0
        assert all(octets[:2] != b"\xc4\x02" for octets in pair.sent("meter"))


def test_a_line_that_puts_something_around_leaves_less_both_ways() -> None:
    pair = Pair(client={"around": 20, "max_pdu": 500}, server={"max_pdu": 400})
    pair.sign_on()
    assert (pair.client.server_max_pdu, pair.server.client_max_pdu) == (380, 480)
    unlimited = Pair(client={"around": 20, "max_pdu": 0})
    unlimited.sign_on()
    assert unlimited.server.client_max_pdu == 0xFFFF - 20, "what the line carries whole"


def test_the_reply_is_an_effect_like_any_other() -> None:
    pair = pair_of([])
    (effect,) = pair.server.notify(get(), CODE)
    assert isinstance(effect, Reply) and not effect.penalty


@pytest.mark.parametrize("user", [None, 5])
def test_the_right_to_hear_is_the_users(user: int | None) -> None:
    pair = pair_of(
        [], client={"user": user}, server={**TOLD["server"], "users": lambda: {5: "a"} if user else {}}
    )
    tell(pair)
    assert pair.view.asked[-1] == (get(REGISTER), user)
