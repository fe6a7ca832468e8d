"""general-signing: who wrote an APDU, and for whom (security 6).

The signature covers the five fields and the content, so whoever passes a signed APDU on to somebody
else is found out by the recipient that it names (B18).
"""

from __future__ import annotations

from meterseal.apdu.general import GeneralSigning
from meterseal.codec.parts import write_octets
from meterseal.errors import Misuse, UnknownKey
from meterseal.security.context import Context
from meterseal.security.layers import SIGNING, Layer, check_fields
from meterseal.security.steps import Steps


def sign(context: Context, layer: Layer, apdu: bytes) -> Steps[bytes]:
    """`apdu` in a signed layer toward the peer.  Raises UnknownKey without a key of this end."""
    setup = context.setup
    key, write = setup.signing_key(), write_octets
    # Written down at once: a message taken apart and put together again costs as much as a signature.
    fields = (
        write(layer.transaction_id)
        + write(setup.own_title)
        + write(recipient_of(context, layer))
        + write(layer.date_time)
        + write(layer.other_information)
    )
    content = fields + write(apdu)
    signed = content if _content_length(context) else fields + apdu
    signature = yield lambda: key.sign(signed)
    return GeneralSigning.tag + content + write(signature)


def open_signed(context: Context, octets: bytes, *, for_all: bool = False) -> Steps[tuple[bytes, Layer]]:
    """The content of a signed layer whose signature holds, and the layer; `for_all` for a broadcast.

    Raises DecodeError, UnknownKey, CertificateRefused, Forged.
    """
    message = GeneralSigning.decode(octets)
    layer = layer_of(message)
    check_fields(layer)
    check_parties(context, layer, for_all=for_all)
    signer, signature = context.setup.verifying_key(layer.originator), message.signature
    signed = signed_octets(octets, message, _content_length(context))
    yield lambda: signer.verify(signature, signed)
    return message.content, layer


def signed_octets(octets: bytes, message: GeneralSigning, content_length: bool) -> bytes:
    """What the signature of a received layer covers; without `content_length` as the peer option has it."""
    if content_length:
        # As it came: all but the tag in front, and the signature with its one length octet behind.
        return octets[1 : -1 - len(message.signature)]
    return message.signed(content_length=False)


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
