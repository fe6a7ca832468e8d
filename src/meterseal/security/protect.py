"""protect and unprotect: the two verbs between a plain APDU and a protected one.

One order, here and nowhere else: look up the key, check that the counter is acceptable, verify,
check that what is inside fits what is around it, and only then commit the counter.  With several
layers all of them hold before anything is committed.  A message that fails at any step has changed
nothing (security 3, 7, 9; design law 2).

What a message may be, from the outside in (B10); no layer comes twice:

| ciphered by                                  | signed          | then                    |
|----------------------------------------------|-----------------|-------------------------|
| service-specific form, or nothing            |                 | plain APDU              |
| general-glo, general-ded, general-ciphering  | or not          | plain APDU, third party |
| nothing                                      | general-signing | plain APDU, third party |
| nothing                                      |                 | third party             |

What a third party may send inside is in third.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import NamedTuple

from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import GLOBAL, SC_BROADCAST, SC_COMPRESSED, Ciphered
from meterseal.codec.octets import length_octets
from meterseal.codec.parts import write_octets
from meterseal.crypto import TAG_LENGTH
from meterseal.errors import Forged, Malformed, TooWeak, UnknownKey, Unsupported
from meterseal.keys.exchanges import ONCE
from meterseal.security.ciphering import seal, unseal
from meterseal.security.context import Context, KeyInUse
from meterseal.security.keyforms import Guard
from meterseal.security.layers import (
    CIPHERED_TAG,
    CIPHERING,
    LAYERED,
    NEVER_INSIDE,
    NEVER_SIGNED,
    PROTECTED,
    SIGNED_TAG,
    SIGNING,
    Layer,
    Layers,
    find,
)
from meterseal.security.packing import check_packed, pack, unpack
from meterseal.security.protection import (
    AUTHENTICATED,
    ENCRYPTED,
    SIGNED,
    Style,
    of_control,
    style_of,
    text,
)
from meterseal.security.signing import to_sign, to_verify
from meterseal.security.steps import Steps, settle
from meterseal.security.third import Third, nests, of_others, open_third

__all__ = ["LAYERED", "PROTECTED", "Opened", "planned", "protect", "protecting", "unprotect", "unprotecting"]

_BOTH = AUTHENTICATED | ENCRYPTED

_FOR_ALL = frozenset({0xC1, 0xC3})
"""What the broadcast key may carry: set-request and action-request.  Every meter of the group holds that
key, so nothing that answers, signs on or releases is taken under it."""


_nonce = Struct(">8sI").pack
_short_head = Struct(">BBBI").pack
_security_header = Struct(">BI").pack
_tag_octet = Struct(">B").pack
_counter_at = Struct(">I").unpack_from
_opened = _guard = tuple.__new__
_PLAIN = Style.PLAIN  # a class attribute is looked up anew each time


class Opened(NamedTuple):
    """A received APDU and what protected it.

    `lowest_before` is the lowest acceptable counter as it was before this message, which is what
    the counter inside an HLS token is held against.  `layers` are those with parties of their own,
    from the outside in: what an answer has to mirror.  Where `third` is set the APDU is that third
    party's, and the rest says how the association carried it.
    """

    apdu: bytes
    applied: int
    style: Style
    broadcast: bool = False
    counter: int = -1
    lowest_before: int = 0
    key: KeyInUse | None = None
    layers: Layers = ()
    third: Third | None = None

    @property
    def origin(self) -> bytes | None:
        """Who signed it; None where nobody did."""
        signed = find(self.layers, SIGNING)
        return None if signed is None else signed.originator


def protect(context: Context, apdu: bytes, applied: int, style: Style, layers: Layers = ()) -> bytes:
    """Protect a plain APDU with `applied` in `style` and `layers`; a ciphered one takes one counter.

    Raises UnknownKey without the key, CounterExhausted at the counter's end, Unsupported for an
    APDU that has no ciphered form in this style.
    """
    if layers or applied & SIGNED:
        return settle(protecting(context, apdu, applied, style, layers))
    # Nearly all traffic, in one call: each more costs a tenth of the cipher's own work.
    form = style.form
    tag = style.tags.get(apdu[0]) if form is None else form.tag
    if not tag:
        raise Unsupported(f"APDU {apdu[0]:02X} has no ciphered form of its own ({style.name})")
    setup = context.setup
    # The key that is there, without a call; `sending_key` says which one is not.
    key = setup.unicast if style.key_set is GLOBAL else context.dedicated
    key = key or context.sending_key(style.key_set)
    sc = applied << 4 | setup.suite.id
    if context.compression is not None and (form is not None or _packs_anything(context)):
        sc, apdu = pack(context, sc, apdu)
    counter = key.tx.take()
    body = key.handle.seal(sc, _nonce(setup.own_title, counter), apdu)
    size = len(body) + 5
    if form is not None:
        return ciphered.build(form, setup.own_title, sc, counter, body)
    if size < 0x80:
        return _short_head(tag, size, sc, counter) + body
    return _tag_octet(tag) + length_octets(size) + _security_header(sc, counter) + body


def unprotect(context: Context, octets: bytes) -> Opened:
    """Open a protected APDU and commit its counter.

    Raises Malformed, Truncated, UnknownKey, Unsupported, TooWeak, Replayed, Forged and
    CertificateRefused; nothing has changed then.
    """
    found = unprotecting(context, octets)
    return found if type(found) is Opened else settle(found)


def protecting(
    context: Context, apdu: bytes, applied: int, style: Style, layers: Layers = ()
) -> bytes | Steps[bytes]:
    """As `protect`; where it takes curve work, the steps to it."""
    if layers or applied & SIGNED:
        return _in_layers(context, apdu, applied, style, layers)
    return protect(context, apdu, applied, style)


def _packs_anything(context: Context) -> bool:
    return "compress_service_specific" in context.options


def planned(applied: int, layers: Layers) -> Layers:
    """Which layers `protect` makes of these: one of ciphering, and one of a signature if `applied` has it."""
    return tuple(layer for layer in _plan(applied, layers) if layer is not None)


def _plan(applied: int, layers: Layers) -> tuple[Layer | None, Layer | None]:
    """The ciphered layer, and the signed one."""
    outer = find(layers, CIPHERING)
    if not applied & SIGNED:
        return outer, None
    # A layer that nobody began belongs to the exchange of the one around it, where there is one.
    begun = b"" if outer is None else outer.transaction_id
    return outer, find(layers, SIGNING) or Layer(SIGNING, b"", b"", begun)


def _in_layers(context: Context, apdu: bytes, applied: int, style: Style, layers: Layers) -> Steps[bytes]:
    """Signed first, then ciphered: by a layer of its own, or as the association does it."""
    outer, inner = _plan(applied, layers)
    if inner is not None:
        begun, sign = to_sign(context, inner, apdu)
        apdu = begun + write_octets((yield sign))
        style = style.carrier
    if outer is not None:
        return (yield from seal(context, outer, applied & _BOTH, apdu))
    if not applied & _BOTH:
        return apdu
    return settle(protecting(context, apdu, applied & _BOTH, style))


# --- opening ------------------------------------------------------------------------------------


def unprotecting(context: Context, octets: bytes) -> Opened | Steps[Opened]:
    """As `unprotect`; where it takes curve work, the steps to it."""
    opener = _OPENERS.get(octets[0]) if octets else None
    if opener is not None:
        return opener(context, octets)
    opened = open_usual(context, octets)
    if opened is not None:
        return opened
    message = ciphered.parse(octets)
    key = _look_up(context, message)
    title = message.title or context.peer_title
    if title is None:
        raise UnknownKey("the peer's system title is not known")
    lowest = key.rx.lowest
    key.rx.check(message.counter, context.window)
    plain = key.handle.open(message.sc, _nonce(title, message.counter), message.body)
    if message.sc & SC_COMPRESSED:
        plain = unpack(context, message.sc, plain)
    _check_inner(context, message, plain)
    applied, broadcast = of_control(message.sc), bool(message.sc & SC_BROADCAST)
    opened = Opened(plain, applied, style_of(message.form), broadcast, message.counter, lowest, key)
    if plain[0] in LAYERED:
        counter, rx, window = message.counter, key.rx, context.window
        guard = Guard(lambda: rx.check(counter, window), lambda: rx.commit(counter))
        return _inside(context, opened, guard)
    if applied & AUTHENTICATED:
        # Without a tag anybody could have sent it: such a message never moves the counter.
        key.rx.commit(message.counter)
    return opened


_USUAL: dict[int, tuple[int, bool, Style]] = {
    tag: (form.plain_tag, form.key_set is GLOBAL, style_of(form))
    for tag, form in ciphered.FORMS.items()
    if form.plain_tag
}
"""Service-specific forms by tag: the tag inside, whether the key is the global one, the style."""

_SHORTEST_USUAL = 2 + 5 + TAG_LENGTH
_LONGEST_USUAL = 2 + 0x7F


def open_usual(context: Context, octets: bytes) -> Opened | None:
    """Nearly all traffic: a short service-specific APDU with both bits set and no other; None for the rest.

    What `unprotecting` does, in the same order, less the looks that such a header passes by its shape.
    """
    size, setup = len(octets), context.setup
    if not _SHORTEST_USUAL <= size <= _LONGEST_USUAL or octets[1] != size - 2:
        return None
    usual, sc = _USUAL.get(octets[0]), octets[2]
    title = context.peer_title
    if usual is None or sc != _BOTH << 4 | setup.suite.id or title is None:
        return None
    plain_tag, is_global, style = usual
    key = setup.unicast if is_global else context.dedicated
    if key is None or (is_global and context.exclusive_dedicated):
        return None  # which the long way refuses, and says why
    rx, (counter,) = key.rx, _counter_at(octets, 3)
    lowest = rx.lowest
    rx.check(counter, context.window)
    plain = key.handle.open(sc, _nonce(title, counter), octets[7:])
    if not plain or plain[0] != plain_tag:
        _check_inner(context, ciphered.parse(octets), plain)
    rx.commit(counter)
    return _opened(Opened, (plain, _BOTH, style, False, counter, lowest, key, (), None))


def _inside(context: Context, opened: Opened, guard: Guard | None) -> Steps[Opened]:
    """What is inside layers: a signed APDU, a third party's, or both; counters move once all of them hold."""
    guards = [guard] if guard is not None and opened.applied & AUTHENTICATED else []
    whole = opened
    if whole.apdu[0] == SIGNED_TAG:
        apdu, layer, verify = to_verify(context, whole.apdu, whole.broadcast)
        yield verify
        whole = _signed(context, whole, apdu, layer)
        if not guards:
            guards = [_once(context, layer)]
    if whole.apdu[0] == CIPHERED_TAG and context.parties:
        third = yield from open_third(context, whole.apdu)
        guards.append(third.guard)
        whole = whole._replace(apdu=third.apdu, third=third)
    # Curve work came between: the same message may have come on another association meanwhile.
    for one in guards:
        one.check()
    for one in guards:
        one.commit()
    return whole


