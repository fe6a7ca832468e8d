"""A conversation: what an association wants, one thing after another, until it is done, as steps.

Joins the association (which knows messages) with counters and time (which are the party's).  What is said,
and how it begins and ends, is for who inherits (`session`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from meterseal.association import (
    ClientAssociation,
    Compute,
    Effect,
    Failed,
    Need,
    Reply,
    State,
)
from meterseal.client.keyring import Held, Sending
from meterseal.client.plan import Plan
from meterseal.client.shared import Shared
from meterseal.client.steps import Exchange, Steps, Work
from meterseal.errors import MetersealError, Misuse, TimedOut


class Conversation(ABC):
    """One association's, on a line; `timeout` are the seconds that each answer has."""

    __slots__ = (
        "_association",
        "_exchange",
        "_fresh",
        "_held",
        "_unanswered",
        "plan",
        "shared",
        "timeout",
    )

    def __init__(self, plan: Plan, shared: Shared) -> None:
        self.plan = plan
        self.shared = shared
        self.timeout = plan.timeout
        self._exchange = Exchange(plan.pair, plan.timeout)
        self._association: ClientAssociation | None = None
        self._held: Held | None = None
        self._fresh: Sending | None = None
        self._unanswered = False

    @abstractmethod
    def _ask_public(self, counter_object: str) -> Steps[int]:
        """The first counter value to send, as the meter tells the public client on the same line."""

    @property
    def association(self) -> ClientAssociation:
        """The association.  Raises Misuse when there is none (yet, or any more)."""
        if self._association is None:
            raise Misuse("there is no association (any more): sign on first")
        return self._association

    @property
    def stands(self) -> bool:
        """True while requests can be made."""
        return self._association is not None and self._association.state is State.ASSOCIATED

    def _settle(self, effects: list[Effect]) -> Steps[Effect]:
        """Do what the association wants until it is done; a client's wants one thing at a time."""
        association, exchange = self._association or self.association, self._exchange
        while True:
            effect = effects[0] if effects else None
            if type(effect) is Reply:
                exchange.octets, exchange.ahead = effect.octets, ()
                if len(effects) > 1:
                    *ahead, exchange.octets = [one.octets for one in effects if type(one) is Reply]
                    exchange.ahead = tuple(ahead)
            elif effect is None:
                exchange.octets = None
            elif type(effect) is Need:
                effects = yield from self._need(association, effect)
                continue
            elif type(effect) is Compute:
                result = yield Work(effect.job)
                effects = association.resume(effect.token, result)
                continue
            elif type(effect) is Failed:
                raise effect.error
            else:
                return effect
            answered = False
            try:
                octets = yield exchange
                answered = True
            except TimedOut as error:
                # Blocks that were lost are asked for again, as often as the transfer allows.
                effects = association.timed_out()
                answered = bool(effects)
                if not answered:
                    raise _with_hint(error, association.passed_over) from None
                continue
            finally:
                if not answered:
                    self._give_up(association)
            effects = association.receive(octets)

    def _need(self, association: ClientAssociation, need: Need) -> Steps[list[Effect]]:
        counting = [self._fresh, None if self._held is None else self._held.sending]
        sending = next((one for one in counting if one is not None and one.counter is need.key.tx), None)
        if sending is None:
            raise Misuse("a role without a key asks for counters")
        reserved = False
        try:
            yield from self.shared.keyring.ensure(sending, need.count, self.plan, self._ask_public)
            reserved = True
        finally:
            if not reserved:
                self._give_up(association)
        return association.resume(need.token)

    def _give_up(self, association: ClientAssociation) -> None:
        standing = association.state is State.ASSOCIATED
        association.give_up()
        self._unanswered = self._unanswered or not standing


def _with_hint(error: TimedOut, passed_over: MetersealError | None) -> TimedOut:
    """The time-out, with the cause why the latest datagram was not taken for the answer."""
    return error if passed_over is None else TimedOut(f"{error}; what came was passed over: {passed_over}")
