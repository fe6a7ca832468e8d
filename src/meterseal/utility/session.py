"""A third party's conversation with one meter, as steps: seal, have it carried, open the answer.

One request at a time: the meter takes them in the order of their counters, so a request that was given up is
not done after a later one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

from meterseal import apdu
from meterseal.apdu.access import INVOKE_ID
from meterseal.apdu.common import SHORT_INVOKE_ID
from meterseal.apdu.initiate import CounterErrorResponse, ExceptionResponse
from meterseal.apdu.services import DataNotification
from meterseal.association import DEFAULT_CONFORMANCE, Operation, Outcome
from meterseal.association.accessing import AskingAccess
from meterseal.association.asking import Asking, error_answer
from meterseal.client.base import CredentialsLike
from meterseal.client.plan import State
from meterseal.client.steps import Passing, Steps, Work
from meterseal.codec.message import Message
from meterseal.cosem.object_list import ObjectEntry
from meterseal.cosem.times import DateTime
from meterseal.credentials import Credentials, ThirdPartyCredentials
from meterseal.crypto import WrappingKey, random_octets, suite
from meterseal.errors import (
    ConfigurationError,
    DecodeError,
    MetersealError,
    ProtectionError,
    ProtocolViolation,
    Refused,
    TimedOut,
    Withheld,
)
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Context, Opened, SecuritySetup, Style
from meterseal.security.describe import party_layers
from meterseal.security.layers import CIPHERING, SIGNING, Layer, Layers
from meterseal.security.options import WRAPPED_FOR_THIRD_PARTIES
from meterseal.security.protect import protecting
from meterseal.security.protection import policy_bits
from meterseal.security.sealed import Sealed
from meterseal.security.steps import Steps as Jobs
from meterseal.utility.counting import Counting
from meterseal.utility.exchanges import Exchanges, broken

_SEALED: Final = AUTHENTICATED | ENCRYPTED
_TRANSACTION: Final = 8
_CONFIRMED_HIGH: Final = 0xC0
_LONGEST_ANSWER: Final = 1 << 22
"""Octets of an answer in blocks that are kept at most."""


def make_setup(credentials: Credentials, third: ThirdPartyCredentials) -> SecuritySetup:
    """The third party's keys toward the meter.  Raises ConfigurationError."""
    title = credentials.meter.system_title
    if title is None:
        raise ConfigurationError("sealing for a meter takes its system title: [meter] system_title")
    chosen = suite(credentials.meter.suite)
    if third.layers == "wrapped" and WRAPPED_FOR_THIRD_PARTIES not in third.peer:
        raise ConfigurationError(
            f"suite {chosen.id} agrees on no keys: sealing under a KEK is an extension, off until the peer "
            f"option {WRAPPED_FOR_THIRD_PARTIES} switches it on, in the meter and in its credentials"
        )
    applied = _SEALED | SIGNED if chosen.signature_length else _SEALED
    kek = third.octets("kek")
    setup = SecuritySetup(
        chosen, third.system_title, title, policy_bits(applied, applied),
        master=None if kek is None else WrappingKey(kek),
    )  # fmt: skip
    if chosen.curve is not None:
        # Loads the backend's X.509 part, which suite 0 does without.
        import_module("meterseal.credentials.identity").equip(setup, credentials, third)
    return setup


def load(credentials: CredentialsLike) -> Credentials:
    """Credentials, from a file where a path is given."""
    return credentials if isinstance(credentials, Credentials) else Credentials.load(credentials)


NO_LINE: Final = "a third party has no line of its own"
"""Why a step that wants one is refused."""


class ThirdSession(ABC):
    """One third party toward one meter: its keys, its counters, and what it asks with.

    `now` gives the time that requests say, with a zone; `draw(n)` random octets for transaction-ids.
    Raises ConfigurationError.
    """

    negotiated: int = DEFAULT_CONFORMANCE

    def __init__(
        self,
        credentials: Credentials,
        state: State,
        name: str | None = None,
        *,
        timeout: float | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[int], bytes] = random_octets,
    ) -> None:
        third = self.third = credentials.third_party(name)
        self.setup = make_setup(credentials, third)
        self.timeout = third.timeout if timeout is None else timeout
        self._now, self._draw = now, draw
        meter = self.setup.peer_title or b""
        self.counting = Counting(state, third.system_title, meter, third.counter_start)
        self.setup.fresh = self.counting.counted
        # No authentication key stands beside keys of third parties: that one is the clients'.
        options = third.peer | {"ak_in_use"}
        self.context = Context(self.setup, meter, minimum=_SEALED, general=True, options=options)
        self.applied = _SEALED | SIGNED if self.setup.suite.signature_length else _SEALED

    @property
    def server_max_pdu(self) -> int:
        """Octets of the largest plain request."""
        return self.third.max_pdu

    def know(self, entries: Iterable[ObjectEntry]) -> None:
        """Nothing to learn: whatever a right may ask for, all that goes out is signed where it can be."""
        del entries

    @abstractmethod
    def ask(
        self,
        operations: Sequence[Operation],
        *,
        access: bool = False,
        stops: bool = False,
        described: bool = False,
    ) -> Steps[tuple[Outcome, ...]]:
        """One request, all its blocks included; the outcomes in order."""

    def transaction(self) -> bytes:
        """A transaction-id that nobody can foretell."""
        return self._draw(_TRANSACTION)


