"""The outside of a push: whose it is and what protects it, as far as that can be told without a key.

Pushes come in a general form, in general-ciphering or in general-signing; what is inside may be signed, or
sealed for somebody else (security 7, classes 8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import Ciphered, Form
from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.security.ciphering import layer_of, take_content
from meterseal.security.describe import ciphered_layer, party_fields, signed_layer
from meterseal.security.layers import CIPHERING, SIGNING, Layer, check_fields
from meterseal.security.protection import of_control
from meterseal.security.signing import layer_of as signed_layer_of

_CIPHERED, _SIGNED = GeneralCiphering.tag[0], GeneralSigning.tag[0]
_FORM: Final = Form(_CIPHERED, CIPHERING, "", 0)


class Outside(NamedTuple):
    """`title` is the sender's and `recipient` whom a layer names, each empty where nobody is named.

    `applied` is the protection that it says it has, `shown` the layer as JSON with `verified` still open;
    `layered` is True for a layer with parties of its own.
    """

    title: bytes
    recipient: bytes
    applied: int
    shown: dict[str, Any]
    layered: bool = True


def _general(octets: bytes) -> Outside:
    message = ciphered.parse(octets)
    shown = ciphered_layer(message, message.title or None, None)
    return Outside(message.title or b"", b"", of_control(message.sc), shown, layered=False)


def _ciphering(octets: bytes) -> Outside:
    message = GeneralCiphering.decode(octets)
    sc, counter, body = take_content(message)
    layer = layer_of(message, sc, body, frozenset())
    check_fields(layer)
    shown = ciphered_layer(Ciphered(_FORM, layer.originator, sc, counter, body), layer.originator, None)
    fields = party_fields(layer) | {"key": layer.form}
    return Outside(layer.originator, layer.recipient, of_control(sc), shown | fields)


def _signing(octets: bytes) -> Outside:
    message = GeneralSigning.decode(octets)
    layer = signed_layer_of(message)
    check_fields(layer)
    shown = signed_layer(layer, len(message.signature), None)
    return Outside(layer.originator, layer.recipient, 0, shown)


_READERS: Final[dict[int, Callable[[bytes], Outside]]] = {
    **dict.fromkeys(ciphered.FORMS, _general),
    _CIPHERED: _ciphering,
    _SIGNED: _signing,
}


def is_protected(octets: bytes) -> bool:
    """True for what has an outside to be opened."""
    return bool(octets) and octets[0] in _READERS


def outside(octets: bytes) -> Outside:
    """The outside of a protected push.  Raises DecodeError."""
    return _READERS[octets[0]](octets)


def signed_inside(layers: tuple[Layer, ...], signature_length: int) -> tuple[dict[str, Any], ...]:
    """The signed layer inside a ciphered one, where there is one, as it is shown."""
    return tuple(signed_layer(one, signature_length, True) for one in layers if one.kind == SIGNING)
