"""Carrying: what is sealed for a meter goes through a client, and the sealed answer comes back."""

from __future__ import annotations

from typing import Any, NoReturn

from meterseal.errors import ProtocolViolation
from meterseal.security.sealed import Sealed


class Carrying:
    """A sealed request on its way.  Its answer is known by what its header says: parties and exchange."""

    def __init__(self, sealed: Sealed) -> None:
        self.sealed = sealed
        self.identity: int | bytes = sealed.transaction_id

    def first(self) -> bytes:
        """The APDU of the request."""
        return self.sealed.octets

    def take(self, message: Any) -> NoReturn:
        """Raises ProtocolViolation: what is not sealed is no answer."""
        raise ProtocolViolation(f"a {message.name} answers what was sealed")
