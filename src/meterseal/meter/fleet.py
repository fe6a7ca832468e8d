"""Many meters in one process: each with keys, profile and state of its own, behind one port or a port each.

A meter is at work while somebody is connected to it, and for a while longer; the others are records in the
ledger and cost nearly nothing.  What the clock asked for meanwhile is done, moment by moment, when a meter
comes back to work: nobody can tell the difference.  For what others see, a push, it is woken in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from heapq import heappop, heappush
from pathlib import Path
from typing import Final, Protocol

from meterseal.cosem.obis import Obis
from meterseal.crypto import random_octets
from meterseal.errors import ConfigurationError, MetersealError, StateUnavailable
from meterseal.meter.blueprint import Blueprint
from meterseal.meter.events import log
from meterseal.meter.founding import found
from meterseal.meter.ledger import Ledger
from meterseal.meter.live import Timer
from meterseal.meter.model import Meter
from meterseal.meter.orders import Order
from meterseal.meter.plan import MeterPlan
from meterseal.meter.pool import Jobs, inline
from meterseal.meter.server import Party
from meterseal.meter.switchboard import Switchboard
from meterseal.meter.together import Together
from meterseal.net import Handler, Link
from meterseal.security import SecuritySetup
from meterseal.security.context import Counted

MOST: Final = 15_000
"""Meters of one process: what server wPorts have room for."""

BASE: Final = 1_000
"""Server wPort of meter n's management logical device: BASE + n, n from 1."""

_BETWEEN: Final = 16_000
"""The next logical device of the same meter is so much higher."""

PUSH, SCRIPTS = 40, 9

LINGER: Final = 32
"""Meters that stay at work after the last connection to them."""


class Outlet(Protocol):
    """Where the pushes of one meter go; a `Pusher` is one."""

    @property
    def busy(self) -> bool:
        """Is there something that has still to be sent?"""

    def send(self, order: Order) -> None:
        """Send a push, now or when its time comes."""

    def drop(self, name: Obis) -> None:
        """Forget the pushes of one setup that are still to be sent."""


class Neighbour(Party):
    """A meter at work among many, whose sign-ons wait for the disk together with those of the others.

    What it had received when an association ended is kept with the next tick, in one write for all that
    ended in this second.  Before an association opens, and before a write or a call takes effect, it is
    durable as with every meter.
    """

    outlet: Outlet | None = None

    def __init__(self, meter: Meter, timer: Timer, together: Together, compute: Jobs = inline) -> None:
        super().__init__(meter, timer, compute)
        self._together = together

    def keep(self, setup: SecuritySetup, then: Callable[[StateUnavailable | None], None]) -> None:
        """As `Party.keep`, with the next write for all."""
        self.meter.gather_of(setup)
        self._together.wait(then)

    def reserve(self, key: Counted, count: int, then: Callable[[], None]) -> None:
        """As `Party.reserve`, with the next write for all."""
        try:
            bring_in = self.meter.store.set_aside(key, count)
        except MetersealError as error:
            self._without(error, then)
            return

        def written(error: StateUnavailable | None) -> None:
            if error is not None:
                self._without(error, then)
                return
            bring_in()
            then()

        self._together.wait(written)

    def _without(self, error: MetersealError, then: Callable[[], None]) -> None:
        self.events.note(f"no sending counters: {error}")
        then()

    @property
    def idle(self) -> bool:
        """As of every meter, and nothing is still to be sent: that takes its keys."""
        return super().idle and not (self.outlet is not None and self.outlet.busy)

    def note(self, setup: SecuritySetup) -> None:
        """Note it; nothing is told to anybody that would depend on it."""
        self.meter.gather()


