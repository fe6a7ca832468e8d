"""The asking end of an HDLC line: a client, with a link per pair of addresses; one of them has the turn.

A link is made when something is to be sent over it (SNRM), and asked as long as an APDU is waited for.
On a line with several devices a server is a number that says which of them it is on, too: `on_device`.
"""

from __future__ import annotations

from collections import deque

from meterseal.errors import ConnectionLost, Misuse

from .address import Address
from .control import Control, Kind
from .frame import Frame
from .link import Link, Up
from .parameters import Parameters
from .secondary import NOTICES
from .states import ASKS, Role, State
from .station import Pair, Station, Timing

_FINAL = 0x10
_DEVICE = 16  # bits of a server's number below those of the device
_OVERHEAD = 16  # octets of a frame beside its information, flags included, at most


def on_device(server: int, lower: int) -> int:
    """The number of a server (1..16383) on the device with the physical address `lower` (1..16383)."""
    return lower << _DEVICE | server


class _Asked:
    """What a primary keeps about a link beside the link."""

    __slots__ = ("at", "busy", "later", "leaving", "link", "pause", "strays", "turned", "until")

    def __init__(self, link: Link, pause: float) -> None:
        self.link = link
        self.pause = pause
        self.at = 0.0  # not before this time it gets the turn
        self.turned = 0.0  # when it had it last
        self.busy: float | None = None  # since when it takes nothing although there is something
        self.until = 0.0  # an APDU is waited for until then
        self.leaving = False  # nobody speaks for it any more: nothing that comes is for the user
        self.later: list[bytes] = []  # what the user sends meanwhile belongs to the next link
        self.strays = 0  # answers DM that may still come because DISC was sent more than once


