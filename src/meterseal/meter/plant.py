"""The simulated world of a meter: a clock with a settable offset, a supply switch, a household.

Time comes in as a function (`wall`, seconds since 1970 UTC), so a test turns it by hand. Everything
measured is a function of real time (`profile_data`), so months of it cost nothing until somebody asks.
`SOURCES` are the words with which a configuration says where a value comes from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from meterseal.codec.types import Tag
from meterseal.cosem.times import DateTime
from meterseal.errors import Malformed
from meterseal.meter import profile_data as made
from meterseal.meter.objects import OTHER_REASON, Denied, Value
from meterseal.meter.profile_data import Household, Reading
from meterseal.meter.store import MeterStore

_OFFSET, _SUPPLY = "clock/offset", "supply"
_MOST_OFF: Final = 2_000
"""Interruptions ([from, to] in real time, to None while off) that are kept; older ones are forgotten."""

LAST_MOMENT: Final = 4_102_444_800
"""The clock takes the years 1970 to 2099."""


class Moment(NamedTuple):
    """A moment of real time (seconds since 1970 UTC) as this meter sees it.

    `offset` is what its clock is ahead; `period` the capture period where a row is captured, and
    `adjusted` says that the clock was set since the row before.
    """

    real: int
    offset: int = 0
    period: int = 0
    adjusted: bool = False

    @property
    def shown(self) -> int:
        """What the meter's clock says, in seconds since 1970 UTC."""
        return self.real + self.offset


class Identity(NamedTuple):
    """Names that objects show: system title (8 octets), logical device name, firmware version."""

    system_title: bytes
    device_name: str
    firmware: str


