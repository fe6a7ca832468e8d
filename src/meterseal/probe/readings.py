"""Readings in a push: quantities found by shape, for a person to read (fact sheet more 9).

Pushes differ in how they order things, so a logical name is taken for one where six octets stand in front
of a value: in the same structure or flat beside it, with a structure of scaler and unit behind or without.
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


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity: its name in the standard (empty where none is known), value and unit symbol."""

    obis: Obis
    name: str
    value: Any
    unit: str | None


def readings(body: Any) -> list[Reading]:
    """The readings in a decoded notification body, in order; at most 4096, empty where none has the shape."""
    found: list[Reading] = []
    waiting = [body]
    while waiting and len(found) < _MAX_READINGS:
        part = waiting.pop()
        if isinstance(part, list | tuple):
            waiting += reversed(list(_take(part, found)))
    return found


def _take(parts: Sequence[Any], found: list[Reading]) -> Iterator[Any]:
    """Readings of one structure or array; the parts that are none of them are looked into later."""
    at = 0
    while at < len(parts):
        part = parts[at]
        behind = parts[at + 1] if at + 1 < len(parts) else None
        if not _is_name(part) or isinstance(behind, list | tuple) or behind is None or _is_name(behind):
            yield part
            at += 1
            continue
        size = _scaler_unit(parts[at + 2]) if at + 2 < len(parts) else None
        found.append(_reading(Obis(part), behind, size))
        at += 2 if size is None else 3


def _is_name(part: Any) -> bool:
    """Six octets that end like a logical name does."""
    return isinstance(part, bytes) and len(part) == 6 and part[5] == 0xFF


def _scaler_unit(part: Any) -> tuple[int, int] | None:
    if isinstance(part, tuple) and len(part) == 2:
        scaler, unit = part
        if type(scaler) is int and type(unit) is int and -128 <= scaler <= 127 and 0 <= unit <= 255:
            return scaler, unit
    return None


def _reading(obis: Obis, value: Any, size: tuple[int, int] | None) -> Reading:
    entry = well_known(obis)
    name = "" if entry is None else entry.name
    if size is None:
        return Reading(obis, name, _text_or_time(value), None)
    return Reading(obis, name, present(scaled(value, size[0])), unit_symbol(size[1]))


def _text_or_time(value: Any) -> Any:
    """Octets without a unit: a time where they read as one, text where they print, else hex."""
    if not isinstance(value, bytes):
        return present(value)
    if len(value) == 12 and DateTime.from_octets(value).complete:
        return octets_text(value, Kind.DATE_TIME)
    if value and all(0x20 <= octet < 0x7F for octet in value):
        return value.decode("ascii")
    return present(value, Tag.OCTET_STRING)
