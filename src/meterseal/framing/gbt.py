"""General block transfer: one block, and whole APDUs out of captured blocks (acse-xdlms 5.2, more 2).

`E0 | control | block number u16 | acknowledged u16 | length | data`; control: bits 0..5 window, 6
streaming, 7 last block. What is cut into blocks is the whole protected APDU; the blocks themselves are not
protected.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from meterseal.errors import Malformed, Misuse, TooLarge, Truncated

from .bounds import Octets

TAG = 0xE0
MAX_WINDOW = 63
MAX_BLOCKS = 0xFFFF

_LAST = 0x80
_STREAMING = 0x40
_HEAD = struct.Struct(">BBHH")
_LONG_FORM = 0x80


class Block(NamedTuple):
    """One block.

    `number` counts from 1; `acknowledged` is the highest number received without a gap.

    `window` is how many blocks its sender takes before it acknowledges (0 in unconfirmed use). `last`
    without data is a pure acknowledgement.
    """

    number: int
    data: bytes = b""
    last: bool = False
    streaming: bool = False
    window: int = 0
    acknowledged: int = 0

    @property
    def acknowledges_only(self) -> bool:
        """Carries no data: an acknowledgement, or room for the peer's first window."""
        return not self.data


def encode(block: Block) -> bytes:
    """The E0 APDU. Misuse for values outside their fields, TooLarge for data above 65535 octets."""
    if not 0 <= block.window <= MAX_WINDOW:
        raise Misuse(f"the window of a block is 0..{MAX_WINDOW}, not {block.window}")
    control = block.window | (_STREAMING if block.streaming else 0) | (_LAST if block.last else 0)
    try:
        head = _HEAD.pack(TAG, control, block.number, block.acknowledged)
    except struct.error:
        raise Misuse("block numbers are 0..65535") from None
    size = len(block.data)
    if size < _LONG_FORM:
        return head + bytes((size,)) + block.data
    if size > 0xFFFF:
        raise TooLarge(f"a block of {size} octets, at most 65535")
    width = 1 if size <= 0xFF else 2
    return b"".join((head, bytes((_LONG_FORM | width,)), size.to_bytes(width, "big"), block.data))


def decode(octets: Octets) -> Block:
    """The one block that `octets` are, whole. Truncated, Malformed."""
    block, end = decode_at(octets, 0)
    if end != len(octets):
        raise Malformed(f"{len(octets) - end} octets after the block")
    return block


def decode_at(octets: Octets, pos: int) -> tuple[Block, int]:
    """The block that begins at `pos`, and the position after it.

    Malformed: another tag, a length in more than four octets or of indefinite form. A length that is not
    minimal is taken as it is. Truncated: checked before anything is copied.
    """
    if len(octets) - pos < _HEAD.size + 1:
        raise Truncated("general block transfer ends inside a block's header")
    tag, control, number, acknowledged = _HEAD.unpack_from(octets, pos)
    if tag != TAG:
        raise Malformed(f"a block begins with E0, not {tag:02X}")
    begin = pos + _HEAD.size + 1
    size = octets[begin - 1]
    if size >= _LONG_FORM:
        width = size - _LONG_FORM
        if not 1 <= width <= 4:
            raise Malformed(f"length of a block in {width} octets")
        if begin + width > len(octets):
            raise Truncated("general block transfer ends inside a block's length")
        size = int.from_bytes(octets[begin : begin + width], "big")
        begin += width
    if size > len(octets) - begin:
        raise Truncated(f"block of {size} octets, {len(octets) - begin} are there")
    data = bytes(octets[begin : begin + size])
    block = Block(
        number, data, control >= _LAST, bool(control & _STREAMING), control & MAX_WINDOW, acknowledged
    )
    return block, begin + size


class Reassembly:
    """`add` the blocks that one party sent, in the order they were captured; out comes the whole APDU.

    A block that comes twice is dropped; block 1 with other data begins a new APDU. In unconfirmed use
    (window 0) a gap loses the APDU; in confirmed use the missing block is sent again, up to a window later.
    `limit` bounds the APDU in octets, `blocks` their count.
    """

    __slots__ = ("_ahead", "_data", "_finished", "_octets", "blocks", "limit")

    def __init__(self, limit: int = 0xFFFF, blocks: int = 4096) -> None:
        self.limit = limit
        self.blocks = blocks
        self._finished: tuple[int, bytes] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the APDU that has begun."""
        self._octets = 0
        self._data: list[bytes] = []  # of each block without a gap
        self._ahead: dict[int, Block] = {}  # those behind a gap

    @property
    def missing(self) -> int | None:
        """The number of the block that is waited for, or None when nothing has begun."""
        return len(self._data) + 1 if self._data or self._ahead else None

    @property
    def holds_data(self) -> bool:
        """Has an APDU begun? (Acknowledgements count as blocks and begin none.)"""
        return self._octets > 0

    @property
    def held(self) -> int:
        """Octets of the APDU that has begun."""
        return self._octets

    def add(self, block: Block) -> bytes | None:
        """The APDU that this block completes, or None.

        Malformed: a gap that nobody will fill, or a block that contradicts an earlier one of the same number.
        TooLarge: above `limit` or `blocks`. Both forget what was collected.
        """
        if self._is_repetition(block):
            return None
        expected = len(self._data) + 1
        if block.number > expected and (not block.window or block.number - expected >= MAX_WINDOW):
            self.reset()
            raise Malformed(f"general block transfer: block {expected} is missing, {block.number} came")
        self._octets += len(block.data)
        if self._octets > self.limit or block.number > self.blocks:
            self.reset()
            raise TooLarge(f"general block transfer above {self.limit} octets or {self.blocks} blocks")
        self._ahead[block.number] = block
        return self._take()

    def _is_repetition(self, block: Block) -> bool:
        """Is the block there already? Block 1 with other data, or later, makes room for a new APDU."""
        known = self._data
        if not known and self._finished == (block.number, block.data):
            return True
        if block.number in self._ahead:
            return self._ahead[block.number].data == block.data or self._contradicts(block.number)
        if block.number > len(known):
            return False
        if block.number == 1 and (len(known) > 1 or known[0] != block.data):
            self.reset()
            return False
        if block.number < 1:
            raise Malformed("general block transfer: block number 0")
        return known[block.number - 1] == block.data or self._contradicts(block.number)

    def _contradicts(self, number: int) -> bool:
        self.reset()
        raise Malformed(f"general block transfer: block {number} came twice, with different data")

    def _take(self) -> bytes | None:
        """Move what is now without a gap; the whole APDU when that ends with the last block."""
        while (block := self._ahead.pop(len(self._data) + 1, None)) is not None:
            self._data.append(block.data)
            if block.last and block.data:
                whole = b"".join(self._data)
                self.reset()
                self._finished = (block.number, block.data)
                return whole
        return None
