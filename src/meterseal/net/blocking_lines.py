"""Lines without a loop and without a thread: what all have in common, and wrapper frames over sockets."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from meterseal.errors import ConnectionLost, DecodeError, MetersealError, Misuse, TimedOut, TooLarge
from meterseal.framing import gateway, wrapper
from meterseal.framing.gateway import Prefix
from meterseal.framing.wrapper import MAX_IN_DATAGRAM, Frame

from .datagram import frame_of
from .ends import address_text
from .gateway import answer, late
from .handler import Limits
from .timing import LONGEST, seconds
from .wirelog import WireLog

T = TypeVar("T", int, bytes)

UNREAD = 1 << 20
"""Octets that may lie unread on a line before it is closed."""

_ENTRY = 64  # what holding one frame costs beside its octets

Pair: TypeAlias = tuple[int, int]
"""Source and destination of frames that come in."""


class Channel:
    """One pair of SAPs on a line: what an association speaks through. Made by `Line.channel`."""

    __slots__ = ("_line", "client", "server")

    direct = True
    """Is what the line gives for the pair the answer itself, with nothing of others around it?"""

    def __init__(self, line: Line, client: int, server: int) -> None:
        self._line = line
        self.client = client
        self.server = server

    def send(self, payload: bytes) -> None:
        """One APDU from client to server; errors as `Line.send`."""
        self._line.send(self.client, self.server, payload)

    def receive(self, timeout: float | None = None) -> bytes:
        """The next APDU from server to client; errors as `Line.receive`."""
        return self._line.receive_for((self.server, self.client), timeout)[2]

    def exchange(self, payload: bytes, timeout: float | None, deadline: float) -> bytes:
        """`send`, then `receive` until the deadline, which is `timeout` seconds from now."""
        self.send(payload)
        answer = self._line.receive_alone((self.server, self.client), timeout) if self.direct else None
        if answer is None:
            answer = self.receive(None if timeout is None else max(0.0, deadline - time.monotonic()))
        return answer

    def close(self) -> None:
        """Free the pair; what still comes for it goes to the line's own `receive`."""
        self._line.release(self)


class _Routed(Channel):
    """A channel to a device behind a gateway; as that of `net.client`."""

    __slots__ = ("_via",)

    direct = False

    def __init__(self, line: Line, client: int, server: int, via: Prefix) -> None:
        super().__init__(line, client, server)
        self._via = via

    def send(self, payload: bytes) -> None:
        super().send(gateway.encode(self._via, payload))

    def receive(self, timeout: float | None = None) -> bytes:
        end, passed_over = None if timeout is None else time.monotonic() + timeout, None
        while True:
            try:
                octets = super().receive(timeout)
            except TimedOut as error:
                raise late(error, passed_over) from None
            try:
                return answer(self._via, octets)
            except MetersealError as error:
                if not self._line.datagrams:
                    raise
                passed_over = error
            timeout = None if end is None else max(0.0, end - time.monotonic())


