"""Comparing date-times by what they mean, and windows of time for selection by range.

Rules (fact sheet more 7; the wild cards are common practice, not quoted from the standard): where
both sides specify a deviation the comparison is in UTC, otherwise between the clocks' own faces; a
field open on either side is passed over, so 2021-01-15T*:*:* equals any time of that day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from meterseal.cosem.time_fields import DAY_WORDS, LAST_DAY, MONTH_WORDS, days_in_month, is_day
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
    # Complete bounds on one clock: octets without the weekday compare as the time does.
    plain = _plain(start) and _plain(end) and start[9:11] == end[9:11]
    first, last, clock = _sort_key(start), _sort_key(end), start[9:11]

    def inside(moment: bytes) -> bool:
        if plain and moment[9:11] == clock and len(moment) == 12 and _plain(moment):
            return first <= _sort_key(moment) <= last
        when = DateTime.from_octets(moment)
        return compare(lowest, when) <= 0 and compare(when, highest) <= 0

    return inside


def _plain(octets: bytes) -> bool:
    """No open field and no word in year to hundredths (a year xxFF counts as open here)."""
    return octets[2] <= 12 and octets[3] <= 31 and 0xFF not in octets[:4] and 0xFF not in octets[5:9]


def _sort_key(octets: bytes) -> bytes:
    return octets[:4] + octets[5:9]


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
