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
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from meterseal.apdu.ciphered import GENERAL_GLO, GLO_TAG
from meterseal.apdu.services import GetRequestNormal, GetResponseNormal
from meterseal.association.effects import Effect
from meterseal.association.exchange import Exchange
from meterseal.association.notifying import Notifying
from meterseal.association.operations import Operation, Outcome, Service
from meterseal.association.serving import SUITE_BITS
from meterseal.association.states import TABLE, Kind, Role
from meterseal.codec.data import Data
from meterseal.crypto import TAG_LENGTH
from meterseal.errors import MetersealError
from meterseal.keys.counters import LIMIT
from meterseal.security import Style, protect
from meterseal.security.context import KeyInUse

Again: TypeAlias = Callable[[], Outcome]
"""Does an operation once more, for the same asker."""

MOST: Final = 64
"""Requests that one association remembers; the oldest goes first."""

_PLAIN: Final = 13
"""Octets of a get-request-normal without selective access: tag, choice, invoke-id, 9 of the attribute, 0."""
_HEADER: Final = 5
_DATA: Final = len(GetResponseNormal.tag) + 2
"""Octets of a get-response-normal before its Data: tag and choice, invoke-id, and that it is Data."""

ANY: Final = 1 << 32
"""Octets of an answer that has no limit."""

_counter_at = Struct(">I").unpack_from


class Remembered(NamedTuple):
    """A request that was answered: what it does, and the most octets that its whole answer may have."""

    operation: Operation
    again: Again
    room: int


class Track:
    """The form of the requests that an association remembers, and what it remembers of them."""

    __slots__ = ("at", "iv", "key", "known", "number", "prefix", "sc", "size", "style")

    def __init__(self, style: Style, key: KeyInUse, peer: bytes, sc: int, number: int) -> None:
        self.style, self.key, self.sc, self.number = style, key, sc, number
        content = bytes((_HEADER + _PLAIN + TAG_LENGTH, sc))
        self.prefix = _LEADS[style](peer) + content
        self.at, self.iv = len(self.prefix), peer
        self.size = self.at + 4 + _PLAIN + TAG_LENGTH
        self.known: dict[bytes, Remembered] = {}

    def remember(self, plain: bytes, what: Remembered) -> None:
        """By all octets of the plain request but the invoke-id."""
        if len(self.known) >= MOST:
            del self.known[next(iter(self.known))]
        self.known[plain[:2] + plain[3:]] = what


_LEADS: Final[dict[Style, Callable[[bytes], bytes]]] = {
    Style.GLO: lambda peer: bytes((GLO_TAG[GetRequestNormal.tag[0]],)),
    Style.GENERAL_GLO: lambda peer: bytes((GENERAL_GLO.tag, len(peer))) + peer,
}
"""What a request in this style begins with."""


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
        if track is None or len(octets) != track.size or not octets.startswith(track.prefix):
            return None
        at, key, context = track.at, track.key, self.context
        changes = context.setup.changes
        if track.number != changes.number:
            return None
        (counter,) = _counter_at(octets, at)
        if not key.rx.lowest <= counter < LIMIT:
            return None
        try:
            plain = key.handle.open(track.sc, track.iv + octets[at : at + 4], octets[at + 4 :])
        except MetersealError:
            return None  # who refuses it says why
        known = track.known.get(plain[:2] + plain[3:])
        if known is None:
            return None
        key.rx.commit(counter)
        self._indicated = True
        outcome = known.again()
        if not self._indicated:
            return []  # the association ended while the party was at work
        self._indicated = False
        code, data = outcome
        if not code and data is not None and len(data) <= known.room and track.number == changes.number:
            try:
                return protect(context, b"\xc4\x01" + plain[2:3] + b"\0" + data, SUITE_BITS, track.style)
            except MetersealError:
                pass  # no counter was taken: the longer road asks for more, or refuses
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
        doing, room, key = again(operation), self._room(x), self._setup.unicast
        if doing is None or key is None:
            return
        track = self._track
        if track is None or track.number != x.number or track.style is not x.style:
            title, sc = self.context.peer_title or b"", SUITE_BITS << 4 | self._setup.suite.id
            track = self._track = Track(x.style, key, title, sc, x.number)
        most = ANY if room is None else room - _DATA
        track.remember(x.plain, Remembered(operation, doing, most))

    def _fits(self, x: Exchange) -> bool:
        """One attribute as a whole, in a form that is remembered, under just the protection of its answer."""
        whole = len(x.plain) == _PLAIN and not (x.layers or x.third or x.broadcast or self._prefers_blocks)
        sealed = x.applied == x.required == SUITE_BITS and x.style in _LEADS
        return (
            whole and sealed and self.context.compression is None and x.number == self._setup.changes.number
        )
