"""The loops that do the steps of a conversation, with asyncio and without; a driver says how each is done."""

from __future__ import annotations

from abc import abstractmethod
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
                    result = await self._exchange(step) if type(step) is Exchange else await self._other(step)
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
    async def _exchange(self, step: Exchange) -> bytes:
        """Nearly all steps are of this kind."""

    @abstractmethod
    async def _other(self, step: Step) -> Any:
        """A step of another kind.  Raises Misuse for one that this driver cannot do."""


class BlockingDriver:
    """As `AsyncDriver`, for one thread."""

    def run(self, steps: Steps[T]) -> T:
        """Do all steps of a conversation; what it returns or raises."""
        try:
            step = next(steps)
            while True:
                try:
                    result = self._exchange(step) if type(step) is Exchange else self._other(step)
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
    def _exchange(self, step: Exchange) -> bytes:
        """Nearly all steps are of this kind."""

    @abstractmethod
    def _other(self, step: Step) -> Any:
        """A step of another kind.  Raises Misuse for one that this driver cannot do."""
