"""One connection, the same class at both ends: what all framings need, and the wrapper frames of TCP.

One call of the handler per frame, no task and no future. What a slow or hostile peer can hold is bounded:
the buffer by the largest APDU, an incomplete frame by time, unsent octets by size and time, and while
something is unsent nothing more is read or handled. Who sends many frames at once is served one of them,
and waits for a turn with the next.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from meterseal.errors import ConnectionLost, MetersealError, TimedOut, TooLarge
from meterseal.framing import wrapper
from meterseal.framing.bounds import Octets

from .ends import address_text, source_of
from .handler import BareLink, Factory, Handler, Limits
from .turns import turns_of
from .wirelog import WireLog


class Keeper(Protocol):
    """Who keeps the connections of a listening end."""

    def enter(self, connection: Stream) -> bool:
        """A connection has come; may it stay?"""

    def established(self, connection: Stream) -> None:
        """It has signed on."""

    def later(self, connection: Stream) -> None:
        """It has more frames than the one it was served: call its `go_on` when it is its turn."""

    def leave(self, connection: Stream) -> None:
        """One that was let in has gone."""


class Stream(BareLink, asyncio.BaseProtocol):
    """A `Link` over a stream of octets; the handler is made by the factory when the connection is there.

    A framing adds how octets come in and APDUs go out, and for the intake `_has_more`, `_has_begun` and
    `_take_one`.
    """

    __slots__ = (
        "_blocked",
        "_cause",
        "_drained",
        "_ending",
        "_factory",
        "_frame_timer",
        "_handler",
        "_keeper",
        "_limits",
        "_loop",
        "_outgoing",
        "_paused",
        "_transport",
        "_wire_log",
        "_write_timer",
        "name",
        "peer",
        "source",
    )

    def __init__(
        self,
        factory: Factory,
        limits: Limits,
        wire_log: WireLog | None = None,
        keeper: Keeper | None = None,
        outgoing: bool = False,
    ) -> None:
        self._factory = factory
        self._limits = limits
        self._wire_log = wire_log
        self._keeper = keeper
        self._outgoing = outgoing
        self._handler: Handler | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False  # something is unsent
        self._ending = False
        self._blocked = False  # one of these: no frame is handled
        self._cause: Exception | None = None
        self._frame_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self.name = self.peer = self.source = ""

    # --- for the handler ----------------------------------------------------------------

    @property
    def unsent(self) -> bool:
        """Has the system not taken all that was sent?"""
        return self._paused

    @property
    def is_closing(self) -> bool:
        """Is the connection gone, or going?"""
        return self._ending or self._is_lost()

    def _is_lost(self) -> bool:
        transport = self._transport
        return transport is None or transport.is_closing()  # a write that has failed shows there first

    def _write(self, octets: bytes) -> None:
        """Whole frames, as long as there is a transport."""
        transport = self._transport
        if transport is None:
            return
        transport.write(octets)
        if self._paused and transport.get_write_buffer_size() > self._limits.unsent:
            self.abort(TooLarge(f"the peer does not read: more than {self._limits.unsent} octets are unsent"))

    def close(self) -> None:
        """Send what is still to be sent (`write_time` holds), then close."""
        self._ending = self._blocked = True
        if self._transport is not None:
            self._transport.close()

    def abort(self, cause: Exception | None = None) -> None:
        """Close at once; `cause` goes to the handler's `closed`."""
        self._ending = self._blocked = True
        if self._cause is None:
            self._cause = cause
        if self._transport is not None:
            self._transport.abort()

    def established(self) -> None:
        """The peer has proved who it is: caps for strangers no longer apply."""
        if self._keeper is not None:
            self._keeper.established(self)

    async def drain(self) -> None:
        """Wait until nothing is unsent."""
        if not self._paused or self._transport is None:
            return
        if self._drained is None:
            self._drained = self._loop.create_future()
        await asyncio.shield(self._drained)

    # --- for asyncio ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Name the connection, admit it, make its handler."""
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        # Any octet that the system does not take at once stops the reading: the peer has to read first.
        self._transport.set_write_buffer_limits(high=0)
        self._name_ends(transport)
        if self._keeper is not None and not self._keeper.enter(self):
            self._keeper = None
            self.abort()
            return
        try:
            self._handler = self._factory(self)
        except MetersealError as cause:
            self.abort(cause)

    def _name_ends(self, transport: asyncio.BaseTransport) -> None:
        own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        ends = [address_text(end) for end in ((own, peer) if self._outgoing else (peer, own))]
        self.name = "->".join(ends)
        self.peer = address_text(peer)
        self.source = source_of(peer)

    def eof_received(self) -> None:
        """The peer sends no more: this end closes, after what is unsent."""
        self._ending = self._blocked = True
        inside = " inside a frame" if self._has_begun() else ""
        if self._cause is None:
            self._cause = ConnectionLost(f"{self.peer} closed the connection{inside}")

    def pause_writing(self) -> None:
        """The system takes no more octets: who is served has to read before asking for more.

        A caller goes on reading, or two ends that both have much to send would wait for each other.
        """
        self._paused = True
        if not self._outgoing and not self._ending and self._transport is not None:
            self._blocked = True
            self._transport.pause_reading()
        if self._write_timer is None and self._limits.write_time is not None:
            self._write_timer = self._loop.call_later(self._limits.write_time, self._write_late)

    def resume_writing(self) -> None:
        """Nothing is unsent."""
        self._end_write_wait()
        self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end: stop the timers, tell the handler."""
        self._ending = self._blocked = True
        self._transport = None
        if self._cause is None and exc is not None:
            self._cause = ConnectionLost(f"{self.peer}: {exc}")
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None
        self._end_write_wait()
        if self._keeper is not None:
            self._keeper.leave(self)
        if self._handler is not None:
            self._handler.closed(self._cause)

    # --- inside --------------------------------------------------------------------------------

    def _has_more(self) -> bool:
        """Are there octets that were not looked at?"""
        raise NotImplementedError

    def _has_begun(self) -> bool:
        """Is there a frame that is not complete?"""
        raise NotImplementedError

    def _take_one(self, handler: Handler) -> bool:
        """Hand the next complete frame over; False when there is none."""
        raise NotImplementedError

    def _take(self, progress: bool) -> None:
        """Hand the complete frames over, then watch the time of one that is not complete."""
        handler = self._handler
        if handler is None:
            return
        try:
            while self._has_more() and not (self._blocked or self._is_lost()) and self._take_one(handler):
                progress = True
                if self._has_more():
                    self._wait_for_a_turn()
        except MetersealError as cause:
            self.abort(cause)
        if self._frame_timer is not None or self._has_more():
            self._watch_frame(progress)

    def _wait_for_a_turn(self) -> None:
        """More has come than the one frame: others first.  A caller has nobody else to serve."""
        if self._keeper is not None and self._transport is not None and not self._blocked:
            self._blocked = True
            self._transport.pause_reading()
            self._keeper.later(self)

    def go_on(self) -> None:
        """The next turn; while something is unsent `resume_writing` sees to it."""
        if self._blocked and not self._paused and not self._ending and self._transport is not None:
            self._blocked = False
            self._transport.resume_reading()
            self._take(True)

    def _watch_frame(self, progress: bool) -> None:
        """A frame that has begun has `frame_time`, counted from its own first octets."""
        waiting = not self._blocked and self._has_begun()
        if self._frame_timer is not None and (progress or not waiting):
            self._frame_timer.cancel()
            self._frame_timer = None
        if waiting and self._frame_timer is None and self._limits.frame_time is not None:
            self._frame_timer = self._loop.call_later(self._limits.frame_time, self._frame_late)

    def _frame_late(self) -> None:
        self.abort(TimedOut(f"{self.peer}: a frame was not complete after {self._limits.frame_time:g} s"))

    def _write_late(self) -> None:
        self._write_timer = None
        self.abort(TimedOut(f"{self.peer} has not read for {self._limits.write_time:g} s"))

    def _end_write_wait(self) -> None:
        self._paused = False
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        self._end_drain()

    def _end_drain(self) -> None:
        """Who waits for the sending goes on."""
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None


class Connection(Stream, asyncio.BufferedProtocol):
    """Wrapper frames over TCP.  A buffer of its own has only a connection with an incomplete frame."""

    __slots__ = ("_reader", "_room", "_turns")

    def __init__(
        self,
        factory: Factory,
        limits: Limits,
        wire_log: WireLog | None = None,
        keeper: Keeper | None = None,
        outgoing: bool = False,
    ) -> None:
        super().__init__(factory, limits, wire_log, keeper, outgoing)
        self._reader: wrapper.WrapperReader | None = None  # while it holds something

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As every stream; from then on it receives where its loop has room."""
        self._turns = turns_of(asyncio.get_running_loop())
        # No more is received than may be kept; connections that may keep all share the view too.
        room, most = self._turns.room, wrapper.HEADER_LENGTH + self._limits.apdu
        self._room = room if len(room) <= most else room[:most]
        super().connection_made(transport)

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One whole APDU, at most 65535 octets (TooLarge). Nothing happens when the connection is gone."""
        if not self._ending and self._transport is not None:
            frame = wrapper.encode(source, destination, payload)
            if self._wire_log is not None:
                self._wire_log.record(self.name, "out", frame)
            self._turns.send(self, frame)

    def put(self, octets: bytes) -> None:
        """What was sent leaves (`Turns`); a transport that is on its way out takes it and drops it."""
        transport = self._transport
        if self._paused:
            self._write(octets)
        elif transport is not None:
            transport.write(octets)

    def close(self) -> None:
        """Send what is still to be sent, that of this turn among it, then close."""
        self._leave_nothing()
        super().close()

    def abort(self, cause: Exception | None = None) -> None:
        """The system gets what was sent in this turn, then the end."""
        self._leave_nothing()
        super().abort(cause)

    def _leave_nothing(self) -> None:
        if self._transport is not None:
            self._turns.flush()

    def ask(self, client: int, server: int, payload: bytes, timeout: float | None) -> bool:
        """As of a `CallingLink`."""
        if not self._ending and self._transport is not None:
            frame = wrapper.encode(client, server, payload)
            if self._wire_log is not None:
                self._wire_log.record(self.name, "out", frame)
            self._turns.ask(self, frame)
        return not self._paused

    def get_buffer(self, sizehint: int) -> memoryview:
        """Room for the next octets."""
        reader = self._reader
        return self._room if reader is None else reader.get_buffer()

    def buffer_updated(self, count: int) -> None:
        """Octets have come: nearly always one whole frame, with nothing before it and nothing behind."""
        if self._reader is not None:
            self._reader.advance(count)
        else:
            frame = wrapper.whole(self._room, count)
            if frame is not None and not self._blocked:
                self._turns.came(self, frame)
                return
            self._keep(self._room[:count])
        self._take(False)

    def _keep(self, octets: Octets) -> None:
        """They are handed over later, or once there are more."""
        if self._reader is None:
            self._reader = wrapper.WrapperReader(self._limits.apdu)
        self._reader.take_in(octets)

    def handle(self, frame: wrapper.Frame) -> None:
        """A frame has come, by itself and whole (`Turns`)."""
        handler = self._handler
        if handler is None or self._ending:
            return
        if self._blocked:  # since it came: `go_on` finds it
            self._keep(wrapper.encode(*frame))
            return
        if self._wire_log is not None:
            self._wire_log.record(self.name, "in", wrapper.encode(*frame))
        source, destination, payload = frame
        try:
            handler.received(source, destination, payload)
        except MetersealError as cause:
            self.abort(cause)

    def _has_more(self) -> bool:
        return self._reader is not None

    _has_begun = _has_more

    def _take_one(self, handler: Handler) -> bool:
        reader = self._reader
        if reader is None or (frame := reader.next_frame()) is None:
            return False
        if not reader.held:
            self._reader = None
        if self._wire_log is not None:
            self._wire_log.record(self.name, "in", wrapper.encode(*frame))
        handler.received(*frame)
        return True