def _signed(context: Context, opened: Opened, apdu: bytes, layer: Layer) -> Opened:
    """What was opened, with its signed layer taken off, which holds."""
    _, applied, style, broadcast, counter, lowest, key, layers, third = opened
    if not apdu or (apdu[0] in NEVER_SIGNED and not nests(context, apdu[0])):
        raise Malformed(f"{SIGNING} holds nothing, or an APDU that may not be inside")
    _check_for_all(broadcast, apdu)
    return _opened(
        Opened, (apdu, applied | SIGNED, style, broadcast, counter, lowest, key, (*layers, layer), third)
    )


_SIGNED = SIGNING.encode()


def _once(context: Context, signed: Layer) -> Guard:
    """No counter orders a message that is only signed: its transaction-id is taken once (D07)."""
    name, seen = _SIGNED + signed.originator + signed.transaction_id, context.setup.exchanges
    return _guard(Guard, (partial(seen.check, name, 0), partial(seen.commit, name, ONCE), None, 0))


def _open_signing(context: Context, octets: bytes) -> Steps[Opened]:
    """A signed APDU that nothing ciphers."""
    _check_negotiated(context, SIGNING)
    if context.minimum & AUTHENTICATED:
        raise TooWeak(f"{SIGNING} alone tells nothing of its age: its contents cannot be trusted")
    return _inside(context, _opened(Opened, (octets, 0, _PLAIN, False, -1, 0, None, (), None)), None)


