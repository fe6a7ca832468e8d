"""Decoding of DLMS Data: octets to plain Python values, in one loop over a stack of its own."""

from __future__ import annotations

from typing import Any, Final

from meterseal.codec.budget import ARRAY_UNITS, STRUCTURE_UNITS, Budget
from meterseal.codec.compact import read_compact
from meterseal.codec.octets import read_length
from meterseal.codec.rows_decode import take_rows
from meterseal.codec.scalars import READERS
from meterseal.codec.types import MAX_DEPTH
from meterseal.errors import Malformed, TooDeep, Truncated

_ARRAY: Final = 0x01
_STRUCTURE: Final = 0x02
_COMPACT: Final = 0x13


def read_value(buf: bytes, pos: int, end: int, budget: Budget | None = None) -> tuple[Any, int]:
    """Read one value, tag included; return it and the position behind it.

    A budget for the octets from `pos` to `end` is made when none is given.
    """
    if pos >= end:
        raise Truncated(f"value missing at octet {pos}")
    reader = READERS[buf[pos]]
    if reader is not None:
        return reader(buf, pos + 1, end)
    return _read_nested(buf, pos, end, budget or Budget(end - pos))


def _read_nested(buf: bytes, pos: int, end: int, budget: Budget) -> tuple[Any, int]:
    """Read a container without recursion.

    `owed` counts the values that the open containers around the present one still promise: each
    needs an octet, so a count that cannot be there is refused before anything is made for it.
    """
    items: list[Any] = []
    left, owed = 1, 0
    structure = False
    stack: list[tuple[list[Any], int, bool]] = []
    while True:
        while left:
            if pos >= end:
                raise Truncated(f"value missing at octet {pos}, {left + owed} still to come")
            left -= 1
            tag = buf[pos]
            pos += 1
            reader = READERS[tag]
            if reader is not None:
                value, pos = reader(buf, pos, end)
                items.append(value)
                continue
            room = MAX_DEPTH - len(stack)
            if not room:
                raise TooDeep(f"value at octet {pos - 1} nests deeper than {MAX_DEPTH}")
            if tag == _COMPACT:
                elements, pos = read_compact(buf, pos, end - left - owed, room - 1, budget)
                items.append(elements)
                continue
            if tag != _ARRAY and tag != _STRUCTURE:
                raise Malformed(f"octet {tag:02X} at {pos - 1} is no tag of Data")
            count, pos = read_length(buf, pos, end)
            stack.append((items, left, structure))
            owed += left
            if count > end - pos - owed:
                raise Truncated(f"{count} elements promised at octet {pos}, {end - pos} octets left")
            items, left, structure = [], count, tag == _STRUCTURE
            if structure:
                budget.spent += STRUCTURE_UNITS + count
            else:
                budget.spent += ARRAY_UNITS
                items, pos = take_rows(buf, pos, end - owed, count, room - 1, budget, read_value)
                left -= len(items)
                budget.spent += left
        if not stack:
            return items[0], pos
        done: Any = tuple(items) if structure else items
        items, left, structure = stack.pop()
        owed -= left
        items.append(done)
