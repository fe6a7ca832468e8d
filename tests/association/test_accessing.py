"""ACCESS at both ends: any operations in one request, each held to its own right (acse-xdlms 5.1)."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu import specifications as spec
from meterseal.apdu.access import (
    CONFIRMED,
    SELF_DESCRIPTIVE,
    AccessRequest,
    AccessResponse,
)
from meterseal.apdu.common import AttributeDescriptor, ResultData, SelectiveAccess
from meterseal.apdu.services import GetResponseNormal
from meterseal.association import (
    DEFAULT_CONFORMANCE,
    NOT_DONE,
    Confirmed,
    Failed,
    Operation,
    Outcome,
    Refusal,
    Service,
    conformance,
)
from meterseal.codec.data import Data, Tag
from meterseal.errors import Malformed, Misuse, ProtocolViolation, TooLarge, Unsupported
from meterseal.security import Style, protect, unprotect
from tests.association.pair import (
    CLOCK,
    DEK,
    HIDDEN,
    REGISTER,
    SMALL,
    TO_CLIENT,
    TO_METER,
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

FIVE, NULL = Data.of(5, Tag.UNSIGNED), Data.decode(b"\0")
MIXED = (get(), put(octet_string(b"now")), call(FIVE), call(), get(HIDDEN), put(FIVE, REGISTER, 3, 3))


def access(pair: Pair, *operations: Operation, **options: Any) -> tuple[Outcome, ...]:
    (effect,) = pair.run(pair.client.request(operations, access=True, **options))
    assert isinstance(effect, Confirmed), effect
    return effect.outcomes


def opened(pair: Pair, sender: str, octets: bytes) -> Any:
    """An APDU of the wire, opened by the other end's keys without moving its counters."""
    context = (pair.server if sender == TO_METER else pair.client).context
    context.setup.unicast.rx.lowest = 0  # type: ignore[union-attr]
    return apdu.decode(unprotect(context, octets).apdu)


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("options", [{}, {"client": {"dedicated_key": DEK}}], ids=["global", "dedicated"])
def test_any_mixture_in_one_request(options: Any, described: bool) -> None:
    pair = associated(**options)
    found = access(pair, *MIXED, described=described)
    assert found == (
        Outcome(0, SMALL.raw),
        Outcome(0),
        Outcome(0, FIVE.raw),
        Outcome(0),
        Outcome(4),
        Outcome(0),
    )
    assert [o.service for o in pair.plant.done] == [Service.SET, Service.ACTION, Service.ACTION, Service.SET]
    request, response = pair.wire[-2:]
    general = 0xDC if options else 0xDB
    assert [request[1][0], response[1][0]] == [general, general]  # there is no glo- form
    if not options:
        answer = opened(pair, *response)
        assert isinstance(answer, AccessResponse)
        assert (answer.specifications is not None) is described
        asked = opened(pair, *request)
        assert answer.long_invoke_id_and_priority == asked.long_invoke_id_and_priority
        assert answer.data == (SMALL, NULL, FIVE, NULL, NULL, NULL)
        if described:
            assert answer.specifications == asked.specifications


def test_the_rights_of_each_element() -> None:
    pair = associated()
    pair.view.rights[False, 8, CLOCK, 2] = 1  # read only
    pair.view.rights[False, 3, REGISTER, 3] = 2  # write only
    pair.view.rights[True, 70, call().instance, 1] = 0
    found = access(pair, *MIXED, get(CLOCK, 2, 8), get(REGISTER, 3, 3))
    assert [o.code for o in found] == [0, 3, 3, 3, 4, 0, 0, 3]
    assert [o.service for o in pair.plant.done] == [Service.SET]


def test_the_answer_carries_the_most_that_any_element_asks_for() -> None:
    pair = associated(policy=0)
    pair.view.rights[False, 8, CLOCK, 2] = 3 | 1 << 5  # authenticated responses
    pair.view.rights[False, 3, REGISTER, 2] = 1 | 1 << 6  # encrypted responses
    access(pair, get(), get(CLOCK, 2, 8))
    assert pair.sent(TO_METER)[-1][0] == 0xD9
    answer = pair.sent(TO_CLIENT)[-1]
    assert answer[0] == 0xDB and answer[11] == 0x30


