"""A station: one end of a line with its HDLC links, without the line and without a clock (acse-xdlms 9).

What primary and secondary have in common. Frames go in with `receive`, come out in `frames`, and what they
mean for the user in `events`; `deadline` says when `tick` has to be called. All times are seconds of the
caller's clock, from any zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from meterseal.errors import DecodeError, Misuse

from .address import Address
from .control import Control, Kind
from .frame import COMMAND, Frame
from .link import Event, Link, Received, pieces, strip
from .parameters import ROOMY, Parameters
from .segments import Segments
from .states import Role

Pair: TypeAlias = tuple[int, int]
"""Client SAP and server SAP (logical device)."""

FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds.

    `response`: how long a primary waits for the peer to begin an answer (TO_WAIT_RESP), and how many more
    times it asks (`retries`). `pause`: until a primary asks again who had nothing to say; it doubles up to
    `longest_pause`. `hold`: how long a secondary keeps the turn for the user's answer before it says that
    there is none yet; less than the peer's `response`. `inactivity`: after so long without a frame a
    secondary gives up a link (None: never). `keep`: after so long a primary asks on a link that it has no
    use for at the moment, so that it stays (None: never). `octet`: what one octet takes on the line. `busy`:
    how long a primary has something to send to who says that it is not ready, until it gives up the link.
    """

    response: float = 2.0
    retries: int = 3
    pause: float = 0.05
    longest_pause: float = 1.0
    hold: float = 0.3
    inactivity: float | None = 120.0
    keep: float | None = None
    octet: float = 0.0
    busy: float = 30.0

    def __post_init__(self) -> None:
        bounds = (self.inactivity or 0, self.keep or 0)
        times = (self.response, self.pause, self.longest_pause, self.hold, self.octet, self.busy, *bounds)
        if not all(value >= 0 for value in (*times, self.retries)):
            raise Misuse("times of an HDLC line are 0 or more seconds, and so are retries")


class Station(ABC):
    """`wanted` are the sizes and windows this end can do; `limit` is the largest APDU taken, in octets."""

    role: Role

    def __init__(
        self, wanted: Parameters | None = None, timing: Timing | None = None, limit: int = 0xFFFF
    ) -> None:
        self.wanted, self.timing, self.limit = wanted or ROOMY, timing or Timing(), limit
        self.frames: deque[Frame] = deque()
        """What is to be written, in this order; the owner takes it."""
        self.events: deque[Event] = deque()
        """What the user has to know, in this order; the owner takes it."""
        self._links: dict[Pair, Link] = {}
        self._turn: Link | None = None  # whose answer is awaited (primary), or owed (secondary)
        self._due = FOREVER  # when that has taken too long
        self._notices = Segments(limit + len(COMMAND))

    @property
    @abstractmethod
    def deadline(self) -> float | None:
        """When `tick` is to be called if nothing happens before; None: never."""

    @abstractmethod
    def receive(self, frame: Frame, now: float) -> None:
        """A frame has come."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Time has passed."""

    def link(self, client: int, server: int) -> Link | None:
        """The link of a pair, if there is one in any state but disconnected."""
        return self._links.get((client, server))

    @property
    def links(self) -> list[Link]:
        """All links."""
        return list(self._links.values())

    def _new(self, own: Address, peer: Address) -> Link:
        return Link(self.role, own, peer, self.wanted, self.limit, self.events)

    def _notified(self, frame: Frame, client: int, server: int) -> bool:
        """A UI frame: what is damaged or has no LLC octets is dropped without a word.

        False for the end of something that is not for this role: another station's answer on a bus.
        """
        try:
            whole = self._notices.add(frame)
        except DecodeError:
            return False
        apdu = strip(self.role, whole or b"")
        if apdu:
            self.events.append(Received(client, server, apdu, numbered=False))
        return bool(apdu) or not whole

    def _notice(self, own: Address, peer: Address, apdu: bytes, size: int, final: bool) -> list[Frame]:
        """UI frames of an APDU; the last one gives the turn if `final`."""
        parts = pieces(self.role, apdu, size)
        last = len(parts) - 1
        return [
            Frame(peer, own, Control(Kind.UI, final and number == last).encode(), piece, more)
            for number, (piece, more) in enumerate(parts)
        ]
