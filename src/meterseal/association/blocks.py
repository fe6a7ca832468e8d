"""Service-specific block transfer: cutting one way, joining the other (acse-xdlms 5, more 3).

Every block APDU is protected on its own; the pieces are joined after each was verified.
"""

from __future__ import annotations

from meterseal.apdu.common import DataBlock
from meterseal.errors import Malformed, TooLarge

PROTECTION_OVERHEAD = 1 + 5 + 5 + 12
"""Tag, longest length field, security header and authentication tag around an APDU."""

TITLE_OVERHEAD = 9
"""The system title with its length in the general forms."""

BLOCK_HEADER = 3 + 1 + 4 + 1 + 5
"""Service, choice, invoke-id, last-block, block number, result choice, length of raw-data."""


class Outgoing:
    """A long parameter being sent in blocks of at most `size` octets; numbers start at 1."""

    __slots__ = ("_at", "_raw", "_size", "number")

    def __init__(self, raw: bytes, size: int) -> None:
        self._raw, self._at, self.number = raw, 0, 0
        self.fit(size)

    def fit(self, size: int) -> None:
        """Blocks have at most `size` octets from now on.  Raises TooLarge where that is none."""
        if size < 1:
            raise TooLarge("the negotiated PDU size leaves no room for a block")
        self._size = size

    def next(self) -> DataBlock:
        """The next block."""
        chunk = self._raw[self._at : self._at + self._size]
        self._at += self._size
        self.number += 1
        return DataBlock(self.done, self.number, chunk)

    @property
    def held(self) -> int:
        """Octets that are kept."""
        return len(self._raw)

    @property
    def done(self) -> bool:
        """True when the last block has been taken."""
        return self._at >= len(self._raw)


class Incoming:
    """A long parameter arriving in blocks; kept up to `limit` octets."""

    __slots__ = ("_limit", "_parts", "_size", "number")

    def __init__(self, limit: int) -> None:
        self._limit, self._parts, self._size, self.number = limit, [b""], 0, 0

    @property
    def held(self) -> int:
        """Octets that are kept."""
        return self._size

    def take(self, block: DataBlock) -> bytes | None:
        """Store a block; returns the whole after the last one.

        Raises Malformed for a wrong number or an empty block that is not the last, TooLarge
        above the limit.
        """
        if block.block_number != self.number + 1:
            raise Malformed(f"block number {block.block_number}, expected {self.number + 1}")
        if not block.raw_data and not block.last_block:
            raise Malformed("an empty block that is not the last")
        self._size += len(block.raw_data)
        if self._size > self._limit:
            raise TooLarge(f"a block transfer above {self._limit} octets")
        self.number += 1
        self._parts.append(block.raw_data)
        return b"".join(self._parts) if block.last_block else None
