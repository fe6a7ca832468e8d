"""General block transfer: one whole protected APDU each way, in blocks, with windows and recovery (more 2).

What is cut is the APDU as it was protected; the blocks themselves prove nothing.  So what they say is
bounded here (octets, blocks, how far ahead) and proved when the joined APDU is opened.  No clock: the
party says by `again` that its time for an answer has passed.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from meterseal.errors import Malformed, Misuse, TimedOut, TooLarge
from meterseal.framing import gbt
from meterseal.framing.gbt import MAX_BLOCKS, MAX_WINDOW, Block

TRIES: Final = 3
"""How often in a row a party's time may pass before the transfer is given up."""

REPEATS: Final = 2 * MAX_WINDOW
"""How many blocks in a row may come that bring nothing: repeats of a window that was lost on its way."""

LARGEST: Final = 0xFFFF
"""Octets of one APDU to a peer that says no limit: what the wrapper carries."""


class Taken(NamedTuple):
    """What came of a block: APDUs to send, and the joined APDU when this block completes it.

    Neither: more blocks of the peer's window follow, or there is nothing more to say.
    """

    send: tuple[bytes, ...] = ()
    whole: bytes | None = None


NOTHING: Final = Taken()


def room(size: int) -> int:
    """Octets of data in a block APDU of at most `size` octets (0: no size agreed).  Raises TooLarge."""
    size = min(size or LARGEST, LARGEST)
    # Seven octets around short data; the length takes one more from 80 on, two from 100 on.
    data = max(min(size - 7, 0x7F), min(size - 8, 0xFF), size - 9)
    if data < 1:
        raise TooLarge(f"the negotiated PDU size of {size} octets leaves no room for a block")
    return data


def opens(block: Block) -> bool:
    """True for a block that begins an exchange: number 1 with data, and nothing received before it."""
    return block.number == 1 and block.acknowledged == 0 and bool(block.data)


