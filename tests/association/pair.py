"""A client and a meter in memory: all they send is on record, all between them can be changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from meterseal.apdu.ciphered import FORMS, parse
from meterseal.association import (
    Associated,
    ClientAssociation,
    ClientProfile,
    Compute,
    Confirmed,
    Effect,
    Failed,
    Indication,
    Line,
    Need,
    Operation,
    Outcome,
    Refusal,
    Reply,
    ServerAssociation,
    ServerProfile,
    Service,
    State,
)
from meterseal.association.proving import REPLYING
from meterseal.codec.data import Data, Tag
from meterseal.crypto import GcmKey, SigningKey, curve, suite
from meterseal.errors import MetersealError
from meterseal.keys.counters import LIMIT, ReceiveCounter, SendCounter
from meterseal.security import KeyInUse, SecuritySetup, Style, protect
from meterseal.security.directory import KnownKeys

CLIENT_TITLE, METER_TITLE = b"MSLHES01", b"MSL00001"
EK, AK, GBEK, DEK = (
    bytes(range(16)),
    bytes(range(0xD0, 0xE0)),
    bytes(range(0x40, 0x50)),
    bytes(range(0x80, 0x90)),
)
SECRET = b"a secret of 16.."
PASSWORD = b"12345678"
CLIENT_CHALLENGE = bytes(range(0x10, 0x20))
AUTHENTICATED_ENCRYPTED = 0x6C
"""Policy: requests and responses authenticated and encrypted."""

REGISTER = bytes.fromhex("0100010800FF")
CLOCK = bytes.fromhex("0000010000FF")
SWITCH = bytes.fromhex("000060030AFF")
HIDDEN = bytes.fromhex("0000600101FF")
READ, WRITE, CALL = 1, 2, 1

Direction = str
TO_METER, TO_CLIENT = "client", "meter"
"""Who sent it: the directions of the wire log."""

Tap = Callable[[Direction, bytes], Sequence[bytes]]


def get(instance: bytes = REGISTER, member: int = 2, class_id: int = 3, selection: Any = None) -> Operation:
    """A read."""
    return Operation(Service.GET, class_id, instance, member, selection)


def put(value: Data, instance: bytes = CLOCK, member: int = 2, class_id: int = 8) -> Operation:
    """A write."""
    return Operation(Service.SET, class_id, instance, member, None, value)


def call(
    data: Data | None = None, instance: bytes = SWITCH, member: int = 1, class_id: int = 70
) -> Operation:
    """A call of a method."""
    return Operation(Service.ACTION, class_id, instance, member, None, data)


def octet_string(octets: bytes) -> Data:
    """Data: an octet-string."""
    return Data.of(octets, Tag.OCTET_STRING)


SMALL = Data.of(1234, Tag.DOUBLE_LONG_UNSIGNED)


class View:
    """Rights by (is a method, class, instance, member); REGISTER, CLOCK and SWITCH by default.

    `asked` are the operations of requests; pass 3 of a sign-on is none.
    """

    def __init__(self, right: int = READ | WRITE) -> None:
        self.default = right
        self.rights: dict[tuple[bool, int, bytes, int], int | None] = {}
        self.asked: list[tuple[Operation, int | None]] = []

    def right(self, operation: Operation, user: int | None) -> int | None:
        """The bits of one member."""
        if operation is not REPLYING:
            self.asked.append((operation, user))
        key = (operation.service is Service.ACTION, operation.class_id, operation.instance, operation.member)
        if key in self.rights:
            return self.rights[key]
        return self.default if operation.instance in (REGISTER, CLOCK, SWITCH) else None


@dataclass
class Plant:
    """The meter's objects: what is read, and what was written and called."""

    values: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    done: list[Operation] = field(default_factory=list)

    def do(self, operation: Operation) -> Outcome:
        """Carry one operation out."""
        name = (operation.instance, operation.member)
        if operation.service is Service.GET:
            return Outcome(0, self.values.get(name, SMALL.raw))
        self.done.append(operation)
        if operation.service is Service.SET:
            assert operation.data is not None
            self.values[name] = operation.data.raw
            return Outcome(0)
        return Outcome(0, None if operation.data is None else operation.data.raw)


def key(title_first: int = 1, *, end: int = 0, lowest: int = 0, ek: bytes = EK, ak: bytes = AK) -> KeyInUse:
    """The unicast key, with counters from `title_first` and a block as long as wanted."""
    block = SendCounter(title_first, end or title_first + 100_000)
    return KeyInUse(GcmKey(ek, ak), block, ReceiveCounter(lowest), "key")


