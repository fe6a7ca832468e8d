"""What comes for all logical devices: opened once, heard by each association with the keys, not answered."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import services as s
from meterseal.apdu.ciphered import FORMS, GLO_TAG, build
from meterseal.apdu.common import AttributeDescriptor
from meterseal.association import Associated, ClientAssociation, Indication, Refusal, Reply, ServerAssociation
from meterseal.association.operations import Outcome
from meterseal.errors import Forged, MetersealError, Replayed, UnknownKey, Unsupported
from meterseal.security import Opened, Style, protect
from tests.association.pair import CLIENT_TITLE, CLOCK, SMALL, Pair, associated, drawing, get, single

SET = AttributeDescriptor(8, CLOCK, 2)
QUIET = s.SetRequestNormal(0x85, SET, None, SMALL).encode()
ASKED = s.SetRequestNormal(0xC5, SET, None, SMALL).encode()


def under_the_groups_key(pair: Pair, plain: bytes, counter: int, general: bool = False) -> bytes:
    key = pair.server.profile.setup.broadcast
    assert key is not None
    form = FORMS[0xDB if general else GLO_TAG[plain[0]]]
    body = key.handle.seal(0x70, CLIENT_TITLE + counter.to_bytes(4, "big"), plain)
    return build(form, CLIENT_TITLE, 0x70, counter, body)


def floors(pair: Pair) -> tuple[int, int]:
    """The lowest acceptable counters, of the broadcast key and of the unicast key."""
    setup = pair.server.profile.setup
    assert setup.broadcast is not None and setup.unicast is not None
    return setup.broadcast.rx.lowest, setup.unicast.rx.lowest


def sibling(pair: Pair) -> ServerAssociation:
    """An association of the same client, with the same setup, to another logical device; it stands."""
    made = ServerAssociation(pair.server.profile, drawing(b"another challenge"))
    client = ClientAssociation(pair.client.profile)
    todo: list[Any] = client.associate(bytes(range(16)))
    while not any(isinstance(effect, Associated) for effect in todo):
        (octets,) = (effect.octets for effect in todo if isinstance(effect, Reply))
        (back,) = (effect.octets for effect in made.receive(octets) if isinstance(effect, Reply))
        todo = client.receive(back)
    return made


@pytest.mark.parametrize("general", [False, True])
def test_B06_it_is_heard_by_each_once_and_its_counter_counts_once(general: bool) -> None:
    pair = associated(broadcast=True)
    other = sibling(pair)
    octets = under_the_groups_key(pair, QUIET, 7, general)
    opened = pair.server.open_for_all(octets)
    assert opened.broadcast and floors(pair)[0] == 8
    for machine in (pair.server, other):
        indication = single(machine.receive(opened), Indication)
        assert indication.broadcast and not indication.confirmed
        assert machine.respond(indication.token, [Outcome(0)]) == []
    for machine in (pair.server, other):
        with pytest.raises(Replayed):
            machine.open_for_all(octets)
    assert floors(pair)[0] == 8


def test_B06_what_is_not_whole_and_under_the_groups_key_alone_is_not_opened() -> None:
    pair = associated(broadcast=True)
    before = floors(pair)
    good = under_the_groups_key(pair, QUIET, 7)
    cases: list[tuple[bytes, type[MetersealError]]] = [
        (protect(pair.client.context, QUIET, 3, Style.GLO), UnknownKey),
        (bytes.fromhex("DF00"), UnknownKey),
        (bytes.fromhex("DD00"), UnknownKey),
        (good[:-1] + bytes((good[-1] ^ 1,)), Forged),
        (under_the_groups_key(pair, b"\xdf" + bytes(20), 7, general=True), Unsupported),
    ]
    for octets, error in cases:
        with pytest.raises(error):
            pair.server.open_for_all(octets)
    assert floors(pair) == before
    assert pair.server.open_for_all(good).apdu == QUIET


@pytest.mark.parametrize("octets", [ASKED, s.GetRequestNormal(0x85, SET, None).encode(), b"\xc1", b""])
def test_what_wants_an_answer_or_is_no_request_is_refused_in_silence(octets: bytes) -> None:
    pair = associated(broadcast=True)
    opened = Opened(octets, 3, Style.GLO, True)
    (refusal,) = pair.server.receive(opened)
    assert isinstance(refusal, Refusal) and refusal.during == "receiving for all logical devices"
    assert pair.plant.done == []


def test_who_has_not_signed_on_hears_nothing_and_plain_ones_are_held_to_their_policy() -> None:
    pair = Pair(broadcast=True)
    opened = pair.server.open_for_all(QUIET)
    assert opened == Opened(QUIET, 0, Style.PLAIN)
    assert isinstance(single(pair.server.receive(opened), Refusal).error, MetersealError)
    pair.sign_on()
    (refusal,) = pair.server.receive(opened)
    assert isinstance(refusal, Refusal) and "scope-of-access-violated" in str(refusal.error)


def test_one_that_is_busy_hears_it_when_it_has_answered() -> None:
    pair = associated(broadcast=True)
    pair.hold = True
    pair.ask(get())
    (asked,) = pair.held
    assert pair.server.receive(pair.server.open_for_all(under_the_groups_key(pair, QUIET, 7))) == []
    effects = pair.server.respond(asked.token, [Outcome(0, SMALL.raw)])
    assert [type(effect) for effect in effects] == [Reply, Indication] and floors(pair)[0] == 8
