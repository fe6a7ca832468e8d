"""Pushes in layers: push_protection_parameters of class 40, inside the role's own protection (classes 8).

| elements              | for the role's client                 | for a third party                        |
|-----------------------|---------------------------------------|------------------------------------------|
| none                  | general-glo, signed where policy says | -                                        |
| signature             | general-glo around general-signing    | no: the client could read it             |
| cipher, signed or not | general-ciphering, no general-glo     | general-glo around what is sealed for it |

A layer is made anew for each push, with a transaction-id of its own unless the parameters fix one.
"""

from __future__ import annotations

from typing import Any, Final

from meterseal.association.profile import ThirdParty
from meterseal.errors import MetersealError, UnknownKey
from meterseal.meter.objects import OTHER_REASON, Denied
from meterseal.meter.orders import Surroundings
from meterseal.security import Context, SecuritySetup, Style, protect
from meterseal.security.context import Counted
from meterseal.security.keyforms import is_fresh
from meterseal.security.layers import CIPHERING, SIGNING, Layer, Layers, find
from meterseal.security.parameters import Element, layers_of, read_elements
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, SIGNED, of_response

_BOTH: Final = AUTHENTICATED | ENCRYPTED
_TRANSACTION: Final = 8
PUSH_KEYS: Final = ("identified", "wrapped", "one-pass", "static")
"""Keys that a push may be ciphered with, by the names of `keyforms`."""

_AGREED: Final = frozenset({"one-pass", "static"})
_SHARED: Final = frozenset({"identified", "broadcast"})


def check_parameters(around: Surroundings, value: Any) -> None:
    """Look at push_protection_parameters that somebody writes.  Raises Denied for what cannot be kept to."""
    try:
        elements = read_elements(value)
        _, layers = layers_of(elements)
    except MetersealError as error:
        raise Denied(OTHER_REASON, str(error)) from None
    setup = around.ring.setup
    for one in elements:
        if (cause := _against(around, setup, one)) is not None:
            raise Denied(OTHER_REASON, cause)
    recipients = {_recipient(setup, layer) for layer in layers}
    if len(recipients) > 1:
        raise Denied(OTHER_REASON, "the layers of a push are for one recipient")
    if elements and find(layers, CIPHERING) is None and _is_third(setup, layers[0]):
        raise Denied(OTHER_REASON, "what is only signed is for the client of the role")


def _against(around: Surroundings, setup: SecuritySetup, element: Element) -> str | None:
    """What is against one element."""
    layer, third = element.layer, _is_third(setup, element.layer)
    if layer.originator not in (b"", setup.own_title):
        return "the originator of a push is the meter"
    if setup.suite.curve is None and (element.applied == SIGNED or layer.form in _AGREED):
        return "signatures and agreed keys are not for this suite"
    if element.key_data:
        return "the key of a push is made with it: key_info brings none"
    if element.applied == ENCRYPTED or (third and element.applied == AUTHENTICATED):
        return "a layer that whoever carries it could read or change is none"
    if layer.form == "broadcast" or (third and layer.form in _SHARED):
        return "the key would be others' as well"
    if third and layer.form == "wrapped" and around.profile() and not _third(around, layer.recipient):
        return "no key encryption key of that recipient is held"
    return None


def sealed(around: Surroundings, plain: bytes, asked: int, parameters: Any) -> bytes:
    """A push as policy, rights (`asked`) and `parameters` want it, under counters reserved for it.

    Raises what `protect` raises where a key or a certificate is missing, StateUnavailable.
    """
    setup = around.ring.setup
    required = of_response(setup.policy | asked)
    applied, layers = layers_of(read_elements(parameters))
    layers = _for_this_push(around, layers, required & SIGNED)
    outer = find(layers, CIPHERING)
    if outer is None:
        return _protected(around, setup, plain, (required & _BOTH) | (applied | required) & SIGNED, layers)
    if not _is_third(setup, outer):
        return _protected(around, setup, plain, applied | required, layers)
    third = _third(around, outer.recipient)
    if third is None and outer.form == "wrapped":
        raise UnknownKey(f"no key encryption key of {outer.recipient.hex().upper()} is held")
    third = third or setup
    inside = _protected(around, third, plain, _BOTH | (applied | required) & SIGNED, layers)
    return _protected(around, setup, inside, required & _BOTH, ())


def third_party_of(around: Surroundings, parameters: Any) -> ThirdParty | None:
    """The third party that a push with these parameters is sealed for, where the meter has such a one."""
    outer = find(layers_of(read_elements(parameters))[1], CIPHERING)
    profile = around.profile()
    if outer is None or profile is None or not _is_third(around.ring.setup, outer):
        return None
    return profile.third_parties.get(outer.recipient)


def _protected(
    around: Surroundings, setup: SecuritySetup, octets: bytes, applied: int, layers: Layers
) -> bytes:
    if not applied:
        return octets
    outer = find(layers, CIPHERING)
    for one in _counted(setup, applied, outer):
        if not one.tx.left:
            around.store.reserve(one, 1)
    profile = around.profile()
    options = frozenset() if profile is None else profile.options
    if outer is not None and _is_third(around.ring.setup, outer):
        party = None if profile is None else profile.third_parties.get(outer.recipient)
        # The authentication key is the client's, and no third party has it.
        options = (options if party is None else party.options) | {"ak_in_use"}
    context = Context(setup, setup.peer_title, general=True, serving=True, options=options)
    return protect(context, octets, applied, Style.GENERAL_GLO if outer is None else Style.LAYERED, layers)


def _counted(setup: SecuritySetup, applied: int, outer: Layer | None) -> tuple[Counted, ...]:
    """What counts this message."""
    if outer is not None and is_fresh(outer.form):
        return (setup.fresh,)
    return (setup.key(),) if applied & _BOTH else ()


def _for_this_push(around: Surroundings, layers: Layers, signed: int) -> Layers:
    """The layers with their transaction-id, and a signature that the policy wants besides."""
    given = next((layer.transaction_id for layer in layers if layer.transaction_id), b"")
    if signed and find(layers, SIGNING) is None:
        recipient = layers[0].recipient if layers else b""
        layers = (*layers, Layer(SIGNING, b"", recipient))
    if not layers:
        return ()
    transaction = given or around.draw(_TRANSACTION)
    return tuple(layer._replace(transaction_id=transaction) for layer in layers)


def _recipient(setup: SecuritySetup, layer: Layer) -> bytes:
    return layer.recipient or setup.peer_title or b""


def _is_third(setup: SecuritySetup, layer: Layer) -> bool:
    return _recipient(setup, layer) != (setup.peer_title or b"")


def _third(around: Surroundings, title: bytes) -> SecuritySetup | None:
    """The setup of a third party of this role's association, where the meter has one."""
    profile = around.profile()
    party = None if profile is None else profile.third_parties.get(title)
    return None if party is None else party.setup
