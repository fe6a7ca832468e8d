"""general-signing: who wrote an APDU, and for whom (security 6).

The signature covers the five fields and the content, so whoever passes a signed APDU on to somebody
else is found out by the recipient that it names (B18).
"""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Final

from meterseal.apdu.general import GeneralSigning, fields
from meterseal.codec.parts import write_octets
from meterseal.errors import Misuse, UnknownKey
from meterseal.security.context import Context
from meterseal.security.layers import SIGNING, Layer, check_fields
from meterseal.security.steps import Job, Steps

_USUAL: Final = Struct(">BB8sB8sB8sBBB")
"""Tag, transaction-id and both titles, each of 8 octets and with its length; no date-time and no other
information; the length of the content."""
_TAG: Final = GeneralSigning.tag[0]
_layer = tuple.__new__


def to_sign(context: Context, layer: Layer, apdu: bytes) -> tuple[bytes, Job]:
    """`apdu` in a signed layer toward the peer, up to the signature, and the job that makes it.

    Raises UnknownKey without a key of this end.
    """
    setup = context.setup
    key, own, recipient = setup.signing_key(), setup.own_title, recipient_of(context, layer)
    _, _, _, transaction, _, _, date_time, other = layer
    before = fields(transaction, own, recipient, date_time, other)
    content = before + write_octets(apdu)
    signed = content if _content_length(context) else before + apdu
    return GeneralSigning.tag + content, partial(key.sign, signed)


def open_signed(context: Context, octets: bytes, *, for_all: bool = False) -> Steps[tuple[bytes, Layer]]:
    """The content of a signed layer whose signature holds, and the layer; `for_all` for a broadcast.

    Raises DecodeError, UnknownKey, CertificateRefused, Forged.
    """
    content, layer, verify = to_verify(context, octets, for_all)
    yield verify
    return content, layer


def to_verify(context: Context, octets: bytes, for_all: bool) -> tuple[bytes, Layer, Job]:
    """As `open_signed`, but with the job of verifying it still to be done."""
    content_length = _content_length(context)
    found = usual(octets) if content_length else None
    if found is None:
        message = GeneralSigning.decode(octets)
        layer, content, signature = layer_of(message), message.content, message.signature
        check_fields(layer)
        signed = message.signed_in(octets, content_length=content_length)
    else:
        layer, content, signature, signed = found
    check_parties(context, layer, for_all=for_all)
    signer = context.verifying_key(layer.originator)
    return content, layer, partial(signer.verify, signature, signed)


def usual(octets: bytes) -> tuple[Layer, bytes, bytes, bytes] | None:
    """Layer, content, signature and what it covers, of a short message in the form that nearly all have.

    None for every other, which is for the declaration: this is what comes of it, in one look.
    """
    end = len(octets)
    if end <= _USUAL.size:
        return None
    tag, a, transaction, b, originator, c, recipient, date_time, other, size = _USUAL.unpack_from(octets)
    at = _USUAL.size + size
    if not a == b == c == 8 or date_time or other or tag != _TAG or size > 0x7F or at >= end:
        return None
    last = octets[at]
    if last > 0x7F or at + 1 + last != end:
        return None
    layer = _layer(Layer, (SIGNING, originator, recipient, transaction, "", 0, b"", b""))
    return layer, octets[_USUAL.size : at], octets[at + 1 :], octets[1:at]


def layer_of(message: GeneralSigning) -> Layer:
    """What a received layer says of itself; nothing of it is verified yet."""
    transaction, originator, recipient, date_time, other, *_ = message
    return Layer(SIGNING, originator, recipient, transaction, date_time=date_time, other_information=other)


def check_parties(context: Context, layer: Layer, *, for_all: bool = False) -> None:
    """The originator is the association's peer, the recipient this end.  Raises UnknownKey.

    Here is where other parties than the peer would be let in, each for what it may ask.
    """
    setup = context.setup
    if layer.originator == setup.own_title:
        raise UnknownKey(f"{layer.kind} carries this end's own system title: sent back by somebody")
    if not layer.originator or layer.originator != context.peer_title:
        raise UnknownKey(f"{layer.kind} of {_shown(layer.originator)}, who is not this association's peer")
    if layer.recipient != setup.own_title and (layer.recipient or not for_all):
        raise UnknownKey(f"{layer.kind} is for {_shown(layer.recipient)}, not for this end")


def recipient_of(context: Context, layer: Layer) -> bytes:
    """Whom a layer to be made is for: the one it names, else the peer.  Raises Misuse before there is one."""
    recipient = layer.recipient or context.peer_title
    if recipient is None:
        raise Misuse(f"{layer.kind} for nobody: the peer's system title is not known")
    return recipient


def _content_length(context: Context) -> bool:
    return "content_length_signed" not in context.options


def _shown(title: bytes) -> str:
    return title.hex().upper() or "nobody"