def test_break_on_error() -> None:
    """A right that is missing, or an error of the object, ends what is done; reads before it stay good."""
    pair = associated()
    pair.plant.done.clear()
    found = access(pair, get(), put(FIVE), get(HIDDEN), call(FIVE), get(), stops=True)
    assert found == (Outcome(0, SMALL.raw), Outcome(0), Outcome(4), NOT_DONE, NOT_DONE)
    assert [o.service for o in pair.plant.done] == [Service.SET]
    without = access(pair, get(HIDDEN), call(FIVE))
    assert without == (Outcome(4), Outcome(0, FIVE.raw))


def test_break_on_error_at_an_error_of_the_object() -> None:
    pair = associated()
    pair.hold = True
    pair.run(pair.client.request((get(), call(), get(HIDDEN), get()), access=True, stops=True))
    (asked,) = pair.held
    assert asked.stops and len(asked.operations) == 2  # nothing after the element that is refused
    effects = pair.server.respond(asked.token, [Outcome(2), Outcome(0)])
    pair.run(effects, TO_CLIENT)
    (confirmed,) = [e for _, e in pair.events if isinstance(e, Confirmed)]
    assert [o.code for o in confirmed.outcomes] == [2, 0xFA, 0xFA, 0xFA]


def test_selections() -> None:
    pair = associated()
    part = SelectiveAccess(2, FIVE)
    pair.hold = True
    pair.run(pair.client.request((get(selection=part), put(FIVE)._replace(selection=part)), access=True))
    (asked,) = pair.held
    assert [o.selection for o in asked.operations] == [part, part]


def test_not_without_its_conformance_bit() -> None:
    pair = associated(server={"conformance": DEFAULT_CONFORMANCE & ~conformance("access")})
    with pytest.raises(Unsupported, match="access"):
        pair.client.request((get(),), access=True)
    octets = AccessRequest(CONFIRMED, b"", (), ()).encode()
    assert replies(pair.to_meter(protect(pair.client.context, octets, 3, Style.GENERAL_GLO))) == [
        bytes.fromhex("D80102")
    ]
    other = associated(client={"conformance": DEFAULT_CONFORMANCE & ~conformance("selective-access")})
    with pytest.raises(Unsupported, match="selective"):
        other.client.request((get(selection=SelectiveAccess(2, FIVE)),), access=True)


def test_in_a_ciphered_association_not_without_general_protection() -> None:
    services = DEFAULT_CONFORMANCE & ~conformance("general-protection")
    pair = associated(policy=0, server={"conformance": services})
    octets = AccessRequest(CONFIRMED, b"", (), ()).encode()
    assert replies(pair.to_meter(octets)) == [bytes.fromhex("D80102")]
    strict = associated(server={"conformance": services})
    with pytest.raises(Unsupported):
        strict.client.request((get(),), access=True)
    plain = associated(mechanism=0, ciphered=False, server={"conformance": services})
    assert access(plain, get()) == (Outcome(0, SMALL.raw),)


def test_misuse_is_told_before_anything_is_sent() -> None:
    pair = associated()
    before = len(pair.wire)
    with pytest.raises(Misuse):
        pair.client.request((), access=True)
    with pytest.raises(Misuse, match="value"):
        pair.client.request((put(FIVE)._replace(data=None),), access=True)
    assert len(pair.wire) == before


def meter_takes(pair: Pair, request: AccessRequest) -> list[bytes]:
    octets = protect(pair.client.context, request.encode(), 3, Style.GENERAL_GLO)
    return replies(pair.to_meter(octets))


READ_CLOCK = spec.AccessGet(AttributeDescriptor(8, CLOCK, 2))


@pytest.mark.parametrize(
    "request_",
    [
        AccessRequest(CONFIRMED, b"", (READ_CLOCK,), ()),
        AccessRequest(CONFIRMED, b"", (READ_CLOCK,), (NULL, NULL)),
        AccessRequest(CONFIRMED, b"", (), (NULL,)),
        AccessRequest(CONFIRMED, b"", (READ_CLOCK,), (FIVE,)),
    ],
)
def test_B19_lists_that_do_not_fit_are_refused_whole(request_: AccessRequest) -> None:
    pair = associated()
    assert meter_takes(pair, request_) == [bytes.fromhex("D80101")]
    assert pair.view.asked == []


def test_an_unconfirmed_request_is_done_and_not_answered() -> None:
    pair = associated()
    write = spec.AccessSet(AttributeDescriptor(8, CLOCK, 2))
    assert meter_takes(pair, AccessRequest(0, b"", (write,), (FIVE,))) == []
    assert pair.plant.values[CLOCK, 2] == FIVE.raw


