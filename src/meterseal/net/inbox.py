"""What has come in on a line until somebody takes it, and the task that waits for more.

Who waits is resumed by the loop's next turn, as of a future.  Where the line says that nobody is at work when
something comes (`prompt`), the task goes on at once, in the call that brings it: no turn of the loop in
between, and no other work that would push out of the processor's caches what the answer needs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from time import monotonic
from types import coroutine
from typing import Any, Final, Generic, TypeVar

from meterseal.errors import Misuse, TimedOut, TooLarge
from meterseal.framing.wrapper import Frame

from .timing import seconds

UNREAD: Final = 1 << 20
"""Octets that may lie unread on a line before it is closed."""

_ENTRY: Final = 64  # what holding one frame costs beside its octets
_NEVER: Final = float("inf")

T = TypeVar("T", Frame, bytes)


class _Waiter(Generic[T]):
    """A future as far as tasks ask for one, for one wait at a time.

    A task that is handed one says how it is woken, asks for the result when it is, and may `cancel` it.
    """

    __slots__ = ("_asyncio_future_blocking", "_error", "_loop", "context", "item", "result", "waits", "wake")

    wake: Callable[[_Waiter[T]], object]
    context: Context

    _error: BaseException

    def __init__(self) -> None:
        self._asyncio_future_blocking = False
        self._loop = asyncio.get_running_loop()  # `cancel` may be called when it does not run any more
        self.waits = False
        self.item: T | None = None
        self.result: Callable[[], object] = int
        """Called by the task as it goes on, which takes from `item` what has come: nothing, or an error."""

    get_loop = staticmethod(asyncio.get_running_loop)

    def add_done_callback(self, wake: Callable[[_Waiter[T]], object], context: Context) -> None:
        """Who waits begins to."""
        self.wake, self.context = wake, context

    def cancel(self, msg: object = None) -> bool:
        """Nobody wants it any more; False when it is too late for that."""
        if self.waits:
            self.end(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
            return True
        return False

    def end(self, error: BaseException) -> None:
        """Nothing comes."""
        self._error, self.result = error, self._raise
        self.later()

    def _raise(self) -> None:
        error, self.result = self._error, int
        del self._error
        try:
            raise error
        finally:
            del error  # no circle through its traceback

    def later(self) -> None:
        """It goes on with the loop's next turn."""
        self.waits = False
        self._loop.call_soon(self.wake, self, context=self.context)


class Inbox(Generic[T]):
    """What has come and was not yet received; at most one waits for more.

    One timer serves many waits: it is set again only when it fires before the time of the present wait.
    `prompt`: `put` is called by the loop, never by a task, and is ready for the next call.
    """

    __slots__ = ("_deadline", "_fires", "_prompt", "_size", "_spare", "_timer", "_waiter", "end", "items")

    def __init__(self, prompt: bool = False) -> None:
        self.items: deque[tuple[T, int]] | None = None
        """What has come with its size, the oldest first; made for the first that nobody waited for."""
        self._size = 0
        self._prompt = prompt
        self._waiter: _Waiter[T] | None = None
        self._spare: _Waiter[T] | None = None  # of the wait before
        self._deadline = self._fires = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self.end: Exception | None = None
        """Why nothing comes any more."""

    def put(self, item: T, size: int) -> None:
        """Something has come, of `size` octets. TooLarge when too much lies unread."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if waiter.waits:
                waiter.item = item
                if not self._prompt:
                    waiter.later()
                    return
                waiter.waits = False
                waiter.context.run(waiter.wake, waiter)
                return
        self._size += size + _ENTRY
        if self._size > UNREAD:
            raise TooLarge(f"more than {UNREAD} octets came that nobody waited for")
        if self.items is None:
            self.items = deque()
        self.items.append((item, size))

    def get(self, timeout: float | None) -> Coroutine[None, None, T]:
        """`until` the time that is so many seconds from now, or for ever."""
        wait = seconds("timeout", timeout)
        return self.until(_NEVER if wait is None else monotonic() + wait)

    async def until(self, deadline: float) -> T:
        """The next item, waiting for it if need be. TimedOut, Misuse, or the error that ended the line."""
        if self.items:
            item, size = self.items.popleft()
            self._size -= size + _ENTRY
            return item
        return await self.wait(deadline, kept=True)

    @coroutine
    def wait(self, deadline: float, kept: bool = False) -> Generator[Any, None, T]:
        """What comes next, where nothing lies here; errors as `until`.

        `deadline` is by the clock `time.monotonic`. What comes for somebody who is cancelled before seeing
        it is `kept`, or is not.
        """
        waiter, self._spare = self._spare, None
        if waiter is None:
            waiter = self._another()
        self._waiter = waiter
        self._deadline = deadline
        if deadline < self._fires:
            self._set_timer(deadline)
        waiter.waits = waiter._asyncio_future_blocking = True
        try:
            yield waiter
        except asyncio.CancelledError:
            if kept and waiter.item is not None:
                self._put_back(waiter.item)  # it came, and nobody has seen it
            raise
        item, waiter.item = waiter.item, None
        if self.end is None:
            self._spare = waiter
        return item  # type: ignore[return-value]  # that of a waiter who has ended well

    def _another(self) -> _Waiter[T]:
        """Where there is none to spare: the first time, and unless all is well."""
        if self.end is not None:
            raise self.end
        if self._waiter is not None and self._waiter.waits:
            raise Misuse("somebody waits already on this line")
        return _Waiter()

    def _put_back(self, item: T) -> None:
        self.items = deque([(item, 0), *(self.items or ())])
        self._size += _ENTRY

    def fail(self, error: Exception) -> None:
        """Nothing comes any more."""
        self.end, self._spare = error, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._fires = None, _NEVER
        waiter = self._waiter
        if waiter is not None and waiter.waits:
            waiter.end(error)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer, self._fires = loop.call_later(max(0.0, deadline - monotonic()), self._late), deadline

    def _late(self) -> None:
        self._timer, self._fires = None, _NEVER
        waiter = self._waiter
        if waiter is None or not waiter.waits:
            return
        if monotonic() < self._deadline:
            if self._deadline < _NEVER:
                self._set_timer(self._deadline)
            return
        waiter.end(TimedOut("no answer came in time"))
