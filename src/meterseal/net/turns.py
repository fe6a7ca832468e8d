"""What one turn of a loop brings on many connections is handled in a row, and leaves in a row.

The system's calls and ours use the same caches of a processor: a frame handled between two of them costs two
to three times what it costs after another frame (`ciphered_get_vs_echo` of `make bench`). So where a turn
brings frames on several connections they are received first, then handled, then their answers are sent; and
what is asked in a turn is sent at its end. Frames that come alone are handled at once: to look for company
costs a turn, so only two of seventeen do.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from meterseal.framing.wrapper import Frame

_ALONE: Final = 15
"""Frames handled at once after two that had no company."""

_ROOM: Final = 2048
"""Octets that are received at once where nothing is held: any usual frame."""


class Answering(Protocol):
    """A connection, as its loop's turns know it."""

    def handle(self, frame: Frame) -> None:
        """A whole frame has come; what goes wrong in it ends this connection and no other."""

    def put(self, octets: bytes) -> None:
        """Whole frames for the system; nothing happens when the connection is gone."""

    def abort(self) -> None:
        """End the connection."""


class Turns:
    """One for each loop. What comes on a connection is handled, and leaves, in its order."""

    __slots__ = ("_alone", "_answers", "_came", "_company", "_leaving", "_single", "room")

    def __init__(self) -> None:
        self._alone = _ALONE
        self._single = False  # the last look found no company, and it may have been the last of its turn
        self._company = False
        self._came: list[tuple[Answering, Frame]] = []  # to be handled in a row, in this order
        # Whose frame is handled in a row and has no answer yet: what it sends first leaves with the others'.
        self._answers: Answering | None = None
        self._leaving: list[tuple[Answering, bytes]] = []  # at the end of the row, in this order
        self.room: Final = memoryview(bytearray(_ROOM))
        """Where connections receive: what comes is taken out before it is the next one's turn."""

    def came(self, connection: Answering, frame: Frame) -> None:
        """A frame has come: it is handled now, or with its company."""
        if self._alone and not self._came:
            self._alone -= 1
            connection.handle(frame)
            return
        if not self._came:
            asyncio.get_running_loop().call_soon(self._handle)
        self._came.append((connection, frame))

    def send(self, connection: Answering, octets: bytes) -> None:
        """Whole frames leave now; the first that answer what is being handled, with the answers of others."""
        if connection is self._answers:
            self._answers = None
            self._leaving.append((connection, octets))
            return
        if self._leaving:
            self.flush()
        connection.put(octets)

    def ask(self, connection: Answering, octets: bytes) -> None:
        """A request leaves now, or in company at the end of this turn."""
        if not (self._company or self._leaving):
            connection.put(octets)
            return
        if not self._leaving:
            asyncio.get_running_loop().call_soon(self.flush)
        self._leaving.append((connection, octets))

    def flush(self) -> None:
        """What waits leaves now."""
        leaving, self._leaving = self._leaving, []
        for connection, octets in leaving:
            connection.put(octets)

    def _handle(self) -> None:
        came, self._came = self._came, []
        self._company = len(came) > 1
        if not self._company and self._single:
            self._alone = _ALONE
        self._single = not (self._company or self._alone)
        came.reverse()
        try:
            while came:
                connection, frame = came.pop()
                self._answers = connection
                try:
                    connection.handle(frame)
                except BaseException:
                    connection.abort()
                    raise
        finally:
            self._answers = None
            self.flush()
            if came:  # the others' frames are not lost with it
                self._came = came[::-1] + self._came
                asyncio.get_running_loop().call_soon(self._handle)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """The turns of a loop."""
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = Turns()
    return turns
