"""A hand on the client's side of an association: any request, under any protection."""

from __future__ import annotations

from typing import Any

from meterseal import apdu
from meterseal.apdu.common import (
    AttributeDescriptor,
    MethodDescriptor,
)
from meterseal.codec.message import Message
from meterseal.security import Context, Style, protect, unprotect
from tests.association.pair import (
    CLOCK,
    SWITCH,
    Pair,
    associated,
    octet_string,
    replies,
)

LONG = octet_string(bytes(range(250)) * 4)
FIRST_INVOKE = 0xC2
ATTRIBUTE = AttributeDescriptor(8, CLOCK, 2)
METHOD = MethodDescriptor(70, SWITCH, 1)


class Line:
    """A hand on the client's side of an association: any request, under any protection."""

    def __init__(self, pair: Pair | None = None, **options: Any) -> None:
        self.pair = pair or associated(**options)
        self.context: Context = self.pair.client.context

    def say(self, message: Message | bytes, applied: int = 3) -> list[Message]:
        """Send a request; the meter's answers, opened."""
        octets = message if isinstance(message, bytes) else message.encode()
        if applied:
            octets = protect(self.context, octets, applied, Style.GLO)
        return [self.opened(o) for o in replies(self.pair.to_meter(octets))]

    def one(self, message: Message | bytes, applied: int = 3) -> Any:
        answers: list[Any] = list(self.say(message, applied))
        (answer,) = answers
        return answer

    def opened(self, octets: bytes) -> Message:
        if octets[0] in (0xCC, 0xCD, 0xCF):
            octets = unprotect(self.context, octets).apdu
        return apdu.decode(octets)
