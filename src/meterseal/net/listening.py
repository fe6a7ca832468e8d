"""Listening by URL: which scheme is listened on by what, as a table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from meterseal.errors import ConfigurationError, Unsupported

from .admission import Admission
from .datagram import serve_datagrams
from .handler import Factory, Limits, Listening
from .hdlc import Answering, serve_hdlc
from .serial_line import serve_serial
from .server import serve
from .url import Url
from .wirelog import WireLog


async def listen(
    where: Url,
    factory: Factory,
    *,
    limits: Limits | None = None,
    admission: Admission | None = None,
    wire_log: WireLog | None = None,
    hdlc: Answering | None = None,
) -> Listening:
    """Listen where a URL says; `factory(link)` makes the handler of each newcomer.

    `hdlc` says what a listening end on HDLC is called; `admission` is for lines that many may use.
    ConfigurationError when it cannot be listened on, Unsupported for other schemes.
    """
    opener = _LISTENERS.get(where.scheme)
    if opener is None:
        raise Unsupported(f"nobody can listen on {where.scheme}://")
    return await opener(where, factory, hdlc, limits=limits, admission=admission, wire_log=wire_log)


async def _tcp(where: Url, factory: Factory, hdlc: Answering | None, **common: Any) -> Listening:
    return await serve(where.host, where.port, factory, **common)


async def _udp(where: Url, factory: Factory, hdlc: Answering | None, **common: Any) -> Listening:
    return await serve_datagrams(where.host, where.port, factory, **common)


async def _hdlc(where: Url, factory: Factory, hdlc: Answering | None, **common: Any) -> Listening:
    return await serve_hdlc(where.host, where.port, factory, _named(where, hdlc), **common)


async def _serial(
    where: Url,
    factory: Factory,
    hdlc: Answering | None,
    admission: Admission | None = None,
    **common: Any,
) -> Listening:
    return await serve_serial(where, factory, _named(where, hdlc), **common)


def _named(where: Url, hdlc: Answering | None) -> Answering:
    if hdlc is None:
        raise ConfigurationError(f"to listen on {where.scheme}:// takes an HDLC address")
    return hdlc.at(where)


_LISTENERS: Final[dict[str, Callable[..., Awaitable[Listening]]]] = {
    "tcp": _tcp,
    "udp": _udp,
    "hdlc+tcp": _hdlc,
    "serial": _serial,
}
