"""Lines: TCP connections that carry whole APDUs, both ends; the only package that imports sockets.

`serve` listens for a party, `connect` opens a line with asyncio, `blocking.connect` is its twin without a
loop and without a thread, `loopback` and `blocking_loopback` stay in memory. A `WireLog` given to any of
them writes each frame down.
"""

from __future__ import annotations

from . import blocking
from .admission import Admission
from .client import Channel, Line, connect
from .handler import CallingLink, Factory, Handler, Limits, Link
from .loopback import Tamper, blocking_loopback, loopback
from .server import Server, serve
from .url import SCHEMES, Scheme, Url, parse
from .wirelog import WireLog

__all__ = [
    "SCHEMES",
    "Admission",
    "CallingLink",
    "Channel",
    "Factory",
    "Handler",
    "Limits",
    "Line",
    "Link",
    "Scheme",
    "Server",
    "Tamper",
    "Url",
    "WireLog",
    "blocking",
    "blocking_loopback",
    "connect",
    "loopback",
    "parse",
    "serve",
]
