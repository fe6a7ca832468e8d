"""The beaten track at the meter: a read that was answered before, under the same rules, once more.

A client that polls sends the same request time and again; only invoke-id and counter differ.  The first
one takes the road of every message: states, rights, protection, object.  What that road decided is
remembered by the octets of the plain request, and the next one goes from the header straight to the object:
counter, tag, what was decided, value, seal.  Values are never remembered.

What was decided holds for one number of `Changes`; keys, policy, titles, rights and users each move it.
`_ready` is set where the association rests after a message and cleared by whatever else comes in, so
nothing can be under way there.  Whatever is not exactly of the form, or cannot be answered at once, takes
the other road from where it stands: with nothing changed, or with its outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from meterseal.apdu.services import GetRequestNormal, GetResponseNormal
from meterseal.association.effects import Effect
from meterseal.association.exchange import Exchange
from meterseal.association.notifying import Notifying
from meterseal.association.operations import Operation, Outcome, Service
from meterseal.association.serving import SUITE_BITS
from meterseal.association.states import TABLE, Kind, Role
from meterseal.codec.data import Data
from meterseal.errors import MetersealError
from meterseal.security import Context, Style
from meterseal.security.prepared import Sealing, Unsealing, fits

Again: TypeAlias = Callable[[], Outcome]
"""Does an operation once more, for the same asker."""

MOST: Final = 64
"""Requests that one association remembers; the oldest goes first."""

_PLAIN: Final = 13
"""Octets of a get-request-normal without selective access: tag, choice, invoke-id, 9 of the attribute, 0."""
_ASKED: Final = GetRequestNormal.tag
_ANSWERED: Final = GetResponseNormal.tag
_DATA: Final = len(_ANSWERED) + 2
"""Octets of a get-response-normal before its Data: tag and choice, invoke-id, and that it is Data."""

ANY: Final = 1 << 32
"""Octets of an answer that has no limit."""


class Remembered(NamedTuple):
    """A request that was answered: what it does, and the most octets that its whole answer may have."""

    operation: Operation
    again: Again
    room: int


class Track:
    """The form of the requests that an association remembers, and what it remembers of them."""

    __slots__ = ("incoming", "known", "number", "outgoing", "style")

    def __init__(self, context: Context, style: Style) -> None:
        self.style, self.number = style, context.setup.changes.number
        self.incoming = Unsealing(context, _ASKED[0], style)
        self.outgoing = Sealing(context, _ANSWERED[0], style)
        self.known: dict[bytes, Remembered] = {}

    def remember(self, plain: bytes, what: Remembered) -> None:
        """By the octets of the plain request behind the invoke-id."""
        if len(self.known) >= MOST:
            del self.known[next(iter(self.known))]
        self.known[plain[3:]] = what


class Repeating(Notifying):
    """The part of a meter's association that answers again what it answered before."""

    _track: Track | None = None
    _ready: Track | None = None

    def repeat(self, octets: bytes) -> bytes | list[Effect] | None:
        """The answer to an APDU that came before; None for every other, and then nothing has changed.

        Effects where the read was done and its answer takes the longer road: an error, blocks, counters
        that are to be reserved first.
        """
        track = self._ready
        found = None if track is None else track.incoming.open(octets)
        if track is None or found is None:
            return None  # who refuses it says why
        plain, counter = found
        known = track.known.get(plain[3:])
        if known is None or not plain.startswith(_ASKED):
            return None
        track.incoming.key.rx.commit(counter)
        self._indicated = True
        outcome = known.again()
        if not self._indicated:
            return []  # the association ended while the party was at work
        self._indicated = False
        code, data = outcome
        if not code and data is not None and len(data) <= known.room:
            try:
                answer = track.outgoing.seal(b"\xc4\x01" + plain[2:3] + b"\0" + data)
            except MetersealError:
                answer = None  # no counter was taken: the longer road asks for more, or refuses
            if answer is not None:
                return answer
        return self._answer_repeated(track, known, plain[2], outcome)

    def _answer_repeated(
        self, track: Track, known: Remembered, invoke: int, outcome: Outcome
    ) -> list[Effect]:
        self._ready = None
        x = Exchange(Service.GET, invoke, SUITE_BITS, track.style)
        x.operations, x.outcomes, x.required = [known.operation], [outcome], SUITE_BITS
        return self._answered(x)

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
            self._get_ready()
        return effects

    def notify(self, attribute: Operation, value: Data, time: bytes | None = None) -> list[Effect]:
        """As of `Notifying`."""
        self._ready = None  # it may have to wait for counters
        return super().notify(attribute, value, time)

    def _settled(self, effects: list[Effect]) -> list[Effect]:
        effects = super()._settled(effects)
        if self._track is not None:
            self._get_ready()
        return effects

    def _get_ready(self) -> None:
        """Where the next message finds nothing under way, and by the table a request is served."""
        step = TABLE.get((Role.SERVER, self.state, Kind.REQUEST))
        waits = (
            self._parked is not None or self._indicated or self._by_blocks or self._fresh_keys or self._also
        )
        held = self._exchange or self._transfer or self._pieces or self._kept
        ready = step is not None and step.action == "serve" and not waits and not held
        self._ready = self._track if ready else None

    def _remember(self, x: Exchange, again: Callable[[Operation], Again | None]) -> None:
        (operation,) = x.operations
        doing, room = again(operation), self._room(x)
        if doing is None:
            return
        track = self._track
        if track is None or track.number != x.number or track.style is not x.style:
            track = self._track = Track(self.context, x.style)
        most = ANY if room is None else room - _DATA
        track.remember(x.plain, Remembered(operation, doing, most))

    def _fits(self, x: Exchange) -> bool:
        """One attribute as a whole, in a form that is remembered, under just the protection of its answer."""
        whole = len(x.plain) == _PLAIN and not (x.layers or x.third or x.broadcast or self._prefers_blocks)
        sealed = x.applied == x.required == SUITE_BITS and fits(self.context, _ANSWERED[0], x.style)
        return whole and sealed and x.number == self._setup.changes.number
