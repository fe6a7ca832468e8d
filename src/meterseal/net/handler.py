"""What a party gives to a line and gets from it: the two small interfaces all transports share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from meterseal.errors import Misuse
from meterseal.framing.wrapper import MAX_APDU

from .timing import seconds


class Handler(Protocol):
    """The party's end. The methods are called from the loop and must not block."""

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """One whole APDU. A MetersealError that comes out closes the connection with it as the cause."""

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """One pair's link is gone, the connection goes on (HDLC): all of its associations have ended.

        `source` is the peer's SAP, as in `received`. What comes for the pair later is a new link's.
        """

    def closed(self, cause: Exception | None) -> None:
        """The connection is gone, nothing more comes; None when this end closed it."""


class Link(Protocol):
    """The line's end: what a handler may do with its connection."""

    @property
    def name(self) -> str:
        """`client->server`, the same text at both ends."""

    @property
    def peer(self) -> str:
        """The other end's address."""

    @property
    def source(self) -> str:
        """What limits per source go by: the peer's host, of IPv6 the /64."""

    @property
    def unsent(self) -> bool:
        """Has the system not taken all that was sent?"""

    @property
    def is_closing(self) -> bool:
        """Is the connection gone, or going?"""

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One whole APDU; an answer swaps the wPorts. Nothing happens when the connection is gone."""

    def notify(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU that nobody asked for, and nothing answers: on HDLC it needs no link, elsewhere `send`."""

    def hold(self, source: int, destination: int, on: bool) -> None:
        """Nothing more from `source` to `destination` for the moment (or again): told where a line can."""

    async def drain(self) -> None:
        """Wait until nothing is unsent, or the connection is gone."""

    def close(self) -> None:
        """Send what is still to be sent, then close."""

    def abort(self, cause: Exception | None = None) -> None:
        """Close at once."""

    def established(self) -> None:
        """The peer has proved who it is: limits for strangers no longer apply."""


class CallingLink(Link, Protocol):
    """The line's end for who calls: it also says what it waits for, and what it is done with.

    On lines where both ends speak when they like `poll` and `free` do nothing. On HDLC a peer speaks when it
    is asked.
    """

    def ask(self, client: int, server: int, payload: bytes, timeout: float | None) -> bool:
        """`send` by the end of the loop's turn, with what others ask in it where that is quicker, and `poll`.

        False where the system does not take all for the moment: `drain` and `poll` are to come.
        """

    def poll(self, client: int, server: int, timeout: float | None) -> None:
        """An APDU from `server` to `client` is waited for, at most `timeout` seconds (None: for ever)."""

    def free(self, client: int, server: int) -> None:
        """The pair is no longer spoken for."""


class BareLink:
    """A link where its line has no words for more than sending: both ends speak when they like."""

    __slots__ = ()

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """As of a `Link`."""
        raise NotImplementedError

    def ask(self, client: int, server: int, payload: bytes, timeout: float | None) -> bool:
        """As of a `CallingLink`."""
        self.send(client, server, payload)
        return True

    def poll(self, client: int, server: int, timeout: float | None) -> None:
        """The peer speaks when it likes."""

    def notify(self, source: int, destination: int, payload: bytes) -> None:
        """Sent as anything else."""
        self.send(source, destination, payload)

    def free(self, client: int, server: int) -> None:
        """Pairs have no state of their own here."""

    def hold(self, source: int, destination: int, on: bool) -> None:
        """The wrapper has no word for it."""


class Listening(Protocol):
    """A listening end of any kind, as its party holds it."""

    @property
    def port(self) -> int:
        """The port it listens on."""

    @property
    def url(self) -> str:
        """Where it can be reached."""

    @property
    def links(self) -> list[Link]:
        """What is open."""

    async def close(self) -> None:
        """Stop listening, end what is open, and wait until it is gone."""


Factory: TypeAlias = Callable[[Link], Handler]
"""Called once for each new connection."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection. Times in seconds, None for no bound.

    `apdu`: octets of the largest APDU taken in. `frame_time`: from the first octet of a frame to its last
    (0: a frame has to arrive in one piece). `write_time`: until the peer has taken all that was sent;
    reading pauses meanwhile. `unsent`: octets that may wait for a peer that does not read.
    """

    apdu: int = MAX_APDU
    frame_time: float | None = 10.0
    write_time: float | None = 30.0
    unsent: int = 1 << 20

    def __post_init__(self) -> None:
        if not 1 <= self.apdu <= MAX_APDU:
            raise Misuse(f"the largest APDU is 1..{MAX_APDU} octets, not {self.apdu}")
        if self.unsent < 0:
            raise Misuse(f"unsent is 0 or more octets, not {self.unsent}")
        for name in ("frame_time", "write_time"):
            object.__setattr__(self, name, seconds(name, getattr(self, name)))
