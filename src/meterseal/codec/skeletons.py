"""Skeletons: the octets of a value that are tags, counts and lengths, and where in the value they lie.

Values of one skeleton have every octet of it in the same place. So many values in a row are proven to
share it by comparing strided slices, one for each of its octets, however many values there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meterseal.codec.budget import STRUCTURE_UNITS, Budget
from meterseal.codec.scalars import EMPTY, FIXED
from meterseal.codec.types import Tag

MAX_FIELDS: Final = 80
"""Most values inside each other and side by side in one skeleton."""

STRUCTURE: Final = 0x02
_STRING, _BITS, _NESTED, _OTHER = -1, -2, -3, -4
_OCTETS: Final = tuple(bytes((octet,)) for octet in range(256))


def _widths() -> tuple[int, ...]:
    """Octets of a value by its tag, tag included, or what kind its length is of."""
    table = [_OTHER] * 256
    for tag, row in FIXED.items():
        table[tag] = 1 + row.width
    for tag in EMPTY:
        table[tag] = 1
    table[Tag.OCTET_STRING] = table[Tag.VISIBLE_STRING] = table[Tag.UTF8_STRING] = _STRING
    table[Tag.BIT_STRING] = _BITS
    table[Tag.STRUCTURE] = _NESTED
    return tuple(table)


_WIDTHS: Final = _widths()


class Skeleton:
    """Skeleton of a value, or of a turn of values that follow one another.

    `octets` and their `offsets` in the value; `length` of the value in octets; `structures` in it;
    `units` of work to read it.
    """

    __slots__ = ("length", "octets", "offsets", "structures", "units")

    def __init__(self, octets: bytes, offsets: list[int], length: int, fields: int, structures: int) -> None:
        self.octets = octets
        self.offsets = offsets
        self.length = length
        self.structures = structures
        self.units = fields + STRUCTURE_UNITS * structures

    def fits(self, buf: bytes, pos: int, count: int) -> bool:
        """Whether `count` values at `pos`, whose octets must be there, all have this skeleton."""
        length = self.length
        stop = pos + length * count
        for offset, octet in zip(self.offsets, self.octets, strict=True):
            if buf[pos + offset : stop : length] != _OCTETS[octet] * count:
                return False
        return True

    def found(self, buf: bytes, pos: int, end: int, count: int, budget: Budget) -> bool:
        """Whether `count` values of this skeleton are at `pos`, as far as the budget lets it look."""
        return (
            self.length * count <= end - pos
            and budget.try_for(len(self.octets) * (1 + (count >> 4)))
            and self.fits(buf, pos, count)
        )

    def first_misfit(self, values: bytes) -> int:
        """How many of `values`, all of this length, come before the first that has another skeleton."""
        length = self.length
        first = len(values) // length
        for offset, octet in zip(self.offsets, self.octets, strict=True):
            column = values[offset : first * length : length]
            if column != _OCTETS[octet] * first:
                first -= len(column.lstrip(_OCTETS[octet]))
        return first


def skeleton_at(buf: bytes, pos: int, end: int) -> Skeleton | None:
    """Skeleton of the value at `pos`; None when it has none or is cut: reading value by value tells why.

    Arrays have none, nor have strings of 128 octets and more or values of more than MAX_FIELDS.
    """
    start = pos
    octets: list[int] = []
    offsets: list[int] = []
    keep, at = octets.append, offsets.append
    widths = _WIDTHS
    left = fields = 1
    structures = 0
    try:
        while left:
            left -= 1
            tag = buf[pos]
            width = widths[tag]
            keep(tag)
            at(pos - start)
            if width >= 0:
                pos += width
                continue
            count = buf[pos + 1]
            if width == _OTHER or count >= 0x80:
                return None
            keep(count)
            at(pos - start + 1)
            pos += 2
            if width == _STRING:
                pos += count
            elif width == _BITS:
                pos += (count + 7) >> 3
            else:
                structures += 1
                left += count
                fields += count
                if fields > MAX_FIELDS:
                    return None
    except IndexError:
        return None
    return Skeleton(bytes(octets), offsets, pos - start, fields, structures) if pos <= end else None


def turn_of(skeletons: Sequence[Skeleton]) -> Skeleton:
    """The skeleton of values that follow one another."""
    offsets: list[int] = []
    length = 0
    for skeleton in skeletons:
        offsets += [length + offset for offset in skeleton.offsets]
        length += skeleton.length
    octets = b"".join(skeleton.octets for skeleton in skeletons)
    turn = Skeleton(octets, offsets, length, 0, max(skeleton.structures for skeleton in skeletons))
    turn.units = sum(skeleton.units for skeleton in skeletons)
    return turn
