"""The calling end without a loop and without a thread: the names of `net.client` over sockets and ports."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from meterseal.errors import ConnectionLost, TimedOut

from . import url as urls
from .blocking_hdlc import HdlcLine, SerialPort, SocketPort
from .blocking_lines import UNREAD, Channel, DatagramLine, Line, Pair, SocketLine
from .handler import Limits
from .hdlc import Asking
from .serial_line import octet_time
from .timing import seconds
from .url import Url
from .wirelog import WireLog

__all__ = ["UNREAD", "Channel", "Line", "Pair", "connect"]


def connect(
    url: str,
    *,
    timeout: float | None = 10.0,
    limits: Limits | None = None,
    wire_log: WireLog | None = None,
    hdlc: Asking | None = None,
) -> Line:
    """Open a line as `net.connect` does, with the same errors."""
    where = urls.to_open(url)
    wait = seconds("timeout", timeout)
    try:
        line = _OPENERS[where.scheme](where, wait, limits or Limits(), wire_log, (hdlc or Asking()).at(where))
    except (TimeoutError, BlockingIOError) as error:
        raise TimedOut(f"{where}: no connection after {wait} s") from error
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConnectionLost(f"{where}: {error}") from error
    line.via = where.gateway
    return line


def _connected(where: Url, wait: float | None) -> socket.socket:
    connected = socket.create_connection((where.host, where.port), wait)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        connected.close()
        raise
    return connected


def _tcp(where: Url, wait: float | None, limits: Limits, wire_log: WireLog | None, asking: Asking) -> Line:
    return SocketLine(_connected(where, wait), limits, wire_log)


def _hdlc(where: Url, wait: float | None, limits: Limits, wire_log: WireLog | None, asking: Asking) -> Line:
    port = SocketPort(_connected(where, wait), limits)
    return HdlcLine(port, asking.station(limits), limits, wire_log)


def _serial(where: Url, wait: float | None, limits: Limits, wire_log: WireLog | None, asking: Asking) -> Line:
    station = asking.station(limits, octet_time(where))
    return HdlcLine(SerialPort(where, limits), station, limits, wire_log)


def _udp(where: Url, wait: float | None, limits: Limits, wire_log: WireLog | None, asking: Asking) -> Line:
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    connected = socket.socket(family, kind, protocol)
    try:
        connected.connect(address)
        return DatagramLine(connected, limits, wire_log)
    except OSError:
        connected.close()
        raise


_OPENERS: Final[dict[str, Callable[[Url, float | None, Limits, WireLog | None, Asking], Line]]] = {
    "tcp": _tcp,
    "udp": _udp,
    "hdlc+tcp": _hdlc,
    "serial": _serial,
}
