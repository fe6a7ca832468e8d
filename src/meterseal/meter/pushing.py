"""Carrying pushes out: a line for each, attempts and pauses as the push setup says, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from meterseal import net
from meterseal.association.transfer import unconfirmed
from meterseal.cosem.obis import Obis
from meterseal.errors import ConnectionLost, MetersealError, StateUnavailable, TimedOut, TooLarge
from meterseal.framing.hdlc.secondary import NOTICES
from meterseal.meter.orders import HDLC, TCP, UDP, Order
from meterseal.net import Handler, Link, WireLog

AT_ONCE: Final = 32
"""Pushes that may be on their way or wait for their time."""

PATIENCE: Final = 10.0
"""Seconds for a line to open, and for a confirmation."""

_REMEMBERED: Final = 4
"""Pushes that were confirmed or given up, and of which another confirmation is known."""

_SCHEMES: Final = {TCP: "tcp", UDP: "udp"}


class Pusher:
    """Sends what push setups order; `note` takes a line for the journal.

    `hdlc_lines` are the lines that the meter itself answers on: a push over HDLC goes out there in UI frames,
    at the client's next question.
    """

    def __init__(
        self,
        note: Callable[[str], None],
        wire_log: WireLog | None = None,
        hdlc_lines: Callable[[], Iterable[Link]] = tuple,
    ) -> None:
        self._note, self._wire_log, self._hdlc_lines = note, wire_log, hdlc_lines
        self._tasks: dict[asyncio.Task[None], Obis] = {}
        self._unconfirmed: dict[asyncio.Future[None], Callable[[bytes], bool]] = {}
        # Each attempt may be confirmed, and what comes late is no request of an association.
        self._over: deque[Callable[[bytes], bool]] = deque(maxlen=_REMEMBERED)

    def send(self, order: Order) -> None:
        """Send a push, now or when its time comes."""
        if len(self._tasks) >= AT_ONCE:
            self._note(f"push {order.name} was not sent: {AT_ONCE} others wait")
            return
        task = asyncio.get_running_loop().create_task(self._carry_out(order))
        self._tasks[task] = order.name
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    @property
    def busy(self) -> bool:
        """Is there something that has still to be sent?"""
        return bool(self._tasks)

    def drop(self, name: Obis) -> None:
        """Forget the pushes of one setup that are still to be sent."""
        for task, held in list(self._tasks.items()):
            if held == name:
                task.cancel()

    async def close(self) -> None:
        """Forget all of them."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry_out(self, order: Order) -> None:
        try:
            for _ in order.making:
                await asyncio.sleep(0)  # others are served between its parts
        except MetersealError as error:
            self._note(f"push {order.name} was not made: {error}")
            return
        await asyncio.sleep(order.start)
        with self._expecting(order) as answered:
            octets: bytes | None = None
            for delay in (*order.delays, None):
                try:
                    # The very same octets again where nobody answers: who has them knows their counter.
                    # Where a confirmation is waited for it may be this that was lost: then a new counter.
                    if octets is None or order.confirms is not None:
                        octets = order.seal()
                    await self._attempt(order, octets, answered)
                except MetersealError as error:
                    if delay is None or isinstance(error, StateUnavailable):
                        self._note(f"push {order.name} did not reach {order.destination}: {error}")
                        return
                else:
                    return
                if await _happens(answered, delay):
                    return

    async def _attempt(self, order: Order, octets: bytes, answered: asyncio.Future[None]) -> None:
        whole = not order.blocks or len(octets) <= order.blocks
        parts = [octets] if whole else unconfirmed(octets, order.blocks)
        if order.transport == HDLC:
            self._give_out(order, parts)
            if order.confirms is not None and not await _happens(answered, PATIENCE):
                raise TimedOut(f"nobody confirmed it within {PATIENCE:g} s")
            return
        url = f"{_SCHEMES[order.transport]}://{order.destination}"
        async with await net.connect(url, timeout=PATIENCE, wire_log=self._wire_log) as line:
            for part in parts:
                await line.send(order.source, order.client, part)
            loop = asyncio.get_running_loop()
            end = loop.time() + PATIENCE
            while order.confirms is not None:
                frame = await line.receive(max(0.0, end - loop.time()))
                if order.confirms(frame[2]):
                    return

    @contextmanager
    def _expecting(self, order: Order) -> Iterator[asyncio.Future[None]]:
        """What is done once the confirmation has come in on the meter's own line, at whatever attempt."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        expected = order.confirms if order.transport == HDLC else None
        if expected is not None:
            self._unconfirmed[answered] = expected
        try:
            yield answered
        finally:
            if self._unconfirmed.pop(answered, None) is not None and expected is not None:
                self._over.append(expected)

    def confirmed(self, payload: bytes) -> bool:
        """Does an APDU that came on the meter's own line confirm a push that waits, or waited, for it?"""
        for answered, confirms in self._unconfirmed.items():
            if not answered.done() and confirms(payload):
                answered.set_result(None)
                return True
        return any(confirms(payload) for confirms in self._over)

    def _give_out(self, order: Order, parts: list[bytes]) -> None:
        """On the meter's own line, where clients ask for what waits."""
        lines = list(self._hdlc_lines())
        if not lines:
            raise ConnectionLost("nobody is on the meter's HDLC line")
        if len(parts) > NOTICES:
            raise TooLarge(f"{len(parts)} blocks, and at most {NOTICES} wait on an HDLC line for the client")
        for own in lines:
            for part in parts:
                own.notify(order.source, order.client, part)


async def _happens(answered: asyncio.Future[None], seconds: float) -> bool:
    """Wait so long, or until it has happened."""
    await asyncio.wait((answered,), timeout=seconds)
    return answered.done()


class Overhearing:
    """In front of the handler of the meter's own line: what confirms a push goes no further."""

    __slots__ = ("_handler", "_pusher")

    def __init__(self, pusher: Pusher, handler: Handler) -> None:
        self._pusher, self._handler = pusher, handler

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU."""
        if not self._pusher.confirmed(payload):
            self._handler.received(source, destination, payload)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """The link of one pair is gone."""
        self._handler.parted(source, destination, cause)

    def closed(self, cause: Exception | None) -> None:
        """The line is gone."""
        self._handler.closed(cause)
