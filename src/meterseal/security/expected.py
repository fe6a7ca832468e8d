"""What a message holds is known before it comes: then one call of the cipher opens it in place of two.

Sealing what should be inside, under the counter that came, gives the very octets that came, tag and all; any
others are something else, or forged, and are for the general verbs.  What is made for the comparison goes
nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct

from meterseal.crypto import TAG_LENGTH, same
from meterseal.errors import MetersealError
from meterseal.keys.counters import LIMIT
from meterseal.security.context import Context, KeyInUse
from meterseal.security.prepared import BOTH, lead_of
from meterseal.security.protection import Style

_AROUND = 1 + 4 + TAG_LENGTH
"""Octets of security control, counter and tag."""


@lru_cache(64)
def _parts(head: int, body: int) -> Callable[[bytes], tuple[bytes, bytes, bytes]]:
    """Takes so many octets of head and body apart, with the counter between; the same for all of one form."""
    return Struct(f">{head}s4s{body}s").unpack


class Expected:
    """How APDUs of `size` octets that begin with `tag` come in, authenticated and encrypted.

    Made where `prepared.fits`, for APDUs of at most 110 octets, whose length is one octet.  It holds for one
    number of the setup's `Changes`.
    """

    __slots__ = ("_form",)

    def __init__(self, context: Context, tag: int, style: Style, size: int) -> None:
        setup, title = context.setup, context.peer_title or b""
        key: KeyInUse = context.receiving_key(style.key_set, False)
        sc = BOTH << 4 | setup.suite.id
        head = lead_of(style, tag, title) + bytes((_AROUND + size, sc))
        parts = _parts(len(head), size + TAG_LENGTH)
        # One tuple: its parts are needed together, and lie together.
        whole = len(head) + 4 + size + TAG_LENGTH
        self._form = setup.changes, setup.changes.number, whole, parts, head, key, sc, title

    def counter(self, octets: bytes, plain: bytes) -> int | None:
        """The counter of `octets`, verified to be `plain` sealed; whoever takes it has to `commit` it.

        None for everything else, with nothing changed.
        """
        changes, number, size, parts, head, key, sc, title = self._form
        if number != changes.number or len(octets) != size:
            return None
        found, invocation, body = parts(octets)
        counter = int.from_bytes(invocation, "big")
        if found != head or not key.rx.lowest <= counter < LIMIT:
            return None
        try:
            sealed = key.handle.seal_usual(sc, title + invocation, plain)
        except MetersealError:
            return None
        return counter if same(sealed, body) else None
