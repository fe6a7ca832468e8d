"""Reading the rows of an array by their skeletons: all alike, alike in turn, or sorted by skeleton."""

from __future__ import annotations

from typing import Any, Final

from meterseal.codec.budget import Budget
from meterseal.codec.rows_sort import ReadOne, Sorter
from meterseal.codec.shapes import shape_of
from meterseal.codec.skeletons import STRUCTURE, Skeleton, skeleton_at, turn_of
from meterseal.codec.types import Type

MIN_ROWS: Final = 8
"""Fewer elements of one skeleton are read one by one: making a shape of it would cost more."""

MIN_SORTED: Final = 32
"""Arrays of fewer rows are not sorted."""

MAX_TURN: Final = 4
"""Longest turn of skeletons that is looked for: with a full clock in every fourth row it is four."""


def same_type(
    buf: bytes, pos: int, end: int, count: int, room: int, budget: Budget
) -> tuple[Type, int] | None:
    """The type that `count` values at `pos` have by their one skeleton, and the position behind them."""
    skeleton = skeleton_at(buf, pos, end) if count >= MIN_ROWS else None
    if skeleton and skeleton.structures <= room and skeleton.found(buf, pos, end, count, budget):
        return shape_of(skeleton.octets).types[0], pos + skeleton.length * count
    return None


def take_rows(
    buf: bytes, pos: int, end: int, count: int, room: int, budget: Budget, read_one: ReadOne
) -> tuple[list[Any], int]:
    """Read as many of `count` values at `pos` as have skeletons; return them and the position behind them.

    What is left, all of them perhaps, is for the reader that goes value by value and names errors;
    `read_one` is that reader, for skeletons that are rare. `room` is for structures inside each other.
    """
    skeleton = skeleton_at(buf, pos, end) if count >= MIN_ROWS else None
    if skeleton is None or skeleton.structures > room:
        return [], pos
    if skeleton.found(buf, pos, end, count, budget):
        return _take(skeleton, buf, pos, count, budget)
    if skeleton.octets[0] != STRUCTURE or count < 2 * MIN_ROWS:
        return [], pos
    turn = _first_turn(skeleton, buf, pos + skeleton.length, end)
    if turn and count // len(turn) >= MIN_ROWS:
        whole, turns = turn_of(turn), count // len(turn)
        if whole.structures <= room and whole.found(buf, pos, end, turns, budget):
            return _take(whole, buf, pos, turns, budget)
    if count < MIN_SORTED:
        return [], pos
    sorter = Sorter(skeleton, room, budget)
    pos = sorter.read(buf, pos, end, count)
    return sorter.rows(MIN_ROWS, read_one), pos


def _take(skeleton: Skeleton, buf: bytes, pos: int, count: int, budget: Budget) -> tuple[list[Any], int]:
    budget.spent += skeleton.units * count
    return shape_of(skeleton.octets).read(buf, pos, count), pos + skeleton.length * count


def _first_turn(first: Skeleton, buf: bytes, pos: int, end: int) -> list[Skeleton]:
    """The turn of skeletons that ends where `first` comes again behind another one; empty if not soon."""
    turn = [first]
    for _ in range(MAX_TURN):
        skeleton = skeleton_at(buf, pos, end)
        if skeleton is None or skeleton.octets[0] != STRUCTURE:
            break
        if skeleton.octets == first.octets != turn[-1].octets:
            return turn
        turn.append(skeleton)
        pos += skeleton.length
    return []
