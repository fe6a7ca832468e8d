"""What a meter must not forget: values by name, the event log, counters; on disk when it has a folder.

`keep` is durable before it returns: an effect is kept first and happens then. Several values go in one
record, so a crash leaves all of them or none. Without a folder everything stays in memory, for tests and
for asking about rights.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from meterseal.errors import StateDamaged, StateUnavailable
from meterseal.keys.counters import BLOCK
from meterseal.security import KeyInUse
from meterseal.state import Journal, JournalCounters, MemoryCounters, Record

_log = logging.getLogger(__name__)

FORMAT: Final = 1
EVENTS: Final = 256
"""Entries of the event log that are kept."""

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
        self.events: deque[tuple[int, int]] = deque(maxlen=EVENTS)
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
            self._values.update(record["set"])
        elif "event" in record:
            moment, code = record["event"]
            self.events.append((moment, code))
        elif "cleared" in record:
            self.events.clear()
        else:
            raise StateDamaged(f"the meter's journal holds a record of another kind; {_MEND}")

    def _check_format(self) -> None:
        found = self._values.get("format", FORMAT)
        if found != FORMAT:
            raise StateDamaged(f"the meter's journal is of format {found}, this version reads {FORMAT}")

    def get(self, name: str, default: Any = None) -> Any:
        """A kept value, or `default`."""
        return self._values.get(name, default)

    def keep(self, values: Mapping[str, Any]) -> None:
        """Keep these values (JSON), durably, all in one.  Raises StateUnavailable: nothing is kept then."""
        record: Record = {"set": dict(values)}
        if self._journal is not None:
            if not self._values:
                record["set"]["format"] = FORMAT
            self._journal.commit(record)
        self._values.update(record["set"])
        self._compact()

    def event(self, moment: int, code: int) -> None:
        """Add an entry to the event log; durable with the next write, at the latest with `sync`."""
        self.events.append((moment, code))
        if self._journal is not None:
            try:
                self._journal.append({"event": [moment, code]})
            except StateUnavailable as error:
                _log.warning("an event could not be kept: %s", error)

    def clear_events(self) -> None:
        """Empty the event log, durably."""
        if self._journal is not None:
            self._journal.commit({"cleared": True})
        self.events.clear()

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
        if journal.length < _SPARE + len(counters) + len(self.events) + len(self._values):
            return
        try:
            journal.compact(
                [
                    *({"set": {name: value}} for name, value in self._values.items()),
                    *({"event": list(entry)} for entry in self.events),
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