class Line:
    """Frames over whatever `_write` and `_read` of the subclass reach. Not for use by several threads."""

    datagrams = False
    """May frames be lost, repeated and reordered?"""
    via: Prefix | None = None
    """The gateway that its channels lead through; the line's own `send` and `receive` do not look at it."""

    def __init__(self, name: str, limits: Limits, wire_log: WireLog | None) -> None:
        self.name = name
        self._limits = limits
        self._wire_log = wire_log
        self._reader = wrapper.WrapperReader(limits.apdu)
        self._others: deque[Frame] = deque()
        self._channels: dict[Pair, deque[Frame]] = {}
        self._unread = 0
        self._begun: float | None = None  # when it was seen that a frame is not complete
        self._end: Exception | None = None

    @property
    def is_closing(self) -> bool:
        """Has the line ended?"""
        return self._end is not None

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU; returns when the system has taken it. ConnectionLost, TimedOut, TooLarge."""
        if self._end is not None:
            raise self._end
        frame = wrapper.encode(source, destination, payload)
        if self._wire_log is not None:
            self._wire_log.record(self.name, "out", frame)
        self._write(frame)

    def receive(self, timeout: float | None = None) -> Frame:
        """Source, destination and APDU of the next frame that belongs to no open channel.

        Waits `timeout` seconds (None: for ever, 0: not at all), then TimedOut; the line stays open.
        ConnectionLost when the line has ended, or the error that ended it.
        """
        return self.receive_for(None, timeout)

    def receive_for(self, pair: Pair | None, timeout: float | None) -> Frame:
        """`receive` for a channel's pair, or with None for what belongs to no channel."""
        inbox = self._others if pair is None else self._channels.get(pair)
        if inbox is None:
            raise Misuse("the channel is closed")
        wait = seconds("timeout", timeout)
        if self._end is not None and not inbox:
            raise self._end
        deadline: float | None = None
        while not inbox:
            frame = self._next_frame()
            if frame is not None:
                own = self._channels.get(frame[:2], self._others)
                if own is inbox:
                    return frame
                self._keep(own, frame)
            elif wait is None or deadline is None:
                deadline = None if wait is None else time.monotonic() + wait
                self._read(wait)
            else:
                self._read(max(0.0, deadline - time.monotonic()))
        frame = inbox.popleft()
        self._unread -= len(frame[2]) + _ENTRY
        return frame

    def receive_alone(self, pair: Pair, timeout: float | None) -> bytes | None:
        """The next APDU for a channel's pair, where it comes by itself and whole; errors as `receive_for`.

        None where it does not, or nobody looked: what has come is there for `receive_for`.
        """
        return None

    def channel(self, client: int, server: int) -> Channel:
        """A channel for the pair of SAPs. Misuse when there is one."""
        if (server, client) in self._channels:
            raise Misuse(f"client {client} has a channel to server {server} on this line already")
        if self._end is not None:
            raise self._end
        self._channels[server, client] = deque()
        via = self.via
        return Channel(self, client, server) if via is None else _Routed(self, client, server, via)

    def release(self, channel: Channel) -> None:
        """Free the pair of a channel."""
        self._others += self._channels.pop((channel.server, channel.client), ())

    def close(self) -> None:
        """Close the line."""
        self._finish(ConnectionLost("the line was closed at this end"))

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- for subclasses ---------------------------------------------------------------------

    def _write(self, octets: bytes) -> None:
        """Send all of `octets`."""
        raise NotImplementedError

    def _read(self, wait: float | None) -> None:
        """Put more octets into the reader, within `wait` seconds, or raise."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of what the line holds."""

    def _finish(self, end: Exception) -> Exception:
        """The line has ended because of `end`; gives back the error to raise."""
        if self._end is None:
            self._end = end
            self._release()
        return self._end

    # --- inside -----------------------------------------------------------------------------

    def _next_frame(self) -> Frame | None:
        """The next frame that is complete, for any pair."""
        if not self._reader.held:
            return None
        try:
            frame = self._reader.next_frame()
        except DecodeError as error:
            raise self._finish(error) from None
        if frame is not None:
            self._begun = None
            if self._wire_log is not None:
                self._wire_log.record(self.name, "in", wrapper.encode(*frame))
        return frame

    def _keep(self, inbox: deque[Frame], frame: Frame) -> None:
        self._unread += len(frame[2]) + _ENTRY
        if self._unread > UNREAD:
            raise self._finish(TooLarge(f"more than {UNREAD} octets came that nobody waited for"))
        inbox.append(frame)


_TIMEVAL = struct.Struct("ll") if sys.platform in ("linux", "darwin") else None
"""How the system takes a time-out of a socket, where it does (SO_RCVTIMEO)."""

_SHORTEST = 0.000_001
"""Seconds: less would mean for ever there."""

_USUAL = 2048
"""Octets that are asked for where one answer is expected, and nothing has begun."""

_AT_ONCE = getattr(socket, "MSG_DONTWAIT", 0)


