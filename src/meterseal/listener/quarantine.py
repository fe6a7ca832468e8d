"""Pushes of meters that nobody knows: put aside by title, within bounds (B22)."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from meterseal.cosem.texts import moment_text
from meterseal.errors import StateUnavailable

TITLES: Final = 1000
"""Titles that get a file."""

OCTETS: Final = 16 << 20
"""Octets of all files together."""

OCTETS_OF_ONE: Final = 64 << 10
"""Octets of one file."""


class Quarantine:
    """A folder with a file of JSON lines per unknown title, `TITLE.jsonl`, mode 0600.

    Each line has `time`, `source`, `layers` and `hex`, the APDU as it came: `meterseal decode` opens it once
    the keys are there.  What is beyond the bounds is only counted (`left_out`): whoever writes titles at
    random can fill this folder and nothing else.  To make room, take files away.
    """

    def __init__(
        self, folder: Path, *, titles: int = TITLES, octets: int = OCTETS, octets_of_one: int = OCTETS_OF_ONE
    ) -> None:
        self.folder, self._titles, self._octets, self._one = folder, titles, octets, octets_of_one
        self.left_out = 0
        self._sizes: dict[str, int] = {}
        with suppress(OSError):  # none yet, or it will be seen when something is written
            self._sizes = {path.stem: path.stat().st_size for path in folder.glob("*.jsonl")}
        self._total = sum(self._sizes.values())

    @property
    def titles(self) -> int:
        """Titles that have a file."""
        return len(self._sizes)

    def put(self, title: bytes, source: str, layers: tuple[dict[str, Any], ...], octets: bytes) -> str:
        """Put a push aside; where it is, empty when there was no room for it.

        Raises StateUnavailable when the disk does not take it.
        """
        name = title.hex().upper() or "none"
        entry = {
            "time": moment_text(datetime.now(UTC), "milliseconds"),
            "source": source,
            "layers": layers,
            "hex": octets.hex().upper(),
        }
        line = json.dumps(entry).encode("ascii") + b"\n"
        if not self._has_room(name, len(line)):
            self.left_out += 1
            return ""
        path = self.folder / f"{name}.jsonl"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(path, flags, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StateUnavailable(f"quarantine {path}: {error.strerror}") from None
        self._sizes[name] = self._sizes.get(name, 0) + len(line)
        self._total += len(line)
        return str(path)

    def _has_room(self, name: str, size: int) -> bool:
        held = self._sizes.get(name)
        if held is None and len(self._sizes) >= self._titles:
            return False
        return (held or 0) + size <= self._one and self._total + size <= self._octets
