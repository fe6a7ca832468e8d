"""What went wrong and what was changed: one line each in the process's log, codes in the meter's event logs.

The causes are precise here and nowhere else: the wire is told less (design 3).  No line holds a secret or
anything of an unverified message.  Floods are cut off: so many lines a second, so many entries of a code a
minute, and then how many there were.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from meterseal.association import Operation, Service
from meterseal.cosem.obis import Obis
from meterseal.errors import MetersealError, ProtectionError, Replayed
from meterseal.meter.store import MeterStore
from meterseal.net.rate import Rate

if TYPE_CHECKING:
    from meterseal.meter.objects import Asker
    from meterseal.meter.plant import Plant

log = logging.getLogger("meterseal.meter")

LOGS: Final = {"standard": 0, "security": 1, "disconnect": 2}
"""Event logs by name: 0.0.99.98.e.255 with the code of the latest entry in 0.0.96.11.e.255 (more 5.2)."""


class Event(NamedTuple):
    """An entry as it is made: the number of its log, and the code (fact sheet more 5.3)."""

    log: int
    code: int


POWER_DOWN, POWER_UP = Event(0, 1), Event(0, 2)
CLOCK_BEFORE, CLOCK_AFTER = Event(0, 4), Event(0, 5)
TARIFF, CALENDAR_PROGRAMMED = Event(0, 9), Event(0, 19)
IMAGE_READY, IMAGE_ACTIVATED = Event(0, 17), Event(0, 18)
SIGN_ON_FAILED, PARAMETERS, KEY_CHANGED = Event(1, 46), Event(1, 47), Event(1, 48)
NOT_AUTHENTIC, REPLAY = Event(1, 49), Event(1, 50)
READY_AGAIN, BY_HAND = Event(2, 59), Event(2, 61)
REMOTE_OFF, REMOTE_ON, LOCAL = Event(2, 62), Event(2, 63), Event(2, 64)
CLEARED: Final = 255
"""The code of the first entry of a log that was emptied."""

LINES_PER_SECOND: Final = 20
ENTRIES_PER_MINUTE: Final = 10


class Events:
    """The journal of one meter."""

    def __init__(self, store: MeterStore, plant: Plant) -> None:
        self._store, self._plant = store, plant
        self._lines = Rate(LINES_PER_SECOND, 1)
        self._entries: dict[Event, Rate] = {}
        self.on_entry: list[Callable[[Event, int], None]] = []
        """Told of each entry and its moment, by the clock as it is shown."""
        plant.on_clock_set.append(self._clock_set)

    def refused(self, who: str, error: MetersealError, during: str) -> None:
        """A message was refused; `who` names association and line."""
        self._line(f"refused, {during}, {who}: {error.kind}: {error}")
        event = _event(error, during)
        if event is not None:
            self.happened(event)

    def denied(self, asker: Asker, operation: Operation, cause: str) -> None:
        """An operation that was allowed did not go through."""
        verb, kind = _VERBS[operation.service]
        whose = "" if asker.third is None else f" for third party {asker.third.title.hex().upper()}"
        name = f"{kind} {operation.member} of {operation.class_id}/{Obis(operation.instance)}"
        self._line(f"not done, {asker.association.role}{whose}: {verb} {name}: {cause}")

    def note(self, text: str) -> None:
        """Something worth a line."""
        self._line(text)

    def _line(self, text: str) -> None:
        now, before = self._lines.take(self._plant.real())
        if before:
            log.warning("%d more lines were left out", before)
        if now:
            log.info("%s", text)

    def happened(self, event: Event) -> None:
        """Add an entry to a log, now."""
        self._entry(event, self._plant.now().shown)

    def _entry(self, event: Event, shown: int) -> None:
        budget = self._entries.setdefault(event, Rate(ENTRIES_PER_MINUTE, 60))
        if budget.take(self._plant.real())[0]:
            self._store.event(shown, event.code, event.log)
            for listener in self.on_entry:
                listener(event, shown)

    def _clock_set(self, offset: int) -> tuple[dict[str, Any], Callable[[], None]]:
        before = self._plant.now().shown

        def note() -> None:
            self._entry(CLOCK_BEFORE, before)
            self.happened(CLOCK_AFTER)

        return {}, note


_VERBS: Final = {
    Service.GET: ("read", "attribute"),
    Service.SET: ("write", "attribute"),
    Service.ACTION: ("call", "method"),
}
_SIGN_ON: Final = ("signing on", "pass 3")


def _event(error: MetersealError, during: str) -> Event | None:
    """The entry in the security log; None for what is no matter of security."""
    if isinstance(error, Replayed) or isinstance(error.__cause__, Replayed):  # of a third party: inside
        return REPLAY
    if during in _SIGN_ON:
        return SIGN_ON_FAILED
    return NOT_AUTHENTIC if isinstance(error, ProtectionError) else None
