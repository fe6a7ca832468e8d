"""Days and times that come again: patterns of dates with open fields, and when they are met next.

Open fields, last days and the months of daylight saving as in `times`.  A search looks at whole days and
has an end, so a pattern that names no day at all (30 February) costs no more than one far away.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Final

from meterseal.cosem.time_fields import DST_BEGIN, DST_END, LAST_DAY, SECOND_LAST_DAY, days_in_month
from meterseal.cosem.times import Date, Time

FARTHEST: Final = 366 * 8 + 1
"""Days that a search goes: 29 February is at most eight years away."""

_ONE_DAY: Final = timedelta(days=1)

_SAVING_MONTHS: Final = {DST_BEGIN: 3, DST_END: 10}
"""Where European summer time begins and ends."""


def _month_fits(pattern: Date, day: date) -> bool:
    """True when the pattern may name days of this month."""
    if pattern.year not in (None, day.year):
        return False
    month = pattern.month if pattern.month is None else _SAVING_MONTHS.get(pattern.month, pattern.month)
    return month in (None, day.month)


def day_fits(pattern: Date, day: date) -> bool:
    """True when a day is one of those that the pattern names."""
    if not _month_fits(pattern, day) or pattern.weekday not in (None, day.isoweekday()):
        return False
    if pattern.day not in (LAST_DAY, SECOND_LAST_DAY):
        return pattern.day in (None, day.day)
    left = days_in_month(day.year, day.month) - day.day
    if pattern.weekday is None:
        return left == (0 if pattern.day == LAST_DAY else 1)
    return left < 7 if pattern.day == LAST_DAY else 7 <= left < 14


def next_time(patterns: Iterable[tuple[Time, Date]], after: datetime) -> datetime | None:
    """The first moment after `after` (a face without zone) that some pattern names; None where none does.

    Hour and minute have to be given; an open second is 0.
    """
    found = [moment for time, day in patterns if (moment := _next(time, day, after)) is not None]
    return min(found, default=None)


def _next(time: Time, pattern: Date, after: datetime) -> datetime | None:
    if time.hour is None or time.minute is None or time.invalid:
        return None
    at = clock_time(time.hour, time.minute, time.second or 0)
    if pattern.complete:
        once = datetime.combine(date(pattern.year or 0, pattern.month or 0, pattern.day or 0), at)
        return once if once > after and day_fits(pattern, once.date()) else None
    first = after.date() + timedelta(days=datetime.combine(after.date(), at) <= after)
    if pattern.year is not None and 1 <= pattern.year <= 9998:
        first = max(first, date(pattern.year, 1, 1))
    day = first
    while (day - first).days < FARTHEST and (pattern.year is None or day.year <= pattern.year):
        if day_fits(pattern, day):
            return datetime.combine(day, at)
        day = day + _ONE_DAY if _month_fits(pattern, day) else _next_month(day)
    return None


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def last_day(pattern: Date, until: date) -> date | None:
    """The latest day up to `until` that the pattern names, within the year before it; None where none is."""
    oldest, day = until - timedelta(days=366), until
    while day >= oldest:
        if day_fits(pattern, day):
            return day
        # A month that the pattern does not name is passed over at once.
        day = day.replace(day=1) - _ONE_DAY if not _month_fits(pattern, day) else day - _ONE_DAY
    return None
