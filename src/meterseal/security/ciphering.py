"""general-ciphering: a layer that says itself whose it is and where its key comes from (security 4).

What key-info may ask for are the rows of `keyforms`; the rest of a layer is the same for all of them.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from meterseal.apdu.ciphered import SC_BROADCAST
from meterseal.apdu.general import GeneralCiphering, GeneralSigning, KeyInfo, fields
from meterseal.codec.parts import write_octets
from meterseal.crypto import TAG_LENGTH, GcmKey
from meterseal.errors import Malformed, TooWeak, UnknownKey, Unsupported
from meterseal.security.context import Context
from meterseal.security.keyforms import FORMS, Form, Guard, form_of, guard
from meterseal.security.layers import CIPHERING, Layer, check_fields
from meterseal.security.packing import check_packed, pack, unpack
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, of_control, text
from meterseal.security.signing import check_parties, recipient_of
from meterseal.security.steps import Steps, through

_HEADER: Final = Struct(">BI")
_FIELDS: Final = 5


class Unsealed(NamedTuple):
    """A layer whose tag holds, its counter not yet committed; `guard` is None where nothing was protected."""

    plain: bytes
    layer: Layer
    counter: int
    guard: Guard | None


def seal(context: Context, layer: Layer, applied: int, apdu: bytes) -> Steps[bytes]:
    """`apdu` in a ciphered layer toward the peer; takes one counter, of the global or of the fresh keys.

    With `applied` 0 the layer is kept without protection, as an answer may do.  Raises UnknownKey for a
    key that this end or the directory does not have.
    """
    setup, form = context.setup, FORMS[layer.form]
    kind, _, _, transaction, name, control, date_time, other = layer
    recipient = recipient_of(context, layer)
    layer = Layer(kind, setup.own_title, recipient, transaction, name, control, date_time, other)
    header = _header(layer, applied)
    if not applied:
        return _written(header, None, _HEADER.pack(setup.suite.id, 0) + apdu)
    # Taken before any curve work: meanwhile others go on with the same counters.
    counter = (setup.fresh if form.lasting is None else setup.key()).tx.take()
    sc, information = pack(context, applied << 4 | setup.suite.id, apdu)
    made = yield from through(form.make(context, layer))
    head = _HEADER.pack(sc, counter)
    body = made.key.seal(sc, setup.own_title + head[1:], information, header)
    _forget(form, made.key)
    return _written(header, made.info, head + body)


def unseal(context: Context, octets: bytes) -> Steps[Unsealed]:
    """What a ciphered layer holds, once its tag is verified.

    Raises DecodeError, UnknownKey, KeyLength, TooWeak, Replayed, Forged, CertificateRefused.
    """
    message = GeneralCiphering.decode(octets)
    sc, counter, body = take_content(message)
    _check_control(context, sc)
    layer = layer_of(message, sc, body, context.options)
    check_fields(layer)
    check_parties(context, layer, for_all=layer.form == "broadcast")
    if not of_control(sc):
        return Unsealed(body, layer, counter, None)
    form, info = FORMS[layer.form], message.key_info
    judge = guard(context, layer, info, counter)
    judge.check()
    key = yield from through(form.find(context, layer, info))
    try:
        plain = key.open(sc, layer.originator + counter.to_bytes(4, "big"), body, message.header_in(octets))
    finally:
        _forget(form, key)
    return Unsealed(unpack(context, sc, plain), layer, counter, judge)


def _check_control(context: Context, sc: int) -> None:
    suite, applied = context.setup.suite.id, of_control(sc)
    if sc & 0x0F != suite:
        raise UnknownKey(f"security control {sc:02X} names suite {sc & 0x0F}, not {suite}")
    if sc & SC_BROADCAST:
        raise Malformed(f"security control {sc:02X}: in {CIPHERING} key-info says which key it is")
    check_packed(context, sc)
    if context.minimum & AUTHENTICATED and not applied & AUTHENTICATED:
        raise TooWeak(f"{CIPHERING} is only {text(applied)}: its contents cannot be trusted")


def take_content(message: GeneralCiphering) -> tuple[int, int, bytes]:
    """Security control octet, invocation counter and body of the content.  Raises Malformed."""
    content = message.ciphered_content
    if len(content) < _HEADER.size:
        raise Malformed(f"{CIPHERING}: content of {len(content)} octets has no security header")
    return *_HEADER.unpack_from(content), content[_HEADER.size :]


def layer_of(message: GeneralCiphering, sc: int, body: bytes, options: frozenset[str]) -> Layer:
    """What a received layer says of itself; nothing of it is verified yet."""
    five = message[:_FIELDS]
    if message.key_info is None and not any(five) and "empty_header_fields" in options:
        if of_control(sc) != AUTHENTICATED:
            raise Unsupported(f"{CIPHERING} with empty fields is {text(of_control(sc))}: nothing says whose")
        inner = GeneralSigning.decode(body[:-TAG_LENGTH])
        return Layer(
            CIPHERING,
            inner.originator_system_title,
            inner.recipient_system_title,
            inner.transaction_id,
            "bare",
            sc,
        )
    transaction, originator, recipient, date_time, other = five
    form = form_of(message.key_info)
    return Layer(CIPHERING, originator, recipient, transaction, form, sc, date_time, other)


def _written(header: bytes, info: KeyInfo | None, content: bytes) -> bytes:
    """The layer that `GeneralCiphering` declares."""
    told = b"\x00" if info is None else b"\x01" + info.encode()
    return GeneralCiphering.tag + header + told + write_octets(content)


def _header(layer: Layer, applied: int) -> bytes:
    """The five fields; all empty where the signed layer inside says it in its place."""
    if layer.form == "bare":
        if applied & ENCRYPTED:
            raise Unsupported(f"{CIPHERING} with empty fields cannot be encrypted: nothing would say whose")
        return bytes(_FIELDS)
    _, originator, recipient, transaction, _, _, date_time, other = layer
    return fields(transaction, originator, recipient, date_time, other)


def _forget(form: Form, key: GcmKey) -> None:
    """A key made for one message is gone after it."""
    if form.lasting is None:
        key.destroy(named=False)
