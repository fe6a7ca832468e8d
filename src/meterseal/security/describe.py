"""Layers as JSON: one object each, from the outside in, the same in every command that shows any."""

from __future__ import annotations

from typing import Any, Final

from meterseal.apdu.ciphered import SC_BROADCAST, SC_COMPRESSED, Ciphered, Form
from meterseal.crypto import SUITES, Suite
from meterseal.framing.items import Layer
from meterseal.security.layers import CIPHERED_TAG, CIPHERING, SIGNING, Layers
from meterseal.security.layers import Layer as Party
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, of_control

P1_APDU: Final = "p1-telegram"
_FORM: Final = Form(CIPHERED_TAG, CIPHERING, "", 0)
_KINDS: Final = {"p1": P1_APDU}


def framing_layer(layer: Layer) -> dict[str, Any]:
    """`kind` and the fields of its header."""
    return {"kind": _KINDS.get(layer.kind, layer.kind), **layer.fields}


def ciphered_layer(message: Ciphered, title: bytes | None, verified: bool | None) -> dict[str, Any]:
    """What protects, who says so and whether the tag was verified (None: there is none, or nobody could)."""
    applied = of_control(message.sc)
    return {
        "kind": message.form.name,
        "suite": message.sc & 0x0F,
        "authenticated": bool(applied & AUTHENTICATED),
        "encrypted": bool(applied & ENCRYPTED),
        "signed": False,
        "compressed": bool(message.sc & SC_COMPRESSED),
        "broadcast": bool(message.sc & SC_BROADCAST),
        "system_title": None if title is None else title.hex().upper(),
        "invocation_counter": message.counter,
        "verified": verified,
    }


_SUITE_OF_SIGNATURE: Final = {row.signature_length: row.id for row in SUITES.values() if row.curve}


def signed_layer(layer: Party, length: int, verified: bool | None) -> dict[str, Any]:
    """As `ciphered_layer`; a signature is known by its length and orders nothing, so there is no counter."""
    return {
        "kind": layer.kind,
        "suite": _SUITE_OF_SIGNATURE.get(length),
        "authenticated": False,
        "encrypted": False,
        "signed": True,
        "compressed": False,
        "broadcast": False,
        "system_title": layer.originator.hex().upper(),
        "invocation_counter": None,
        "verified": verified,
        **party_fields(layer),
    }


def party_fields(layer: Party) -> dict[str, Any]:
    """What a layer with parties of its own says besides: whom it is for, and which exchange it belongs to."""
    return {
        "recipient": layer.recipient.hex().upper(),
        "transaction_id": layer.transaction_id.hex().upper(),
    }


def party_layers(layers: Layers, suite: Suite, counter: int) -> list[dict[str, Any]]:
    """Verified layers with parties of their own, from the outside in; `counter` is the ciphered one's."""
    return [
        signed_layer(layer, suite.signature_length, True)
        if layer.kind is SIGNING
        else ciphered_layer(_header(layer, counter), layer.originator, True) | party_fields(layer)
        for layer in layers
    ]


def _header(layer: Party, counter: int) -> Ciphered:
    return Ciphered(_FORM, layer.originator, layer.sc, counter, b"")
