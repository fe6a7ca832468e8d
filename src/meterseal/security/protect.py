"""protect and unprotect: the two verbs between a plain APDU and a ciphered one.

One order, here and nowhere else: look up the key, check that the counter is acceptable, verify,
check that the inner APDU fits the outer form, and only then commit the counter.  A message that
fails at any step has changed nothing (security 3, 9; design law 2).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import GLOBAL, SC_BROADCAST, SC_COMPRESSED, Ciphered
from meterseal.codec.octets import length_octets
from meterseal.errors import Forged, Malformed, TooWeak, UnknownKey, Unsupported
from meterseal.security.context import Context, KeyInUse
from meterseal.security.protection import AUTHENTICATED, Style, of_control, style_of, text

_NEVER_INSIDE = frozenset(ciphered.FORMS) | frozenset(range(0x60, 0x64)) | {0xDD, 0xDF, 0xE0, 0xE6, 0xE7}
"""Tags that may not stand inside a ciphered APDU: ciphered ones, ACSE, blocks, gateway prefixes."""

_FOR_ALL = frozenset({0xC1, 0xC3})
"""What the broadcast key may carry: set-request and action-request.  Every meter of the group holds that
key, so nothing that answers, signs on or releases is taken under it."""


_nonce = Struct(">8sI").pack
_short_head = Struct(">BBBI").pack
_security_header = Struct(">BI").pack
_tag_octet = Struct(">B").pack


class Opened(NamedTuple):
    """A received APDU and what protected it.

    `lowest_before` is the lowest acceptable counter as it was before this message, which is what
    the counter inside an HLS token is held against.
    """

    apdu: bytes
    applied: int
    style: Style
    broadcast: bool = False
    counter: int = -1
    lowest_before: int = 0
    key: KeyInUse | None = None


def protect(context: Context, apdu: bytes, applied: int, style: Style) -> bytes:
    """Protect a plain APDU with `applied` (AUTHENTICATED | ENCRYPTED) in `style`; takes one counter.

    Raises UnknownKey without the key, CounterExhausted at the counter's end, Unsupported for an
    APDU that has no ciphered form in this style.
    """
    form = style.form
    tag = style.tags.get(apdu[0], 0) if form is None else form.tag
    if not tag:
        raise Unsupported(f"APDU {apdu[0]:02X} has no ciphered form of its own ({style.name})")
    setup = context.setup
    # The key that is there, without a call; `sending_key` says which one is not.
    key = setup.unicast if style.key_set is GLOBAL else context.dedicated
    key = key or context.sending_key(style.key_set)
    sc = applied << 4 | setup.suite.id
    counter = key.tx.take()
    body = key.handle.seal(sc, _nonce(setup.own_title, counter), apdu)
    size = len(body) + 5
    if form is not None:
        return ciphered.build(form, setup.own_title, sc, counter, body)
    if size < 0x80:
        return _short_head(tag, size, sc, counter) + body
    return _tag_octet(tag) + length_octets(size) + _security_header(sc, counter) + body


def unprotect(context: Context, octets: bytes) -> Opened:
    """Open a ciphered APDU and commit its counter.

    Raises Malformed, Truncated, UnknownKey, Unsupported, TooWeak, Replayed, Forged; nothing has
    changed then.
    """
    message = ciphered.parse(octets)
    key = _look_up(context, message)
    title = message.title or context.peer_title
    if title is None:
        raise UnknownKey("the peer's system title is not known")
    lowest = key.rx.lowest
    key.rx.check(message.counter, context.window)
    plain = key.handle.open(message.sc, _nonce(title, message.counter), message.body)
    _check_inner(message, plain)
    applied = of_control(message.sc)
    if applied & AUTHENTICATED:
        # Without a tag anybody could have sent it: such a message never moves the counter.
        key.rx.commit(message.counter)
    return Opened(
        plain, applied, style_of(message.form), bool(message.sc & SC_BROADCAST), message.counter, lowest, key
    )


def _look_up(context: Context, message: Ciphered) -> KeyInUse:
    """The key a message is to be opened with; refuses by shape what no key could make right."""
    form, sc = message.form, message.sc
    applied, broadcast = of_control(sc), bool(sc & SC_BROADCAST)
    if form.general and not context.general:
        raise Unsupported(f"{form.name}: general protection was not negotiated")
    if sc & 0x0F != context.setup.suite.id:
        raise UnknownKey(f"security control {sc:02X} names suite {sc & 0x0F}, not {context.setup.suite.id}")
    if sc & SC_COMPRESSED:
        raise Malformed(f"security control {sc:02X}: compression is not for this form and suite")
    if not applied:
        raise TooWeak(f"security control {sc:02X} says neither authenticated nor encrypted")
    if broadcast and (form.key_set != ciphered.GLOBAL or not context.serving):
        raise UnknownKey(f"security control {sc:02X}: the broadcast key is not for {form.name} here")
    if context.minimum & AUTHENTICATED and not applied & AUTHENTICATED:
        raise TooWeak(f"{form.name} is only {text(applied)}: its contents cannot be trusted")
    if message.title and message.title == context.setup.own_title:
        raise UnknownKey(f"{form.name} carries this end's own system title: sent back by somebody")
    if message.title and context.peer_title is not None and message.title != context.peer_title:
        raise UnknownKey(f"system title {message.title.hex().upper()} is not this association's peer")
    return context.receiving_key(form.key_set, broadcast)


def _check_inner(message: Ciphered, plain: bytes) -> None:
    """The outer tag fixes the inner one; ciphered, ACSE and block APDUs are never inside."""
    if not plain:
        raise Malformed(f"{message.form.name}: nothing inside")
    expected = message.form.plain_tag
    if expected and plain[0] != expected:
        raise Forged(f"{message.form.name} does not hold the APDU that its tag promises")
    if plain[0] in _NEVER_INSIDE:
        raise Malformed(f"{message.form.name} holds an APDU that may not be inside")
    if message.sc & SC_BROADCAST and plain[0] not in _FOR_ALL:
        raise UnknownKey(f"{message.form.name}: the broadcast key is for set- and action-requests only")
