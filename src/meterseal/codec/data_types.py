"""Description of DLMS Data: the compact type that, with the value, gives the octets back; and skipping."""

from __future__ import annotations

from meterseal.codec.budget import Budget
from meterseal.codec.compact import open_compact, read_contents
from meterseal.codec.octets import read_length
from meterseal.codec.scalars import READERS
from meterseal.codec.types import MAX_DEPTH, Array, CompactArray, MixedArray, Structure, Tag, Type
from meterseal.errors import Malformed, TooDeep, Truncated

_ARRAY, _STRUCTURE, _COMPACT = 0x01, 0x02, 0x13
_TAGS: dict[int, Tag] = {int(tag): tag for tag in Tag}


def read_type(buf: bytes, pos: int, end: int, budget: Budget) -> tuple[Type, int]:
    """Read the type of one value; return it and the position behind the value.

    Equal types of one call are the same object, so many rows of one shape cost one description.
    """
    known: dict[Type, Type] = {}
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
                items.append(_TAGS[tag])
                continue
            if len(stack) >= MAX_DEPTH:
                raise TooDeep(f"value at octet {pos - 1} nests deeper than {MAX_DEPTH}")
            if tag == _COMPACT:
                layout, pos, contents_end = open_compact(buf, pos, end, MAX_DEPTH - len(stack) - 1, budget)
                if not layout.exact:
                    read_contents(layout, buf, pos, contents_end, budget)
                items.append(CompactArray(layout.type))
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
        done = Structure(tuple(items)) if structure else _array_type(items)
        items, left, structure = stack.pop()
        owed -= left
        items.append(known.setdefault(done, done))


def _array_type(elements: list[Type]) -> Type:
    if elements and len(set(map(id, elements))) == 1:
        return Array(elements[0])
    return MixedArray(tuple(elements))
