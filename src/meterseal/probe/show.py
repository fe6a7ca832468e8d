"""Messages as JSON: fields by name, Data as `cosem.present` shows it, OBIS as text, result codes by name.

A code without a name stays a number. Octets are upper-case hex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from meterseal.apdu import access, acse, common, initiate, services, specifications
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.cosem.classes import attribute_shape, interface_class
from meterseal.cosem.obis import Obis
from meterseal.cosem.present import octets_text, present
from meterseal.cosem.shapes import ANY, Kind, Shape
from meterseal.framing.p1 import Telegram
from meterseal.security.hls import MECHANISMS

Shown = Any
"""None, bool, int, float, Decimal, str, or list and dict of these."""


def show(message: Message) -> Shown:
    """A message as an object of its fields."""
    special = _MESSAGES.get(type(message))
    return special(message) if special else _fields(message)


def data(value: Data, shape: Shape = ANY) -> Shown:
    """A Data as `cosem.present` shows it."""
    return present(value.value, value.type, shape)


def telegram(read: Telegram) -> Shown:
    """A P1 telegram: identification, whether a CRC was there and right, and its lines in order."""
    return {
        "identification": read.identification,
        "checked": read.checked,
        "lines": [
            {"reference": reference, "values": [_quantity(value) for value in values]}
            for reference, values in read.lines
        ],
    }


def _quantity(text: str) -> Shown:
    value, star, unit = text.rpartition("*")
    return {"value": value, "unit": unit} if star else {"value": text, "unit": None}


# --- fields -------------------------------------------------------------------------------------


def _fields(message: Message) -> dict[str, Shown]:
    return {name: _field(message, name, value) for name, value in zip(message.fields, message, strict=True)}


def _field(message: Message, name: str, value: Any) -> Shown:
    if value is None:
        return None
    names = _CODES.get((type(message), name)) or _CODES.get((Message, name))
    if names is not None and isinstance(value, int):
        return names.get(value, value)
    if names is not None and isinstance(value, tuple):
        return [names.get(code, code) for code in value]
    special = _SPECIAL.get(name)
    return special(value) if special else _plain(value)


def _plain(value: Any) -> Shown:
    if isinstance(value, Message):
        return show(value)
    if isinstance(value, Data):
        return data(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex().upper()
    return value


_CODES: Final[dict[tuple[type[Message], str], Mapping[int, str]]] = {
    (services.SetResponseNormal, "result"): common.DATA_ACCESS_RESULT,
    (services.SetResponseLastDatablock, "result"): common.DATA_ACCESS_RESULT,
    (services.SetResponseLastDatablockWithList, "results"): common.DATA_ACCESS_RESULT,
    (services.SetResponseWithList, "results"): common.DATA_ACCESS_RESULT,
    (services.ActionResult, "result"): common.ACTION_RESULT,
    (specifications.AccessGetResult, "result"): common.DATA_ACCESS_RESULT,
    (specifications.AccessSetResult, "result"): common.DATA_ACCESS_RESULT,
    (specifications.AccessActionResult, "result"): common.ACTION_RESULT,
    (acse.Aare, "result"): acse.ASSOCIATION_RESULT,
    (acse.Aare, "user_diagnostic"): acse.USER_DIAGNOSTIC,
    (acse.Aare, "provider_diagnostic"): acse.PROVIDER_DIAGNOSTIC,
    (acse.Rlrq, "reason"): {0: "normal", 1: "urgent", 0x1E: "user-defined"},
    (acse.Rlre, "reason"): {0: "normal", 1: "not-finished", 0x1E: "user-defined"},
    (Message, "state_error"): initiate.STATE_ERROR,
    (Message, "service_error"): initiate.SERVICE_ERROR,
}
"""Numbers that have names, by message and field."""

_SERVICES: Final = {1: "initiate", 5: "read", 6: "write"}
_INITIATE_CLASS: Final = 6
_CONTEXTS: Final = {
    1: "logical-names",
    2: "short-names",
    3: "logical-names-with-ciphering",
    4: "short-names-with-ciphering",
}


def _conformance(bits: int) -> Shown:
    return [name for name, bit in initiate.CONFORMANCE_BITS.items() if bits & bit]


def _context(name: bytes) -> Shown:
    number = acse.number_of(name, acse.OID_PREFIX)
    return _CONTEXTS.get(number or 0, name.hex().upper())


def _mechanism(name: bytes) -> Shown:
    number = acse.number_of(name, acse.MECHANISM_PREFIX)
    row = None if number is None else MECHANISMS.get(number)
    return name.hex().upper() if row is None else row.name


def _current_time(octets: bytes) -> Shown:
    """Text (a GeneralizedTime) where it is printable, else as a date-time."""
    text = octets.decode("ascii", "replace")
    return text if octets and text.isascii() and text.isprintable() else _date_time(octets)


def _date_time(octets: bytes) -> Shown:
    return octets_text(octets, Kind.DATE_TIME) if octets else None


_SPECIAL: Final[dict[str, Callable[[Any], Shown]]] = {
    "instance_id": lambda octets: str(Obis(octets)),
    "date_time": _date_time,
    "time": _date_time,
    "current_time": _current_time,
    "variable_name": lambda name: f"{name & 0xFFFF:04X}",
    "proposed_conformance": _conformance,
    "negotiated_conformance": _conformance,
    "application_context_name": _context,
    "mechanism_name": _mechanism,
}
"""Fields that read better than as octets or numbers."""


# --- messages with a form of their own --------------------------------------------------------------


def _result_data(message: Any) -> Shown:
    return {"data": data(message.data)}


def _result_code(message: Any) -> Shown:
    return {"data_access_result": common.DATA_ACCESS_RESULT.get(message.code, message.code)}


def _raw_block(message: Any) -> Shown:
    return {"raw_data": message.octets.hex().upper()}


def _set_request(message: Any) -> Shown:
    """The value written, as its class has it: the request names the attribute."""
    asked = message.attribute
    shown = data(message.data, attribute_shape(asked.class_id, asked.attribute_id))
    return _fields(message) | {"data": shown}


def _action_request(message: Any) -> Shown:
    given = message.parameters
    return _fields(message) | {
        "parameters": None if given is None else data(given, _method_shape(message.method))
    }


def _method_shape(asked: common.MethodDescriptor) -> Shape:
    known = interface_class(asked.class_id)
    method = None if known is None else known.method(asked.method_id)
    return ANY if method is None else method.shape


def _event(message: Any) -> Shown:
    asked = message.attribute
    shown = data(message.value, attribute_shape(asked.class_id, asked.attribute_id))
    return _fields(message) | {"value": shown}


def _access_request(message: Any) -> Shown:
    shapes = iter([_access_shape(asked) for asked in message.specifications])
    return _fields(message) | {"data": [data(value, next(shapes, ANY)) for value in message.data]}


def _access_response(message: Any) -> Shown:
    shapes = iter([_access_shape(asked, answered=True) for asked in message.specifications or ()])
    return _fields(message) | {"data": [data(value, next(shapes, ANY)) for value in message.data]}


def _access_shape(asked: Any, answered: bool = False) -> Shape:
    """The shape of the Data beside a specification; that of what a method returns is not in the tables."""
    if isinstance(asked, specifications.AccessAction):
        return ANY if answered else _method_shape(asked.method)
    return attribute_shape(asked.attribute.class_id, asked.attribute.attribute_id)


def _named(service: str) -> Callable[[Any], Shown]:
    return lambda message: {"service": service} | _fields(message)


def _service_error(message: Any) -> Shown:
    value = message.value
    if message.error_class == _INITIATE_CLASS:
        value = initiate.INITIATE_ERROR.get(value, value)
    service = _SERVICES.get(message.service, message.service)
    error_class = "initiate" if message.error_class == _INITIATE_CLASS else message.error_class
    return {"service": service, "error_class": error_class, "value": value}


_MESSAGES: Final[dict[type[Message], Callable[[Any], Shown]]] = {
    common.ResultData: _result_data,
    common.ResultCode: _result_code,
    common.RawBlock: _raw_block,
    services.SetRequestNormal: _set_request,
    services.ActionRequestNormal: _action_request,
    services.EventNotificationRequest: _event,
    access.AccessRequest: _access_request,
    access.AccessResponse: _access_response,
    specifications.AccessGet: _named("get"),
    specifications.AccessGetWithSelection: _named("get"),
    specifications.AccessGetResult: _named("get"),
    specifications.AccessSet: _named("set"),
    specifications.AccessSetWithSelection: _named("set"),
    specifications.AccessSetResult: _named("set"),
    specifications.AccessAction: _named("action"),
    specifications.AccessActionResult: _named("action"),
    specifications.WriteSuccess: lambda message: common.DATA_ACCESS_RESULT[0],
    initiate.ConfirmedServiceError: _service_error,
}
