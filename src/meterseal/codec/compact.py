"""Compact arrays: one type description for all elements, then their values without tags (acse-xdlms 6).

The description is flattened to steps, so contents are read and written without recursion; what a
description multiplies is checked against the octets of the contents before anything is built.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from meterseal.codec.budget import ARRAY_UNITS, READING_UNITS, STRUCTURE_UNITS, Budget
from meterseal.codec.octets import read_length
from meterseal.codec.scalars import EMPTY, FIXED, SCALAR_READERS, Reader
from meterseal.codec.types import MAX_DEPTH, Array, Structure, Tag, Type
from meterseal.errors import Malformed, TooDeep, TooLarge, Truncated

MAX_ELEMENT_OCTETS: Final = 1 << 32
"""Least octets of one element above which no contents can hold it; products stop there."""


class Layout(NamedTuple):
    """What a description says of one element.

    `least` octets at least (all of them when `exact`), `units` of work for each. A scalar has its
    `reader`; an array or structure has `times` the `inner` values, the last one first.
    """

    type: Type
    least: int
    exact: bool
    units: int
    reader: Reader | None = None
    inner: tuple[Layout, ...] = ()
    times: int = 1


def _scalar(tag: Tag) -> Layout:
    if tag in FIXED:
        return Layout(tag, FIXED[tag].width, True, 1, SCALAR_READERS[tag])
    return Layout(tag, 0 if tag in EMPTY else 1, tag in EMPTY, 1, SCALAR_READERS[tag])


_SCALARS: Final = {int(tag): _scalar(tag) for tag in SCALAR_READERS}


def _array(count: int, element: Layout) -> Layout:
    least = min(count * element.least, MAX_ELEMENT_OCTETS)
    units = ARRAY_UNITS + count * element.units
    return Layout(Array(element.type, count), least, element.exact, units, None, (element,), count)


def _structure(fields: list[Layout]) -> Layout:
    type_ = Structure(tuple(field.type for field in fields))
    least = min(sum(field.least for field in fields), MAX_ELEMENT_OCTETS)
    units = STRUCTURE_UNITS + sum(field.units for field in fields)
    return Layout(type_, least, all(field.exact for field in fields), units, None, tuple(reversed(fields)))


def read_description(buf: bytes, pos: int, end: int, room: int = MAX_DEPTH) -> tuple[Layout, int]:
    """Read a TypeDescription; at most `room` containers inside each other (TooDeep)."""
    fields: list[Layout] = []
    left, count = 1, -1
    stack: list[tuple[list[Layout], int, int]] = []
    while True:
        while left:
            if pos >= end:
                raise Truncated(f"type description ends at octet {pos}")
            left -= 1
            tag = buf[pos]
            pos += 1
            scalar = _SCALARS.get(tag)
            if scalar is not None:
                fields.append(scalar)
                continue
            if tag not in (Tag.ARRAY, Tag.STRUCTURE):
                raise Malformed(f"octet {tag:02X} at {pos - 1} in a type description is no type")
            if len(stack) >= room:
                raise TooDeep(f"type description at octet {pos - 1} nests deeper than {MAX_DEPTH}")
            stack.append((fields, left, count))
            if tag == Tag.ARRAY:
                if end - pos < 3:
                    raise Truncated(f"array description at octet {pos - 1} is cut")
                count, left = int.from_bytes(buf[pos : pos + 2], "big"), 1
                pos += 2
            else:
                count, (left, pos) = -1, read_length(buf, pos, end)
                if left > end - pos:
                    raise Truncated(f"description of {left} fields at octet {pos}, {end - pos} octets left")
            fields = []
        if not stack:
            return fields[0], pos
        done = _structure(fields) if count < 0 else _array(count, fields[0])
        fields, left, count = stack.pop()
        fields.append(done)


def read_compact(buf: bytes, pos: int, end: int, room: int, budget: Budget) -> tuple[list[Any], int]:
    """Read description, length and contents at `pos`; return the elements and the position behind them.

    `room` is the number of containers that an element may have inside each other. Refused: contents
    that are there while an element has no octets or that no whole number of elements fills
    (Malformed, Truncated), and descriptions that make more than they are sent (TooLarge).
    """
    layout, at, stop = _open(buf, pos, end, room, budget)
    return _read_elements(layout, buf, at, stop, READING_UNITS * (stop - pos), budget), stop


def read_compact_type(buf: bytes, pos: int, end: int, room: int, budget: Budget) -> tuple[Type, int]:
    """Read as `read_compact` does, with the same checks; return the type of an element."""
    layout, at, stop = _open(buf, pos, end, room, budget)
    if not layout.exact:
        _read_elements(layout, buf, at, stop, READING_UNITS * (stop - pos), budget)
    return layout.type, stop


def _open(buf: bytes, pos: int, end: int, room: int, budget: Budget) -> tuple[Layout, int, int]:
    """Layout, position and end of the contents; what can be checked before reading them is."""
    layout, at = read_description(buf, pos, end, room)
    size, at = read_length(buf, at, end)
    stop = at + size
    if stop > end:
        raise Truncated(f"compact-array contents of {size} octets at octet {at}, {end - at} left")
    budget.spent += ARRAY_UNITS + at - pos
    if size and not layout.least:
        raise Malformed(
            f"compact-array at octet {pos}: contents follow, though an element may have no octets"
        )
    if 0 < size < layout.least:
        raise Truncated(
            f"compact-array at octet {pos}: an element has {layout.least} octets, the contents {size}"
        )
    if size and layout.exact:
        rows, rest = divmod(size, layout.least)
        if rest:
            raise Malformed(f"compact-array at octet {pos}: {rest} octets are no whole element")
        if rows * layout.units > READING_UNITS * (stop - pos):
            raise TooLarge(f"compact-array at octet {pos} describes more than {stop - pos} octets may make")
    return layout, at, stop


def _read_elements(layout: Layout, buf: bytes, pos: int, end: int, allowed: int, budget: Budget) -> list[Any]:
    """Read elements until `end`, for at most `allowed` units of work (TooLarge)."""
    elements: list[Any] = []
    while pos < end:
        allowed -= layout.units
        if allowed < 0:
            raise TooLarge(f"compact-array contents at octet {pos}: described is more than octets may make")
        budget.spent += layout.units
        element, pos = _read_element(layout, buf, pos, end)
        elements.append(element)
    return elements


def _read_element(layout: Layout, buf: bytes, pos: int, end: int) -> tuple[Any, int]:
    """One value without tags; the stack holds what is still to be read of each open container."""
    items: list[Any] = []
    todo = [layout]
    stack: list[tuple[list[Any], list[Layout], bool]] = []
    while True:
        while todo:
            part = todo.pop()
            if part.reader:
                value, pos = part.reader(buf, pos, end)
                items.append(value)
                continue
            stack.append((items, todo, isinstance(part.type, Structure)))
            items, todo = [], list(part.inner) * part.times
        if not stack:
            return items[0], pos
        done: Any = items
        items, todo, structure = stack.pop()
        items.append(tuple(done) if structure else done)
