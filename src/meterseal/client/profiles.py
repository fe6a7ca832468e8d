"""Reading a profile: its columns first, then the rows asked for, made complete.

By time the selection is a range on the clock's column, both ends included; by number it is entries in
the buffer's order, from 1 (more 7, acse-xdlms 5.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any, Final, TypeAlias

from meterseal.association import Operation, Service
from meterseal.client.access import Access, Result
from meterseal.client.steps import Steps
from meterseal.client.typed import to_selection
from meterseal.client.values import Profile, make_profile, refusal
from meterseal.codec.data import decode, describe
from meterseal.codec.types import Type
from meterseal.cosem.classes import PROFILE
from meterseal.cosem.obis import Obis, ObjectAddress, parse_object
from meterseal.cosem.profile import Column, SortMethod, columns_from_value, complete_rows
from meterseal.cosem.selection import ByEntry, ByRange, CaptureObject, ProfileSelection
from meterseal.cosem.times import DateTime, meant
from meterseal.errors import Malformed, MetersealError, Misuse

Moment: TypeAlias = DateTime | datetime | date | str
"""A time as the caller may give it; text is ISO 8601.  A `date` is that whole day by the meter's clock."""

_CAPTURE_OBJECTS, _CAPTURE_PERIOD, _SORT_METHOD = 3, 4, 5
_EARLIEST: Final = DateTime(2000, 1, 1, None, 0, 0, 0, 0)
_LATEST: Final = DateTime(2099, 12, 31, None, 23, 59, 59, 99)
"""Ends of a range that is open on one side: far away, and no wild cards, which meters read in many ways."""


def read_profile(
    access: Access,
    obis: Obis,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    entries: tuple[int, int] | None = None,
    columns: Sequence[str | CaptureObject] = (),
    short_rows: bool = False,
) -> Steps[Profile]:
    """The rows of a profile, all of them when nothing limits them."""
    if entries is not None and (since is not None or until is not None):
        raise Misuse("rows are selected by time or by entries, not by both")
    names = (_CAPTURE_OBJECTS, _CAPTURE_PERIOD, _SORT_METHOD)
    results = yield from access.get_all([Operation(Service.GET, PROFILE, obis, name) for name in names])
    captured = columns_from_value(_decoded(obis, _CAPTURE_OBJECTS, results[0]))
    wanted = _chosen(captured, columns)
    selection = _selection(captured, wanted, since, until, entries)
    raw = yield from access.get(PROFILE, obis, 2, to_selection(selection))
    sent = _sent(len(captured), wanted, selection)
    shown = yield from _with_scalers(access, [captured[at] for at in sent])
    type_: Type | None = describe(raw)
    rows = complete_rows(
        decode(raw),
        shown,
        capture_period=_number(results[1], None),
        sort_method=_number(results[2], SortMethod.FIFO) or SortMethod.FIFO,
        type_=type_,
        short_rows=short_rows,
    )
    if sent != wanted:
        kept = [sent.index(at) for at in wanted]
        rows = [tuple(row[at] for at in kept) for row in rows]
        shown, type_ = tuple(shown[at] for at in kept), None
    return make_profile(obis, shown, rows, raw, type_)


def _decoded(obis: Obis, attribute: int, result: Result) -> Any:
    if isinstance(result, MetersealError):
        raise result
    if result.code or result.data is None:
        raise refusal(f"{PROFILE}/{obis}:{attribute}", result.code)
    return decode(result.data)


def _number(result: Result, otherwise: int | None) -> int | None:
    """A number that helps to complete rows; one that the meter does not show is missed when it is needed."""
    if isinstance(result, MetersealError) or result.code or result.data is None:
        return otherwise
    value = decode(result.data)
    if type(value) is not int:
        raise Malformed("capture_period and sort_method are numbers")
    return value


def _chosen(captured: tuple[Column, ...], columns: Sequence[str | CaptureObject]) -> list[int]:
    """Indices of the columns asked for, in the buffer's order; all when none are named."""
    if not columns:
        return list(range(len(captured)))
    return sorted({_find(captured, column) for column in columns})


def _find(captured: tuple[Column, ...], wanted: str | CaptureObject) -> int:
    if isinstance(wanted, CaptureObject):
        found = [at for at, column in enumerate(captured) if column.source == wanted]
    else:
        address = parse_object(wanted)
        found = [at for at, column in enumerate(captured) if _names(address, column.source)]
    if len(found) != 1:
        count = "no column" if not found else f"{len(found)} columns"
        raise Misuse(f"the profile has {count} of {wanted}")
    return found[0]


def _names(address: ObjectAddress, source: CaptureObject) -> bool:
    return (
        address.obis == source.obis
        and address.class_id in (None, source.class_id)
        and (not address.explicit_member or address.member == source.attribute)
    )


def _selection(
    captured: tuple[Column, ...],
    wanted: list[int],
    since: Moment | None,
    until: Moment | None,
    entries: tuple[int, int] | None,
) -> ProfileSelection | None:
    part = len(wanted) < len(captured)
    if since is not None or until is not None:
        clock = next((column.source for column in captured if column.is_clock), None)
        if clock is None:
            raise Misuse("the profile has no column with a time: select by entries")
        start, end = _moment(since, _EARLIEST, time.min), _moment(until, _LATEST, time.max)
        chosen = tuple(captured[at].source for at in wanted) if part else ()
        return ByRange(start, end, clock, chosen)
    if entries is None and not part:
        return None
    first, last = entries or (1, 0)
    if not 1 <= first <= 0xFFFF_FFFF or not (last == 0 or first <= last <= 0xFFFF_FFFF):
        raise Misuse("entries are (first, last), from 1 on; 0 as the last means to the end")
    if not part:
        return ByEntry(first, last)
    return ByEntry(first, last, wanted[0] + 1, wanted[-1] + 1)


def _moment(moment: Moment | None, otherwise: DateTime, of_day: time) -> DateTime:
    """The bound that is meant; `of_day` is where a whole day begins or ends.  Raises Misuse."""
    match moment:
        case None:
            return otherwise
        case str():
            return meant(DateTime.from_text(moment), "a bound")
        case datetime():
            return DateTime.from_datetime(moment)
        case date():
            return DateTime.from_datetime(datetime.combine(moment, of_day))
        case DateTime():
            return meant(moment, "a bound")
    raise Misuse(f"a bound is a datetime, a date, a DateTime or text, not {type(moment).__name__}")


def _sent(count: int, wanted: list[int], selection: ProfileSelection | None) -> list[int]:
    """The columns that the rows will hold: a range leaves them out one by one, entries only at the sides."""
    if isinstance(selection, ByRange):
        return wanted
    if selection is None:
        return list(range(count))
    return list(range(selection.first_column - 1, selection.last_column or count))


def _with_scalers(access: Access, columns: list[Column]) -> Steps[tuple[Column, ...]]:
    """The columns with scaler and unit, where they are quantities and the meter shows these."""
    names = [
        None if c.scaler_attribute is None or c.source.data_index
        else (c.source.class_id, c.source.obis, c.scaler_attribute)
        for c in columns
    ]  # fmt: skip
    known = yield from access.scalers([name for name in names if name is not None])
    return tuple(
        Column(column.source, *known.get(name, (None, None))) if name is not None else column
        for column, name in zip(columns, names, strict=True)
    )
