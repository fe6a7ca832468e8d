"""The blocking client: the names of the asyncio one, over the same conversations, no loop and no thread."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, TypeVar, Unpack

from meterseal import net
from meterseal.apdu.common import SelectiveAccess
from meterseal.client.base import CredentialsLike, LinkBase, MeterBase
from meterseal.client.broadcasting import broadcast
from meterseal.client.driving import BlockingDriver
from meterseal.client.elements import Write
from meterseal.client.plan import Wishes
from meterseal.client.session import Session
from meterseal.client.setups import SetupSteps
from meterseal.client.setups_blocking import SecuritySetup
from meterseal.client.steps import Exchange, Pair, Pause, Send, Step, Steps, Work
from meterseal.client.verbs_blocking import BlockingVerbs
from meterseal.codec.types import Type
from meterseal.cosem.obis import ObjectAddress
from meterseal.cosem.selection import Selection
from meterseal.errors import ConnectionLost, Misuse
from meterseal.net.blocking import Channel, Line
from meterseal.security.sealed import Sealed
from meterseal.state import CounterStore

T = TypeVar("T")
Object = str | ObjectAddress


class Driver(BlockingDriver):
    """Does the steps of conversations on one line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._channels: dict[Pair, Channel] = {}

    def exchange(self, step: Exchange) -> bytes:
        """As of every driver."""
        channel = self._channels.get(step.pair) or self.channel(step.pair)
        timeout, octets = step.timeout, step.octets
        if octets is None:
            return channel.receive(None if timeout is None else max(0.0, step.deadline - time.monotonic()))
        if timeout is not None:
            step.deadline = time.monotonic() + timeout
        for block in step.ahead:
            channel.send(block)
        return channel.exchange(octets, timeout, step.deadline)

    def channel(self, pair: Pair) -> Channel:
        """What speaks for a pair."""
        found = self._channels.get(pair)
        if found is None:
            found = self._channels[pair] = self.line.channel(*pair)
        return found

    def _other(self, step: Step) -> Any:
        if isinstance(step, Exchange):
            return self.exchange(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Send):
            return self.channel(step.pair).send(step.octets)
        if not isinstance(step, Work):
            raise Misuse("a client carries what others seal by `forward`")
        return step.job()

    def free(self, pair: Pair) -> None:
        """Nobody speaks for this pair any more."""
        channel = self._channels.pop(pair, None)
        if channel is not None:
            channel.close()


class Meter(MeterBase, BlockingVerbs):
    """An association with a meter, for one thread."""

    __slots__ = ("_channel", "_driver")

    def __init__(self, session: Session, driver: Driver) -> None:
        super().__init__(session)
        self._driver = driver
        self._channel: Channel | None = None  # of the reads that were asked before

    def _run(self, steps: Steps[T]) -> T:
        return self._driver.run(steps)

    def get(
        self,
        class_id: int,
        instance: str | bytes,
        attribute: int,
        selection: Selection | SelectiveAccess | None = None,
    ) -> bytes:
        """One attribute by its descriptor, as A-XDR Data; raises Refused.  Read again it costs least."""
        session, now = self._session, time.monotonic()
        octets = None if selection is not None else session.again((class_id, instance, attribute), now)
        if octets is None:
            return super().get(class_id, instance, attribute, selection)
        answer, timeout, deadline = b"", session.timeout, now + session.timeout
        try:
            channel = self._channel
            if channel is None:
                channel = self._channel = self._driver.channel(session.plan.pair)
            answer = channel.exchange(octets, timeout, deadline)
        finally:
            if not answer:
                session.give_up()
        found = session.answered(answer, deadline)
        if isinstance(found, bytes):
            return found
        return self._run(self._verbs.got(found, class_id, instance, attribute))

    def broadcast(
        self, object: Object, value: Any, type: Type | str | None = None, *, key: bytes | None = None
    ) -> None:
        """Write an attribute under the broadcast key: unconfirmed, for whoever has it; nobody answers.

        `key` None: the `gbek` of the credentials.  That it was sent is all that is known then.
        """
        self._run(broadcast(self._session, self._verbs, Write(object, value, type), key))

    def forward(self, sealed: Sealed) -> Sealed:
        """Carry what somebody else has sealed for this meter, and bring back the sealed answer.

        The association's own protection goes around both; nothing here can open them.  Raises Misuse for
        what is sealed for another meter, Refused where the meter does not open it (whatever the cause),
        Unsupported where general protection was not negotiated, TooLarge, TimedOut, ConnectionLost.
        """
        return self._run(self._session.forward(sealed))

    def security_setup(self, object: str | None = None) -> SecuritySetup:
        """A Security setup object by name, as `0.0.43.0.1.255`; that of this association when left out."""
        return SecuritySetup(SetupSteps(self._verbs, self._session, object), self._run)

    def watch(self, seconds: float) -> None:
        """Wait for what the meter tells unasked, for so many seconds; `events` is called with each event."""
        self._run(self._session.watch(seconds))

    def release(self) -> str:
        """Release the association; a warning when it was not answered as it was asked, else empty."""
        return self._run(self._session.release())

    def drop(self) -> None:
        """End the association at once, without a word to the meter."""
        self._session.close()

    @contextmanager
    def _standing(self) -> Iterator[Meter]:
        try:
            self._run(self._session.open())
            yield self
        except KeyboardInterrupt:
            self.drop()  # who interrupts does not want to wait for an answer
            raise
        finally:
            if self.is_open and not self._driver.line.is_closing:
                self.release()
            self.drop()


class Link(LinkBase):
    """A line to a meter; associations on it live side by side, in one thread."""

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
        line: Line | None = None,
    ) -> None:
        super().__init__(url, credentials, counters, state, None if line is None else line.name, timeout)
        self._wire_log, self._limits = wire_log, limits
        self._line = line
        self._driver: Driver | None = None

    def __enter__(self) -> Link:
        if self._driver is not None:
            raise Misuse("this line was opened before: make another one")
        if self._line is None:
            self._line = net.blocking.connect(
                self.url,
                timeout=self._timeout,
                limits=self._limits,
                wire_log=self._wire_log,
                hdlc=self._asking(),
            )
        self._driver = Driver(self._line)
        self._shared.joins(self._driver.free, self._line.datagrams, self._line.via)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            self._line.close()

    def associate(self, role: str | None = None, **wishes: Unpack[Wishes]) -> AbstractContextManager[Meter]:
        """Sign on as a role (the only one when left out), release at the end of the block."""
        if self._driver is None:
            raise ConnectionLost("the line is not open: use it with `with`")
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
    line: Line | None = None,
) -> Link:
    """A line to a meter, opened by `with`.

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


@contextmanager
def connect(
    url: str | None = None,
    credentials: CredentialsLike | None = None,
    role: str | None = None,
    *,
    counters: CounterStore | None = None,
    state: str | os.PathLike[str] | None = None,
    wire_log: net.WireLog | None = None,
    limits: net.Limits | None = None,
    line: Line | None = None,
    **wishes: Unpack[Wishes],
) -> Iterator[Meter]:
    """Open a line and sign on as a role; `with` gives the `Meter`, and releases and closes at the end.

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
    with opened, opened.associate(role, **wishes) as meter:
        yield meter
