"""Fields of dates and times: octets, ranges and text of one field each; `times` puts them together."""

from __future__ import annotations

import calendar
import re
import struct
from typing import Final

from meterseal.errors import Malformed, Misuse

DST_BEGIN: Final = 0xFE
"""Month: the one in which daylight saving starts."""
DST_END: Final = 0xFD
"""Month: the one in which daylight saving ends."""
LAST_DAY: Final = 0xFE
"""Day: the last of the month; with a weekday, the last such weekday."""
SECOND_LAST_DAY: Final = 0xFD
"""Day: the last but one of the month."""

OPEN: Final = 0xFF
OPEN_YEAR: Final = 0xFFFF
OPEN_DEVIATION: Final = -0x8000
DATE_TIME_LAYOUT: Final = struct.Struct(">HBBBBBBBhB")
DATE_LAYOUT: Final = struct.Struct(">HBBB")
TIME_LAYOUT: Final = struct.Struct(">BBBB")
MONTH_WORDS: Final = {DST_BEGIN: "begin", DST_END: "end"}
DAY_WORDS: Final = {LAST_DAY: "last", SECOND_LAST_DAY: "last2"}
WORD_NUMBERS: Final = {"begin": DST_BEGIN, "end": DST_END, "last": LAST_DAY, "last2": SECOND_LAST_DAY}

DATE_TEXT: Final = (
    r"(?P<year>\*|\d{1,5})-(?P<month>\*|begin|end|\d{1,3})-(?P<day>\*|last2|last|\d{1,3})"
    r"(?:/(?P<weekday>\d{1,3}))?"
)
TIME_TEXT: Final = (
    r"(?P<hour>\*|\d{1,3}):(?P<minute>\*|\d{1,3})"
    r"(?::(?P<second>\*|\d{1,3})(?:[.,](?P<fraction>\*|\d{1,9}))?)?"
)
OFFSET_TEXT: Final = r"(?P<offset>[Zz]|[+-]\d{2,3}:?\d{2})?"
DATE_RE: Final = re.compile(DATE_TEXT, re.ASCII)
TIME_RE: Final = re.compile(TIME_TEXT, re.ASCII)
DATE_TIME_RE: Final = re.compile(rf"{DATE_TEXT}(?:[Tt ]{TIME_TEXT}{OFFSET_TEXT})?", re.ASCII)


def need(octets: bytes, size: int, what: str) -> None:
    """Raise `Malformed` unless there are `size` octets."""
    if len(octets) != size:
        raise Malformed(f"a {what} has {size} octets, not {len(octets)}")


def opened(octet: int) -> int | None:
    """FF reads as None."""
    return None if octet == OPEN else octet


def closed(field: int | None) -> int:
    """None writes as FF."""
    return OPEN if field is None else field


def closed_year(year: int | None) -> int:
    """None writes as FFFF."""
    return OPEN_YEAR if year is None else year


def packed(layout: struct.Struct, *fields: int) -> bytes:
    """The octets of the fields; `Misuse` where one does not fit."""
    try:
        return layout.pack(*fields)
    except struct.error as error:
        raise Misuse(f"a date or time field does not fit its octets: {error}") from error


def days_in_month(year: int, month: int) -> int:
    """Days of a month, 1..12, of any year from 0 (Gregorian rule)."""
    return (
        29
        if month == 2 and calendar.isleap(year)
        else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    )


def is_day(year: int | None, month: int | None, day: int | None) -> bool:
    """True for a day of the calendar, years 1 to 9999."""
    if year is None or month is None or day is None:
        return False
    return 1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= days_in_month(year, month)


def is_time(hour: int | None, minute: int | None, second: int | None) -> bool:
    """True for an hour, minute and second in range."""
    if hour is None or minute is None or second is None:
        return False
    return 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60


