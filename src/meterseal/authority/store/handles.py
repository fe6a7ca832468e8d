"""Key handles of many devices, made once: a bounded cache in front of the store.

A handle is used for some seconds without a look at the store; then its keys are looked up again, so that what
another process called compromised or destroyed leaves this one too.  A change by this process empties its
place at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from meterseal.authority.store.keeping import Keeping, unusable
from meterseal.authority.store.records import Stored, slot_rows
from meterseal.crypto import GcmKey
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State

MOST: Final = 4096
"""Handles that are kept."""

FRESH: Final = 5.0
"""Seconds for which a handle is used without a look at the store."""


@dataclass(slots=True)
class _Held:
    handle: GcmKey
    numbers: tuple[int, ...]
    until: float


class Handles:
    """The handles of a store: GUEK beside GAK, by device and role."""

    def __init__(self, keeping: Keeping, most: int = MOST, clock: Callable[[], float] = monotonic) -> None:
        self._keeping, self._most, self._clock = keeping, most, clock
        self._held: dict[tuple[bytes, str], _Held] = {}
        keeping.changed = self.drop

    def __len__(self) -> int:
        return len(self._held)

    def gcm(self, title: bytes, role: str) -> GcmKey:
        """The handle to protect with: the active GUEK, with the active GAK beside it where there is one.

        Raises Compromised, and UnknownKey where there is no active one for another cause.
        """
        found = self._held.get((title, role))
        if found is not None and self._clock() < found.until:
            return found.handle
        return self._look(title, role)

    def drop(self, title: bytes) -> None:
        """The keys of a device have changed."""
        for name in [name for name in self._held if name[0] == title]:
            self._held.pop(name).handle.destroy()

    def _look(self, title: bytes, role: str) -> GcmKey:
        with self._keeping.store.reading() as connection:
            slots = [slot_rows(connection, Slot(title, role, kind)) for kind in ("guek", "gak")]
        guek, gak = (_active(slot) for slot in slots)
        held = self._held.pop((title, role), None)
        if guek is None or (gak is None and slots[1]):
            if held is not None:
                held.handle.destroy()
            which = "GUEK" if guek is None else "GAK"  # never without one that the device has
            records = [[one.record for one in slot] for slot in slots]
            raise unusable(records, f"no active {which} of {title.hex().upper()} {role}")
        numbers = (guek.record.id, 0 if gak is None else gak.record.id)
        if held is None or held.numbers != numbers:
            if held is not None:
                held.handle.destroy()
            ak = b"" if gak is None else self._keeping.opened(gak).reveal()
            held = _Held(self._keeping.gcm(guek, ak), numbers, 0.0)
        held.until = self._clock() + FRESH
        while len(self._held) >= self._most:
            self._held.pop(next(iter(self._held))).handle.destroy()
        self._held[title, role] = held
        return held.handle


def _active(slot: list[Stored]) -> Stored | None:
    return next((one for one in slot if one.record.state is State.ACTIVE), None)
