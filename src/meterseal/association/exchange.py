"""Exchanges at the meter: service requests become operations, outcomes become responses.

Every request form is a row of `OPENERS` or `CONTINUERS`; normal, list and block forms meet in
one `Exchange`, so rights and protection are checked in one place for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meterseal.apdu import access
from meterseal.apdu import services as s
from meterseal.apdu.common import (
    CONFIRMED,
    AttributeDescriptor,
    DataBlock,
    MethodDescriptor,
    RawBlock,
    ResultCode,
    ResultData,
)
from meterseal.apdu.lists import OutcomeList, ResultList, ValueList
from meterseal.association import accessing
from meterseal.association.blocks import BLOCK_HEADER, Incoming, Outgoing
from meterseal.association.operations import SUCCESS, AnyService, Operation, Outcome, Service, Several
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.errors import Malformed, Misuse, TooLarge
from meterseal.security import Opened, Style
from meterseal.security.layers import Layers
from meterseal.security.third import Third

LONG_GET_ABORTED, NO_LONG_GET, BLOCK_NUMBER_INVALID, NO_LONG_SET = 0x0F, 0x10, 0x13, 0x12
LONG_SET_ABORTED = 0x11


@dataclass(slots=True, eq=False)
class Exchange:
    """One request on its way to its answer, which goes in the same `style` and `layers`.

    `applied` is the protection that every frame of the request carried; `required` what the answer must
    carry.  Where a third party asks, `third` has its layers and `third_required` what the answer must carry
    toward it; the rest is then about the client that carries both.  `outcomes` has a slot per operation,
    filled by refusals and the party.  `plain` is the whole request where it may be remembered, `number` that
    of the changes when it came (repeating.py).
    """

    service: AnyService
    invoke: int
    applied: int
    style: Style
    layers: Layers = ()
    broadcast: bool = False
    third: Third | None = None
    confirmed: bool = True
    listed: bool = False
    operations: list[Operation] = field(default_factory=list)
    outcomes: list[Outcome | None] = field(default_factory=list)
    incoming: Incoming | None = None
    outgoing: Outgoing | None = None
    required: int = 0
    blocks_received: int = 0
    request: access.AccessRequest | None = None
    third_required: int = 0
    plain: bytes = b""
    number: int = 0

    def is_of(self, opened: Opened) -> bool:
        """True for a further message of whoever made the request: the client, or the same third party."""
        mine, other = self.third, opened.third
        return (mine and mine.title) == (other and other.title)

    def go_on_as(self, opened: Opened) -> None:
        """A further message of the request: the next answer goes in its style and layers."""
        self.style, self.layers, self.third = opened.style, opened.layers, opened.third

    @property
    def stops(self) -> bool:
        """True when nothing is to be done after the first error (ACCESS with break-on-error)."""
        return self.request is not None and bool(self.invoke & access.BREAK_ON_ERROR)


NULL_DATA = b"\x00"


def _on_attribute(service: Service, a: AttributeDescriptor, *rest: Any) -> Operation:
    return Operation(service, a.class_id, a.instance_id, a.attribute_id, *rest)


def _on_method(m: MethodDescriptor, data: Data | None = None) -> Operation:
    return Operation(Service.ACTION, m.class_id, m.instance_id, m.method_id, None, data)


def _read(x: Exchange, m: Any) -> None:
    x.operations = [_on_attribute(Service.GET, m.attribute, m.selection)]


def _read_list(x: Exchange, m: Any) -> None:
    x.listed = True
    x.operations = [_on_attribute(Service.GET, a.attribute, a.selection) for a in m.attributes]


def _write(x: Exchange, m: Any) -> None:
    x.operations = [_on_attribute(Service.SET, m.attribute, m.selection, m.data)]


def _write_list(x: Exchange, m: Any) -> None:
    x.listed = True
    _equal(m.attributes, m.values)
    x.operations = [
        _on_attribute(Service.SET, a.attribute, a.selection, v)
        for a, v in zip(m.attributes, m.values, strict=True)
    ]


def _write_first(x: Exchange, m: Any) -> None:
    x.operations = [_on_attribute(Service.SET, m.attribute, m.selection)]


def _write_list_first(x: Exchange, m: Any) -> None:
    x.listed = True
    x.operations = [_on_attribute(Service.SET, a.attribute, a.selection) for a in m.attributes]


def _call(x: Exchange, m: Any) -> None:
    x.operations = [_on_method(m.method, m.parameters)]


def _call_list(x: Exchange, m: Any) -> None:
    x.listed = True
    _equal(m.methods, m.parameters)
    x.operations = [_on_method(a, _parameter(v)) for a, v in zip(m.methods, m.parameters, strict=True)]


def _call_first(x: Exchange, m: Any) -> None:
    x.operations = [_on_method(m.method)]


def _call_list_first(x: Exchange, m: Any) -> None:
    x.listed = True
    x.operations = [_on_method(a) for a in m.methods]


def _access(x: Exchange, m: access.AccessRequest) -> None:
    x.request = m
    x.operations = accessing.operations_of(m)


def _parameter(value: Data) -> Data | None:
    return None if value.raw == NULL_DATA else value


def _equal(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    if len(left) != len(right):
        raise Malformed(f"{len(left)} descriptors but {len(right)} values")


@dataclass(frozen=True, slots=True)
class Opener:
    """A request that starts an exchange; `blocks` ones carry the first piece of long data.

    `wants_answer` is the bit of the invoke-id (a message's first field) that asks for an answer.
    `repeats`: clients ask it time and again, word for word.
    """

    service: AnyService
    fill: Callable[[Exchange, Any], None]
    blocks: bool = False
    wants_answer: int = CONFIRMED
    repeats: bool = False

    def is_confirmed(self, message: Message) -> bool:
        """True when the client wants an answer."""
        return bool(message[0] & self.wants_answer) or self.service is Service.GET


OPENERS: dict[type[Message], Opener] = {
    s.GetRequestNormal: Opener(Service.GET, _read, repeats=True),
    s.GetRequestWithList: Opener(Service.GET, _read_list),
    s.SetRequestNormal: Opener(Service.SET, _write),
    s.SetRequestWithList: Opener(Service.SET, _write_list),
    s.SetRequestWithFirstDatablock: Opener(Service.SET, _write_first, True),
    s.SetRequestWithListAndFirstDatablock: Opener(Service.SET, _write_list_first, True),
    s.ActionRequestNormal: Opener(Service.ACTION, _call),
    s.ActionRequestWithList: Opener(Service.ACTION, _call_list),
    s.ActionRequestWithFirstPblock: Opener(Service.ACTION, _call_first, True),
    s.ActionRequestWithListAndFirstPblock: Opener(Service.ACTION, _call_list_first, True),
    access.AccessRequest: Opener(Several.ACCESS, _access, False, access.CONFIRMED),
}

BLOCK_REQUESTS: dict[type[Message], Service] = {
    s.SetRequestWithDatablock: Service.SET,
    s.ActionRequestWithPblock: Service.ACTION,
}
"""Requests that bring a further block of long data."""

NEXT_REQUESTS: dict[type[Message], Service] = {
    s.GetRequestNext: Service.GET,
    s.ActionRequestNextPblock: Service.ACTION,
}
"""Requests that ask for the next block of a long answer."""

SERVICE_BIT: dict[AnyService, str] = {
    Service.GET: "get",
    Service.SET: "set",
    Service.ACTION: "action",
    Several.ACCESS: "access",
}
BLOCK_BIT: dict[AnyService, str] = {
    Service.GET: "block-transfer-with-get-or-read",
    Service.SET: "block-transfer-with-set-or-write",
    Service.ACTION: "block-transfer-with-action",
}


def take_long_data(x: Exchange, raw: bytes) -> None:
    """Give the joined raw-data of a long SET or ACTION to the operations it belongs to."""
    if x.listed:
        values = ValueList.decode(raw).values
        _equal(tuple(x.operations), values)
    else:
        value, end = Data.read(raw, 0, len(raw))
        if end != len(raw):
            raise Malformed(f"{len(raw) - end} octets after the long value")
        values = (value,)
    for at, (operation, value) in enumerate(zip(x.operations, values, strict=True)):
        data = _parameter(value) if x.service is Service.ACTION else value
        x.operations[at] = operation._replace(data=data)


# --- answers ----------------------------------------------------------------------------------


def _result(outcome: Outcome) -> ResultData | ResultCode:
    if outcome.code == SUCCESS and outcome.data is not None:
        return ResultData(Data(outcome.data, None))
    return ResultCode(outcome.code)


def _action(outcome: Outcome) -> s.ActionResult:
    returned = ResultData(Data(outcome.data, None)) if outcome.data is not None else None
    return s.ActionResult(outcome.code, returned)


def answer(x: Exchange, size: int | None, blocks: bool) -> bytes:
    """The APDU that answers a finished exchange; long ones become the first block when allowed.

    `size` is the largest plain APDU, None without limit.  Raises TooLarge when it cannot be sent.
    """
    outcomes = [o if o is not None else Outcome(0xFA) for o in x.outcomes]
    whole = _ANSWERS[x.service](x, outcomes).encode()
    if size is None or len(whole) <= size:
        return whole
    if (x.service, x.listed) not in _RAW:
        raise TooLarge("the answer is longer than the client takes")
    if not blocks:
        raise TooLarge("the answer is longer than the client takes, and block transfer was not negotiated")
    x.outgoing = Outgoing(_RAW[x.service, x.listed](outcomes), size - BLOCK_HEADER)
    return next_block(x, x.outgoing).encode()


def _get_answer(x: Exchange, outcomes: list[Outcome]) -> Message:
    if x.listed:
        return s.GetResponseWithList(x.invoke, tuple(_result(o) for o in outcomes))
    return s.GetResponseNormal(x.invoke, _result(outcomes[0]))


def _set_answer(x: Exchange, outcomes: list[Outcome]) -> Message:
    codes = tuple(o.code for o in outcomes)
    if x.blocks_received:
        if x.listed:
            return s.SetResponseLastDatablockWithList(x.invoke, codes, x.blocks_received)
        return s.SetResponseLastDatablock(x.invoke, codes[0], x.blocks_received)
    return s.SetResponseWithList(x.invoke, codes) if x.listed else s.SetResponseNormal(x.invoke, codes[0])


def _access_answer(x: Exchange, outcomes: list[Outcome]) -> Message:
    if x.request is None:
        raise Misuse("an answer without a request")
    return accessing.response(x.request, x.operations, outcomes)


def _action_answer(x: Exchange, outcomes: list[Outcome]) -> Message:
    if x.listed:
        return s.ActionResponseWithList(x.invoke, tuple(_action(o) for o in outcomes))
    return s.ActionResponseNormal(x.invoke, _action(outcomes[0]))


_ANSWERS: dict[AnyService, Callable[[Exchange, list[Outcome]], Message]] = {
    Service.GET: _get_answer,
    Service.SET: _set_answer,
    Service.ACTION: _action_answer,
    Several.ACCESS: _access_answer,
}

_RAW: dict[tuple[AnyService, bool], Callable[[list[Outcome]], bytes]] = {
    (Service.GET, False): lambda outcomes: outcomes[0].data or b"",
    (Service.GET, True): lambda outcomes: ResultList(tuple(_result(o) for o in outcomes)).encode(),
    (Service.ACTION, False): lambda outcomes: _action(outcomes[0]).encode(),
    (Service.ACTION, True): lambda outcomes: OutcomeList(tuple(_action(o) for o in outcomes)).encode(),
}


def next_block(x: Exchange, outgoing: Outgoing) -> Message:
    """The response that carries the next block of a long answer."""
    last, number, raw = outgoing.next()
    if x.service is Service.GET:
        return s.GetResponseWithDatablock(x.invoke, last, number, RawBlock(raw))
    return s.ActionResponseWithPblock(x.invoke, DataBlock(last, number, raw))


def block_taken(x: Exchange, number: int) -> Message:
    """The response that asks for the next block of a long request."""
    kind = s.SetResponseDatablock if x.service is Service.SET else s.ActionResponseNextPblock
    return kind(x.invoke, number)


def block_error(service: AnyService, invoke: int, number: int, code: int) -> Message:
    """The response that ends a broken block transfer (more 3)."""
    if service is Service.GET:
        return s.GetResponseWithDatablock(invoke, True, number, ResultCode(code))
    if service is Service.SET:
        return s.SetResponseLastDatablock(invoke, code, number)
    return s.ActionResponseNormal(invoke, s.ActionResult(code, None))


NONE_IN_PROGRESS: dict[AnyService, int] = {
    Service.GET: NO_LONG_GET,
    Service.SET: NO_LONG_SET,
    Service.ACTION: NO_LONG_GET,
}
WRONG_NUMBER: dict[AnyService, int] = {
    Service.GET: BLOCK_NUMBER_INVALID,
    Service.SET: BLOCK_NUMBER_INVALID,
    Service.ACTION: LONG_GET_ABORTED,
}
ABORTED: dict[AnyService, int] = {
    Service.GET: LONG_GET_ABORTED,
    Service.SET: LONG_SET_ABORTED,
    Service.ACTION: LONG_GET_ABORTED,
}
