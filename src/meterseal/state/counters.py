"""Stores of invocation counters: blocks for sending, durably reserved before use, and floors for receiving.

Law 1: no (key, system title, counter) is used twice, not after `kill -9`, a full disk, or from two
processes.  A value is only ever used out of a block that is already on disk as taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from meterseal.errors import CounterExhausted, CounterUnknown, Misuse, StateDamaged, StateUnavailable
from meterseal.keys.counters import BLOCK, LIMIT
from meterseal.state.folder import FolderLock, make_folder
from meterseal.state.journal import Journal
from meterseal.state.log import Log, Place, Record, encode

_KEY_ID: Final = re.compile(r"[0-9A-Za-z._-]{1,128}")
_PATIENCE: Final = 10.0
"""Seconds to wait for another process that is reserving; it takes a few milliseconds."""

_SPARE_RECORDS: Final = 256
"""Records above what is needed that a log may collect before it is compacted."""

MEND: Final = (
    "nothing ciphered is sent meanwhile.  To mend it: move the folder away and say in the credentials "
    "where to start, above every value used so far (counter_start, or counter_object to ask the meter), "
    "or bring in new keys"
)


class CounterStore(Protocol):
    """What client and meter need of a store; `key_id` is the name made by `keys.counters.key_id`."""

    def reserve(self, key_id: str, count: int = BLOCK, start: int | None = None) -> tuple[int, int]:
        """Take the next `count` values for sending, durably, and return them as (first, end), end excluded.

        They begin where the store stands, or at `start` where that is higher; on first use of a key
        at `start`.  At the end of the space there may be fewer.  Raises CounterUnknown on first use
        without `start`, CounterExhausted, StateDamaged, StateUnavailable, StateLocked.
        """

    def received(self, key_id: str) -> int | None:
        """The lowest acceptable counter as last noted, None for a key never received under."""

    def note_received(self, key_id: str, lowest: int) -> None:
        """Note the lowest acceptable counter; never moves down; durable after `sync`."""

    def sync(self) -> None:
        """Make everything noted durable."""


class _Table:
    """The numbers of a store, and the records that they are made of."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._lowest: dict[str, int] = {}

    def apply(self, record: Record) -> bool:
        """Take over a record; False when it is not about counters."""
        match record:
            case {"tx": str(key_id), "end": int(end)}:
                self._next[key_id] = max(self._next.get(key_id, 0), end)
            case {"rx": str(key_id), "lowest": int(lowest)}:
                self._lowest[key_id] = max(self._lowest.get(key_id, 0), lowest)
            case _:
                return False
        return True

    def plan(self, key_id: str, count: int, start: int | None, where: str) -> tuple[int, int]:
        """The next block.  Changes nothing: what makes it taken is the record of it."""
        _check(key_id, start or 0)
        if count < 1:
            raise Misuse(f"a block of {count} counters")
        known = self._next.get(key_id)
        if known is None and start is None:
            raise CounterUnknown(
                f"where the invocation counter of key {key_id} stands is not known: not from the state "
                f"({where}), no counter_start and no counter_object in the credentials"
            )
        first = max(known or 0, start or 0)
        if first >= LIMIT:
            raise CounterExhausted(f"the invocation counter of key {key_id} is used up: only a new key helps")
        return first, min(first + count, LIMIT)

    def lowest(self, key_id: str, noted: dict[str, int]) -> int | None:
        """The floor of a key, from what is durable and what is noted."""
        known = [table[key_id] for table in (self._lowest, noted) if key_id in table]
        return max(known, default=None)

    def news(self, noted: dict[str, int]) -> list[Record]:
        """The records of the floors in `noted` that are not known here yet."""
        return [
            {"rx": key_id, "lowest": lowest}
            for key_id, lowest in noted.items()
            if lowest > self._lowest.get(key_id, -1)
        ]

    def snapshot(self) -> list[Record]:
        """The records that say the same in the fewest lines."""
        return [
            *({"tx": key_id, "end": end} for key_id, end in self._next.items()),
            *({"rx": key_id, "lowest": lowest} for key_id, lowest in self._lowest.items()),
        ]


class MemoryCounters:
    """Counters of one process, gone with it: for keys that end with it too, and for tests."""

    def __init__(self) -> None:
        self._table = _Table()
        self._owner = os.getpid()

    def reserve(self, key_id: str, count: int = BLOCK, start: int | None = None) -> tuple[int, int]:
        """As `CounterStore.reserve`; StateUnavailable in a forked child, for its parent goes on counting."""
        if os.getpid() != self._owner:
            raise StateUnavailable(f"counters in memory belong to process {self._owner} that made them")
        first, end = self._table.plan(key_id, count, start, "in memory")
        self._table.apply({"tx": key_id, "end": end})
        return first, end

    def set_aside(self, key_id: str, count: int = BLOCK, start: int | None = None) -> tuple[int, int]:
        """As `JournalCounters.set_aside`; there is nothing to wait for."""
        return self.reserve(key_id, count, start)

    def received(self, key_id: str) -> int | None:
        """As `CounterStore.received`."""
        return self._table.lowest(key_id, {})

    def note_received(self, key_id: str, lowest: int) -> None:
        """As `CounterStore.note_received`."""
        _check(key_id, lowest)
        self._table.apply({"rx": key_id, "lowest": lowest})

    def sync(self) -> None:
        """Nothing to do."""


