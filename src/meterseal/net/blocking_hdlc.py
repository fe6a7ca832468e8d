"""HDLC without a loop and without a thread: the primary of `framing.hdlc` over a socket or a serial port."""

from __future__ import annotations

import socket
import time
from typing import Any, Protocol

from meterseal.errors import ConnectionLost, TimedOut
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Down, FrameReader, Primary, Received
from meterseal.framing.hdlc.station import FOREVER
from meterseal.framing.wrapper import Frame

from .blocking_lines import Channel, Line, Pair
from .ends import address_text
from .handler import Limits
from .hdlc import CLOSING_TIME
from .octets import setting_up
from .serial_line import INTER_OCTET, parts, settings
from .timing import seconds
from .url import Url
from .wirelog import WireLog

_PIECE = 1 << 16


class Port(Protocol):
    """Where octets go and come from.  `patience`: seconds for a frame that has begun; `strict`: then the line
    ends, otherwise the frame is forgotten.
    """

    name: str
    patience: float | None
    strict: bool

    def write(self, octets: bytes) -> None:
        """Send all of `octets`.  OSError, TimeoutError."""

    def read(self, wait: float | None) -> bytes:
        """What has come, waiting for it at most `wait` seconds; empty: the line has ended.  TimeoutError."""

    def close(self) -> None:
        """Let go."""


class SocketPort:
    """A connected TCP socket."""

    strict = True

    def __init__(self, connected: socket.socket, limits: Limits) -> None:
        ends = address_text(connected.getsockname()), address_text(connected.getpeername())
        self.name = "->".join(ends)
        self.patience = limits.frame_time
        self._socket, self._write_time = connected, limits.write_time
        self.close = connected.close

    def write(self, octets: bytes) -> None:
        """Send all."""
        self._socket.settimeout(self._write_time)
        self._socket.sendall(octets)

    def read(self, wait: float | None) -> bytes:
        """What has come."""
        self._socket.settimeout(wait)
        try:
            return self._socket.recv(_PIECE)
        except BlockingIOError:
            raise TimeoutError from None


class SerialPort:
    """A serial port."""

    patience: float | None = INTER_OCTET
    strict = False

    def __init__(self, where: Url, limits: Limits) -> None:
        """Unsupported without the `serial` extra, OSError for a port that cannot be opened."""
        self.name = where.path
        serial: Any = parts("serial")
        baud, form = settings(where)
        with setting_up(where):
            self._port = serial.Serial(where.path, baud, write_timeout=limits.write_time, **form)
        self.close = self._port.close

    def write(self, octets: bytes) -> None:
        """Send all."""
        self._port.write(octets)

    def read(self, wait: float | None) -> bytes:
        """What has come."""
        self._port.timeout = wait
        first: bytes = self._port.read(1)
        if not first:
            raise TimeoutError
        return first + bytes(self._port.read(self._port.in_waiting))


