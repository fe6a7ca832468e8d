"""The wire between client and meter: a relay over real sockets that records, and lets a scene interfere.

Frames go one at a time, a request and its answer, as DLMS/COSEM does on a line. Whoever sits in the middle
sees each frame, says what arrives in its place, and can speak to the meter itself meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, TypeAlias

from meterseal import net
from meterseal.errors import ConnectionLost, MetersealError
from meterseal.framing import wrapper

Direction: TypeAlias = Literal["out", "in"]
"""As the client sees it: `out` to the meter, `in` from it."""

Middle: TypeAlias = Callable[[Direction, bytes], Awaitable[bytes]]
"""Direction and the frame sent, to the frame that arrives in its place."""

PATIENCE: Final = 10.0
"""Seconds that the meter has for an answer."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A frame that went over the wire: as it was sent, and as it arrived."""

    direction: Direction
    sent: bytes
    arrived: bytes


async def untouched(direction: Direction, frame: bytes) -> bytes:
    """A middle that does nothing."""
    return frame


@dataclass(eq=False)
class Wire:
    """A relay to the meter at `target`; clients connect to `url`. Use with `async with`."""

    target: str
    middle: Middle = untouched
    passed: list[Passed] = field(default_factory=list)
    url: str = ""
    _server: net.Server | None = None
    _ends: list[_End] = field(default_factory=list)
    _to_meter: net.Line | None = None

    async def __aenter__(self) -> Wire:
        self._server = await net.serve("127.0.0.1", 0, self._enter)
        self.url = self._server.url
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._ends:
            end.task.cancel()
        ended = await asyncio.gather(*(end.task for end in self._ends), return_exceptions=True)
        if self._server is not None:
            await self._server.close()
        for fault in ended:
            if isinstance(fault, Exception) and error is None:
                raise fault  # of the one in the middle

    @property
    def connections(self) -> int:
        """How many connections clients have opened."""
        return len(self._ends)

    async def ask(self, frame: bytes) -> bytes:
        """Send a frame to the meter on the client's own connection and keep the answer from the client."""
        if self._to_meter is None:
            raise ConnectionLost("nobody has connected to this wire")
        return await ask(self._to_meter, frame)

    def _enter(self, link: net.Link) -> _End:
        self._ends.append(_End(link, self._carry))
        return self._ends[-1]

    async def _carry(self, end: _End) -> None:
        try:
            async with await net.connect(self.target) as line:
                self._to_meter = line
                while True:
                    request = await self._pass("out", await end.frames.get())
                    answer = await self._pass("in", await ask(line, request))
                    end.link.send(*wrapper.decode(answer))
        except MetersealError:
            pass  # the client learns it as it would from the meter: its line closes
        finally:
            end.link.close()

    async def _pass(self, direction: Direction, frame: bytes) -> bytes:
        arrived = await self.middle(direction, frame)
        self.passed.append(Passed(direction, frame, arrived))
        return arrived


async def ask(line: net.Line, frame: bytes) -> bytes:
    """Send one frame to the meter; the frame that it answers with."""
    await line.send(*wrapper.decode(frame))
    return wrapper.encode(*await line.receive(PATIENCE))


class _End:
    """The relay's end of a client's connection, and the task that carries its frames."""

    def __init__(self, link: net.Link, carry: Callable[[_End], Coroutine[None, None, None]]) -> None:
        self.link = link
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.task = asyncio.create_task(carry(self))

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """A frame has come from the client."""
        self.frames.put_nowait(wrapper.encode(source, destination, payload))

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """Links of pairs are for other lines: here a connection has one."""

    def closed(self, cause: Exception | None) -> None:
        """The client has gone, and so does its connection to the meter."""
        self.task.cancel()
