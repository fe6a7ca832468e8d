"""Lines: TCP, UDP and HDLC that carry whole APDUs, both ends; the only package that imports sockets.

`listen` listens for a party where a URL says (`serve` on TCP, `serve_datagrams` on UDP), `connect` opens a
line with asyncio, `blocking.connect` is its twin without a loop and without a thread, `loopback` and
`blocking_loopback` stay in memory. A `WireLog` given to any of them writes each frame down.  Names load on
first use: who reads a URL needs no sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterseal.doors import doors

if TYPE_CHECKING:
    from . import blocking
    from .admission import PER_SOURCE, Admission, allow_files
    from .client import Channel, Line, call, connect
    from .datagram import DatagramServer, serve_datagrams
    from .handler import CallingLink, Factory, Handler, Limits, Link, Listening
    from .hdlc import Answering, Asking
    from .listening import listen
    from .memory import Tamper, blocking_loopback, loopback
    from .server import Server, serve
    from .url import SCHEMES, Scheme, Url, parse
    from .wirelog import WireLog
else:
    __getattr__ = doors(
        __name__,
        {
            "PER_SOURCE": ".admission",
            "SCHEMES": ".url",
            "Admission": ".admission",
            "Answering": ".hdlc",
            "Asking": ".hdlc",
            "CallingLink": ".handler",
            "Channel": ".client",
            "DatagramServer": ".datagram",
            "Factory": ".handler",
            "Handler": ".handler",
            "Limits": ".handler",
            "Line": ".client",
            "Link": ".handler",
            "Listening": ".handler",
            "Scheme": ".url",
            "Server": ".server",
            "Tamper": ".memory",
            "Url": ".url",
            "WireLog": ".wirelog",
            "allow_files": ".admission",
            "blocking": "",
            "blocking_loopback": ".memory",
            "call": ".client",
            "connect": ".client",
            "listen": ".listening",
            "loopback": ".memory",
            "parse": ".url",
            "serve": ".server",
            "serve_datagrams": ".datagram",
        },
    )

__all__ = [
    "PER_SOURCE",
    "SCHEMES",
    "Admission",
    "Answering",
    "Asking",
    "CallingLink",
    "Channel",
    "DatagramServer",
    "Factory",
    "Handler",
    "Limits",
    "Line",
    "Link",
    "Listening",
    "Scheme",
    "Server",
    "Tamper",
    "Url",
    "WireLog",
    "allow_files",
    "blocking",
    "blocking_loopback",
    "call",
    "connect",
    "listen",
    "loopback",
    "parse",
    "serve",
    "serve_datagrams",
]