def test_an_empty_request_has_an_empty_answer() -> None:
    pair = associated()
    (answer,) = meter_takes(pair, AccessRequest(CONFIRMED | SELF_DESCRIPTIVE, b"", (), ()))
    found = apdu.decode(unprotect(pair.client.context, answer).apdu)
    assert found == AccessResponse(CONFIRMED | SELF_DESCRIPTIVE, b"", (), (), ())


def test_a_long_answer_without_blocks_is_refused() -> None:
    pair = associated(client={"max_pdu": 128})
    pair.plant.values[REGISTER, 2] = octet_string(bytes(200)).raw
    (effect,) = pair.run(pair.client.request((get(),), access=True))
    assert isinstance(effect, Failed)
    assert [type(r.error) for r in pair.refusals] == [TooLarge]


# --- answers that are no answers ----------------------------------------------------------------------


def response(pair: Pair, **changes: Any) -> Any:
    """What the client makes of a changed answer to a read of the clock."""
    effects = pair.client.request((get(CLOCK, 2, 8),), access=True)
    single(effects, object)
    answer = AccessResponse(
        CONFIRMED | pair.client._long_invoke, b"", None, (FIVE,), (spec.AccessGetResult(0),)
    ).replace(**changes)
    return pair.client.receive(sealed(pair, answer.encode(), 3, Style.GENERAL_GLO))[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"long_invoke_id_and_priority": CONFIRMED | 77},
        {"data": ()},
        {"data": (FIVE, FIVE)},
        {"results": ()},
        {"results": (spec.AccessSetResult(0),)},
        {"results": (spec.AccessActionResult(0),)},
        {"specifications": ()},
        {"specifications": (spec.AccessSet(AttributeDescriptor(8, CLOCK, 2)),)},
        {"specifications": (spec.AccessGet(AttributeDescriptor(8, CLOCK, 3)),)},
    ],
    ids=str,
)
def test_B09_an_answer_to_something_else(changes: dict[str, Any]) -> None:
    pair = associated()
    failed = response(pair, **changes)
    assert isinstance(failed, Failed) and isinstance(failed.error, ProtocolViolation | Malformed)
    assert response(pair) == Confirmed((Outcome(0, FIVE.raw),))


def test_B09_short_and_long_invoke_ids_are_not_taken_for_each_other() -> None:
    pair = associated()
    effects = pair.client.request((get(CLOCK, 2, 8),), access=True)
    assert len(effects) == 1
    answer = GetResponseNormal(0xC0 | pair.client._long_invoke & 15, ResultData(FIVE)).encode()
    (failed,) = pair.client.receive(sealed(pair, answer))
    assert isinstance(failed, Failed) and "answers an access" in str(failed.error)


def test_B09_a_late_answer_is_dropped() -> None:
    pair = associated()
    lost = pair.client.request((get(),), access=True)
    (reply,) = replies(lost)
    late = replies(pair.to_meter(reply))
    pair.client.give_up()
    effects = pair.client.request((get(CLOCK, 2, 8),), access=True)
    assert pair.client.receive(late[0]) == []
    (answer,) = replies(pair.to_meter(replies(effects)[0]))
    assert pair.client.receive(answer) == [Confirmed((Outcome(0, SMALL.raw),))]


def test_a_read_whose_value_is_missing_is_an_error_of_the_meter() -> None:
    pair = associated()
    pair.hold = True
    pair.run(pair.client.request((get(),), access=True, stops=True))
    pair.run(pair.server.respond(pair.held[0].token, [Outcome(0)]), TO_CLIENT)
    (confirmed,) = [e for _, e in pair.events if isinstance(e, Confirmed)]
    assert confirmed.outcomes == (Outcome(0xFA),)
    assert not [e for _, e in pair.events if isinstance(e, Refusal)]


def test_selections_of_lists_come_with_their_attributes() -> None:
    """In lists of reads and of writes, whole and in blocks, each attribute has its own."""
    parts = [SelectiveAccess(2, FIVE), None]
    for operations in (
        [get(selection=part) for part in parts],
        [put(FIVE)._replace(selection=part) for part in parts],
        [put(octet_string(bytes(400)))._replace(selection=part) for part in parts],
        [put(octet_string(bytes(400)))._replace(selection=parts[0])],
    ):
        pair = associated(server={"max_pdu": 300})
        pair.hold = True
        pair.run(pair.client.request(operations))
        (asked,) = pair.held
        assert asked.operations == tuple(operations)
