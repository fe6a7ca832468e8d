"""The side of the meters: connections of their own on TCP, shared lines with HDLC, one request at a time.

A `Direct` is for one caller and one meter: associations of different callers never meet.  A `Shared` line has
one connection for all callers.  There a pair of addresses is lent to the caller that speaks through it; one
that has proved nothing loses it to a newcomer (law 8), one that has keeps it until it leaves, releases, or is
silent for `LEASE`.  Requests wait in a bounded queue, callers by turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

from meterseal import net
from meterseal.concentrator import titles
from meterseal.concentrator.config import Route, SharedLine
from meterseal.concentrator.record import Record
from meterseal.concentrator.rounds import Due, Round
from meterseal.errors import ConnectionLost, MetersealError, Misuse, TimedOut
from meterseal.framing.hdlc import Timing, on_device
from meterseal.framing.hdlc.secondary import NOTICES
from meterseal.net import Asking, CallingLink, Limits, WireLog, parse

LEASE: Final = 180.0
"""Seconds without a request after which a pair on a shared line may be another caller's."""

PENDING: Final = 16
"""Requests that wait while a connection to a meter is being made."""

ONE_QUESTION: Final = 0.05
"""Seconds in which a meter is asked for a push: once, as the next question has to wait for its answer."""

_RLRE: Final = 0x63
_TRIES: Final = 5
_KEEP: Final = 40.0


class Caller(Protocol):
    """Who asks: one connection of the front."""

    @property
    def source(self) -> str:
        """What limits per source go by."""

    def answer(self, route: Route, server: int, client: int, apdu: bytes) -> None:
        """An APDU of a meter, for this caller."""

    def failed(self, route: Route, server: int, client: int, cause: MetersealError) -> None:
        """A request that nobody answers."""

    def proved(self, lane: Direct | None) -> None:
        """A meter has answered under protection, over a connection of the caller's own if it has one."""


Pushed: TypeAlias = Callable[[Route, int, int, bytes], None]


class Surroundings(NamedTuple):
    """What lanes have in common."""

    record: Record
    timeout: float = 10.0
    queue: int = 64
    queue_of_caller: int = 8
    limits: Limits = Limits()
    wire_log: WireLog | None = None
    pushed: Pushed = lambda route, server, client, apdu: None
    """Gets what a meter on a shared line pushes."""


def passes(record: Record, route: Route, caller: Caller, server: int, client: int, apdu: bytes) -> bool:
    """Give an answer of a route's meter to its caller; False when it is a foreign meter's."""
    if not record.is_of(route, titles.originator(apdu), titles.accepted(apdu)):
        caller.failed(route, server, client, Misuse("the answer is that of another meter"))
        return False
    record.accounts[route.key].answers += 1
    caller.answer(route, server, client, apdu)
    return True


class Direct:
    """A connection to one meter for one caller: what comes goes on, either way, as it comes.

    `on_end` is told once it is gone.
    """

    def __init__(self, around: Surroundings, caller: Caller, route: Route) -> None:
        self.source = caller.source
        self._around, self._caller, self._route = around, caller, route
        self._link: CallingLink | None = None
        self._pending: deque[tuple[int, int, bytes]] = deque()
        self._asked: set[tuple[int, int]] = set()  # pairs that wait for an answer
        self._opening: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._open())
        self.gone = False
        self.on_end: Callable[[Direct], None] = lambda lane: None

    async def _open(self) -> None:
        around = self._around

        def made(link: CallingLink) -> Direct:
            self._link = link
            return self

        cause: MetersealError | None = None
        try:
            await net.call(
                parse(self._route.url), made,
                timeout=around.timeout, limits=around.limits, wire_log=around.wire_log,
            )  # fmt: skip
        except MetersealError as error:
            cause = error
        self._opening = None
        if cause is not None:
            self._end(cause)
        while self._pending and self._link is not None:
            self._send(*self._pending.popleft())

    def _send(self, client: int, server: int, apdu: bytes) -> None:
        if self._link is not None:
            self._asked.add((client, server))
            self._link.send(client, server, apdu)

    def ask(self, client: int, server: int, apdu: bytes) -> None:
        """Pass a request on.  Raises Misuse when too many wait, ConnectionLost when the meter is gone."""
        if self.gone:
            raise ConnectionLost("the connection to the meter is gone")
        if self._opening is None and self._link is not None:
            self._send(client, server, apdu)
        elif len(self._pending) < PENDING:
            self._pending.append((client, server, apdu))
        else:
            raise Misuse(f"more than {PENDING} requests wait for the connection to the meter")

    def abort(self, cause: Exception | None = None) -> None:
        """The caller has gone, or another one needs the room."""
        self._pending.clear()
        self._end(cause if isinstance(cause, MetersealError) else ConnectionLost("the caller has gone"))

    def _end(self, cause: MetersealError) -> None:
        if self.gone:
            return
        self.gone = True
        self.on_end(self)
        waiting, self._pending = [pair[:2] for pair in self._pending], deque()
        for client, server in (*self._asked, *waiting):
            self._caller.failed(self._route, server, client, cause)
        if self._opening is not None:
            self._opening.cancel()
        if self._link is not None:
            self._link.abort()

    # --- for the line -----------------------------------------------------------------------------

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """An APDU of the meter."""
        self._asked.discard((destination, source))
        if titles.sealed(payload):
            self._caller.proved(self)
        if not passes(self._around.record, self._route, self._caller, source, destination, payload):
            self._end(ConnectionLost("a foreign meter"))

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """Pairs have no link of their own on TCP."""

    def closed(self, cause: Exception | None) -> None:
        """The meter has closed: associations with it have ended."""
        self._link = None
        self._end(cause if isinstance(cause, MetersealError) else ConnectionLost("the meter closed"))


@dataclass(slots=True, eq=False)
class _Lease:
    """A pair on a shared line, and who speaks through it."""

    caller: Caller
    route: Route
    server: int
    touched: float
    proved: bool = False


class _Request(NamedTuple):
    lease: _Lease
    client: int
    server: int  # with the device
    apdu: bytes


class Shared:
    """A line with HDLC and all meters on it."""

    def __init__(self, around: Surroundings, line: SharedLine, routes: Iterable[Route] = ()) -> None:
        self.line = line
        self._round = Round(line, routes)
        self._around, self._loop = around, asyncio.get_running_loop()
        self._leases: dict[tuple[int, int], _Lease] = {}
        self._queues: OrderedDict[Caller, deque[_Request]] = OrderedDict()
        self._some, self._heard = asyncio.Event(), asyncio.Event()
        self._link: CallingLink | None = None
        self._now: _Request | None = None
        self._answered: asyncio.Future[MetersealError | None] | None = None
        self._work = self._loop.create_task(self._serve())

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(map(len, self._queues.values()))

    def ask(self, caller: Caller, route: Route, client: int, server: int, apdu: bytes) -> None:
        """Put a request in the queue.  Raises Misuse: the queue is full, or the pair is another caller's."""
        if client in self.line.push_clients:
            raise Misuse(f"line {self.line.name}: client {client} is for pushes")
        pair = client, on_device(server, route.device)
        lease = self._lease(pair, caller, route, server)
        queue = self._queues.setdefault(caller, deque())
        if self.waiting >= self._around.queue or len(queue) >= self._around.queue_of_caller:
            if not queue:
                del self._queues[caller]
            raise Misuse(f"line {self.line.name}: too many requests wait")
        queue.append(_Request(lease, *pair, apdu))
        self._some.set()

    def _lease(self, pair: tuple[int, int], caller: Caller, route: Route, server: int) -> _Lease:
        now, held = self._loop.time(), self._leases.get(pair)
        if held is not None and held.caller is not caller:
            if held.proved and now - held.touched < LEASE:
                raise Misuse(f"line {self.line.name}: another caller has this association")
            self._let_go(pair, Misuse("another caller has taken this association"))
            held = None
        if held is None:
            held = self._leases[pair] = _Lease(caller, route, server, now)
        held.touched = now
        return held

    def leave(self, caller: Caller) -> None:
        """A caller has gone: its requests are dropped, its associations end."""
        self._queues.pop(caller, None)
        for pair in [pair for pair, lease in self._leases.items() if lease.caller is caller]:
            self._let_go(pair, ConnectionLost("the caller has gone"))

    def _let_go(self, pair: tuple[int, int], cause: MetersealError) -> None:
        """The pair's link ends, so that nothing which comes late is taken for another caller's answer."""
        lease = self._leases.pop(pair)
        if self._link is not None:
            self._link.free(*pair)
        if self._now is not None and self._now.lease is lease:
            self._turn_ends(cause)

    def _turn_ends(self, cause: MetersealError | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(cause)

    async def close(self) -> None:
        """End the line."""
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        if self._link is not None:
            self._link.abort()

    # --- one request after another ----------------------------------------------------------------

    async def _serve(self) -> None:
        while True:
            request, due = self._next(), self._round.take(self._loop.time())
            if request is not None and self._leases.get(request[1:3]) is request.lease:
                await self._one(request)
            if due is not None:
                await self._ask_for_pushes(due)
            elif request is None:
                self._some.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._round.wait(self._loop.time())):
                        await self._some.wait()

    def _next(self) -> _Request | None:
        """The oldest request of the caller that has waited longest for a turn."""
        while self._queues:
            caller, queue = next(iter(self._queues.items()))
            if queue:
                self._queues.move_to_end(caller)
                return queue.popleft()
            del self._queues[caller]
        return None

    async def _one(self, request: _Request) -> None:
        lease, timeout = request.lease, self._around.timeout
        try:
            link = self._link or await self._open(lease.route)
        except MetersealError as error:
            lease.caller.failed(lease.route, lease.server, request.client, error)
            return
        self._now, self._answered = request, self._loop.create_future()
        link.send(request.client, request.server, request.apdu)
        if not titles.streams(request.apdu):
            link.poll(request.client, request.server, timeout)
            cause: MetersealError | None
            try:
                async with asyncio.timeout(timeout):
                    cause = await self._answered
            except TimeoutError:
                cause = TimedOut(f"no answer for {timeout:g} s")
            if cause is not None:
                if self._leases.get((request.client, request.server)) is lease:
                    self._let_go((request.client, request.server), cause)
                lease.caller.failed(lease.route, lease.server, request.client, cause)
        self._now = self._answered = None

    async def _ask_for_pushes(self, due: Due) -> None:
        """One meter, until it has no more: each question brings one push, none within a time means none."""
        try:
            link = self._link or await self._open(due.route)
        except MetersealError as error:
            self._around.record.note(f"line {self.line.name}: not asked for pushes: {error}")
            return
        for _ in range(NOTICES):
            self._heard.clear()
            link.poll(due.client, on_device(due.server, due.route.device), ONE_QUESTION)
            try:
                async with asyncio.timeout(self._around.timeout / _TRIES + ONE_QUESTION):
                    await self._heard.wait()
            except TimeoutError:
                return

    async def _open(self, route: Route) -> CallingLink:
        around = self._around
        timing = Timing(response=around.timeout / _TRIES, keep=_KEEP)
        found: list[CallingLink] = []

        def made(link: CallingLink) -> Shared:
            found.append(link)
            return self

        asking = Asking(route.device, size=self.line.address_size, timing=timing)
        await net.call(
            parse(self.line.url), made,
            timeout=around.timeout, limits=around.limits, wire_log=around.wire_log, hdlc=asking,
        )  # fmt: skip
        self._link = found[0]
        return found[0]

    # --- for the line -----------------------------------------------------------------------------

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """An APDU of a meter; what is for no lease was sent too late, and nobody gets it."""
        if destination in self.line.push_clients:
            self._push(source, destination, payload)
            return
        pair = destination, source
        lease, link = self._leases.get(pair), self._link
        if lease is None or link is None:
            return
        if titles.sealed(payload):
            lease.proved = True
            lease.caller.proved(None)
        record = self._around.record
        passed = passes(record, lease.route, lease.caller, lease.server, destination, payload)
        if not passed or payload[0] == _RLRE:
            del self._leases[pair]
            link.free(*pair)
        if self._now is None or self._now.lease is not lease:
            return
        if titles.streams(payload):
            link.poll(*pair, self._around.timeout)
        else:
            self._turn_ends(None)

    def _push(self, source: int, destination: int, payload: bytes) -> None:
        """What a meter has pushed goes on, if the meter is the one that was asked."""
        self._heard.set()
        found = self._round.of(source)
        if found is not None:
            self._around.pushed(*found, destination, payload)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """The link of a pair has ended, and the association with it."""
        lost = cause if isinstance(cause, MetersealError) else ConnectionLost("the meter ended the link")
        if (destination, source) in self._leases:
            self._let_go((destination, source), lost)

    def closed(self, cause: Exception | None) -> None:
        """The line is gone; the next request opens it again."""
        self._link = None
        lost = (
            cause if isinstance(cause, MetersealError) else ConnectionLost(f"line {self.line.name} is gone")
        )
        for pair in list(self._leases):
            self._let_go(pair, lost)
