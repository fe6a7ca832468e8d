"""Description of DLMS Data: the compact type that, with the value, gives the octets back; and skipping."""

from __future__ import annotations

from typing import Final

from meterseal.codec.budget import ARRAY_UNITS, STRUCTURE_UNITS, Budget
from meterseal.codec.compact import read_compact_type
from meterseal.codec.octets import read_length
from meterseal.codec.rows_decode import same_type
from meterseal.codec.scalars import READERS
from meterseal.codec.types import MAX_DEPTH, TAGS, Array, CompactArray, MixedArray, Structure, Type
from meterseal.errors import Malformed, TooDeep, Truncated

_ARRAY: Final = 0x01
_STRUCTURE: Final = 0x02
_COMPACT: Final = 0x13


def read_type(buf: bytes, pos: int, end: int, budget: Budget) -> tuple[Type, int]:
    """Read the type of one value; return it and the position behind the value.

    Equal types of one call are the same object, so many rows of one shape cost one description.
    """
    known: dict[Type, Type] = {}
    same = known.setdefault
    items: list[Type] = []
    left, owed = 1, 0
    stack: list[tuple[list[Type], int, bool]] = []
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
                _, pos = reader(buf, pos, end)
                items.append(TAGS[tag])
                continue
            room = MAX_DEPTH - len(stack)
            if not room:
                raise TooDeep(f"value at octet {pos - 1} nests deeper than {MAX_DEPTH}")
            if tag == _COMPACT:
                inner, pos = read_compact_type(buf, pos, end - left - owed, room - 1, budget)
                compact = CompactArray(inner)
                items.append(same(compact, compact))
                continue
            if tag != _ARRAY and tag != _STRUCTURE:
                raise Malformed(f"octet {tag:02X} at {pos - 1} is no tag of Data")
            count, pos = read_length(buf, pos, end)
            owed += left
            if count > end - pos - owed:
                raise Truncated(f"{count} elements promised at octet {pos}, {end - pos} octets left")
            budget.spent += count + (STRUCTURE_UNITS if tag == _STRUCTURE else ARRAY_UNITS)
            if tag == _ARRAY:
                element = same_type(buf, pos, end - owed, count, room - 1, budget)
                if element:
                    owed -= left
                    array = Array(same(element[0], element[0]))
                    items.append(same(array, array))
                    pos = element[1]
                    continue
            stack.append((items, left, structure))
            items, left, structure = [], count, tag == _STRUCTURE
        if not stack:
            return items[0], pos
        done = Structure(tuple(items)) if structure else _array_type(items)
        items, left, structure = stack.pop()
        owed -= left
        items.append(same(done, done))


def _array_type(elements: list[Type]) -> Type:
    if elements and len(set(map(id, elements))) == 1:
        return Array(elements[0])
    return MixedArray(tuple(elements))
