"""Decoding of DLMS Data: octets to plain Python values, in one loop over a stack of its own."""

from __future__ import annotations

from typing import Any

from meterseal.codec.budget import Budget
from meterseal.codec.compact import open_compact, read_contents
from meterseal.codec.octets import read_length
from meterseal.codec.scalars import READERS
from meterseal.codec.types import MAX_DEPTH
from meterseal.errors import Malformed, TooDeep, Truncated

_ARRAY, _STRUCTURE, _COMPACT = 0x01, 0x02, 0x13


def read_value(buf: bytes, pos: int, end: int, budget: Budget) -> tuple[Any, int]:
    """Read one value, tag included; return it and the position behind it.

    `owed` counts the values that the open containers outside of the present one still promise:
    each needs an octet, so a count that cannot be there is refused before anything is made for it.
    """
    items: list[Any] = []
    left, owed = 1, 0
    stack: list[tuple[list[Any], int, bool]] = []
    structure = False
    while True:
        while left:
            if pos >= end:
                raise Truncated(f"value missing at octet {pos}, {left + owed} still to come")
            left -= 1
            tag = buf[pos]
            reader = READERS[tag]
            pos += 1
            if reader is not None:
                value, pos = reader(buf, pos, end)
                items.append(value)
                continue
            if len(stack) >= MAX_DEPTH:
                raise TooDeep(f"value at octet {pos - 1} nests deeper than {MAX_DEPTH}")
            if tag == _COMPACT:
                layout, pos, contents_end = open_compact(buf, pos, end, MAX_DEPTH - len(stack) - 1, budget)
                items.append(read_contents(layout, buf, pos, contents_end, budget))
                pos = contents_end
                continue
            if tag not in (_ARRAY, _STRUCTURE):
                raise Malformed(f"octet {tag:02X} at {pos - 1} is no tag of Data")
            count, pos = read_length(buf, pos, end)
            stack.append((items, left, structure))
            owed += left
            if count + owed > end - pos:
                raise Truncated(f"{count} elements promised at octet {pos}, {end - pos} octets left")
            items, left, structure = [], count, tag == _STRUCTURE
        if not stack:
            return items[0], pos
        done: Any = tuple(items) if structure else items
        items, left, structure = stack.pop()
        owed -= left
        items.append(done)
