"""Demand register (class 5): energy over a period that ends with the clock, averaged over some periods.

Like everything measured it is a function of time.  Kept is only what the clock does not say: when a period
was ended by hand, by a new time or by a reset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meterseal.codec.types import Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.meter.objects import OTHER_REASON, Asker, CosemObject, Denied, Value
from meterseal.meter.plant import Moment, Plant, sourced
from meterseal.meter.store import MeterStore

SHORTEST, LONGEST, MOST_PERIODS = 60, 86_400, 96
_HOUR: Final = 3_600


class DemandRegister(CosemObject):
    """Average power, W, out of an energy `source` (Wh) of the plant.

    The current average counts the period that runs and those before it, `periods` together; the last
    average is what it was when the latest period ended.
    """

    def __init__(
        self,
        obis: Obis,
        source: str,
        plant: Plant,
        store: MeterStore,
        *,
        place: str,
        period: int,
        periods: int,
        scaler: int,
        unit: int,
    ) -> None:
        super().__init__(5, obis)
        self._plant, self._store, self._place, self._source = plant, store, place, source
        self.scaler, self.unit = scaler, unit
        self._take(store.get(place) or {"period": period, "periods": periods, "starts": [0], "reset": 0})
        octets, number = Tag.OCTET_STRING, Tag.DOUBLE_LONG_UNSIGNED
        self.readers |= {
            2: lambda asker: (self._current(plant.now()), number),
            3: lambda asker: (self._last(plant.now()), number),
            4: lambda asker: ((scaler, unit), Structure((Tag.INTEGER, Tag.ENUM))),
            5: lambda asker: (plant.status(plant.now()), Tag.UNSIGNED),
            6: lambda asker: (self._face(self._starts(plant.now())[-1]), octets),
            7: lambda asker: (self._face(self._window(plant.now())[0]), octets),
            8: lambda asker: (self.period, number),
            9: lambda asker: (self.periods, Tag.LONG_UNSIGNED),
        }
        self.writers |= {8: self._set_period, 9: self._set_periods}
        self.callers |= {
            1: lambda asker, parameter: self._keep(self._anew()),
            2: lambda asker, parameter: self._keep(self._closed()),
        }
        plant.on_clock_set.append(self._clock_set)

    def at(self, index: int, moment: Any) -> Value | None:
        """Both averages at a moment; before the last period ended by hand as if none had been."""
        if index not in (2, 3):
            return None
        return (self._current if index == 2 else self._last)(moment), Tag.DOUBLE_LONG_UNSIGNED

    # --- periods ----------------------------------------------------------------------------

    def _starts(self, moment: Moment) -> list[int]:
        """Real times at which the latest periods began, one more than are averaged; the last one runs."""
        wanted = self.periods + 1
        edge = moment.shown // self.period * self.period - moment.offset
        regular = [edge - back * self.period for back in reversed(range(wanted))]
        marked = [start for start in self._marks if start <= moment.real]
        floor = marked[-1] if marked else 0
        return [*marked, *(start for start in regular if start > floor)][-wanted:]

    def _window(self, moment: Moment) -> list[int]:
        """Where the current average begins, and now."""
        return [self._starts(moment)[-self.periods :][0], moment.real]

    def _average(self, start: int, end: int) -> int:
        """W over the whole averaging time for what was used between two real times."""
        energy = [sourced(self._plant, self._source, Moment(at))[0] for at in (start, end)]
        return int((energy[1] - energy[0]) * _HOUR // (self.period * self.periods))

    def _current(self, moment: Moment) -> int:
        start, end = self._window(moment)
        return self._average(max(start, self._reset), end)

    def _last(self, moment: Moment) -> int:
        starts = self._starts(moment)
        if len(starts) < 2 or starts[-1] <= self._reset:
            return 0
        return self._average(max(starts[0], self._reset), starts[-1])

    def _face(self, real: int) -> bytes:
        return self._plant.clock(Moment(real, self._plant.offset)).to_octets()

    # --- what changes them ------------------------------------------------------------------

    def _take(self, kept: dict[str, Any]) -> None:
        self.period, self.periods = kept["period"], kept["periods"]
        self._marks, self._reset = kept["starts"], kept["reset"]

    def _keep(self, kept: dict[str, Any]) -> None:
        self._store.keep({self._place: kept})
        self._take(kept)

    def _closed(self) -> dict[str, Any]:
        """The running period ends now, and the next one ends with the clock."""
        now = self._plant.now()
        starts = [*self._starts(now), now.real][-self.periods - 1 :]
        return {"period": self.period, "periods": self.periods, "starts": starts, "reset": self._reset}

    def _anew(self, **changes: int) -> dict[str, Any]:
        """Nothing has been measured yet."""
        now = self._plant.real()
        return {"period": self.period, "periods": self.periods, **changes, "starts": [now], "reset": now}

    def _set_period(self, asker: Asker, period: int) -> None:
        if not SHORTEST <= period <= LONGEST:
            raise Denied(OTHER_REASON, f"a period has {SHORTEST} to {LONGEST} s")
        self._keep(self._anew(period=period))

    def _set_periods(self, asker: Asker, periods: int) -> None:
        if not 1 <= periods <= MOST_PERIODS:
            raise Denied(OTHER_REASON, f"1 to {MOST_PERIODS} periods are averaged")
        self._keep(self._anew(periods=periods))

    def _clock_set(self, offset: int) -> tuple[dict[str, Any], Callable[[], None]]:
        kept = self._closed()
        return {self._place: kept}, lambda: self._take(kept)