class SocketLine(Line):
    """A line over a connected TCP socket."""

    def __init__(self, connected: socket.socket, limits: Limits, wire_log: WireLog | None) -> None:
        ends = address_text(connected.getsockname()), address_text(connected.getpeername())
        super().__init__("->".join(ends), limits, wire_log)
        self._socket = connected
        self._wait: float | None = -1.0

    def _set_wait(self, wait: float | None) -> None:
        """Let reading wait so long.  Where the system itself can, that saves a call for each read."""
        self._wait = wait
        wait = None if wait is None else min(wait, LONGEST)
        if wait and _TIMEVAL is not None:
            self._socket.settimeout(None)
            seconds, part = divmod(max(wait, _SHORTEST), 1.0)
            self._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(int(seconds), int(part * 1_000_000))
            )
        else:
            if wait is None and _TIMEVAL is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(0, 0))
            self._socket.settimeout(wait)

    def _write(self, octets: bytes) -> None:
        try:
            try:
                sent = self._socket.send(octets, _AT_ONCE)  # nearly always all
            except (TimeoutError, BlockingIOError):
                sent = 0
            if sent < len(octets):
                self._wait = -1.0
                self._socket.settimeout(self._limits.write_time)
                self._socket.sendall(memoryview(octets)[sent:])
        except TimeoutError:
            late = TimedOut(f"{self.name}: the peer has not read for {self._limits.write_time:g} s")
            raise self._finish(late) from None
        except OSError as error:
            raise self._finish(ConnectionLost(f"{self.name}: {error.strerror or error}")) from error

    def receive_alone(self, pair: Pair, timeout: float | None) -> bytes | None:
        """As of all lines: nearly every answer comes so, with one call of the system and no buffer."""
        reader = self._reader
        if reader.held or self._end is not None or self._wire_log is not None or self._channels.get(pair):
            return None
        octets = self._received(timeout, self._socket.recv, _USUAL)
        payload = wrapper.alone(octets, *pair, reader.limit)
        if payload is None:
            reader.feed(octets)
        return payload

    def _read(self, wait: float | None) -> None:
        self._reader.advance(self._received(wait, self._socket.recv_into, self._reader.get_buffer()))

    def _received(self, wait: float | None, receive: Callable[[Any], T], room: Any) -> T:
        """What `receive` gives as soon as something has come; nothing given is the end of the line."""
        left = self._frame_left() if self._reader.held else None
        late = left is not None and (wait is None or left < wait)
        if late:
            wait = left
        try:
            if wait != self._wait:
                self._set_wait(wait)
            found = receive(room)
        except (TimeoutError, BlockingIOError):
            if late:
                text = f"{self.name}: a frame was not complete after {self._limits.frame_time:g} s"
                raise self._finish(TimedOut(text)) from None
            raise TimedOut("no answer came in time") from None
        except OSError as error:
            raise self._finish(ConnectionLost(f"{self.name}: {error.strerror or error}")) from error
        if not found:
            inside = " inside a frame" if self._reader.held else ""
            raise self._finish(ConnectionLost(f"{self.name}: the peer closed the connection{inside}"))
        return found

    def _frame_left(self) -> float | None:
        """Seconds that are left for the frame that has begun; None when there is no bound."""
        if self._limits.frame_time is None:
            return None
        now = time.monotonic()
        if self._begun is None:
            self._begun = now
        return max(0.0, self._begun + self._limits.frame_time - now)

    def _release(self) -> None:
        self._socket.close()


class DatagramLine(SocketLine):
    """A line over a UDP socket that knows one address; a datagram is one frame, whole, or nothing."""

    datagrams = True

    def receive_alone(self, pair: Pair, timeout: float | None) -> bytes | None:
        """What comes may be anybody's: it is looked at in `_read`."""
        return None

    def _write(self, octets: bytes) -> None:
        if len(octets) > MAX_IN_DATAGRAM + wrapper.HEADER_LENGTH:
            raise TooLarge(f"an APDU of {len(octets)} octets does not fit a datagram ({MAX_IN_DATAGRAM})")
        super()._write(octets)

    def _read(self, wait: float | None) -> None:
        try:
            if wait != self._wait:
                self._set_wait(wait)
            octets = self._socket.recv(wrapper.MAX_APDU)
        except (TimeoutError, BlockingIOError):
            raise TimedOut("no answer came in time") from None
        except OSError as error:
            raise self._finish(ConnectionLost(f"{self.name}: {error.strerror or error}")) from error
        if frame_of(octets, self._limits) is not None:
            self._reader.feed(octets)
