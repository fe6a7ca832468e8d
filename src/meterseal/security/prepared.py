"""Prepared protection: what `protect` and `unprotect` work out for a form of message, worked out once.

Ends that exchange the same kind of message again and again keep a `Sealing` for what they send and an
`Unsealing` for what they get.  What went into them holds for one number of the setup's `Changes`.  Every
check of the general verbs is here too, made beforehand or made again; what does not pass is left to them,
with nothing changed.
"""

from __future__ import annotations

from struct import Struct

from meterseal.apdu.ciphered import GLOBAL
from meterseal.codec.octets import length_octets
from meterseal.crypto import TAG_LENGTH
from meterseal.errors import MetersealError
from meterseal.keys.counters import LIMIT
from meterseal.security.context import Context, KeyInUse
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, Style

_nonce = Struct(">8sI").pack
_header = Struct(">BBI").pack
_long_header = Struct(">BI").pack
_counter_at = Struct(">I").unpack_from

_HEADER = 5
_SHORT = 0x7F
"""Octets of content whose length is one octet."""

BOTH = AUTHENTICATED | ENCRYPTED


def _lead(style: Style, tag: int, title: bytes) -> bytes:
    """What a protected APDU has before the length of its content; empty where there is no such form."""
    form = style.form
    if form is not None:
        return bytes((form.tag, len(title))) + title
    return bytes((style.tags[tag],)) if tag in style.tags else b""


def fits(context: Context, tag: int, style: Style) -> bool:
    """True where messages in this style can be prepared: one layer, known ends, no compression."""
    if style is Style.PLAIN or style is Style.LAYERED or context.compression is not None:
        return False
    if style.form is not None and not context.general:
        return False
    title = context.peer_title
    is_global = style.key_set is GLOBAL
    key = context.setup.unicast if is_global else context.dedicated
    known = key is not None and title is not None and title != context.setup.own_title
    return known and bool(_lead(style, tag, title or b"")) and not (is_global and context.exclusive_dedicated)


class Sealing:
    """How APDUs that begin with `tag` go out, authenticated and encrypted; made where `fits`."""

    __slots__ = ("_form",)

    def __init__(self, context: Context, tag: int, style: Style) -> None:
        setup, key = context.setup, context.sending_key(style.key_set)
        sc, lead = BOTH << 4 | setup.suite.id, _lead(style, tag, setup.own_title)
        # One tuple: its parts are needed together, and lie together.
        self._form = setup.changes, setup.changes.number, key, sc, setup.own_title, lead

    def seal(self, apdu: bytes) -> bytes | None:
        """As `protect`; None once anything has changed that this was worked out from.

        Raises CountersNeeded, CounterExhausted, UnknownKey.
        """
        changes, number, key, sc, title, lead = self._form
        if number != changes.number:
            return None
        counter = key.tx.take()
        body = key.handle.seal(sc, _nonce(title, counter), apdu)
        size = len(body) + _HEADER
        if size <= _SHORT:
            return lead + _header(size, sc, counter) + body
        return lead + length_octets(size) + _long_header(sc, counter) + body


class Unsealing:
    """How short APDUs that begin with `tag` come in, authenticated and encrypted; made where `fits`.

    `most` is the size of the largest one, 0 for any.
    """

    __slots__ = ("_form", "key")

    def __init__(self, context: Context, tag: int, style: Style, most: int = 0) -> None:
        setup, title = context.setup, context.peer_title or b""
        self.key: KeyInUse = context.receiving_key(style.key_set, False)
        sc, lead = BOTH << 4 | setup.suite.id, _lead(style, tag, title)
        at = len(lead)
        least, longest = at + 1 + _HEADER + TAG_LENGTH, at + 1 + _SHORT
        most = min(most or longest, longest)
        # As of a `Sealing`.
        self._form = setup.changes, setup.changes.number, lead, at, least, most, sc, title, bytes((tag,))

    def open(self, octets: bytes) -> tuple[bytes, int] | None:
        """The APDU inside, verified, and its counter, which whoever takes it has to `commit` to the key.

        None for whatever is not of this form, or not acceptable, or does not verify: nothing has changed,
        and `unprotect` says why.
        """
        changes, number, lead, at, least, most, sc, title, tag = self._form
        size = len(octets)
        if (
            number != changes.number
            or not least <= size <= most
            or octets[at] != size - at - 1
            or octets[at + 1] != sc
            or not octets.startswith(lead)
        ):
            return None
        key, (counter,) = self.key, _counter_at(octets, at + 2)
        if not key.rx.lowest <= counter < LIMIT:
            return None
        try:
            plain = key.handle.open(sc, title + octets[at + 2 : at + 6], octets[at + 6 :])
        except MetersealError:
            return None
        return (plain, counter) if plain.startswith(tag) else None