def _open_bare(context: Context, octets: bytes) -> Steps[Opened]:
    """What is sealed by a third party, or for one, with nothing of the association around."""
    if context.minimum & AUTHENTICATED:
        raise TooWeak(f"{CIPHERING} of another party, without the association's own protection")
    return (yield from _inside(context, Opened(octets, 0, Style.PLAIN), None))


def _open_ciphering(context: Context, octets: bytes) -> Steps[Opened]:
    _check_negotiated(context, CIPHERING)
    if of_others(context, octets):
        return (yield from _open_bare(context, octets))
    found = yield from unseal(context, octets)
    plain, layer, guard = found.plain, found.layer, found.guard
    if not plain or (plain[0] in NEVER_INSIDE and not nests(context, plain[0])):
        raise Malformed(f"{CIPHERING} holds nothing, or an APDU that may not be inside")
    broadcast, applied = layer.form == "broadcast", of_control(layer.sc)
    key, lowest = (guard.key, guard.lowest) if guard else (None, 0)
    opened = Opened(plain, applied, Style.LAYERED, broadcast, found.counter, lowest, key, (layer,))
    if plain[0] != SIGNED_TAG:
        _check_for_all(broadcast, plain)
    return (yield from _inside(context, opened, guard))


_OPENERS: dict[int, Callable[[Context, bytes], Steps[Opened]]] = {
    SIGNED_TAG: _open_signing,
    CIPHERED_TAG: _open_ciphering,
}


