"""What a meter must not forget: values by name, event logs, counters; on disk when it has a folder.

`keep` is durable before it returns: an effect is kept first and happens then. Several values go in one
record, so a crash leaves all of them or none. Without a folder everything stays in memory, for tests and
for asking about rights.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from meterseal.errors import StateDamaged, StateUnavailable
from meterseal.keys.counters import BLOCK
from meterseal.security.context import Counted
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
"""Records above twice what was needed at the last compaction before the next one."""

_LONG, _TOGETHER = 1_000, 200
"""Characters of a value that gets a record of its own; how many others share one."""

MEND: Final = "move the folder away and start the meter on a new one with new keys"


class Book(Protocol):
    """Where records go: a journal of one's own (`_Own`), or a page in that of many meters."""

    counters: JournalCounters

    def records(self) -> list[Record]:
        """What there is."""

    def commit(self, *records: Record) -> None:
        """Durable before it returns.  Raises StateUnavailable."""

    def append(self, *records: Record) -> None:
        """Durable with the next commit.  Raises StateUnavailable."""

    def tidy(self) -> None:
        """Nothing that matters is going on: compact, if it is time."""

    def close(self) -> None:
        """Let go of it."""


class MeterStore:
    """Values, events and counters of one meter.  `folder` None: in memory, unless there is a `page`.

    Raises StateDamaged, StateLocked, StateUnavailable when opened on a folder.
    """

    def __init__(self, folder: Path | None = None, *, page: Book | None = None) -> None:
        self._values: dict[str, Any] = {}
        self._events: dict[int, deque[tuple[int, int]]] = {}
        self.journal: Journal | None = None
        """The journal of a meter that has a folder for itself."""
        self._book = _Own(folder, self) if folder is not None else page
        self.counters: JournalCounters | MemoryCounters = MemoryCounters()
        if self._book is not None:
            self.counters = self._book.counters
            try:
                self._read(self._book.records())
            except StateDamaged:
                self._book.close()
                raise

    @classmethod
    def of_records(cls, records: Iterable[Record]) -> MeterStore:
        """A store in memory of what records say.  Raises StateDamaged."""
        store = cls()
        store._read(records)
        return store

    def _read(self, records: Iterable[Record]) -> None:
        for record in records:
            self._apply(record)
        self._check_format()

    def snapshot(self) -> list[Record]:
        """Values and events as records, few and none too long, that say the same."""
        long = {name for name, value in self._values.items() if len(str(value)) > _LONG}
        short = [item for item in self._values.items() if item[0] not in long]
        groups = [dict(short[at : at + _TOGETHER]) for at in range(0, len(short), _TOGETHER)]
        groups += [{name: self._values[name]} for name in sorted(long)]
        events = [{"event": [*entry, log]} for log, entries in self._events.items() for entry in entries]
        return [*({"set": group} for group in groups), *events]

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
            raise StateDamaged(f"the meter's journal holds a record of another kind; {MEND}")

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
        if self._book is not None:
            if not self._values:
                record["set"]["format"] = FORMAT
            self._book.commit(record)
        self._take(record["set"])
        self._tidy()

    def collect(self, values: Mapping[str, Any]) -> None:
        """Keep what can be had again: durable with the next write, at the latest with `sync`.

        Raises StateUnavailable when the disk has not taken anything for so long that too much waits.
        """
        if self._book is not None:
            self._book.append({"set": dict(values)})
        self._take(values)

    def events(self, number: int = SECURITY) -> Sequence[tuple[int, int]]:
        """An event log, oldest entry first: what the clock showed (seconds since 1970 UTC), code."""
        return self._events.get(number, ())

    def event(self, moment: int, code: int, number: int = SECURITY) -> None:
        """Add an entry to an event log; durable with the next write, at the latest with `sync`."""
        self._log(number).append((moment, code))
        if self._book is not None:
            try:
                self._book.append({"event": [moment, code, number]})
            except StateUnavailable as error:
                _log.warning("an event could not be kept: %s", error)

    def clear_events(self, number: int = SECURITY) -> None:
        """Empty an event log, durably."""
        if self._book is not None:
            self._book.commit({"cleared": number})
        self._log(number).clear()

    def note(self, key: Counted) -> None:
        """Note how far messages under a key have been received; durable after `sync`."""
        self.counters.note_received(key.key_id, key.rx.lowest)

    def reserve(self, key: Counted, count: int) -> None:
        """Bring in the next block of sending counters, durably.

        Raises CounterExhausted, StateUnavailable; the key then has what it had.
        """
        first, end = self.counters.reserve(key.key_id, max(count, BLOCK), FIRST_SENT)
        key.tx.extend(first, end)

    def set_aside(self, key: Counted, count: int) -> Callable[[], None]:
        """As `reserve`, but durable with the next `sync`: the call that brings the block in, after that.

        Raises as `reserve`.
        """
        first, end = self.counters.set_aside(key.key_id, max(count, BLOCK), FIRST_SENT)

        def bring_in() -> None:
            if first >= key.tx.end:  # else a later block came in before: this one is skipped
                key.tx.extend(first, end)

        return bring_in

    def sync(self) -> None:
        """Make everything noted durable.  Raises StateUnavailable; it stays noted then."""
        self.counters.sync()
        self._tidy()

    def _tidy(self) -> None:
        if self._book is not None:
            self._book.tidy()

    def close(self) -> None:
        """Make everything durable as far as the disk allows, and let go of the folder."""
        if self._book is not None:
            self._book.close()


class _Own:
    """The journal of a meter that has a folder for itself."""

    def __init__(self, folder: Path, store: MeterStore) -> None:
        self._journal = store.journal = Journal(folder)
        self._store = store
        self.counters = JournalCounters(self._journal)

    def records(self) -> list[Record]:
        """As `Journal.records`."""
        return self._journal.records()

    def commit(self, *records: Record) -> None:
        """As `Journal.commit`."""
        self._journal.commit(*records)

    def append(self, *records: Record) -> None:
        """As `Journal.append`."""
        self._journal.append(*records)

    def tidy(self) -> None:
        """Compact the journal when it has become much longer than it was after the last time."""
        if self._journal.surplus < _SPARE:
            return
        try:
            self._journal.compact([*self._store.snapshot(), *self.counters.snapshot()])
        except StateUnavailable as error:  # nothing is lost; a later write tries again
            _log.warning("the journal could not be compacted: %s", error)

    def close(self) -> None:
        """Make everything durable as far as the disk allows, and let go of the folder."""
        try:
            self.counters.sync()
        except StateUnavailable as error:
            _log.warning("the last state could not be kept: %s", error)
        self._journal.close()
