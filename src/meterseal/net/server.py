"""The listening end: accepts connections for a party, also when descriptors run out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

from meterseal.errors import ConfigurationError

from .admission import Admission
from .connection import Connection, Keeper, Stream
from .ends import address_text
from .handler import Factory, Limits, Link
from .wirelog import WireLog

BACKLOG = 1024
_AT_ONCE = 64  # accepted before the loop gets its turn
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE = 0.05  # seconds, after a failure to accept

_log = logging.getLogger(__name__)


Make: TypeAlias = Callable[[Factory, Limits, WireLog | None, Keeper], Stream]
"""Makes the connection of a framing."""


class Server:
    """Listening sockets and their connections; made by `serve`, closed by `close` or `async with`."""

    def __init__(
        self,
        listeners: list[socket.socket],
        factory: Factory,
        limits: Limits,
        admission: Admission,
        wire_log: WireLog | None,
        scheme: str = "tcp",
        make: Make = Connection,
    ) -> None:
        self.admission = admission
        self._scheme, self._make = scheme, make
        self._listeners = listeners
        self._factory = factory
        self._limits = limits
        self._wire_log = wire_log
        self._links: dict[Link, None] = {}
        self._turns: dict[Stream, None] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._no_links = asyncio.Event()
        self._no_links.set()
        admission.listeners += len(listeners)
        self._closing = False
        self._accepting = [asyncio.create_task(self._accept(listener)) for listener in listeners]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listeners[0].getsockname()[1])

    @property
    def url(self) -> str:
        """`tcp://host:port`, or the like of its scheme, to connect to."""
        return f"{self._scheme}://{address_text(self._listeners[0].getsockname())}"

    @property
    def links(self) -> list[Link]:
        """The connections that are open."""
        return list(self._links)

    async def close(self) -> None:
        """Stop listening, close all connections at once, and wait until they are gone."""
        # What has just been accepted gets its connection before the rest is called off.
        self._closing = True
        for listener in self._listeners:
            with contextlib.suppress(NotImplementedError):  # a loop without selectors
                asyncio.get_running_loop().remove_reader(listener)
        await asyncio.sleep(0)
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, *self._connecting, return_exceptions=True)
        self.admission.listeners -= len(self._accepting)
        self._accepting.clear()
        for listener in self._listeners:
            listener.close()
        for link in self.links:
            link.abort()
        await self._no_links.wait()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        taken = 0
        while not self._closing:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                await self._not_accepted(error)
                continue
            task = loop.create_task(self._connect(accepted))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
            taken += 1
            if taken % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _not_accepted(self, error: OSError) -> None:
        """No descriptor left: make room at a stranger's cost. Else: only this connection is lost."""
        if error.errno in _EXHAUSTED:
            if self.admission.shed():
                await asyncio.sleep(0)  # its descriptor is free when the loop comes back
                return
        elif error.errno != errno.ECONNABORTED:
            _log.warning("a connection was not accepted: %s", error.strerror)
        await asyncio.sleep(_PAUSE)

    async def _connect(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(self._new_connection, accepted)
        except OSError as error:
            _log.warning("a connection was lost while it was accepted: %s", error.strerror)
            accepted.close()

    def _new_connection(self) -> Stream:
        return self._make(self._factory, self._limits, self._wire_log, self)

    # --- called by the connections -------------------------------------------------------------

    def enter(self, connection: Stream) -> bool:
        """May this connection stay?"""
        if not self.admission.enter(connection):
            return False
        self._links[connection] = None
        self._no_links.clear()
        return True

    def established(self, connection: Stream) -> None:
        """Its peer has signed on."""
        self.admission.established(connection)

    def later(self, connection: Stream) -> None:
        """It waits behind the others that sent more than one frame; one of all these is served a turn.

        Who sends one frame at a time does not wait, however many of the others there are.
        """
        if not self._turns:
            asyncio.get_running_loop().call_soon(self._turn)
        self._turns[connection] = None

    def _turn(self) -> None:
        connection = next(iter(self._turns))
        del self._turns[connection]
        if self._turns:
            asyncio.get_running_loop().call_soon(self._turn)
        connection.go_on()  # has no effect when it has ended meanwhile

    def leave(self, connection: Stream) -> None:
        """It has ended."""
        self.admission.leave(connection)
        del self._links[connection]
        if not self._links:
            self._no_links.set()


async def serve(
    host: str,
    port: int,
    factory: Factory,
    *,
    limits: Limits | None = None,
    admission: Admission | None = None,
    wire_log: WireLog | None = None,
    scheme: str = "tcp",
    make: Make = Connection,
) -> Server:
    """Listen on `host` (a name may stand for several addresses) and `port` (0: any free one).

    `factory(link)` is called for each new connection and returns its handler; `make` is the framing, named
    `scheme` in URLs. ConfigurationError when the
    address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
    listeners: list[socket.socket] = []
    problem: OSError | OverflowError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        where = (address[0], listeners[0].getsockname()[1] if listeners else port, *address[2:])
        try:
            listeners.append(_listen(family, where))
        except (OSError, OverflowError) as error:  # for example IPv6 that is compiled in and switched off
            problem = error
    if not listeners:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {problem}") from problem
    return Server(listeners, factory, limits or Limits(), admission or Admission(), wire_log, scheme, make)


def _listen(family: int, address: tuple[str | int, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two listeners share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener
