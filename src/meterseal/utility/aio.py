"""The utility for asyncio: a meter whose requests and answers somebody else carries."""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from meterseal.client.base import CredentialsLike
from meterseal.client.driving import AsyncDriver
from meterseal.client.steps import Acting, Exchange, Passing, Pause, Step, Steps, Work
from meterseal.client.verbs_aio import AsyncVerbs
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

Carry: TypeAlias = Callable[[Sealed], Awaitable[Sealed]]
"""Takes a sealed request to its meter and brings the sealed answer: a head-end, or `Meter.forward`.

It raises what goes wrong on its way: ConnectionLost, TimedOut, Refused where the meter opens nothing.
"""


Act: TypeAlias = Callable[[int, bytes, int, bytes], Awaitable[bytes | None]]
"""Calls a method by its descriptor in somebody's association, as `Meter.action` does."""


class _Carrying(AsyncDriver):
    """Does the steps of a third party's conversation by `carried`, which has no line of its own."""

    def __init__(self, carried: Callable[[Passing | Acting], Awaitable[Any]]) -> None:
        self._carried = carried

    async def exchange(self, step: Exchange) -> bytes:
        raise Misuse(NO_LINE)

    async def _other(self, step: Step) -> Any:
        match step:
            case Passing() | Acting():
                try:
                    return await asyncio.wait_for(self._carried(step), step.timeout)
                except TimeoutError:
                    raise TimedOut(f"nothing was brought within {step.timeout:g} s") from None
            case Work():
                return await asyncio.to_thread(step.job) if step.slow else step.job()
            case Pause():
                return await asyncio.sleep(step.seconds)
        raise Misuse(NO_LINE)


class _Runner(ThirdBase, AsyncVerbs):
    """A third party's conversation: one request at a time, others wait for their turn."""

    def __init__(self, session: ThirdSession) -> None:
        super().__init__(session)
        self._driver, self._turn = _Carrying(self._carried), asyncio.Lock()

    async def _run(self, steps: Steps[T]) -> T:
        async with self._turn:
            return await self._driver.run(steps)

    @abstractmethod
    async def _carried(self, step: Passing | Acting) -> Any:
        """What the carrier brings."""

    async def close(self) -> None:
        """Keep how far answers have been received."""
        await self._run(self._session.counting.note(due=False))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class SealedMeter(SealedBase, _Runner):
    """Read, write and call at a meter, sealed for it; one request at a time, others wait for their turn.

    `carry` gets each request and brings its answer; the other arguments as of `ThirdBase`.  Besides what
    the verbs of a client raise: Altered, Moved, Replayed, Reordered, Withheld for what a carrier does.
    """

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

    async def _carried(self, step: Passing | Acting) -> Any:
        if not isinstance(step, Passing):
            raise Misuse("what is sealed is carried, not called")
        return await self._carry(step.sealed)

    async def push(self, sealed: Sealed, *, signed: bool = True) -> Pushed:
        """Open a push that a listener or a head-end has found sealed for this party.

        Not `signed`: a push is taken without a signature in suites 1 and 2 as well.  Raises Altered, Moved,
        Replayed, TooWeak.
        """
        return await self._run(self._session.open_push(sealed, signed=signed))


class ProtectedMeter(ProtectedBase, _Runner):
    """The same by COSEM data protection: `act` calls the methods of `object`, a class 30 object.

    Who acts sees which objects are asked for and no value; that a write was done is its word alone.
    """

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

    async def _carried(self, step: Passing | Acting) -> Any:
        if not isinstance(step, Acting):
            raise Misuse("what is protected is called, not carried")
        return await self._act(step.class_id, step.instance, step.method, step.data)

    async def around(self, class_id: int, instance: bytes, method: int, data: bytes) -> bytes | None:
        """As an `Act` for another party's `ProtectedMeter`: its calls with this party's layers around them.

        What the other one asks is then held against the rights of both; what is brought back to it has this
        party's layers taken off.
        """
        return await self._run(self._session.around(class_id, instance, method, data))