def unconfirmed(apdu: bytes, size: int) -> list[bytes]:
    """The blocks of an APDU that nobody acknowledges: window 0; a lost one loses it all.  Raises TooLarge."""
    data = room(size)
    last = -(-len(apdu) // data)
    if not 1 <= last <= MAX_BLOCKS:
        raise TooLarge(f"an APDU of {len(apdu)} octets is not 1 to {MAX_BLOCKS} blocks of {data}")
    chunks = [apdu[at : at + data] for at in range(0, len(apdu), data)]
    return [
        gbt.encode(Block(number, chunk, number == last, number != last))
        for number, chunk in enumerate(chunks, 1)
    ]


class Transfer:
    """One exchange by blocks, seen from one end.

    `size` is the largest APDU that the peer takes (0: any), `window` how many blocks this end takes before it
    acknowledges, `peer_window` the peer's until it says so itself.  `limit` bounds the octets that are
    joined, `blocks` their count; no more than `turn` blocks go out at once, whatever window the peer offers.
    After an error the transfer is over.

    Where datagrams may come twice one end alone may answer what brings nothing (`answers_repeats`), or each
    repetition would be answered by another for ever: the other end has the clock, and asks by `again`.
    """

    __slots__ = (
        "_acknowledged",
        "_ahead",
        "_answers_repeats",
        "_apdu",
        "_at",
        "_complete",
        "_data",
        "_last",
        "_limit",
        "_most",
        "_number",
        "_octets",
        "_offered",
        "_peer_window",
        "_received",
        "_room",
        "_tries",
        "_turn",
        "_unacknowledged",
        "_useless",
        "_window",
    )

    def __init__(
        self,
        *,
        size: int,
        window: int,
        limit: int,
        blocks: int = MAX_BLOCKS,
        peer_window: int = 1,
        answers_repeats: bool = True,
        turn: int = MAX_WINDOW,
    ) -> None:
        for name, given in (("window", window), ("peer's window", peer_window)):
            if not 1 <= given <= MAX_WINDOW:
                raise Misuse(f"the {name} is 1 to {MAX_WINDOW} blocks, not {given}")
        self._room, self._window, self._limit, self._most = room(size), window, limit, blocks
        self._peer_window, self._answers_repeats, self._turn = peer_window, answers_repeats, turn
        # What is sent: the APDU and how far it has been cut; blocks that wait for their acknowledgement.
        self._apdu, self._at, self._number = b"", 0, 0
        self._unacknowledged: deque[Block] = deque()
        # What is received: joined data without a gap, the count of its blocks, those behind a gap.
        self._data, self._received, self._complete = bytearray(), 0, False
        self._octets = 0
        self._last = 0  # the number of the block that is the last, once it has come
        self._ahead: dict[int, Block] = {}
        self._acknowledged, self._offered = 0, window
        self._tries = self._useless = 0

    # --- looking --------------------------------------------------------------------------------

    @property
    def sending(self) -> bool:
        """True while parts of an APDU are still to be sent for the first time."""
        return self._at < len(self._apdu)

    @property
    def complete(self) -> bool:
        """True when the peer's APDU has been joined."""
        return self._complete

    @property
    def held(self) -> int:
        """Octets that the transfer keeps."""
        return self._octets + len(self._apdu) + sum(len(block.data) for block in self._unacknowledged)

    # --- sending --------------------------------------------------------------------------------

    def send(self, apdu: bytes) -> tuple[bytes, ...]:
        """The first window of an APDU.  Raises TooLarge when the block numbers do not reach, Misuse."""
        if self.sending or not apdu:
            raise Misuse("nothing to send, or an APDU is being sent already")
        if self._number - (-len(apdu) // self._room) > MAX_BLOCKS:
            raise TooLarge(f"an APDU of {len(apdu)} octets needs more than {MAX_BLOCKS} blocks")
        self._apdu, self._at, self._tries = apdu, 0, 0
        return self._stream()

    def acknowledge(self) -> tuple[bytes, ...]:
        """The blocks that say how far the peer's have come: data where there is some, else an empty one."""
        if self._ahead:
            self._offered = min(self._ahead) - self._received - 1
        else:
            self._offered = self._window
        self._acknowledged = self._received
        return self._stream()

    def again(self) -> tuple[bytes, ...]:
        """The time for an answer has passed: ask for what is missing, send what was not acknowledged.

        Raises TimedOut after `TRIES` times without any progress.
        """
        self._tries += 1
        if self._tries > TRIES:
            raise TimedOut("general block transfer: no progress")
        return self.acknowledge()

    def _stream(self) -> tuple[bytes, ...]:
        """One window of blocks: unacknowledged ones first, then new ones; without any, an empty one."""
        queue = self._unacknowledged
        while len(queue) < self._peer_window and self.sending:
            self._append(self._apdu[self._at : self._at + self._room])
        if not queue:
            self._append(b"")
        window = [queue[at] for at in range(min(len(queue), self._peer_window))]
        offered, received = min(self._offered, MAX_WINDOW), self._acknowledged
        return tuple(
            gbt.encode(
                block._replace(streaming=block is not window[-1], window=offered, acknowledged=received)
            )
            for block in window
        )

    def _append(self, chunk: bytes) -> None:
        if self._number >= MAX_BLOCKS:
            raise TooLarge(f"general block transfer: {MAX_BLOCKS} blocks are the most")
        self._number += 1
        self._at += len(chunk)
        if not self.sending:
            self._apdu, self._at = b"", 0
        # An empty block is marked as the last: it says that nothing follows it.
        self._unacknowledged.append(Block(self._number, chunk, last=not self.sending))

    # --- receiving ------------------------------------------------------------------------------

    def take(self, block: Block) -> Taken:
        """Take one block of the peer.

        Raises Malformed for numbers that cannot be, data after the last block and repeats without end,
        TooLarge above the limits.
        """
        self._check(block)
        self._useless += 1
        before = self._complete
        moves = self._forget_acknowledged(block)
        speaking = self.sending or any(held.data for held in self._unacknowledged)
        # Who answers has all that was asked: data that comes while ours is on its way is of another exchange.
        if not (block.data and speaking) and self._store(block):
            moves = moves or speaking or bool(block.data)
        if self._useless > REPEATS:
            raise Malformed(f"general block transfer: {REPEATS} blocks without any progress")
        self._peer_window = min(max(block.window, 1), self._turn)
        if self._complete and not before:
            self._acknowledged, self._offered = self._received, self._window
            whole, self._data, self._octets = bytes(self._data), bytearray(), 0
            return Taken(whole=whole)
        if block.streaming and not (block.last and block.data):
            return NOTHING
        if not moves and not self._answers_repeats:
            return NOTHING
        outstanding = self.sending or self._unacknowledged
        if self._complete and not outstanding and not block.data:
            return NOTHING  # all is said: an acknowledgement is not acknowledged
        return Taken(self.acknowledge())

    def _check(self, block: Block) -> None:
        if not 1 <= block.number <= self._received + MAX_WINDOW:
            raise Malformed(f"general block transfer: block {block.number} after {self._received}")
        if block.acknowledged > self._number:
            raise Malformed(
                f"general block transfer: block {block.acknowledged} is acknowledged, "
                f"{self._number} were sent"
            )
        if block.number > self._most:
            raise TooLarge(f"general block transfer above {self._most} blocks")

    def _forget_acknowledged(self, block: Block) -> bool:
        """Let go of what has arrived.  True when there was data in it: nothing else is progress."""
        queue, data = self._unacknowledged, False
        while queue and queue[0].number <= block.acknowledged:
            data = bool(queue.popleft().data) or data
        if data:
            self._tries = self._useless = 0
        return data

    def _store(self, block: Block) -> bool:
        """Keep a block that is new; a repeated one is dropped with its content.  True when it is new."""
        if block.number <= self._received or block.number in self._ahead:
            return False
        behind = bool(self._last) and block.number > self._last
        if block.data and (behind or (block.last and max(self._ahead, default=0) > block.number)):
            raise Malformed("general block transfer: data after the last block")
        self._octets += len(block.data)
        if self._octets > self._limit:
            raise TooLarge(f"general block transfer above {self._limit} octets")
        if block.last and block.data:
            self._last = block.number
        self._ahead[block.number] = block
        if block.data:
            self._tries = self._useless = 0
        while (following := self._ahead.pop(self._received + 1, None)) is not None:
            self._received += 1
            self._data += following.data
        self._complete = bool(self._last) and self._received >= self._last
        return True
