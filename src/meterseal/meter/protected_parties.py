"""Whose layers a protected value has, and what those parties may do with it (class 30).

From the innermost party, whose word it is, to the last on its way, each has put its layers around what it
was handed.  What is done has to be within the rights of the association, and within those of every third
party among them: who adds a layer can only take away from what may be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from meterseal.association import Operation
from meterseal.association.operations import RIGHT_NEEDED
from meterseal.association.profile import ThirdParty
from meterseal.cosem.obis import Obis
from meterseal.errors import MetersealError, UnknownKey
from meterseal.keys.counters import WINDOW
from meterseal.meter.objects import (
    OBJECT_UNDEFINED,
    OTHER_REASON,
    READ_WRITE_DENIED,
    SCOPE_VIOLATED,
    Asker,
    Denied,
)
from meterseal.security import AUTHENTICATED, Context, SecuritySetup
from meterseal.security.parameters import Element, Share, originator_of, shares
from meterseal.security.protection import of_request, of_response

_NOT_INSIDE = frozenset({15, 30})
"""Associations are for those who have signed on, and no protected value holds another."""


class Party(NamedTuple):
    """One of them: what it does, with which keys; `third` None is the client of the association."""

    share: Share
    context: Context
    third: ThirdParty | None


class Parties(NamedTuple):
    """All of them, the innermost first."""

    inner_to_outer: tuple[Party, ...]

    @property
    def applied(self) -> int:
        """What their layers apply, taken together."""
        bits = 0
        for party in self.inner_to_outer:
            bits |= party.share.applied
        return bits

    @property
    def setups(self) -> tuple[SecuritySetup, ...]:
        """Their Security setups."""
        return tuple(party.context.setup for party in self.inner_to_outer)

    def context(self, title: bytes) -> Context:
        """What stands between the meter and one of them.  Raises UnknownKey for anybody else."""
        for party in self.inner_to_outer:
            if party.share.title == title:
                return party.context
        raise UnknownKey("protection parameters are between other parties than these")

    def check_counted(self) -> None:
        """Whose word something is to be done by, it came under a counter of his.  Raises Denied.

        A signature alone does not say when, so whoever was handed it could hand it on again.
        """
        for party in self.inner_to_outer:
            ciphered = any(one.layer.form and one.applied & AUTHENTICATED for one in party.share.elements)
            if not ciphered:
                raise Denied(SCOPE_VIOLATED, "what is to be done has to be authenticated under a counter")

    def allow(self, asker: Asker, operation: Operation, *, of_value: bool) -> None:
        """Hold an operation against all rights.  Raises Denied.

        `of_value`: what is asked came in these layers; else only what is answered goes into them.
        """
        for party in self.inner_to_outer:
            self._allow(asker, party, operation, of_value)

    def _allow(self, asker: Asker, party: Party, operation: Operation, of_value: bool) -> None:
        profile, third = asker.association.profile, party.third
        right = limit = profile.view.right(operation, asker.user)
        if third is not None:
            limit, more = third.view.right(operation, None), None
            if third.extra is not None:
                more = third.extra.right(operation, asker.user)
            right = more if right is None else right | (more or 0)
        if right is None or limit is None or operation.class_id in _NOT_INSIDE:
            raise Denied(
                OBJECT_UNDEFINED, f"{operation.class_id}/{Obis(operation.instance)} is not to be seen"
            )
        if not right & limit & RIGHT_NEEDED[operation.service]:
            raise Denied(READ_WRITE_DENIED, "the right is not there")
        carried = 0 if asker.third is None else asker.third.applied
        asked = asker.applied | carried | (self.applied if of_value else 0)
        policy = profile.setup.policy if profile.ciphered else 0
        answered = asker.applied | of_response(policy) | self.applied
        if of_request(right) & ~asked or of_response(right) & ~answered:
            raise Denied(SCOPE_VIOLATED, "less protection than the right asks for")
        if third is None:
            return
        # What keeps it from others, a third party says for itself.
        mine = (party.share.applied if of_value else 0) | (carried if asker_is(asker, party) else 0)
        if of_request(limit) & ~mine or of_response(limit) & ~party.share.applied:
            raise Denied(SCOPE_VIOLATED, "less protection than the third party's right asks for")


def asker_is(asker: Asker, party: Party) -> bool:
    """True where the call itself came sealed from this party."""
    return asker.third is not None and asker.third.title == party.share.title


def parties_of(asker: Asker, layers: Sequence[Element]) -> Parties:
    """Whose the layers of a request are.  Raises Denied where one is nobody's here, or for another meter."""
    own = asker.association.profile.setup.own_title
    if asker.own:
        raise Denied(OTHER_REASON, "protection parameters are between a party and the meter")
    if any(one.layer.recipient != own for one in layers):
        raise Denied(OTHER_REASON, "protection parameters for another meter")
    try:
        found = tuple(_party(asker, share) for share in shares(layers, originator_of))
    except MetersealError as error:
        raise Denied(OTHER_REASON, str(error)) from error
    if any(party.third is None for party in found[:-1]):
        raise Denied(
            OTHER_REASON, "the client of the association is the last on the way: its layers go around"
        )
    if asker.third is not None and asker.third.title != found[-1].share.title:
        raise Denied(READ_WRITE_DENIED, "a third party asks in another one's name")
    return Parties(found)


def _party(asker: Asker, share: Share) -> Party:
    profile, title = asker.association.profile, share.title
    third = profile.third_parties.get(title)
    if third is not None:
        return Party(share, third.context(0), third)
    if not profile.ciphered or title != profile.setup.peer_title:
        raise Denied(OTHER_REASON, f"protection parameters of {title.hex().upper()}, who is nobody here")
    # Its values were sealed before what carries them, with counters just below: each comes once.
    return Party(share, profile.context(title, serving=True, window=WINDOW), None)
