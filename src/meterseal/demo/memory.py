"""A look into a process of one's own: which of some octets are anywhere in its memory (Linux)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_PIECE: Final = 1 << 20
"""Octets read at once."""

_LONGEST: Final = 128
"""Octets of what is looked for at most: pieces overlap by so many."""


def readable() -> bool:
    """Does this system show a process's memory?"""
    return Path("/proc/self/mem").exists()


def found(pid: int, needles: Iterable[bytes]) -> dict[bytes, int]:
    """How often each of these stands in the memory of a process that this one started.

    Raises OSError where it may not be looked at.
    """
    wanted = {needle: 0 for needle in needles if 0 < len(needle) <= _LONGEST}
    for piece in _pieces(pid):
        for needle in wanted:
            wanted[needle] += piece.count(needle)
    return wanted


def _pieces(pid: int) -> Iterator[bytes]:
    """All that the process may write, piece by piece; what it has given back meanwhile is passed over."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for begin, end in _regions(pid):
            position = begin
            while position < end:
                try:
                    memory.seek(position)
                    octets = memory.read(min(_PIECE + _LONGEST, end - position))
                except OSError:
                    break
                if not octets:
                    break
                yield octets
                position += _PIECE


def _regions(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text("ascii", "replace").splitlines():
        place, rights, *_ = line.split()
        if rights.startswith("rw"):
            begin, _, end = place.partition("-")
            yield int(begin, 16), int(end, 16)
