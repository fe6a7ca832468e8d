"""What both ends share: waiting for counters, and going on afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from types import GeneratorType
from typing import Any, TypeVar

from meterseal.association.effects import Compute, Effect, Need, made
from meterseal.errors import MetersealError, TooLarge
from meterseal.security import SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.steps import Steps, outcome_of

Go = Callable[..., list[Effect]]
T = TypeVar("T")

_SENDING = "sending"

ACSE_TAGS = range(0x60, 0x64)
ACSE_ROOM = 2048
"""Octets that an ACSE APDU may always have: sizes are agreed later, and it may carry a certificate."""


class Association(ABC):
    """One end of an association: a step that lacks counters is parked until `resume`.

    `_fresh_keys` is True where messages go under keys made for one of them.
    """

    _fresh_keys: bool
    _also: tuple[Counted, ...]
    """What else the answer counts with: that of a third party."""

    def __init__(self, setup: SecuritySetup) -> None:
        self._setup = setup
        self._fresh_keys, self._also = False, ()
        self._parked: Callable[[Any], list[Effect]] | None = None
        self._token = 0
        self._during = _SENDING

    def _next_token(self) -> int:
        self._token += 1
        return self._token

    def _with_counters(self, count: int, go: Go, *given: Any) -> list[Effect]:
        """Go on now, or after the party has reserved `count` more values of what messages count with.

        `given` is what `go` is called with.
        """
        unicast = self._setup.unicast
        if not (self._fresh_keys or self._also) and (unicast is None or unicast.tx.left >= count):
            return go(*given)  # nearly always
        return self._reserved(self._counted(), count, partial(go, *given))

    def _reserved(self, counted: list[Counted], count: int, go: Go) -> list[Effect]:
        short = next((at for at, one in enumerate(counted) if one.tx.left < count), None)
        if short is None:
            return go()
        # What was asked for is not looked at again: without it the step fails, and says so.
        self._parked = lambda _: self._reserved(counted[short + 1 :], count, go)
        return [Need(self._next_token(), counted[short], count)]

    def _counted(self) -> list[Counted]:
        unicast = self._setup.unicast
        lasting: list[Counted] = [] if unicast is None else [unicast]
        return [*lasting, *((self._setup.fresh,) if self._fresh_keys else ()), *self._also]

    def _computed(
        self, slow: bool, job: Callable[..., T], go: Callable[[T | MetersealError], list[Effect]], *given: Any
    ) -> list[Effect]:
        """Go on with what `job` returns or raises: now, or where it is slow when the party has run it.

        `given` is what `job` is called with.
        """
        if not slow:
            return go(outcome_of(job, *given))
        self._parked = go
        self._token = token = self._token + 1
        return [made(Compute, (token, partial(outcome_of, job, *given)))]

    def _through(
        self, found: T | Steps[T], go: Callable[[T], list[Effect]], during: str = _SENDING
    ) -> list[Effect]:
        """Go on with what was found, or when the party has run the jobs that it takes."""
        if not isinstance(found, GeneratorType):  # an abstract base would be a call of Python
            return go(found)  # type: ignore[arg-type]  # a cast would be a call
        return self._advance(found, None, go, during)

    def _advance(
        self, steps: Steps[T], outcome: Any, go: Callable[[T], list[Effect]], during: str = _SENDING
    ) -> list[Effect]:
        """The next of the jobs that `steps` take, or on with what they have come to."""
        try:
            failed = isinstance(outcome, MetersealError)
            job = steps.throw(outcome) if failed else steps.send(outcome)
        except StopIteration as done:
            return go(done.value)
        self._during = during
        return self._computed(True, job, lambda outcome: self._advance(steps, outcome, go, during))

    def _counters_left(self, count: int) -> bool:
        if self._fresh_keys or self._also:
            return all(one.tx.left >= count for one in self._counted())
        unicast = self._setup.unicast
        return unicast is None or unicast.tx.left >= count

    def resume(self, token: int, result: Any = None) -> list[Effect]:
        """Go on: after a `Need`, whose key now has the counters asked for, or with what a `Compute` gave."""
        go = self._parked
        if go is None or token != self._token:
            return []
        self._parked = None
        during, self._during = self._during, _SENDING
        try:
            effects = go(result)
        except MetersealError as error:
            effects = self._refuse(error, during)
        return self._afterwards(effects)

    @staticmethod
    def _check_size(octets: bytes, agreed: int) -> None:
        """Raises TooLarge for an APDU above the agreed size (0: none)."""
        limit = max(agreed, ACSE_ROOM) if octets[0] in ACSE_TAGS else agreed
        if agreed and len(octets) > limit:
            raise TooLarge(f"an APDU of {len(octets)} octets, {limit} were agreed")

    def _guarded(self, go: Go, during: str) -> list[Effect]:
        try:
            return go()
        except MetersealError as error:
            return self._refuse(error, during)

    def _afterwards(self, effects: list[Effect]) -> list[Effect]:
        """What else to do once a parked step is done."""
        return effects

    @abstractmethod
    def _refuse(self, error: MetersealError, during: str) -> list[Effect]:
        """What an error leads to at this end."""
