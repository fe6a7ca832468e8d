"""Load profiles as a meter answers them, drawn the same each time: what compression is measured on (v44 10).

A row is a clock on the quarter hour, a status and four registers: two that count up with the load of a
household, one that stands still, one that creeps.  The answer is a get-response around an array of rows.
"""

from __future__ import annotations

import random
from typing import Any

from meterseal.codec.data import encode
from meterseal.codec.types import Array, MixedArray, Structure, Tag

_SEED = 44
_HEAD = bytes.fromhex("C401C100")
_NUMBERS = (Tag.DOUBLE_LONG_UNSIGNED,) * 4
WHOLE, SHORT = (
    Structure((Tag.OCTET_STRING, Tag.UNSIGNED, *_NUMBERS)),
    Structure((Tag.NULL, Tag.NULL, *_NUMBERS)),
)


def rows(count: int, seed: int = _SEED) -> list[tuple[Any, ...]]:
    """So many quarter hours from midnight on."""
    draw = random.Random(seed)
    energy, reactive, still, creeping = 141_014, 596_927, 888_598, 841_238
    made = []
    for number in range(count):
        day, quarter = divmod(number, 96)
        clock = bytes.fromhex(f"07EA0101{4 + day:02X}{quarter // 4:02X}{quarter % 4 * 15:02X}0000007800")
        made.append((clock, 0, energy, reactive, still, creeping))
        energy += draw.randrange(100, 200)
        reactive += draw.randrange(50, 100)
        still += draw.random() < 0.02
        creeping += draw.randrange(5)
    return made


def answer(count: int, seed: int = _SEED) -> bytes:
    """The profile with every cell in it: 24 rows are 918 octets, 96 are 3,654."""
    return _HEAD + encode(rows(count, seed), Array(WHOLE))


def answer_with_nulls(count: int, seed: int = _SEED) -> bytes:
    """The same with null-data for clock and status from the second row on: 96 rows are 2,324 octets."""
    first, *rest = rows(count, seed)
    types = MixedArray((WHOLE, *(SHORT,) * len(rest)))
    return _HEAD + encode([first, *((None, None, *row[2:]) for row in rest)], types)
