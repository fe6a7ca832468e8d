"""The meter on a line: a `Party` of sessions over any line, and `MeterServer`, which listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final

from meterseal.association import Operation, Service, TransferMemory
from meterseal.association.profile import EVENTS
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.errors import MetersealError, Misuse, StateUnavailable
from meterseal.meter.conduct import Conduct
from meterseal.meter.delays import Delays
from meterseal.meter.events import Event
from meterseal.meter.everybody import BY_DATAGRAM, ON_A_BUS
from meterseal.meter.keyring import KeyRing
from meterseal.meter.live import Handle, Live, Timer
from meterseal.meter.model import Meter
from meterseal.meter.pool import Jobs, Pool, inline
from meterseal.meter.pushing import Overhearing, Pusher
from meterseal.meter.session import Session
from meterseal.net import (
    Admission,
    Answering,
    Factory,
    Handler,
    Limits,
    Link,
    Listening,
    Url,
    WireLog,
    listen,
)
from meterseal.net.url import SCHEMES, to_listen
from meterseal.security import SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.protection import of_request

TICK: Final = 1.0
"""Seconds between two notes of what has been received."""

_LARGEST: Final = 0xFFFF


class Party:
    """A meter with its sessions.  `timer` is an asyncio loop, or a test's own; `compute` runs curve work."""

    def __init__(self, meter: Meter, timer: Timer, compute: Jobs = inline) -> None:
        self.meter, self.timer, self.compute = meter, timer, compute
        self.events, self.delays = meter.events, Delays()
        self.memory = TransferMemory()
        self._sessions: dict[Session, None] = {}
        meter.on_gak.append(self._new_gak)
        meter.on_policy.append(self._stronger)
        meter.status = self._status
        meter.events.on_entry.append(self._happened)
        self._untold: list[tuple[Event, int]] = []

    def session(self, link: Link) -> Session:
        """The handler of a new connection."""
        return self._enter(Session(self, link))

    def datagram_session(self, link: Link) -> Handler:
        """The handler of an address that datagrams come from; associations are bound to it (A15)."""
        return self._enter(Session(self, link, datagrams=True, everybody=BY_DATAGRAM))

    def bus_session(self, link: Link) -> Handler:
        """The handler of an HDLC line."""
        return self._enter(Session(self, link, everybody=ON_A_BUS))

    def _enter(self, session: Session) -> Session:
        self._sessions[session] = None
        return session

    @property
    def idle(self) -> bool:
        """True when nobody is connected and the meter has nothing to watch."""
        return not self._sessions and not self.meter.routine.busy

    def left(self, session: Session) -> None:
        """A connection has ended."""
        self._sessions.pop(session, None)

    def links(self) -> list[Link]:
        """The connections that are open."""
        return [session.link for session in self._sessions]

    def live(self) -> list[tuple[Session, Live]]:
        """All associations of all connections, in any state."""
        return [(session, live) for session in self._sessions for live in session.live]

    def replace(self, newcomer: Live, at: Conduct) -> None:
        """A newcomer has proved itself where one is enough: every other one of its pair ends.

        But for those that did so meanwhile and are not on disk yet: their turn comes.
        """
        for session, live in self.live():
            if live.association is newcomer.association and live is not newcomer and not live.opening:
                session.end(live)

    def note(self, setup: SecuritySetup) -> None:
        """Make durable what was received; a failing disk costs a line, the next try comes."""
        try:
            self.meter.note(setup)
        except StateUnavailable as error:
            self.events.note(f"counters could not be kept: {error}")

    def keep(self, setup: SecuritySetup, then: Callable[[StateUnavailable | None], None]) -> None:
        """Make durable what was received, and call `then`, with the error if that could not be."""
        failed: StateUnavailable | None = None
        try:
            self.meter.note(setup)
        except StateUnavailable as error:
            failed = error
        then(failed)

    def reserve(self, key: Counted, count: int, then: Callable[[], None]) -> None:
        """Bring in sending counters, durably; `then` is called also when none could be had."""
        try:
            self.meter.store.reserve(key, count)
        except MetersealError as error:
            self.events.note(f"no sending counters: {error}")
        then()

    def tick(self) -> None:
        """Once a second: do what the clock asks for, make durable what was received, end stale transfers."""
        for session in list(self._sessions):
            session.expire()
        try:
            self.meter.routine.turn()
            self.meter.note_all()
        except StateUnavailable as error:
            self.events.note(f"the state could not be kept: {error}")

    def _happened(self, event: Event, shown: int) -> None:
        """Clients are told once what happens now is over: it may be in the midst of one of their requests."""
        if not any(role.conformance & EVENTS for role in self.meter.plan.roles):
            return
        if not self._untold:
            self.timer.call_later(0.0, self._tell)
        self._untold.append((event, shown))

    def _tell(self) -> None:
        untold, self._untold = self._untold, []
        for event, shown in untold:
            code = Operation(Service.GET, 1, Obis(f"0.0.96.11.{event.log}.255"), 2)
            value = Data.of(event.code, Tag.UNSIGNED)
            moment = self.meter.plant.home.zone.local(shown).to_octets()
            for session in list(self._sessions):
                session.tell(code, value, moment)

    def _status(self, association: object) -> int:
        states = [live.machine.state for _, live in self.live() if live.association is association]
        return max((_STATUS.get(state.name, 0) for state in states), default=0)

    def _new_gak(self, ring: KeyRing, gak: bytes) -> None:
        """Dedicated keys go on beside the new GAK."""
        for live in self._of(ring):
            key = live.machine.context.dedicated
            if key is not None:
                old = key.handle
                key.handle = old.beside(gak)
                old.destroy()

    def _stronger(self, ring: KeyRing) -> None:
        """Associations that are open ask for the stronger protection from now on."""
        for live in self._of(ring):
            live.machine.context.minimum = of_request(ring.setup.policy) & 3

    def _of(self, ring: KeyRing) -> list[Live]:
        return [live for _, live in self.live() if live.machine.profile.setup is ring.setup]


