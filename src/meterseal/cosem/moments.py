"""Comparing date-times by what they mean, and windows of time for selection by range.

Rules (fact sheet more 7; the wild cards are common practice, not quoted from the standard): where
both sides specify a deviation the comparison is in UTC, otherwise between the clocks' own faces; a
field open on either side is passed over, so 2021-01-15T*:*:* equals any time of that day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from meterseal.cosem.time_fields import DAY_WORDS, LAST_DAY, MONTH_WORDS, OPEN, days_in_month, is_day
from meterseal.cosem.times import DateTime


def compare(left: DateTime, right: DateTime) -> int:
    """-1, 0 or 1: `left` before, indistinguishable from, or after `right`.

    With open fields "0" is no equivalence: a pattern may equal two moments that differ.
    """
    if left.deviation is not None and right.deviation is not None and left.deviation != right.deviation:
        left, right = _in_utc(left), _in_utc(right)
    for mine, other in zip(_face(left), _face(right), strict=True):
        if mine is not None and other is not None and mine != other:
            return -1 if mine < other else 1
    return 0


def time_window(start: bytes, end: bytes) -> Callable[[bytes], bool]:
    """A test for "start <= moment <= end" over 12-octet date-times, both ends included.

    Raises `Malformed` here, or in the test, for octets that are not 12.
    """
    lowest, highest = DateTime.from_octets(start), DateTime.from_octets(end)
    first, last = _minute_key(start), _minute_key(end)
    # The short way for what buffers are full of: complete times, all with a deviation or all without.
    local = lowest.deviation is None
    alike = local == (highest.deviation is None)
    bounds = (first, last) if first is not None and last is not None and alike else None

    def inside(moment: bytes) -> bool:
        if bounds is not None and len(moment) == 12 and (moment[9:11] == _NO_DEVIATION) == local:
            key = _minute_key(moment)
            if key is not None:
                return bounds[0] <= key <= bounds[1]
        when = DateTime.from_octets(moment)
        return compare(lowest, when) <= 0 and compare(when, highest) <= 0

    return inside


_NO_DEVIATION: Final = b"\x80\x00"


def _minute_key(octets: bytes) -> int | None:
    """One number that sorts complete date-times in UTC (local time without deviation); None for others."""
    day = _day_minutes(octets[:4])
    hour, minute, second, hundredths = octets[5:9]
    if day is None or hour > 23 or minute > 59 or second == OPEN or hundredths == OPEN:
        return None
    deviation = octets[9:11]
    shift = 0 if deviation == _NO_DEVIATION else int.from_bytes(deviation, "big", signed=True)
    return (day + hour * 60 + minute + shift) << 16 | second << 8 | hundredths


@lru_cache(maxsize=4096)
def _day_minutes(octets: bytes) -> int | None:
    """Minutes from the calendar's first day to the day that year, month and day name; None for no day."""
    year = octets[0] << 8 | octets[1]
    # The outermost years are left to `compare`, which knows what to do when a shift leaves the calendar.
    if not 1 < year < 9999 or not is_day(year, octets[2], octets[3]):
        return None
    return date(year, octets[2], octets[3]).toordinal() * 1440


def _face(moment: DateTime) -> tuple[int | None, ...]:
    """Year to hundredths for the comparison: the last days as numbers, other words open."""
    day = moment.day
    month = None if moment.month in MONTH_WORDS else moment.month
    if day in DAY_WORDS:
        known = moment.year is not None and month is not None and 1 <= month <= 12
        day = _last_day(moment.year or 0, month or 1, day) if known else None
    return moment.year, month, day, moment.hour, moment.minute, moment.second, moment.hundredths


def _last_day(year: int, month: int, word: int | None) -> int:
    return days_in_month(year, month) - (0 if word == LAST_DAY else 1)


def _in_utc(moment: DateTime) -> DateTime:
    """The face shifted by the deviation, where hour, minute and day allow; else as it is."""
    if moment.deviation is None or not is_day(moment.year, moment.month, moment.day):
        return moment
    if moment.hour is None or moment.minute is None or moment.hour > 23 or moment.minute > 59:
        return moment
    whole = replace(moment, second=0, hundredths=0, deviation=None).to_datetime()
    try:
        utc = whole + timedelta(minutes=moment.deviation)
    except OverflowError:  # the first or last day of the calendar: nothing to shift into
        return moment
    return replace(moment, year=utc.year, month=utc.month, day=utc.day, hour=utc.hour, minute=utc.minute)
