"""What a meter must not forget: values by name, event logs, counters; on disk when it has a folder.

`keep` is durable before it returns: an effect is kept first and happens then. Several values go in one
record, so a crash leaves all of them or none. Without a folder everything stays in memory, for tests and
for asking about rights.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from meterseal.errors import StateDamaged, StateUnavailable
from meterseal.keys.counters import BLOCK
from meterseal.security import KeyInUse
from meterseal.state import Journal, JournalCounters, MemoryCounters, Record

_log = logging.getLogger(__name__)

FORMAT: Final = 1
EVENTS: Final = 256
"""Entries of each event log that are kept."""

SECURITY: Final = 1
"""The event log of a record that names none."""

FIRST_SENT: Final = 1
"""Where the sending counter of a new key starts: clients in the field take 0 for "nothing received yet"."""

_SPARE: Final = 2_000
"""Records above what is needed before the journal is compacted."""

_MEND = "move the folder away and start the meter on a new one with new keys"


class MeterStore:
    """Values, events and counters of one meter.  `folder` None: in memory.

    Raises StateDamaged, StateLocked, StateUnavailable when opened on a folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._journal = None if folder is None else Journal(folder)
        self._values: dict[str, Any] = {}
        self._events: dict[int, deque[tuple[int, int]]] = {}
        self.counters: JournalCounters | MemoryCounters = MemoryCounters()
        if self._journal is not None:
            self.counters = JournalCounters(self._journal)
            try:
                for record in self._journal.records():
                    self._apply(record)
                self._check_format()
            except StateDamaged:
                self._journal.close()
                raise

    def _apply(self, record: Record) -> None:
        if isinstance(self.counters, JournalCounters) and self.counters.apply(record):
            return
        if "set" in record:
            self._take(record["set"])
        elif "event" in record:
            moment, code, *number = record["event"]
            self._log(number[0] if number else SECURITY).append((moment, code))
        elif "cleared" in record:
            self._log(int(record["cleared"])).clear()
        else:
            raise StateDamaged(f"the meter's journal holds a record of another kind; {_MEND}")

    def _check_format(self) -> None:
        found = self._values.get("format", FORMAT)
        if found != FORMAT:
            raise StateDamaged(f"the meter's journal is of format {found}, this version reads {FORMAT}")

    def _take(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if value is None:
                self._values.pop(name, None)
            else:
                self._values[name] = value

    def _log(self, number: int) -> deque[tuple[int, int]]:
        return self._events.setdefault(number, deque(maxlen=EVENTS))

    def get(self, name: str, default: Any = None) -> Any:
        """A kept value, or `default`."""
        return self._values.get(name, default)

    def names(self, place: str) -> list[str]:
        """The names of kept values that begin with `place`."""
        return [name for name in self._values if name.startswith(place)]

    def keep(self, values: Mapping[str, Any]) -> None:
        """Keep these values (JSON; None removes one), durably, all in one.

        Raises StateUnavailable: nothing is kept then.
        """
        record: Record = {"set": dict(values)}
        if self._journal is not None:
            if not self._values:
                record["set"]["format"] = FORMAT
            self._journal.commit(record)
        self._take(record["set"])
        self._compact()

    def collect(self, values: Mapping[str, Any]) -> None:
        """Keep what can be had again: durable with the next write, at the latest with `sync`.

        Raises StateUnavailable when the disk has not taken anything for so long that too much waits.
        """
        if self._journal is not None:
            self._journal.append({"set": dict(values)})
        self._take(values)

    def events(self, number: int = SECURITY) -> Sequence[tuple[int, int]]:
        """An event log, oldest entry first: what the clock showed (seconds since 1970 UTC), code."""
        return self._events.get(number, ())

    def event(self, moment: int, code: int, number: int = SECURITY) -> None:
        """Add an entry to an event log; durable with the next write, at the latest with `sync`."""
        self._log(number).append((moment, code))
        if self._journal is not None:
            try:
                self._journal.append({"event": [moment, code, number]})
            except StateUnavailable as error:
                _log.warning("an event could not be kept: %s", error)

    def clear_events(self, number: int = SECURITY) -> None:
        """Empty an event log, durably."""
        if self._journal is not None:
            self._journal.commit({"cleared": number})
        self._log(number).clear()

    def note(self, key: KeyInUse) -> None:
        """Note how far messages under a key have been received; durable after `sync`."""
        self.counters.note_received(key.key_id, key.rx.lowest)

    def reserve(self, key: KeyInUse, count: int) -> None:
        """Bring in the next block of sending counters, durably.

        Raises CounterExhausted, StateUnavailable; the key then has what it had.
        """
        first, end = self.counters.reserve(key.key_id, max(count, BLOCK), FIRST_SENT)
        key.tx.extend(first, end)

    def sync(self) -> None:
        """Make everything noted durable.  Raises StateUnavailable; it stays noted then."""
        self.counters.sync()
        self._compact()

    def _compact(self) -> None:
        journal = self._journal
        if journal is None or not isinstance(self.counters, JournalCounters):
            return
        counters = self.counters.snapshot()
        events = [
            {"event": [*entry, number]} for number, entries in self._events.items() for entry in entries
        ]
        if journal.length < _SPARE + len(counters) + len(events) + len(self._values):
            return
        try:
            journal.compact(
                [
                    *({"set": {name: value}} for name, value in self._values.items()),
                    *events,
                    *counters,
                ]
            )
        except StateUnavailable as error:  # nothing is lost; a later write tries again
            _log.warning("the journal could not be compacted: %s", error)

    def close(self) -> None:
        """Make everything durable as far as the disk allows, and let go of the folder."""
        if self._journal is None:
            return
        try:
            self.sync()
        except StateUnavailable as error:
            _log.warning("the last state could not be kept: %s", error)
        self._journal.close()