def setups(policy: int, broadcast: bool = False, suite_id: int = 0) -> tuple[SecuritySetup, SecuritySetup]:
    """Security setups of client and meter that fit each other."""
    longer = 2 if suite_id == 2 else 1
    ours, theirs = (key(first, ek=EK * longer, ak=AK * longer) for first in (1, 0x1000))
    client = SecuritySetup(suite(suite_id), CLIENT_TITLE, METER_TITLE, policy, ours)
    meter = SecuritySetup(suite(suite_id), METER_TITLE, CLIENT_TITLE, policy, theirs)
    if broadcast:
        meter.broadcast = key(1, ek=GBEK)
    return client, meter


SIGNING = {
    id: (SigningKey.generate(curve(name)), SigningKey.generate(curve(name)))
    for id, name in ((1, "P-256"), (2, "P-384"))
}
"""Signature keys of client and meter by suite."""


def with_signatures(client: SecuritySetup, meter: SecuritySetup) -> None:
    """Give both ends their signature keys, each knowing the other's."""
    ours, theirs = SIGNING[client.suite.id]
    for setup, own, peer in ((client, ours, theirs), (meter, theirs, ours)):
        known = KnownKeys()
        known.signing[CLIENT_TITLE if setup is meter else METER_TITLE] = peer.public
        setup.signing, setup.directory = own, known


def drawing(*octets: bytes) -> Callable[[int], bytes]:
    """A random source for tests: these, then numbers."""
    rest: Iterator[bytes] = iter(octets)
    number = 0

    def draw(count: int) -> bytes:
        nonlocal number
        number += 1
        return next(rest, None) or b"StoC" + number.to_bytes(count - 4, "big")

    return draw


class Pair:
    """A client and a meter with a wire between them.

    `tap` sees every APDU and says what arrives instead.  `block` is how many counters a `Need` gets.
    `hold` keeps indications for the test to answer.
    """

    def __init__(
        self,
        *,
        mechanism: int = 5,
        ciphered: bool = True,
        policy: int = AUTHENTICATED_ENCRYPTED,
        broadcast: bool = False,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        draw: Callable[[int], bytes] | None = None,
        suite_id: int = 0,
        datagrams: bool = False,
    ) -> None:
        ours, theirs = setups(policy if ciphered else 0, broadcast, suite_id)
        if suite_id:
            with_signatures(ours, theirs)
        self.view, self.plant = View(), Plant()
        secret = PASSWORD if mechanism == 1 else SECRET
        common: dict[str, Any] = {
            "client_sap": 2,
            "server_sap": 1,
            "mechanism": mechanism,
            "ciphered": ciphered,
        }
        ours_only = {"setup": ours, "secret": secret, "datagrams": datagrams}
        self.client = ClientAssociation(ClientProfile(**{**common, **ours_only, **(client or {})}))
        self.server = ServerAssociation(
            ServerProfile(
                **{**common, "setup": theirs, "view": self.view, "secret": lambda: secret, **(server or {})}
            ),
            draw or drawing(),
            Line(datagrams),
        )
        self.wire: list[tuple[Direction, bytes]] = []
        self.tap: Tap = lambda direction, octets: [octets]
        self.hold = False
        self.held: list[Indication] = []
        self.block = 1000
        self.needs: list[tuple[Direction, Need]] = []
        self.refusals: list[Refusal] = []
        self.events: list[tuple[Direction, Effect]] = []

    # --- driving --------------------------------------------------------------------------------

    def sign_on(self, challenge: bytes = CLIENT_CHALLENGE) -> list[Effect]:
        """Sign the client on; its effects other than what it sent."""
        scheme = self.client.profile.scheme
        challenge = (challenge * 2)[: max(scheme.challenges[0], len(challenge))]
        return self.run(self.client.associate(challenge if scheme.passes == 4 else b""))

    def ask(self, *operations: Operation) -> list[Effect]:
        """One request of the client, to its end."""
        return self.run(self.client.request(operations))

    def outcomes(self, *operations: Operation) -> tuple[Outcome, ...]:
        """The outcomes of a request that succeeds."""
        (effect,) = self.ask(*operations)
        assert isinstance(effect, Confirmed), effect
        return effect.outcomes

    def failure(self, *operations: Operation) -> MetersealError:
        """The error that a request ends with."""
        (effect,) = self.ask(*operations)
        assert isinstance(effect, Failed), effect
        return effect.error

    def release(self) -> list[Effect]:
        """Release by the client."""
        return self.run(self.client.release())

    def run(self, effects: Sequence[Effect], direction: Direction = TO_METER) -> list[Effect]:
        """Carry effects out until the line is quiet; the client's effects that were not sending."""
        seen: list[Effect] = []
        todo: list[tuple[Direction, Effect]] = [(direction, e) for e in effects]
        while todo:
            sender, effect = todo.pop(0)
            if sender == TO_METER and not isinstance(effect, Reply | Need | Compute):
                seen.append(effect)
            todo = [*self.carry_out(sender, effect), *todo]
        return seen

    def carry_out(self, sender: Direction, effect: Effect) -> list[tuple[Direction, Effect]]:
        """Do what one effect asks for; what comes of it."""
        if isinstance(effect, Reply):
            other = TO_CLIENT if sender == TO_METER else TO_METER
            self.wire.append((sender, effect.octets))
            arrived: list[tuple[Direction, Effect]] = []
            for octets in self.tap(sender, effect.octets):
                taken = (self.server if sender == TO_METER else self.client).receive(octets)
                arrived += [(other, e) for e in taken]
            return arrived
        if isinstance(effect, Need):
            self.needs.append((sender, effect))
            self.reserve(effect)
            end = self.client if sender == TO_METER else self.server
            return [(sender, e) for e in end.resume(effect.token)]
        if isinstance(effect, Compute):
            end = self.client if sender == TO_METER else self.server
            return [(sender, e) for e in end.resume(effect.token, effect.job())]
        if isinstance(effect, Indication) and not self.hold:
            return [(sender, e) for e in self.answer(effect)]
        self.events.append((sender, effect))
        if isinstance(effect, Indication):
            self.held.append(effect)
        if isinstance(effect, Refusal):
            self.refusals.append(effect)
        return []

    def reserve(self, need: Need) -> None:
        """Do what a store does for a `Need`: the next block, durably reserved."""
        first = need.key.tx._end
        need.key.tx.extend(first, min(first + max(self.block, need.count), LIMIT))

    def answer(self, indication: Indication) -> list[Effect]:
        """The meter's answer to an indication."""
        return self.server.respond(indication.token, [self.plant.do(o) for o in indication.operations])

    def to_meter(self, octets: bytes) -> list[Effect]:
        """Deliver octets to the meter as if the client had sent them; the meter's effects, carried out."""
        effects = self.server.receive(octets)
        done: list[Effect] = []
        while effects:
            effect, *effects = effects
            if isinstance(effect, Indication) and not self.hold:
                effects = [*self.answer(effect), *effects]
            elif isinstance(effect, Need):
                self.reserve(effect)
                effects = [*self.server.resume(effect.token), *effects]
            else:
                done.append(effect)
        return done

    # --- looking --------------------------------------------------------------------------------

    def sent(self, sender: Direction) -> list[bytes]:
        """What one end has sent."""
        return [octets for direction, octets in self.wire if direction == sender]

    def state(self) -> tuple[Any, ...]:
        """All that a refused message must not change: states, what was negotiated, counters, the plant."""
        return (self.server_state(), self.client_state())

    def server_state(self) -> tuple[Any, ...]:
        """What a refused message must not change at the meter."""
        s = self.server
        return (
            s.state,
            s.negotiated,
            s.client_max_pdu,
            s.user,
            s.answering,
            None if s.state is State.IDLE else id(s.context),
            _counters(s.profile.setup.unicast),
            _counters(s.context.dedicated),
            _counters(s.profile.setup.broadcast),
            dict(self.plant.values),
            len(self.plant.done),
        )

    def client_state(self) -> tuple[Any, ...]:
        """What a refused message must not change at the client."""
        c = self.client
        return (
            c.state,
            c.negotiated,
            c.server_max_pdu,
            c.server_title,
            _counters(c.profile.setup.unicast),
            _counters(c.context.dedicated),
        )


