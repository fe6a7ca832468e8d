"""The listener on lines: connections and datagrams of meters, serial ports, bridges; one write a turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

from meterseal import apdu, net
from meterseal.errors import ConfigurationError, DecodeError, MetersealError, Unsupported
from meterseal.framing.items import Item
from meterseal.framing.live import LineReader
from meterseal.keys.counters import WINDOW
from meterseal.listener.confirm import Repetitions, asks_for_confirmation, confirmation
from meterseal.listener.lines import Back, Collector, Ear, Kept
from meterseal.listener.presets import ANY, Preset
from meterseal.listener.receiver import Received, Receiver
from meterseal.net import Admission, Handler, Link, Listening, WireLog
from meterseal.net.rate import Rate
from meterseal.net.url import SCHEMES, Url

REFUSALS_PER_SECOND: Final = 20

_log = logging.getLogger("meterseal.listener")

Deliver = Callable[[Received], bool | None]
"""Gets what was received; False when it does not take it."""


class Refusals:
    """Says what was refused, so many a second, and then how many more there were (H15)."""

    def __init__(self) -> None:
        self._rate = Rate(REFUSALS_PER_SECOND, 1)
        self.count = 0
        """All of them."""

    def says(self, received: Received, now: float) -> bool:
        """True when this one is to be told of; the line is written here."""
        self.count += 1
        told, before = self._rate.take(now)
        if before:
            _log.warning("%d more refusals were left out", before)
        if told and received.error is not None:
            where = f" (put aside in {received.aside})" if received.aside else ""
            _log.warning("%s: %s: %s%s", received.source, received.error.kind, received.error, where)
        return told


def _is_apdu(octets: bytes) -> bool:
    """Does it parse, where a tag leaves a choice between an APDU and Data?"""
    try:
        apdu.decode(octets)
    except (DecodeError, Unsupported):
        return False
    return True


class Listener:
    """Lines, a receiver behind them, and `deliver`, which gets what was received, in order.

    Pushes are handed on once their counters are durable, all that came in one turn of the loop after one
    write; where the disk does not take that, each of them is handed on as that error.  Refused ones go to
    `deliver` too, at most so many a second.  With `confirm` pushes that ask for it are confirmed once they
    were handed on and taken; one that comes again for want of its confirmation is confirmed and not handed on
    again.
    """

    def __init__(
        self,
        receiver: Receiver,
        deliver: Deliver,
        *,
        preset: Preset = ANY,
        confirm: bool = False,
        wire_log: WireLog | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.receiver, self.preset, self._confirm = receiver, preset, confirm
        self.refusals = Refusals()
        self._deliver, self._wire_log, self._admission = deliver, wire_log, admission
        self._waiting: list[tuple[Received, Back | None]] = []
        self._repetitions = Repetitions()
        self._lines: list[Listening] = []
        self._hearing: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    async def open(self, where: Url, *, collect: bool = False) -> str:
        """Listen at `tcp://` or `udp://`, or to a line, or ask the meters on a line with HDLC; where that is.

        They are asked on `hdlc+tcp://`, and on a serial line to `collect`.  Raises ConfigurationError,
        Unsupported, ConnectionLost (a line that was there once is opened again by itself later).
        """
        kind = SCHEMES[where.scheme]
        if collect and not kind.hdlc:
            raise ConfigurationError(f"{where}: meters are asked for pushes on a line with HDLC only")
        listen = _LISTEN.get(where.scheme)
        if listen is not None:
            server = await listen(
                where.host,
                where.port,
                self._caller,
                wire_log=self._wire_log,
                admission=self._admission,
            )
            self._lines.append(server)
            return server.url
        line = self._collector(where) if collect or (kind.hdlc and kind.network) else Ear(self, where)
        await line.open()
        self._hearing.append(self._loop.create_task(line.keep_open()))
        return str(where)

    def _collector(self, where: Url) -> Kept:
        if where.gateway is not None:
            raise ConfigurationError(f"{where}: behind a gateway nobody is asked for pushes")
        loop, receiver = self._loop, self.receiver
        return Collector(self, where, lambda: receiver.callable_at(where, loop.time()), self._wire_log)

    def _caller(self, link: Link) -> Handler:
        return _Caller(self, link)

    async def close(self) -> None:
        """End all lines; what was received is handed on first."""
        for task in self._hearing:
            task.cancel()
        await asyncio.gather(*self._hearing, return_exceptions=True)
        for line in self._lines:
            await line.close()
        self._flush()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def reader(self) -> LineReader:
        """What takes the frames of one line apart."""
        return LineReader(self.preset.kinds, _is_apdu, length_modulo_256=self.preset.length_modulo_256)

    def take(self, items: list[Item], source: str, link: Back | None, window: int) -> None:
        """Items have come from a line."""
        for received in self.receiver.take(items, source, window=window, now=self._loop.time()):
            if not self._waiting:
                self._loop.call_soon(self._flush)
            self._waiting.append((received, link))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        failed: MetersealError | None = None
        try:
            self.receiver.sync()
        except MetersealError as error:
            failed = error
        for received, link in waiting:
            if received.error is None and failed is not None:
                received.error, received.plain, received.message, received.telegram = failed, None, None, None
            if received.error is not None:
                if self.refusals.says(received, self._loop.time()):
                    self._deliver(received)
                continue
            if link is not None:
                link.established()
            if link is not None and self._confirm and asks_for_confirmation(received.message):
                self._confirmed(received, link)
            else:
                self._deliver(received)

    def _confirmed(self, received: Received, link: Back) -> None:
        """Hand it on, unless only its confirmation was lost, and confirm it."""
        door = received.door
        again = door is not None and self._repetitions.is_one(door, received.message)
        if (not again and self._deliver(received) is False) or door is None:
            return
        carrier = received.layers[0]
        try:
            octets = confirmation(door, received.message)
            link.send(carrier["destination"], carrier["source"], octets)
        except MetersealError as error:
            _log.warning("%s: a push of %s was not confirmed: %s", received.source, received.meter, error)


class _Caller:
    """The handler of one connection of a meter, or of one address."""

    def __init__(self, listener: Listener, link: Link) -> None:
        self._listener, self._link, self._reader = listener, link, listener.reader()

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU, or a block of one."""
        items = self._reader.frame((source, destination, payload))
        self._listener.take(items, self._link.peer, self._link, WINDOW)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """Pairs have no state here."""

    def closed(self, cause: Exception | None) -> None:
        """The connection is gone; what it sent counts, and what was no frame is told of."""
        if isinstance(cause, DecodeError):
            self._listener.take([Item((), b"", error=cause)], self._link.peer, None, WINDOW)


_LISTEN: Final[dict[str, Callable[..., Awaitable[Listening]]]] = {
    "tcp": net.serve,
    "udp": net.serve_datagrams,
}
