"""One association on one connection, with what waits for it, and the time that a session goes by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from meterseal.association import Operation, ServerAssociation, ServerProfile, State
from meterseal.crypto import suite
from meterseal.meter.association_object import Association
from meterseal.security import AUTHENTICATED, ENCRYPTED, Opened, SecuritySetup
from meterseal.security.protection import policy_bits

_SEALED: Final = AUTHENTICATED | ENCRYPTED


Frame: TypeAlias = tuple[int, int, "bytes | Opened"]
"""Client SAP, server SAP, and an APDU; or one for all logical devices, which was opened as it came."""


class Handle(Protocol):
    """A timer that runs."""

    def cancel(self) -> None:
        """Stop it."""


class Timer(Protocol):
    """Time in seconds from any zero, and calls after some of it; an asyncio loop is one."""

    def time(self) -> float:
        """The time."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call after `delay` seconds."""


class Nobody:
    """The view of SAPs that no role has: nothing."""

    def right(self, operation: Operation, user: int | None) -> int | None:
        """Never any."""
        return None


class Live:
    """One association on one connection: the machine, and what waits for it.

    `held` is not None while an answer waits, to a failed sign-on or for the disk: later frames of this
    association wait behind it, so that answers keep their order.  `gone` once its link has ended: that
    answer is not sent.  `opening` while its sign-on is complete and not yet on disk.
    """

    def __init__(self, association: Association | None, machine: ServerAssociation) -> None:
        self.association, self.machine = association, machine
        self.held: deque[Frame] | None = None
        self.after: list[Callable[[bool], None]] = []
        self.ending: list[Callable[[], None]] = []
        self.gone = self.opening = False
        self.deadline: Handle | None = None
        self.touched = 0.0

    def waits(self, frames: deque[Frame]) -> bool:
        """Put frames behind an answer that waits; False when none does."""
        if self.held is not None:
            self.held.extend(frames)
        return self.held is not None

    @property
    def open(self) -> bool:
        """True while the association stands after a sign-on."""
        return self.machine.state is State.ASSOCIATED


def nobody(title: bytes) -> ServerProfile:
    """A profile that nothing opens: its policy asks for an Initiate under a key, and it has none.

    So an unknown SAP answers every AARQ, of any shape, as a ciphered HLS-GMAC association does (I03).
    """
    setup = SecuritySetup(suite(0), title, policy=policy_bits(_SEALED, _SEALED))
    return ServerProfile(client_sap=0, server_sap=0, setup=setup, view=Nobody(), mechanism=5, ciphered=True)
