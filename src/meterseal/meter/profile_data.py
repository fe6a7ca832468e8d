"""What a household's meter has measured: import, export and status, made up but lifelike.

Pure functions of a `Household` and a moment (whole seconds since 1970 UTC): the same arguments give
the same numbers on every machine, in any order, after any restart. All arithmetic is on integers.
Underneath lies energy per quarter of an hour; registers grow along it, so every row of a load profile
agrees with the registers read between its captures, whatever the capture period.

The day has a night base, a morning and a long evening peak, later and flatter on weekends; winters
are heavier; a few appliances run for an hour or so; the sun, where there is a roof, has its hours and
its clouds, and only what the house does not use at once is exported. Power cuts are rare.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from meterseal.cosem.times import STATUS_DAYLIGHT_SAVING, DateTime

QUARTER: Final = 900
_DAY: Final = 86_400
_LAST_YEAR: Final = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
_QUARTERS: Final = 96
_BLOCK: Final = 32

# Status octet of a profile row (fact sheet more 5.2).
STATUS_CRITICAL_ERROR: Final = 0x01
STATUS_CLOCK_INVALID: Final = 0x02
STATUS_DATA_NOT_VALID: Final = 0x04
STATUS_DAYLIGHT: Final = 0x08
STATUS_CLOCK_ADJUSTED: Final = 0x20
STATUS_RECOVERED: Final = 0x40
STATUS_POWER_DOWN: Final = 0x80

# Share of the day's energy by hour of local time.
_WORKDAY: Final = (
    20,
    17,
    16,
    16,
    17,
    22,
    38,
    55,
    48,
    36,
    34,
    38,
    46,
    42,
    35,
    34,
    40,
    56,
    75,
    84,
    78,
    66,
    50,
    31,
)
_WEEKEND: Final = (
    24,
    19,
    17,
    16,
    16,
    17,
    20,
    30,
    46,
    58,
    60,
    60,
    64,
    56,
    46,
    44,
    46,
    56,
    70,
    76,
    70,
    60,
    48,
    34,
)
_SEASON: Final = (124, 119, 108, 97, 90, 84, 82, 84, 91, 101, 114, 123)
"""Per cent of the average day's use, by month."""
_SUN: Final = (  # by month: first and last quarter of light (standard time), Wh a day per kWp of a clear day
    (31, 66, 1900), (28, 70, 2900), (25, 74, 4200), (21, 78, 5300), (18, 82, 6000), (16, 84, 6300),
    (17, 84, 6200), (20, 80, 5600), (24, 75, 4500), (27, 70, 3200), (30, 66, 2100), (32, 64, 1600),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Zone:
    """The meter's clock: minutes east of UTC in winter, and whether it keeps European summer time."""

    offset: int = 60
    daylight_saving: bool = True

    def summer(self, moment: int) -> bool:
        """True from the last Sunday of March, 01:00 UTC, to the last Sunday of October, 01:00 UTC.

        Before 1970 and after 9998, years that only a peer can name, it is always winter.
        """
        if not self.daylight_saving or not 0 <= moment < _LAST_YEAR:
            return False
        begin, end = _summer(_utc(moment).year)
        return begin <= moment < end

    def minutes(self, moment: int) -> int:
        """Minutes east of UTC at this moment."""
        return self.offset + (60 if self.summer(moment) else 0)

    def local(self, moment: int, hundredths: int = 0) -> DateTime:
        """The clock's reading, with deviation, weekday and the daylight saving bit."""
        minutes = self.minutes(moment)
        there = _utc(moment) + timedelta(minutes=minutes)
        return DateTime(
            there.year, there.month, there.day, there.isoweekday(), there.hour, there.minute, there.second,
            hundredths, -minutes, STATUS_DAYLIGHT_SAVING if self.summer(moment) else 0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Household:
    """One home: `seed` makes it like no other; the rest is its measure.

    `first_day` is where the calculation starts (days since 1970, standard time of the zone): a moment
    before it reads as its start. A start some days before the oldest row is enough, as the registers
    begin with `start_import` and `start_export` Wh there. `daily` is the average use in Wh a day,
    `roof` the size of the solar plant in W peak, 0 for none.
    """

    seed: int
    first_day: int
    start_import: int = 0
    start_export: int = 0
    daily: int = 9_600
    roof: int = 0
    zone: Zone = Zone()

    @classmethod
    def of(
        cls, seed: int, moment: int, *, days: int = 40, roof: int = 0, zone: Zone | None = None
    ) -> Household:
        """A home whose meter has run for some years already and whose rows reach `days` back."""
        return cls(
            seed,
            (moment // _DAY) - days,
            start_import=4_000_000 + _mix(seed, 1) % 20_000_000,
            start_export=_mix(seed, 2) % (roof * 3_000) if roof else 0,
            daily=5_000 + _mix(seed, 3) % 9_000,
            roof=roof,
            zone=zone or Zone(),
        )


class Reading(NamedTuple):
    """Registers and present power at a moment: Wh, and W averaged over the quarter of an hour."""

    energy_import: int
    energy_export: int
    power_import: int
    power_export: int


def reading(home: Household, moment: int) -> Reading:
    """Registers grown to `moment` (never falling with time) and the power behind their growth."""
    day, second = _day_of(home, moment)
    if day < home.first_day:
        return Reading(home.start_import, home.start_export, 0, 0)
    into, rest = divmod(second, QUARTER)
    imported, exported = _start_of_day(home, day)
    quarters = _day(home, day)
    for used, fed, _ in quarters[:into]:
        imported += used
        exported += fed
    used, fed, _ = quarters[into]
    return Reading(
        imported + used * rest // QUARTER,
        exported + fed * rest // QUARTER,
        used * (3600 // QUARTER),
        fed * (3600 // QUARTER),
    )


def status(home: Household, moment: int, period: int = QUARTER) -> int:
    """Status octet of the row captured at `moment` over the `period` seconds before it."""
    octet = STATUS_DAYLIGHT if home.zone.summer(moment) else 0
    for begin in range(moment - period, moment, QUARTER):
        day, second = _day_of(home, begin)
        if day >= home.first_day and _day(home, day)[second // QUARTER].down:
            return octet | STATUS_POWER_DOWN
    return octet


def row(home: Household, moment: int, period: int = QUARTER) -> tuple[bytes, int, int, int]:
    """One capture: clock (12 octets), status, import and export registers in Wh."""
    now = reading(home, moment)
    clock = home.zone.local(moment).to_octets()
    return clock, status(home, moment, period), now.energy_import, now.energy_export


def rows(home: Household, last: int, count: int, period: int = QUARTER) -> list[tuple[bytes, int, int, int]]:
    """The `count` captures up to `last`, oldest first, at full periods of UTC; fewer where the data begin."""
    newest = last // period
    moments = (number * period for number in range(newest - count + 1, newest + 1))
    return [row(home, moment, period) for moment in moments if _day_of(home, moment)[0] >= home.first_day]


# --- a day --------------------------------------------------------------------------------------


class Quarter(NamedTuple):
    """Wh imported and exported in a quarter of an hour, and whether the power was cut."""

    used: int
    fed: int
    down: bool


@lru_cache(maxsize=64)
def _day(home: Household, day: int) -> tuple[Quarter, ...]:
    """The 96 quarters of a day of standard time."""
    load = _load(home, day)
    sun = _sun(home, day)
    cut = _cut(home, day)
    return tuple(
        Quarter(0, 0, True) if at in cut else Quarter(max(0, use - shine), max(0, shine - use), False)
        for at, (use, shine) in enumerate(zip(load, sun, strict=True))
    )


@lru_cache(maxsize=4096)
def _totals(home: Household, first: int, count: int) -> tuple[int, int]:
    """Wh imported and exported over `count` days."""
    quarters = [quarter for day in range(first, first + count) for quarter in _day(home, day)]
    return sum(quarter.used for quarter in quarters), sum(quarter.fed for quarter in quarters)


@lru_cache(maxsize=1024)
def _start_of_day(home: Household, day: int) -> tuple[int, int]:
    """The registers at the first second of a day: whole blocks of days first, then the days left."""
    imported, exported = home.start_import, home.start_export
    blocks, left = divmod(day - home.first_day, _BLOCK)
    spans = [(home.first_day + number * _BLOCK, _BLOCK) for number in range(blocks)]
    spans += [(before, 1) for before in range(day - left, day)]
    for span in spans:
        used, fed = _totals(home, *span)
        imported += used
        exported += fed
    return imported, exported


def _load(home: Household, day: int) -> list[int]:
    """Wh used in each quarter."""
    calendar = date(1970, 1, 1) + timedelta(days=day)
    shares = _WEEKEND if calendar.isoweekday() > 5 else _WORKDAY
    # People follow the clock on the wall: in summer their day begins an hour of standard time earlier.
    ahead = 4 if home.zone.summer(day * _DAY + _DAY // 2) else 0
    whole = home.daily * _SEASON[calendar.month - 1] // 100
    whole = whole * (85 + _mix(home.seed, day, 10) % 31) // 100
    mass = sum(shares) * 4
    load = []
    for at in range(_QUARTERS):
        hour, part = divmod((at + ahead) % _QUARTERS, 4)
        share = shares[hour] * (4 - part) + shares[(hour + 1) % 24] * part  # on the way to the next hour
        load.append(whole * share * (70 + _mix(home.seed, day, 11, at) % 61) // (mass * 4 * 100))
    for run in range(_mix(home.seed, day, 12) % 4):
        start = 28 + _mix(home.seed, day, 13, run) % 60 - ahead
        power = 120 + _mix(home.seed, day, 14, run) % 380
        for at in range(start, min(_QUARTERS, start + 2 + _mix(home.seed, day, 15, run) % 5)):
            load[at] += power
    return load


def _sun(home: Household, day: int) -> list[int]:
    """Wh of the solar plant in each quarter: a parabola over the light of the day, under clouds."""
    if not home.roof:
        return [0] * _QUARTERS
    first, last, clear = _SUN[(date(1970, 1, 1) + timedelta(days=day)).month - 1]
    whole = home.roof * clear * (15 + _mix(home.seed, day, 20) % 86) // 100_000
    arc = [(at - first) * (last - at) if first < at < last else 0 for at in range(_QUARTERS)]
    mass = sum(arc) * 100
    return [
        whole * height * (60 + _mix(home.seed, day, 21, at) % 81) // mass for at, height in enumerate(arc)
    ]


def _cut(home: Household, day: int) -> range:
    """Quarters without power: on about one day of 200, up to an hour."""
    if _mix(home.seed, day, 30) % 200:
        return range(0)
    start = _mix(home.seed, day, 31) % (_QUARTERS - 4)
    return range(start, start + 1 + _mix(home.seed, day, 32) % 4)


# --- small parts --------------------------------------------------------------------------------


def _mix(*numbers: int) -> int:
    """64 bits scattered from the numbers (the finaliser known as splitmix64); chance for show, no secret."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state


def _utc(moment: int) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _day_of(home: Household, moment: int) -> tuple[int, int]:
    """Day of the zone's standard time since 1970, and the second in it."""
    return divmod(moment + home.zone.offset * 60, _DAY)


@lru_cache(maxsize=256)
def _summer(year: int) -> tuple[int, int]:
    """First and behind-the-last second of European summer time."""
    return _last_sunday(year, 3), _last_sunday(year, 10)


def _last_sunday(year: int, month: int) -> int:
    last = date(year, month, 31)
    sunday = last - timedelta(days=last.isoweekday() % 7)
    return int(datetime(sunday.year, sunday.month, sunday.day, 1, tzinfo=UTC).timestamp())
