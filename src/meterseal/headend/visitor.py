"""All traffic of a head-end with one meter: one association at a time, requests in their order.

A request is marked as sent, durably, before its first octet goes out, and is never sent twice: where no
answer came, its outcome is `unanswered`, and it is for the utility to ask anew.  Until then it is tried,
with pauses that double and are drawn at random, as long as its deadline allows.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from meterseal import client
from meterseal.cosem.texts import json_text
from meterseal.crypto import random_octets
from meterseal.errors import Blame, MetersealError, Refused, StateUnavailable
from meterseal.headend import store
from meterseal.headend.config import MeterEntry
from meterseal.headend.desk import Desk
from meterseal.headend.tables import State
from meterseal.security.sealed import Sealed

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds before a sign-on is tried again: doubling, half of it to one and a half, drawn."""


@dataclass(slots=True, eq=False)
class Request:
    """A sealed request that waits or is on its way; `done` is set when it has ended."""

    id: str
    utility: str
    sealed: Sealed
    deadline: float
    done: asyncio.Event = field(default_factory=asyncio.Event)


class House(Desk, Protocol):
    """What a visitor needs of its head-end besides: the way to the meter, and who takes what came of it."""

    slots: asyncio.Semaphore

    def sign_on(self, meter: MeterEntry) -> AbstractAsyncContextManager[client.Meter]:
        """An association with a meter."""

    async def ended(
        self, request: Request, state: State, cause: str | None = None, answer: bytes | None = None
    ) -> None:
        """A request has come to its end."""


def pause(failures: int) -> float:
    """Seconds until the next try after so many failures: no two head-ends or meters in step (H06)."""
    drawn = 0.5 + int.from_bytes(random_octets(2), "big") / 0x10000
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16)) * drawn


class Visitor:
    """The visitor of one meter; it works as long as there is something to do."""

    def __init__(self, house: House, meter: MeterEntry) -> None:
        self.meter = meter
        self._house = house
        self._pending: deque[Request] = deque()
        self._some = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._next_reading = 0.0 if meter.collect else float("inf")
        self.failures = 0

    @property
    def waiting(self) -> int:
        """Requests that are not sent yet."""
        return len(self._pending)

    def add(self, request: Request) -> None:
        """A request waits from now on."""
        self._pending.append(request)
        self.wake()

    def wake(self) -> None:
        """There is something to do."""
        self._some.set()
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._run())
            self._work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if work.cancelled():
            return
        if work.exception() is not None:
            self._house.broken(work.exception())
        elif self._pending:  # it came when the work had already looked for the last time
            self.wake()

    async def close(self) -> None:
        """End what is under way; what is sent and not answered is told so at the next start."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    def cancel(self, id: str) -> Request | None:
        """Take a request that is not sent out of the queue."""
        found = next((one for one in self._pending if one.id == id), None)
        if found is not None:
            self._pending.remove(found)
        return found

    async def tick(self, now: float) -> None:
        """Once a second: end what is past its deadline, see whether something is due."""
        for late in [one for one in self._pending if one.deadline <= now]:
            self._pending.remove(late)
            await self._house.ended(late, State.EXPIRED, "the deadline passed before it could be sent")
        if self._next_reading <= now and self._work is None:
            self.wake()

    # --- work -------------------------------------------------------------------------------------

    async def _run(self) -> None:
        house = self._house
        while self._pending or self._next_reading <= time.time():
            try:
                async with house.slots, house.sign_on(self.meter) as meter:
                    house.metrics.sign_ons.inc()
                    self.failures = 0
                    await self._serve(meter)
            except StateUnavailable:
                raise
            except MetersealError as error:
                await self._failed(error)

    async def _failed(self, error: MetersealError) -> None:
        """The sign-on did not go, or the association ended before its time."""
        self.failures += 1
        house, name = self._house, self.meter.name
        house.metrics.refused(error)
        house.journal.warning(
            "meter not reached", meter=name, cause=f"{error.kind}: {error}", count=self.failures
        )
        if not self._pending:
            self._next_reading = max(self._next_reading, time.time() + pause(self.failures))
            return
        self._some.clear()
        await asyncio.sleep(pause(self.failures))

    async def _serve(self, meter: client.Meter) -> None:
        """Requests as they come, then what is to be read, until nothing comes for a while."""
        while meter.is_open and not meter.is_lost:
            self._some.clear()
            if self._pending:
                if not await self._carry(meter, self._pending.popleft()):
                    meter.drop()  # what comes late over this association is nobody's
            elif self._next_reading <= time.time():
                await self._collect(meter)
            else:
                try:
                    async with asyncio.timeout(self._house.config.linger):
                        await self._some.wait()
                except TimeoutError:
                    return

    async def _carry(self, meter: client.Meter, request: Request) -> bool:
        """Send a request and bring its answer; False when the association is not to be used any more."""
        house = self._house
        left = request.deadline - time.time()
        if left <= 0:
            await house.ended(request, State.EXPIRED, "the deadline passed before it could be sent")
            return True
        if not await house.store.run(store.sent(request.id)):
            return True
        state, cause, answer = State.ANSWERED, None, None
        try:
            async with asyncio.timeout(left):
                answer = (await meter.forward(request.sealed)).octets
        except TimeoutError:
            state, cause = State.UNANSWERED, "timed-out: the deadline passed before an answer came"
        except MetersealError as error:
            house.metrics.refused(error)
            cause = f"{error.kind}: {error}"
            state = State.UNANSWERED if _tells_nothing(error) else State.REFUSED
        house.metrics.counters_left(meter.counters_left)
        await house.ended(request, state, cause, answer)
        return state is not State.UNANSWERED

    async def _collect(self, meter: client.Meter) -> None:
        """Read what this role is to read; what is refused is told, and the rest is kept."""
        house, now = self._house, time.time()
        self._next_reading = now + self.meter.every
        found = await meter.read_many(self.meter.collect)
        kept: dict[str, str] = {}
        for asked, value in zip(self.meter.collect, found, strict=True):
            if value.error is None:
                kept[asked] = json_text(value.as_json())
            else:
                house.metrics.refused(value.error)
                house.journal.warning("not read", meter=self.meter.name, cause=f"{value.error.kind}: {asked}")
        await house.store.run(store.read(self.meter.title.hex().upper(), now, kept))


def _tells_nothing(error: MetersealError) -> bool:
    """Does this leave open whether the meter has done it?  A refusal that nothing protects is a hint only."""
    if isinstance(error, Refused):
        return not error.authenticated
    return error.blame not in (Blame.CALLER, Blame.MACHINE)
