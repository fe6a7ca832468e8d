"""General block transfer in an association: what either end does with blocks, around its messages (more 2).

Blocks come before any protection is taken off, and go after it was put on; a joined APDU takes the road of
every other.  Blocks with window 0 are unconfirmed: joined, never answered.
"""

from __future__ import annotations

from abc import abstractmethod

from meterseal.association.base import ACSE_TAGS, Association
from meterseal.association.effects import Effect, Reply
from meterseal.association.profile import BLOCKS, PREFERS_BLOCKS, Profile
from meterseal.association.transfer import Transfer
from meterseal.errors import Malformed, MetersealError, Unsupported
from meterseal.framing import gbt
from meterseal.framing.gbt import MAX_WINDOW, Block, Reassembly

_NEVER_INSIDE = frozenset((gbt.TAG, *ACSE_TAGS))


class GeneralBlocks(Association):
    """An end that takes and sends blocks where they were negotiated.

    `_by_blocks` is True while the APDU that is handled came by blocks: its answer goes the same way.
    """

    profile: Profile
    negotiated: int
    _transfer: Transfer | None = None
    _pieces: Reassembly | None = None
    _by_blocks = False
    _prefers_blocks = False
    """Long APDUs go to this peer by blocks, whoever began."""

    @property
    def _answers_repeats(self) -> bool:
        """Is a block that brings nothing answered?"""
        return True

    def _agree(self, negotiated: int) -> None:
        """From now on these services, by their bits."""
        self.negotiated = negotiated
        self._prefers_blocks = bool(negotiated & BLOCKS) and PREFERS_BLOCKS in self.profile.options

    def _take_block(self, octets: bytes) -> list[Effect]:
        if not self.negotiated & BLOCKS:
            raise Unsupported("general block transfer was not negotiated")
        block = gbt.decode(octets)
        if not block.window:
            return self._take_piece(block)
        transfer = self._transfer_of(block)
        if transfer is None:
            return []
        try:
            taken = transfer.take(block)
        except MetersealError:
            self._end_transfer()
            raise
        if taken.whole is None:
            return [Reply(block) for block in taken.send]
        self._by_blocks = True
        return self._joined(taken.whole)

    def _take_piece(self, block: Block) -> list[Effect]:
        """An unconfirmed block; an empty one without a number ends what was under way."""
        if block.acknowledges_only:
            self._end_transfer()
            return []
        if self._pieces is None:
            self._pieces = Reassembly(self.profile.reassembly_limit)
        whole = self._pieces.add(block)
        return [] if whole is None else self._joined(whole)

    def _joined(self, octets: bytes) -> list[Effect]:
        if not octets or octets[0] in _NEVER_INSIDE:
            raise Malformed("blocks hold an APDU that may not be in blocks")
        return self._take_whole(octets)

    def _begin_transfer(self, size: int, turn: int = MAX_WINDOW) -> Transfer:
        profile = self.profile
        self._transfer = Transfer(
            size=size,
            window=profile.window,
            limit=profile.reassembly_limit,
            answers_repeats=self._answers_repeats,
            turn=turn,
        )
        return self._transfer

    def _end_transfer(self) -> None:
        self._transfer = self._pieces = None

    @abstractmethod
    def _transfer_of(self, block: Block) -> Transfer | None:
        """The transfer that a confirmed block belongs to; None for one to be passed over.

        Raises ProtocolViolation where there is none.
        """

    @abstractmethod
    def _take_whole(self, octets: bytes) -> list[Effect]:
        """Take an APDU that is whole, however it came."""
