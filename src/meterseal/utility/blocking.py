"""The utility without asyncio: a meter whose requests and answers somebody else carries."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from meterseal.client.base import CredentialsLike
from meterseal.client.driving import BlockingDriver
from meterseal.client.steps import Acting, Exchange, Passing, Pause, Step, Steps, Work
from meterseal.client.verbs_blocking import BlockingVerbs
from meterseal.errors import Misuse, TimedOut
from meterseal.security.sealed import Sealed
from meterseal.state import CounterStore
from meterseal.utility.base import (
    ProtectedBase,
    SealedBase,
    ThirdBase,
    protected_session,
    sealed_session,
)
from meterseal.utility.session import NO_LINE, Pushed, ThirdSession

T = TypeVar("T")

Carry: TypeAlias = Callable[[Sealed], Sealed]
"""Takes a sealed request to its meter and brings the sealed answer; raises what goes wrong on its way."""


Act: TypeAlias = Callable[[int, bytes, int, bytes], bytes | None]
"""Calls a method by its descriptor in somebody's association, as `Meter.action` does."""


class _Carrying(BlockingDriver):
    """Does the steps of a third party's conversation by `carried`, which has no line of its own."""

    def __init__(self, carried: Callable[[Passing | Acting], Any]) -> None:
        self._carried = carried

    def exchange(self, step: Exchange) -> bytes:
        raise Misuse(NO_LINE)

    def _other(self, step: Step) -> Any:
        match step:
            case Passing() | Acting():
                deadline = time.monotonic() + step.timeout
                answer = self._carried(step)
                if time.monotonic() > deadline:
                    raise TimedOut(f"nothing was brought within {step.timeout:g} s")
                return answer
            case Work():
                return step.job()
            case Pause():
                return time.sleep(step.seconds)
        raise Misuse(NO_LINE)


class _Runner(ThirdBase, BlockingVerbs):
    """A third party's conversation, for one thread."""

    def __init__(self, session: ThirdSession) -> None:
        super().__init__(session)
        self._driver = _Carrying(self._carried)

    def _run(self, steps: Steps[T]) -> T:
        return self._driver.run(steps)

    @abstractmethod
    def _carried(self, step: Passing | Acting) -> Any:
        """What the carrier brings."""

    def close(self) -> None:
        """Keep how far answers have been received."""
        self._run(self._session.counting.note(due=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SealedMeter(SealedBase, _Runner):
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
        super().__init__(sealed_session(credentials, name, counters, state, timeout))
        self._carry = carry

    def _carried(self, step: Passing | Acting) -> Any:
        if not isinstance(step, Passing):
            raise Misuse("what is sealed is carried, not called")
        return self._carry(step.sealed)

    def push(self, sealed: Sealed, *, signed: bool = True) -> Pushed:
        """Open a push that a listener or a head-end has found sealed for this party.

        Not `signed`: a push is taken without a signature in suites 1 and 2 as well.  Raises Altered, Moved,
        Replayed, TooWeak.
        """
        return self._run(self._session.open_push(sealed, signed=signed))


class ProtectedMeter(ProtectedBase, _Runner):
    """As `meterseal.utility.ProtectedMeter`, for one thread."""

    def __init__(
        self,
        credentials: CredentialsLike,
        act: Act,
        name: str | None = None,
        *,
        object: str = "0.0.43.2.0.255",
        counters: CounterStore | None = None,
        state: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(protected_session(credentials, name, object, counters, state, timeout))
        self._act = act

    def _carried(self, step: Passing | Acting) -> Any:
        if not isinstance(step, Acting):
            raise Misuse("what is protected is called, not carried")
        return self._act(step.class_id, step.instance, step.method, step.data)

    def around(self, class_id: int, instance: bytes, method: int, data: bytes) -> bytes | None:
        """As of `meterseal.utility.ProtectedMeter`."""
        return self._run(self._session.around(class_id, instance, method, data))
