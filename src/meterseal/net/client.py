"""The calling end for asyncio: `connect` opens a line, on which frames are sent and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Final, TypeAlias

from meterseal.errors import ConnectionLost, MetersealError, Misuse, TimedOut
from meterseal.framing import gateway
from meterseal.framing.gateway import Prefix
from meterseal.framing.wrapper import Frame

from . import serial_line
from . import url as urls
from .connection import Connection
from .datagram import Calling
from .gateway import answer, late
from .handler import CallingLink, Handler, Limits
from .hdlc import Asking, calling
from .inbox import Inbox
from .timing import seconds
from .url import Url
from .wirelog import WireLog


class Channel:
    """One pair of SAPs on a line: what an association speaks through. Made by `Line.channel`."""

    __slots__ = ("_line", "client", "inbox", "server")

    def __init__(self, line: Line, client: int, server: int) -> None:
        self._line = line
        self.inbox: Inbox[bytes] = Inbox(line.prompt)
        """Where the line puts what has come."""
        self.client = client
        self.server = server

    async def send(self, payload: bytes) -> None:
        """One APDU from client to server; errors as `Line.send`."""
        if self.inbox.end is not None:
            raise self.inbox.end
        await self._line.send(self.client, self.server, payload)

    def exchange(self, payload: bytes, timeout: float | None, deadline: float) -> Awaitable[bytes]:
        """`send` now, and the next APDU until the deadline (`time.monotonic`), `timeout` seconds from now.

        Who is cancelled has given up the answer: it is not kept for anybody.
        """
        inbox = self.inbox
        if inbox.end is not None:
            raise inbox.end
        if self._line.link.ask(self.client, self.server, payload, timeout) and not inbox.items:
            return inbox.wait(deadline)
        return self._sent(timeout, deadline)

    async def _sent(self, timeout: float | None, deadline: float) -> bytes:
        """The rest of `exchange` where the system has not taken all, or something lies here."""
        if self._line.link.unsent:
            await self._line.drained()
        if not self.inbox.items:
            self._line.link.poll(self.client, self.server, timeout)
        return await self.inbox.until(deadline)

    def receive(self, timeout: float | None = None) -> Coroutine[None, None, bytes]:
        """The next APDU from server to client, to be awaited; errors as `Line.receive`."""
        if not self.inbox.items:
            self._line.link.poll(self.client, self.server, timeout)
        return self.inbox.get(timeout)

    def close(self) -> None:
        """Free the pair; what still comes for it goes to the line's own `receive`."""
        self._line.release(self)


class _Routed(Channel):
    """A channel to a device behind a gateway.

    `receive` raises what `answer` does for an answer of another device; of datagrams it is passed over.
    """

    __slots__ = ("_via",)

    def __init__(self, line: Line, client: int, server: int, via: Prefix) -> None:
        super().__init__(line, client, server)
        self._via = via

    async def send(self, payload: bytes) -> None:
        await super().send(gateway.encode(self._via, payload))

    def exchange(self, payload: bytes, timeout: float | None, deadline: float) -> Awaitable[bytes]:
        return self._exchange(payload, timeout)

    async def _exchange(self, payload: bytes, timeout: float | None) -> bytes:
        await self.send(payload)
        return await self.receive(timeout)

    async def receive(self, timeout: float | None = None) -> bytes:
        loop, passed_over = asyncio.get_running_loop(), None
        end = None if timeout is None else loop.time() + timeout
        while True:
            try:
                octets = await super().receive(timeout)
            except TimedOut as error:
                raise late(error, passed_over) from None
            try:
                return answer(self._via, octets)
            except MetersealError as error:
                if not self._line.datagrams:
                    raise
                passed_over = error
            timeout = None if end is None else max(0.0, end - loop.time())


