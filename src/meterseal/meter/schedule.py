"""What happens by the clock: single action schedule (class 22) and activity calendar (class 20).

An object that does something by itself is `Timed`: it says when its next moment comes (real time), and the
meter turns it then.  What the clock jumps over when it is set is not made up for; a calendar goes to the
entry that the new time asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, Protocol

from meterseal.codec.types import Tag
from meterseal.cosem.recurring import last_day, next_time
from meterseal.cosem.times import Date, DateTime, Time
from meterseal.meter.configured import Configured, Setup
from meterseal.meter.events import CALENDAR_PROGRAMMED, TARIFF, Events
from meterseal.meter.objects import OTHER_REASON, Denied, Value
from meterseal.meter.plant import LAST_MOMENT, Plant


class Run(Protocol):
    """Runs a script of a script table, by name and selector; what does not go through is in the journal."""

    def __call__(self, name: bytes, selector: int) -> None:
        """Run it."""

    def pushes(self, name: bytes, selector: int) -> bool:
        """Does it tell somebody outside something?"""


MOST_TIMES: Final = 32
"""Execution times of a schedule."""


class Timed(Protocol):
    """Something that the clock sets going."""

    due: int | None
    """Real time (seconds since 1970 UTC) of the next moment; None while there is none."""

    @property
    def wakes(self) -> bool:
        """Has it to be done at that moment, because somebody outside sees it?"""

    changed: Callable[[], None]
    """Called when an attribute was changed: has `plan` called."""

    def turn(self) -> None:
        """Do what is due now, and look for the next moment."""

    def plan(self) -> None:
        """Look for the next moment anew: the clock was set, or something changed."""


class SingleActionSchedule(Configured):
    """Runs its script at its times.  The five types say which wild cards the times may have."""

    def __init__(self, setup: Setup, plant: Plant, run: Run) -> None:
        super().__init__(22, setup)
        self._plant, self._run = plant, run
        self.due: int | None = None
        self.plan()

    def check(self, index: int, value: Value) -> None:
        """Times that the type allows."""
        super().check(index, value)
        if index == 4:
            _check_times(self.values[3][0], value[0])

    def plan(self) -> None:
        """The first moment after now."""
        plant = self._plant
        found = next_time(_patterns(self.values[4][0]), plant.face(plant.now().shown))
        self.due = None if found is None else plant.shown_at(found) - plant.offset

    @property
    def wakes(self) -> bool:
        """Its script pushes."""
        return self._run.pushes(*self.values[2][0])

    def turn(self) -> None:
        """Run the script."""
        self.plan()
        self._run(*self.values[2][0])


def _patterns(times: list[tuple[bytes, bytes]]) -> list[tuple[Time, Date]]:
    return [(Time.from_octets(time), Date.from_octets(day)) for time, day in times]


def _check_times(kind: int, times: list[tuple[bytes, bytes]]) -> None:
    """Type 1 has one time; 2 and 3 have one time of day; in 2 and 4 every date is complete."""
    patterns = _patterns(times)
    if not 1 <= kind <= 5 or len(patterns) > (1 if kind == 1 else MOST_TIMES):
        raise Denied(OTHER_REASON, f"a schedule is of type 1 to 5, with 1 or {MOST_TIMES} times")
    if kind in (2, 3) and len({time for time, _ in times}) > 1:
        raise Denied(OTHER_REASON, f"type {kind} has the same time of day everywhere")
    if kind in (2, 4) and not all(day.complete for _, day in patterns):
        raise Denied(OTHER_REASON, f"type {kind} has no open fields in its dates")
    if any(time.hour is None or time.minute is None or time.invalid for time, _ in patterns):
        raise Denied(OTHER_REASON, "an execution time has hour and minute")
    if any(day.year is not None and not 1970 <= day.year < 2100 for _, day in patterns):
        raise Denied(OTHER_REASON, "a year is left open, or one of 1970 to 2099")


def need_moment(plant: Plant, octets: bytes) -> None:
    """Raises Denied for a time that is neither left open nor a moment that the clock can show."""
    if octets != NEVER and not 0 <= plant.moment_of(octets) < LAST_MOMENT:
        raise Denied(OTHER_REASON, "the clock does not come to that time")


NEVER: Final = DateTime().to_octets()
"""A time that is left open."""

# --- activity calendar --------------------------------------------------------------------------

_NAME, _SEASONS, _WEEKS, _DAYS = 2, 3, 4, 5
_PASSIVE: Final = 4
"""Attributes 6 to 9 are those 2 to 5 of the calendar that waits."""
_ACTIVATE_AT: Final = 10


class ActivityCalendar(Configured):
    """Seasons of weeks of days; a day's schedule runs scripts, the one that holds now among them at once."""

    def __init__(self, setup: Setup, plant: Plant, run: Run, events: Events) -> None:
        super().__init__(20, setup)
        self._plant, self._run, self._events = plant, run, events
        self._ran: list[Any] | None = self._store.get(f"{self._place}/ran")
        self.callers[1] = lambda asker, parameter: self._activate()
        self.due: int | None = plant.real()

    def check(self, index: int, value: Value) -> None:
        """Start times of a day have hour and minute; the activation time is a moment, or open."""
        super().check(index, value)
        if index == _ACTIVATE_AT:
            need_moment(self._plant, value[0])
        if index in (_DAYS, _DAYS + _PASSIVE):
            for _, schedule in value[0]:
                if any(Time.from_octets(start).invalid or start[0] > 23 for start, _, _ in schedule):
                    raise Denied(OTHER_REASON, "a day schedule starts at times of day")

    def set(self, values: Mapping[int, Value], **beside: Any) -> None:
        """As every object, with an entry in the log for a calendar that was brought in."""
        super().set(values, **beside)
        if any(_NAME + _PASSIVE <= index <= _DAYS + _PASSIVE for index in values):
            self._events.happened(CALENDAR_PROGRAMMED)

    def _activate(self) -> None:
        """The passive calendar becomes the active one."""
        halves = range(_NAME, _DAYS + 1)
        never = NEVER, Tag.OCTET_STRING
        self.set({index: self.values[index + _PASSIVE] for index in halves} | {_ACTIVATE_AT: never})
        self.turn()

    # --- by the clock -----------------------------------------------------------------------

    def plan(self) -> None:
        """Whatever changed, the entry that holds now is looked for at once."""
        self.due = self._plant.real()

    @property
    def wakes(self) -> bool:
        """A script of its days pushes, or one of those that wait."""
        days = (day for at in (_DAYS, _DAYS + _PASSIVE) for day in self.values[at][0])
        return any(self._run.pushes(name, at) for _, schedule in days for _, name, at in schedule)

    def turn(self) -> None:
        """Activate the passive calendar if its time has come; run the script that holds now."""
        plant = self._plant
        face = plant.face(plant.now().shown)
        at = self._activation()
        if at is not None and at <= face:
            self._activate()
            return
        entry = self._entry(face)
        if entry is not None and list(entry) != self._ran:
            self._store.collect({f"{self._place}/ran": list(entry)})  # lost, it would run once more
            self._ran = list(entry)
            self._events.happened(TARIFF)
            self._run(bytes.fromhex(entry[0]), entry[1])
        # Midnight at the latest: the next day may be another one.
        following = [start for start, _ in self._schedule(face.date()) if start > face]
        following += [datetime.combine(face.date() + timedelta(days=1), datetime.min.time())]
        if at is not None:
            following.append(at)
        self.due = plant.shown_at(min(following)) - plant.offset

    def _activation(self) -> datetime | None:
        octets = self.values[_ACTIVATE_AT][0]
        return None if octets == NEVER else self._plant.face(self._plant.moment_of(octets))

    def _entry(self, face: datetime) -> tuple[str, int] | None:
        """Script name (hex) and selector that hold now: the day's latest, or that of the day before."""
        for day in (face.date(), face.date() - timedelta(days=1)):
            begun = [entry for start, entry in self._schedule(day) if start <= face]
            if begun:
                return begun[-1]
        return None

    def _schedule(self, day: date) -> list[tuple[datetime, tuple[str, int]]]:
        """The schedule of a day in order: when, and which script."""
        week = self._week(day)
        wanted = None if week is None else week[day.isoweekday()]
        for identity, entries in self.values[_DAYS][0]:
            if identity == wanted:
                times = [(Time.from_octets(start), (name.hex().upper(), at)) for start, name, at in entries]
                return sorted(
                    (datetime(day.year, day.month, day.day, t.hour or 0, t.minute or 0, t.second or 0), entry)
                    for t, entry in times
                )
        return []

    def _week(self, day: date) -> tuple[Any, ...] | None:
        """The week of the season that began last; without seasons the first week."""
        weeks: dict[bytes, tuple[Any, ...]] = {week[0]: week for week in self.values[_WEEKS][0]}
        begun = [
            (start, week)
            for _, pattern, week in self.values[_SEASONS][0]
            if (start := last_day(DateTime.from_octets(pattern).date, day)) is not None
        ]
        if begun:
            return weeks.get(max(begun)[1])
        return next(iter(weeks.values()), None) if not self.values[_SEASONS][0] else None
