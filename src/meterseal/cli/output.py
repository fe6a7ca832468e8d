"""What a command prints: results on stdout, everything else as lines on stderr, and the exit code.

Text that came from a meter, or from a file, goes through `safe_text`: no octet of it steers a terminal.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, Final

import typer

from meterseal.cosem.texts import json_text, safe_text
from meterseal.errors import MetersealError, Misuse, StateUnavailable, Unsupported

REFUSED: Final = 1
"""Exit code of what was understood and did not work."""

NOT_UNDERSTOOD: Final = 2
"""Exit code of what makes no sense as it was asked for."""

_LONGEST: Final = 4000


def prepare() -> None:
    """Streams that can print any text whatever the locale, and the library's warnings on stderr."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    root = logging.getLogger("meterseal")
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    root.propagate = False


@contextmanager
def written() -> Iterator[None]:
    """Around a whole command: where its output cannot be written it ends with exit code 1 and a line.

    A reader that has gone is no news: then there is no line.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if os.environ.get("METERSEAL_DEBUG"):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes there
        if not isinstance(error, BrokenPipeError):
            what = "the output cannot be written" if error.filename is None else error.filename
            note(f"{StateUnavailable.kind}: {what}: {error.strerror or error}")
        raise SystemExit(REFUSED) from None


class _Lines(logging.Formatter):
    """One safe line per record; a traceback only when somebody asks by METERSEAL_DEBUG."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"meterseal: {record.levelname.lower()}: {safe_text(record.getMessage(), _LONGEST)}"
        if record.exc_info and os.environ.get("METERSEAL_DEBUG"):
            line += "\n" + self.formatException(record.exc_info)
        return line


def emit(text: str) -> None:
    """A line (or several) of the result."""
    sys.stdout.write(text + "\n")


def emit_json(value: Any) -> None:
    """A line of JSON: ASCII, decimals with all their digits."""
    emit(json_text(value))


def flush() -> None:
    """Let whoever reads along see it now."""
    sys.stdout.flush()


def note(text: str) -> None:
    """A line for the person at the terminal."""
    sys.stdout.flush()
    typer.echo(f"meterseal: {safe_text(text, _LONGEST)}", err=True)


def refuse(error: MetersealError) -> typer.Exit:
    """Say the cause in one line; the exit to raise."""
    note(f"{error.kind}: {error}")
    return typer.Exit(NOT_UNDERSTOOD if isinstance(error, Misuse) else REFUSED)


@contextmanager
def answering() -> Iterator[None]:
    """Around the work of a command: a typed error is one line on stderr and exit code 1 (2 for Misuse)."""
    try:
        yield
    except MetersealError as error:
        raise refuse(error) from None


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Around imports of packages that an extra brings.  Raises Unsupported, naming it, without them."""
    try:
        yield
    except ImportError as error:
        text = f"{what} needs more packages: pip install 'meterseal[{extra}]'"
        raise Unsupported(f"{text} ({error})") from error


@contextmanager
def understanding(option: str) -> Iterator[None]:
    """Around the reading of an argument: what is wrong with it is a usage error, exit code 2."""
    try:
        yield
    except MetersealError as error:
        raise typer.BadParameter(safe_text(str(error)), param_hint=option) from None


def on_terminal() -> bool:
    """Is stdout a terminal that wants to be pleased?"""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in os.environ


def heading(text: str) -> None:
    """A line that something begins with."""
    emit(typer.style(safe_text(text), bold=True) if on_terminal() else safe_text(text))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Rows under headings: drawn on a terminal, else columns of text. Cells are made safe here."""
    cells = [[safe_text(cell, 200) for cell in row] for row in rows]
    if not on_terminal():
        widths = [
            max(len(row[at]) for row in (columns, *cells)) if at < len(columns) - 1 else 0
            for at in range(len(columns))
        ]
        if title:
            emit(title)
        for row in (columns, *cells):
            emit("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    for name in columns:
        drawn.add_column(name, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
