"""Lines that are only listened to: octets as they come from a serial port, or from a bridge over TCP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, cast

from meterseal.errors import ConfigurationError, ConnectionLost, Unsupported

from .url import Url

try:
    from termios import error as _Refused
except ImportError:  # no terminals of that kind on this system
    _Refused = OSError  # type: ignore[assignment,misc]

QUIET: Final = 0.5
"""Seconds without an octet that count as a pause between frames."""

_DIGITS: Final = re.compile(r"[0-9]{1,7}")
_FORM: Final = re.compile(r"([78])([NEO])([12])")


class Ear(Protocol):
    """What hears a line. Called from the loop."""

    def heard(self, octets: bytes) -> None:
        """Octets have come."""

    def paused(self) -> None:
        """Nothing has come for `QUIET` seconds, after something had."""

    def lost(self, cause: ConnectionLost) -> None:
        """The line has ended."""


class _Hearing(asyncio.Protocol):
    """The octets of one line, for its ear."""

    def __init__(self, ear: Ear, name: str) -> None:
        self._ear, self._name = ear, name
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is open."""
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Octets have come."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(QUIET, self._ear.paused)
        self._ear.heard(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The line has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._ear.paused()
        self._ear.lost(ConnectionLost(f"{self._name}: {exc or 'the other end closed'}"))


async def listen_to(where: Url, ear: Ear, *, baud: int = 9600, form: str = "8N1") -> asyncio.BaseTransport:
    """Open a line and hear it; close what is returned to end.

    `baud` and `form` (data bits, parity N, E or O, stop bits) are for serial lines whose URL does not say.
    ConnectionLost when it cannot be opened, ConfigurationError for other values, Unsupported for other lines.
    """
    opener = _OPENERS.get(where.scheme)
    if opener is None:
        raise Unsupported(f"{where.scheme}:// is no line to listen to")
    try:
        return await opener(where, lambda: _Hearing(ear, str(where)), baud, form)
    except OSError as error:
        raise ConnectionLost(f"{where}: {error.strerror or error}") from error


Make = Callable[[], asyncio.Protocol]


async def _bridge(where: Url, make: Make, baud: int, form: str) -> asyncio.BaseTransport:
    transport, _ = await asyncio.get_running_loop().create_connection(make, where.host, where.port)
    return cast("asyncio.BaseTransport", transport)


async def _serial(where: Url, make: Make, baud: int, form: str) -> asyncio.BaseTransport:
    try:
        import serial_asyncio_fast
    except ImportError:
        raise Unsupported(
            "serial lines need pyserial-asyncio-fast: pip install 'meterseal[serial]'"
        ) from None
    speed, bits = serial_settings(where, baud, form)
    with setting_up(where):
        transport, _ = await serial_asyncio_fast.create_serial_connection(
            asyncio.get_running_loop(), make, where.path, baudrate=speed, **bits
        )
    return cast("asyncio.BaseTransport", transport)


@contextmanager
def setting_up(where: Url) -> Iterator[None]:
    """ConfigurationError for a port that cannot be set to its speed or form; OSError for one not there."""
    try:
        yield
    except OSError:
        raise
    except (_Refused, ValueError) as error:
        raise ConfigurationError(f"{where}: the port cannot be set to this speed and form: {error}") from None


def serial_settings(where: Url, baud: int, form: str) -> tuple[int, dict[str, object]]:
    """Speed and the keywords of pyserial, by the options of a URL, else by `baud` and `form`.

    ConfigurationError for other values, and when nothing says the speed.
    """
    speed = where.options.get("baud", str(baud))
    if not _DIGITS.fullmatch(speed) or not 0 < int(speed) <= 4_000_000:
        raise ConfigurationError(f"{where}: say the speed of the line, as in ?baud=9600")
    match = _FORM.fullmatch(where.options.get("form", form))
    if match is None:
        raise ConfigurationError(f"{where}: form is data bits, parity and stop bits, as in 8N1 or 8E1")
    bits, parity, stop = match.groups()
    return int(speed), {"bytesize": int(bits), "parity": parity, "stopbits": int(stop)}


_OPENERS: Final[dict[str, Callable[[Url, Make, int, str], Awaitable[asyncio.BaseTransport]]]] = {
    "han+tcp": _bridge,
    "serial": _serial,
}
