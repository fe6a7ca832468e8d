"""Prepared protection: what `protect` and `unprotect` work out for a form of message, worked out once.

Ends that exchange the same kind of message again and again keep a `Sealing` for what they send and an
`Unsealing` for what they get.  What went into them holds for one number of the setup's `Changes`.  Every
check of the general verbs is here too, made beforehand or made again; what does not pass is left to them,
with nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct

from meterseal.apdu.ciphered import GLOBAL
from meterseal.codec.octets import length_octets
from meterseal.crypto import TAG_LENGTH
from meterseal.errors import MetersealError
from meterseal.keys.counters import LIMIT
from meterseal.security.context import Context, KeyInUse
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, Style

_nonce = Struct(">8sI").pack

_COUNTER = 4
_HEADER = 1 + _COUNTER
_SHORT = 0x7F
"""Octets of content whose length is one octet."""

BOTH = AUTHENTICATED | ENCRYPTED


def lead_of(style: Style, tag: int, title: bytes) -> bytes:
    """What a protected APDU has before the length of its content; empty where there is no such form."""
    form = style.form
    if form is not None:
        return bytes((form.tag, len(title))) + title
    return bytes((style.tags[tag],)) if tag in style.tags else b""


def fits(context: Context, tag: int, style: Style) -> bool:
    """True where messages in this style can be prepared: one layer, known ends, no compression."""
    if context.compression is not None or (style.form is not None and not context.general):
        return False
    title = context.peer_title
    is_global = style.key_set is GLOBAL
    key = context.setup.unicast if is_global else context.dedicated
    known = key is not None and title is not None and title != context.setup.own_title
    return known and bool(lead_of(style, tag, b"")) and not (is_global and context.exclusive_dedicated)


class Sealing:
    """How APDUs that begin with `tag` go out, authenticated and encrypted; made where `fits`."""

    __slots__ = ("_form",)

    def __init__(self, context: Context, tag: int, style: Style) -> None:
        setup, key = context.setup, context.sending_key(style.key_set)
        sc, lead = BOTH << 4 | setup.suite.id, lead_of(style, tag, setup.own_title)
        # One tuple: its parts are needed together, and lie together.
        self._form = setup.changes, setup.changes.number, key, sc, setup.own_title, lead, -1, b""

    def seal(self, apdu: bytes) -> bytes | None:
        """As `protect`; None once anything has changed that this was worked out from.

        Raises CountersNeeded, CounterExhausted, UnknownKey.
        """
        changes, number, key, sc, title, _, size, head = self._form
        if number != changes.number:
            return None
        if len(apdu) != size:
            head = self._fit(len(apdu))
        counter = key.tx.take().to_bytes(_COUNTER, "big")
        return head + counter + key.handle.seal_usual(sc, title + counter, apdu)

    def _fit(self, size: int) -> bytes:
        """What comes before the counter of an APDU of another size, and of those after it."""
        changes, number, key, sc, title, lead, *_ = self._form
        head = lead + length_octets(_HEADER + size + TAG_LENGTH) + bytes((sc,))
        self._form = changes, number, key, sc, title, lead, size, head
        return head


@lru_cache(1024)
def _pieces(head: int, body: int) -> Callable[[bytes], tuple[bytes, int, bytes]]:
    """Takes so many octets of head and body apart: head, counter, body."""
    return Struct(f">{head}sI{body}s").unpack


class Unsealing:
    """How short APDUs that begin with `tag` come in, authenticated and encrypted; made where `fits`.

    `most` is the size of the largest one, 0 for any.  Answers to the same question are as long as the one
    before, more often than not: how those are taken apart is kept.
    """

    __slots__ = ("_bounds", "_form", "key")

    def __init__(self, context: Context, tag: int, style: Style, most: int = 0) -> None:
        setup, title = context.setup, context.peer_title or b""
        self.key: KeyInUse = context.receiving_key(style.key_set, False)
        sc, lead = BOTH << 4 | setup.suite.id, lead_of(style, tag, title)
        least, longest = (len(lead) + 1 + size for size in (_HEADER + 1 + TAG_LENGTH, _SHORT))
        self._bounds = lead, least, min(most or longest, longest)
        # As of a `Sealing`; with what holds for messages of one size.
        self._form = setup.changes, setup.changes.number, self.key, tag, sc, title, -1, b"", _pieces(0, 0)

    def open(self, octets: bytes, likely: bytes = b"") -> tuple[bytes, int] | None:
        """The APDU inside, verified, and its counter, which whoever takes it has to `commit` to the key.

        Where it is the one that is `likely`, that very object is given back, after one call of the cipher in
        place of two.

        None for whatever is not of this form, is not acceptable, or does not verify: nothing has changed,
        and `unprotect` says why.
        """
        changes, number, key, begin, sc, title, size, head, pieces = self._form
        if number != changes.number:
            return None
        if len(octets) != size:
            return self.open(octets, likely) if self._fit(len(octets)) else None
        found, counter, body = pieces(octets)
        if found != head or not key.rx.lowest <= counter < LIMIT:
            return None
        try:
            plain = key.handle.open_usual(sc, _nonce(title, counter), body, likely)
        except MetersealError:
            return None
        if plain is None or plain[0] != begin:
            return None
        return plain, counter

    def _fit(self, size: int) -> bool:
        """Be ready for messages of another size; False where there are none of it."""
        lead, least, most = self._bounds
        if not least <= size <= most:
            return False
        changes, number, key, tag, sc, title, *_ = self._form
        at = len(lead) + 1
        head, pieces = lead + bytes((size - at, sc)), _pieces(at + 1, size - at - _HEADER)
        self._form = changes, number, key, tag, sc, title, size, head, pieces
        return True
