"""The answering end of an HDLC line: a meter, with a link per pair of addresses; it speaks when it is polled.

What is not addressed to it, or in another form of address than it uses, gets no answer (more 8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from meterseal.errors import Misuse, TimedOut

from .address import ALL_STATION, CLIENT, Address
from .control import Control, Kind
from .frame import Frame
from .link import Link
from .parameters import Parameters
from .states import Role, State
from .station import FOREVER, Pair, Station, Timing

NOTICES: Final = 16
"""Notifications of a pair that wait for their client's question; the oldest one goes."""

_SHORTEST: Final = 128  # information of UI frames where no link has agreed on another size

_NO_CLIENTS: Final = (CLIENT["no-station"], CLIENT["all"])
_POLL: Final = 0x10
_BROADCAST: Final = Control(Kind.UI)


class Secondary(Station):
    """The secondary of a line.

    `serves(server SAP)` says which logical devices are there; `lower` is the physical address, and `sizes`
    are the forms of address it answers to, in octets (1: no physical address is given). `unasked` lets
    notifications go out at once, for a line that nobody else speaks on.

    What a UI frame without a question brings for all logical devices is told once, under their common
    number in that form of address (`ALL_STATION`).
    """

    role = Role.SECONDARY

    def __init__(
        self,
        serves: Callable[[int], bool],
        lower: int = 17,
        sizes: Iterable[int] = (1, 2, 4),
        *,
        wanted: Parameters | None = None,
        timing: Timing | None = None,
        limit: int = 0xFFFF,
        unasked: bool = False,
    ) -> None:
        super().__init__(wanted, timing, limit)
        self._serves, self._lower, self._sizes, self._unasked = serves, lower, frozenset(sizes), unasked
        if not self._sizes or self._sizes - {1, 2, 4}:
            raise Misuse("the forms of address of an HDLC station have 1, 2 or 4 octets")
        for size in self._sizes - {1}:
            Address(0, lower, size)  # refuses what does not fit
        self._heard: dict[Pair, float] = {}
        self._owed: set[Pair] = set()  # an APDU came that the user has not answered yet
        self._queued: dict[Pair, deque[bytes]] = {}

    # --- for the user ---------------------------------------------------------------------------

    def send(self, client: int, server: int, apdu: bytes, now: float) -> None:
        """An APDU over the link of the pair; without a link it is lost, as an answer that comes too late."""
        link = self._links.get((client, server))
        if link is None or link.state is not State.CONNECTED:
            return
        self._owed.discard((client, server))
        link.send(apdu)
        if self._turn is link:
            self._turn = None
            self.frames += link.numbered()

    def hold(self, client: int, server: int, on: bool) -> None:
        """Take nothing more for the pair, or take it again; its link says so when it is polled."""
        link = self._links.get((client, server))
        if link is not None:
            link.busy = on

    def notify(self, client: int, server: int, apdu: bytes, now: float) -> None:
        """An APDU that nobody asked for: over the link of the pair, if it stands.

        Else in UI frames: at the client's next question, or at once where that is allowed.
        """
        link = self._links.get((client, server))
        if link is not None and link.state is State.CONNECTED:
            self.send(client, server, apdu, now)
            return
        if self._unasked:
            size = min(self._sizes)
            own = Address(server, None if size == 1 else self._lower, size)
            self.frames += self._notice(own, Address(client), apdu, _SHORTEST, False)
            return
        waiting = self._queued.setdefault((client, server), deque(maxlen=NOTICES))
        waiting.append(apdu)

    # --- for the line ---------------------------------------------------------------------------

    def receive(self, frame: Frame, now: float) -> None:
        """A frame has come, for this station or another one."""
        self._turn = None  # the primary has gone on: nobody waits for the old answer any more
        meaning, client, server = frame.meaning, frame.source, frame.destination.upper
        if client.size == 4 or client.upper in _NO_CLIENTS:
            return
        mine, everybody = self._for_this(frame.destination), self._for_all(frame.destination)
        if not (mine and self._serves(server)):
            if meaning == _BROADCAST and everybody:
                self._notified(frame, client.upper, server)
            return
        if meaning is not None and meaning.kind is Kind.UI:
            if self._notified(frame, client.upper, server):
                self._asked(frame, meaning.poll, (client.upper, server))
        else:
            self._numbered(frame, (client.upper, server), now)

    def _for_this(self, address: Address) -> bool:
        return address.size in self._sizes and address.lower in (None, self._lower)

    def _for_all(self, address: Address) -> bool:
        """Is it for every physical device, for all logical devices of this one, or for all of every one?"""
        everybody = ALL_STATION[address.size]
        if address.size not in self._sizes or address.lower not in (None, self._lower, everybody):
            return False
        return address.upper == everybody or (address.lower == everybody and self._serves(address.upper))

    def _numbered(self, frame: Frame, pair: Pair, now: float) -> None:
        """A frame of a link, or the one that makes it."""
        meaning, link = frame.meaning, self._links.get(pair)
        poll = bool(frame.control & _POLL)
        begins = meaning is not None and meaning.kind in (Kind.SNRM, Kind.DISC)
        if begins and not poll:
            return  # both ask for an answer, or they are not what they seem
        if link is None:
            link = self._new(frame.destination, frame.source)
        elif (link.own, link.peer) != (frame.destination, frame.source):
            if not begins:
                return
            link.own, link.peer = frame.destination, frame.source
        came = len(self.events)
        if not link.receive(frame):
            return
        if link.state is State.DISCONNECTED:
            self._forget(pair)
        else:
            self._links[pair], self._heard[pair] = link, now
        if begins:
            self._owed.discard(pair)
        elif len(self.events) > came and link.state is State.CONNECTED:
            self._owed.add(pair)
        if poll:
            self._answer(link, pair, now)

    def _answer(self, link: Link, pair: Pair, now: float) -> None:
        """The primary waits: say what there is, or hold the turn as long as the user may have an answer."""
        if link.reply is not None:
            self.frames.append(link.reply)
            link.reply = None
            return
        link.checkpoint()
        if link.has_frames or link.joining or pair not in self._owed:
            self.frames += link.numbered()
        else:
            self._turn, self._due = link, now + self.timing.hold

    def _asked(self, frame: Frame, poll: bool, pair: Pair) -> None:
        """A UI frame with the poll bit collects a notification; on a link it is answered in any case."""
        if not poll:
            return
        waiting, link = self._queued.get(pair), self._links.get(pair)
        if waiting:
            size = _SHORTEST if link is None else link.agreed.max_transmit
            self.frames += self._notice(frame.destination, frame.source, waiting.popleft(), size, True)
            if not waiting:
                del self._queued[pair]
        elif link is not None and link.state is State.CONNECTED:
            self.frames.append(link.ready())

    def _forget(self, pair: Pair) -> None:
        link = self._links.pop(pair, None)
        self._heard.pop(pair, None)
        self._owed.discard(pair)
        if link is not None and self._turn is link:
            self._turn = None

    # --- time -----------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When the held turn, or the oldest link, runs out."""
        times = [self._due] if self._turn is not None else []
        if self._heard and self.timing.inactivity is not None:
            times.append(min(self._heard.values()) + self.timing.inactivity)
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Give back a turn that was held long enough; end links over which nothing came."""
        link = self._turn
        if link is not None and now >= self._due:
            self._turn, self._due = None, FOREVER
            self.frames += link.numbered()
        inactivity = self.timing.inactivity
        if inactivity is None:
            return
        for pair, heard in list(self._heard.items()):
            if now >= heard + inactivity:
                self._links[pair].end(TimedOut(f"nothing came over the HDLC link for {inactivity:g} s"))
                self._forget(pair)
