"""ACCESS: its elements as operations and back, for both ends (acse-xdlms 5.1).

Rights, protection and blocks know operations only, so what they decide holds for ACCESS as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meterseal.apdu import specifications as spec
from meterseal.apdu.access import (
    BREAK_ON_ERROR,
    CONFIRMED,
    HIGH_PRIORITY,
    INVOKE_ID,
    SELF_DESCRIPTIVE,
    AccessRequest,
    AccessResponse,
)
from meterseal.apdu.common import SHORT_INVOKE_ID, AttributeDescriptor, MethodDescriptor
from meterseal.apdu.initiate import CONFORMANCE_BITS
from meterseal.association.operations import OTHER_REASON, SUCCESS, Operation, Outcome, Service
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.errors import Malformed, Misuse, ProtocolViolation, Unsupported
from meterseal.security.sealed import Sealed

NULL = Data(b"\x00", None)

# --- at the meter -------------------------------------------------------------------------------


def operations_of(request: AccessRequest) -> list[Operation]:
    """The operations that a request asks for.  Raises Malformed when lists do not fit each other."""
    if len(request.specifications) != len(request.data):
        raise Malformed(f"{len(request.specifications)} specifications but {len(request.data)} data")
    return [_operation(asked, data) for asked, data in zip(request.specifications, request.data, strict=True)]


def _operation(asked: Any, data: Data) -> Operation:
    empty = data.raw == NULL.raw
    if isinstance(asked, spec.AccessAction):
        m = asked.method
        return Operation(
            Service.ACTION, m.class_id, m.instance_id, m.method_id, None, None if empty else data
        )
    service = _SERVICE[type(asked)]
    if service is Service.GET and not empty:
        raise Malformed("a read with a value")
    a, selection = asked.attribute, getattr(asked, "selection", None)
    written = data if service is Service.SET else None
    return Operation(service, a.class_id, a.instance_id, a.attribute_id, selection, written)


_SERVICE: dict[type[Message], Service] = {
    spec.AccessGet: Service.GET,
    spec.AccessGetWithSelection: Service.GET,
    spec.AccessSet: Service.SET,
    spec.AccessSetWithSelection: Service.SET,
}


def stop_after_error(outcomes: list[Outcome | None]) -> None:
    """With break-on-error nothing is done after the first element that fails; None is not known yet."""
    first = next((at for at, o in enumerate(outcomes) if o is not None and o.code), len(outcomes))
    outcomes[first + 1 :] = [NOT_DONE] * len(outcomes[first + 1 :])


NOT_DONE = Outcome(OTHER_REASON)
"""The outcome of an element that was left out after an error."""


def response(request: AccessRequest, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> Message:
    """The answer: one Data and one result per element."""
    described = request.long_invoke_id_and_priority & SELF_DESCRIPTIVE
    return AccessResponse(
        request.long_invoke_id_and_priority,
        b"",
        request.specifications if described else None,
        tuple(NULL if o.data is None or o.code else Data(o.data, None) for o in outcomes),
        tuple(_RESULT[asked.service](_code(asked, o)) for asked, o in zip(operations, outcomes, strict=True)),
    )


def _code(asked: Operation, outcome: Outcome) -> int:
    # A read that succeeds has a value; one without is none.
    missing = asked.service is Service.GET and outcome.code == SUCCESS and outcome.data is None
    return OTHER_REASON if missing else outcome.code


_RESULT: dict[Service, Any] = {
    Service.GET: spec.AccessGetResult,
    Service.SET: spec.AccessSetResult,
    Service.ACTION: spec.AccessActionResult,
}

# --- at the client ------------------------------------------------------------------------------


class AskingAccess:
    """An ACCESS request of any operations, whole: it has no blocks of its own.

    `invoke` is the long invoke-id (24 bits).  Raises Misuse for nothing, and for a write without a value;
    Unsupported for what was not negotiated.
    """

    def __init__(
        self,
        operations: tuple[Operation, ...],
        invoke: int,
        negotiated: int,
        *,
        stops: bool = False,
        described: bool = False,
    ) -> None:
        if not operations:
            raise Misuse("nothing is asked for")
        if any(o.service is Service.SET and o.data is None for o in operations):
            raise Misuse("a write without a value")
        for needed in ("access", *("selective-access" for o in operations if o.selection is not None)):
            if not negotiated & CONFORMANCE_BITS[needed]:
                raise Unsupported(f"the association was not negotiated with {needed}")
        bits = CONFIRMED | HIGH_PRIORITY | stops * BREAK_ON_ERROR | described * SELF_DESCRIPTIVE
        self.operations = operations
        self.identity: int | bytes = LONG | invoke
        self._request = AccessRequest(
            bits | invoke,
            b"",
            tuple(map(_specification, operations)),
            tuple(o.data or NULL for o in operations),
        )

    def first(self) -> bytes:
        """The APDU of the request."""
        return self._request.encode()

    def take(self, message: Any) -> tuple[Outcome, ...]:
        """One outcome per operation.  Raises ProtocolViolation for an answer to something else."""
        if not isinstance(message, AccessResponse):
            raise ProtocolViolation(f"a {message.name} answers an access")
        if identity(message) != self.identity:
            raise ProtocolViolation("the answer carries another long invoke-id than the request")
        return _outcomes(message, self._request.specifications)


LONG = 1 << 24
"""Sets long invoke-ids apart from the short ones of the other services."""


def identity(message: Any) -> int | bytes:
    """By what an answer is known: its invoke-id, short or long; its transaction-id where it is sealed."""
    if isinstance(message, Sealed):
        return message.transaction_id
    first: int = message[0]
    return LONG | first & INVOKE_ID if isinstance(message, AccessResponse) else first & SHORT_INVOKE_ID


def _specification(o: Operation) -> Any:
    if o.service is Service.ACTION:
        return spec.AccessAction(MethodDescriptor(o.class_id, o.instance, o.member))
    attribute = AttributeDescriptor(o.class_id, o.instance, o.member)
    plain, selected = _SPECIFICATION[o.service]
    return plain(attribute) if o.selection is None else selected(attribute, o.selection)


_SPECIFICATION: dict[Service, tuple[Any, Any]] = {
    Service.GET: (spec.AccessGet, spec.AccessGetWithSelection),
    Service.SET: (spec.AccessSet, spec.AccessSetWithSelection),
}


def _outcomes(answer: AccessResponse, wanted: tuple[Any, ...]) -> tuple[Outcome, ...]:
    if answer.specifications not in (None, wanted):
        raise ProtocolViolation("the answer repeats other specifications than those of the request")
    if not len(answer.data) == len(answer.results) == len(wanted):
        raise ProtocolViolation(
            f"{len(answer.data)} data and {len(answer.results)} results for {len(wanted)} elements"
        )
    kinds = [_RESULT[_SERVICE.get(type(one), Service.ACTION)] for one in wanted]
    if [type(result) for result in answer.results] != kinds:
        raise ProtocolViolation("a result of another service than its element's")
    return tuple(_outcome(result, data) for result, data in zip(answer.results, answer.data, strict=True))


def _outcome(result: Any, data: Data) -> Outcome:
    if isinstance(result, spec.AccessGetResult):
        return Outcome(result.result, None if result.result else data.raw)
    return Outcome(result.result, None if data.raw == NULL.raw else data.raw)
