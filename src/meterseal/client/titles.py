"""System titles of meters, learned at the first sign-on and held to from then on.

A name is `URL logical device N`.  Only a title that a sign-on has proved is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Protocol

from meterseal.credentials.files import read_private, write_private
from meterseal.errors import ConfigurationError, Misuse, StateDamaged
from meterseal.state.folder import FolderLock, make_folder

_FILE: Final = "titles.json"
_LARGEST: Final = 1 << 20
_PATIENCE: Final = 10.0


class Titles(Protocol):
    """What a client needs of a store of titles."""

    def get(self, name: str) -> bytes | None:
        """The title kept under a name."""

    def learn(self, name: str, title: bytes) -> None:
        """Keep a title.  Raises Misuse when another one is kept already."""


class MemoryTitles:
    """Titles of one process, gone with it."""

    def __init__(self) -> None:
        self._titles: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        """As `Titles.get`."""
        return self._titles.get(name)

    def learn(self, name: str, title: bytes) -> None:
        """As `Titles.learn`."""
        if self._titles.setdefault(name, title) != title:
            raise _other(name)


class FileTitles:
    """Titles in a state folder that several processes may share; made when there is a first title."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _FILE

    def get(self, name: str) -> bytes | None:
        """As `Titles.get`.  Raises StateDamaged for a file that is not what was written."""
        return self._read().get(name)

    def learn(self, name: str, title: bytes) -> None:
        """As `Titles.learn`; durable.  Raises StateDamaged, StateUnavailable, StateLocked."""
        make_folder(self._folder)
        with FolderLock(self._folder, "titles") as lock:
            lock.acquire(_PATIENCE)
            titles = self._read()
            if titles.setdefault(name, title) != title:
                raise _other(name)
            text = json.dumps({name: kept.hex().upper() for name, kept in titles.items()}, indent=1)
            write_private(self._path, text.encode(), "system titles")

    def _read(self) -> dict[str, bytes]:
        if not self._path.exists():
            return {}
        try:
            found = json.loads(read_private(self._path, "system titles", _LARGEST))
            titles = {name: bytes.fromhex(text) for name, text in found.items()}
        except (ValueError, AttributeError, TypeError, RecursionError, ConfigurationError) as error:
            raise StateDamaged(
                f"{self._path} is damaged: take it away to learn titles anew ({type(error).__name__})"
            ) from None
        if any(len(title) != 8 for title in titles.values()):
            raise StateDamaged(f"{self._path} is damaged: take it away to learn titles anew")
        return titles


def _other(name: str) -> Misuse:
    return Misuse(f"{name} has another system title already")
