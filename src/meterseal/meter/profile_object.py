"""Profile generic (class 7) in two kinds: a load profile over the plant, and event logs.

The load profile keeps no rows. It keeps runs: "from this time of the meter's clock on, a row every so many
seconds, so many of them", a new run whenever the clock is set, the period changes, or somebody captures by
hand. A row is made when it is asked for, out of the sources of its columns at its moment: some fifty
microseconds each, so those of a long answer are made a few at a time, and others are served between.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple, overload

from meterseal.codec.types import Array, MixedArray, Structure, Tag, Type
from meterseal.cosem.buffer import Row, chosen_entries, select
from meterseal.cosem.obis import Obis
from meterseal.cosem.profile import Column, SortMethod
from meterseal.cosem.selection import (
    CAPTURE_OBJECT,
    CLOCK_COLUMN,
    ByEntry,
    ByRange,
    CaptureObject,
    ProfileSelection,
    Selection,
    capture_objects_type,
)
from meterseal.cosem.times import DateTime
from meterseal.errors import ConfigurationError, Malformed
from meterseal.meter.events import CLEARED
from meterseal.meter.objects import OTHER_REASON, Asker, CosemObject, Denied, Value
from meterseal.meter.plant import Moment, Plant
from meterseal.meter.store import MeterStore
from meterseal.security.steps import Steps, breath, settle

NO_SORT: Final = (0, Obis("0.0.0.0.0.0"), 0, 0)
_FACE_MARGIN: Final = 26 * 3600
"""Seconds that a bound without a deviation may be away from UTC, and a little more."""

TURN: Final = 128
"""Rows that are made before others have their turn."""

_MOST_RUNS: Final = 512
SHORTEST_PERIOD, LONGEST_PERIOD = 60, 86_400
_EPOCH: Final = datetime(1970, 1, 1)


class Profile(CosemObject):
    """What both kinds share: columns, and the buffer whole or selected."""

    def __init__(self, obis: Obis, columns: Sequence[Column], types: Sequence[Type]) -> None:
        super().__init__(7, obis, 1)
        self.columns, self._row_type = tuple(columns), Structure(tuple(types))
        sources = [column.source.to_value() for column in columns]
        self.readers |= {
            2: lambda asker: settle(self._whole(asker)),
            3: lambda asker: (sources, capture_objects_type(len(sources))),
            4: lambda asker: (self.period, Tag.DOUBLE_LONG_UNSIGNED),
            5: lambda asker: (int(SortMethod.FIFO), Tag.ENUM),
            6: lambda asker: (NO_SORT, CAPTURE_OBJECT),
            7: lambda asker: (len(self.rows()), Tag.DOUBLE_LONG_UNSIGNED),
            8: lambda asker: (self.entries, Tag.DOUBLE_LONG_UNSIGNED),
        }
        self.selectors[2] = self._selected, (1, 2)

    period = 0
    entries = 0

    def rows(self) -> Sequence[Row]:
        """The buffer, oldest row first."""
        raise NotImplementedError

    def _whole(self, asker: Asker) -> Steps[Value]:
        rows = self.rows()
        return self._answer((yield from made(rows, range(len(rows)))), self._row_type)

    def _selected(self, asker: Asker, selection: Selection) -> Steps[Value]:
        if not isinstance(selection, ProfileSelection):
            raise Malformed("not a selection of a profile")
        rows, among = self.rows(), selection
        near = self._near(rows, selection)
        if isinstance(selection, ByEntry):
            among = replace(selection, first=1, last=0)  # of those that it names
        found = yield from made(rows, near, lambda some: select(some, self.columns, among))
        return self._answer(found, self._cut_type(selection))

    def _near(self, rows: Any, selection: ProfileSelection) -> Sequence[int]:
        """The numbers of the rows, from 0, that a selection can concern at all."""
        return chosen_entries(selection, len(rows)) if isinstance(selection, ByEntry) else range(len(rows))

    def _cut_type(self, selection: ProfileSelection) -> Structure:
        fields = self._row_type.fields
        if isinstance(selection, ByRange):
            names = [column.source for column in self.columns]
            chosen = [fields[names.index(column)] for column in selection.columns if column in names]
            return Structure(tuple(chosen)) if selection.columns else self._row_type
        return Structure(fields[selection.first_column - 1 : selection.last_column or None])

    def _answer(self, rows: list[Row], row: Structure) -> Value:
        return rows, Array(row) if rows else MixedArray(())


def made(
    rows: Sequence[Row], numbers: Sequence[int], select: Callable[[Sequence[Row]], Sequence[Row]] = list
) -> Steps[list[Row]]:
    """What is selected of the rows with these numbers, `TURN` of them at a time."""
    found: list[Row] = []
    for start in range(0, len(numbers) or 1, TURN):
        if start:
            yield breath
        found += select([rows[at] for at in numbers[start : start + TURN]])
    return found


class Run(NamedTuple):
    """Rows at `first`, `first + step`, ... of the meter's clock, `total` of them (None: it goes on).

    `offset` is what the clock was ahead of real time; `adjusted` marks the first row.
    """

    offset: int
    first: int
    step: int
    total: int | None
    adjusted: bool = False

    def length(self, real: int) -> int:
        """Rows captured up to a moment of real time."""
        if self.total is not None:
            return self.total
        return max(0, (real + self.offset - self.first) // self.step + 1)

    def moment(self, at: int) -> Moment:
        """The moment of the row number `at`, from 0."""
        shown = self.first + at * self.step
        return Moment(shown - self.offset, self.offset, self.step, self.adjusted and at == 0)


class Rows(Sequence[Row]):
    """The last `entries` rows of some runs, made as they are asked for."""

    def __init__(self, runs: Sequence[Run], real: int, entries: int, make: Callable[[Moment], Row]) -> None:
        self._runs, self._make = runs, make
        self._ends: list[int] = []
        total = 0
        for run in runs:
            total += run.length(real)
            self._ends.append(total)
        self._skip = max(0, total - entries)
        self._total = total - self._skip

    def __len__(self) -> int:
        return self._total

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._total))]
        if not -self._total <= index < self._total:
            raise IndexError(index)
        at = index % self._total + self._skip
        number = bisect_right(self._ends, at)
        return self._make(self._runs[number].moment(at - (self._ends[number - 1] if number else 0)))

    def __iter__(self) -> Iterator[Row]:
        return (self[at] for at in range(self._total))

    def between(self, low: int, high: int) -> list[int]:
        """Numbers of the rows whose time by the meter's clock (seconds since 1970 UTC) may lie between."""
        found: list[int] = []
        for number, run in enumerate(self._runs):
            start = self._ends[number - 1] if number else 0
            first = max(0, -(-(low - run.first) // run.step))
            last = min(self._ends[number] - start - 1, (high - run.first) // run.step)
            behind = start - self._skip
            found += range(behind + max(first, -behind), behind + last + 1)
        return found


class LoadProfile(Profile):
    """A profile whose columns are attributes of other objects, captured as the meter's clock goes by.

    `since` is the real time from which on there are rows.  Raises ConfigurationError for a column that
    does not change with time.
    """

    def __init__(
        self,
        obis: Obis,
        columns: Sequence[tuple[Column, CosemObject]],
        plant: Plant,
        store: MeterStore,
        *,
        place: str,
        period: int,
        entries: int,
        since: int,
    ) -> None:
        self._plant, self._store, self._place = plant, store, place
        self._captured = [(held, column.source.attribute) for column, held in columns]
        types = [self._type_of(column, held) for column, held in columns]
        super().__init__(obis, [column for column, _ in columns], types)
        kept = store.get(place)
        if kept is None:
            kept = {"period": period, "entries": entries, "runs": [self._run(since, plant.offset, period)]}
            store.collect({place: kept})  # lost, it would be made the same again
        self._take(kept)
        self.writers |= {4: self._set_period, 8: self._set_entries}
        self.callers |= {1: self._reset, 2: self._capture}
        self.slow_readers[2] = self._whole
        plant.on_clock_set.append(self._clock_set)

    def _type_of(self, column: Column, held: CosemObject) -> Type:
        if column.source.data_index:
            raise ConfigurationError(f"{column.source}: parts of attributes are not captured here")
        found = held.at(column.source.attribute, self._plant.now())
        if found is None:
            raise ConfigurationError(f"{column.source} does not change with time and cannot be captured")
        return found[1]

    def rows(self) -> Rows:
        """The buffer, oldest row first."""
        return Rows(self._runs, self._plant.real(), self.entries, self._make)

    def _make(self, moment: Moment) -> Row:
        cells = (held.at(attribute, moment) for held, attribute in self._captured)
        return tuple(cell[0] if cell else None for cell in cells)

    def _near(self, rows: Rows, selection: ProfileSelection) -> Sequence[int]:
        if not isinstance(selection, ByRange) or selection.restricting != CLOCK_COLUMN:
            return super()._near(rows, selection)
        bounds = [_window(bound) for bound in (selection.start, selection.end)]
        if None in bounds:
            return super()._near(rows, selection)
        (low, margin), (high, other) = bounds  # type: ignore[misc]
        return rows.between(low - margin, high + other)

    # --- what changes it --------------------------------------------------------------------

    def _take(self, kept: dict[str, Any]) -> None:
        self.period, self.entries = kept["period"], kept["entries"]
        self._runs = [Run(*run) for run in kept["runs"]]

    def _keep(self, runs: Sequence[Run], **changes: int) -> dict[str, Any]:
        runs = [run for run in runs if run.total != 0][-_MOST_RUNS:]
        return {
            self._place: {
                "period": self.period,
                "entries": self.entries,
                **changes,
                "runs": [list(run) for run in runs],
            }
        }

    def _change(self, runs: Sequence[Run], **changes: int) -> None:
        kept = self._keep(runs, **changes)
        self._store.keep(kept)
        self._take(kept[self._place])

    def _run(self, real: int, offset: int, period: int, adjusted: bool = False) -> Run:
        """An open run that begins with the first full period after a moment."""
        return Run(offset, ((real + offset) // period + 1) * period, period, None, adjusted)

    def _closed(self) -> list[Run]:
        real = self._plant.real()
        return [run._replace(total=run.length(real)) for run in self._runs]

    def _anew(self, period: int) -> Run:
        return self._run(self._plant.real(), self._plant.offset, period)

    def _set_period(self, asker: Asker, period: int) -> None:
        if not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
            raise Denied(OTHER_REASON, f"a capture period has {SHORTEST_PERIOD} to {LONGEST_PERIOD} s")
        self._change([self._anew(period)], period=period)

    def _set_entries(self, asker: Asker, entries: int) -> None:
        if not 1 <= entries <= 1_000_000:
            raise Denied(OTHER_REASON, "a profile has 1 to 1,000,000 entries")
        self._change(self._runs, entries=entries)

    def _reset(self, asker: Asker, parameter: int) -> None:
        self._change([self._anew(self.period)])

    def _capture(self, asker: Asker, parameter: int) -> None:
        now = self._plant.now()
        single = Run(now.offset, now.shown, self.period, 1)
        self._change([*self._closed(), single, self._anew(self.period)])

    def _clock_set(self, offset: int) -> tuple[dict[str, Any], Callable[[], None]]:
        kept = self._keep([*self._closed(), self._run(self._plant.real(), offset, self.period, True)])
        return kept, lambda: self._take(kept[self._place])


def _window(bound: DateTime | bytes | int) -> tuple[int, int] | None:
    """A bound as seconds since 1970 UTC, and how far off it may be; None when that cannot be said."""
    if isinstance(bound, int):
        return None
    try:
        moment = (bound if isinstance(bound, DateTime) else DateTime.from_octets(bound)).to_datetime()
    except Malformed:
        return None
    if moment.tzinfo is None:
        return int((moment - _EPOCH).total_seconds()), _FACE_MARGIN
    return int(moment.timestamp()), 1


class EventLog(Profile):
    """Event log number `log`: clock and event code of each entry, oldest first.  Method 1 empties it."""

    def __init__(
        self, obis: Obis, code: CaptureObject, plant: Plant, store: MeterStore, entries: int, log: int
    ) -> None:
        columns = [Column(CLOCK_COLUMN), Column(code)]
        super().__init__(obis, columns, [Tag.OCTET_STRING, Tag.UNSIGNED])
        self._plant, self._store, self.entries, self._log = plant, store, entries, log
        self.callers[1] = self._reset

    def rows(self) -> Sequence[Row]:
        """The entries as rows."""
        return [
            (self._plant.home.zone.local(shown).to_octets(), code)
            for shown, code in list(self._store.events(self._log))[-self.entries :]
        ]

    def _reset(self, asker: Asker, parameter: int) -> None:
        self._store.clear_events(self._log)
        self._store.event(self._plant.now().shown, CLEARED, self._log)