def _check_negotiated(context: Context, name: str) -> None:
    if not context.general:
        raise Unsupported(f"{name}: general protection was not negotiated")


def _check_for_all(broadcast: bool, apdu: bytes) -> None:
    if broadcast and apdu[0] not in _FOR_ALL:
        raise UnknownKey("the broadcast key is for set- and action-requests only")


def _look_up(context: Context, message: Ciphered) -> KeyInUse:
    """The key a message is to be opened with; refuses by shape what no key could make right."""
    form, sc = message.form, message.sc
    applied, broadcast = of_control(sc), bool(sc & SC_BROADCAST)
    if form.general:
        _check_negotiated(context, form.name)
    if sc & 0x0F != context.setup.suite.id:
        raise UnknownKey(f"security control {sc:02X} names suite {sc & 0x0F}, not {context.setup.suite.id}")
    check_packed(context, sc, "" if form.general else form.name)
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


def _check_inner(context: Context, message: Ciphered, plain: bytes) -> None:
    """The outer tag fixes the inner one; ciphered, ACSE and block APDUs are never inside."""
    if not plain:
        raise Malformed(f"{message.form.name}: nothing inside")
    expected = message.form.plain_tag
    if expected and plain[0] != expected:
        raise Forged(f"{message.form.name} does not hold the APDU that its tag promises")
    if plain[0] in NEVER_INSIDE and not nests(context, plain[0]):
        raise Malformed(f"{message.form.name} holds an APDU that may not be inside")
    if plain[0] != SIGNED_TAG:
        _check_for_all(bool(message.sc & SC_BROADCAST), plain)
