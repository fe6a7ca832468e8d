"""A client and a meter with small PDUs that prefer general block transfer; what they sent in blocks."""

from __future__ import annotations

from typing import Any

from meterseal.association.transfer import Transfer
from meterseal.framing import gbt
from meterseal.framing.gbt import Block, Reassembly
from meterseal.security import Style, protect
from tests.association.pair import (
    Pair,
    associated,
    octet_string,
    replies,
)

PREFERS = frozenset({"prefers_gbt"})
LONG = octet_string(bytes(range(256)) * 3)
SIZE = 128


def blocky(
    *, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None, **more: Any
) -> Pair:
    """A pair with small PDUs whose both ends prefer general block transfer."""
    common = {"max_pdu": SIZE, "options": PREFERS}
    return associated(client={**common, **(client or {})}, server={**common, **(server or {})}, **more)


def blocks(pair: Pair, sender: str) -> list[Block]:
    return [gbt.decode(octets) for octets in pair.sent(sender) if octets[0] == gbt.TAG]


def joined(pair: Pair, sender: str) -> list[bytes]:
    """The APDUs that one end sent in blocks, put together by the reader of captures."""
    reassembly = Reassembly()
    found = [reassembly.add(block) for block in blocks(pair, sender)]
    return [whole for whole in found if whole is not None]


def in_blocks(pair: Pair, plain: bytes, window: int = 8) -> list[Any]:
    """Deliver a plain APDU, protected, in blocks to the meter; all its effects."""
    protected = protect(pair.client.context, plain, 3, Style.GLO)
    sender = Transfer(size=SIZE, window=window, limit=1 << 16)
    found: list[Any] = []
    todo = list(sender.send(protected))
    while todo:
        effects = pair.to_meter(todo.pop(0))
        found += effects
        for octets in replies(effects):
            if octets[0] == gbt.TAG and sender.sending:
                todo += sender.take(gbt.decode(octets)).send
    return found


def answer_of(effects: list[Any]) -> bytes:
    reassembly = Reassembly()
    for octets in replies(effects):
        whole = reassembly.add(gbt.decode(octets))
        if whole is not None:
            return whole
    raise AssertionError("no answer in blocks")