class Fleet:
    """Meters 1 to `count` of one plan, kept in `folder`.

    `timer` is an asyncio loop, or a test's own; `wall` and `draw` as in `Meter`.  `outlet` makes what carries
    the pushes of a meter; without it they are lines in the journal.  With `ports` each meter has a port of
    its own, and its logical devices their own SAPs there.  `compute` runs curve work.

    Raises ConfigurationError for a plan that only one meter can have, and what `Ledger` raises.
    """

    def __init__(
        self,
        plan: MeterPlan,
        count: int,
        folder: Path,
        *,
        timer: Timer,
        wall: Callable[[], float] = time.time,
        draw: Callable[[int], bytes] = random_octets,
        outlet: Callable[[Meter], Outlet] | None = None,
        ports: bool = False,
        compute: Jobs = inline,
    ) -> None:
        _check(plan, count)
        self._outlet, self.ports, self._compute = outlet, ports, compute
        self.plan, self.count = plan, count
        self._timer, self._wall, self._draw = timer, wall, draw
        self._blueprint = Blueprint(plan)
        self._devices = tuple(sorted(plan.logical_devices))
        self._parties: dict[int, Neighbour] = {}
        self._calls: list[tuple[int, int]] = []
        """Heap of real times and the meters at rest that are to be woken then."""
        self._waking = False
        self._heard: set[int] = set()
        self.heard = self._heard.add
        """Something has come for a meter, by number: what it received is noted with the next tick."""
        self._quiet: dict[int, None] = {}
        self._seen: dict[int, int] = {}
        self._since = int(wall())
        self._ledger = Ledger(folder)
        self._together = Together(timer, self._ledger.sync)
        try:
            self._found()
        except (ConfigurationError, StateUnavailable):
            self._ledger.close()
            raise

    def _found(self) -> None:
        now = int(self._wall())
        with self._ledger.gathering():
            for number in range(1, self.count + 1):
                if number not in self._ledger:
                    store = self._ledger.open(number)
                    found(self.plan, store, self._draw, now)
                    store.close()
        with self.opened(1):  # what a configuration has wrong shows at the first meter
            pass
        intervals = [one.interval for one in self.plan.objects if one.interval]
        if _may_push_by_script(self.plan):  # when, every meter knows of itself
            self._calls = [(now, number) for number in range(1, self.count + 1)]
        elif intervals:  # a client may have given any of them a destination
            shown = now + self.plan.clock_offset
            call = shown - shown % min(intervals) + min(intervals) - self.plan.clock_offset
            self._calls = [(call, number) for number in range(1, self.count + 1)]

    # --- addresses --------------------------------------------------------------------------

    def address(self, number: int, sap: int = 1) -> int:
        """The server wPort of a logical device of a meter."""
        if self.ports:
            return sap
        return BASE + number + _BETWEEN * self._devices.index(sap)

    def behind(self, address: int) -> tuple[int, int] | None:
        """Number of the meter and SAP of the logical device at a server wPort; None where there is none."""
        which, number = divmod(address - BASE, _BETWEEN)
        if not 1 <= number <= self.count or not 0 <= which < len(self._devices):
            return None
        return number, self._devices[which]

    # --- meters -----------------------------------------------------------------------------

    @contextmanager
    def opened(self, number: int) -> Iterator[Meter]:
        """A meter, for a moment and without a line."""
        party = self._parties.get(number)
        if party is not None:
            yield party.meter
            return
        meter = self._meter(number)
        try:
            yield meter
        finally:
            meter.close()

    def _meter(self, number: int) -> Meter:
        store = self._ledger.open(number)
        return Meter(self.plan, wall=self._wall, draw=self._draw, blueprint=self._blueprint, store=store)

    def party(self, number: int) -> Party:
        """A meter at work, brought to the present."""
        party = self._parties.get(number)
        if party is None:
            party = self._put_to_work(number)
        self._parties[number] = party
        return party

    def _put_to_work(self, number: int) -> Neighbour:
        meter = self._meter(number)
        party = Neighbour(meter, self._timer, self._together, self._compute)
        if self._outlet is not None:
            outlet = party.outlet = self._outlet(meter)
            meter.drop = outlet.drop
            meter.send = lambda order: outlet.send(replace(order, source=self.address(number, order.source)))
        meter.routine.catch_up(self._seen.get(number, self._since))
        return party

    @property
    def at_work(self) -> int:
        """Meters that are more than records now."""
        return len(self._parties)

    def session(self, link: Link) -> Handler:
        """The handler of a new connection: it leads to all meters."""
        return Switchboard(self, link)

    def session_at(self, number: int) -> Callable[[Link], Handler]:
        """Makes the handlers of connections to the port of one meter."""
        return lambda link: Switchboard(self, link, number)

    def tick(self) -> None:
        """Once a second: what the clock asks for, what was received, one write for all of it."""
        try:
            for party in self._parties.values():
                party.meter.routine.turn()
            for number in self._heard & self._parties.keys():
                self._parties[number].meter.gather()
            self._heard.clear()
            self._ledger.sync()
        except StateUnavailable as error:
            log.warning("the state could not be kept: %s", error)
        self._rest()
        self._wake()

    def left(self, number: int) -> None:
        """A connection to a meter has ended."""
        self._quiet.pop(number, None)
        self._quiet[number] = None  # the latest one is the last

    def _rest(self) -> None:
        """Who has nobody connected is put away, the longest idle first."""
        idle = [number for number in self._quiet if number in self._parties and self._parties[number].idle]
        for number in idle[: max(0, len(idle) - LINGER)]:
            meter = self._parties.pop(number).meter
            call = meter.routine.wakes_at
            if call is not None:
                heappush(self._calls, (call, number))
            meter.close()
            self._seen[number] = int(self._wall())
        self._quiet = {number: None for number in self._quiet if number in self._parties}

    def _wake(self) -> None:
        """Wake who has something to say now, one meter a turn: who is served meanwhile hardly notices."""
        if not self._waking and self._calls and self._calls[0][0] <= self._wall():
            self._waking = True
            self._timer.call_later(0.0, self._wake_one)

    def _wake_one(self) -> None:
        self._waking = False
        if self._calls and self._calls[0][0] <= self._wall():
            _, number = heappop(self._calls)
            if number not in self._parties:  # who is at work does it by itself
                try:
                    self.party(number)
                except StateUnavailable as error:
                    log.warning("meter %d was not woken: %s", number, error)
                self.left(number)
            self._wake()

    def close(self) -> None:
        """Put everything away and let go of the folder."""
        self._calls.clear()
        self._together.close()
        for party in self._parties.values():
            party.meter.close()
        self._parties.clear()
        self._ledger.close()


def _check(plan: MeterPlan, count: int) -> None:
    if not 1 <= count <= MOST:
        raise ConfigurationError(f"a process has 1 to {MOST} meters")
    if len(plan.logical_devices) > 4:
        raise ConfigurationError("many meters have at most 4 logical devices each")
    if plan.system_title is not None or plan.device_name or plan.fixed_keys or plan.kek is not None:
        raise ConfigurationError(
            "many meters have system titles, names and keys of their own: the configuration cannot name them"
        )
    if any(role.pre_established for role in plan.roles):
        raise ConfigurationError("many meters behind one port open their associations by AARQ")


def _may_push_by_script(plan: MeterPlan) -> bool:
    """Is there a push setup, and a script that calls it, or may come to?"""
    if all(one.class_id != PUSH for one in plan.objects):
        return False
    tables = [one for one in plan.objects if one.class_id == SCRIPTS]
    actions = (action for table in tables for _, script in table.attributes[2][0] for action in script)
    return any(table.writable for table in tables) or any(action[1] == PUSH for action in actions)
