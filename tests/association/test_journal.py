"""What the journal is told of a refusal: the cause, what the association was about, and who asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meterseal.apdu import services as s
from meterseal.apdu.common import AttributeDescriptor, AttributeWithSelection, DataBlock
from meterseal.association import Associated, Compute, Effect, Need, Refusal, Reply, conformance
from meterseal.association.operations import Operation
from meterseal.crypto import SigningKey, curve
from meterseal.errors import CountersNeeded, Refused
from meterseal.security import Style, protect
from meterseal.security.protection import policy_bits
from tests.association.line import ATTRIBUTE, FIRST_INVOKE, LONG, Line
from tests.association.pair import (
    CLIENT_TITLE,
    HIDDEN,
    REGISTER,
    SMALL,
    Pair,
    associated,
    call,
    get,
    put,
    replies,
)
from tests.association.test_layers import associated_in
from tests.association.thirds import carrier
from tests.association.thirds import get as sealed_get


@pytest.mark.parametrize(
    ("operations", "text", "code"),
    [
        ((get(HIDDEN),), "get 3/0.0.96.1.1.255:2: object-undefined", 4),
        ((put(SMALL, HIDDEN, 3, 1),), "set 1/0.0.96.1.1.255:3: object-undefined", 4),
        ((call(None, HIDDEN, 1, 70),), "action 70/0.0.96.1.1.255:1: object-undefined", 4),
        ((get(REGISTER, 3),), "get 3/1.0.1.8.0.255:3: read-write-denied", 3),
        ((get(), get(HIDDEN)), "get 3/0.0.96.1.1.255:2: object-undefined", 4),
        (
            (get(HIDDEN), get(), get(REGISTER, 3)),
            "get 3/0.0.96.1.1.255:2: object-undefined, and 1 more of the list",
            4,
        ),
        (
            (get(REGISTER, 3), get(HIDDEN), get(HIDDEN)),
            "get 3/1.0.1.8.0.255:3: read-write-denied, and 2 more of the list",
            3,
        ),
        ((get(),), "", 0),
    ],
)
def test_a_refused_access_is_one_line_by_name(
    operations: tuple[Operation, ...], text: str, code: int
) -> None:
    pair = associated()
    pair.view.rights[False, 3, REGISTER, 3] = 2
    pair.ask(*operations)
    if not text:
        assert pair.refusals == []
        return
    (refusal,) = pair.refusals
    error = refusal.error
    assert isinstance(error, Refused) and refusal.during == "access"
    assert (str(error), error.reason, error.code, error.source) == (
        text,
        text.split(": ")[1].split(",")[0],
        code,
        "access",
    )


def test_E11_it_says_for_whom_a_client_carried_what_was_refused() -> None:
    pair = carrier()
    pair.carry(pair.seal(sealed_get(instance=HIDDEN)))
    (refusal,) = pair.refusals
    assert str(refusal.error) == (
        "get 3/0.0.96.1.1.255:2: object-undefined, for third party 4D534C5554493031"
    )
    two = tuple(AttributeWithSelection(AttributeDescriptor(3, HIDDEN, at), None) for at in (2, 3))
    pair.carry(pair.seal(s.GetRequestWithList(0xC1, two).encode(), b"list"))
    assert str(pair.refusals[-1].error) == (
        "get 3/0.0.96.1.1.255:2: object-undefined, and 1 more of the list, for third party 4D534C5554493031"
    )


def starved(pair: Pair) -> Pair:
    """The meter has no counter left."""
    tx = pair.server.profile.setup.key().tx
    while tx.left:
        tx.take()
    return pair


def needs(pair: Pair, effects: list[Effect]) -> list[Effect]:
    """What the meter asks for before it answers a read."""
    pair.hold = True
    pair.run(effects)
    return pair.server.respond(pair.held[-1].token, [pair.plant.do(get())])


def without_counters() -> list[Refusal]:
    pair = starved(associated())
    (need,) = needs(pair, pair.client.request([get()]))
    assert isinstance(need, Need) and need.count == 1
    return [e for e in pair.server.resume(need.token) if isinstance(e, Refusal)]


def of_a_sign_on() -> list[Refusal]:
    pair = Pair(mechanism=1, ciphered=False, client={"secret": b"another!"})
    pair.sign_on()
    return pair.refusals


def of_a_release() -> list[Refusal]:
    pair = associated()
    pair.to_meter(bytes.fromhex("6203800100"))
    return [e for e in pair.server.receive(bytes.fromhex("6203800100")) if isinstance(e, Refusal)]


def of_what_is_none() -> list[Refusal]:
    return [e for e in associated().to_meter(bytes.fromhex("C001C1")) if isinstance(e, Refusal)]


def of_a_broken_tag() -> list[Refusal]:
    pair = associated()
    octets = replies(pair.client.request([get()]))[0]
    return [e for e in pair.to_meter(octets[:-1] + bytes((octets[-1] ^ 1,))) if isinstance(e, Refusal)]


def too_long() -> list[Refusal]:
    services = Pair().client.profile.conformance & ~conformance("block-transfer-with-get-or-read")
    pair = associated(client={"max_pdu": 128, "conformance": services})
    pair.plant.values[REGISTER, 2] = LONG.raw
    pair.ask(get())
    return pair.refusals


def a_broken_block() -> list[Refusal]:
    line = Line()
    pair = line.pair
    line.one(s.SetRequestWithFirstDatablock(FIRST_INVOKE, ATTRIBUTE, None, DataBlock(False, 1, b"\x09")))
    octets = s.SetRequestWithDatablock(FIRST_INVOKE, DataBlock(True, 3, b"\0")).encode()
    return [e for e in pair.to_meter(protect(line.context, octets, 3, Style.GLO)) if isinstance(e, Refusal)]


def a_late_block() -> list[Refusal]:
    line = Line()
    line.one(s.SetRequestWithFirstDatablock(FIRST_INVOKE, ATTRIBUTE, None, DataBlock(False, 1, b"\x09")))
    return [e for e in line.pair.server.timed_out() if isinstance(e, Refusal)]


@pytest.mark.parametrize(
    ("happening", "during", "kind"),
    [
        (without_counters, "sending", "counters-needed"),
        (of_a_sign_on, "signing on", "authentication-failed"),
        (of_a_release, "releasing", "too-weak"),
        (of_what_is_none, "receiving get-request-normal", "truncated"),
        (of_a_broken_tag, "receiving glo-get-request", "forged"),
        (too_long, "answering", "too-large"),
        (a_broken_block, "block transfer", "malformed"),
        (a_late_block, "block transfer", "timed-out"),
    ],
)  # fmt: skip
def test_it_says_what_the_association_was_about(
    happening: Callable[[], list[Refusal]], during: str, kind: str
) -> None:
    (refusal,) = happening()
    assert (refusal.during, refusal.error.kind) == (during, kind)


def test_what_was_waited_for_is_told_of_that_step_alone() -> None:
    """A step that waits has its own word; what follows it is sending again."""
    pair = starved(Pair(mechanism=7, suite_id=1))
    pair.block = 1
    assert pair.sign_on() == [Associated(None)]
    assert [need.count for who, need in pair.needs if who == "meter"] == [1, 2]
    starved(pair)
    (need,) = needs(pair, pair.client.request([get()]))
    assert isinstance(need, Need)
    refusal, reply = pair.server.resume(need.token)
    assert isinstance(refusal, Refusal) and isinstance(reply, Reply)
    assert isinstance(refusal.error, CountersNeeded) and refusal.during == "sending"


def test_it_says_so_of_a_later_job_too() -> None:
    """The key of a layer holds, the signature inside does not: both are jobs of one message."""
    pair = associated_in("one-pass", policy=policy_bits(7, 7))
    stranger = SigningKey.generate(curve("P-256"))
    known = pair.server.profile.setup.directory
    (ephemeral,) = pair.client.request([get()])
    assert isinstance(ephemeral, Compute)
    octets: list[bytes] = []

    def kept(direction: str, sent: bytes) -> list[bytes]:
        octets.append(sent)
        return []

    pair.tap = kept
    pair.run([ephemeral])
    (first,) = pair.server.receive(octets[0])
    assert isinstance(first, Compute)
    result = first.job()
    known.signing[CLIENT_TITLE] = stranger.public  # type: ignore[attr-defined]
    effects = pair.server.resume(first.token, result)
    while isinstance(effects[0], Compute):
        effects = pair.server.resume(effects[0].token, effects[0].job())
    (refusal, _) = effects
    assert isinstance(refusal, Refusal)
    assert (refusal.error.kind, refusal.during) == ("forged", "receiving general-ciphering")
