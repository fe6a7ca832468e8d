"""One operation in every service form, and the result codes out of any answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meterseal import apdu
from meterseal.apdu import services as s
from meterseal.apdu import specifications
from meterseal.apdu.access import CONFIRMED, AccessRequest, AccessResponse
from meterseal.apdu.common import (
    AttributeDescriptor,
    AttributeWithSelection,
    DataBlock,
    MethodDescriptor,
    RawBlock,
    ResultCode,
    ResultData,
)
from meterseal.apdu.lists import ResultList, ValueList
from meterseal.association import Operation, Service
from meterseal.codec.data import Data
from meterseal.codec.message import Message

INVOKE = 0xC1
NULL = Data(b"\x00", None)


def _attribute(o: Operation) -> AttributeDescriptor:
    return AttributeDescriptor(o.class_id, bytes(o.instance), o.member)


def _method(o: Operation) -> MethodDescriptor:
    return MethodDescriptor(o.class_id, bytes(o.instance), o.member)


def _selected(o: Operation) -> AttributeWithSelection:
    return AttributeWithSelection(_attribute(o), o.selection)


def _value(o: Operation) -> Data:
    return NULL if o.data is None else o.data


def _first(octets: bytes) -> list[DataBlock]:
    """A long parameter in blocks of at most 200 octets."""
    pieces = [octets[at : at + 200] for at in range(0, len(octets), 200)]
    return [DataBlock(at == len(pieces), at, piece) for at, piece in enumerate(pieces, 1)]


def _values(operations: Sequence[Operation]) -> bytes:
    return ValueList(tuple(_value(o) for o in operations)).encode()


def get_normal(ops: Sequence[Operation]) -> list[Message]:
    (o,) = ops
    return [s.GetRequestNormal(INVOKE, _attribute(o), o.selection)]


def get_list(ops: Sequence[Operation]) -> list[Message]:
    return [s.GetRequestWithList(INVOKE, tuple(map(_selected, ops)))]


def set_normal(ops: Sequence[Operation]) -> list[Message]:
    (o,) = ops
    return [s.SetRequestNormal(INVOKE, _attribute(o), o.selection, _value(o))]


def set_list(ops: Sequence[Operation]) -> list[Message]:
    return [s.SetRequestWithList(INVOKE, tuple(map(_selected, ops)), tuple(map(_value, ops)))]


def set_blocks(ops: Sequence[Operation]) -> list[Message]:
    (o,) = ops
    first, *rest = _first(_value(o).raw)
    return [
        s.SetRequestWithFirstDatablock(INVOKE, _attribute(o), o.selection, first),
        *(s.SetRequestWithDatablock(INVOKE, block) for block in rest),
    ]


def set_list_blocks(ops: Sequence[Operation]) -> list[Message]:
    first, *rest = _first(_values(ops))
    return [
        s.SetRequestWithListAndFirstDatablock(INVOKE, tuple(map(_selected, ops)), first),
        *(s.SetRequestWithDatablock(INVOKE, block) for block in rest),
    ]


def action_normal(ops: Sequence[Operation]) -> list[Message]:
    (o,) = ops
    return [s.ActionRequestNormal(INVOKE, _method(o), o.data)]


def action_list(ops: Sequence[Operation]) -> list[Message]:
    return [s.ActionRequestWithList(INVOKE, tuple(map(_method, ops)), tuple(map(_value, ops)))]


def action_blocks(ops: Sequence[Operation]) -> list[Message]:
    (o,) = ops
    first, *rest = _first(_value(o).raw)
    return [
        s.ActionRequestWithFirstPblock(INVOKE, _method(o), first),
        *(s.ActionRequestWithPblock(INVOKE, block) for block in rest),
    ]


def action_list_blocks(ops: Sequence[Operation]) -> list[Message]:
    first, *rest = _first(_values(ops))
    return [
        s.ActionRequestWithListAndFirstPblock(INVOKE, tuple(map(_method, ops)), first),
        *(s.ActionRequestWithPblock(INVOKE, block) for block in rest),
    ]


def access(ops: Sequence[Operation], invoke: int = CONFIRMED | 7) -> list[Message]:
    """ACCESS, which takes operations of all services in any mixture."""
    data = tuple(NULL if o.service is Service.GET else _value(o) for o in ops)
    return [AccessRequest(invoke, b"", tuple(map(_specification, ops)), data)]


def _specification(o: Operation) -> Any:
    if o.service is Service.ACTION:
        return specifications.AccessAction(_method(o))
    if o.selection is not None:
        return _SELECTED[o.service](_attribute(o), o.selection)
    return _WHOLE[o.service](_attribute(o))


_WHOLE: dict[Service, Any] = {
    Service.GET: specifications.AccessGet,
    Service.SET: specifications.AccessSet,
}
_SELECTED: dict[Service, Any] = {
    Service.GET: specifications.AccessGetWithSelection,
    Service.SET: specifications.AccessSetWithSelection,
}

Form = Callable[[Sequence[Operation]], list[Message]]

ONE: dict[Service, tuple[Form, ...]] = {
    Service.GET: (get_normal, get_list),
    Service.SET: (set_normal, set_list, set_blocks, set_list_blocks),
    Service.ACTION: (action_normal, action_list, action_blocks, action_list_blocks),
}
"""Every form that takes one operation."""

MANY: dict[Service, tuple[Form, ...]] = {
    Service.GET: (get_list,),
    Service.SET: (set_list, set_list_blocks),
    Service.ACTION: (action_list, action_list_blocks),
}
"""Every form that takes a list."""


def codes(plain: bytes, joined: bytes = b"") -> list[int] | None:
    """The result codes of an answer; None where it asks for more or says that more follows."""
    m: Any = apdu.decode(plain)
    match m:
        case s.GetResponseNormal():
            return [_code(m.result)]
        case s.GetResponseWithList():
            return [_code(result) for result in m.results]
        case s.GetResponseWithDatablock():
            return [m.result.code] if isinstance(m.result, ResultCode) else None
        case s.SetResponseNormal() | s.SetResponseLastDatablock():
            return [m.result]
        case s.SetResponseWithList() | s.SetResponseLastDatablockWithList():
            return list(m.results)
        case s.ActionResponseNormal():
            return [m.outcome.result]
        case s.ActionResponseWithList():
            return [outcome.result for outcome in m.outcomes]
        case s.SetResponseDatablock() | s.ActionResponseNextPblock():
            return None
        case AccessResponse():
            return [one.result for one in m.results]
    raise AssertionError(f"{m.name} is no answer")


def list_codes(raw: bytes) -> list[int]:
    """The result codes in the joined blocks of a long GET with-list answer."""
    return [_code(result) for result in ResultList.decode(raw).results]


def block_of(plain: bytes) -> tuple[bool, int, bytes] | None:
    """Last, number and octets of a block of a long GET answer."""
    m: Any = apdu.decode(plain)
    if isinstance(m, s.GetResponseWithDatablock) and isinstance(m.result, RawBlock):
        return m.last_block, m.block_number, m.result.octets
    return None


def next_block(number: int) -> bytes:
    return s.GetRequestNext(INVOKE, number).encode()


def _code(result: ResultData | ResultCode) -> int:
    return result.code if isinstance(result, ResultCode) else 0
