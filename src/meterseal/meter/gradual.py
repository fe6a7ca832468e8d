"""A result that is made in parts by whoever has time between them, and whole when it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from meterseal.errors import MetersealError
from meterseal.security.steps import Steps, outcome_of

T = TypeVar("T")


class Gradual(Generic[T]):
    """What steps come to.  Iterated, it does one job each time, until there is none left."""

    __slots__ = ("_heard", "_made", "_steps")

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self._heard: Any = None
        self._made: list[T] = []

    def __iter__(self) -> Iterator[None]:
        while self._goes_on():
            yield

    def whole(self) -> T:
        """The result, all that is left done at once.  Raises what the steps raise."""
        while self._goes_on():
            pass
        return self._made[0]

    def _goes_on(self) -> bool:
        """Do the next job; False when all is done."""
        if self._made:
            return False
        heard = self._heard
        try:
            job = self._steps.throw(heard) if isinstance(heard, MetersealError) else self._steps.send(heard)
        except StopIteration as done:
            self._made.append(done.value)
            return False
        self._heard = outcome_of(job)
        return True
