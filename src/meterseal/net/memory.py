"""Lines in memory: both ends in one process, with wrapper frames between them as on TCP.

Everything happens within `send`: when it returns, the party has handled the frame. No loop is needed for
the blocking form. `tamper` sees each frame on its way and says what arrives: for tests of what a hostile
line does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from meterseal.errors import ConnectionLost, MetersealError, TimedOut
from meterseal.framing import wrapper

from . import blocking, client
from .handler import BareLink, Factory, Handler, Limits
from .wirelog import Direction, WireLog

Tamper: TypeAlias = Callable[[Direction, bytes], bytes]
"""Direction as the caller sees it and the octets sent, to the octets that arrive (none: lost)."""

NAME = "loopback"

_OTHER_WAY: dict[Direction, Direction] = {"in": "out", "out": "in"}


class _End(BareLink):
    """One end of a pair: a `Link` for its handler."""

    name = f"{NAME}->{NAME}"
    peer = source = NAME
    unsent = False

    def __init__(
        self, direction: Direction, limits: Limits, wire_log: WireLog | None, tamper: Tamper | None
    ) -> None:
        self._direction: Direction = direction  # of what this end sends
        self._limits = limits
        self._wire_log = wire_log
        self._tamper = tamper
        self._reader = wrapper.WrapperReader(limits.apdu)
        self._arrived: deque[bytes] = deque()
        self._busy = False
        self.is_closing = False
        self.handler: Handler | None = None
        self.deliver: Callable[[bytes], None] = self._arrived.append
        self.hang_up: Callable[[], None] = _nothing

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One whole APDU to the other end."""
        if self.is_closing:
            return
        frame = wrapper.encode(source, destination, payload)
        if self._wire_log is not None:
            self._wire_log.record(self.name, self._direction, frame)
        if self._tamper is not None:
            frame = self._tamper(self._direction, frame)
        self.deliver(frame)

    async def drain(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Close both ends."""
        self.abort()

    def abort(self, cause: Exception | None = None) -> None:
        """Close both ends."""
        if not self.is_closing:
            self.end(cause)
            self.hang_up()

    def established(self) -> None:
        """No caps apply here."""

    def end(self, cause: Exception | None) -> None:
        """This end is closed."""
        if not self.is_closing:
            self.is_closing = True
            if self.handler is not None:
                self.handler.closed(cause)

    def lose(self) -> None:
        """The other end was closed."""
        self.end(ConnectionLost("the peer closed the connection"))

    def arrive(self, octets: bytes) -> None:
        """Octets from the other end; what comes while some are being handled waits for its turn."""
        self._arrived.append(octets)
        if self._busy or self.handler is None:
            return
        self._busy = True
        try:
            while self._arrived and not self.is_closing:
                self._reader.feed(self._arrived.popleft())
                self._hand_over(self.handler)
        except MetersealError as cause:
            self.abort(cause)
        finally:
            self._busy = False

    def _hand_over(self, handler: Handler) -> None:
        while not self.is_closing and (frame := self._reader.next_frame()) is not None:
            if self._wire_log is not None:
                self._wire_log.record(self.name, _OTHER_WAY[self._direction], wrapper.encode(*frame))
            handler.received(*frame)


class _BlockingLine(blocking.Line):
    """The caller's end without a loop."""

    def __init__(self, limits: Limits, wire_log: WireLog | None, tamper: Tamper | None) -> None:
        super().__init__(_End.name, limits, wire_log)
        self._tamper = tamper
        self._arrived: deque[bytes] = deque()
        self._lost = False
        self.deliver: Callable[[bytes], None] = self._arrived.append
        self.hang_up: Callable[[], None] = _nothing

    def arrive(self, octets: bytes) -> None:
        """Octets from the party."""
        self._arrived.append(octets)

    def lose(self) -> None:
        """The party closed its end; what it sent before can still be read."""
        self._lost = True

    def _write(self, octets: bytes) -> None:
        if self._lost:
            raise self._finish(ConnectionLost("the peer closed the connection"))
        self.deliver(octets if self._tamper is None else self._tamper("out", octets))

    def _read(self, wait: float | None) -> None:
        if self._arrived:
            self._reader.feed(self._arrived.popleft())
        elif self._lost:
            raise self._finish(ConnectionLost("the peer closed the connection"))
        else:
            raise TimedOut("no answer came, and in memory none will come later")

    def _release(self) -> None:
        self.hang_up()


def _nothing() -> None:
    """Before the two ends know each other."""


def _join(caller: _End | _BlockingLine, factory: Factory, limits: Limits, tamper: Tamper | None) -> None:
    """Put the party that `factory` makes at the other end."""
    party = _End("in", limits, None, tamper)
    party.handler = factory(party)
    caller.deliver, caller.hang_up = party.arrive, party.lose
    party.deliver, party.hang_up = caller.arrive, caller.lose


def loopback(
    factory: Factory,
    *,
    limits: Limits | None = None,
    wire_log: WireLog | None = None,
    tamper: Tamper | None = None,
) -> client.Line:
    """A line to the party that `factory` makes, for use with asyncio (a loop has to run)."""
    bounds = limits or Limits()
    caller = _End("out", bounds, wire_log, tamper)
    _join(caller, factory, bounds, tamper)
    caller.handler = line = client.Line(caller)
    return line


def blocking_loopback(
    factory: Factory,
    *,
    limits: Limits | None = None,
    wire_log: WireLog | None = None,
    tamper: Tamper | None = None,
) -> blocking.Line:
    """A line to the party that `factory` makes, without a loop; `receive` never waits."""
    bounds = limits or Limits()
    line = _BlockingLine(bounds, wire_log, tamper)
    _join(line, factory, bounds, tamper)
    return line
