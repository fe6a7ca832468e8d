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

    __slots__ = ("_alone", "_company", "_single", "answers", "came_in", "leaving", "room")

    def __init__(self) -> None:
        self._alone = _ALONE
        self._single = False  # the last look found no company, and it may have been the last of its turn
        self._company = False
        self.came_in: list[tuple[Answering, Frame]] = []
        """What is to be handled in a row, in this order."""
        self.answers: Answering | None = None
        """Whose frame is handled in a row and has no answer yet: what it sends first joins `leaving`."""
        self.leaving: list[tuple[Answering, bytes]] = []
        """What leaves at the end of the row, in this order."""
        self.room: Final = memoryview(bytearray(_ROOM))
        """Where connections receive: what comes is taken out before it is the next one's turn."""

    def came(self, connection: Answering, frame: Frame) -> None:
        """A frame has come: it is handled now, or with its company."""
        if self._alone and not self.came_in:
            self._alone -= 1
            connection.handle(frame)
            return
        if not self.came_in:
            asyncio.get_running_loop().call_soon(self._handle)
        self.came_in.append((connection, frame))

    def send(self, connection: Answering, octets: bytes) -> None:
        """Whole frames leave now; the first that answer what is being handled, with the answers of others."""
        if connection is self.answers:
            self.answers = None
            self.leaving.append((connection, octets))
            return
        if self.leaving:
            self.flush()
        connection.put(octets)

    def ask(self, connection: Answering, octets: bytes) -> None:
        """A request leaves now, or in company at the end of this turn."""
        if not (self._company or self.leaving):
            connection.put(octets)
            return
        if not self.leaving:
            asyncio.get_running_loop().call_soon(self.flush)
        self.leaving.append((connection, octets))

    def flush(self) -> None:
        """What waits leaves now."""
        leaving, self.leaving = self.leaving, []
        for connection, octets in leaving:
            connection.put(octets)

    def _handle(self) -> None:
        came, self.came_in = self.came_in, []
        self._company = len(came) > 1
        if not self._company and self._single:
            self._alone = _ALONE
        self._single = not (self._company or self._alone)
        came.reverse()
        try:
            while came:
                connection, frame = came.pop()
                self.answers = connection
                try:
                    connection.handle(frame)
                except BaseException:
                    connection.abort()
                    raise
        finally:
            self.answers = None
            self.flush()
            if came:  # the others' frames are not lost with it
                self.came_in = came[::-1] + self.came_in
                asyncio.get_running_loop().call_soon(self._handle)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """The turns of a loop."""
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = Turns()
    return turns
