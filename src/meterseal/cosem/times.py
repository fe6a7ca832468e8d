"""Date-time, date and time of COSEM: 12, 5 and 4 octets, any field of which may be left open.

Layout (fact sheet acse-xdlms 6): year u16, month, day, weekday | hour, minute, second, hundredths |
deviation i16 in minutes, clock status. FF (year FFFF, deviation 8000) is "not specified" and reads
as None here. Month FE / FD is the start / end of daylight saving, day FE / FD the last / last but
one of the month. Any other number outside its range is kept as it came: octets from a meter never
raise for what they say, only for how many they are (F17); `invalid` names such fields.

The sign of the deviation: **UTC = local time + deviation**. Central European summer time is -120.
Blue Book 4.1.6.1 counts from local time to UTC; a push of July 2021 with FF88 and the daylight
saving bit (vector tirol-push) agrees, and so does the field experience of other projects. The ISO
text shows the usual offset, +02:00. National profiles that turn the sign need a conversion of the
caller's own: `turned`.

Text is ISO 8601 with `*` for an open field; the rules are at `DateTime.text`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Final, TypeVar

from meterseal.cosem import time_fields as fields
from meterseal.cosem.time_fields import DST_BEGIN, DST_END, LAST_DAY, SECOND_LAST_DAY
from meterseal.errors import Malformed, Misuse

__all__ = ["DST_BEGIN", "DST_END", "LAST_DAY", "SECOND_LAST_DAY", "Date", "DateTime", "Time", "meant"]

# Clock status bits (Blue Book clock_status).
STATUS_INVALID: Final = 0x01
STATUS_DOUBTFUL: Final = 0x02
STATUS_OTHER_BASE: Final = 0x04
STATUS_BAD_STATUS: Final = 0x08
STATUS_DAYLIGHT_SAVING: Final = 0x80

_NO_TIME: Final = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Date:
    """A day: `year` 0..65534, `month`, `day`, `weekday` (1 Monday .. 7 Sunday); None is not specified."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None

    @classmethod
    def from_octets(cls, octets: bytes) -> Date:
        """Read 5 octets; `Malformed` for another number of them, never for their content."""
        fields.need(octets, 5, "date")
        year, *rest = fields.DATE_LAYOUT.unpack(octets)
        return cls(None if year == fields.OPEN_YEAR else year, *map(fields.opened, rest))

    def to_octets(self) -> bytes:
        """The 5 octets; `Misuse` for a field that does not fit its octets."""
        return fields.packed(
            fields.DATE_LAYOUT,
            fields.closed_year(self.year),
            *map(fields.closed, (self.month, self.day, self.weekday)),
        )

    @property
    def complete(self) -> bool:
        """True for a day of the calendar: year, month and day specified, and such a day exists."""
        return fields.is_day(self.year, self.month, self.day)

    @property
    def invalid(self) -> tuple[str, ...]:
        """Names of the fields whose number means nothing (month 13, day 0, 30 February)."""
        return fields.invalid_date(self.year, self.month, self.day, self.weekday)

    def text(self) -> str:
        """ISO 8601 day, open fields `*`; the weekday as "/7" only where the rest leaves it open."""
        return fields.date_text(self.year, self.month, self.day, self.weekday)

    __str__ = text

    @classmethod
    def from_text(cls, text: str) -> Date:
        """Read what `text` writes; a complete day gets its weekday. `Misuse` otherwise."""
        return cls(*fields.date_fields(fields.matched(fields.DATE_RE, text, "date")))