class FileCounters:
    """Counters in a folder that any number of processes and threads share.

    Each call locks, reads what others have added, writes and unlocks, so that blocks never overlap.  The
    folder is made at first use, mode 0700.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._guard = Lock()
        self._noted: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._known: tuple[_Table, Place] | None = None

    def reserve(self, key_id: str, count: int = BLOCK, start: int | None = None) -> tuple[int, int]:
        """As `CounterStore.reserve`."""
        with self._guard, self._open() as (log, table):
            first, end = table.plan(key_id, count, start, str(self.folder))
            if first < self._given.get(key_id, 0):
                raise StateDamaged(f"state folder {self.folder} holds an older state than before; {MEND}")
            self._commit(log, table, [{"tx": key_id, "end": end}])
            self._given[key_id] = end
            return first, end

    def received(self, key_id: str) -> int | None:
        """As `CounterStore.received`, of all processes; also raises what `reserve` raises about the state."""
        with self._guard, self._open() as (_, table):
            return table.lowest(key_id, self._noted)

    def note_received(self, key_id: str, lowest: int) -> None:
        """As `CounterStore.note_received`: a number in memory until `sync`."""
        _check(key_id, lowest)
        with self._guard:
            self._noted[key_id] = max(lowest, self._noted.get(key_id, 0))

    def sync(self) -> None:
        """As `CounterStore.sync`.  Raises what `reserve` raises about the state; the notes are kept then."""
        with self._guard:
            if not self._noted:
                return
            with self._open() as (log, table):
                self._commit(log, table, table.news(self._noted))
            self._noted.clear()

    @contextmanager
    def _open(self) -> Iterator[tuple[Log, _Table]]:
        """The log as it stands and its numbers, under the lock."""
        make_folder(self.folder)
        with FolderLock(self.folder, "counters") as lock:
            lock.acquire(_PATIENCE)
            log = Log(self.folder, "counters", MEND)
            # Whatever fails in between: next time all of it is read anew.
            known, self._known = self._known, None
            try:
                table, since = (_Table(), None) if known is None else (known[0], log.follow(known[1]))
                if since is None:
                    table, since = _Table(), log.load()
                if not all(table.apply(record) for record in since):
                    raise StateDamaged(f"state folder {self.folder} holds more than counters; {MEND}")
                yield log, table
                self._known = table, log.place
            finally:
                log.close()

    @staticmethod
    def _commit(log: Log, table: _Table, news: list[Record]) -> None:
        log.commit([encode(record) for record in news])
        for record in news:
            table.apply(record)
        snapshot = table.snapshot()
        if log.length > len(snapshot) + _SPARE_RECORDS:
            with suppress(StateUnavailable):  # what counts is on disk; the next call tries again
                log.replace([encode(record) for record in snapshot])


class JournalCounters:
    """Counters among the other records of a meter's journal.

    The journal's records are handed to `apply` at the start, and `snapshot` belongs into each
    compaction.  One of these serves all meters of a process, so that `sync` is one write.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._table = _Table()
        self._noted: dict[str, int] = {}

    def apply(self, record: Record) -> bool:
        """Take over a record of the journal; False when it is not about counters."""
        return self._table.apply(record)

    def snapshot(self) -> list[Record]:
        """The present numbers as records."""
        return self._table.snapshot()

    def reserve(self, key_id: str, count: int = BLOCK, start: int | None = None) -> tuple[int, int]:
        """As `CounterStore.reserve`; what the journal has collected is written with it."""
        first, end = self._table.plan(key_id, count, start, str(self._journal.folder))
        record = {"tx": key_id, "end": end}
        self._journal.commit(record)
        self._table.apply(record)
        return first, end

    def set_aside(self, key_id: str, count: int = BLOCK, start: int | None = None) -> tuple[int, int]:
        """As `reserve`, but taken only in memory: none of it may be used before a `sync` has gone through.

        Where that fails the block is lost, and the next one begins behind it.
        """
        first, end = self._table.plan(key_id, count, start, str(self._journal.folder))
        record = {"tx": key_id, "end": end}
        self._journal.append(record)
        self._table.apply(record)
        return first, end

    def received(self, key_id: str) -> int | None:
        """As `CounterStore.received`."""
        return self._table.lowest(key_id, self._noted)

    def note_received(self, key_id: str, lowest: int) -> None:
        """As `CounterStore.note_received`: a number in memory until `sync`."""
        _check(key_id, lowest)
        self._noted[key_id] = max(lowest, self._noted.get(key_id, 0))

    def sync(self) -> None:
        """As `CounterStore.sync`; what the journal has collected is written with it."""
        news = self._table.news(self._noted)
        self._journal.commit(*news)
        for record in news:
            self._table.apply(record)
        self._noted.clear()


def _check(key_id: str, value: int) -> None:
    if not _KEY_ID.fullmatch(key_id):
        raise Misuse("a key id has 1 to 128 letters, digits, dots, hyphens and underscores")
    if not 0 <= value <= LIMIT:
        raise Misuse(f"{value} is not an invocation counter")
