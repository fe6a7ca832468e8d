"""Asking: one request of the client from its first block to its last answer.

Knows the request and response forms of the three services and nothing of keys; every answer is
held against service, form, invoke-id and block number.
"""

from __future__ import annotations

from typing import Any

from meterseal.apdu import services as s
from meterseal.apdu.common import (
    ACTION_RESULT,
    DATA_ACCESS_RESULT,
    SHORT_INVOKE_ID,
    AttributeDescriptor,
    AttributeWithSelection,
    DataBlock,
    MethodDescriptor,
    ResultCode,
    ResultData,
)
from meterseal.apdu.initiate import (
    CONFORMANCE_BITS,
    SERVICE_ERROR,
    ConfirmedServiceError,
    CounterErrorResponse,
)
from meterseal.apdu.lists import OutcomeList, ResultList, ReturnParameters, ValueList
from meterseal.association.blocks import BLOCK_HEADER, Incoming, Outgoing
from meterseal.association.exchange import BLOCK_BIT, SERVICE_BIT
from meterseal.association.operations import SUCCESS, Operation, Outcome, Service
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.errors import Misuse, ProtocolViolation, Refused, TooLarge, Unsupported

_NULL = Data(b"\x00", None)
_NEEDED = {service: CONFORMANCE_BITS[name] for service, name in SERVICE_BIT.items()}