@dataclass(frozen=True, slots=True)
class Time:
    """A time of day: `hour`, `minute`, `second`, `hundredths`; None is not specified."""

    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    hundredths: int | None = None

    @classmethod
    def from_octets(cls, octets: bytes) -> Time:
        """Read 4 octets; `Malformed` for another number of them, never for their content."""
        fields.need(octets, 4, "time")
        return cls(*map(fields.opened, fields.TIME_LAYOUT.unpack(octets)))

    def to_octets(self) -> bytes:
        """The 4 octets; `Misuse` for a field that does not fit its octet."""
        return fields.packed(
            fields.TIME_LAYOUT, *map(fields.closed, (self.hour, self.minute, self.second, self.hundredths))
        )

    @property
    def complete(self) -> bool:
        """True when hour, minute and second are specified and in range."""
        return fields.is_time(self.hour, self.minute, self.second)

    @property
    def invalid(self) -> tuple[str, ...]:
        """Names of the fields whose number means nothing (hour 24, hundredths 100)."""
        return fields.invalid_time(self.hour, self.minute, self.second, self.hundredths)

    def text(self) -> str:
        """ISO 8601 time of day, open fields `*`; a fraction only when hundredths are 1 or more."""
        return fields.time_text(self.hour, self.minute, self.second, self.hundredths)

    __str__ = text

    @classmethod
    def from_text(cls, text: str) -> Time:
        """Read what `text` writes; seconds left out are 0. `Misuse` otherwise."""
        return cls(*fields.time_fields(fields.matched(fields.TIME_RE, text, "time")))


