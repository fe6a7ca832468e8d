"""The witness: a file outside the store that knows how far the store has come (C09, G10, G19).

A copy that agrees with itself looks whole.  So each change ticks, and the last tick stands in this file too,
before anything that was changed is used.  A store behind its witness is an older copy: it is refused, or
taken into use with every counter jumped over all that may have been used since.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meterseal.credentials.files import LARGEST_KEY, is_there, read_private, write_private
from meterseal.errors import StateDamaged
from meterseal.state.folder import FolderLock

_PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A store by name, its tick, and the last entry of its journal with its hash."""

    store: str
    tick: int
    entry: int
    head: bytes


class Witness:
    """The file, shared by the processes of one machine; without a path it sees nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._last = -1

    def seen(self) -> Seen | None:
        """What was seen last; None when there is no file.  Raises StateDamaged for one that says nothing."""
        if self.path is None or not is_there(self.path, "witness"):
            return None
        text = read_private(self.path, "witness", LARGEST_KEY)
        try:
            found = json.loads(text)
            return Seen(
                str(found["store"]), int(found["tick"]), int(found["entry"]), bytes.fromhex(found["head"])
            )
        except (ValueError, KeyError, TypeError):
            raise StateDamaged(
                f"witness {self.path} is damaged: verify the store, then take it away"
            ) from None

    def note(self, now: Seen) -> None:
        """The store has come this far; durable, and never less than before.  Raises StateUnavailable."""
        if self.path is None or now.tick <= self._last:
            return
        with FolderLock(self.path.parent, f".{self.path.name}") as lock:
            lock.acquire(_PATIENCE)
            seen = None
            with suppress(StateDamaged):
                seen = self.seen()
            if seen is None or seen.store != now.store or seen.tick < now.tick:
                text = {
                    "store": now.store,
                    "tick": now.tick,
                    "entry": now.entry,
                    "head": now.head.hex().upper(),
                }
                write_private(self.path, json.dumps(text).encode() + b"\n", "witness")
        self._last = now.tick
