"""Requests of a client: what is asked, under which protection, whole or in blocks, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meterseal.apdu.access import INVOKE_ID
from meterseal.apdu.ciphered import GLO_TAG
from meterseal.apdu.common import SHORT_INVOKE_ID
from meterseal.association.accessing import AskingAccess
from meterseal.association.asking import Asking
from meterseal.association.blocks import PROTECTION_OVERHEAD, TITLE_OVERHEAD
from meterseal.association.effects import Effect, Reply
from meterseal.association.general_blocks import GeneralBlocks
from meterseal.association.opening import SUITE_BITS, Opening
from meterseal.association.operations import Operation
from meterseal.association.profile import BLOCKS, ClientProfile
from meterseal.association.states import State
from meterseal.association.transfer import Transfer
from meterseal.errors import Misuse, ProtocolViolation, TimedOut, TooLarge, TooWeak
from meterseal.framing.gbt import MAX_WINDOW, Block
from meterseal.security import Context, Opened, Style, protect
from meterseal.security.protection import of_request, text

_CONFIRMED_HIGH = 0xC0


class Requesting(GeneralBlocks):
    """The part of a client's association that stands: requests out, one at a time."""

    profile: ClientProfile

    def __init__(self, profile: ClientProfile) -> None:
        super().__init__(profile.setup)
        self.profile = profile
        self.state = State.IDLE
        self.negotiated = 0
        self.server_max_pdu = 0
        self.server_title: bytes | None = profile.setup.peer_title
        self.context = Context(profile.setup, self.server_title)
        self._opening: Opening | None = None
        self._asking: Asking | AskingAccess | None = None
        self._invoke = self._long_invoke = 0
        # Requests that ended without their answer: it may still come, and is nobody else's.
        self._given_up: set[int] = set()

    def request(
        self,
        operations: Sequence[Operation],
        *,
        access: bool = False,
        stops: bool = False,
        described: bool = False,
    ) -> list[Effect]:
        """Ask for one operation, or several of the same service as a list; of any by ACCESS.

        With `access`, `stops` asks the meter to do nothing after the first element that fails,
        `described` to repeat in its answer what was asked.

        Raises Misuse when not associated or busy, Unsupported when the services in question were
        not negotiated, TooLarge when the request cannot be cut to the meter's size, TimedOut when
        so many requests were given up that no invoke-id is left to tell their answers from others.
        """
        self._must_stand(State.ASSOCIATED)
        if self._asking is not None:
            raise Misuse("a request is under way in this association")
        asked, negotiated = tuple(operations), self.negotiated
        asking: Asking | AskingAccess
        if access:
            self._long_invoke = self._long_invoke + 1 & INVOKE_ID
            asking = AskingAccess(asked, self._long_invoke, negotiated, stops=stops, described=described)
        else:
            profile, room = self.profile, self._room()
            limit, options = profile.reassembly_limit, profile.options
            asking = Asking(asked, self._next_invoke(), negotiated, room, limit, options)
        octets = asking.first()
        self._end_transfer()
        effects = self._with_counters(1, lambda: self._send_request(self._seal(octets), access))
        self._asking = asking
        return effects

    def _send_request(self, octets: bytes, access: bool) -> list[Effect]:
        """As it is, or in blocks: where they were agreed, long requests, and ACCESS for its long answers."""
        size = self.server_max_pdu
        if not self.negotiated & BLOCKS or not (access or 0 < size < len(octets)):
            return [Reply(octets)]
        return [Reply(block) for block in self._begin_transfer(size).send(octets)]

    def timed_out(self) -> list[Effect]:
        """The time for an answer has passed: blocks that are missing are asked for again.

        Empty where no general block transfer is under way; `Failed` when that has been tried often enough.
        """
        transfer = self._transfer
        if transfer is None or self._parked is not None:
            return []
        return self._guarded(lambda: [Reply(octets) for octets in transfer.again()], "waiting for blocks")

    def _must_stand(self, state: State) -> None:
        if self.state is not state:
            raise Misuse(f"the association is {self.state.value}, not {state.value}")
        if self._parked is not None:
            raise Misuse("invocation counters are being reserved for an earlier call")

    def _next_invoke(self) -> int:
        for step in range(1, SHORT_INVOKE_ID + 2):
            invoke = (self._invoke + step) & SHORT_INVOKE_ID
            if invoke not in self._given_up:
                self._invoke = invoke
                return _CONFIRMED_HIGH | invoke
        raise TimedOut("too many requests of this association were never answered: sign on anew")

    def _put_aside(self) -> None:
        if self._asking is not None:
            self._given_up.add(self._asking.identity)
            self._asking = None
        self._end_transfer()

    # --- what is under way --------------------------------------------------------------------

    def _running(self) -> Opening:
        if self._opening is None:
            raise ProtocolViolation("no sign-on is under way")
        return self._opening

    def _asked(self, message: Any) -> Asking | AskingAccess:
        if self._asking is None:
            raise ProtocolViolation(f"a {message.name} that nobody asked for")
        return self._asking

    def _check_protection(self, opened: Opened) -> None:
        required = self._running().response_minimum
        if required & ~opened.applied:
            raise TooWeak(f"the answer is {text(opened.applied)}, less than {text(required)}")

    def _transfer_of(self, block: Block) -> Transfer | None:
        if self._transfer is not None:
            return self._transfer
        if self._asking is not None and not block.acknowledged and block.number <= MAX_WINDOW:
            return self._begin_transfer(self.server_max_pdu)
        if self._given_up:
            return None  # of a transfer that was given up
        raise ProtocolViolation("blocks that nobody asked for")

    # --- protection and size ------------------------------------------------------------------

    def _seal(self, octets: bytes) -> bytes:
        applied = of_request(self.profile.setup.policy) & SUITE_BITS if self.profile.ciphered else 0
        return protect(self.context, octets, applied, self._style(octets[0])) if applied else octets

    def _style(self, tag: int) -> Style:
        dedicated = self.context.dedicated is not None
        if (self.profile.general or tag not in GLO_TAG) and self.context.general:
            return Style.GENERAL_DED if dedicated else Style.GENERAL_GLO
        return Style.DED if dedicated else Style.GLO

    def _room(self) -> int | None:
        """The largest plain APDU that the meter takes once it is protected; None for any, also in blocks."""
        if not self.server_max_pdu or self._prefers_blocks:
            return None
        overhead = PROTECTION_OVERHEAD + TITLE_OVERHEAD if self.profile.ciphered else 0
        if self.server_max_pdu <= overhead:
            raise TooLarge("the meter's PDU size leaves no room for a request")
        return self.server_max_pdu - overhead