class Line:
    """A connection as its caller sees it, over any `CallingLink`: it is the link's handler.

    With `via` its channels lead to a device behind a gateway; the line's own `send` and `receive` do not
    look at prefixes.
    """

    __slots__ = ("_channels", "_end", "_ended", "_inbox", "_latest", "datagrams", "link", "prompt", "via")

    def __init__(
        self,
        link: CallingLink,
        datagrams: bool = False,
        via: Prefix | None = None,
        *,
        prompt: bool = False,
    ) -> None:
        self.link = link
        self.via = via
        self.datagrams = datagrams
        """May frames be lost, repeated and reordered?"""
        self.prompt = prompt
        """May who waits for a frame go on while the link hands it over?"""
        self._inbox: Inbox[Frame] = Inbox(prompt)
        self._channels: dict[tuple[int, int], Channel] = {}
        self._latest: Channel | None = None  # that something came for: nearly always the only one
        self._ended = asyncio.Event()
        self._end: Exception | None = None

    @property
    def name(self) -> str:
        """`client->server`, as in the wire log."""
        return self.link.name

    @property
    def is_closing(self) -> bool:
        """Has the line ended?"""
        return self._end is not None

    async def send(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU; returns when the system has taken it. ConnectionLost, TimedOut, TooLarge."""
        if self._end is not None:
            raise self._end
        self.link.send(source, destination, payload)
        if self.link.unsent:
            await self.drained()

    async def drained(self) -> None:
        """Wait until the system has taken all that was sent; errors as `send`."""
        await self.link.drain()
        if self._end is not None:
            raise self._end

    def receive(self, timeout: float | None = None) -> Coroutine[None, None, Frame]:
        """Source, destination and APDU of the next frame that belongs to no open channel, to be awaited.

        Waits `timeout` seconds (None: for ever, 0: not at all), then TimedOut; the line stays open.
        ConnectionLost when the line has ended, or the error that ended it. Misuse when somebody else waits
        here already.
        """
        return self._inbox.get(timeout)

    def channel(self, client: int, server: int) -> Channel:
        """A channel for the pair of SAPs. Misuse when there is one."""
        if (server, client) in self._channels:
            raise Misuse(f"client {client} has a channel to server {server} on this line already")
        if self._end is not None:
            raise self._end
        via = self.via
        channel = Channel(self, client, server) if via is None else _Routed(self, client, server, via)
        self._channels[server, client] = channel
        return channel

    def release(self, channel: Channel) -> None:
        """Free the pair of a channel."""
        if self._channels.get((channel.server, channel.client)) is channel:
            del self._channels[channel.server, channel.client]
            self._latest = None
            self.link.free(channel.client, channel.server)

    async def close(self) -> None:
        """Close, and wait until the connection is gone."""
        self.link.close()
        await self._ended.wait()

    async def ended(self) -> None:
        """Wait until the connection is gone, whoever ends it."""
        await self._ended.wait()

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- for the link ---------------------------------------------------------------------------

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """A frame has come."""
        channel = self._latest
        if channel is None or channel.server != source or channel.client != destination:
            channel = self._latest = self._channels.get((source, destination))
        if channel is not None:
            channel.inbox.put(payload, len(payload))
        else:
            self._inbox.put((source, destination, payload), len(payload))

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """A pair's link has ended: its channel has nothing more to say."""
        channel = self._channels.get((source, destination))
        if channel is not None:
            channel.inbox.fail(cause or ConnectionLost("the peer ended the link"))

    def closed(self, cause: Exception | None) -> None:
        """The connection has ended."""
        end = self._end = cause or ConnectionLost("the line was closed at this end")
        self._inbox.fail(end)
        for channel in self._channels.values():
            channel.inbox.fail(end)
        self._ended.set()


async def connect(
    url: str,
    *,
    timeout: float | None = 10.0,
    limits: Limits | None = None,
    wire_log: WireLog | None = None,
    hdlc: Asking | None = None,
) -> Line:
    """Open a line of any scheme (`SCHEMES`); `timeout` is for the opening alone.

    A UDP or serial line is there at once: whether anybody listens, only an answer tells. `hdlc` says how
    the meter is addressed on lines with HDLC.

    ConfigurationError for a wrong URL, Unsupported for one of the other schemes, ConnectionLost when nobody
    answers there, TimedOut.
    """
    where = urls.to_open(url)
    via = where.gateway
    lines: list[Line] = []

    def line_over(link: CallingLink) -> Line:
        lines.append(Line(link, where.scheme == "udp", via, prompt=where.scheme == "tcp"))
        return lines[-1]

    await call(where, line_over, timeout=timeout, limits=limits, wire_log=wire_log, hdlc=hdlc)
    return lines[0]


Make: TypeAlias = Callable[[CallingLink], Handler]


async def call(
    where: Url,
    make: Make,
    *,
    timeout: float | None = 10.0,
    limits: Limits | None = None,
    wire_log: WireLog | None = None,
    hdlc: Asking | None = None,
) -> None:
    """Open a line whose frames go to a handler of the caller's own, which `make` gives for the link.

    Errors are those of `connect`.
    """
    wait = seconds("timeout", timeout)
    try:
        async with asyncio.timeout(wait):
            await _OPENERS[where.scheme](
                where, make, limits or Limits(), wire_log, (hdlc or Asking()).at(where)
            )
    except TimeoutError as error:
        raise TimedOut(f"{where}: no connection after {wait} s") from error
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConnectionLost(f"{where}: {error}") from error


async def _tcp(where: Url, make: Make, limits: Limits, wire_log: WireLog | None, asking: Asking) -> None:
    def protocol() -> Connection:
        connection = Connection(lambda _: make(connection), limits, wire_log, outgoing=True)
        return connection

    await asyncio.get_running_loop().create_connection(protocol, where.host, where.port)


async def _udp(where: Url, make: Make, limits: Limits, wire_log: WireLog | None, asking: Asking) -> None:
    loop = asyncio.get_running_loop()
    there = (where.host, where.port)
    await loop.create_datagram_endpoint(lambda: Calling(make, limits, wire_log), remote_addr=there)


async def _hdlc(where: Url, make: Make, limits: Limits, wire_log: WireLog | None, asking: Asking) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: calling(asking, make, limits, wire_log), where.host, where.port)


_OPENERS: Final[dict[str, Callable[[Url, Make, Limits, WireLog | None, Asking], Awaitable[None]]]] = {
    "tcp": _tcp,
    "udp": _udp,
    "hdlc+tcp": _hdlc,
    "serial": serial_line.call,
}