class Plant:
    """Clock, supply and household of one meter; what methods change of them is kept in the store."""

    def __init__(
        self,
        wall: Callable[[], float],
        home: Household,
        identity: Identity,
        store: MeterStore,
        offset: int = 0,
    ) -> None:
        self._wall, self.home, self.identity, self._store = wall, home, identity, store
        self._made_with = offset
        self._offset: int = store.get(_OFFSET, offset)
        self._set_off(store.get(_SUPPLY, []))
        self.on_clock_set: list[Callable[[int], tuple[dict[str, Any], Callable[[], None]]]] = []
        """Asked before the clock is set to a new offset: what to keep with it, and what to do then."""

    # --- time -------------------------------------------------------------------------------

    def real(self) -> int:
        """Real time, whole seconds since 1970 UTC."""
        return int(self._wall())

    @contextmanager
    def at(self, real: int) -> Iterator[None]:
        """Let it be another moment of real time, for something that is made up for."""
        wall, self._wall = self._wall, lambda: real
        try:
            yield
        finally:
            self._wall = wall

    def trusted(self) -> int:
        """The time that decides who is trusted: of the clock as it was given, not as clients set it."""
        return self.real() + self._made_with

    @property
    def offset(self) -> int:
        """Seconds that the meter's clock is ahead of real time."""
        return self._offset

    def now(self) -> Moment:
        """The present."""
        return Moment(self.real(), self.offset)

    def clock(self, moment: Moment) -> DateTime:
        """What the clock shows."""
        return self.home.zone.local(moment.shown)

    def set_clock(self, shown: int) -> None:
        """Let the clock show `shown` (seconds since 1970 UTC) now.  Raises Denied outside 1970 to 2099."""
        if not 0 <= shown < LAST_MOMENT:
            raise Denied(OTHER_REASON, "the clock takes the years 1970 to 2099")
        offset = shown - self.real()
        records: dict[str, Any] = {_OFFSET: offset}
        effects: list[Callable[[], None]] = []
        for listener in self.on_clock_set:
            record, effect = listener(offset)
            records |= record
            effects.append(effect)
        self._store.keep(records)
        self._offset = offset
        for effect in effects:
            effect()

    def moment_of(self, octets: bytes) -> int:
        """Seconds since 1970 UTC of a date-time; without a deviation it is this clock's own face.

        Raises Denied for one that does not name a moment.
        """
        try:
            given = DateTime.from_octets(octets)
            when = given.to_datetime()
        except Malformed as error:
            raise Denied(OTHER_REASON, str(error)) from error
        if when.tzinfo is not None:
            return int(when.timestamp())
        return self.shown_at(when)

    def shown_at(self, face: datetime) -> int:
        """Seconds since 1970 UTC at which this clock has this face (a time without zone)."""
        seconds = int(face.replace(tzinfo=UTC).timestamp())
        standard = seconds - self.home.zone.offset * 60
        return seconds - self.home.zone.minutes(standard) * 60

    def face(self, shown: int) -> datetime:
        """The face of this clock (a time without zone) at `shown`, seconds since 1970 UTC."""
        return datetime.fromtimestamp(shown + self.home.zone.minutes(shown) * 60, UTC).replace(tzinfo=None)

    # --- supply -----------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """False while the disconnect control keeps the household off."""
        return not (self._off and self._off[-1][1] is None)

    def supply_record(self, on: bool) -> dict[str, Any]:
        """What the store keeps for switching now; `take_supply` makes it so."""
        off = [list(span) for span in self._off]
        if on and not self.connected:
            off[-1][1] = self.real()
        elif not on and self.connected:
            off.append([self.real(), None])
        return {_SUPPLY: off[-_MOST_OFF:]}

    def take_supply(self, record: dict[str, Any]) -> None:
        """Switch as a record of `supply_record` says."""
        self._set_off(record[_SUPPLY])

    def _set_off(self, spans: list[list[int | None]]) -> None:
        self._off = spans
        self._read_at = 0
        self._reading: Reading | None = None
        self._starts = [start or 0 for start, _ in spans]
        self._missed = [(0, 0)]
        for start, end in spans:
            if end is not None:
                less = self._between(start or 0, end)
                before = self._missed[-1]
                self._missed.append((before[0] + less[0], before[1] + less[1]))

    def _between(self, start: int, end: int) -> tuple[int, int]:
        """Wh imported and exported between two moments if there is supply."""
        before, after = made.reading(self.home, start), made.reading(self.home, end)
        return after.energy_import - before.energy_import, after.energy_export - before.energy_export

    def reading(self, moment: Moment) -> Reading:
        """Registers and power at a moment, without what the household would have used while it was off."""
        # The columns of a row ask for one moment after another.
        if moment.real != self._read_at or not self._reading:
            self._read_at, self._reading = moment.real, self._supplied(moment)
        return self._reading

    def _supplied(self, moment: Moment) -> Reading:
        found = made.reading(self.home, moment.real)
        spans = bisect_right(self._starts, moment.real)
        if not spans:
            return found
        start, end = self._starts[spans - 1], self._off[spans - 1][1]
        if end is not None and moment.real >= end:
            less, power = self._missed[spans], (found.power_import, found.power_export)
        else:
            now, before = self._between(start, moment.real), self._missed[spans - 1]
            less, power = (before[0] + now[0], before[1] + now[1]), (0, 0)
        return Reading(found.energy_import - less[0], found.energy_export - less[1], *power)

    def status(self, moment: Moment) -> int:
        """Status octet of a profile row."""
        octet = made.status(self.home, moment.real, moment.period) if moment.period else 0
        if self.home.zone.summer(moment.shown):
            octet |= made.STATUS_DAYLIGHT
        else:
            octet &= ~made.STATUS_DAYLIGHT
        return octet | (made.STATUS_CLOCK_ADJUSTED if moment.adjusted else 0)

    def voltage(self, moment: Moment, phase: int) -> int:
        """Tenths of a volt: 230 V with a slow ripple of its own on each phase."""
        return 2300 + (moment.real // 60 * (7 + 4 * phase) + 131 * phase) % 61 - 30

    def last_event(self, log: int) -> int:
        """Code of the latest entry of an event log, 0 without any."""
        entries = self._store.events(log)
        return entries[-1][1] if entries else 0

    def current(self, moment: Moment) -> int:
        """Hundredths of an ampere that the power of the moment means on phase 1."""
        found = self.reading(moment)
        return (found.power_import + found.power_export) * 1000 // self.voltage(moment, 1)


class Source(NamedTuple):
    """Where a value comes from: its type, and how it is found."""

    type: Tag
    value: Callable[[Plant, Moment], Any]


SOURCES: Final[dict[str, Source]] = {
    "energy-import": Source(Tag.DOUBLE_LONG_UNSIGNED, lambda p, m: p.reading(m).energy_import),
    "energy-export": Source(Tag.DOUBLE_LONG_UNSIGNED, lambda p, m: p.reading(m).energy_export),
    "power-import": Source(Tag.DOUBLE_LONG_UNSIGNED, lambda p, m: p.reading(m).power_import),
    "power-export": Source(Tag.DOUBLE_LONG_UNSIGNED, lambda p, m: p.reading(m).power_export),
    "voltage-l1": Source(Tag.LONG_UNSIGNED, lambda p, m: p.voltage(m, 1)),
    "voltage-l2": Source(Tag.LONG_UNSIGNED, lambda p, m: p.voltage(m, 2)),
    "voltage-l3": Source(Tag.LONG_UNSIGNED, lambda p, m: p.voltage(m, 3)),
    "current-l1": Source(Tag.LONG_UNSIGNED, lambda p, m: p.current(m)),
    "frequency": Source(Tag.LONG_UNSIGNED, lambda p, m: 5000 + m.real // 30 * 13 % 7 - 3),
    "status": Source(Tag.UNSIGNED, lambda p, m: p.status(m)),
    "clock": Source(Tag.OCTET_STRING, lambda p, m: p.clock(m).to_octets()),
    "tariff": Source(Tag.UNSIGNED, lambda p, m: 1 if 6 <= (p.clock(m).hour or 0) < 22 else 2),
    "event": Source(Tag.UNSIGNED, lambda p, m: p.last_event(1)),
    "event-standard": Source(Tag.UNSIGNED, lambda p, m: p.last_event(0)),
    "event-disconnect": Source(Tag.UNSIGNED, lambda p, m: p.last_event(2)),
    "system-title": Source(Tag.OCTET_STRING, lambda p, m: p.identity.system_title),
    "device-name": Source(Tag.OCTET_STRING, lambda p, m: p.identity.device_name.encode("ascii")),
    "firmware": Source(Tag.OCTET_STRING, lambda p, m: p.identity.firmware.encode("ascii")),
}
"""The sources by name."""


def sourced(plant: Plant, name: str, moment: Moment | None = None) -> Value:
    """A source's value at a moment, now when left out."""
    source = SOURCES[name]
    return source.value(plant, plant.now() if moment is None else moment), source.type
