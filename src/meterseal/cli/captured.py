"""Captured octets named on a command line: words of hex, a file, or stdin."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

import typer

from meterseal.errors import ConfigurationError, TooLarge
from meterseal.probe import MAX_INPUT

_STDIN: Final = "-"


def read(source: list[str]) -> bytes:
    """The octets of the argument: words of hex, a file, or stdin. At most one more than MAX_INPUT.

    A usage error for what is neither; raises ConfigurationError, TooLarge for a file that cannot be read.
    """
    if len(source) == 1:
        word = source[0]
        if word == _STDIN:
            return sys.stdin.buffer.read(MAX_INPUT + 1)
        file = _file(word)
        if file is not None:
            return file
    text = "\n".join(source)
    if not _is_hex(text):
        raise typer.BadParameter(_neither(source), param_hint="HEX|FILE|-")
    return text.encode()


def _is_hex(text: str) -> bool:
    kept = text.replace("0x", "").replace("0X", "")
    return text.isascii() and not set(kept) - set("0123456789abcdefABCDEF :,;-\t\r\n")


def _neither(source: list[str]) -> str:
    shown = source[0] if len(source[0]) <= 60 else source[0][:57] + "..."
    return f"{shown!a} is no file that can be found, and no hex either"


def _file(word: str) -> bytes | None:
    """The content of a file of that name; None when there is none.

    A regular file or a pipe: anything else could be read for ever. Raises ConfigurationError, TooLarge.
    """
    if not word:
        return None  # and not the folder that this would name
    path = Path(word)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # also: too long for a name, or with a zero octet in it
        return None
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise ConfigurationError(f"{word} is no file to read")
    try:
        with path.open("rb") as opened:
            octets = opened.read(MAX_INPUT + 1)
    except OSError as error:
        raise ConfigurationError(f"{word}: {os.strerror(error.errno or 0)}") from None
    if len(octets) > MAX_INPUT:
        raise TooLarge(f"{word} has more than {MAX_INPUT} octets")
    return octets