def _counters(used: KeyInUse | None) -> tuple[int, int] | None:
    return None if used is None else (used.tx.left, used.rx.lowest)


def associated(**options: Any) -> Pair:
    """A pair whose client has signed on."""
    pair = Pair(**options)
    effects = pair.sign_on()
    assert effects == [Associated(pair.client.profile.user)], (effects, pair.refusals)
    assert pair.client.state is pair.server.state is State.ASSOCIATED
    return pair


def protected_headers(wire: Sequence[tuple[Direction, bytes]]) -> list[tuple[Direction, int, int, int]]:
    """(sender, tag, SC, counter) of every ciphered APDU on the wire, those inside ACSE included."""
    found = []
    for sender, octets in wire:
        inner = octets
        if octets[0] in (0x60, 0x61, 0x62, 0x63):
            inner = _user_information(octets)
        if inner and inner[0] in FORMS:
            message = parse(inner)
            found.append((sender, message.form.tag, message.sc, message.counter))
    return found


def _user_information(octets: bytes) -> bytes:
    from meterseal import apdu

    message: Any = apdu.decode(octets)
    return message.user_information or b""


def single(effects: Sequence[Effect], kind: type[Any]) -> Any:
    """The one effect of a kind."""
    (found,) = [e for e in effects if isinstance(e, kind)]
    return found


def replies(effects: Sequence[Effect]) -> list[bytes]:
    """The octets among effects."""
    return [e.octets for e in effects if isinstance(e, Reply)]


def sealed(pair: Pair, octets: bytes, applied: int = 3, style: Style = Style.GLO) -> bytes:
    """Octets as this meter would protect them."""
    return protect(pair.server.context, octets, applied, style)