class Primary(Station):
    """The primary of a line.

    Servers are addressed by logical device and `lower`, the physical address, in `size` octets (1, 2 or 4);
    left out: as short as it gets.
    """

    role = Role.PRIMARY

    def __init__(
        self,
        lower: int | None = None,
        size: int = 0,
        *,
        wanted: Parameters | None = None,
        timing: Timing | None = None,
        limit: int = 0xFFFF,
    ) -> None:
        super().__init__(wanted, timing, limit)
        if lower is None and size > 1:
            raise Misuse(f"an HDLC address of {size} octets needs the physical address")
        self._lower, self._size = lower, size
        self._asked: dict[Pair, _Asked] = {}  # who had the turn last stands last
        self._tries = 0
        self._notes: deque[tuple[int, int, bytes]] = deque(maxlen=NOTICES)

    # --- for the user ---------------------------------------------------------------------------

    def send(self, client: int, server: int, apdu: bytes, now: float) -> None:
        """An APDU over the link of the pair, which is made if need be. Misuse: no such address."""
        asked = self._of(client, server)
        asked.pause = self.timing.pause
        if asked.leaving:
            asked.later.append(apdu)
            return
        asked.link.send(apdu)
        if not asked.link.peer_busy:
            asked.at = now
        self._go(now)

    def poll(self, client: int, server: int, until: float, now: float) -> None:
        """An APDU is waited for until a time: ask as long. Without a link: collect events by UI frames."""
        self._of(client, server).until = until
        self._go(now)

    def notify(self, client: int, server: int, apdu: bytes, now: float) -> None:
        """An APDU in UI frames, without a link, once nobody has the turn; nothing answers it."""
        self._of(client, server)  # refuses an address that is none
        self._notes.append((client, server, apdu))
        self._go(now)

    def disconnect(self, client: int, server: int, now: float) -> None:
        """The pair is no longer spoken for: end its link; what waits, and what still comes, is dropped."""
        asked = self._asked.get((client, server))
        if asked is not None:
            asked.leaving, asked.until, asked.at = True, 0.0, now
            asked.later.clear()
            self._go(now)

    @property
    def at_rest(self) -> bool:
        """Does no link stand, is none being made or ended, and is nothing left to be said?"""
        return self._turn is None and not self._links and not self._notes

    def unsent(self, client: int, server: int) -> bool:
        """Is there something for the pair that was not sent even once?"""
        asked = self._asked.get((client, server))
        return asked is not None and (bool(asked.later) or asked.link.unsent)

    def _of(self, client: int, server: int) -> _Asked:
        asked = self._asked.get((client, server))
        if asked is None:
            lower, upper = server >> _DEVICE or self._lower, server & ~(-1 << _DEVICE)
            size = self._size or (1 if lower is None else 0)
            link = self._new(Address(client, None, 1), Address(upper, None if size == 1 else lower, size))
            link.server = server
            asked = self._asked[client, server] = _Asked(link, self.timing.pause)
            self._links[client, server] = link
        return asked

    # --- for the line ---------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """Octets of a frame come in: the answer has begun, and is waited for."""
        if self._turn is not None:
            self._due = max(self._due, now + self.timing.response)

    def receive(self, frame: Frame, now: float) -> None:
        """A frame has come."""
        client, server = frame.destination.upper, frame.source.upper
        if frame.source.lower and (client, on_device(server, frame.source.lower)) in self._asked:
            server = on_device(server, frame.source.lower)
        asked = self._asked.get((client, server))
        kind = None if frame.meaning is None else frame.meaning.kind
        came = len(self.events)
        if kind is Kind.UI:
            self._notified(frame, client, server)
        elif asked is None or not self._taken(asked, frame, kind, came):
            return
        if asked is None:
            return
        link = asked.link
        if any(type(event) is not Up for event in list(self.events)[came:]):
            asked.until = 0.0  # what was waited for is there, or will not come
        if link is self._turn:
            if frame.control & _FINAL or (link.state is State.DISCONNECTED and kind is not Kind.UI):
                self._turn_back(asked, now)
            else:
                self._due = now + self.timing.response
        self._go(now)

    def _taken(self, asked: _Asked, frame: Frame, kind: Kind | None, came: int) -> bool:
        """Give a frame to its link; False when it is not for it, or means nothing there."""
        link = asked.link
        if (frame.destination, frame.source) != (link.own, link.peer):
            return False
        if kind is Kind.DM and link.state is State.CONNECTING and asked.strays:
            asked.strays -= 1
            return False
        if not link.receive(frame):
            return False
        while asked.leaving and len(self.events) > came:
            self.events.pop()
        return True

    def _turn_back(self, asked: _Asked, now: float) -> None:
        """The link has said what it had to say. Who made no progress has to wait a little."""
        link, timing = asked.link, self.timing
        self._turn, self._tries, asked.turned = None, 0, now
        link.checkpoint()
        at_once = asked.leaving or link.state is State.DISCONNECTING
        if at_once or link.delivered or (link.progress and link.has_frames):
            asked.at, asked.pause = now, timing.pause
        else:
            asked.at = now + asked.pause
            asked.pause = timing.pause if link.progress else min(2 * asked.pause, timing.longest_pause)
        self._watch_busy(asked, now)

    def _watch_busy(self, asked: _Asked, now: float) -> None:
        """Who says RNR for ever is lost: whoever waits for the sending would wait for ever."""
        if not (asked.link.peer_busy and asked.link.unsent):
            asked.busy = None
        elif asked.busy is None:
            asked.busy = now
        elif now - asked.busy >= self.timing.busy:
            asked.busy = None
            server, wait = asked.link.server, self.timing.busy
            self._lose(asked, f"server {server} on the HDLC line was not ready for {wait:g} s")

    # --- the turn -------------------------------------------------------------------------------

    def _go(self, now: float) -> None:
        """Give the turn to the next link that wants it, if nobody has it."""
        if self._turn is not None:
            return
        while self._notes:
            client, server, apdu = self._notes.popleft()
            link = self._of(client, server).link
            self.frames += self._notice(link.own, link.peer, apdu, link.agreed.max_transmit, False)
        for pair, asked in list(self._asked.items()):
            self._settle(asked)
            wish = self._wish(asked, now)
            if wish is None:
                if asked.link.state is State.DISCONNECTED:
                    del self._asked[pair], self._links[pair]
            elif wish <= now:
                self._asked[pair] = self._asked.pop(pair)
                self._give(asked.link, now)
                return

    def _settle(self, asked: _Asked) -> None:
        """A link that is to end goes a step that way; one that has something to send begins."""
        link = asked.link
        if asked.leaving:
            if link.state is not State.DISCONNECTING:
                link.end(None)
                stands = link.state is State.CONNECTED
                link.state = State.DISCONNECTING if stands else State.DISCONNECTED
            if link.state is State.DISCONNECTED:
                asked.leaving = False
                for apdu in asked.later:
                    link.send(apdu)
                asked.later.clear()
        if link.state is State.DISCONNECTED and link.has_frames:
            link.state = State.CONNECTING

    def _wish(self, asked: _Asked, now: float) -> float | None:
        """When the link wants the turn: after its pause, or only to be kept; None: not at all."""
        link, keep = asked.link, self.timing.keep
        connected = link.state is State.CONNECTED
        if asked.until > max(now, asked.at) or (connected and (link.has_frames or link.joining)):
            return asked.at
        if link.state in (State.CONNECTING, State.DISCONNECTING):
            return asked.at
        return asked.turned + keep if connected and keep is not None else None

    def _give(self, link: Link, now: float) -> None:
        link.progress = link.delivered = False
        self._ask(link, link.numbered() if link.state is State.CONNECTED else [self._question(link)], now)

    def _question(self, link: Link) -> Frame:
        """What the primary asks with in this state when it has nothing else to say."""
        kind = ASKS[link.state]
        if kind is Kind.SNRM:
            return link.connect()
        return link.ready() if kind is Kind.RR else link.command(Control(kind, True))

    def _ask(self, link: Link, frames: list[Frame], now: float) -> None:
        self._turn = link
        self.frames += frames
        octets = sum(len(frame.information) + _OVERHEAD for frame in frames)
        self._due = now + self.timing.response + octets * self.timing.octet

    # --- time -----------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When an answer is late, or a link may ask again."""
        if self._turn is not None:
            return self._due
        wishes = [self._wish(asked, 0.0) for asked in self._asked.values()]
        return min((wish for wish in wishes if wish is not None), default=None)

    def tick(self, now: float) -> None:
        """Ask again where no answer came, up to `retries` times; go on where a pause is over."""
        link = self._turn
        if link is not None and now >= self._due:
            asked = self._asked[link.client, link.server]
            if link.state is not State.DISCONNECTED and self._tries < self.timing.retries:
                self._tries += 1
                asked.strays += link.state is State.DISCONNECTING
                self._ask(link, [self._question(link)], now)
                return
            if link.state is not State.DISCONNECTED:  # there it was a question for events, and there are none
                wait = self.timing.response * (self.timing.retries + 1)
                self._lose(asked, f"no answer on the HDLC line from server {link.server} for {wait:g} s")
            self._turn_back(asked, now)
        self._go(now)

    def _lose(self, asked: _Asked, why: str) -> None:
        link = asked.link
        link.end(None if asked.leaving else ConnectionLost(why))
        link.state, asked.until = State.DISCONNECTED, 0.0
