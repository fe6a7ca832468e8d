"""One connection of a meter: its associations by (client SAP, server SAP), driven by what the machines say.

Octets come in whole, effects are carried out, answers go back; no parsing, no key and no right is here.
Time and timers come from a `Timer` (the loop, or a test's own), so everything that waits can be tested.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from meterseal.apdu.acse import Aarq
from meterseal.association import (
    Associated,
    Compute,
    Effect,
    Indication,
    Line,
    Need,
    Operation,
    Outcome,
    Refusal,
    Released,
    Reply,
    ServerAssociation,
    ServerProfile,
    State,
    TransferMemory,
)
from meterseal.association.serving import error_response
from meterseal.codec.data import Data
from meterseal.errors import (
    ConnectionLost,
    MetersealError,
    ProtocolViolation,
    StateUnavailable,
    TimedOut,
)
from meterseal.framing.wrapper import MAX_APDU, MAX_IN_DATAGRAM
from meterseal.meter.association_object import Association
from meterseal.meter.delays import Delays
from meterseal.meter.events import Events
from meterseal.meter.everybody import opened_once
from meterseal.meter.live import Frame, Handle, Live, Timer, nobody
from meterseal.meter.model import Meter
from meterseal.meter.objects import Asker
from meterseal.meter.pool import Jobs
from meterseal.net import Link
from meterseal.security import AUTHENTICATED, Opened, SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.steps import Steps, breath, outcome_of

PENDING_TIME: Final = 10.0
"""Seconds from the AARE to the proof of pass 3."""

TRANSFER_TIME: Final = 30.0
"""Seconds that a block transfer may stand still before what is kept of it is let go."""

HELD: Final = 16
"""Frames of one association that are kept while an answer of it waits."""


Way: TypeAlias = Callable[[bytes], bytes]
"""Takes the APDUs of one pair and gives what goes out at once."""


class Host(Protocol):
    """The party that a session belongs to: the meter, its time, and what all its sessions share."""

    meter: Meter
    timer: Timer
    compute: Jobs
    events: Events
    delays: Delays
    memory: TransferMemory

    def left(self, session: Session) -> None:
        """A connection has ended."""

    def replace(self, newcomer: Live, at: Session) -> None:
        """A newcomer has proved itself where one is enough."""

    def note(self, setup: SecuritySetup) -> None:
        """Make durable what was received, if that can be."""

    def keep(self, setup: SecuritySetup, then: Callable[[StateUnavailable | None], None]) -> None:
        """Make durable what was received, and call `then`, with the error if that could not be."""

    def reserve(self, key: Counted, count: int, then: Callable[[], None]) -> None:
        """Bring in sending counters, durably; `then` is called also when none could be had."""


class Session:
    """The handler of one connection, or with `datagrams` of one peer's address.

    Datagrams have no order to keep, and anybody can write somebody's address on them: what they do
    wrong delays nothing else that comes from there, and ends nothing.  `everybody`: server SAPs that
    stand for all logical devices.
    """

    def __init__(
        self, party: Host, link: Link, *, datagrams: bool = False, everybody: frozenset[int] = frozenset()
    ) -> None:
        self._everybody = everybody.difference(party.meter.devices)
        self._party, self._link, self._datagrams = party, link, datagrams
        self._meter, self._timer = party.meter, party.timer
        self._live: dict[tuple[int, int], Live] = {}
        self._nobody: Live | None = None
        self._waiting: set[Handle] = set()
        self._gone = False
        for pair, role in self._meter.blueprint.pairs.items():
            held = self._meter.association(*pair) if role.pre_established else None
            if held is not None:
                self._live[pair] = self._new(held)

    def _new(self, held: Association) -> Live:
        return Live(held, self._machine(held.profile))

    def _machine(self, profile: ServerProfile) -> ServerAssociation:
        return ServerAssociation(
            profile,
            self._meter.draw,
            Line(
                self._datagrams,
                self._party.memory,
                self._link.source,
                MAX_IN_DATAGRAM if self._datagrams else MAX_APDU,
            ),
        )

    @property
    def link(self) -> Link:
        """The connection."""
        return self._link

    @property
    def live(self) -> list[Live]:
        """The associations of this connection, in any state."""
        return list(self._live.values())

    # --- for the line -----------------------------------------------------------------------

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU from client SAP `source` to server SAP `destination`."""
        live = self._live.get((source, destination))
        if live is None:
            if destination in self._everybody:
                self._take_for_all(source, destination, payload)
                return
            live = self._find(source, destination)
        answer = self._answer(live, source, destination, payload)
        if answer:
            self._link.send(destination, source, answer)

    def way(self, source: int, destination: int) -> tuple[Way, bool]:
        """What takes the APDUs of a pair, and whether it does so for as long as the connection stands.

        It gives what goes out at once, empty where that is nothing, or has been seen to.
        """
        live = self._live.get((source, destination)) or self._find(source, destination)
        return partial(self._answer, live, source, destination), live.association is not None

    def _answer(self, live: Live, source: int, destination: int, payload: bytes) -> bytes:
        answer = live.machine.repeat(payload)
        if answer is None:
            self._take_in_turn(live, source, destination, payload)
            return b""
        if live.after:  # somebody waits for an answer to have gone out
            if answer:
                self._send(source, destination, answer)
            self._finish(live, bool(answer) and not self._link.is_closing)
            return b""
        return answer

    def _take_in_turn(self, live: Live, source: int, destination: int, payload: bytes | Opened) -> None:
        if live.held is None:
            self._take(live, source, destination, payload)
        elif len(live.held) < HELD:
            live.held.append((source, destination, payload))
        else:
            # A frame is answered or the line closed, and what is kept has an end.
            self._link.abort(ConnectionLost(f"more than {HELD} frames behind an answer that waits"))

    def _take_for_all(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU for all logical devices: each association of the client that stands hears it, once."""
        standing = [(sap, live) for (client, sap), live in self._live.items() if client == source]
        for found, group in opened_once([at for at in standing if at[1].machine.stands], payload):
            if isinstance(found, MetersealError):
                self._party.events.refused(self._who(source, destination), found, "receiving for all")
                continue
            for sap, live in group:
                self._take_in_turn(live, source, sap, found)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """The link of one pair is gone, and its association with it; a new link starts with none."""
        live = self._live.pop((source, destination), None)
        if live is None:
            return
        live.gone = True
        self._finish(live)
        self.end(live)
        if live.association is not None and live.association.profile.pre_established:
            self._live[source, destination] = self._new(live.association)

    def closed(self, cause: Exception | None) -> None:
        """The connection is gone, and all its associations with it."""
        self._gone = True
        for timer in self._waiting:
            timer.cancel()
            self._party.delays.answered(self._link.source)
        self._waiting.clear()
        for live in self._live.values():
            self._finish(live)
            self.end(live)
        self._party.left(self)

    def _find(self, source: int, destination: int) -> Live:
        """What is to take the first frame of a pair."""
        held = self._meter.association(source, destination)
        if held is not None:
            live = self._live[source, destination] = self._new(held)
            return live
        if self._nobody is None:
            self._nobody = Live(None, self._machine(nobody(self._meter.system_title)))
        return self._nobody

    # --- a frame ----------------------------------------------------------------------------

    def _take(self, live: Live, source: int, destination: int, payload: bytes | Opened) -> None:
        """Have the machine take a frame."""
        anew = isinstance(payload, bytes) and payload[:1] == Aarq.tag
        if anew:
            self._ended(live)  # it is followed by another, whatever comes of that
        self._carry_out(live, source, destination, live.machine.receive(payload))
        self._watch(live, source, destination, anew)

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

    def _watch(self, live: Live, source: int, destination: int, anew: bool) -> None:
        """A sign-on has to be completed in time, counted from its AARQ; a transfer has to go on."""
        if live.machine.half_open:
            live.touched = self._timer.time()
        pending = live.machine.state is State.PENDING and not self._gone
        if live.deadline is not None and (anew or not pending):
            live.deadline.cancel()
            live.deadline = None
        if pending and live.deadline is None:
            live.deadline = self._timer.call_later(PENDING_TIME, self._late, live, source, destination)

    def _late(self, live: Live, source: int, destination: int) -> None:
        live.deadline = None
        error = TimedOut(f"no proof within {PENDING_TIME:g} s")
        self._party.events.refused(self._who(source, destination), error, "pass 3")
        live.machine.end()

    def expire(self) -> None:
        """Let go of block transfers that have stood still for too long."""
        latest = self._timer.time() - TRANSFER_TIME
        for (source, destination), live in self._live.items():
            if live.machine.half_open and live.touched < latest and live.held is None:
                self._carry_out(live, source, destination, live.machine.timed_out())

    def tell(self, attribute: Operation, value: Data, time: bytes) -> None:
        """Tell every client that asked for events of one; who waits for an answer is not told before it."""
        for (source, destination), live in list(self._live.items()):
            if live.held is None and not self._gone:
                for effect in live.machine.notify(attribute, value, time):
                    if isinstance(effect, Reply):
                        self._link.notify(destination, source, effect.octets)
                    else:
                        self._carry_out(live, source, destination, [effect])

    # --- answers ----------------------------------------------------------------------------

    def _reply(self, live: Live, source: int, destination: int, reply: Reply) -> None:
        if not reply.penalty or self._gone:
            self._send(source, destination, reply.octets)
            return
        delay = self._party.delays.failed(self._link.source, source, self._timer.time())
        if delay is None and self._datagrams:
            return
        if delay is None:
            self._link.abort(ConnectionLost("too many failed sign-ons of this source wait for their answers"))
            return
        if live.held is None and not self._datagrams:
            live.held = deque()
            self._link.hold(source, destination, True)

        def answer() -> None:
            self._waiting.discard(handle)
            self._party.delays.answered(self._link.source)
            if not live.gone:
                self._link.hold(source, destination, False)
                self._send(source, destination, reply.octets)
                self._let_go(live)

        handle = self._timer.call_later(delay, answer)
        self._waiting.add(handle)

    def _let_go(self, live: Live) -> None:
        """The answer is out: the frames behind it come in now, up to the next answer that has to wait."""
        frames, live.held = live.held or deque(), None
        self._let_in(live, frames)

    def _let_in(self, live: Live, frames: deque[Frame]) -> None:
        while not live.waits(frames) and frames and not self._gone:
            self._take(live, *frames.popleft())

    def _send(self, source: int, destination: int, octets: bytes) -> None:
        self._link.send(destination, source, octets)

    def _who(self, source: int, destination: int) -> str:
        return f"client {source} at {self._link.peer} to logical device {destination}"


def _responding(
    found: Steps[list[Outcome]], respond: Callable[[list[Outcome]], list[Effect]]
) -> Steps[list[Effect]]:
    return respond((yield from found))


_NOT_POSSIBLE: Final = error_response(ProtocolViolation("another answer is under way"), False)
