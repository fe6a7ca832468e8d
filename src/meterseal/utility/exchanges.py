"""What a third party has asked and what has come back: an answer is held against its own request, and named.

| what a carrier does                              | what it is called            |
|--------------------------------------------------|------------------------------|
| changes anything of a sealed answer              | `Altered`                    |
| brings what is between other parties             | `Moved`                      |
| brings an answer, or the request itself, again   | `Replayed`                   |
| brings the answer to another request             | `Reordered`                  |
| brings nothing in time, or no sealed answer      | `Withheld`                   |

What it does to a request shows the same way: the meter does not open it, so no sealed answer comes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Final, NoReturn

from meterseal.errors import (
    Altered,
    DecodeError,
    MetersealError,
    Moved,
    ProtectionError,
    Reordered,
    Replayed,
    TooWeak,
    Unsupported,
)
from meterseal.keys.counters import WINDOW
from meterseal.security import Context, Opened
from meterseal.security.context import Counted
from meterseal.security.layers import CIPHERING, SIGNING, find
from meterseal.security.protect import unprotecting
from meterseal.security.protection import text
from meterseal.security.sealed import Sealed
from meterseal.security.steps import Steps

KEPT: Final = 1024
"""Answered exchanges that are remembered, the latest, to tell a replay from an answer to something else."""


class Exchanges:
    """The exchanges of one third party with one meter.

    Answers and pushes share the meter's invocation counter and may overtake each other, each taken once;
    `pushed` counts the pushes that come.
    """

    def __init__(self, context: Context, form: str, pushed: Counted) -> None:
        context.window = WINDOW
        self.context, self._form = context, form
        self._of_pushes = replace(context, setup=replace(context.setup, fresh=pushed))
        self._answered: dict[bytes, None] = {}
        self._first, self._last, self._came = 0, 0, 0

    @property
    def missed(self) -> int:
        """What the meter has sealed since the first that came, and that has not come.

        A meter that was restarted leaves a gap as well.
        """
        return self._last - self._first + 1 - self._came if self._came else 0

    def open(self, request: Sealed, answer: Sealed, applied: int) -> Steps[Opened]:
        """The answer to `request`, which was sealed with `applied`.

        Raises Altered, Moved, Replayed, Reordered; nothing has changed then but for a genuine answer's
        counter.
        """
        if answer.octets == request.octets:
            raise Replayed("the carrier brings the request itself back", None)
        if (answer.originator, answer.recipient) != (request.recipient, request.originator):
            raise Moved(f"the carrier brings {answer}: not between the parties of the request")
        opened = yield from self._opened(self.context, answer)
        self._check(answer, opened, applied, self._form)
        self._take(answer, opened)
        if answer.transaction_id != request.transaction_id:
            raise Reordered("the carrier brings the answer to another request than the one that waits")
        return opened

    def open_push(self, sealed: Sealed, applied: int) -> Steps[Opened]:
        """A message that nobody has asked for.  Raises Altered, Moved, Replayed, TooWeak."""
        setup = self.context.setup
        if (sealed.originator, sealed.recipient) != (setup.peer_title, setup.own_title):
            raise Moved(f"the carrier brings {sealed}: not between this meter and this party")
        opened = yield from self._opened(self._of_pushes, sealed)
        self._check(sealed, opened, applied, None)
        self._take(sealed, opened)
        return opened

    def _take(self, sealed: Sealed, opened: Opened) -> None:
        """It is genuine: count it, and remember its exchange."""
        if sealed.transaction_id in self._answered:
            raise Replayed("an exchange that has come before", self.context.setup.fresh.rx.lowest)
        self._first = min(self._first, opened.counter) if self._came else opened.counter
        self._last = max(self._last, opened.counter)
        self._came += 1
        self._remember(sealed.transaction_id)

    def _opened(self, context: Context, answer: Sealed) -> Steps[Opened]:
        try:
            found = unprotecting(context, answer.octets)
            if isinstance(found, Generator):
                found = yield from found
            return found
        except (Replayed, TooWeak):
            raise
        except (ProtectionError, DecodeError, Unsupported) as error:
            raise Altered(f"the answer is not as the meter sealed it: {error}") from error

    def _check(self, answer: Sealed, opened: Opened, applied: int, form: str | None) -> None:
        ciphered, signed = (find(opened.layers, kind) for kind in (CIPHERING, SIGNING))
        if applied & ~opened.applied:
            raise TooWeak(f"the answer is {text(opened.applied)}, less than {text(applied)}")
        if ciphered is None or form not in (None, ciphered.form):
            raise Altered("the answer is sealed under a key of another form than the request")
        if signed is not None and signed.transaction_id != answer.transaction_id:
            raise Altered("the answer was signed in another exchange than it is ciphered in")

    def _remember(self, transaction: bytes) -> None:
        self._answered[transaction] = None
        if len(self._answered) > KEPT:
            del self._answered[next(iter(self._answered))]


def broken(error: MetersealError) -> NoReturn:
    """For what a carrier hands over that is nothing sealed at all.  Raises Altered."""
    raise Altered(f"the carrier brings nothing that is sealed: {error}") from error
