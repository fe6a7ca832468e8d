"""The loops that do the steps of a conversation, with asyncio and without; a driver says how each is done."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable
from typing import Any, TypeVar

from meterseal.client.steps import Exchange, Step, Steps
from meterseal.errors import MetersealError

T = TypeVar("T")


class AsyncDriver:
    """Does the steps of conversations, one after the other."""

    async def run(self, steps: Steps[T]) -> T:
        """Do all steps of a conversation; what it returns or raises."""
        try:
            step = next(steps)
            while True:
                try:
                    result = await self.exchange(step) if type(step) is Exchange else await self._other(step)
                except MetersealError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            steps.close()

    @abstractmethod
    def exchange(self, step: Exchange) -> Awaitable[bytes]:
        """Nearly all steps are of this kind."""

    @abstractmethod
    async def _other(self, step: Step) -> Any:
        """A step of another kind.  Raises Misuse for one that this driver cannot do."""


class Turn:
    """Whose turn it is, first come, first served: an `asyncio.Lock` that costs nothing where nobody waits.

    Who finds it not `taken` takes it; who does, waits.  Afterwards it is passed on; where nobody has ever
    been `waiting` it is just not taken any more.
    """

    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = False
        self.waiting: deque[asyncio.Future[None]] | None = None  # made for the first that waits

    async def wait(self) -> None:
        """Wait until the turn has been passed on to here."""
        mine = asyncio.get_running_loop().create_future()
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.pass_on()  # it came too late
            raise

    def pass_on(self) -> None:
        """It is the next one's turn, or nobody's."""
        waiting = self.waiting
        while waiting:
            following = waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self.taken = False


class BlockingDriver:
    """As `AsyncDriver`, for one thread."""

    def run(self, steps: Steps[T]) -> T:
        """Do all steps of a conversation; what it returns or raises."""
        try:
            step = next(steps)
            while True:
                try:
                    result = self.exchange(step) if type(step) is Exchange else self._other(step)
                except MetersealError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            steps.close()

    @abstractmethod
    def exchange(self, step: Exchange) -> bytes:
        """Nearly all steps are of this kind."""

    @abstractmethod
    def _other(self, step: Step) -> Any:
        """A step of another kind.  Raises Misuse for one that this driver cannot do."""
