"""An input of a stateful target is a script: octets that decide, one after another, what happens.

When they are used up everything decides for 0, which each table keeps for what usually happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
_REST = 0xFF


class Script:
    """Decisions out of octets."""

    def __init__(self, octets: bytes) -> None:
        self.octets, self._at = octets, 0

    @property
    def goes_on(self) -> bool:
        """Is anything left?"""
        return self._at < len(self.octets)

    def octet(self) -> int:
        """The next octet."""
        if self._at >= len(self.octets):
            self._used_up()
            return 0
        self._at += 1
        return self.octets[self._at - 1]

    def add(self, octets: bytes) -> None:
        """Go on with these."""
        self.octets += octets

    def choose(self, rows: Sequence[T]) -> T:
        """A row by the next octet; the first one for an octet that is no row's number."""
        number = self.octet()
        return rows[number if number < len(rows) else 0]

    def _used_up(self) -> None:
        """Something is decided that no octet was there for."""

    def part(self) -> bytes:
        """Octets behind a length of one octet; FF: all that is left."""
        size = self.octet()
        end = len(self.octets) if size == _REST else self._at + size
        found = self.octets[self._at : end]
        self._at = min(end, len(self.octets))
        return found


class Recording(Script):
    """A script that writes down the zeros it decides for: so seeds are made that go on behind them."""

    def _used_up(self) -> None:
        self.octets += b"\0"
        self._at += 1


def written(*steps: int | bytes) -> bytes:
    """A script: numbers as they are, octets as a `part` of at most 254."""
    return b"".join(bytes((s,)) if isinstance(s, int) else bytes((len(s),)) + s for s in steps)


# --- what becomes of a frame on its way --------------------------------------------------------------

Fate = Callable[[Script, bytes], list[bytes]]


def whole(script: Script, octets: bytes) -> list[bytes]:
    return [octets]


def lost(script: Script, octets: bytes) -> list[bytes]:
    return []


def doubled(script: Script, octets: bytes) -> list[bytes]:
    return [octets, octets]


def changed(script: Script, octets: bytes) -> list[bytes]:
    """One octet is another; from the end when the place is 80 or above, so that long frames are reached."""
    place, by = script.octet(), script.octet()
    at = (place if place < 0x80 else place - 0x100) % max(len(octets), 1)
    return [octets[:at] + bytes(octet ^ by for octet in octets[at : at + 1]) + octets[at + 1 :]]


def cut(script: Script, octets: bytes) -> list[bytes]:
    return [octets[: script.octet()]]


def longer(script: Script, octets: bytes) -> list[bytes]:
    return [octets + script.part()]


def replaced(script: Script, octets: bytes) -> list[bytes]:
    return [script.part()]


def preceded(script: Script, octets: bytes) -> list[bytes]:
    return [script.part(), octets]


def followed(script: Script, octets: bytes) -> list[bytes]:
    return [octets, script.part()]


FATES: tuple[Fate, ...] = (whole, lost, doubled, changed, cut, longer, replaced, preceded, followed)
HARMLESS: tuple[Fate, ...] = (whole, lost, doubled, changed)
"""Fates in which a check sum finds every damage, so that whatever arrives was sent."""
