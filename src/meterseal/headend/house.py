"""A head-end as a whole: visitors of meters, the store behind them, what is counted and told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Final

from meterseal import client
from meterseal.crypto import random_octets
from meterseal.errors import ConfigurationError, DecodeError, MetersealError, Misuse
from meterseal.headend import store
from meterseal.headend.config import Config, MeterEntry, Utility
from meterseal.headend.journal import Journal
from meterseal.headend.metrics import Metrics
from meterseal.headend.pushes import Pushes
from meterseal.headend.tables import State
from meterseal.headend.visitor import Request, Visitor
from meterseal.net import WireLog
from meterseal.security.sealed import Sealed
from meterseal.state import FileCounters
from meterseal.state.folder import make_folder

TICK: Final = 1.0
HOUSEKEEPING: Final = 3600.0
"""Seconds between two looks for what is kept no longer."""

MOST_OF_METER: Final = 256
"""Requests that may wait for one meter."""

_ID: Final = 12


class Busy(Misuse):
    """Too much waits already; it may go later."""

    kind = "busy"


class HeadEnd:
    """A head-end at work, without its API.  Used with `async with`; `folder` keeps database and counters."""

    def __init__(
        self, config: Config, folder: Path, journal: Journal | None = None, wire_log: WireLog | None = None
    ) -> None:
        _check_keys(config.meters)
        make_folder(folder)
        self.config, self.journal, self.wire_log = config, journal or Journal(), wire_log
        self.store = store.Store(config.database or folder / store.FILE)
        self._counters = {meter.title: _counters(folder, meter.title) for meter in config.meters}
        self.pushes = Pushes(self, folder / "pushes")
        self.metrics = Metrics(
            lambda: sum(one.waiting for one in self.visitors.values()), lambda: self.pushes.refused
        )
        self.metrics.certificate("headend", config.certificate)
        self.slots = asyncio.Semaphore(config.at_once)
        self.visitors: dict[bytes, Visitor] = {meter.title: Visitor(self, meter) for meter in config.meters}
        self._live: dict[str, Request] = {}
        self._of_utility: dict[str, int] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._stopped: asyncio.Future[None] | None = None

    async def __aenter__(self) -> HeadEnd:
        self._stopped = asyncio.get_running_loop().create_future()
        try:
            lost = await self.store.run(store.interrupted(time.time(), _originator))
            if lost:
                self.journal.warning("sent before the last end, and not answered", count=lost)
            for row in await self.store.run(store.queued()):
                await self._again(row)
            await self.pushes.open()
        except BaseException:
            await self._close()
            raise
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        await self.pushes.close()
        for visitor in self.visitors.values():
            await visitor.close()
        self.store.close()

    async def _again(self, row: store.Row) -> None:
        """A request that was accepted before the last end; its meter may have gone from the file."""
        request = Request(row["id"], row["utility"], Sealed.of(row["sealed"]), row["deadline"])
        visitor = self.visitors.get(request.sealed.recipient)
        self._enter(request)
        if visitor is None:
            await self.ended(request, State.REFUSED, "the head-end no longer serves this meter")
        else:
            visitor.add(request)

    async def _tick(self) -> None:
        due = 0.0
        while True:
            now = time.time()
            for visitor in self.visitors.values():
                await visitor.tick(now)
            if now >= due:
                due = now + HOUSEKEEPING
                config = self.config
                if await self.store.run(store.outdated(now, config.retention, config.answers)):
                    await self.store.emptied()
            await asyncio.sleep(TICK)

    def sign_on(self, meter: MeterEntry) -> AbstractAsyncContextManager[client.Meter]:
        """An association with a meter, direct or behind a concentrator: its URL says."""
        return client.connect(
            credentials=meter.credentials,
            role=meter.role,
            counters=self._counters[meter.title],
            wire_log=self.wire_log,
        )

    def broken(self, error: BaseException | None) -> None:
        """Something went wrong that no retry mends: whoever runs the head-end is told by `stopped`."""
        if self._stopped is not None and not self._stopped.done() and error is not None:
            self._stopped.set_exception(error)

    async def stopped(self) -> None:
        """Wait until something is broken; raises it."""
        if self._stopped is not None:
            await self._stopped

    # --- for the API ------------------------------------------------------------------------------

    def meters_of(self, utility: Utility) -> list[MeterEntry]:
        """The meters of a utility."""
        return [meter for meter in self.config.meters if meter.title in utility.meters]

    async def accept(self, utility: Utility, meter: bytes, octets: bytes, seconds: float) -> Request:
        """Take a sealed request, durably; it has `seconds` to be answered.

        Raises DecodeError and TooWeak for what is not sealed, Misuse for another meter or originator than
        the utility's, Busy, StateUnavailable.
        """
        sealed = Sealed.of(octets)
        if sealed.recipient != meter or meter not in utility.meters:
            raise Misuse("sealed for another meter")
        if sealed.originator not in utility.titles:
            raise Misuse("sealed by a title that is not this utility's")
        visitor = self.visitors[meter]
        if self._of_utility.get(utility.name, 0) >= utility.queue or visitor.waiting >= MOST_OF_METER:
            raise Busy("too many requests wait")
        now = time.time()
        request = Request(random_octets(_ID).hex().upper(), utility.name, sealed, now + seconds)
        self._enter(request)
        row = {
            "id": request.id, "utility": utility.name, "meter": meter.hex().upper(), "state": State.QUEUED,
            "created": now, "deadline": request.deadline, "sealed": octets,
        }  # fmt: skip
        try:
            await self.store.run(store.accept(row))
        except MetersealError:
            self._leave(request)
            raise
        visitor.add(request)
        return request

    def _enter(self, request: Request) -> None:
        self._live[request.id] = request
        self._of_utility[request.utility] = self._of_utility.get(request.utility, 0) + 1

    def _leave(self, request: Request) -> None:
        if self._live.pop(request.id, None) is not None:
            self._of_utility[request.utility] -= 1
        request.done.set()

    async def ended(
        self, request: Request, state: State, cause: str | None = None, answer: bytes | None = None
    ) -> None:
        """A request has come to its end: on the disk first, then told."""
        originator = request.sealed.originator.hex().upper()
        await self.store.run(store.finish(request.id, state, time.time(), originator, cause, answer))
        self._leave(request)
        self.metrics.requests.labels(state.value).inc()
        self.journal.info(
            "request ended",
            request=request.id,
            utility=request.utility,
            meter=request.sealed.recipient.hex().upper(),
            outcome=state.value,
            cause=cause,
            size=request.sealed.size,
            answer_size=answer and len(answer),
        )

    async def wait(self, id: str, seconds: float) -> None:
        """Wait until a request has ended, at most so long."""
        request = self._live.get(id)
        if request is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await request.done.wait()
        except TimeoutError:
            return

    async def cancel(self, id: str, utility: Utility) -> bool:
        """Take back a request that is not sent, or delete one that has ended; False when it is on its way."""
        request = self._live.get(id)
        if request is not None and request.utility == utility.name:
            visitor = self.visitors.get(request.sealed.recipient)
            if visitor is None or visitor.cancel(id) is None:
                return False
            await self.ended(request, State.CANCELLED)
        return await self.store.run(store.remove(id, utility.name))


def _counters(folder: Path, title: bytes) -> FileCounters:
    """The counters of one meter: none waits for another's, however many there are."""
    above = folder / "counters"
    make_folder(above)
    return FileCounters(above / title.hex().upper())


def _check_keys(meters: Iterable[MeterEntry]) -> None:
    """Counters are kept for each meter, so no two may be under one key and title (law 1)."""
    seen: dict[tuple[bytes | None, bytes | None], str] = {}
    for meter in meters:
        role = meter.credentials.role(meter.role)
        key = role.octets("guek"), role.client_system_title
        if key[0] is not None and seen.setdefault(key, meter.name) != meter.name:
            raise ConfigurationError(
                f"meters {seen[key]} and {meter.name} have one key: every meter has keys of its own"
            )


def _originator(octets: bytes) -> str:
    try:
        return Sealed.of(octets).originator.hex().upper()
    except (DecodeError, MetersealError):
        return ""
