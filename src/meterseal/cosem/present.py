"""Decoded values as plain JSON-able Python, the way other programs may rely on (design 5).

Octet-string: upper-case hex, except where the class says date-time, date or time (ISO 8601); times of
their own tags likewise; bit-string: text of 0 and 1; enum and integers: number; float: number, NaN and
infinities as text; boolean as such; strings as text; null-data and dont-care: null; structure, array
and compact-array: list. Quantities are exact: `Decimal`, written by `json_text` without loss.

Nothing here raises for what a meter sent: octets that are no time where a time should be are hex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from meterseal.codec.types import (
    DONT_CARE,
    Array,
    BitString,
    CompactArray,
    MixedArray,
    Structure,
    Tag,
    Type,
)
from meterseal.cosem.classes import attribute_shape
from meterseal.cosem.obis import Obis
from meterseal.cosem.profile import Column
from meterseal.cosem.shapes import ANY, Kind, Leaf, Shape, element_of
from meterseal.cosem.times import Date, DateTime, Time
from meterseal.cosem.units import scaled, unit_symbol
from meterseal.errors import MetersealError, Refused

_TIME_TYPES: Final[dict[Kind, tuple[int, type[DateTime] | type[Date] | type[Time]]]] = {
    Kind.DATE_TIME: (12, DateTime),
    Kind.DATE: (5, Date),
    Kind.TIME: (4, Time),
}
_TIME_TAGS: Final = {Tag.DATE_TIME: Kind.DATE_TIME, Tag.DATE: Kind.DATE, Tag.TIME: Kind.TIME}


def present(value: Any, type_: Type | None = None, shape: Shape = ANY) -> Any:
    """A decoded value as `None`, bool, int, float, `Decimal`, str or list of these.

    `type_` (from `describe`) tells a date-time of tag 19 hex from an octet-string; without it only
    `shape`, the class table's word, can. Depth is that of the value: the decoder has bounded it.
    """
    if value is None or value is DONT_CARE:
        return None
    if isinstance(value, list | tuple):
        return [present(part, _part_type(type_, at), element_of(shape, at)) for at, part in enumerate(value)]
    if isinstance(value, bytes):
        kind = _TIME_TAGS.get(type_) if isinstance(type_, Tag) else None
        return octets_text(value, kind or (shape.kind if isinstance(shape, Leaf) else Kind.PLAIN))
    if isinstance(value, float) and not math.isfinite(value):
        return float_text(value)
    if isinstance(value, BitString):
        return str(value)
    if isinstance(value, str):
        return whole_text(value)
    return value


def octets_text(octets: bytes, kind: Kind = Kind.PLAIN) -> str:
    """Hex in upper case; the time a `kind` of times says, where the octets are as many as it takes."""
    if kind in _TIME_TYPES:
        size, reader = _TIME_TYPES[kind]
        if len(octets) == size:
            return reader.from_octets(octets).text()
    return octets.hex().upper()


def whole_text(text: str) -> str:
    """The text with octets that are no UTF-8 (surrogate escapes) as U+FFFD: strict JSON readers want that."""
    return (
        text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if _has_surrogates(text) else text
    )


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def float_text(number: float) -> str:
    """`NaN`, `Infinity` or `-Infinity`."""
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _part_type(type_: Type | None, at: int) -> Type | None:
    """The type of the `at`-th part of a container's value."""
    if isinstance(type_, Array | CompactArray):
        return type_.element
    parts: Sequence[Type] = ()
    if isinstance(type_, Structure):
        parts = type_.fields
    elif isinstance(type_, MixedArray):
        parts = type_.elements
    return parts[at] if at < len(parts) else None


# --- what `read --json` answers -------------------------------------------------------------------


def value_object(
    class_id: int,
    obis: Obis,
    attribute: int,
    value: Any,
    *,
    type_: Type | None = None,
    raw: bytes = b"",
    scaler_unit: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """`{"obis", "class", "attribute", "value", "unit", "raw"}` of one attribute.

    With `scaler_unit` (scaler, unit number) the value is the quantity, exact, and `unit` its symbol.
    """
    unit = None
    if scaler_unit is not None:
        value, unit = scaled(value, scaler_unit[0]), unit_symbol(scaler_unit[1])
    shown = present(value, type_, attribute_shape(class_id, attribute))
    return _object(class_id, obis, attribute) | {"value": shown, "unit": unit, "raw": raw.hex().upper()}


def error_object(
    class_id: int | None, obis: Obis, member: int, error: MetersealError, *, method: bool = False
) -> dict[str, Any]:
    """`{"obis", "class", "attribute", "error": {"type", "message"}}` for what could not be read.

    A refusal adds `reason` and `code`, the wire's own words.  With `method` the member is one: `method` is
    there in place of `attribute`.
    """
    cause: dict[str, Any] = {"type": error.kind, "message": str(error)}
    if isinstance(error, Refused):
        cause |= {"reason": error.reason, "code": error.code}
    named = _object(class_id, obis, member)
    if method:
        named["method"] = named.pop("attribute")
    return named | {"error": cause}


def profile_object(
    obis: Obis,
    rows: Sequence[Sequence[Any]],
    columns: Sequence[Column],
    *,
    type_: Type | None = None,
    raw: bytes = b"",
) -> dict[str, Any]:
    """The value object of a profile buffer: `value` a list of rows, `columns` beside it.

    `rows` are complete (`profile.complete_rows`); `type_` is the buffer's from `describe`. A column
    whose scaler is known holds quantities in its `unit`, one without holds what was sent.
    """
    return _object(7, obis, 2) | {
        "value": present_rows(rows, columns, type_),
        "columns": [column.described() for column in columns],
        "unit": None,
        "raw": raw.hex().upper(),
    }


def present_rows(
    rows: Sequence[Sequence[Any]], columns: Sequence[Column], type_: Type | None = None
) -> list[list[Any]]:
    """Rows cell by cell, each as its column says; quantities scaled where the scaler is known."""
    shapes = [column.shape for column in columns]
    shown = []
    for number, row in enumerate(rows):
        types = _part_type(type_, number)
        line = []
        for at, (cell, column) in enumerate(zip(row, columns, strict=True)):
            quantity = cell if column.scaler is None else scaled(cell, column.scaler)
            line.append(present(quantity, _part_type(types, at), shapes[at]))
        shown.append(line)
    return shown


def _object(class_id: int | None, obis: Obis, attribute: int) -> dict[str, Any]:
    return {"obis": str(obis), "class": class_id, "attribute": attribute}
