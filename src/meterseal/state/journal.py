"""A meter's journal: records that survive `kill -9`, written in groups, in a folder held by one process."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

from meterseal.errors import Misuse, StateDamaged, StateUnavailable
from meterseal.state.folder import FolderLock, make_folder
from meterseal.state.log import Log, Record, encode

MEND: Final = (
    "the meter does not start with it.  To mend it: move the folder away, start the meter on a new "
    "one, and give it new keys, for the old ones would meet old counters again"
)

MOST_WAITING: Final = 10_000
"""Records that may be collected while the disk takes none."""


class Journal:
    """Append-only records with group commit, under a lock for as long as it is open.

    For one thread.  `commit` is for what must be durable before anything is told: it is then, or it
    is not there at all.  `append` is for what may follow a little later, with the next `commit` or
    `sync`, many records in one write.
    """

    def __init__(
        self, folder: Path | str, name: str = "journal", *, mend: str = MEND, patience: float = 0.0
    ) -> None:
        """Open or make the journal `name` in `folder`; `patience`: seconds to wait for another process.

        Raises StateLocked naming the process that has it open, StateDamaged, StateUnavailable.
        """
        self.folder = Path(folder)
        make_folder(self.folder)
        self._owner = os.getpid()
        self._pending: list[bytes] = []
        self._lock = FolderLock(self.folder, name)
        self._lock.acquire(patience, sign=True)
        self._log = Log(self.folder, name, mend)
        try:
            self._found = self._log.load()
            self._length = len(self._found)
        except (StateDamaged, StateUnavailable):
            self.close()
            raise

    def records(self) -> list[Record]:
        """What was in the journal when it was opened: the last compaction's records and all since.

        Handed over once: the journal does not keep them.
        """
        found, self._found = self._found, []
        return found

    @property
    def length(self) -> int:
        """Records in the file: what `compact` would make fewer."""
        return self._length

    @property
    def surplus(self) -> int:
        """Records above twice those of the last compaction: so many are worth another one."""
        return self._length - 2 * self._log.snapshot

    def append(self, *records: Record) -> None:
        """Collect records; they stay collected until a write of them succeeds.

        Raises Misuse for what is no JSON object, or too long, StateUnavailable when the disk has not
        taken any for so long that too many wait.
        """
        self._check_owner()
        if len(self._pending) + len(records) > MOST_WAITING:
            raise StateUnavailable(f"{len(self._pending)} records wait for the journal in {self.folder}")
        self._pending += [encode(record) for record in records]

    def sync(self) -> None:
        """Make all collected records durable in one write.

        Raises StateUnavailable (disk full, read-only, ...); they stay collected then.
        """
        self.commit()

    def commit(self, *records: Record) -> None:
        """Make these records durable, behind what was collected, in one write.

        Raises StateUnavailable: none of `records` is kept then, and what they stand for must not
        happen.  A later call may succeed again.  Raises Misuse as `append` does.
        """
        self._check_owner()
        texts = [*self._pending, *(encode(record) for record in records)]
        if texts:
            self._log.commit(texts)
            self._pending.clear()
            self._length += len(texts)

    def compact(self, snapshot: Iterable[Record]) -> None:
        """Put `snapshot`, the present state as records, in place of all records so far.

        What has been collected is made durable first.  Raises StateUnavailable; nothing is lost then.
        """
        self.sync()
        texts = [encode(record) for record in snapshot]
        self._log.replace(texts)
        self._length = len(texts)

    def close(self) -> None:
        """Close the files and give up the lock; what was collected and not synced is gone."""
        self._log.close()
        self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_owner(self) -> None:
        # A forked child shares the descriptors and the lock, and would write over its parent.
        if os.getpid() != self._owner:
            raise Misuse(f"the journal in {self.folder} belongs to process {self._owner}")
