"""Lines that the listener opens itself, again and again: one that it hears, one whose meters it asks."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from meterseal import net
from meterseal.errors import ConfigurationError, ConnectionLost, MetersealError
from meterseal.framing.hdlc import Timing
from meterseal.framing.items import Item, Layer
from meterseal.framing.live import LineReader
from meterseal.keys.counters import WINDOW
from meterseal.listener.book import LOOK_EVERY, Called
from meterseal.listener.presets import Preset
from meterseal.net import Asking, CallingLink, WireLog
from meterseal.net.octets import listen_to
from meterseal.net.url import Url

_AGAIN, _AGAIN_AT_MOST = 1.0, 30.0
"""Seconds before a line that was lost is opened again: doubling."""

_ASKING: Final = Timing(response=1.0, retries=0, longest_pause=5.0)
"""Who has nothing to say is silent, so this is what a question costs; and the longest time between two."""

_log = logging.getLogger("meterseal.listener")


class Back(Protocol):
    """The way back to who has sent a push."""

    def established(self) -> None:
        """It has proved who it is."""

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU."""


class Desk(Protocol):
    """Whom the lines serve: the listener."""

    preset: Preset

    def reader(self) -> LineReader:
        """What takes the frames of one line apart."""

    def take(self, items: list[Item], source: str, link: Back | None, window: int) -> None:
        """Items have come from a line."""


class Kept(ABC):
    """A line that is opened again when it is lost."""

    def __init__(self, desk: Desk, where: Url) -> None:
        self._desk, self._where = desk, where
        self._reader = desk.reader()
        self._over = asyncio.Event()

    async def open(self) -> None:
        """Open the line.  ConnectionLost, ConfigurationError, Unsupported."""
        self._over.clear()
        self._reader = self._desk.reader()
        await self._open()

    async def keep_open(self) -> None:
        """Wait for the end of the line and open it again, until cancelled."""
        try:
            while True:
                await self._until_over()
                for pause in _pauses():
                    await asyncio.sleep(pause)
                    try:
                        await self.open()
                    except MetersealError as error:
                        _log.warning("%s", error)
                    else:
                        break
        finally:
            await self._close()

    def lost(self, cause: ConnectionLost) -> None:
        """The line has ended."""
        _log.warning("%s", cause)
        self._over.set()

    async def _until_over(self) -> None:
        await self._over.wait()

    @abstractmethod
    async def _open(self) -> None:
        """Open it once."""

    @abstractmethod
    async def _close(self) -> None:
        """Let go of it."""


class Ear(Kept):
    """A line that is listened to."""

    _transport: asyncio.BaseTransport | None = None

    async def _open(self) -> None:
        preset = self._desk.preset
        self._transport = await listen_to(self._where, self, baud=preset.baud, form=preset.form)

    async def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def heard(self, octets: bytes) -> None:
        """Octets have come."""
        self._take(self._reader.feed(octets))

    def paused(self) -> None:
        """What has not ended will not."""
        self._take(self._reader.pause())

    def _take(self, items: list[Item]) -> None:
        self._desk.take(items, str(self._where), None, 0)


class Collector(Kept):
    """The primary of a line with HDLC: it asks the meters there for pushes that wait, in turn (more 8).

    `meters` says which.  Questions and answers are UI frames: no link is made, and no association touched.
    """

    def __init__(
        self, desk: Desk, where: Url, meters: Callable[[], Iterable[Called]], wire_log: WireLog | None
    ) -> None:
        super().__init__(desk, where)
        self._meters, self._wire_log = meters, wire_log
        self._size = 0
        self._asked: dict[tuple[int, int], Called] = {}
        self._link: CallingLink
        self._gone = asyncio.Event()

    async def _open(self) -> None:
        first = next(iter(self._meters()), None)
        if first is None:
            raise ConfigurationError(f"{self._where}: the credentials name no meter on this line")
        self._size, self._asked = first.size, {}
        self._gone.clear()
        asking = Asking(first.lower, first.size, timing=_ASKING)
        await net.call(self._where, self._made, wire_log=self._wire_log, hdlc=asking)
        self._look()

    def _made(self, link: CallingLink) -> Collector:
        self._link = link
        return self

    async def _close(self) -> None:
        """What is still to be confirmed is, once the last question is over."""
        self._link.close()
        await self._gone.wait()

    async def _until_over(self) -> None:
        while not self._over.is_set():
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._over.wait()
            except TimeoutError:
                self._look()

    def _look(self) -> None:
        """Ask those who are new, and no more those who are gone."""
        now = {(one.number, one.client): one for one in self._meters() if one.size == self._size}
        for number, client in self._asked.keys() - now.keys():
            self._link.free(client, number)
        new, self._asked = now.keys() - self._asked.keys(), now
        for number, client in sorted(new):
            self._link.poll(client, number, None)

    # --- for the line ---------------------------------------------------------------------------

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """A push, or a block of one; there may be more where it came from."""
        one = self._asked.get((source, destination))
        if one is None:
            return
        fields: dict[str, int | str | bool] = {"source": one.server, "destination": one.client}
        if one.lower is not None:
            fields["source_lower"] = one.lower
        layer = Layer("hdlc", {**fields, "control": "UI", "llc": "response"})
        items = self._reader.carried(layer, payload)
        self._desk.take(items, str(self._where), _WayBack(self._link, one), WINDOW)
        # What it is confirmed by goes out first: the listener was told before.
        asyncio.get_running_loop().call_soon(self._ask_again, one)

    def _ask_again(self, one: Called) -> None:
        if one in self._asked.values():
            self._link.poll(one.client, one.number, None)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """There are no links."""

    def closed(self, cause: Exception | None) -> None:
        """The line is gone."""
        self._gone.set()
        if cause is not None:
            self.lost(ConnectionLost(f"{self._where}: {cause}"))


class _WayBack:
    """To a meter that was asked: UI frames, as it has answered in them."""

    def __init__(self, link: CallingLink, one: Called) -> None:
        self._link, self._one = link, one

    def established(self) -> None:
        """Nobody was let in."""

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU."""
        self._link.notify(self._one.client, self._one.number, payload)


def _pauses() -> Iterator[float]:
    pause = _AGAIN
    while True:
        yield pause
        pause = min(2 * pause, _AGAIN_AT_MOST)
