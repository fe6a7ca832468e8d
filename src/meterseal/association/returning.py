"""Parties that come back: an AARQ or AARE that was made or taken before, once more.

Of what the same two say to each other at each sign-on only challenge, counter, ciphertext and tag are new.
The first time takes the road of every message.  What that road made, and what it decided on what came, is
kept with the octets, and the next time those are filled in anew, or have to be just the same around what is
new: the Initiate inside is known by sealing the one that is expected and comparing.  Challenges are looked
at each time.

All of it holds for one number of `Changes`, which keys, policy, titles, options and profiles move.  Whatever
is not exactly of the form takes the road of every message from its beginning, with nothing changed.  No
password and no dedicated key is kept: only sign-ons with challenges come here, and only Initiates without
such a key.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

from meterseal.apdu.acse import Aare, Aarq
from meterseal.codec.moulds import Mould
from meterseal.crypto import TAG_LENGTH, same
from meterseal.errors import MetersealError
from meterseal.keys.counters import LIMIT
from meterseal.security import KeyInUse, SecuritySetup
from meterseal.security.changes import Changes
from meterseal.security.prepared import BOTH
from meterseal.security.protection import Style

MOST: Final = 8
"""AARQs, by what does not change in them, that one association of a meter knows; the oldest goes first."""

_COUNTER: Final = 4
_STYLES: Final = (Style.GLO, Style.GENERAL_GLO)


def comes_back(applied: int, style: Style, compressed: bool) -> bool:
    """True where Initiates in this form are kept: one layer, both bits, and as long as the plain one."""
    return applied == BOTH and style in _STYLES and not compressed


_Form = tuple[Changes, int, Mould, KeyInUse, int, bytes, bytes]
"""Changes with their number, mould, key, SC, title and Initiate."""


class _Kept:
    """A message, the Initiate inside it, and the title of who sealed that."""

    __slots__ = ("_form", "_from")

    def __init__(
        self, setup: SecuritySetup, octets: bytes, kind: type[Aarq | Aare], plain: bytes, title: bytes
    ) -> None:
        self._from = setup, setup.changes.number, octets, kind, plain, title
        self._form: _Form | None = None

    @property
    def stands(self) -> bool:
        """False once anything has changed that this was worked out from."""
        return self._from[1] == self._from[0].changes.number

    def _worked_out(self) -> _Form | None:
        """Made when it is asked for the first time, as many never come back."""
        setup, number, octets, kind, plain, title = self._from
        sc, new = BOTH << 4 | setup.suite.id, _COUNTER + len(plain) + TAG_LENGTH
        mould, key = kind.mould(octets, new), setup.unicast
        if mould is not None and key is not None and octets[-new - 1] == sc and self.stands:
            self._form = setup.changes, number, mould, key, sc, title, plain
        return self._form


class Told(_Kept):
    """A message that this end made."""

    __slots__ = ()

    def again(self, challenge: bytes) -> bytes | None:
        """The same with another challenge; takes one counter.  None where it cannot be: then none is taken.

        Raises CountersNeeded, CounterExhausted, UnknownKey.
        """
        form = self._form or self._worked_out()
        if form is None:
            return None
        changes, number, mould, key, sc, title, plain = form
        if number != changes.number or mould.first != len(challenge):
            return None
        counter = key.tx.take().to_bytes(_COUNTER, "big")
        return mould.cast(challenge, counter + key.handle.seal_usual(sc, title + counter, plain))


class Heard(_Kept):
    """A message that this end took."""

    __slots__ = ()

    def again(self, octets: bytes) -> tuple[bytes, int, KeyInUse] | None:
        """The challenge where this is the same message with another one; counter and key to commit it to.

        None for whatever else, or does not verify, or is not acceptable: nothing has changed then.
        """
        form = self._form or self._worked_out()
        if form is None:
            return None
        changes, number, mould, key, sc, title, plain = form
        fresh = mould.fresh(octets)
        if fresh is None or number != changes.number:
            return None
        challenge, sealed = fresh
        iv = sealed[:_COUNTER]
        counter = int.from_bytes(iv, "big")
        if not key.rx.lowest <= counter < LIMIT:
            return None
        try:
            known = same(key.handle.seal_usual(sc, title + iv, plain), sealed[_COUNTER:])
        except MetersealError:
            return None
        return (challenge, counter, key) if known else None


D = TypeVar("D")


class Known(Generic[D]):
    """The latest messages that were taken, each with what was decided on it."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: deque[tuple[Heard, D]] = deque(maxlen=MOST)

    def keep(self, heard: Heard, decided: D) -> None:
        """From now on."""
        self._kept.appendleft((heard, decided))

    def find(self, octets: bytes) -> tuple[tuple[bytes, int, KeyInUse], D] | None:
        """As `again` of the one that it is, with what was decided."""
        for heard, decided in self._kept:
            found = heard.again(octets)
            if found is not None:
                return found, decided
        if self._kept and not self._kept[0][0].stands:
            self._kept.clear()
        return None