class Asking:
    """A request of one or several operations of the same service.

    `room` is the largest plain APDU the meter takes (None: any), `limit` the most octets of a
    long answer that are kept.
    """

    __slots__ = (
        "_incoming",
        "_limit",
        "_negotiated",
        "_options",
        "_outgoing",
        "_room",
        "identity",
        "invoke",
        "listed",
        "operations",
        "service",
    )

    def __init__(
        self,
        operations: tuple[Operation, ...],
        invoke: int,
        negotiated: int,
        room: int | None,
        limit: int,
        options: frozenset[str] = frozenset(),
    ) -> None:
        if not operations:
            raise Misuse("nothing is asked for")
        self.service = operations[0].service
        self.operations, self.invoke, self._room = operations, invoke, room
        self.identity: int | bytes = invoke & SHORT_INVOKE_ID
        self.listed = len(operations) > 1
        if self.listed and any(o.service is not self.service for o in operations):
            raise Misuse("one request has one service")
        self._limit = limit
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        self._negotiated, self._options = negotiated, options
        if not negotiated & _NEEDED[self.service]:
            self._need(SERVICE_BIT[self.service])
        if self.listed:
            self._need("multiple-references")
        for operation in operations:
            if operation.selection is not None:
                self._need("selective-access")

    def _need(self, service: str) -> None:
        if not self._negotiated & CONFORMANCE_BITS[service]:
            raise Unsupported(f"the association was not negotiated with {service}")

    # --- requests ---------------------------------------------------------------------------

    def first(self) -> bytes:
        """The APDU that starts the request."""
        whole: bytes = _WHOLE[self.service, self.listed](self.invoke, self.operations).encode()
        if self._room is None or len(whole) <= self._room:
            return whole
        if self.service is Service.GET:
            raise TooLarge(f"the request is longer than the {self._room} octets that the meter takes")
        self._need(BLOCK_BIT[self.service])
        raw = _RAW[self.listed](self.operations)
        form = _FIRST[self.service, self.listed]
        head = len(form(self.invoke, self.operations, DataBlock(False, 0, b"")).encode())
        self._outgoing = Outgoing(raw, self._room - max(head, BLOCK_HEADER) - 5)
        first: bytes = form(self.invoke, self.operations, self._outgoing.next()).encode()
        return first

    # --- answers ----------------------------------------------------------------------------

    def take(self, message: Any) -> tuple[Outcome, ...] | Message:
        """The outcomes when the answer is whole, else the next APDU to send.

        Raises ProtocolViolation for an answer to something else, Malformed and TooLarge for
        broken blocks, Refused when the meter ends a block transfer.
        """
        handler = _TAKERS.get(type(message))
        if handler is None or handler[0] is not self.service:
            raise ProtocolViolation(f"a {message.name} answers a {SERVICE_BIT[self.service]}")
        if message[0] & SHORT_INVOKE_ID != self.identity:
            raise ProtocolViolation("the answer carries another invoke-id than the request")
        answer: tuple[Outcome, ...] | Message = handler[1](self, message)
        if not isinstance(answer, Message) and len(answer) != len(self.operations):
            raise ProtocolViolation(f"{len(answer)} results for {len(self.operations)} operations")
        return answer

    def _single(self, listed: bool) -> None:
        if self.listed is not listed:
            raise ProtocolViolation("a single answer to a list, or a list to a single request")

    def _got(self, m: s.GetResponseNormal) -> tuple[Outcome, ...]:
        if isinstance(m.result, ResultCode):
            # Also ends a list or a long answer that the meter cannot go on with.
            return tuple(Outcome(m.result.code or 0xFA) for _ in self.operations)
        self._single(False)
        return (_outcome(m.result),)

    def _got_list(self, m: s.GetResponseWithList) -> tuple[Outcome, ...]:
        self._single(True)
        return tuple(_outcome(r) for r in m.results)

    def _got_block(self, m: s.GetResponseWithDatablock) -> tuple[Outcome, ...] | Message:
        if isinstance(m.result, ResultCode):
            return tuple(Outcome(m.result.code or 0xFA) for _ in self.operations)
        raw = self._join(DataBlock(m.last_block, m.block_number, m.result.octets))
        if raw is None:
            return s.GetRequestNext(self.invoke, m.block_number)
        if self.listed:
            return tuple(_outcome(r) for r in ResultList.decode(raw).results)
        Data.decode(raw)
        return (Outcome(SUCCESS, raw),)

    def _set(self, m: s.SetResponseNormal) -> tuple[Outcome, ...]:
        self._single(False)
        self._all_sent()
        return (Outcome(m.result),)

    def _set_list(self, m: s.SetResponseWithList) -> tuple[Outcome, ...]:
        self._single(True)
        self._all_sent()
        return tuple(Outcome(code) for code in m.results)

    def _set_last(self, m: s.SetResponseLastDatablock) -> tuple[Outcome, ...]:
        self._in_blocks()
        if m.result == SUCCESS:
            self._single(False)
            self._all_sent()
        return tuple(Outcome(m.result) for _ in self.operations)

    def _set_last_list(self, m: s.SetResponseLastDatablockWithList) -> tuple[Outcome, ...]:
        self._in_blocks()
        self._single(True)
        self._all_sent()
        return tuple(Outcome(code) for code in m.results)

    def _next_piece(self, m: Any) -> Message:
        if self._outgoing is None or self._outgoing.done or m.block_number != self._outgoing.number:
            raise ProtocolViolation(
                f"the meter acknowledges block {m.block_number}, which was not the last one sent"
            )
        form = s.SetRequestWithDatablock if self.service is Service.SET else s.ActionRequestWithPblock
        return form(self.invoke, self._outgoing.next())

    def _done(self, m: s.ActionResponseNormal) -> tuple[Outcome, ...]:
        if m.outcome.result == SUCCESS:
            self._single(False)
            self._all_sent()
        return (_action_outcome(m.outcome),) * len(self.operations)

    def _done_list(self, m: s.ActionResponseWithList) -> tuple[Outcome, ...]:
        self._single(True)
        self._all_sent()
        return tuple(_action_outcome(o) for o in m.outcomes)

    def _done_block(self, m: s.ActionResponseWithPblock) -> tuple[Outcome, ...] | Message:
        self._all_sent()
        raw = self._join(m.block)
        if raw is None:
            return s.ActionRequestNextPblock(self.invoke, m.block.block_number)
        if self.listed:
            return tuple(_action_outcome(o) for o in OutcomeList.decode(raw).outcomes)
        return (_LONG_ANSWER[next((o for o in _LONG_ANSWER if o in self._options), "")](raw),)

    def _join(self, block: DataBlock) -> bytes | None:
        if self._incoming is None:
            self._incoming = Incoming(self._limit)
        return self._incoming.take(block)

    def _in_blocks(self) -> None:
        if self._outgoing is None:
            raise ProtocolViolation("the meter answers a block transfer that there was not")

    def _all_sent(self) -> None:
        if self._outgoing is not None and not self._outgoing.done:
            raise ProtocolViolation("the meter answers before it has everything")


def refused(service: Service, code: int, authenticated: bool = True) -> Refused:
    """The error for a result code of a service."""
    action = service is Service.ACTION
    names = ACTION_RESULT if action else DATA_ACCESS_RESULT
    reason = names.get(code, f"result {code}")
    source = "action-result" if action else "data-access-result"
    return Refused(
        f"the meter answers {reason}",
        reason=reason,
        code=code,
        source=source,
        authenticated=authenticated,
    )


def error_answer(message: Any, trusted: bool) -> Refused:
    """The error for an exception-response or a confirmed-service-error; a hint unless it is `trusted`."""
    if isinstance(message, ConfirmedServiceError):
        code, source = message.value, "confirmed-service-error"
        reason = f"class {message.error_class} value {code}"
    else:
        code, source = message.service_error, "exception-response"
        reason = SERVICE_ERROR.get(code, f"service error {code}")
        if isinstance(message, CounterErrorResponse):
            reason += f", lowest acceptable {message.lowest_acceptable}"
    note = "" if trusted else " (unprotected, so only a hint)"
    return Refused(
        f"the meter answers {reason}{note}",
        reason=reason,
        code=code,
        source=source,
        authenticated=trusted,
    )


