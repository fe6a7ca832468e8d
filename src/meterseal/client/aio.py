"""The client for asyncio: `connect` to a meter as one role, or `link` a line and associate as several."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar, Unpack

from meterseal import net
from meterseal.apdu.common import SelectiveAccess
from meterseal.client.base import CredentialsLike, LinkBase, MeterBase
from meterseal.client.broadcasting import broadcast
from meterseal.client.driving import AsyncDriver, Turn
from meterseal.client.elements import Write
from meterseal.client.plan import Wishes
from meterseal.client.session import Session
from meterseal.client.setups import SetupSteps
from meterseal.client.setups_aio import SecuritySetup
from meterseal.client.steps import Exchange, Pair, Pause, Send, Step, Steps, Work
from meterseal.client.verbs_aio import AsyncVerbs
from meterseal.codec.types import Type
from meterseal.cosem.obis import ObjectAddress
from meterseal.cosem.selection import Selection
from meterseal.errors import ConnectionLost, Misuse
from meterseal.security.sealed import Sealed
from meterseal.state import CounterStore

T = TypeVar("T")
Object = str | ObjectAddress


class Driver(AsyncDriver):
    """Does the steps of conversations on one line."""

    def __init__(self, line: net.Line) -> None:
        self.line = line
        self._channels: dict[Pair, net.Channel] = {}

    def exchange(self, step: Exchange) -> Awaitable[bytes]:
        """As of every driver: what has been sent when this returns is answered when that is awaited."""
        channel = self._channels.get(step.pair) or self.channel(step.pair)
        timeout, octets = step.timeout, step.octets
        if octets is None:
            return channel.receive(None if timeout is None else max(0.0, step.deadline - monotonic()))
        step.deadline = float("inf") if timeout is None else monotonic() + timeout
        if step.ahead:
            return self._in_blocks(channel, step.ahead, octets, timeout)
        return channel.exchange(octets, timeout, step.deadline)

    async def _in_blocks(
        self, channel: net.Channel, ahead: Sequence[bytes], last: bytes, timeout: float | None
    ) -> bytes:
        for block in (*ahead, last):
            await channel.send(block)
        return await channel.receive(timeout)

    def channel(self, pair: Pair) -> net.Channel:
        """What speaks for a pair."""
        found = self._channels.get(pair)
        if found is None:
            found = self._channels[pair] = self.line.channel(*pair)
        return found

    async def _other(self, step: Step) -> Any:
        if isinstance(step, Exchange):
            return await self.exchange(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Send):
            return await self.channel(step.pair).send(step.octets)
        if not isinstance(step, Work):
            raise Misuse("a client carries what others seal by `forward`")
        return await asyncio.to_thread(step.job) if step.slow else step.job()

    def free(self, pair: Pair) -> None:
        """Nobody speaks for this pair any more."""
        channel = self._channels.pop(pair, None)
        if channel is not None:
            channel.close()


class Meter(MeterBase, AsyncVerbs):
    """An association with a meter.  One request at a time: calls that come meanwhile wait for their turn."""

    __slots__ = ("_channel", "_driver", "_turn")

    def __init__(self, session: Session, driver: Driver) -> None:
        super().__init__(session)
        self._driver = driver
        self._turn = Turn()
        self._channel: net.Channel | None = None  # of the reads that were asked before

    async def _run(self, steps: Steps[T]) -> T:
        turn = self._turn
        if turn.taken:
            await turn.wait()
        turn.taken = True
        try:
            return await self._driver.run(steps)
        finally:
            turn.pass_on()

    async def get(
        self,
        class_id: int,
        instance: str | bytes,
        attribute: int,
        selection: Selection | SelectiveAccess | None = None,
    ) -> bytes:
        """One attribute by its descriptor, as A-XDR Data; raises Refused.  Read again it costs least."""
        turn = self._turn
        if turn.taken or selection is not None:
            return await super().get(class_id, instance, attribute, selection)
        session = self._session
        now, timeout = monotonic(), session.timeout
        octets = session.again((class_id, instance, attribute), now)
        if octets is None:
            return await super().get(class_id, instance, attribute, selection)
        turn.taken = True
        answer, deadline = b"", now + timeout
        try:
            channel = self._channel
            if channel is None:
                channel = self._channel = self._driver.channel(session.plan.pair)
            answer = await channel.exchange(octets, timeout, deadline)
            found = session.answered(answer, deadline)
            if isinstance(found, bytes):
                return found
            return await self._driver.run(self._verbs.got(found, class_id, instance, attribute))
        finally:
            if not answer:
                session.give_up()
            if turn.waiting is None:
                turn.taken = False
            else:
                turn.pass_on()

    async def broadcast(
        self, object: Object, value: Any, type: Type | str | None = None, *, key: bytes | None = None
    ) -> None:
        """Write an attribute under the broadcast key: unconfirmed, for whoever has it; nobody answers.

        `key` None: the `gbek` of the credentials.  That it was sent is all that is known then.
        """
        await self._run(broadcast(self._session, self._verbs, Write(object, value, type), key))

    async def forward(self, sealed: Sealed) -> Sealed:
        """Carry what somebody else has sealed for this meter, and bring back the sealed answer.

        The association's own protection goes around both; nothing here can open them.  Raises Misuse for
        what is sealed for another meter, Refused where the meter does not open it (whatever the cause),
        Unsupported where general protection was not negotiated, TooLarge, TimedOut, ConnectionLost.
        """
        return await self._run(self._session.forward(sealed))

    def security_setup(self, object: str | None = None) -> SecuritySetup:
        """A Security setup object by name, as `0.0.43.0.1.255`; that of this association when left out."""
        return SecuritySetup(SetupSteps(self._verbs, self._session, object), self._run)

    async def watch(self, seconds: float) -> None:
        """Wait for what the meter tells unasked, for so many seconds; `events` is called with each event."""
        await self._run(self._session.watch(seconds))

    async def release(self) -> str:
        """Release the association; a warning when it was not answered as it was asked, else empty."""
        return await self._run(self._session.release())

    def drop(self) -> None:
        """End the association at once, without a word to the meter."""
        self._session.close()

    @property
    def is_lost(self) -> bool:
        """True when the line has ended under the association."""
        return self._driver.line.is_closing

    @asynccontextmanager
    async def _standing(self) -> AsyncIterator[Meter]:
        try:
            await self._run(self._session.open())
            yield self
        except asyncio.CancelledError:
            self.drop()  # who cancels does not want to wait for an answer
            raise
        finally:
            if self.is_open and not self._driver.line.is_closing:
                await self.release()
            self.drop()


class Link(LinkBase):
    """A line to a meter; associations on it live side by side, each with its own turn."""

    def __init__(
        self,
        url: str | None = None,
        credentials: CredentialsLike | None = None,
        *,
        counters: CounterStore | None = None,
        state: str | os.PathLike[str] | None = None,
        timeout: float | None = 10.0,
        wire_log: net.WireLog | None = None,
        limits: net.Limits | None = None,
        line: net.Line | None = None,
    ) -> None:
        super().__init__(url, credentials, counters, state, None if line is None else line.name, timeout)
        self._wire_log, self._limits = wire_log, limits
        self._line = line
        self._driver: Driver | None = None

    async def __aenter__(self) -> Link:
        if self._driver is not None:
            raise Misuse("this line was opened before: make another one")
        if self._line is None:
            self._line = await net.connect(
                self.url,
                timeout=self._timeout,
                limits=self._limits,
                wire_log=self._wire_log,
                hdlc=self._asking(),
            )
        self._driver = Driver(self._line)
        self._shared.joins(self._driver.free, self._line.datagrams, self._line.via)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            await self._line.close()

    def associate(
        self, role: str | None = None, **wishes: Unpack[Wishes]
    ) -> AbstractAsyncContextManager[Meter]:
        """Sign on as a role (the only one when left out), release at the end of the block."""
        if self._driver is None:
            raise ConnectionLost("the line is not open: use it with `async with`")
        return Meter(self._session(role, wishes), self._driver)._standing()


def link(
    url: str | None = None,
    credentials: CredentialsLike | None = None,
    *,
    counters: CounterStore | None = None,
    state: str | os.PathLike[str] | None = None,
    timeout: float | None = 10.0,
    wire_log: net.WireLog | None = None,
    limits: net.Limits | None = None,
    line: net.Line | None = None,
) -> Link:
    """A line to a meter, opened by `async with`.

    `url` is that of the credentials when left out.  Counters are kept in the store `counters`, else in the
    folder `state`, else METERSEAL_STATE, else beside the credentials' file.  `timeout` (seconds) is for the
    opening of the line; `line` is an open one to be used instead.
    """
    return Link(
        url,
        credentials,
        counters=counters,
        state=state,
        timeout=timeout,
        wire_log=wire_log,
        limits=limits,
        line=line,
    )


@asynccontextmanager
async def connect(
    url: str | None = None,
    credentials: CredentialsLike | None = None,
    role: str | None = None,
    *,
    counters: CounterStore | None = None,
    state: str | os.PathLike[str] | None = None,
    wire_log: net.WireLog | None = None,
    limits: net.Limits | None = None,
    line: net.Line | None = None,
    **wishes: Unpack[Wishes],
) -> AsyncIterator[Meter]:
    """Open a line and sign on as a role; `async with` gives the `Meter`, and releases and closes at the end.

    Arguments as of `link` and `Link.associate`; `timeout` holds for opening the line and for each answer, and
    is that of the role when left out.
    """
    opened = link(
        url,
        credentials,
        counters=counters,
        state=state,
        timeout=wishes.get("timeout"),
        wire_log=wire_log,
        limits=limits,
        line=line,
    )
    opened.wait_as(role, wishes)
    async with opened, opened.associate(role, **wishes) as meter:
        yield meter
