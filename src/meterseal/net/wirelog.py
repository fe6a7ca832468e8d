"""The wire log: each frame that goes over a line, as a line of JSON in a file."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO, TypeAlias

from meterseal.errors import ConfigurationError

Direction: TypeAlias = Literal["in", "out"]
"""As this process sees it."""

_log = logging.getLogger(__name__)


class WireLog:
    """Appends `{"time", "connection", "direction", "hex"}` per frame, framing octets included.

    `time` is UTC in ISO 8601, `connection` names the line, `direction` is `in` or `out`. The file is made
    with mode 0600: frames may carry passwords of low level security. A file that cannot be written any more
    (a full disk) ends the log with one warning, not the line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """ConfigurationError when the file cannot be opened."""
        self.path = Path(path)
        self._file: TextIO | None = None
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"wire log {self.path}: {error.strerror}") from error
        self._file = os.fdopen(descriptor, "a", buffering=1, encoding="ascii")

    def record(self, connection: str, direction: Direction, octets: bytes) -> None:
        """Write one frame. Raises nothing."""
        if self._file is None:
            return
        time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        entry = {"time": time, "connection": connection, "direction": direction, "hex": octets.hex().upper()}
        try:
            self._file.write(json.dumps(entry) + "\n")
        except OSError as error:
            _log.warning("wire log %s ended: %s", self.path, error.strerror)
            self.close()

    def close(self) -> None:
        """End the log; what is recorded later goes nowhere."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                _log.warning("wire log %s: %s", self.path, error.strerror)

    def __enter__(self) -> WireLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