_STATUS: Final = {"PENDING": 1, "ASSOCIATED": 2, "STANDING": 2}


_SESSIONS: Final[dict[str, Callable[[Party, Link], Handler]]] = {
    "udp": Party.datagram_session,
    "hdlc+tcp": Party.bus_session,
    "serial": Party.bus_session,
}
"""The handler that a newcomer gets, by scheme of URL; on all others `Party.session`."""


class MeterServer:
    """A meter that listens on TCP, or where `url` says (port 0: any free one).

    Used with `async with`; the meter stays the caller's to close.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        url: str | None = None,
        wire_log: WireLog | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.meter = meter
        self._where = Url("tcp", host, port) if url is None else to_listen(url)
        self._wire_log, self._admission = wire_log, admission
        self._server: Listening | None = None
        self._tick: Handle | None = None
        self._pusher: Pusher | None = None
        self._pool: Pool | None = None
        self.party: Party | None = None

    async def start(self) -> None:
        """Listen.  Raises ConfigurationError when the address cannot be had, Unsupported for other lines."""
        loop = asyncio.get_running_loop()
        where, plan = self._where, self.meter.plan
        self._pool = Pool(loop)
        party = self.party = Party(self.meter, loop, self._pool.run)
        session: Factory = partial(_SESSIONS.get(where.scheme, Party.session), party)
        own_line = SCHEMES[where.scheme].hdlc
        pusher = self._pusher = Pusher(
            self.meter.events.note, self._wire_log, party.links if own_line else tuple
        )
        sizes = [role.max_pdu for role in self.meter.plan.roles]
        self._server = await listen(
            where,
            (lambda link: Overhearing(pusher, session(link))) if own_line else session,
            limits=Limits(apdu=max(sizes, default=_LARGEST) or _LARGEST),
            admission=self._admission,
            wire_log=self._wire_log,
            hdlc=Answering(plan.logical_devices.__contains__, plan.physical_address, plan.address_sizes),
        )
        self.meter.send, self.meter.drop = pusher.send, pusher.drop
        self.meter.power_up()
        self._ticked(loop)

    def _ticked(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.party is not None:
            self.party.tick()
        self._tick = loop.call_later(TICK, self._ticked, loop)

    async def close(self) -> None:
        """Stop listening, end all associations, keep what was received."""
        if self._tick is not None:
            self._tick.cancel()
        if self._pusher is not None:
            await self._pusher.close()
        if self._server is not None:
            await self._server.close()
        if self._pool is not None:
            self._pool.close()
        if self.party is not None:
            self.meter.power_down()
            self.party.tick()

    async def __aenter__(self) -> MeterServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._listening.port

    @property
    def url(self) -> str:
        """`tcp://host:port`, or the scheme that it listens by."""
        return self._listening.url

    @property
    def _listening(self) -> Listening:
        if self._server is None:
            raise Misuse("the meter has not been started")
        return self._server
