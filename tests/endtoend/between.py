"""What may happen on a line between two parties: frames held up, lost, exchanged, invented; or it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from meterseal import net
from meterseal.errors import MetersealError
from meterseal.framing import hdlc

Frame = tuple[int, int, bytes]


class Between:
    """A middle on TCP that takes frames apart.  Used with `async with`; `target` is where it leads to.

    `cut`: nobody gets through, and who was there is thrown out.  `there` and `back` say what becomes of a
    frame: none, itself, or others; `delay` seconds are on each way back.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.cut = False
        self.delay = 0.0
        self.there: Callable[[Frame], list[Frame]] = lambda frame: [frame]
        self.back: Callable[[Frame], list[Frame]] = lambda frame: [frame]
        self.passed = 0
        self._ways: set[_Way] = set()

    async def __aenter__(self) -> Between:
        self._server = await net.serve("127.0.0.1", 0, lambda link: _Way(self, link))
        return self

    async def __aexit__(self, *causes: object) -> None:
        await self._server.close()
        await asyncio.gather(*(way.task for way in self._ways), return_exceptions=True)

    @property
    def url(self) -> str:
        return self._server.url

    def cut_now(self) -> None:
        """From now on, and for all that are under way."""
        self.cut = True
        for way in list(self._ways):
            way.link.abort()


class _Way:
    """One connection through the middle."""

    def __init__(self, between: Between, link: net.Link) -> None:
        self.between, self.link = between, link
        self.queue: asyncio.Queue[Frame] = asyncio.Queue()
        between._ways.add(self)
        self.task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        try:
            if self.between.cut:
                return
            with suppress(MetersealError):
                async with await net.connect(self.between.target) as line:
                    ways = [asyncio.ensure_future(way) for way in (self.forth(line), self.home(line))]
                    try:
                        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for way in ways:
                            way.cancel()
                        await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self.link.abort()
            self.between._ways.discard(self)

    async def forth(self, line: net.Line) -> None:
        while True:
            for frame in self.between.there(await self.queue.get()):
                self.between.passed += 1
                await line.send(*frame)

    async def home(self, line: net.Line) -> None:
        while True:
            frame = await line.receive()
            if self.between.delay:
                await asyncio.sleep(self.between.delay)
            for one in self.between.back(frame):
                self.link.send(*one)

    def received(self, source: int, destination: int, payload: bytes) -> None:
        self.queue.put_nowait((source, destination, payload))

    def parted(self, source: int, destination: int, cause: Exception | None) -> None: ...

    def closed(self, cause: Exception | None) -> None:
        self.task.cancel()


@asynccontextmanager
async def lossy(target: str, each: int) -> AsyncIterator[str]:
    """A line with HDLC on which each frame with this number is lost (0: none), whoever sends it; its URL."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []
    count = 0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        frames = hdlc.FrameReader()
        with suppress(OSError):
            while octets := await reader.read(4096):
                for frame in frames.feed(octets):
                    count += 1
                    if not each or count % each:
                        writer.write(hdlc.encode(frame))
        writer.close()

    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = net.parse(target)
        there, back = await asyncio.open_connection(where.host, where.port)
        writers.extend((writer, back))
        tasks.update(map(asyncio.ensure_future, (pump(reader, back), pump(there, writer))))

    server = await asyncio.start_server(line, "127.0.0.1", 0)
    try:
        yield f"hdlc+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
