"""The beaten track at the meter: a read that was answered before, under the same rules, once more.

A client that polls sends the same request time and again; only invoke-id and counter differ.  The first
one takes the road of every message: states, rights, protection, object.  What that road decided is
remembered by the octets of the plain request, and the next one goes from the header straight to the object:
counter, tag, what was decided, value, seal.  Values are never remembered.

Who polls also goes on as before.  So the next request is known before it comes, and whether it is that one
takes one call of the cipher.

What was decided holds for one number of `Changes`; keys, policy, titles, rights and users each move it.
`_ready` is set where the association rests after a message and cleared by whatever else comes in, so
nothing can be under way there, and no answer waits for its time.  Whatever is not exactly of the form, or
cannot be answered at once, takes the other road from its beginning, with nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from meterseal.apdu.services import GetRequestNormal, GetResponseNormal
from meterseal.association.effects import Effect, Reply
from meterseal.association.exchange import Exchange
from meterseal.association.judging import SUITE_BITS
from meterseal.association.notifying import Notifying
from meterseal.association.operations import Operation, Outcome
from meterseal.association.states import TABLE, Kind, Role
from meterseal.codec.data import Data
from meterseal.errors import MetersealError
from meterseal.security import Context, Style
from meterseal.security.prepared import Sealing, Unsealing, fits

Again: TypeAlias = Callable[[], bytes | None]
"""Reads once more, for the same asker: the value, A-XDR; None where that fails, which leaves no trace."""

MOST: Final = 64
"""Requests that one association remembers; the oldest goes first."""

_PLAIN: Final = 13
"""Octets of a get-request-normal without selective access: tag, choice, invoke-id, 9 of the attribute, 0."""
_ASKED: Final = GetRequestNormal.tag
_ANSWERED: Final = GetResponseNormal.tag
_HEADS: Final = tuple(_ASKED + bytes((invoke,)) for invoke in range(256))
_ANSWERS: Final = tuple(_ANSWERED + bytes((invoke, 0)) for invoke in range(256))
"""What comes before the attribute of a request, and before the Data of its answer, by invoke-id."""
_HEAD: Final = len(_HEADS[0])
_DATA: Final = len(_ANSWERS[0])

ANY: Final = 1 << 32
"""Octets of an answer that has no limit."""


class Remembered:
    """A request that was answered: how it is done again, the most octets of its value, what came after it."""

    __slots__ = ("again", "next", "room")

    def __init__(self, again: Again, room: int, following: bytes) -> None:
        self.again, self.room, self.next = again, room, following


class Track:
    """The form of the requests that an association remembers, what it remembers of them, what it expects.

    `likely` is the next request if the client goes on as before: what came after this one the last time, with
    the invoke-id moved on as far as it was.
    """

    __slots__ = ("incoming", "invoke", "known", "last", "likely", "number", "outgoing", "style")

    def __init__(self, context: Context, style: Style) -> None:
        self.style, self.number = style, context.setup.changes.number
        self.incoming = Unsealing(context, _ASKED[0], style)
        self.outgoing = Sealing(context, _ANSWERED[0], style)
        self.known: dict[bytes, Remembered] = {}
        self.last: Remembered | None = None
        self.likely, self.invoke = b"", 0

    def remember(self, plain: bytes, again: Again, room: int) -> None:
        """By the octets of the plain request behind the invoke-id."""
        if len(self.known) >= MOST:
            del self.known[next(iter(self.known))]
        rest = plain[_HEAD:]
        known = self.known[rest] = Remembered(again, room, rest)
        self.learn(plain, known)

    def learn(self, plain: bytes, known: Remembered) -> None:
        """This request has been answered: what comes next?"""
        last, invoke = self.last, plain[2]
        if last is not None:
            last.next = plain[_HEAD:]
        step = invoke - self.invoke
        self.last, self.invoke = known, invoke
        # The lower half counts, the upper says how the client wants to be answered.
        self.likely = _HEADS[invoke & 0xF0 | invoke + step & 0x0F] + known.next


class Repeating(Notifying):
    """The part of a meter's association that answers again what it answered before."""

    _track: Track | None = None
    _ready: Track | None = None

    def repeat(self, octets: bytes) -> bytes | None:
        """The answer to an APDU that came before; None for every other, and then nothing has changed.

        Empty where the association ended while the party was at work: nobody waits for an answer.
        """
        track = self._ready
        if track is None:
            return None
        likely = track.likely
        found = track.incoming.open(octets, likely)
        if found is None:
            return None  # who refuses it says why
        plain, counter = found
        if plain is not likely and not plain.startswith(_ASKED):
            return None
        known = track.known.get(plain[_HEAD:])
        if known is None:
            return None
        data = known.again()
        if self._ready is not track:
            track.incoming.key.rx.commit(counter)
            return b""
        if data is None or len(data) > known.room:
            del track.known[plain[_HEAD:]]
            return None
        try:
            answer = track.outgoing.seal(_ANSWERS[plain[2]] + data)
        except MetersealError:
            return None  # no counter was taken: the longer road asks for more, or refuses
        if answer is not None:
            track.incoming.key.rx.commit(counter)
            track.learn(plain, known)
        return answer

    def respond(
        self,
        token: int,
        outcomes: Iterable[Outcome],
        again: Callable[[Operation], Again | None] | None = None,
    ) -> list[Effect]:
        """As of `Serving`; `again(operation)` is how the party does a read once more for the same asker.

        It gives None where it cannot.  Who hands it over notes in `changes` of the setup whatever the view
        decides by.
        """
        x = self._exchange
        effects = super().respond(token, outcomes)
        if x is not None and again is not None and x.plain and self._fits(x):
            self._remember(x, again)
            self._get_ready(effects)
        return effects

    def notify(self, attribute: Operation, value: Data, time: bytes | None = None) -> list[Effect]:
        """As of `Notifying`."""
        self._ready = None  # it may have to wait for counters
        return super().notify(attribute, value, time)

    def _get_ready(self, effects: list[Effect]) -> None:
        """Where the next message finds nothing under way, and by the table a request is served."""
        if any(type(one) is Reply and one.penalty for one in effects):
            return
        step = TABLE.get((Role.SERVER, self.state, Kind.REQUEST))
        waits = (
            self._parked is not None or self._indicated or self._by_blocks or self._fresh_keys or self._also
        )
        held = self._exchange or self._transfer or self._pieces or self._kept
        ready = step is not None and step.action == "serve" and not waits and not held
        self._ready = self._track if ready else None

    def _remember(self, x: Exchange, again: Callable[[Operation], Again | None]) -> None:
        (operation,), (outcome,), room = x.operations, x.outcomes, self._room(x)
        most = ANY if room is None else room - _DATA
        if outcome is None or outcome.code or outcome.data is None or len(outcome.data) > most:
            return
        doing = again(operation)
        if doing is None:
            return
        track = self._track
        if track is None or track.number != x.number or track.style is not x.style:
            track = self._track = Track(self.context, x.style)
        track.remember(x.plain, doing, most)

    def _fits(self, x: Exchange) -> bool:
        """One attribute as a whole, in a form that is remembered, under just the protection of its answer."""
        whole = len(x.plain) == _PLAIN and not (x.layers or x.third or x.broadcast or self._prefers_blocks)
        sealed = x.applied == x.required == SUITE_BITS and fits(self.context, _ANSWERED[0], x.style)
        return whole and sealed and x.number == self._setup.changes.number
