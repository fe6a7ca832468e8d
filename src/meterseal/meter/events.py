"""What went wrong and what was changed: one line each in the process's log, codes in the meter's event log.

The causes are precise here and nowhere else: the wire is told less (design 3).  No line holds a secret or
anything of an unverified message.  Floods are cut off: so many lines a second, so many entries of a code a
minute, and then how many there were.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from meterseal.association import Operation, Service
from meterseal.cosem.obis import Obis
from meterseal.errors import MetersealError, ProtectionError, Replayed
from meterseal.meter.store import MeterStore

if TYPE_CHECKING:
    from meterseal.meter.objects import Asker
    from meterseal.meter.plant import Plant

log = logging.getLogger("meterseal.meter")

SIGN_ON_FAILED, KEY_CHANGED, NOT_AUTHENTIC, REPLAY = 46, 48, 49, 50
"""Codes of the security log (fact sheet more 5.3)."""

LINES_PER_SECOND: Final = 20
ENTRIES_PER_MINUTE: Final = 10


class _Budget:
    """At most `most` in each window of `seconds`; counts what went beyond."""

    def __init__(self, most: int, seconds: int) -> None:
        self._most, self._seconds = most, seconds
        self._window, self._used, self.left_out = -1, 0, 0

    def take(self, now: int) -> tuple[bool, int]:
        """Whether this one is in, and how many of the window before were not."""
        before = 0
        if now // self._seconds != self._window:
            self._window, self._used = now // self._seconds, 0
            before, self.left_out = self.left_out, 0
        self._used += 1
        if self._used > self._most:
            self.left_out += 1
            return False, before
        return True, before


class Events:
    """The journal of one meter."""

    def __init__(self, store: MeterStore, plant: Plant) -> None:
        self._store, self._plant = store, plant
        self._lines = _Budget(LINES_PER_SECOND, 1)
        self._entries: dict[int, _Budget] = {}

    def refused(self, who: str, error: MetersealError, during: str) -> None:
        """A message was refused; `who` names association and line."""
        self._line(f"refused, {during}, {who}: {error.kind}: {error}")
        code = _code(error, during)
        if code is not None:
            self._entry(code)

    def denied(self, asker: Asker, operation: Operation, cause: str) -> None:
        """An operation that was allowed did not go through."""
        verb, kind = _VERBS[operation.service]
        name = f"{kind} {operation.member} of {operation.class_id}/{Obis(operation.instance)}"
        self._line(f"not done, {asker.association.role}: {verb} {name}: {cause}")

    def note(self, text: str) -> None:
        """Something worth a line."""
        self._line(text)

    def key_changed(self) -> None:
        """Keys of a Security setup were replaced."""
        self._entry(KEY_CHANGED)

    def _line(self, text: str) -> None:
        now, before = self._lines.take(self._plant.real())
        if before:
            log.warning("%d more lines were left out", before)
        if now:
            log.info("%s", text)

    def _entry(self, code: int) -> None:
        budget = self._entries.setdefault(code, _Budget(ENTRIES_PER_MINUTE, 60))
        if budget.take(self._plant.real())[0]:
            self._store.event(self._plant.now().shown, code)


_VERBS: Final = {
    Service.GET: ("read", "attribute"),
    Service.SET: ("write", "attribute"),
    Service.ACTION: ("call", "method"),
}
_SIGN_ON: Final = ("signing on", "pass 3")


def _code(error: MetersealError, during: str) -> int | None:
    """The code for the security log; None for what is no matter of security."""
    if isinstance(error, Replayed):
        return REPLAY
    if during in _SIGN_ON:
        return SIGN_ON_FAILED
    return NOT_AUTHENTIC if isinstance(error, ProtectionError) else None
