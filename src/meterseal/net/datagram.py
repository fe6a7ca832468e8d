"""Wrapper frames in UDP datagrams, one each: a link per peer's address, and silence for what is no frame.

The listening end keeps a link for each address that it hears from: bounded in number (`Admission`), forgotten
after a quiet time, and until its peer has signed on it sends at most three times the octets that came from
there, because the address of a datagram proves nothing (F16).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, cast

from meterseal.errors import ConfigurationError, ConnectionLost, DecodeError, MetersealError, TooLarge
from meterseal.framing import wrapper
from meterseal.framing.wrapper import MAX_IN_DATAGRAM, Frame

from .admission import Admission
from .ends import address_text, source_of
from .handler import BareLink, Factory, Handler, Limits, Link
from .wirelog import WireLog

AMPLIFICATION: Final = 3
"""Octets that may go to an address that has not signed on, for each octet that came from there."""

PEERS: Final = 8192
"""Addresses remembered at a time."""

QUIET, QUIET_STRANGER = 3600.0, 180.0
"""Seconds without a datagram after which a peer that has signed on, or one that has not, is forgotten."""

_SWEEP: Final = 5.0

_log = logging.getLogger(__name__)


class _Keeper(Protocol):
    def established(self, peer: Peer) -> None:
        """It has signed on."""

    def leave(self, peer: Peer) -> None:
        """It is gone."""


class _Socket(asyncio.DatagramProtocol):
    """A datagram socket: its transport, and whether the system takes no more for the moment."""

    full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.loop = asyncio.get_running_loop()

    def pause_writing(self) -> None:
        """Much is unsent: what comes now is dropped."""
        self.full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self.full = False


class Peer(BareLink):
    """A `Link` to one address over a datagram socket; `address` None where the socket knows only one."""

    __slots__ = (
        "_allowance", "_handler", "_keeper", "_line", "_wire_log", "address", "heard", "is_closing",
        "key", "name", "peer", "source",
    )  # fmt: skip

    unsent = False

    def __init__(
        self,
        line: _Socket,
        address: Any,
        wire_log: WireLog | None,
        keeper: _Keeper | None = None,
    ) -> None:
        own = line.transport.get_extra_info("sockname")
        other = line.transport.get_extra_info("peername") if address is None else address
        ends = (own, other) if address is None else (other, own)
        self.name = "->".join(map(address_text, ends))
        self.peer, self.source = address_text(other), source_of(other)
        self.address, self.heard, self.is_closing = address, 0.0, False
        self.key = line, address
        self._line, self._wire_log, self._keeper = line, wire_log, keeper
        self._handler: Handler | None = None
        self._allowance: int | None = None if keeper is None else 0

    def open(self, factory: Callable[[Peer], Handler]) -> bool:
        """Make the handler; False when the party does not want this peer."""
        try:
            self._handler = factory(self)
        except MetersealError as cause:
            self.abort(cause)
        return not self.is_closing

    # --- for the handler ------------------------------------------------------------------------

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One whole APDU in one datagram; TooLarge when it does not fit.

        It is dropped, as a network may drop it, when the system does not take it, and when an address that
        has not signed on would get too much.
        """
        if len(payload) > MAX_IN_DATAGRAM:
            raise TooLarge(f"an APDU of {len(payload)} octets does not fit a datagram ({MAX_IN_DATAGRAM})")
        if self.is_closing:
            return
        frame = wrapper.encode(source, destination, payload)
        if self._allowance is not None:
            if len(frame) > self._allowance:
                return
            self._allowance -= len(frame)
        if self._line.full:
            return
        if self._wire_log is not None:
            self._wire_log.record(self.name, "out", frame)
        self._line.transport.sendto(frame, self.address)

    async def drain(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Forget the peer."""
        self.abort()

    def abort(self, cause: Exception | None = None) -> None:
        """Forget the peer; `cause` goes to the handler's `closed`."""
        if self.is_closing:
            return
        self.is_closing = True
        if self._keeper is not None:
            self._keeper.leave(self)
        else:
            self._line.transport.close()
        if self._handler is not None:
            self._handler.closed(cause)

    def established(self) -> None:
        """The peer has proved who it is: what is sent there is no longer measured."""
        if self._keeper is not None and self._allowance is not None:
            self._allowance = None
            self._keeper.established(self)

    @property
    def proved(self) -> bool:
        """True when the peer has signed on, and at a calling end."""
        return self._allowance is None

    # --- for the socket -------------------------------------------------------------------------

    def take(self, frame: Frame, octets: bytes, now: float) -> None:
        """A datagram has come from this peer."""
        if self.is_closing or self._handler is None:
            return
        self.heard = now
        if self._allowance is not None:
            self._allowance += AMPLIFICATION * len(octets)
        if self._wire_log is not None:
            self._wire_log.record(self.name, "in", octets)
        try:
            self._handler.received(*frame)
        except MetersealError as cause:
            self.abort(cause)


def frame_of(octets: bytes, limits: Limits) -> Frame | None:
    """The frame that a datagram is, whole; None for anything else: nobody is told (law 9)."""
    try:
        frame = wrapper.decode(octets)
    except DecodeError:
        return None
    return frame if len(frame[2]) <= limits.apdu else None


class _Listening(_Socket):
    """One listening socket."""

    def __init__(self, server: DatagramServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A datagram."""
        self._server.datagram(self, data, addr)

    def error_received(self, exc: Exception) -> None:
        """Something sent did not arrive: an address without a listener, a datagram too long."""
        _log.debug("datagram not delivered: %s", exc)


class DatagramServer:
    """Listening datagram sockets and the peers they hear from; made by `serve_datagrams`."""

    def __init__(
        self, factory: Factory, limits: Limits, admission: Admission, wire_log: WireLog | None
    ) -> None:
        self.admission = admission
        self.ignored = 0
        """Datagrams that were no frame."""
        self._factory, self._limits, self._wire_log = factory, limits, wire_log
        self._sockets: list[_Socket] = []
        self._peers: dict[tuple[_Socket, Any], Peer] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def add(self, line: _Socket) -> None:
        """One more socket that listens."""
        self._sockets.append(line)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._sockets[0].transport.get_extra_info("sockname")[1])

    @property
    def url(self) -> str:
        """`udp://host:port`, to send to."""
        return f"udp://{address_text(self._sockets[0].transport.get_extra_info('sockname'))}"

    @property
    def links(self) -> list[Link]:
        """The peers that are remembered."""
        return list(self._peers.values())

    async def close(self) -> None:
        """Stop listening and forget all peers."""
        self._sweeper.cancel()
        for link in self.links:
            link.abort()
        for line in self._sockets:
            line.transport.close()
        await asyncio.sleep(0)  # the transports close their sockets on the loop's next turn

    async def __aenter__(self) -> DatagramServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def datagram(self, line: _Socket, octets: bytes, address: Any) -> None:
        """A datagram has come (called by the socket)."""
        frame = frame_of(octets, self._limits)
        if frame is None:
            self.ignored += 1
            return
        peer = self._peers.get((line, address)) or self._newcomer(line, address)
        if peer is not None:
            peer.take(frame, octets, self._loop.time())

    def _newcomer(self, line: _Socket, address: Any) -> Peer | None:
        peer = Peer(line, address, self._wire_log, keeper=self)
        if not self.admission.enter(peer):
            return None
        self._peers[peer.key] = peer
        return peer if peer.open(self._factory) else None

    def _sweep(self) -> None:
        """Forget who has been quiet for long."""
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        now = self._loop.time()
        for peer in list(self._peers.values()):
            if now - peer.heard > (QUIET if peer.proved else QUIET_STRANGER):
                peer.abort(ConnectionLost(f"{peer.peer} has been quiet for long"))

    # --- called by the peers --------------------------------------------------------------------

    def established(self, peer: Peer) -> None:
        """It has signed on."""
        self.admission.established(peer)

    def leave(self, peer: Peer) -> None:
        """It is gone."""
        self.admission.leave(peer)
        del self._peers[peer.key]


async def serve_datagrams(
    host: str,
    port: int,
    factory: Factory,
    *,
    limits: Limits | None = None,
    admission: Admission | None = None,
    wire_log: WireLog | None = None,
) -> DatagramServer:
    """Listen for datagrams on `host` (a name may stand for several addresses) and `port` (0: any free one).

    `factory(link)` is called for each new address.  ConfigurationError when it cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
    server = DatagramServer(factory, limits or Limits(), admission or Admission(total=PEERS), wire_log)
    problem: OSError | OverflowError | None = None
    opened = 0
    for _, _, _, _, address in dict.fromkeys(found):
        where = (str(address[0]), server.port if opened else port)
        try:
            _, line = await loop.create_datagram_endpoint(lambda: _Listening(server), local_addr=where)
        except (OSError, OverflowError) as error:  # for example IPv6 that is compiled in and switched off
            problem = error
        else:
            server.add(line)
            opened += 1
    if not opened:
        await server.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {problem}") from problem
    return server


class Calling(_Socket):
    """A socket that speaks to one address only; what comes from others, the system drops."""

    def __init__(self, factory: Callable[[Peer], Handler], limits: Limits, wire_log: WireLog | None) -> None:
        self._factory, self._limits, self._wire_log = factory, limits, wire_log
        self._peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        super().connection_made(transport)
        self._peer = Peer(self, None, self._wire_log)
        self._peer.open(self._factory)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A datagram from the peer."""
        frame = frame_of(data, self._limits)
        if frame is not None and self._peer is not None:
            self._peer.take(frame, data, self.loop.time())

    def error_received(self, exc: Exception) -> None:
        """The system says that nobody listens there."""
        if self._peer is not None:
            self._peer.abort(ConnectionLost(f"{self._peer.peer}: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if self._peer is not None:
            self._peer.abort(ConnectionLost(f"{self._peer.peer}: {exc}") if exc else None)
