"""What the machine of an association says, carried out: effects in order, what has to wait, what ends.

How frames come to an association, and how answers leave, is for who inherits (`session`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from meterseal.association import (
    Associated,
    Compute,
    Effect,
    Indication,
    Need,
    Outcome,
    Refusal,
    Released,
    Reply,
)
from meterseal.association.serving import error_response
from meterseal.errors import ConnectionLost, MetersealError, ProtocolViolation, StateUnavailable
from meterseal.meter.delays import Delays
from meterseal.meter.events import Events
from meterseal.meter.live import Frame, Live, Timer
from meterseal.meter.model import Meter
from meterseal.meter.objects import Asker
from meterseal.meter.pool import Jobs
from meterseal.net import Link
from meterseal.security import AUTHENTICATED, SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.steps import Steps, breath, outcome_of


class Party(Protocol):
    """Whose associations these are: the meter, its time, and what is shared by all that speak to it."""

    meter: Meter
    timer: Timer
    compute: Jobs
    events: Events
    delays: Delays

    def replace(self, newcomer: Live, at: Conduct) -> None:
        """A newcomer has proved itself where one is enough."""

    def note(self, setup: SecuritySetup) -> None:
        """Make durable what was received, if that can be."""

    def keep(self, setup: SecuritySetup, then: Callable[[StateUnavailable | None], None]) -> None:
        """Make durable what was received, and call `then`, with the error if that could not be."""

    def reserve(self, key: Counted, count: int, then: Callable[[], None]) -> None:
        """Bring in sending counters, durably; `then` is called also when none could be had."""


class Conduct(ABC):
    """The effects of the associations of one connection."""

    def __init__(self, party: Party, link: Link) -> None:
        self._party, self._link = party, link
        self._meter, self._timer = party.meter, party.timer
        self._gone = False

    @abstractmethod
    def _reply(self, live: Live, source: int, destination: int, reply: Reply) -> None:
        """An answer goes out, now or later."""

    @abstractmethod
    def _let_in(self, live: Live, frames: deque[Frame]) -> None:
        """What has waited behind an answer comes in."""

    @abstractmethod
    def _watch(self, live: Live, source: int, destination: int, anew: bool) -> None:
        """What has to be done in time is looked at, after each frame."""

    def _carry_out(
        self, live: Live, source: int, destination: int, effects: list[Effect], answered: bool = False
    ) -> None:
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            if type(effect) is Reply:
                self._reply(live, source, destination, effect)
                answered = not self._link.is_closing
                continue
            if type(effect) is Indication:
                done = self._perform(live, effect)
                if isinstance(done, list):
                    todo.extendleft(reversed(done))
                    continue
                self._step(live, effect, done, None, self._pause(live, source, destination, todo, answered))
                return
            match effect:
                case Need():
                    self._reserve(live, effect, self._pause(live, source, destination, todo, answered))
                    return
                case Compute():
                    self._compute(live, effect, self._pause(live, source, destination, todo, answered))
                    return
                case Associated():
                    self._associate(live, todo, self._pause(live, source, destination, todo, answered))
                    return
                case Released():
                    self._released(live)
                case Refusal():
                    self._party.events.refused(self._who(source, destination), effect.error, effect.during)
                case _:
                    raise ProtocolViolation(f"{type(effect).__name__} is not an effect of a meter")
        if not live.machine.answering:
            self._finish(live, answered)

    def _pause(
        self, live: Live, source: int, destination: int, todo: deque[Effect], answered: bool
    ) -> Callable[[list[Effect]], None]:
        """What comes for an association waits until the disk has been heard of; the call that goes on then.

        It is given what to do first, before what is still to be done.
        """
        live.held = deque()

        def go_on(effects: list[Effect]) -> None:
            if live.gone or self._gone:
                return
            frames, live.held = live.held or deque(), None
            self._carry_out(live, source, destination, [*effects, *todo], answered)
            self._watch(live, source, destination, anew=False)
            self._let_in(live, frames)

        return go_on

    def _reserve(self, live: Live, need: Need, go_on: Callable[[list[Effect]], None]) -> None:
        # Without counters the machine goes on too, and refuses for want of them.
        self._party.reserve(need.key, need.count, lambda: go_on(live.machine.resume(need.token)))

    def _compute(self, live: Live, effect: Compute, go_on: Callable[[list[Effect]], None]) -> None:
        # Where the association has ended meanwhile, the machine takes no result.
        self._party.compute(
            effect.job, lambda found: go_on(live.machine.resume(effect.token, found)), self._broken
        )

    def _broken(self, error: Exception) -> None:
        self._link.abort(ConnectionLost(f"a job of an association failed: {type(error).__name__}"))
        raise error

    def _step(
        self,
        live: Live,
        asked: Indication,
        steps: Steps[list[Effect]],
        found: Any,
        go_on: Callable[[list[Effect]], None],
    ) -> None:
        """On with an operation that takes curve work, or long; it is given up where its association ends."""
        if live.gone or self._gone or not live.machine.expects(asked.token):
            steps.close()
            go_on([])
            return
        try:
            job = steps.throw(found) if isinstance(found, MetersealError) else steps.send(found)
        except StopIteration as done:
            go_on(done.value)
            return
        if job is breath:
            self._timer.call_later(0.0, self._step, live, asked, steps, None, go_on)
            return
        self._party.compute(
            partial(outcome_of, job), lambda found: self._step(live, asked, steps, found, go_on), self._broken
        )

    def _perform(self, live: Live, asked: Indication) -> list[Effect] | Steps[list[Effect]]:
        association = live.association
        if association is None:
            return []
        if asked.applied & AUTHENTICATED:
            self._link.established()
        asker = Asker(
            association, asked.user, asked.applied, live.machine, live.after, live.ending, third=asked.third
        )
        found = self._meter.perform(asker, asked.operations, broadcast=asked.broadcast, stops=asked.stops)
        respond = partial(live.machine.respond, asked.token, again=partial(self._meter.again, asker))
        return respond(found) if isinstance(found, list) else _responding(found, respond)

    def _finish(self, live: Live, answered: bool = False) -> None:
        """The answer is out, or will never be: now comes what had to wait for it."""
        if live.after:
            after = list(live.after)
            live.after.clear()  # whoever asks in this association has this very list
            for act in after:
                act(answered)

    # --- what becomes of associations -------------------------------------------------------

    def _associate(self, live: Live, todo: deque[Effect], go_on: Callable[[list[Effect]], None]) -> None:
        """It opens once what was received is durable; else it does not, and the client is told no more."""
        live.opening = True

        def kept(error: StateUnavailable | None) -> None:
            live.opening = False
            if error is None:
                self._opened(live)
            else:
                self._party.events.note(f"an association was not opened: {error}")
                live.machine.end()
                todo.clear()
            go_on([] if error is None else [Reply(_NOT_POSSIBLE)])

        self._party.keep(live.machine.profile.setup, kept)

    def _opened(self, live: Live) -> None:
        profile = live.machine.profile
        if profile.scheme.passes:
            self._link.established()
            self._party.delays.proved(self._link.source, profile.client_sap)
        if profile.single:
            self._party.replace(live, self)

    def _ended(self, live: Live) -> None:
        """What had to wait for the end of the association."""
        ending = list(live.ending)
        live.ending.clear()
        for act in ending:
            act()

    def _released(self, live: Live) -> None:
        self._ended(live)
        if live.association is not None:
            self._party.note(live.association.profile.setup)

    def end(self, live: Live) -> None:
        """End an association from this side: nothing is sent."""
        if live.deadline is not None:
            live.deadline.cancel()
            live.deadline = None
        was_open = live.open
        live.machine.end()
        if was_open:
            self._released(live)
        else:
            self._ended(live)

    def _who(self, source: int, destination: int) -> str:
        return f"client {source} at {self._link.peer} to logical device {destination}"


def _responding(
    found: Steps[list[Outcome]], respond: Callable[[list[Outcome]], list[Effect]]
) -> Steps[list[Effect]]:
    return respond((yield from found))


_NOT_POSSIBLE: Final = error_response(ProtocolViolation("another answer is under way"), False)