@dataclass(frozen=True, slots=True)
class DateTime:
    """A moment, or a pattern of moments where fields are open.

    Fields as in `Date` and `Time`; `deviation` in minutes (UTC = local + deviation) and `status`
    (clock status octet) are None when not specified. Equality compares fields; `compare` compares
    what they mean.
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None
    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    hundredths: int | None = None
    deviation: int | None = None
    status: int | None = None

    @classmethod
    def from_octets(cls, octets: bytes) -> DateTime:
        """Read 12 octets; `Malformed` for another number of them, never for their content."""
        fields.need(octets, 12, "date-time")
        year, month, day, weekday, hour, minute, second, hundredths, deviation, status = (
            fields.DATE_TIME_LAYOUT.unpack(octets)
        )
        return cls(
            None if year == fields.OPEN_YEAR else year,
            fields.opened(month), fields.opened(day), fields.opened(weekday),
            fields.opened(hour), fields.opened(minute), fields.opened(second), fields.opened(hundredths),
            None if deviation == fields.OPEN_DEVIATION else deviation,
            fields.opened(status),
        )  # fmt: skip

    def to_octets(self) -> bytes:
        """The 12 octets; `Misuse` for a field that does not fit its octets."""
        return fields.packed(
            fields.DATE_TIME_LAYOUT,
            fields.closed_year(self.year),
            *map(fields.closed, (self.month, self.day, self.weekday)),
            *map(fields.closed, (self.hour, self.minute, self.second, self.hundredths)),
            fields.OPEN_DEVIATION if self.deviation is None else self.deviation,
            fields.closed(self.status),
        )

    @property
    def date(self) -> Date:
        """The day part."""
        return Date(self.year, self.month, self.day, self.weekday)

    @property
    def time(self) -> Time:
        """The time of day part."""
        return Time(self.hour, self.minute, self.second, self.hundredths)

    @property
    def complete(self) -> bool:
        """True when day and time (to the second) exist; deviation and status may be open."""
        return fields.is_day(self.year, self.month, self.day) and fields.is_time(
            self.hour, self.minute, self.second
        )

    @property
    def invalid(self) -> tuple[str, ...]:
        """Names of the fields whose number means nothing; the deviation beyond -840..720 among them."""
        odd = self.deviation is not None and not -840 <= self.deviation <= 720
        return self.date.invalid + self.time.invalid + (("deviation",) if odd else ())

    def text(self) -> str:
        """ISO 8601: "2021-07-19T15:46:35+02:00", open fields `*`.

        No offset: the deviation is not specified. A fraction only when hundredths are 1 or more.
        Weekday ("/7" behind the day) only where the day leaves it open. The status is not shown.
        Numbers without meaning appear as they are (month 13), so no reader takes them for a date.
        """
        offset = ""
        if self.deviation is not None:
            sign, minutes = ("-", self.deviation) if self.deviation > 0 else ("+", -self.deviation)
            offset = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
        day = fields.date_text(self.year, self.month, self.day, self.weekday)
        return f"{day}T{fields.time_text(self.hour, self.minute, self.second, self.hundredths)}{offset}"

    __str__ = text

    @classmethod
    def from_text(cls, text: str, *, status: int | None = None) -> DateTime:
        """Read what `text` writes, and ISO 8601 as usual: "Z", a space for T, no seconds, a day alone.

        A complete day gets its weekday; a day alone leaves the time open; fractions are cut to
        hundredths. `Misuse` for anything else.
        """
        match = fields.matched(fields.DATE_TIME_RE, text, "date-time")
        year, month, day, weekday = fields.date_fields(match)
        hour, minute, second, hundredths = fields.time_fields(match) if match["hour"] else _NO_TIME
        deviation = fields.offset_minutes(match["offset"])
        return cls(year, month, day, weekday, hour, minute, second, hundredths, deviation, status)

    @classmethod
    def from_datetime(cls, moment: datetime, *, status: int | None = None) -> DateTime:
        """Take a `datetime`: an aware one brings its offset as deviation, a naive one leaves it open.

        Without `status` an aware moment says 00, or 80 where its zone keeps daylight saving; a
        naive one leaves the status open. `Misuse` for an offset that is not whole minutes.
        """
        offset = moment.utcoffset()
        deviation = None
        if offset is not None:
            if offset % timedelta(minutes=1):
                raise Misuse(f"an offset of {offset} is not whole minutes; the deviation is")
            deviation = -(offset // timedelta(minutes=1))
            if status is None:
                status = STATUS_DAYLIGHT_SAVING if moment.dst() else 0
        return cls(
            moment.year, moment.month, moment.day, moment.isoweekday(),
            moment.hour, moment.minute, moment.second, moment.microsecond // 10_000,
            deviation, status,
        )  # fmt: skip

    def to_datetime(self) -> datetime:
        """The moment as `datetime`, aware when the deviation is specified; `Malformed` unless `complete`.

        Open or meaningless hundredths count as 0; an open deviation gives a naive local time.
        """
        if not self.complete:
            raise Malformed(f"date-time {self.text()} does not name one moment")
        zone = None
        if self.deviation is not None:
            if abs(self.deviation) >= 24 * 60:
                raise Malformed(f"date-time {self.text()}: a deviation of a day or more")
            zone = timezone(timedelta(minutes=-self.deviation))
        hundredths = self.hundredths if self.hundredths is not None and self.hundredths < 100 else 0
        # complete: none of these is None
        day = (self.year or 0, self.month or 0, self.day or 0)
        return datetime(*day, self.hour or 0, self.minute or 0, self.second or 0, hundredths * 10_000, zone)

    def turned(self) -> DateTime:
        """The same with the sign of the deviation turned, for profiles that count from UTC to local time."""
        return self if self.deviation is None else replace(self, deviation=-self.deviation)

    def shifted(self, seconds: int) -> DateTime:
        """The moment `seconds` later (earlier when negative) on the same clock.

        Deviation, status and hundredths stay; the weekday is adjusted where it was given.
        `Malformed` unless `complete`, or when the years 1 to 9999 are left.
        """
        local = replace(self, deviation=None).to_datetime()
        try:
            local += timedelta(seconds=seconds)
        except OverflowError as error:
            raise Malformed(f"date-time {self.text()} shifted by {seconds} s leaves the calendar") from error
        return replace(
            self,
            year=local.year, month=local.month, day=local.day,
            weekday=None if self.weekday is None else local.isoweekday(),
            hour=local.hour, minute=local.minute, second=local.second,
        )  # fmt: skip


T = TypeVar("T", bound=Date | DateTime | Time)


def meant(value: T, what: str) -> T:
    """A value that is to be written, as it is; `Misuse` names the first field whose number means nothing.

    What comes from a meter is never held to this: it is shown as it came.
    """
    for name in value.invalid:
        raise Misuse(f"{what}: {value.text()} has no meaning, its {name} is {getattr(value, name)}")
    return value
