"""Messages as JSON: fields by name, Data as `cosem.present` shows it, OBIS as text, result codes by name.

A code without a name stays a number. Octets are upper-case hex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from meterseal.apdu import acse, common, initiate, services
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
    return {
        name: _field(message, name, value) for (name, _), value in zip(message.parts, message, strict=True)
    }


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
    return _OTHER_MECHANISMS.get(number or 0, name.hex().upper()) if row is None else row.name


_OTHER_MECHANISMS: Final = {7: "ecdsa"}

_SPECIAL: Final[dict[str, Callable[[Any], Shown]]] = {
    "instance_id": lambda octets: str(Obis(octets)),
    "date_time": lambda octets: octets_text(octets, Kind.DATE_TIME) if octets else None,
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
    asked = message.method
    known = interface_class(asked.class_id)
    method = None if known is None else known.method(asked.method_id)
    shape = ANY if method is None else method.shape
    shown = None if message.parameters is None else data(message.parameters, shape)
    return _fields(message) | {"parameters": shown}


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
    initiate.ConfirmedServiceError: _service_error,
}
