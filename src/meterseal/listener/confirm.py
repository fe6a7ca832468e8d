"""Confirming pushes that ask for it: data-notification-confirm under the key that opened the push (more 9).

Who confirms sends under a client's key and title, so its counters are those of the client that uses the same
credentials: reserved in the same store, before use.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from meterseal.apdu.services import DataNotification, DataNotificationConfirm
from meterseal.codec.message import Message
from meterseal.crypto import digest_of
from meterseal.errors import Misuse
from meterseal.keys.counters import key_id
from meterseal.listener.book import Door
from meterseal.security import AUTHENTICATED, ENCRYPTED, Context, Style, protect

_ASKS: Final = 1 << 30
_BLOCK: Final = 32

REMEMBERED: Final = 8
"""Pushes of one meter and role that asked for a confirmation and are known when they come again."""


def asks_for_confirmation(message: Message | None) -> bool:
    """True for a data-notification whose long invoke-id has the bit of confirmed services."""
    return isinstance(message, DataNotification) and bool(message.long_invoke_id_and_priority & _ASKS)


def confirmation(door: Door, message: Message | None) -> bytes:
    """The APDU that confirms a push which came through this door.

    Raises Misuse where the role has no title to send under, and what the store of the client's counters
    raises.
    """
    if not isinstance(message, DataNotification):
        raise Misuse("only a data-notification is confirmed")
    title = door.setup.own_title
    if not title or door.counters is None:
        raise Misuse(f"role {door.role} of {door.meter} has no client_system_title to confirm under")
    key = door.key
    if not key.tx.left:
        name = key_id(key.handle.kcv, title, "tx")
        key.tx.extend(*door.counters.reserve(name, _BLOCK, door.counter_start))
    plain = DataNotificationConfirm(message.long_invoke_id_and_priority, b"").encode()
    return protect(Context(door.setup, general=True), plain, AUTHENTICATED | ENCRYPTED, Style.GENERAL_GLO)


class Repetitions:
    """Pushes that come again because their confirmation was lost: under a new counter, the rest as it was.

    Only what has a time of its own can be told from another push with the same content.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[bytes]] = {}

    def is_one(self, door: Door, message: Message | None) -> bool:
        """Has this push come before?  It is remembered."""
        if not isinstance(message, DataNotification) or not message.date_time:
            return False
        known = self._seen.setdefault((door.meter, door.role), deque(maxlen=REMEMBERED))
        digest = digest_of(message.encode())
        if digest in known:
            return True
        known.append(digest)
        return False
