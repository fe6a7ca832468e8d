"""What of a request is refused, and what its answer has to carry: by view, right and protection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from meterseal.apdu.common import DATA_ACCESS_RESULT
from meterseal.association import exchange as ex
from meterseal.association.effects import Effect, Refusal
from meterseal.association.exchange import Exchange
from meterseal.association.operations import (
    OBJECT_UNDEFINED,
    READ_WRITE_DENIED,
    RIGHT_NEEDED,
    SCOPE_VIOLATED,
    Operation,
    Outcome,
    joined,
    with_group,
)
from meterseal.association.profile import ThirdParty
from meterseal.association.serving_blocks import ServingBlocks
from meterseal.cosem.obis import Obis
from meterseal.cosem.rights import AUTH_RESPONSE, ENC_RESPONSE, SIGN_RESPONSE
from meterseal.errors import Refused
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, SecuritySetup
from meterseal.security.protection import of_request, of_response

Rights: TypeAlias = list[int | None]
"""One right for each operation of a request, None for what is not in a view."""

SUITE_BITS = AUTHENTICATED | ENCRYPTED
ALL_BITS = SUITE_BITS | SIGNED
_OF_RESPONSES = AUTH_RESPONSE | ENC_RESPONSE | SIGN_RESPONSE


class Judging(ServingBlocks):
    """The part of a meter's association that says who may do what, and under which protection."""

    user: int | None

    def _judge(self, x: Exchange) -> None:
        """What of it is refused, and what the answer has to carry."""
        rights = limits = [self.profile.view.right(operation, self.user) for operation in x.operations]
        if x.broadcast:
            rights = limits = with_group(rights, x.operations, self.profile.group)
        if x.third is not None:
            rights, limits = self._carried(x, self.profile.third_parties[x.third.title], rights)
        x.outcomes = [self._check(x, *asked) for asked in zip(x.operations, rights, limits, strict=True)]
        self._require(x, rights, limits)

    def _carried(self, x: Exchange, third: ThirdParty, own: list[int | None]) -> tuple[Rights, Rights]:
        """What the association may do when it carries for a third party, and what that one may do."""
        extra = third.extra
        rights = own
        if extra is not None:
            more = (extra.right(operation, self.user) for operation in x.operations)
            rights = [joined(*both) for both in zip(own, more, strict=True)]
        return rights, [third.view.right(operation, None) for operation in x.operations]

    def _check(
        self, x: Exchange, operation: Operation, right: int | None, limit: int | None
    ) -> Outcome | None:
        if right is None or limit is None:
            return Outcome(OBJECT_UNDEFINED)
        if not right & limit & RIGHT_NEEDED[operation.service]:
            return Outcome(READ_WRITE_DENIED)
        policy = self.profile.setup.policy if self.profile.ciphered else 0
        applied, third = x.applied, x.third
        if third is not None:
            # Whose word it is may be said by either; what keeps it from others, each says for itself.
            applied |= third.applied & SIGNED
            if of_request(limit) & ~third.applied:
                return Outcome(SCOPE_VIOLATED)
        if of_request(right | policy) & ~applied:
            return Outcome(SCOPE_VIOLATED)
        if right & _OF_RESPONSES and of_response(right) & ~self._kept_to():
            return Outcome(SCOPE_VIOLATED)
        return None

    def _kept_to(self) -> int:
        """What an answer can carry here: a right that asks for more is none (B20)."""
        return known_to(self.profile.setup) if self.profile.ciphered else 0

    def _require(self, x: Exchange, rights: Iterable[int | None], limits: Iterable[int | None]) -> None:
        """What the answer must carry, toward the client and toward the third party that asks through it."""
        third = x.third
        if third is not None:
            setup = third.context.setup
            x.third_required = answer_protection(setup, third.applied, limits)
        if not self.profile.ciphered:
            x.required = x.applied
            return
        x.required = answer_protection(self.profile.setup, x.applied, rights)
        if x.third_required & SIGNED:
            x.required &= x.applied | SUITE_BITS  # signed once, for who asks


def answer_protection(setup: SecuritySetup, applied: int, rights: Iterable[int | None]) -> int:
    """At least what the request carried, policy and rights ask for, as far as the suite has it.

    A signed request is answered signed where this end has a key; a signature that is asked for must be.
    """
    asked = setup.asks_of_response
    for right in rights:
        asked |= of_response(right or 0)
    return (applied if setup.signing is not None else applied & SUITE_BITS) | asked & known_to(setup)


def known_to(setup: SecuritySetup) -> int:
    """The protection that there is in this suite."""
    return ALL_BITS if setup.suite.signature_length else SUITE_BITS


def noted(x: Exchange) -> list[Effect]:
    """For the journal, one line per request: what of it was refused, the first by name."""
    refused = [(o, out) for o, out in zip(x.operations, x.outcomes, strict=True) if out is not None]
    if not refused:
        return []
    operation, outcome = refused[0]
    reason = DATA_ACCESS_RESULT[outcome.code]
    member = f"{operation.class_id}/{Obis(operation.instance)}:{operation.member}"
    more = f", and {len(refused) - 1} more of the list" if len(refused) > 1 else ""
    if x.third is not None:
        more += f", for third party {x.third.title.hex().upper()}"
    text = f"{ex.SERVICE_BIT[operation.service]} {member}: {reason}{more}"
    return [Refusal(Refused(text, reason=reason, code=outcome.code, source="access"), "access")]