class HdlcLine(Line):
    """A line of links, one a pair; they move on while somebody sends or receives."""

    def __init__(self, port: Port, station: Primary, limits: Limits, wire_log: WireLog | None) -> None:
        super().__init__(port.name, limits, wire_log)
        self._port, self._station = port, station
        self._frames = FrameReader()
        self._parted: dict[Pair, Exception] = {}
        self._asking: Pair | None = None  # who waits

    # --- the names of all lines -----------------------------------------------------------------

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU; returns when all of it was sent once."""
        if self._end is not None:
            raise self._end
        self._raise_parted((destination, source))
        station = self._station
        station.send(source, destination, payload, time.monotonic())
        self._flush()
        late = FOREVER if self._limits.write_time is None else time.monotonic() + self._limits.write_time
        self._take_in()
        while station.unsent(source, destination):
            if time.monotonic() >= late:
                raise self._finish(TimedOut(f"{self.name}: the peer is not ready"))
            self._read(None)
            self._take_in()  # and then look: of a link that has ended nothing more will come

    def receive_for(self, pair: Pair | None, timeout: float | None) -> Frame:
        """As of all lines; the pair's peer is asked meanwhile."""
        wait = seconds("timeout", timeout)
        if pair is not None and self._end is None and not self._channels.get(pair):
            self._raise_parted(pair)
            now = time.monotonic()
            self._station.poll(pair[1], pair[0], FOREVER if wait is None else now + wait, now)
            self._flush()
        self._asking = pair
        try:
            return super().receive_for(pair, wait)
        finally:
            self._asking = None

    def release(self, channel: Channel) -> None:
        """Free the pair of a channel, and end its link."""
        super().release(channel)
        self._parted.pop((channel.server, channel.client), None)
        if self._end is None:
            self._station.disconnect(channel.client, channel.server, time.monotonic())
            self._flush()

    def close(self) -> None:
        """End all links, then close; a peer that does not answer has `CLOSING_TIME` for it."""
        station, late = self._station, time.monotonic() + CLOSING_TIME
        try:
            if self._end is None:
                for link in station.links:
                    station.disconnect(link.client, link.server, time.monotonic())
                self._flush()
            while self._end is None and not station.at_rest and time.monotonic() < late:
                self._take_in()
                if not station.at_rest:
                    self._read(max(0.0, late - time.monotonic()))
        except (ConnectionLost, TimedOut):
            pass  # it ends in any case
        super().close()

    # --- inside ---------------------------------------------------------------------------------

    def _next_frame(self) -> Frame | None:
        """The next APDU, for any pair; raises why the link of the pair that is waited for has ended."""
        station = self._station
        while True:
            while station.events:
                event = station.events.popleft()
                if type(event) is Received:
                    return event.server, event.client, event.apdu
                if type(event) is Down and (event.server, event.client) in self._channels:
                    self._parted[event.server, event.client] = event.cause
            if self._asking is not None:
                self._raise_parted(self._asking)
            if not self._step():
                return None

    def _take_in(self) -> None:
        """Frames that have come, while nobody waits for an APDU."""
        while (frame := self._next_frame()) is not None:
            self._keep(self._channels.get(frame[:2], self._others), frame)

    def _step(self) -> bool:
        """One HDLC frame that is complete; False when there is none."""
        frame = self._frames.next_frame()
        if frame is None:
            return False
        self._begun = None
        if self._wire_log is not None:
            self._wire_log.record(self.name, "in", hdlc.encode(frame))
        self._station.receive(frame, time.monotonic())
        self._flush()
        return True

    def _raise_parted(self, pair: Pair) -> None:
        cause = self._parted.get(pair)
        if cause is not None:
            raise cause

    def _flush(self) -> None:
        """Write what the station has to write."""
        frames = self._station.frames
        while frames:
            octets = hdlc.encode(frames.popleft())
            if self._wire_log is not None:
                self._wire_log.record(self.name, "out", octets)
            try:
                self._port.write(octets)
            except TimeoutError:
                late = TimedOut(f"{self.name}: the peer has not read for {self._limits.write_time:g} s")
                raise self._finish(late) from None
            except OSError as error:
                raise self._finish(ConnectionLost(f"{self.name}: {error.strerror or error}")) from error

    def _read(self, wait: float | None) -> None:
        """Wait for octets, or until the station has something to do.  TimedOut when `wait` is over."""
        now = time.monotonic()
        times = [] if wait is None else [now + wait]
        if self._station.deadline is not None:
            times.append(self._station.deadline)
        late = self._frame_late(now)
        if late is not None:
            times.append(late)
        until = min(times, default=None)
        try:
            octets = self._port.read(None if until is None else max(0.0, until - now))
        except TimeoutError:
            self._nothing_came(late, None if wait is None else now + wait)
            return
        except OSError as error:
            raise self._finish(ConnectionLost(f"{self.name}: {error.strerror or error}")) from error
        if not octets:
            raise self._finish(ConnectionLost(f"{self.name}: the peer closed the connection"))
        self._frames.feed(octets)
        if self._frames.held:
            self._station.heard(time.monotonic())

    def _frame_late(self, now: float) -> float | None:
        """When the frame that has begun should have come; None when there is no bound, or no frame."""
        if not self._frames.held or self._port.patience is None:
            self._begun = None
            return None
        if self._begun is None or not self._port.strict:
            self._begun = now
        return self._begun + self._port.patience

    def _nothing_came(self, late: float | None, end: float | None) -> None:
        now = time.monotonic()
        if late is not None and now >= late:
            self._begun = None
            if self._port.strict:
                text = f"{self.name}: a frame was not complete after {self._port.patience:g} s"
                raise self._finish(TimedOut(text))
            self._frames.reset()
        self._station.tick(now)
        self._flush()
        if end is not None and now >= end:
            raise TimedOut("no answer came in time")

    def _release(self) -> None:
        self._port.close()
