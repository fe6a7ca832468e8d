"""The head-end's journal: lines of JSON on stderr with the fields that are named here, redacted.

Octets are told by their number, hex by its length (system titles and names of requests are short enough to
stand), everything else is cut: a journal is no place for what passes through.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

FIELDS: Final = (
    "event", "level", "time", "meter", "utility", "request", "outcome", "cause", "size", "answer_size",
    "seconds", "count", "url", "role", "logger", "status", "method", "path",
)  # fmt: skip
"""All that a line may have."""

_LONGEST: Final = 300
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}[ :]?){13,}(?![0-9A-Za-z])")


def redact(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep the fields that are named, and of their values what may be read by who reads journals."""
    return {name: _shown(line[name]) for name in FIELDS if name in line}


def _shown(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} octets"
    if value is None or isinstance(value, bool | int | float):
        return value
    return _HEX.sub(lambda found: f"<hex of {len(found.group())} characters>", str(value)[:_LONGEST])


class Lines(logging.Handler):
    """Records of the library's own loggers, and uvicorn's, as lines of the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """One line; no traceback, whose lines of code could show values."""
        self._journal.log(record.levelname.lower(), record.getMessage(), logger=record.name)


class Journal:
    """Writes lines to a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._logger = structlog.wrap_logger(
            structlog.PrintLogger(stream or sys.stderr),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                redact,
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def log(self, level: str, event: str, **fields: Any) -> None:
        """A line with these fields; those that are not in `FIELDS` are left out."""
        self._logger.bind(level=level).info(event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """A line about what goes as it should."""
        self.log("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """A line about what does not."""
        self.log("warning", event, **fields)
