"""Pushes on their way through: in from meters on TCP, UDP and HDLC lines, out to the head-end under a prefix.

Which meter a push is of, is told by the title that stands in front of it, and has to be that of a route: who
the meter is, and whether anything of it is true, the head-end finds out.  What waits for a head-end that is
not there has its bounds, of each route and altogether; nothing of it is kept on a disk.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from meterseal import net
from meterseal.concentrator import titles
from meterseal.concentrator.config import Route
from meterseal.concentrator.record import Record
from meterseal.crypto import random_octets
from meterseal.errors import DecodeError, MetersealError, Misuse
from meterseal.framing import gateway, gbt
from meterseal.net import Line, Link, WireLog

WAITING: Final = 1024
"""Pushes that may wait for the head-end."""

OF_ROUTE: Final = 16
"""Those of one meter among them."""

OCTETS: Final = 4 << 20
"""Octets of all that wait."""

PAIRS: Final = 8
"""Pairs of addresses that may send blocks over one connection."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds before the head-end is called again: doubling, half of it to one and a half, drawn."""

_LARGEST: Final = 0xFFFF
_TIME_TO_OPEN: Final = 10.0


class _Push(NamedTuple):
    route: Route
    server: int
    client: int
    octets: bytes  # with the prefix


class Outlet:
    """The way to the head-end.  `where` gives its URL, empty while nobody has said where.

    Used with `start` and `close`.
    """

    def __init__(self, where: Callable[[], str], record: Record, wire_log: WireLog | None = None) -> None:
        self._where, self._record, self._wire_log = where, record, wire_log
        self._waiting: deque[_Push] = deque()
        self._of_route: Counter[Route] = Counter()
        self._octets = 0
        self._some = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Pushes that the head-end has not got yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin."""
        self._work = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End; what waits is lost, and told."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        if self._waiting:
            self._record.note(f"{len(self._waiting)} pushes have not reached the head-end")

    def put(self, route: Route, server: int, client: int, apdu: bytes) -> None:
        """A push of a route's meter is to go on.  Raises Misuse where too much waits already."""
        octets = gateway.encode(gateway.Prefix(False, route.network, route.address), apdu)
        if len(octets) > _LARGEST:
            raise Misuse("with a prefix in front it is too long for the line to the head-end")
        full = len(self._waiting) >= WAITING or self._octets + len(octets) > OCTETS
        if full or self._of_route[route] >= OF_ROUTE:
            raise Misuse("too many pushes wait for the head-end")
        self._waiting.append(_Push(route, server, client, octets))
        self._of_route[route] += 1
        self._octets += len(octets)
        self._some.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._some.wait()
            try:
                if not (url := self._where()):
                    raise Misuse("nobody has said where the head-end listens for pushes")
                opened = net.connect(url, timeout=_TIME_TO_OPEN, wire_log=self._wire_log)
                async with await opened as line:
                    failures = 0
                    await self._send_all(line)
            except MetersealError as error:
                failures += 1
                self._record.note(f"pushes wait, {len(self._waiting)}: {error.kind}: {error}")
                await asyncio.sleep(_pause(failures))

    async def _send_all(self, line: Line) -> None:
        """What waits, and what comes; what the line has not taken is sent again over the next one."""
        while True:
            while self._waiting:
                push = self._waiting[0]
                await line.send(push.server, push.client, push.octets)
                self._waiting.popleft()
                self._of_route[push.route] -= 1
                self._octets -= len(push.octets)
                self._record.accounts[push.route.key].pushes += 1
            self._some.clear()
            some = asyncio.ensure_future(self._some.wait())
            gone = asyncio.ensure_future(line.ended())
            try:
                await asyncio.wait({some, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                some.cancel()
                gone.cancel()
            if line.is_closing:
                return


def _pause(failures: int) -> float:
    drawn = 0.5 + int.from_bytes(random_octets(2), "big") / 0x10000
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16)) * drawn


class Inlet:
    """The handler of one connection of a meter, or of one address."""

    def __init__(self, outlet: Outlet, record: Record, link: Link) -> None:
        self._outlet, self._record, self._link = outlet, record, link
        self._blocks: dict[tuple[int, int], gbt.Reassembly] = {}

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU of logical device `source`, or a block of one."""
        try:
            apdu = self._whole((source, destination), payload)
            if apdu is not None:
                take(self._outlet, self._record, None, source, destination, apdu)
        except MetersealError as error:
            self._record.stray(f"push from {self._link.peer}", error)

    def _whole(self, pair: tuple[int, int], payload: bytes) -> bytes | None:
        if payload[:1] != bytes((gbt.TAG,)):
            return payload
        if pair not in self._blocks and len(self._blocks) >= PAIRS:
            raise Misuse(f"blocks of more than {PAIRS} pairs")
        return self._blocks.setdefault(pair, gbt.Reassembly()).add(gbt.decode(payload))

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """Pairs have no link of their own here."""

    def closed(self, cause: Exception | None) -> None:
        """The connection is gone; what it sent goes on."""


def take(outlet: Outlet, record: Record, route: Route | None, server: int, client: int, apdu: bytes) -> None:
    """A push has come, on the line of a route or from anywhere: it goes on if its title is that of a route.

    Raises Misuse, DecodeError for what does not.
    """
    if apdu[:1] and apdu[0] in (gateway.REQUEST, gateway.RESPONSE):
        raise DecodeError("a push with a gateway prefix: nothing goes through two of them")
    title = titles.originator(apdu)
    if title is None:
        raise Misuse("a push does not say whose it is: no system title in front")
    found = record.route_of(title)
    if found is None or server not in found.servers:
        raise Misuse(f"a push of {title.hex().upper()}, which is no meter of a route here")
    if route is not None and not record.is_of(route, title, pins=False):
        raise Misuse(f"a push of {title.hex().upper()} on the line of {route}")
    outlet.put(found, server, client, apdu)
