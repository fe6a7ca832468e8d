"""Block transfers at the meter: answers by general block transfer, and what half-open transfers keep.

Like for like (design law 10): an answer goes by general block transfer when its request came so, or when
it is long and the peer is one that prefers it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

from meterseal.association.base import ACSE_TAGS
from meterseal.association.effects import Effect, Refusal, Reply
from meterseal.association.exchange import Exchange
from meterseal.association.general_blocks import GeneralBlocks
from meterseal.association.memory import Line
from meterseal.association.profile import ServerProfile
from meterseal.association.transfer import Transfer, opens
from meterseal.errors import MetersealError, ProtocolViolation, TimedOut, TooLarge
from meterseal.framing.gbt import MAX_WINDOW, Block
from meterseal.security import SecuritySetup

UNPROVED: Final = 37
"""Octets of a block to an address that has proved nothing: thrice what asks for the next one, in either
form of blocks 7 octets in a wrapper of 8, less the block's own wrapper. No more is sent there (F16)."""


class ServingBlocks(GeneralBlocks):
    """The part of a meter's association that sends in blocks and counts what it keeps of them."""

    profile: ServerProfile
    datagrams: bool
    _exchange: Exchange | None
    _indicated: bool
    _track: object | None = None
    """What is remembered for the next message (repeating.py)."""

    def __init__(self, setup: SecuritySetup, line: Line) -> None:
        super().__init__(setup)
        self.client_max_pdu = self._kept = 0
        self.datagrams, self._memory, self._share, self._carried_whole = line

    # --- out --------------------------------------------------------------------------------------

    @property
    def _unproved(self) -> bool:
        """May anybody have written this client's address on what came, and be asking for another?"""
        return self.datagrams and not self.profile.scheme.passes

    @property
    def _reaches(self) -> int:
        """Octets of one APDU that reach the client: it takes them, and the line carries them whole."""
        return min(self.client_max_pdu or self._carried_whole, self._carried_whole)

    def _at_once(self) -> int:
        """Octets that the client takes in one APDU; with nothing proved no more than one request lets out."""
        return min(self._reaches, UNPROVED) if self._unproved else self._reaches

    def _begin_answer(self) -> Transfer:
        """A transfer whose blocks the client takes; with nothing proved one for each of its own."""
        return self._begin_transfer(self._at_once(), 1 if self._unproved else MAX_WINDOW)

    def _settled(self, effects: list[Effect]) -> list[Effect]:
        """What goes out after one message, in the form that the peer is to get it."""
        if self._by_blocks or self._prefers_blocks:
            effects = self._in_blocks(effects)
        if self._exchange is not None or self._transfer is not None or self._kept:
            self._count()
        if self._track is not None:
            self._get_ready(effects)
        return effects

    @abstractmethod
    def _get_ready(self, effects: list[Effect]) -> None:
        """What `_track` asks for once this goes out."""

    def _in_blocks(self, effects: list[Effect]) -> list[Effect]:
        found: list[Effect] = []
        for effect in effects:
            found += self._blocks_of(effect) if isinstance(effect, Reply) else [effect]
        if self._by_blocks and self._parked is None and not self._indicated:
            # A request that wants no answer: its last block was taken, and that is all there is to say.
            self._by_blocks = False
            found += [Reply(octets) for octets in (self._transfer.acknowledge() if self._transfer else ())]
        return found

    def _blocks_of(self, reply: Reply) -> list[Effect]:
        long = self._at_once() < len(reply.octets)
        if not self._by_blocks and (not long or reply.octets[0] in ACSE_TAGS):
            return [reply]
        transfer = self._transfer if self._by_blocks else None
        self._by_blocks = False
        try:
            transfer = transfer or self._begin_answer()
            return [Reply(octets) for octets in transfer.send(reply.octets)]
        except TooLarge as error:
            self._end_transfer()
            return self._refuse(error, "answering")

    # --- in ---------------------------------------------------------------------------------------

    def _transfer_of(self, block: Block) -> Transfer:
        begun = self._transfer
        if begun is not None and not opens(block):
            return begun
        # Where windows are known beforehand the first block may be missing and be asked for.
        if block.acknowledged or block.number > MAX_WINDOW or block.acknowledges_only:
            raise ProtocolViolation("no general block transfer is under way")
        return self._begin_answer()

    @abstractmethod
    def _refuse(self, error: MetersealError, during: str) -> list[Effect]:
        """What an error leads to at this end."""

    # --- what is kept ---------------------------------------------------------------------------------

    @property
    def answering(self) -> bool:
        """True while blocks of a long answer are still to be fetched."""
        by_service = self._exchange is not None and self._exchange.outgoing is not None
        return by_service or (self._transfer is not None and self._transfer.sending)

    @property
    def half_open(self) -> bool:
        """True while octets of a transfer are kept that the client may never end."""
        return self._kept > 0

    def _count(self) -> None:
        held = 0
        if self._exchange is not None:
            for part in (self._exchange.incoming, self._exchange.outgoing):
                held += 0 if part is None else part.held
        if self._transfer is not None:
            held += self._transfer.held
        if self._pieces is not None:
            held += self._pieces.held
        if held != self._kept:
            self._kept = held
            if self._memory is not None:
                self._memory.keep(self, self._share, held)

    def lose_transfer(self) -> None:
        """Forget a half-open transfer; its next block will be told that there is none."""
        if not self._indicated:
            self._exchange = None
        self._end_transfer()
        self._kept = 0

    def timed_out(self) -> list[Effect]:
        """The party's time for a half-open transfer has passed: it is over, and its memory free."""
        if not self.half_open:
            return []
        self.lose_transfer()
        if self._memory is not None:
            self._memory.keep(self, self._share, 0)
        return [Refusal(TimedOut("a block transfer was not ended in time"), "block transfer")]