class SealedSession(ThirdSession):
    """One third party's requests to one meter; `ask` is what the verbs of a client need."""

    def __init__(self, credentials: Credentials, state: State, name: str | None = None, **more: Any) -> None:
        super().__init__(credentials, state, name, **more)
        self.exchanges = Exchanges(self.context, self.third.layers, self.counting.pushed)
        self.last: Opened | None = None
        """The latest answer: its layers, and the counter it came with."""
        self._invoke = self._long_invoke = 0

    def ask(
        self,
        operations: Sequence[Operation],
        *,
        access: bool = False,
        stops: bool = False,
        described: bool = False,
    ) -> Steps[tuple[Outcome, ...]]:
        """One request, all its blocks included; the outcomes in order.

        Raises Altered, Moved, Replayed, Reordered, Withheld for what the carrier does; Refused where the
        meter itself says no to the request as a whole.
        """
        asked = tuple(operations)
        asking: Asking | AskingAccess
        if access:
            self._long_invoke = self._long_invoke + 1 & INVOKE_ID
            asking = AskingAccess(asked, self._long_invoke, self.negotiated, stops=stops, described=described)
        else:
            self._invoke = self._invoke + 1 & SHORT_INVOKE_ID
            asking = Asking(
                asked, _CONFIRMED_HIGH | self._invoke, self.negotiated, self.third.max_pdu, _LONGEST_ANSWER
            )
        octets = asking.first()
        while True:
            outcome = asking.take((yield from self._exchange(octets)))
            if not isinstance(outcome, Message):
                return outcome
            octets = outcome.encode()

    def _exchange(self, octets: bytes) -> Steps[Message]:
        """One plain APDU there, one back."""
        request = yield from self.seal(octets)
        try:
            answer: Sealed = yield Passing(request, self.timeout)
        except Refused as error:
            raise Withheld(f"no sealed answer came; the carrier says: {error}") from error
        except TimedOut as error:
            raise Withheld(f"no answer to {request}: {error}") from error
        except (ProtectionError, DecodeError) as error:
            broken(error)
        opened = yield from self.open(request, answer)
        message = apdu.decode(opened.apdu)
        if isinstance(message, ExceptionResponse | CounterErrorResponse):
            raise error_answer(message, True)
        return message

    # --- sealing and opening ----------------------------------------------------------------------

    def seal(self, octets: bytes) -> Steps[Sealed]:
        """A plain APDU, signed where the suite has signatures, then sealed for the meter."""
        yield from self.counting.ensure(1)
        layers = self._layers(self.transaction())
        made = protecting(self.context, octets, self.applied, Style.LAYERED, layers)
        return Sealed.of((yield from through_jobs(made)))

    def _layers(self, transaction: bytes) -> Layers:
        said = DateTime.from_datetime(self._now()).to_octets()
        layer = Layer(CIPHERING, b"", b"", transaction, self.third.layers, 0, said)
        signed = layer._replace(kind=SIGNING, form="", date_time=b"")
        return (layer, signed) if self.applied & SIGNED else (layer,)

    def open(self, request: Sealed, answer: Sealed) -> Steps[Opened]:
        """What the answer to `request` holds.  Raises Altered, Moved, Replayed, Reordered, TooWeak."""
        opened: Opened = yield from through_jobs(self.exchanges.open(request, answer, self.applied))
        self.last = opened
        yield from self.counting.note()
        return opened

    def open_push(self, sealed: Sealed, *, signed: bool) -> Steps[Pushed]:
        """A push that is sealed for this party, durably noted before it is handed on."""
        applied = self.applied if signed else self.applied & ~SIGNED
        opened: Opened = yield from through_jobs(self.exchanges.open_push(sealed, applied))
        yield from self.counting.note(due=False)
        message = apdu.decode(opened.apdu)
        if not isinstance(message, DataNotification):
            raise ProtocolViolation(f"a {message.name} is no push")
        suite = self.setup.suite
        return Pushed(message, opened.apdu, party_layers(opened.layers, suite, opened.counter))


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push that was opened: the message, its octets, and what protected it as in `decode --json`."""

    message: DataNotification
    plain: bytes = field(repr=False)
    layers: list[dict[str, Any]] = field(repr=False)

    @property
    def value(self) -> Any:
        """What the meter tells, decoded."""
        return self.message.notification_body.value


def through_jobs(found: Any | Jobs[Any]) -> Steps[Any]:
    """Steps of `security` within those of a conversation: curve work becomes `Work`."""
    if not isinstance(found, Generator):
        return found
    try:
        job = next(found)
        while True:
            try:
                result = yield Work(job)
            except MetersealError as error:
                job = found.throw(error)
            else:
                job = found.send(result)
    except StopIteration as done:
        return done.value
