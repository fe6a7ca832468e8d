"""HDLC over a serial port, both ends, with asyncio; the port and its parameters for the blocking twin too.

One line, for one meter or several on a bus: nobody is accepted and nobody is counted. What has begun and does
not go on within `INTER_OCTET` is no frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType, TracebackType
from typing import Any, Final

from meterseal.errors import ConfigurationError, Unsupported

from .connection import Stream
from .handler import Factory, Handler, Limits, Link
from .hdlc import Answering, Asking, HdlcConnection
from .octets import serial_settings, setting_up
from .url import Url
from .wirelog import WireLog

BAUD, FORM = 9600, "8N1"
"""Where the URL says nothing."""

INTER_OCTET: Final = 0.5
"""Seconds between two octets of a frame."""

_AGAIN: Final = 1.0  # seconds until a port that is gone is tried again

_log = logging.getLogger(__name__)


def settings(where: Url) -> tuple[int, dict[str, object]]:
    """Speed and the keywords of pyserial.  ConfigurationError."""
    return serial_settings(where, BAUD, FORM)


def octet_time(where: Url) -> float:
    """Seconds that one octet takes: start bit, data, parity, stop."""
    baud, form = settings(where)
    bits = 2 + int(str(form["bytesize"])) + (form["parity"] != "N")
    return bits / baud


def parts(name: str) -> ModuleType:
    """A module of the `serial` extra.  Unsupported that says what to install."""
    try:
        if name == "serial":
            import serial

            return serial  # type: ignore[no-any-return]
        import serial_asyncio_fast

        return serial_asyncio_fast  # type: ignore[no-any-return]
    except ImportError as error:
        text = "serial lines need pyserial-asyncio-fast: pip install 'meterseal[serial]'"
        raise Unsupported(f"{text} ({error})") from error


class SerialConnection(HdlcConnection):
    """The `Link` of a serial port."""

    __slots__ = ("_path", "_renew")

    def __init__(
        self,
        path: str,
        station: Callable[[], Any],
        factory: Factory,
        limits: Limits,
        wire_log: WireLog | None = None,
        keeper: SerialServer | None = None,
    ) -> None:
        super().__init__(station(), factory, replace(limits, frame_time=INTER_OCTET), wire_log, keeper)
        self._path, self._renew = path, station

    def _name_ends(self, transport: asyncio.BaseTransport) -> None:
        self.name = self.peer = self.source = self._path

    def data_received(self, data: bytes) -> None:
        """Octets have come: what began goes on."""
        super().data_received(data)
        self._watch_frame(True)

    def _frame_late(self) -> None:
        """No frame, then: the next flag begins one."""
        self._frame_timer = None
        self._reader.reset()

    def abort(self, cause: Exception | None = None) -> None:
        """A caller closes the port; a meter stays on its line, and all that was on it starts anew."""
        if self._outgoing or self._ending or self._transport is None:
            super().abort(cause)
        else:
            self._loop.call_soon(self._start_anew, cause)

    def _start_anew(self, cause: Exception | None) -> None:
        if self._handler is None or self.is_closing:
            return
        self._handler.closed(cause)
        self._station = self._renew()
        self._handler = self._factory(self)


class SerialServer:
    """A meter's end of a serial line; made by `serve_serial`.  A port that is gone is opened again."""

    port = 0

    def __init__(self, where: Url, make: Callable[[SerialServer], SerialConnection]) -> None:
        self._where, self._make = where, make
        self._link: Stream | None = None
        self._closed = asyncio.Event()
        self._closing = False
        self._again: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """`serial:///dev/...?baud=...`."""
        options = "&".join(f"{name}={text}" for name, text in self._where.options.items())
        return f"{self._where}?{options or f'baud={BAUD}'}"

    @property
    def links(self) -> list[Link]:
        """The port, while it is there."""
        return [] if self._link is None else [self._link]

    async def open(self) -> None:
        """Open the port.  ConfigurationError."""
        try:
            await open_port(self._where, lambda: self._make(self))
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {self._where}: {error}") from error

    async def close(self) -> None:
        """Close the port, and wait until it is."""
        self._closing = True
        if self._again is not None:
            self._again.cancel()
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        link = self._link
        if link is not None:
            link.close()
            await self._closed.wait()

    async def __aenter__(self) -> SerialServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _reopen(self) -> None:
        try:
            await self.open()
        except ConfigurationError:
            self._later()

    def _later(self) -> None:
        if not self._closing:
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(_AGAIN, self._try_again, loop)

    def _try_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._opening = loop.create_task(self._reopen())

    # --- called by the connection ---------------------------------------------------------------

    def enter(self, connection: Stream) -> bool:
        """The port is open."""
        self._link = connection
        self._closed.clear()
        return True

    def established(self, connection: Stream) -> None:
        """Nobody is counted here."""

    def later(self, connection: Stream) -> None:
        """Nobody else waits for a turn."""
        asyncio.get_running_loop().call_soon(connection.go_on)

    def leave(self, connection: Stream) -> None:
        """The port is gone."""
        self._link = None
        self._closed.set()
        if not self._closing:
            _log.warning("%s is gone; trying again", self._where)
            self._later()


async def open_port(where: Url, protocol: Callable[[], asyncio.Protocol]) -> None:
    """Open a serial port for a protocol.  OSError, ConfigurationError, Unsupported without the extra."""
    loop = asyncio.get_running_loop()
    fast = parts("serial_asyncio_fast")
    baud, form = settings(where)
    with setting_up(where):
        await fast.create_serial_connection(loop, protocol, where.path, baudrate=baud, **form)
    await asyncio.sleep(0)  # `connection_made` comes on the loop's next turn


async def call(
    where: Url,
    make: Callable[[HdlcConnection], Handler],
    limits: Limits,
    wire_log: WireLog | None,
    asking: Asking,
) -> None:
    """Open the calling end; `make` gives its handler."""
    octet = octet_time(where)

    def protocol() -> SerialConnection:
        connection = SerialConnection(
            where.path, lambda: asking.station(limits, octet), lambda _: make(connection), limits, wire_log
        )
        return connection

    await open_port(where, protocol)


async def serve_serial(
    where: Url,
    factory: Factory,
    answering: Answering,
    *,
    limits: Limits | None = None,
    wire_log: WireLog | None = None,
) -> SerialServer:
    """Be the meter on a serial line; `factory(link)` makes its handler.  ConfigurationError."""
    bounds = limits or Limits()

    def make(server: SerialServer) -> SerialConnection:
        return SerialConnection(
            where.path, lambda: answering.station(bounds), factory, bounds, wire_log, server
        )

    server = SerialServer(where, make)
    await server.open()
    return server
