"""Rows of a Profile generic buffer, client's side: null cells filled in, deltas added up, columns named.

Rules (fact sheet more 7): null-data in a cell means the value of the row before, in the clock's
column the time before plus the capture period (minus in a buffer sorted downwards); the first row
must be complete. A delta type counts from the row before. Rows that leave out unchanged last columns
exist in the field and are a named option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from meterseal.codec.types import Array, CompactArray, MixedArray, Structure, Tag, Type
from meterseal.cosem.classes import CLOCK, SCALED, attribute_shape
from meterseal.cosem.selection import CaptureObject
from meterseal.cosem.shapes import Kind, Shape, element_of, kind_of
from meterseal.cosem.times import DateTime
from meterseal.cosem.units import unit_symbol
from meterseal.errors import Malformed, Misuse


class SortMethod(IntEnum):
    """sort_method of a profile: the order of its buffer."""

    FIFO = 1
    LIFO = 2
    LARGEST = 3
    SMALLEST = 4
    NEAREST_TO_ZERO = 5
    FARTHEST_FROM_ZERO = 6


DESCENDING: Final = frozenset({SortMethod.LIFO, SortMethod.LARGEST})
"""Methods under which a missing clock counts down."""


@dataclass(frozen=True, slots=True)
class Column:
    """A capture object with what is known of its values: scaler and unit number, or None."""

    source: CaptureObject
    scaler: int | None = None
    unit: int | None = None

    @property
    def is_clock(self) -> bool:
        """True for the time of a clock object: its null cells count on by the capture period."""
        return self.source.class_id == CLOCK and self.source.attribute == 2

    @property
    def shape(self) -> Shape:
        """What the class tables say of the cell."""
        shape = attribute_shape(self.source.class_id, self.source.attribute)
        return element_of(shape, self.source.data_index - 1) if self.source.data_index else shape

    @property
    def kind(self) -> Kind:
        """How an octet-string in the cell is shown."""
        return kind_of(self.shape)

    @property
    def scaler_attribute(self) -> int | None:
        """The captured object's attribute with scaler and unit of the cell; None for no quantity."""
        return SCALED.get((self.source.class_id, self.source.attribute))

    def described(self) -> dict[str, object]:
        """`{"class", "obis", "attribute", "index", "unit"}` of the machine-readable output."""
        return {
            "class": self.source.class_id,
            "obis": str(self.source.obis),
            "attribute": self.source.attribute,
            "index": self.source.data_index,
            "unit": None if self.unit is None else unit_symbol(self.unit),
        }


def columns_from_value(value: object) -> tuple[Column, ...]:
    """Columns of a decoded capture_objects attribute; `Malformed` when it has another shape."""
    if not isinstance(value, list):
        raise Malformed("capture_objects is no array")
    return tuple(Column(CaptureObject.from_value(item)) for item in value)


def complete_rows(
    rows: object,
    columns: Sequence[Column],
    *,
    capture_period: int | None = None,
    sort_method: int = SortMethod.FIFO,
    type_: Type | None = None,
    short_rows: bool = False,
) -> list[tuple[Any, ...]]:
    """Decoded rows with every null cell filled in and every delta added up.

    `capture_period` is in seconds; without one a clock cell cannot be left out. `type_` (of the same
    octets, from `describe`) is needed only where delta types may occur. `short_rows` lets a row leave
    out last columns that did not change.

    Raises `Malformed` for null in the first row, rows of another width, a clock that cannot count
    on (period 0, an incomplete time), and a delta that leaves its type; `Misuse` for a clock left
    out while `capture_period` is None.
    """
    if not isinstance(rows, list):
        raise Malformed("the buffer is no array")
    row_types = _row_types(type_, len(rows))
    step = -capture_period if capture_period and sort_method in DESCENDING else capture_period
    clocks = [column.is_clock for column in columns]
    previous: tuple[Any, ...] = ()
    bases: list[Tag | None] = [None] * len(columns)
    done: list[tuple[Any, ...]] = []
    for number, row in enumerate(rows):
        if not isinstance(row, tuple):
            raise Malformed(f"row {number} of the buffer is no structure")
        types = row_types[number] if row_types else None
        if len(row) != len(columns) or None in row or types is not None:
            row = _completed(number, row, types, previous, bases, clocks, step, short_rows)
        done.append(row)
        previous = row
    return done


def _completed(
    number: int,
    row: tuple[Any, ...],
    types: tuple[Type, ...] | None,
    previous: tuple[Any, ...],
    bases: list[Tag | None],
    clocks: list[bool],
    step: int | None,
    short_rows: bool,
) -> tuple[Any, ...]:
    """One row made whole from the row before it; `bases` keeps the type that a column's deltas count in."""
    width = len(clocks)
    if len(row) != width and not (short_rows and previous and len(row) < width):
        raise Malformed(f"row {number} has {len(row)} cells for {width} columns")
    whole = list(row) + [None] * (width - len(row))
    for at, cell in enumerate(whole):
        if cell is None:
            if not previous:
                raise Malformed(f"row {number}: null in column {at + 1} of the first row has no meaning")
            # A row cut short leaves out what did not change; only a null that was sent counts time.
            counts = clocks[at] and at < len(row)
            whole[at] = _counted(previous[at], step, number) if counts else previous[at]
        elif types is not None and types[at] in _DELTAS:
            whole[at] = _added(previous[at] if previous else None, cell, bases[at], number, at)
        elif types is not None:
            kind = types[at]
            bases[at] = kind if isinstance(kind, Tag) else None
    return tuple(whole)


def _counted(moment: Any, step: int | None, number: int) -> Any:
    """The clock `step` seconds after the previous row's."""
    if step is None:
        raise Misuse(f"row {number} leaves the time out: the capture period is needed to count by")
    if step == 0:
        raise Malformed(f"row {number} leaves the time out in a profile without a capture period")
    if type(moment) is int:  # a clock in seconds
        return moment + step
    if isinstance(moment, bytes) and len(moment) == 12:
        return DateTime.from_octets(moment).shifted(step).to_octets()
    raise Malformed(f"row {number} leaves the time out behind a cell that is no time")


# --- delta types --------------------------------------------------------------------------------

_DELTAS: Final = frozenset(
    {
        Tag.DELTA_INTEGER,
        Tag.DELTA_LONG,
        Tag.DELTA_DOUBLE_LONG,
        Tag.DELTA_UNSIGNED,
        Tag.DELTA_LONG_UNSIGNED,
        Tag.DELTA_DOUBLE_LONG_UNSIGNED,
    }
)
_LIMITS: Final[dict[Tag, tuple[int, int]]] = {
    Tag.INTEGER: (-(1 << 7), (1 << 7) - 1),
    Tag.LONG: (-(1 << 15), (1 << 15) - 1),
    Tag.DOUBLE_LONG: (-(1 << 31), (1 << 31) - 1),
    Tag.LONG64: (-(1 << 63), (1 << 63) - 1),
    Tag.UNSIGNED: (0, (1 << 8) - 1),
    Tag.LONG_UNSIGNED: (0, (1 << 16) - 1),
    Tag.DOUBLE_LONG_UNSIGNED: (0, (1 << 32) - 1),
    Tag.LONG64_UNSIGNED: (0, (1 << 64) - 1),
}


def _added(previous: Any, delta: Any, base: Tag | None, number: int, at: int) -> int:
    """Previous value plus delta, inside the type of the absolute value it counts from."""
    if base not in _LIMITS or type(previous) is not int:
        raise Malformed(f"row {number}: the delta in column {at + 1} has no absolute value to count from")
    total: int = previous + delta
    low, high = _LIMITS[base]
    if not low <= total <= high:
        raise Malformed(f"row {number}: the delta in column {at + 1} leaves {base.word}")
    return total


def _row_types(type_: Type | None, count: int) -> list[tuple[Type, ...]] | None:
    """The types of each row's cells, or None when no cell can be a delta."""
    if isinstance(type_, Array | CompactArray):
        if not isinstance(type_.element, Structure) or not _DELTAS.intersection(_tags(type_.element)):
            return None
        return [type_.element.fields] * count
    if isinstance(type_, MixedArray):
        fields = [row.fields if isinstance(row, Structure) else () for row in type_.elements]
        if len(fields) == count and any(_DELTAS.intersection(_tags(row)) for row in type_.elements):
            return fields
    return None


def _tags(type_: Type) -> tuple[Tag, ...]:
    fields = type_.fields if isinstance(type_, Structure) else ()
    return tuple(field for field in fields if isinstance(field, Tag))
