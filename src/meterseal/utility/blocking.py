"""The utility without asyncio: a meter whose requests and answers somebody else carries."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from meterseal.client.base import CredentialsLike
from meterseal.client.steps import Passing, Pause, Step, Steps, Work
from meterseal.client.verbs_blocking import BlockingVerbs
from meterseal.errors import MetersealError, Misuse, TimedOut
from meterseal.security.sealed import Sealed
from meterseal.state import CounterStore
from meterseal.utility.base import SealedBase

T = TypeVar("T")

Carry: TypeAlias = Callable[[Sealed], Sealed]
"""Takes a sealed request to its meter and brings the sealed answer; raises what goes wrong on its way."""


class SealedMeter(SealedBase, BlockingVerbs):
    """As `meterseal.utility.SealedMeter`, for one thread; what `carry` brings too late counts as withheld."""

    def __init__(
        self,
        credentials: CredentialsLike,
        carry: Carry,
        name: str | None = None,
        *,
        counters: CounterStore | None = None,
        state: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(credentials, name, counters, state, timeout)
        self._carry = carry

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = self._do(step)
                except MetersealError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            steps.close()

    def _do(self, step: Step) -> Any:
        match step:
            case Passing():
                return self._passed(step)
            case Work():
                return step.job()
            case Pause():
                return time.sleep(step.seconds)
        raise Misuse("a third party has no line of its own")

    def _passed(self, step: Passing) -> Sealed:
        deadline = time.monotonic() + step.timeout
        answer = self._carry(step.sealed)
        if time.monotonic() > deadline:
            raise TimedOut(f"nothing was brought within {step.timeout:g} s")
        return answer

    def close(self) -> None:
        """Keep how far answers have been received."""
        self._run(self._session.counting.note(due=False))

    def __enter__(self) -> SealedMeter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
