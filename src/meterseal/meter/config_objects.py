"""The tables `[[objects]]` of a configuration: which keys a class has, and what they come to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from meterseal.codec import data
from meterseal.codec.types import Array, MixedArray, Structure, Tag, Type
from meterseal.cosem.classes import interface_class
from meterseal.cosem.enter import from_plain, from_text
from meterseal.cosem.obis import Obis, parse_object
from meterseal.cosem.shapes import Leaf, shape
from meterseal.cosem.times import DateTime
from meterseal.errors import MetersealError, Misuse
from meterseal.meter.events import LOGS
from meterseal.meter.fields import OBJECT
from meterseal.meter.objects import Value
from meterseal.meter.orders import HDLC
from meterseal.meter.plan import ObjectPlan
from meterseal.meter.push_protection import PUSH_KEYS
from meterseal.meter.readers import Place, read_table
from meterseal.meter.scripts import EXECUTE, WRITE
from meterseal.net import parse as parse_url
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.parameters import Element, elements_value
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, SIGNED

_SET_UP: Final = ("attributes", "writable")

_BY_CLASS: Final[dict[int, tuple[str, ...]]] = {
    1: ("type", "value", "source", "writable"),
    3: ("type", "value", "source", "writable", "scaler", "unit"),
    4: ("type", "value", "source", "writable", "scaler", "unit"),
    5: ("source", "period", "periods", "scaler", "unit"),
    7: ("columns", "capture_period", "entries", "events"),
    8: (),
    9: ("scripts", "writable"),
    18: ("block_size", "largest"),
    20: _SET_UP,
    22: _SET_UP,
    23: _SET_UP,
    30: ("required_protection",),
    40: (
        "version",
        "role",
        "push",
        "destination",
        "blocks",
        "interval",
        "windows",
        "randomisation",
        "retries",
        "repetition_delay",
        "confirmed",
        "layers",
        "signed",
        "recipient",
        "writable",
    ),
    41: _SET_UP,
    42: _SET_UP,
    70: ("control_mode",),
    71: _SET_UP,
}

_COMPUTED: Final = {71: (3, 10)}
"""Attributes that the object itself works out."""


def read_object(table: Any, place: Place) -> ObjectPlan:
    """One object.  Raises ConfigurationError."""
    values = read_table(table, OBJECT, place, "class", "obis")
    class_id = values.pop("class")
    place = place.inside(f"{place.table}: {class_id}/{values['obis']}")
    known = _BY_CLASS.get(class_id)
    if known is None:
        raise place.error(
            f"objects of class {class_id} are not made here; of {', '.join(map(str, _BY_CLASS))} are"
        )
    for key in values:
        if key not in (*known, "obis", "logical_device"):
            raise place.error(f"not for class {class_id}", key)
    for key, read in _READERS.items():
        if key in known:
            values = read(class_id, values, place)
    return ObjectPlan(class_id=class_id, **{"logical_device": 1, **values})


def _fitting(value: Value) -> Value:
    """The value, which its type has room for: otherwise the first read of it would fail.  Raises Misuse."""
    data.encode(*value)
    return value


def _valued(class_id: int, values: dict[str, Any], place: Place) -> dict[str, Any]:
    """Where the value comes from: a source, or a type and a value."""
    leaf: Leaf | None = values.pop("type", None)
    if "source" in values:
        if leaf is not None or "value" in values or values.get("writable"):
            raise place.error("stands alone: no type, no value, not writable", "source")
        return values
    if leaf is None or "value" not in values:
        raise place.error("type and value are wanted, or source", "value" if leaf is not None else "type")
    try:
        value, type_ = _fitting(from_plain(values["value"], leaf))
    except MetersealError as error:
        raise place.error(str(error), "value") from None
    return {**values, "value": value, "type": type_}


def _demand(class_id: int, values: dict[str, Any], place: Place) -> dict[str, Any]:
    if not str(values.get("source", "")).startswith("energy-"):
        raise place.error("an energy of the plant is wanted: energy-import, energy-export", "source")
    return values


def _profile(class_id: int, values: dict[str, Any], place: Place) -> dict[str, Any]:
    """A load profile, or an event log: true is the security log."""
    if "columns" not in values:
        raise place.error("missing", "columns")
    events = values.pop("events", False)
    if not events:
        return values
    if len(values["columns"]) != 1 or "capture_period" in values:
        raise place.error("an event log has one column, the code, and no capture period", "events")
    return {**values, "log": LOGS["security" if events is True else events]}


# --- scripts ------------------------------------------------------------------------------------

_NUMBER: Final = re.compile(r"[0-9]{1,5}")
_ACTION: Final = re.compile(r"(?P<member>[^=()]+?)\s*(?:=\s*(?P<value>.+)|\((?P<parameter>[^()]*)\))")


def _scripts(class_id: int, values: dict[str, Any], place: Place) -> dict[str, Any]:
    if "scripts" not in values:
        raise place.error("missing", "scripts")
    scripts = []
    for text, actions in values.pop("scripts").items():
        if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= 0xFFFF:
            raise place.error(f"{text[:20]!r} is no number from 1 to 65535", "scripts")
        try:
            made = [_fitting(_action(action)) for action in actions]
        except MetersealError as error:
            raise place.error(str(error), f"scripts {text}") from None
        scripts.append(((int(text), [a for a, _ in made]), _numbered(Tag.LONG_UNSIGNED, made)))
    value = [script for script, _ in scripts], _array([type_ for _, type_ in scripts])
    return {**values, "attributes": {2: value}}


def _numbered(tag: Tag, made: list[Value]) -> Structure:
    return Structure((tag, _array([type_ for _, type_ in made])))


def _array(types: list[Type]) -> Type:
    return Array(types[0]) if types and len(set(types)) == 1 else MixedArray(tuple(types))


_HEAD: Final = (Tag.ENUM, Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER)


def _action(text: Any) -> Value:
    """`1/0.0.96.14.0.255:2 = u8:1`, `70/0.0.96.3.10.255:1()`.  Raises Misuse."""
    found = _ACTION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Misuse(f"{text!r}: write CLASS/OBIS:ATTRIBUTE = TYPE:VALUE or CLASS/OBIS:METHOD()")
    address = parse_object(found["member"])
    if address.class_id is None:
        raise Misuse(f"{text!r} names no class")
    service, given = (WRITE, found["value"]) if found["value"] else (EXECUTE, found["parameter"])
    value, type_ = from_text(given) if given else (0, Tag.INTEGER)
    return (service, address.class_id, address.obis, address.member, value), Structure((*_HEAD, type_))


# --- attributes ---------------------------------------------------------------------------------


def _attributes(class_id: int, values: dict[str, Any], place: Place) -> dict[str, Any]:
    """All attributes of a class that is its attributes, by name."""
    table = interface_class(class_id)
    given = values.get("attributes", {})
    if table is None or not isinstance(given, Mapping):
        raise place.error("a table is wanted", "attributes")
    wanted = {
        known.name: known
        for index, known in table.attributes.items()
        if index > 1 and index not in _COMPUTED.get(class_id, ())
    }
    if unknown := set(given) - set(wanted):
        raise place.error(f"unknown; known are {', '.join(wanted)}", f"attributes {min(unknown)[:40]!r}")
    if missing := set(wanted) - set(given):
        raise place.error("missing", f"attributes {min(missing)}")
    found = {}
    for name, known in wanted.items():
        try:
            found[known.index] = _fitting(from_plain(given[name], known.shape))
        except MetersealError as error:
            raise place.error(str(error), f"attributes {name}") from None
    return {**values, "attributes": found, "version": table.version}


# --- push setup ---------------------------------------------------------------------------------

_TRANSPORTS: Final = {"tcp": 0, "udp": 1}
_DELAY: Final = (5, 200, 300)
_NOWHERE: Final = [0, "", 0]
_NEVER_AGAIN: Final[Value] = (
    (DateTime().to_octets(), 0),
    Structure((Tag.DATE_TIME, Tag.DOUBLE_LONG_UNSIGNED)),
)
_ELEMENTS: Final = shape(
    "[{class_id u16, logical_name ln, attribute_index i8, data_index u16,"
    " restriction {restriction_type enum, restriction_value any}, columns [@capture_object]}]"
)
"""push_object_list of version 2, which the tables leave open."""


def _push(class_id: int, values: dict[str, Any], place: Place) -> dict[str, Any]:
    """The attributes of a push setup, as its version has them."""
    for needed in ("push", "role"):
        if needed not in values:
            raise place.error("missing", needed)
    version, confirmed = values.get("version", 1), values.pop("confirmed", False)
    if confirmed and version < 2:
        raise place.error("only version 2 has confirmed pushes", "confirmed")
    table = interface_class(class_id, version)
    if table is None:
        raise place.error("not known here", "version")
    plain: dict[int, Any] = {
        2: [_element(member, version) for member in values.pop("push")],
        3: _destination(values.pop("destination", ""), place),
        4: values.pop("windows", []),
        5: values.pop("randomisation", 0),
        6: values.pop("retries", 0),
        7: values.pop("repetition_delay", list(_DELAY) if version == 2 else _DELAY[0]),
        8: "0.0.25.0.0.255",
        9: 0,
        11: 2 if confirmed else 0,
    }
    found = {12: _NEVER_AGAIN} if version == 2 else {}
    found |= _protection(values, version, place)
    for index, value in plain.items():
        if index in table.attributes:
            attribute = table.attributes[index]
            shape = _ELEMENTS if index == 2 and version == 2 else attribute.shape
            try:
                found[index] = from_plain(value, shape)
            except MetersealError as error:
                raise place.error(str(error), attribute.name) from None
    return {**values, "version": version, "attributes": found}


def _protection(values: dict[str, Any], version: int, place: Place) -> dict[int, Value]:
    """push_protection_parameters: a signature first, then a cipher with the key that `layers` names."""
    form, signed, recipient = (values.pop(key, None) for key in ("layers", "signed", "recipient"))
    if form is not None and form not in PUSH_KEYS:
        raise place.error(f"the key is one of {', '.join(PUSH_KEYS)}", "layers")
    made = [Element(SIGNED, Layer(SIGNING, b"", recipient or b""))] if signed else []
    if form is not None:
        made.append(Element(AUTHENTICATED | ENCRYPTED, Layer(CIPHERING, b"", recipient or b"", form=form)))
    if made and not version:
        raise place.error("version 0 has no protection of its own", "layers" if form else "signed")
    if recipient and form is None:
        raise place.error("only what is ciphered (layers) is for another recipient", "recipient")
    return {10: elements_value(made)} if version else {}


def _element(member: tuple[int, Obis, int, int], version: int) -> list[Any]:
    class_id, obis, index, data_index = member
    whole: list[Any] = [class_id, str(obis), index, data_index]
    return whole + [[0, None], []][:version]


def _destination(text: str, place: Place) -> list[Any]:
    """`tcp://host:port`, `udp://host:port` or `hdlc` as the class has it."""
    if not text:
        return _NOWHERE
    if text == "hdlc":
        return [HDLC, "", 0]
    try:
        where = parse_url(text)
    except MetersealError as error:
        raise place.error(str(error), "destination") from None
    if where.scheme not in _TRANSPORTS or where.options:
        raise place.error("pushes go to tcp://HOST:PORT, udp://HOST:PORT or hdlc", "destination")
    host = f"[{where.host}]" if ":" in where.host else where.host
    return [_TRANSPORTS[where.scheme], f"{host}:{where.port}".encode("ascii", "replace").hex(), 0]


def _data_protection(class_id: int, values: dict[str, Any], place: Place) -> dict[str, Any]:
    """Data protection: empty lists, and what is required each way."""
    table = interface_class(class_id)
    required = values.pop("required_protection", 0)
    plain = {3: [], 4: [], 5: [], 6: required}
    shapes = {} if table is None else {index: table.attributes[index].shape for index in plain}
    return {**values, "attributes": {i: from_plain(plain[i], shape) for i, shape in shapes.items()}}


_READERS: Final = {
    "required_protection": _data_protection,
    "type": _valued,
    "periods": _demand,
    "columns": _profile,
    "scripts": _scripts,
    "push": _push,
    "attributes": _attributes,
}
"""What is worked out from a class's keys, by a key that only such classes have."""
