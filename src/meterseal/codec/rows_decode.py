"""Reading the rows of an array by their shapes: all alike, or sorted by shape."""

from __future__ import annotations

from typing import Any, Final

from meterseal.codec.budget import Budget
from meterseal.codec.rows import Shape, shape_of, skeleton_at
from meterseal.codec.rows_sort import Sorter

MIN_ROWS: Final = 8
"""Arrays of fewer elements are read one by one: finding their shape would cost more."""

MAX_TURN: Final = 4
"""Longest turn of shapes that is looked for: with a full clock in every fourth row it is four."""

_STRUCTURE: Final = b"\x02"


def same_shape(buf: bytes, pos: int, end: int, count: int, room: int, budget: Budget) -> Shape | None:
    """The shape that `count` values at `pos` share, if any; `room` is for structures inside each other."""
    if count < MIN_ROWS:
        return None
    shape = shape_of(skeleton_at(buf, pos, end)[0], room, budget)
    return shape if shape and shape.takes(buf, pos, end, count, budget) else None


def take_rows(buf: bytes, pos: int, end: int, count: int, room: int, budget: Budget) -> tuple[list[Any], int]:
    """Read as many of `count` values at `pos` as have shapes; return them and the position behind them.

    What is left, all of them perhaps, is for the reader that goes value by value and names errors.
    """
    if count < MIN_ROWS:
        return [], pos
    skeleton, behind = skeleton_at(buf, pos, end)
    shape = shape_of(skeleton, room, budget)
    if shape is None:
        return [], pos
    if shape.takes(buf, pos, end, count, budget):
        return _take(shape, buf, pos, count, budget)
    if skeleton[:1] != _STRUCTURE:
        return [], pos
    turn = shape_of(_first_turn(skeleton, buf, behind, end), room, budget)
    if turn and turn.takes(buf, pos, end, count // len(turn.types), budget):
        return _take(turn, buf, pos, count // len(turn.types), budget)
    sorter = Sorter(shape, room, budget)
    pos = sorter.read(buf, pos, end, count)
    return sorter.rows(), pos


def _take(shape: Shape, buf: bytes, pos: int, count: int, budget: Budget) -> tuple[list[Any], int]:
    budget.spent += shape.units * count
    return shape.read(buf, pos, count), pos + shape.length * count


def _first_turn(first: bytes, buf: bytes, pos: int, end: int) -> bytes:
    """Skeleton of the turn that ends where `first` comes again behind another one; empty if not soon."""
    turn = [first]
    for _ in range(MAX_TURN):
        skeleton, pos = skeleton_at(buf, pos, end)
        if skeleton[:1] != _STRUCTURE:
            break
        if skeleton == first != turn[-1]:
            return b"".join(turn)
        turn.append(skeleton)
    return b""
