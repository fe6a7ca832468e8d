"""One connection of a meter: its associations by (client SAP, server SAP), driven by what the machines say.

Octets come in whole, effects are carried out, answers go back; no parsing, no key and no right is here.
Time and timers come from a `Timer` (the loop, or a test's own), so everything that waits can be tested.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeAlias

from meterseal.apdu.acse import Aarq
from meterseal.association import (
    Line,
    Operation,
    Reply,
    ServerAssociation,
    ServerProfile,
    State,
    TransferMemory,
)
from meterseal.codec.data import Data
from meterseal.errors import (
    ConnectionLost,
    MetersealError,
    TimedOut,
)
from meterseal.framing.wrapper import MAX_APDU, MAX_IN_DATAGRAM
from meterseal.meter.association_object import Association
from meterseal.meter.conduct import Conduct, Party
from meterseal.meter.everybody import opened_once
from meterseal.meter.live import Frame, Handle, Live, nobody
from meterseal.net import Link
from meterseal.security import Opened

PENDING_TIME: Final = 10.0
"""Seconds from the AARE to the proof of pass 3."""

TRANSFER_TIME: Final = 30.0
"""Seconds that a block transfer may stand still before what is kept of it is let go."""

HELD: Final = 16
"""Frames of one association that are kept while an answer of it waits."""


Way: TypeAlias = Callable[[bytes], bytes]
"""Takes the APDUs of one pair and gives what goes out at once."""


class Host(Party, Protocol):
    """The party that a session belongs to."""

    memory: TransferMemory

    def left(self, session: Session) -> None:
        """A connection has ended."""


class Session(Conduct):
    """The handler of one connection, or with `datagrams` of one peer's address.

    Datagrams have no order to keep, and anybody can write somebody's address on them: what they do
    wrong delays nothing else that comes from there, and ends nothing.  `everybody`: server SAPs that
    stand for all logical devices.
    """

    _party: Host

    def __init__(
        self, party: Host, link: Link, *, datagrams: bool = False, everybody: frozenset[int] = frozenset()
    ) -> None:
        super().__init__(party, link)
        self._everybody = everybody.difference(party.meter.devices)
        self._datagrams = datagrams
        self._live: dict[tuple[int, int], Live] = {}
        self._nobody: Live | None = None
        self._waiting: set[Handle] = set()
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
