"""HDLC over a stream of octets with asyncio: the sans-I/O stations of `framing.hdlc` on TCP and serial lines.

The user's view stays that of all lines: APDUs by pair of SAPs. A pair's link is made when something is sent,
asked as long as somebody waits, ended when the pair is freed; its end is told by `Handler.parted`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from meterseal.errors import MetersealError, TooLarge
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Down, FrameReader, Parameters, Primary, Received, Secondary, Timing
from meterseal.framing.hdlc.station import FOREVER

from .admission import Admission
from .connection import Keeper, Stream
from .handler import Factory, Handler, Limits
from .server import Server, serve
from .timing import seconds
from .url import Url
from .wirelog import WireLog

CLOSING_TIME: Final = 2.0
"""Seconds that links have to end when a line is closed."""

SCHEME: Final = "hdlc+tcp"
_SIZES: Final = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Asking:
    """How a calling end speaks HDLC: the meter's physical address `lower` and the form of its address.

    `size` 0: as short as it gets. `wanted` are the sizes and windows to propose; left out, the largest.
    """

    lower: int | None = None
    size: int = 0
    wanted: Parameters | None = None
    timing: Timing | None = None

    def at(self, where: Url) -> Asking:
        """The same with the sizes and windows that a URL asks for."""
        return replace(self, wanted=where.parameters(self.wanted))

    def station(self, limits: Limits, octet: float = 0.0) -> Primary:
        """The primary of a line on which an octet takes `octet` seconds."""
        timing = replace(self.timing or Timing(), octet=octet)
        return Primary(self.lower, self.size, wanted=self.wanted, timing=timing, limit=limits.apdu)


@dataclass(frozen=True, slots=True)
class Answering:
    """How a listening end speaks HDLC: which logical devices are there, its physical address `lower`.

    `sizes`: the forms of address it answers to; left out: those that the physical address fits in.
    """

    serves: Callable[[int], bool]
    lower: int = 17
    sizes: Iterable[int] = ()
    wanted: Parameters | None = None
    timing: Timing | None = None
    unasked: bool = False

    def at(self, where: Url) -> Answering:
        """The same with the sizes and windows that a URL allows at most."""
        return replace(self, wanted=where.parameters(self.wanted))

    def station(self, limits: Limits) -> Secondary:
        """The secondary of a line. Misuse when the physical address does not fit."""
        narrow = self.lower < 1 << 7
        return Secondary(
            self.serves,
            self.lower,
            tuple(self.sizes) or tuple(size for size in _SIZES if narrow or size != 2),
            wanted=self.wanted,
            timing=self.timing,
            limit=limits.apdu,
            unasked=self.unasked,
        )


class HdlcConnection(Stream, asyncio.Protocol):
    """A `Link` over HDLC: the frames, the timer and the events of one station."""

    __slots__ = ("_busy", "_closing", "_reader", "_station", "_timer", "_unsent")

    def __init__(
        self,
        station: Primary | Secondary,
        factory: Factory,
        limits: Limits,
        wire_log: WireLog | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(factory, limits, wire_log, keeper, isinstance(station, Primary))
        self._station = station
        self._reader = FrameReader()
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False  # frames and events are being carried out
        self._unsent = False
        self._closing: asyncio.TimerHandle | None = None

    # --- for the handler ------------------------------------------------------------------------

    @property
    def unsent(self) -> bool:
        """Is there anything that the line has not taken even once?"""
        return self._paused or self._unsent

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One whole APDU over the link of its pair. Nothing happens when the connection is gone."""
        if self.is_closing:
            return
        if len(payload) > 0xFFFF:
            raise TooLarge(f"an APDU of {len(payload)} octets")
        station, now = self._station, self._loop.time()
        if isinstance(station, Primary):
            station.send(source, destination, payload, now)
        else:
            station.send(destination, source, payload, now)
        self._carry_out()

    def ask(self, client: int, server: int, payload: bytes, timeout: float | None) -> bool:
        """As of a `CallingLink`."""
        self.send(client, server, payload)
        if self.unsent:
            return False
        self.poll(client, server, timeout)
        return True

    def poll(self, client: int, server: int, timeout: float | None) -> None:
        """The peer is asked until an APDU comes, or the time is over."""
        station, now = self._station, self._loop.time()
        wait = seconds("timeout", timeout)
        if isinstance(station, Primary) and not self.is_closing:
            station.poll(client, server, FOREVER if wait is None else now + wait, now)
            self._carry_out()

    def notify(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU that needs no link: in UI frames, where none stands."""
        station, now = self._station, self._loop.time()
        if self.is_closing:
            return
        if isinstance(station, Primary):
            station.notify(source, destination, payload, now)
        else:
            station.notify(destination, source, payload, now)
        self._carry_out()

    def hold(self, source: int, destination: int, on: bool) -> None:
        """The pair's link says RNR while `on`. Who calls takes an answer only when it asks for it."""
        if isinstance(self._station, Secondary):
            self._station.hold(source, destination, on)

    def free(self, client: int, server: int) -> None:
        """The pair's link is ended."""
        station = self._station
        if isinstance(station, Primary) and not self.is_closing:
            station.disconnect(client, server, self._loop.time())
            self._carry_out()

    async def drain(self) -> None:
        """Wait until all was sent once, or can no longer be."""
        if not self.unsent or self._transport is None:
            return
        if self._drained is None:
            self._drained = self._loop.create_future()
        await asyncio.shield(self._drained)

    def close(self) -> None:
        """End all links, then close; a peer that does not answer has `CLOSING_TIME` for it."""
        station = self._station
        if isinstance(station, Primary) and self._transport is not None and not self._ending:
            self._ending = True
            self._closing = self._loop.call_later(CLOSING_TIME, super().close)
            for link in station.links:
                station.disconnect(link.client, link.server, self._loop.time())
            self._carry_out()
        elif self._closing is None:
            super().close()

    # --- for asyncio ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Octets have come."""
        self._reader.feed(data)
        self._take(False)
        if isinstance(self._station, Primary) and self._reader.held:
            self._station.heard(self._loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """The end: no timer goes on."""
        for timer in (self._timer, self._closing):
            if timer is not None:
                timer.cancel()
        self._timer = None
        self._busy = True  # nothing is carried out any more
        super().connection_lost(exc)

    # --- inside ---------------------------------------------------------------------------------

    def _has_more(self) -> bool:
        return self._reader.waiting

    def _has_begun(self) -> bool:
        return bool(self._reader.held)

    def _take_one(self, handler: Handler) -> bool:
        frame = self._reader.next_frame()
        if frame is None:
            return False
        if self._wire_log is not None:
            self._wire_log.record(self.name, "in", hdlc.encode(frame))
        self._station.receive(frame, self._loop.time())
        self._carry_out()
        return True

    def _carry_out(self) -> None:
        """Write what the station has to write, tell what it has to tell, until there is neither."""
        if self._busy:
            return
        self._busy = True
        station = self._station
        try:
            while station.frames or station.events:
                if station.frames:
                    self._write(b"".join(self._written(hdlc.encode(frame)) for frame in station.frames))
                    station.frames.clear()
                if station.events:
                    self._tell(station.events.popleft())
        except MetersealError as cause:
            self.abort(cause)
        finally:
            self._busy = self._transport is None
        self._after()

    def _written(self, octets: bytes) -> bytes:
        if self._wire_log is not None:
            self._wire_log.record(self.name, "out", octets)
        return octets

    def _tell(self, event: hdlc.Event) -> None:
        """To the handler, as all lines do it: the peer's SAP first."""
        handler = self._handler
        if handler is None:
            return
        peer, own = (event.server, event.client) if self._outgoing else (event.client, event.server)
        if type(event) is Received:
            handler.received(peer, own, event.apdu)
        elif type(event) is Down:
            handler.parted(peer, own, event.cause)

    def _after(self) -> None:
        """What follows from the new state: who waits for the sending, the timer, the end of closing."""
        station = self._station
        if isinstance(station, Primary):
            self._unsent = any(station.unsent(link.client, link.server) for link in station.links)
            if not self.unsent and self._drained is not None:
                self._end_drain()
            if self._closing is not None and station.at_rest and not self._blocked:
                super().close()
        self._set_timer(station.deadline)

    def _set_timer(self, deadline: float | None) -> None:
        """One timer: it is set again when it has to come earlier, else when it comes."""
        timer = self._timer
        if deadline is None or self._transport is None:
            return
        if timer is not None:
            if timer.when() <= deadline:
                return
            timer.cancel()
        self._timer = self._loop.call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self._station.tick(self._loop.time())
        self._carry_out()


def calling(
    asking: Asking, make: Callable[[HdlcConnection], Handler], limits: Limits, wire_log: WireLog | None
) -> HdlcConnection:
    """The calling end over TCP; `make` gives its handler."""
    connection = HdlcConnection(asking.station(limits), lambda _: make(connection), limits, wire_log)
    return connection


async def serve_hdlc(
    host: str,
    port: int,
    factory: Factory,
    answering: Answering,
    *,
    limits: Limits | None = None,
    admission: Admission | None = None,
    wire_log: WireLog | None = None,
) -> Server:
    """Listen for HDLC over TCP as `serve` does: each connection is a line with links of its own."""
    answering.station(limits or Limits())  # refuses at once what no connection could use

    def make(factory: Factory, limits: Limits, wire_log: WireLog | None, keeper: Keeper) -> HdlcConnection:
        return HdlcConnection(answering.station(limits), factory, limits, wire_log, keeper)

    return await serve(
        host, port, factory, limits=limits, admission=admission, wire_log=wire_log, scheme=SCHEME, make=make
    )