def invalid_date(
    year: int | None, month: int | None, day: int | None, weekday: int | None
) -> tuple[str, ...]:
    """Names of the day's fields that mean nothing; words (last day, DST month) are fine."""
    odd = []
    month_odd = month is not None and not 1 <= month <= 12 and month not in MONTH_WORDS
    if month_odd:
        odd.append("month")
    if day is not None and day not in DAY_WORDS:
        # 29 February is a day as long as the year is open; without a month every day up to 31 is.
        known = month is not None and 1 <= month <= 12
        longest = days_in_month(2000 if year is None else year, month) if known and month else 31
        if not 1 <= day <= longest:
            odd.append("day")
    if weekday is not None and not 1 <= weekday <= 7:
        odd.append("weekday")
    return tuple(odd)


def invalid_time(*fields: int | None) -> tuple[str, ...]:
    """Names of the time's fields beyond their range."""
    limits = (("hour", 24), ("minute", 60), ("second", 60), ("hundredths", 100))
    return tuple(
        name
        for (name, limit), field in zip(limits, fields, strict=True)
        if field is not None and field >= limit
    )


# --- text ---------------------------------------------------------------------------------------


def _field_text(field: int | None, width: int, words: dict[int, str] | None = None) -> str:
    if field is None:
        return "*"
    return (words or {}).get(field) or f"{field:0{width}}"


def date_text(year: int | None, month: int | None, day: int | None, weekday: int | None) -> str:
    """`2021-07-19`, `*-03-last/7`: see `DateTime.text`."""
    named = f"{_field_text(year, 4)}-{_field_text(month, 2, MONTH_WORDS)}-{_field_text(day, 2, DAY_WORDS)}"
    return named if weekday is None or is_day(year, month, day) else f"{named}/{weekday}"


def time_text(hour: int | None, minute: int | None, second: int | None, hundredths: int | None) -> str:
    """`15:46:35`, `*:*:*`: see `DateTime.text`."""
    named = f"{_field_text(hour, 2)}:{_field_text(minute, 2)}:{_field_text(second, 2)}"
    return f"{named}.{hundredths:02}" if hundredths else named


def matched(pattern: re.Pattern[str], text: str, what: str) -> re.Match[str]:
    """The whole text as a match; `Misuse` with the text, cut and quoted, otherwise."""
    match = pattern.fullmatch(text.strip())
    if match is None:
        shown = repr(text if len(text) <= 60 else text[:57] + "...")
        raise Misuse(f"{shown} is no {what}: write ISO 8601, `*` for an open field")
    return match


def _number(text: str | None, highest: int) -> int | None:
    if text is None or text == "*":
        return None
    number = WORD_NUMBERS.get(text)
    if number is None:
        number = int(text)
        if number > highest:
            raise Misuse(f"{number} in a date or time is more than {highest}")
    return number


def date_fields(match: re.Match[str]) -> tuple[int | None, int | None, int | None, int | None]:
    """Year, month, day and weekday; a complete day gets its weekday."""
    year = _number(match["year"], OPEN_YEAR - 1)
    month = _number(match["month"], OPEN - 1)
    day = _number(match["day"], OPEN - 1)
    weekday = _number(match["weekday"], OPEN - 1)
    if is_day(year, month, day):
        weekday = calendar.weekday(year or 0, month or 0, day or 0) + 1
    return year, month, day, weekday


def time_fields(match: re.Match[str]) -> tuple[int | None, int | None, int | None, int | None]:
    """Hour, minute, second and hundredths."""
    hour = _number(match["hour"], OPEN - 1)
    minute = _number(match["minute"], OPEN - 1)
    open_clock = hour is None or minute is None
    second = _number(match["second"], OPEN - 1) if match["second"] else (None if open_clock else 0)
    fraction = match["fraction"]
    if fraction is None:
        # "10:00:00" means the full second; a pattern with open fields leaves the hundredths open too.
        return hour, minute, second, None if open_clock or second is None else 0
    return hour, minute, second, None if fraction == "*" else int(fraction.ljust(2, "0")[:2])


def offset_minutes(offset: str | None) -> int | None:
    """The deviation that an ISO offset stands for: the opposite sign (UTC = local + deviation)."""
    if offset is None:
        return None
    if offset in "Zz":
        return 0
    hours, minutes = offset[1:-2].rstrip(":"), offset[-2:]
    total = int(hours) * 60 + int(minutes)
    if total > 0x7FFF:
        raise Misuse(f"an offset of {offset} does not fit the deviation")
    return total if offset[0] == "-" else -total