def _outcome(result: ResultData | ResultCode) -> Outcome:
    if isinstance(result, ResultData):
        return Outcome(SUCCESS, result.data.raw)
    # A success code where data belongs is no data.
    return Outcome(result.code or 0xFA)


def _action_outcome(result: s.ActionResult) -> Outcome:
    returned = result.returned
    if isinstance(returned, ResultCode) and result.result == SUCCESS and returned.code != SUCCESS:
        return Outcome(returned.code)
    return Outcome(result.result, returned.data.raw if isinstance(returned, ResultData) else None)


def _bare_data(raw: bytes) -> Outcome:
    Data.decode(raw)
    return Outcome(SUCCESS, raw)


_LONG_ANSWER: dict[str, Any] = {
    "long_action_result_only": lambda raw: _outcome(ReturnParameters.decode(raw).returned),
    "long_action_bare_data": _bare_data,
    "": lambda raw: _action_outcome(s.ActionResult.decode(raw)),
}
"""By peer option, how the joined raw-data of a long ACTION answer are read (more 3)."""


def _attribute(o: Operation) -> AttributeDescriptor:
    return AttributeDescriptor(o.class_id, o.instance, o.member)


def _selected(o: Operation) -> AttributeWithSelection:
    return AttributeWithSelection(_attribute(o), o.selection)


def _method(o: Operation) -> MethodDescriptor:
    return MethodDescriptor(o.class_id, o.instance, o.member)


def _value(o: Operation) -> Data:
    if o.data is None:
        raise Misuse("a write without a value")
    return o.data


_WHOLE: dict[tuple[Service, bool], Any] = {
    (Service.GET, False): lambda i, o: s.GetRequestNormal(i, _attribute(o[0]), o[0].selection),
    (Service.GET, True): lambda i, o: s.GetRequestWithList(i, tuple(map(_selected, o))),
    (Service.SET, False): lambda i, o: s.SetRequestNormal(i, _attribute(o[0]), o[0].selection, _value(o[0])),
    (Service.SET, True): lambda i, o: s.SetRequestWithList(
        i, tuple(map(_selected, o)), tuple(map(_value, o))
    ),
    (Service.ACTION, False): lambda i, o: s.ActionRequestNormal(i, _method(o[0]), o[0].data),
    (Service.ACTION, True): lambda i, o: s.ActionRequestWithList(
        i, tuple(map(_method, o)), tuple(x.data or _NULL for x in o)
    ),
}
_FIRST: dict[tuple[Service, bool], Any] = {
    (Service.SET, False): lambda i, o, b: s.SetRequestWithFirstDatablock(
        i, _attribute(o[0]), o[0].selection, b
    ),
    (Service.SET, True): lambda i, o, b: s.SetRequestWithListAndFirstDatablock(
        i, tuple(map(_selected, o)), b
    ),
    (Service.ACTION, False): lambda i, o, b: s.ActionRequestWithFirstPblock(i, _method(o[0]), b),
    (Service.ACTION, True): lambda i, o, b: s.ActionRequestWithListAndFirstPblock(
        i, tuple(map(_method, o)), b
    ),
}
_RAW: dict[bool, Any] = {
    False: lambda o: (o[0].data or _NULL).raw,
    True: lambda o: ValueList(tuple(x.data or _NULL for x in o)).encode(),
}
_TAKERS: dict[type[Message], tuple[Service, Any]] = {
    s.GetResponseNormal: (Service.GET, Asking._got),
    s.GetResponseWithList: (Service.GET, Asking._got_list),
    s.GetResponseWithDatablock: (Service.GET, Asking._got_block),
    s.SetResponseNormal: (Service.SET, Asking._set),
    s.SetResponseWithList: (Service.SET, Asking._set_list),
    s.SetResponseDatablock: (Service.SET, Asking._next_piece),
    s.SetResponseLastDatablock: (Service.SET, Asking._set_last),
    s.SetResponseLastDatablockWithList: (Service.SET, Asking._set_last_list),
    s.ActionResponseNormal: (Service.ACTION, Asking._done),
    s.ActionResponseWithList: (Service.ACTION, Asking._done_list),
    s.ActionResponseWithPblock: (Service.ACTION, Asking._done_block),
    s.ActionResponseNextPblock: (Service.ACTION, Asking._next_piece),
}
BLOCK_RESPONSES = frozenset(
    (
        s.GetResponseWithDatablock,
        s.SetResponseDatablock,
        s.SetResponseLastDatablock,
        s.SetResponseLastDatablockWithList,
        s.ActionResponseWithPblock,
        s.ActionResponseNextPblock,
    )
)
"""Responses of service-specific block transfer."""
