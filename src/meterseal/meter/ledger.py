"""The state of many meters of one process: one append-only journal, a page for each meter.

A meter that is not at work is a few octets here: its records as JSON.  Whatever one meter makes durable takes
with it what all others have collected: one write, one sync.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from meterseal.errors import Misuse, StateDamaged, StateUnavailable
from meterseal.meter.store import MEND, MeterStore
from meterseal.state import Journal, JournalCounters, Record

_log = logging.getLogger(__name__)

PAGE: Final = "page"
"""Which meter a record of the journal is about; records without it are about counters."""

_GROUP: Final = 1_000
"""Records that are gathered for one write while meters are founded."""

_SPARE: Final = 20_000
"""Records above twice what was needed at the last compaction before the next one."""


class Ledger:
    """The journal in `folder`, and one set of counters for all its meters.

    Raises StateDamaged, StateLocked, StateUnavailable.
    """

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder)
        self.counters = JournalCounters(self.journal)
        self._asleep: dict[int, bytes] = {}
        self._awake: dict[int, MeterStore] = {}
        self._gathered: list[Record] | None = None
        try:
            self._load()
        except StateDamaged:
            self.journal.close()
            raise

    def _load(self) -> None:
        """Each meter's records together, in as few octets as they need."""
        found: dict[int, list[Record]] = {}
        for record in self.journal.records():
            number = record.pop(PAGE, None)
            if isinstance(number, int):
                found.setdefault(number, []).append(record)
            elif not self.counters.apply(record):
                raise StateDamaged(f"the journal is none of many meters; {MEND}")
        for number, records in found.items():
            self._asleep[number] = _text(MeterStore.of_records(records).snapshot())

    def __contains__(self, number: int) -> bool:
        return number in self._asleep or number in self._awake

    def open(self, number: int) -> MeterStore:
        """The store of a meter, until it is closed.  Raises Misuse when it is open already."""
        if number in self._awake:
            raise Misuse(f"the state of meter {number} is in use")
        store = MeterStore(page=Page(self, number, _records(self._asleep.get(number, b"[]"))))
        self._asleep.pop(number, None)
        self._awake[number] = store
        return store

    def close_page(self, number: int) -> None:
        """A meter has let go of its store; nothing is written for that."""
        self._asleep[number] = _text(self._awake.pop(number).snapshot())

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """What is committed meanwhile is durable at the end, in a few writes.  Raises StateUnavailable."""
        self._gathered = []
        try:
            yield
            self.journal.commit(*self._gathered)
        finally:
            self._gathered = None

    def commit(self, number: int, records: Iterable[Record]) -> None:
        """Make records of a meter durable, with all that has been collected."""
        own = [{PAGE: number, **record} for record in records]
        if self._gathered is None:
            self.journal.commit(*own)
            return
        self._gathered += own
        if len(self._gathered) >= _GROUP:
            self.journal.commit(*self._gathered)
            self._gathered.clear()

    def tidy(self) -> None:
        """Compact the journal when it has become much longer than it was after the last time."""
        if self._gathered is not None or self.journal.surplus < _SPARE:
            return
        pages = [(number, _records(text)) for number, text in self._asleep.items()]
        pages += [(number, store.snapshot()) for number, store in self._awake.items()]
        records = [{PAGE: number, **record} for number, page in pages for record in page]
        try:
            self.journal.compact([*records, *self.counters.snapshot()])
        except StateUnavailable as error:  # nothing is lost; a later write tries again
            _log.warning("the journal could not be compacted: %s", error)

    def sync(self) -> None:
        """Make everything durable that was noted of any meter.  Raises StateUnavailable."""
        self.counters.sync()
        self.tidy()

    def close(self) -> None:
        """Make everything durable as far as the disk allows, and let go of the folder."""
        try:
            self.counters.sync()
        except StateUnavailable as error:
            _log.warning("the last state could not be kept: %s", error)
        self.journal.close()


class Page:
    """What the store of one meter has for a journal."""

    def __init__(self, ledger: Ledger, number: int, found: list[Record]) -> None:
        self._ledger, self._number, self._found = ledger, number, found
        self.counters = ledger.counters

    def records(self) -> list[Record]:
        """The meter's records; handed over once."""
        found, self._found = self._found, []
        return found

    def commit(self, *records: Record) -> None:
        """As `Journal.commit`."""
        self._ledger.commit(self._number, records)

    def append(self, *records: Record) -> None:
        """As `Journal.append`."""
        self._ledger.journal.append(*({PAGE: self._number, **record} for record in records))

    def tidy(self) -> None:
        """Compact the journal of all if it is time."""
        self._ledger.tidy()

    def close(self) -> None:
        """The meter is not at work any more."""
        self._ledger.close_page(self._number)


def _text(records: list[Record]) -> bytes:
    return json.dumps(records, separators=(",", ":")).encode("ascii")


def _records(text: bytes) -> list[Record]:
    found: list[Record] = json.loads(text)
    return found
