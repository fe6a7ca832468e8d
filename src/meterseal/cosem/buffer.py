"""The buffer of a Profile generic, meter's side: order, capacity, and selection by range and entry.

Pure functions over lists of complete rows (fact sheet more 7). Selections come from
`cosem.selection`; an answer is rows of the chosen columns, empty where nothing lies in the range.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from meterseal.cosem.moments import time_window
from meterseal.cosem.profile import Column, SortMethod
from meterseal.cosem.selection import ByEntry, ByRange, CaptureObject, ProfileSelection
from meterseal.cosem.shapes import Kind
from meterseal.errors import Malformed, Unsupported

Row: TypeAlias = tuple[Any, ...]


def insert(rows: list[Row], row: Row, *, method: SortMethod, key: int = 0, capacity: int) -> None:
    """Put a captured row in its place; a full buffer loses its least interesting row.

    FIFO keeps the oldest first and loses it, LIFO keeps the newest first; the sorted methods order
    by the number in column `key` and lose the last. `capacity` is profile_entries (at least 1).
    """
    if method is SortMethod.FIFO:
        rows.append(row)
        del rows[: max(0, len(rows) - capacity)]
        return
    if method is SortMethod.LIFO:
        rows.insert(0, row)
    else:
        rank = _RANKS[method]
        # Behind its equals: the older one stays in front.
        rows.insert(bisect_right(rows, rank(row[key]), key=lambda held: rank(held[key])), row)
    del rows[capacity:]


_RANKS: dict[SortMethod, Callable[[Any], Any]] = {
    SortMethod.LARGEST: lambda value: -value,
    SortMethod.SMALLEST: lambda value: value,
    SortMethod.NEAREST_TO_ZERO: abs,
    SortMethod.FARTHEST_FROM_ZERO: lambda value: -abs(value),
}


def select(rows: Sequence[Row], columns: Sequence[Column], selection: ProfileSelection) -> list[Row]:
    """The rows and columns a selective access asks for.

    Raises `Unsupported` where it names a column or an entry that there cannot be, `Malformed` where a bound
    does not compare with its column.
    """
    if isinstance(selection, ByRange):
        return select_by_range(rows, columns, selection)
    return select_by_entry(rows, columns, selection)


def select_by_range(rows: Sequence[Row], columns: Sequence[Column], selection: ByRange) -> list[Row]:
    """Rows whose restricting column lies in the range, both ends included, in the buffer's order."""
    at = _position(columns, selection.restricting)
    chosen = [_position(columns, wanted) for wanted in selection.columns]
    inside = _inside(columns[at], selection)
    return _cut((row for row in rows if inside(row[at])), chosen)


def select_by_entry(rows: Sequence[Row], columns: Sequence[Column], selection: ByEntry) -> list[Row]:
    """Entries and columns by number from 1; 0 as the last means the end, numbers beyond it count as the end.

    Raises `Unsupported` for a first entry or column of 0 or behind the last one, and for a first column that
    the profile does not have; entries that are not there yet are none.
    """
    entries = chosen_entries(selection, len(rows))
    cells = _slice(selection.first_column, selection.last_column, len(columns), "column")
    if cells.start >= len(columns):
        raise Unsupported(f"column {selection.first_column} of {len(columns)}")
    if cells == slice(0, len(columns)):
        return [rows[at] for at in entries]
    return [rows[at][cells] for at in entries]


def chosen_entries(selection: ByEntry, count: int) -> range:
    """The rows that a selection names, from 0, of so many that there are.  Raises as `select_by_entry`."""
    return range(count)[_slice(selection.first, selection.last, count, "entry")]


def _slice(first: int, last: int, count: int, what: str) -> slice:
    if first < 1 or (last and last < first):
        raise Unsupported(
            f"{what} {first} to {last} is no selection; they count from 1, 0 as the last is the end"
        )
    return slice(first - 1, min(last, count) if last else count)


def _position(columns: Sequence[Column], wanted: CaptureObject) -> int:
    for at, column in enumerate(columns):
        if column.source == wanted:
            return at
    raise Unsupported(f"{wanted} is not captured by this profile")


def _cut(rows: Any, chosen: list[int]) -> list[Row]:
    if not chosen:
        return list(rows)
    return [tuple(row[at] for at in chosen) for row in rows]


def _inside(column: Column, selection: ByRange) -> Callable[[Any], bool]:
    """A test for one cell of the restricting column."""
    start = selection.start if isinstance(selection.start, bytes | int) else selection.start.to_octets()
    end = selection.end if isinstance(selection.end, bytes | int) else selection.end.to_octets()
    if type(start) is not type(end):
        raise Malformed("the bounds of a range are not of one type")
    if isinstance(start, bytes) and isinstance(end, bytes) and column.kind is Kind.DATE_TIME:
        return _cells_of(bytes, time_window(start, end))
    return _cells_of(type(start), lambda cell: bool(start <= cell <= end))


def _cells_of(wanted: type, test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The test, with `Malformed` for a cell of another type than the bounds."""

    def inside(cell: Any) -> bool:
        if not isinstance(cell, wanted):
            raise Malformed("the bounds of the range are of another type than the column")
        return test(cell)

    return inside
