"""Push setup (class 40), versions 0, 1 and 2: what a meter tells unasked, to whom, when and how often again.

The object says what to send and hands it on as an `Order`; who has lines carries it out (`pushing`).  A push
goes out under the Security setup of one role, and holds nothing that this role may not read: who may write
the list must not get at other people's values by it (fact sheets classes 8, more 9).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import datetime
from typing import Any, Final, TypeAlias

from meterseal.apdu import decode
from meterseal.apdu.ciphered import FORMS
from meterseal.apdu.services import DataNotification, DataNotificationConfirm
from meterseal.association import Operation
from meterseal.association.profile import ThirdParty
from meterseal.codec.data import Data
from meterseal.codec.types import Structure, Tag
from meterseal.cosem.recurring import next_time
from meterseal.cosem.rights import READ
from meterseal.cosem.times import DateTime
from meterseal.errors import ConfigurationError, MetersealError
from meterseal.keys.counters import WINDOW
from meterseal.meter.configured import Configured, Setup
from meterseal.meter.gradual import Gradual
from meterseal.meter.objects import OTHER_REASON, Asker, Denied, Value, elements, listed
from meterseal.meter.orders import HDLC, TCP, UDP, Order, Surroundings
from meterseal.meter.push_protection import check_parameters, sealed, third_party_of
from meterseal.net import parse
from meterseal.security import Context, KeyInUse, SecuritySetup, unprotect
from meterseal.security.protection import AUTHENTICATED, of_response
from meterseal.security.steps import Steps, begun, through

XDLMS: Final = 0
"""message_type: an A-XDR encoded APDU."""

CONFIRMED: Final = 2
"""push_operation_method of version 2: tried again until it is confirmed."""

MOST_OBJECTS: Final = 64
_INVOKE_IDS: Final = 0xFF_FFFF
_ASKS_FOR_CONFIRMATION: Final = 1 << 30
_NULL: Final[Value] = (None, Tag.NULL)


class PushSetup(Configured):
    """One push setup.  `interval` in seconds by the clock, 0: only when called; `blocks` as of `Order`."""

    def __init__(self, setup: Setup, around: Surroundings, *, interval: int = 0, blocks: int = 0) -> None:
        self._around, self._interval, self._blocks = around, interval, blocks
        self._invoke = 0
        self._confirmed_at = DateTime().to_octets()
        super().__init__(40, setup)
        self.callers[1] = lambda asker, parameter: self.push()
        if setup.version == 2:
            self.readers[13] = lambda asker: (self._confirmed_at, Tag.DATE_TIME)
            self.callers[2] = lambda asker, parameter: around.drop(setup.obis)
        self.due: int | None = None
        self.plan()

    def check(self, index: int, value: Value) -> None:
        """A list that is not too long, and a destination that this meter can reach."""
        super().check(index, value)
        given = value[0]
        if index == 2 and len(given) > MOST_OBJECTS:
            raise Denied(OTHER_REASON, f"a push has at most {MOST_OBJECTS} objects")
        if index == 2 and self.version == 2:
            _check_objects(given)
        if index == 2:
            list(map(listed, given))
        if index == 3 and given[1]:
            _check_destination(*given)
        if index == 7 and self.version == 2 and given[1] < 100:
            raise Denied(OTHER_REASON, "the exponent of the repetition delay is in per cent, from 100")
        if index == 10:
            check_parameters(self._around, given)
        if index == 11 and given > CONFIRMED:
            raise Denied(OTHER_REASON, "push_operation_method is 0, 1 or 2")

    # --- when -----------------------------------------------------------------------------------

    @property
    def wakes(self) -> bool:
        """Somebody waits for it."""
        return self.has_destination

    def plan(self) -> None:
        """The next multiple of the interval, by the meter's clock."""
        if self._interval:
            plant = self._around.plant
            shown = plant.now().shown
            self.due = shown - shown % self._interval + self._interval - plant.offset

    def turn(self) -> None:
        """Push, by the clock; where there is nowhere to send to, nothing happens."""
        self.plan()
        if not self.has_destination:
            return
        try:
            self.push()
        except Denied as denied:
            self._around.note(f"push {self.obis} was not sent: {denied}")

    def opens_in(self) -> float:
        """Seconds until a communication window is open; 0 in one, and without any."""
        windows = [tuple(map(DateTime.from_octets, window)) for window in self.values[4][0]]
        if not windows:
            return 0.0
        face = self._around.plant.face(self._around.plant.now().shown)
        starts = []
        for start, end in windows:
            opening, closing = _next(start, face), _next(end, face)
            if closing is not None and (opening is None or closing < opening):
                return 0.0
            if opening is not None:
                starts.append(opening)
        if not starts:
            raise Denied(OTHER_REASON, "no communication window opens any more")
        return (min(starts) - face).total_seconds()

    @property
    def has_destination(self) -> bool:
        """True when somebody has said where to."""
        transport, destination, _ = self.values[3][0]
        return bool(destination) or transport == HDLC

    # --- what -----------------------------------------------------------------------------------

    def push(self) -> None:
        """Hand a push on, with the values of this moment.  Raises Denied when there is nowhere to send to."""
        around = self._around
        (transport, destination, _), retries = self.values[3][0], self.values[6][0]
        if not self.has_destination:
            raise Denied(OTHER_REASON, "the push has no destination")
        _check_destination(transport, destination, XDLMS)
        wait = self.opens_in() + self._random_start()
        confirmed = self.version == 2 and self.values[11][0] == CONFIRMED
        self._invoke = self._invoke % _INVOKE_IDS + 1
        parameters = self.values[10][0] if self.version else []
        body, asked = self._body(third_party_of(around, parameters))
        number = self._invoke | (_ASKS_FOR_CONFIRMATION if confirmed else 0)
        plain = Gradual(_told(number, around.plant.clock(around.plant.now()).to_octets(), body))
        client = self.values[9][0] & 0xFF if self.version else around.client
        around.send(
            Order(
                self.obis, transport, destination.decode("ascii"), around.device, client,
                seal=lambda: sealed(around, plain.whole(), asked, parameters),
                making=plain,
                start=wait,
                delays=tuple(self._delay(number) for number in range(retries)),
                blocks=self._blocks,
                confirms=self._waiting_for(self._invoke) if confirmed else None,
            )
        )  # fmt: skip

    def _waiting_for(self, invoke: int) -> Callable[[bytes], bool]:
        """Whether octets confirm the push with this number, under the keys of its role."""
        around = self._around

        def confirms(octets: bytes) -> bool:
            setup = around.ring.setup
            protected = octets[:1] != b"" and octets[0] in FORMS
            if not protected and of_response(setup.policy) & AUTHENTICATED:
                return False
            try:
                # On a trial counter: what comes on the meter's own line is mostly meant for an association.
                message = decode(_opened(_on_trial(setup), octets) if protected else octets)
                if not isinstance(message, DataNotificationConfirm):
                    return False
                if message.long_invoke_id_and_priority & _INVOKE_IDS != invoke:
                    return False
                if protected:
                    _opened(setup, octets)
            except MetersealError:
                return False
            self._confirmed_at = around.plant.clock(around.plant.now()).to_octets()
            return True

        return confirms

    def _random_start(self) -> float:
        span = self.values[5][0]
        return int.from_bytes(self._around.draw(4), "big") / 2**32 * span if span else 0.0

    def _delay(self, number: int) -> float:
        """Seconds before attempt `number` + 2."""
        given = self.values[7][0]
        if self.version < 2:
            return float(given)
        least, exponent, most = given
        return float(min(most, least * (exponent / 100) ** number))

    def _body(self, third: ThirdParty | None) -> tuple[list[_Part], int]:
        """The values in the order of the list, as they are now, and the rights that they ask to be kept to.

        What is sealed for a third party holds what the role may read, or carry for it, and it may read.
        """
        asked, view = 0, self._around.view()
        parts: list[_Part] = []
        for element in self.values[2][0]:
            operation = listed(element)
            right = 0 if view is None else view.right(operation, None) or 0
            if third is not None:
                right |= 0 if third.extra is None else third.extra.right(operation, None) or 0
                right = right if (third.view.right(operation, None) or 0) & READ else 0
            # Null-data for what the role of the push may not read.  A name is no secret: it is in the list.
            right = READ if operation.member == 1 else right
            asked |= right
            parts.append((self._around.read(operation) if right & READ else None, element[3]))
        return parts, asked


