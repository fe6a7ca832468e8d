"""Readings in a push: quantities found by shape, for a person to read (fact sheet more 9).

Pushes differ in how they order things. A logical name is taken for one where six octets stand in front of a
value: in the same structure or flat beside it, with a structure of scaler and unit behind or without. Where a
structure begins with the list of what is in it (push_object_list), that list names the rest. What stands
between named values and has no name is a reading too, in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.present import octets_text, present
from meterseal.cosem.shapes import Kind
from meterseal.cosem.times import DateTime
from meterseal.cosem.units import scaled, unit_symbol
from meterseal.cosem.well_known import well_known

_MAX_READINGS: Final = 4096
_PUSH_SETUP: Final = b"\x19\x09"
"""Groups C and D of a push setup: by it a push says which list this is, and no value follows."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value: its logical name (None where nothing names it), what that is (or empty), unit symbol.

    `value` is None for a logical name that has none: of the push itself, or in front of a list.
    """

    obis: Obis | None
    name: str
    value: Any
    unit: str | None


def readings(body: Any) -> list[Reading]:
    """The readings in a decoded notification body, in order; at most 4096, empty where none has a name."""
    found: list[Reading] = []
    waiting = [body]
    while waiting and len(found) < _MAX_READINGS:
        part = waiting.pop()
        if isinstance(part, Reading):
            found.append(part)
        elif isinstance(part, list | tuple):
            waiting += reversed(list(_described(part) or _taken(part)))
        elif part is not None:
            found.append(_unnamed(part))
    return found if any(one.obis and one.value is not None for one in found) else []


def _described(parts: Sequence[Any]) -> list[Reading]:
    """The readings of a structure whose first element lists, as capture objects, what is in it.

    A push setup that sends its push_object_list counts that in.  Empty where there is no such list.
    """
    names, values = parts[0] if parts else None, parts[1:]
    if not (names and isinstance(names, list) and all(map(_is_capture_object, names))):
        return []
    if names[0][1][2:4] == _PUSH_SETUP:
        names = names[1:]
    if len(names) != len(values):
        return []
    return [_reading(Obis(name[1]), value, None) for name, value in zip(names, values, strict=True)]


def _is_capture_object(part: Any) -> bool:
    """A structure of class, logical name, attribute and data index?"""
    if not (isinstance(part, tuple) and len(part) == 4):
        return False
    class_id, name, *which = part
    return isinstance(name, bytes) and len(name) == 6 and all(type(one) is int for one in (class_id, *which))


def _taken(parts: Sequence[Any]) -> Iterator[Any]:
    """The readings of one structure or array, and the parts that are none, to be looked into."""
    at = 0
    while at < len(parts):
        part = parts[at]
        behind = parts[at + 1] if at + 1 < len(parts) else None
        if not _names_a_value(part) or isinstance(behind, list | tuple) or behind is None or _is_name(behind):
            yield part
            at += 1
            continue
        size = _scaler_unit(parts[at + 2]) if at + 2 < len(parts) else None
        yield _reading(Obis(part), behind, size)
        at += 2 if size is None else 3


def _is_name(part: Any) -> bool:
    """Six octets that end like a logical name does."""
    return isinstance(part, bytes) and len(part) == 6 and part[5] == 0xFF


def _names_a_value(part: Any) -> bool:
    return _is_name(part) and part[2:4] != _PUSH_SETUP


def _scaler_unit(part: Any) -> tuple[int, int] | None:
    if isinstance(part, tuple) and len(part) == 2:
        scaler, unit = part
        if type(scaler) is int and type(unit) is int and -128 <= scaler <= 127 and 0 <= unit <= 255:
            return scaler, unit
    return None


def _reading(obis: Obis, value: Any, size: tuple[int, int] | None) -> Reading:
    if size is None:
        return Reading(obis, _name(obis), _text_or_time(value), None)
    return Reading(obis, _name(obis), present(scaled(value, size[0])), unit_symbol(size[1]))


def _unnamed(value: Any) -> Reading:
    """A value that nothing names, or a logical name with no value behind it."""
    if _is_name(value):
        return Reading(Obis(value), _name(Obis(value)), None, None)
    return Reading(None, "", _text_or_time(value), None)


def _name(obis: Obis) -> str:
    entry = well_known(obis)
    return "" if entry is None else entry.name


def _text_or_time(value: Any) -> Any:
    """Octets without a unit: a time where they read as one, text where they print, else hex."""
    if not isinstance(value, bytes):
        return present(value)
    if len(value) == 12 and DateTime.from_octets(value).complete:
        return octets_text(value, Kind.DATE_TIME)
    if value and all(0x20 <= octet < 0x7F for octet in value):
        return value.decode("ascii")
    return present(value, Tag.OCTET_STRING)
