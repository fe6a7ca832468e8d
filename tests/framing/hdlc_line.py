"""An HDLC line in memory: primary and secondaries, octets between them, a clock that jumps to what is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meterseal.framing import hdlc
from meterseal.framing.hdlc import (
    Down,
    Event,
    Frame,
    FrameReader,
    Primary,
    Received,
    Secondary,
    Station,
    Timing,
)

Tamper = Callable[[str, bytes], list[bytes]]
"""`to` or `from` the meter and a frame's octets, to what arrives."""


def as_it_is(direction: str, octets: bytes) -> list[bytes]:
    return [octets]


class Party:
    """A station with its reader, and what it told its user."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.reader = FrameReader()
        self.told: list[Event] = []

    @property
    def apdus(self) -> list[bytes]:
        return [event.apdu for event in self.told if isinstance(event, Received)]

    @property
    def downs(self) -> list[Exception]:
        return [event.cause for event in self.told if isinstance(event, Down)]

    def take(self, octets: bytes, now: float) -> None:
        for frame in self.reader.feed(octets):
            self.station.receive(frame, now)

    def frames(self) -> list[bytes]:
        out = [hdlc.encode(frame) for frame in self.station.frames]
        self.station.frames.clear()
        return out


class Line:
    """`answer(client, server, apdu)` is the meter's user: the APDUs it answers with."""

    def __init__(
        self,
        primary: Primary,
        secondary: Secondary,
        answer: Callable[[int, int, bytes], list[bytes]] = lambda client, server, apdu: [],
        tamper: Tamper = as_it_is,
    ) -> None:
        self.client, self.meter = Party(primary), Party(secondary)
        self.primary, self.secondary = primary, secondary
        self.answer, self.tamper = answer, tamper
        self.now = 100.0
        self.trace: list[tuple[str, Frame]] = []

    def send(self, apdu: bytes, client: int = 16, server: int = 1, wait: float = 60.0) -> None:
        self.primary.send(client, server, apdu, self.now)
        self.primary.poll(client, server, self.now + wait, self.now)

    def step(self) -> bool:
        """Carry the frames that are there; False when there are none. Half duplex is checked."""
        from_client = self.client.frames()
        for octets in from_client:
            self.trace.append(("to", hdlc.decode(octets)))
            for arrives in self.tamper("to", octets):
                self.meter.take(arrives, self.now)
                self.user()
        from_meter = self.meter.frames()
        for octets in from_meter:
            self.trace.append(("from", hdlc.decode(octets)))
            for arrives in self.tamper("from", octets):
                self.client.take(arrives, self.now)
        self.client.told += self.primary.events
        self.primary.events.clear()
        return bool(from_client or from_meter)

    def user(self) -> None:
        """The meter's user takes what came and answers."""
        while self.secondary.events:
            event = self.secondary.events.popleft()
            self.meter.told.append(event)
            if isinstance(event, Received):
                for apdu in self.answer(event.client, event.server, event.apdu):
                    self.secondary.send(event.client, event.server, apdu, self.now)

    def settle(self) -> None:
        """Carry frames until nobody has one to send."""
        while self.step():
            pass

    def run(self, seconds: float) -> None:
        """Let time pass, from one deadline to the next."""
        end = self.now + seconds
        self.settle()
        while True:
            due = [d for d in (self.primary.deadline, self.secondary.deadline) if d is not None]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
            self.primary.tick(self.now)
            self.secondary.tick(self.now)
            self.user()
            self.settle()
        self.now = end

    def kinds(self, direction: str) -> list[str]:
        """What went one way, in the names of the standard."""
        return [
            "?" if frame.meaning is None else frame.meaning.kind.value
            for way, frame in self.trace
            if way == direction
        ]


def echo(client: int, server: int, apdu: bytes) -> list[bytes]:
    return [apdu]


TIMING = Timing(response=2.0, retries=3, hold=0.3)


def meter(**options: Any) -> Secondary:
    """A meter with logical devices 1 and 17, physical address 17."""
    return Secondary(lambda server: server in (1, 17), **options)


def line(primary: Primary | None = None, secondary: Secondary | None = None, **options: Any) -> Line:
    """A line to a meter that answers with the request, unless told otherwise."""
    return Line(primary or Primary(17, timing=TIMING), secondary or meter(), **{"answer": echo, **options})