_Part: TypeAlias = tuple["Data | Steps[Data | None] | None", int]
"""A value, or steps to it that have begun with the moment; and which element of it, 0: the whole."""


def _told(number: int, moment: bytes, parts: list[_Part]) -> Steps[bytes]:
    """The notification, plain."""
    values = []
    for found, data_index in parts:
        values.append(_value((yield from through(found)), data_index))
    body = Data.of(tuple(value for value, _ in values), Structure(tuple(type_ for _, type_ in values)))
    return DataNotification(number, moment, body).encode()


def _value(data: Data | None, data_index: int) -> Value:
    if data is None:
        return _NULL
    value, type_ = data.value, data.type
    if not data_index:
        return value, type_
    types = type_.fields if isinstance(type_, Structure) else elements(type_, len(value))
    return (value[data_index - 1], types[data_index - 1]) if data_index <= len(types) else _NULL


def _on_trial(setup: SecuritySetup) -> SecuritySetup:
    """The same keys, with a counter of what was received that nobody else looks at."""
    tried = copy(setup)
    if setup.unicast is not None:
        held = setup.unicast
        tried.unicast = KeyInUse(held.handle, held.tx, copy(held.rx), held.key_id)
    return tried


def _opened(setup: SecuritySetup, octets: bytes) -> bytes:
    context = Context(setup, setup.peer_title, general=True, serving=True)
    context.minimum, context.window = of_response(setup.policy) & AUTHENTICATED, WINDOW
    return unprotect(context, octets).apdu


