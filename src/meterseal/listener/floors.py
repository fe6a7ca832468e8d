"""The floors of received counters on disk: a journal that one listener holds, compacted as it grows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from meterseal.errors import StateDamaged, StateUnavailable
from meterseal.state import Journal, JournalCounters

SPARE: Final = 10_000
"""Records above what is needed before the journal is compacted."""

MEND: Final = "no push is taken now.  To mend it: move the folder away; old pushes could then come again"


class Floors(JournalCounters):
    """The counter store of one listener, in a folder of its own that is locked for as long as it is open.

    Raises StateLocked naming the process that has it open, StateDamaged, StateUnavailable.
    """

    def __init__(self, folder: Path) -> None:
        self._records = Journal(folder, "received", mend=MEND)
        super().__init__(self._records)
        if not all(self.apply(record) for record in self._records.records()):
            self._records.close()
            raise StateDamaged(f"state folder {folder} holds more than received counters; {MEND}")

    def sync(self) -> None:
        """Make everything noted durable in one write; once in a while put the present floors in its place."""
        super().sync()
        if self._records.length > SPARE:
            snapshot = self.snapshot()
            if self._records.length > SPARE + 2 * len(snapshot):
                with suppress(StateUnavailable):  # what counts is on disk; a later call tries again
                    self._records.compact(snapshot)

    def close(self) -> None:
        """Let go of the folder."""
        self._records.close()

    def __enter__(self) -> Floors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
