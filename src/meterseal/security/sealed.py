"""Sealed: what one party has put in layers for another, as those who carry it hold it (security 7).

Whoever carries it can read the header, which says whose it is and which exchange it belongs to, and
nothing else: there is no way from here to a key.  What the header says is not verified either; only the
recipient can tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from meterseal.apdu.general import GeneralCiphering
from meterseal.errors import Malformed, TooWeak
from meterseal.security.layers import CIPHERING, Layer, check_fields
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, of_control

TAG: Final = GeneralCiphering.tag
"""The octet that begins what is sealed."""

_SEALED: Final = AUTHENTICATED | ENCRYPTED
_HEADER: Final = 5


@dataclass(frozen=True, slots=True)
class Sealed:
    """A general-ciphering APDU for somebody else, authenticated and encrypted; made by `of`.

    `originator` and `recipient` are system titles (8 octets), `transaction_id` the name of the exchange.
    """

    octets: bytes = field(repr=False)
    originator: bytes
    recipient: bytes
    transaction_id: bytes

    name: ClassVar[str] = CIPHERING

    @classmethod
    def of(cls, octets: bytes) -> Sealed:
        """What these octets are, as far as the header says.

        Raises DecodeError for what is no such APDU or names no two parties, TooWeak for one that
        whoever carries it could read or change.
        """
        message = GeneralCiphering.decode(octets)
        transaction, originator, recipient, date_time = message[:4]
        check_fields(Layer(CIPHERING, originator, recipient, transaction, date_time=date_time))
        if not originator or not recipient:
            raise Malformed("what is sealed names who made it, and whom it is for")
        content = message.ciphered_content
        if len(content) < _HEADER or of_control(content[0]) != _SEALED:
            raise TooWeak("only what is authenticated and encrypted is sealed")
        return cls(octets, originator, recipient, transaction)

    @property
    def size(self) -> int:
        """Octets on the wire, without what an association puts around."""
        return len(self.octets)

    def answers(self, request: Sealed) -> bool:
        """True when the header says that it answers `request`: parties swapped, the same exchange."""
        return (self.transaction_id, self.originator, self.recipient) == (
            request.transaction_id,
            request.recipient,
            request.originator,
        )

    def __str__(self) -> str:
        titles = f"{self.originator.hex().upper()} to {self.recipient.hex().upper()}"
        return f"{self.size} octets from {titles}, exchange {self.transaction_id.hex().upper()}"