def _check_objects(given: list[Any]) -> None:
    """The tables leave elements of version 2 open: class, name, attribute, index, restriction, columns."""
    for element in given:
        if not isinstance(element, tuple) or len(element) not in (5, 6):
            raise Denied(OTHER_REASON, "an element of the list has five fields, or six with columns")
        numbers = (element[0], element[2], element[3])
        if not all(isinstance(number, int) for number in numbers) or not isinstance(element[1], bytes):
            raise Denied(OTHER_REASON, "an element of the list names class, object, attribute and index")
        if len(element[1]) != 6 or not isinstance(element[4], tuple) or len(element[4]) != 2:
            raise Denied(OTHER_REASON, "an element of the list has a name of 6 octets and a restriction")


def _check_destination(transport: int, destination: bytes, message: int) -> None:
    if transport not in (TCP, UDP, HDLC) or message != XDLMS:
        raise Denied(OTHER_REASON, "this meter pushes APDUs over TCP (0), UDP (1) and HDLC (5)")
    if transport == HDLC:
        return
    try:
        text = destination.decode("ascii")
        where = parse(f"tcp://{text}")
    except (UnicodeDecodeError, ConfigurationError):
        raise Denied(OTHER_REASON, "a destination is host:port") from None
    if not where.port or where.options or not text.endswith(f":{where.port}"):
        raise Denied(OTHER_REASON, "a destination is host:port and nothing else")


def _next(pattern: DateTime, face: datetime) -> datetime | None:
    return next_time([(pattern.time, pattern.date)], face)


def read_as(
    perform: Callable[[Asker, Operation], Any], asker: Asker
) -> Callable[[Operation], Data | Steps[Data | None] | None]:
    """Reads attributes as `asker`, what is much in steps; None for what is not there or cannot be read."""

    def reading(operation: Operation) -> Steps[Data | None]:
        try:
            outcome = yield from through(perform(asker, operation))
            return None if outcome.code or outcome.data is None else Data.decode(outcome.data)
        except (Denied, MetersealError):
            return None

    return lambda operation: begun(reading(operation))
