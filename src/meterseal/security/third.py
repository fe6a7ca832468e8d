"""Third parties: layers inside an association's own, of somebody who speaks through its client (security 7).

A third party has no association.  What it asks is sealed for the meter and carried by a client, whose own
protection goes around; the meter opens both, and answers in the same layers.  What is wrong inside is
`Forged` to whoever carries it, one answer for every cause: the carrier learns nothing of the inner layers.

| at the meter, from the outside in                  | keys of        |
|----------------------------------------------------|----------------|
| the association's own protection, as its policy says | the client     |
| general-ciphering, authenticated and encrypted     | the third party |
| general-signing, as the third party's policy says  | the third party |
| plain APDU                                         |                |
"""

from __future__ import annotations

from typing import Final, NamedTuple

from meterseal.apdu.general import GeneralCiphering
from meterseal.errors import Forged, Malformed, MetersealError, TooWeak, UnknownKey
from meterseal.security.ciphering import take_content, unseal
from meterseal.security.context import Context
from meterseal.security.keyforms import Guard
from meterseal.security.layers import CIPHERED_TAG, NEVER_SIGNED, SIGNED_TAG, Layers
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, SIGNED, of_control, of_request, text
from meterseal.security.signing import open_signed
from meterseal.security.steps import Steps

_SEALED: Final = AUTHENTICATED | ENCRYPTED


class Third(NamedTuple):
    """What a third party asks: the plain APDU, and what protected it toward this end.

    `guard` judges its counter; nothing of it is committed yet.
    """

    context: Context
    apdu: bytes
    applied: int
    layers: Layers
    guard: Guard

    @property
    def title(self) -> bytes:
        """Its system title."""
        return self.layers[0].originator


def nests(context: Context, tag: int) -> bool:
    """True where what begins with `tag` may be somebody else's, inside an association's own protection."""
    return tag == CIPHERED_TAG and (context.carrying or bool(context.parties))


def of_others(context: Context, octets: bytes) -> bool:
    """True for a ciphered layer of a third party (at the meter), or for one (at a client)."""
    if not nests(context, octets[0]):
        return False
    message = GeneralCiphering.decode(octets)
    if context.carrying:
        return message.recipient_system_title not in (b"", context.setup.own_title)
    originator = message.originator_system_title
    return originator != context.peer_title and originator in context.parties


def open_third(context: Context, octets: bytes) -> Steps[Third]:
    """What a third party has sealed for this end.  Raises Forged, whatever is wrong with it."""
    try:
        return (yield from _open(context, octets))
    except MetersealError as error:
        raise Forged(f"layers of a third party: {error}") from error


def _open(context: Context, octets: bytes) -> Steps[Third]:
    message = GeneralCiphering.decode(octets)
    title, applied = message.originator_system_title, of_control(take_content(message)[0])
    party = context.parties.get(title)
    if party is None:
        raise UnknownKey(f"{title.hex().upper() or 'nobody'} is no third party of this meter")
    if applied != _SEALED:
        raise TooWeak(f"only {text(applied)}, a third party's layer is {text(_SEALED)}")
    found = yield from unseal(party, octets)
    plain, guard = found.plain, found.guard
    layers: Layers = (found.layer,)
    if plain[:1] == bytes((SIGNED_TAG,)):
        plain, signed = yield from open_signed(party, plain)
        if signed.transaction_id != found.layer.transaction_id:
            raise Malformed("signed for another exchange than it is ciphered for")
        layers, applied = (*layers, signed), applied | SIGNED
    if guard is None or not plain or plain[0] in NEVER_SIGNED:
        raise Malformed("nothing inside, or an APDU that may not be inside")
    required = of_request(party.setup.policy)
    if required & ~applied:
        raise TooWeak(f"{text(applied)}, less than {text(required)}")
    return Third(party, plain, applied, layers, guard)
