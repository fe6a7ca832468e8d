"""A meter without a socket: time turned by hand, lines in memory, and a client that speaks or misbehaves."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meterseal.apdu.ciphered import FORMS, GLO_TAG
from meterseal.association import (
    Associated,
    ClientAssociation,
    ClientProfile,
    Compute,
    Confirmed,
    Effect,
    Failed,
    Need,
    Operation,
    Outcome,
    Reply,
    Service,
)
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Tag, Type
from meterseal.cosem.obis import Obis
from meterseal.credentials import Credentials
from meterseal.crypto import GcmKey, random_octets, suite
from meterseal.errors import ConnectionLost
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.meter import Meter, Party, credentials_of, load_plan
from meterseal.meter.delays import LONGEST
from meterseal.meter.plan import MeterPlan
from meterseal.net import Handler
from meterseal.security import KeyInUse, SecuritySetup, Style, protect, unprotect
from meterseal.security.hls import BY_NAME
from meterseal.security.protection import of_request, policy_bits
from tests.meter.equip import equip
from tests.meter.forms import Form, block_of, codes, get_list, list_codes, next_block

NOON = 1_752_573_600
"""15 July 2025, 10:00 UTC: noon in the meter's zone."""


# --- time ---------------------------------------------------------------------------------------


class Timer:
    """A `session.Timer` that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, _Call]] = []
        self._number = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> _Call:
        call = _Call(lambda: callback(*args))
        self._number += 1
        heapq.heappush(self._queue, (self.now + delay, self._number, call))
        return call

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, call = heapq.heappop(self._queue)
            if not call.cancelled:
                call.run()
        self.now = end

    @property
    def pending(self) -> int:
        return sum(not call.cancelled for _, _, call in self._queue)


@dataclass(eq=False)
class _Call:
    run: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


# --- lines --------------------------------------------------------------------------------------


class Line:
    """One connection in memory, seen from the client; a `net.Link` for the meter."""

    unsent = False

    def __init__(self, world: World, source: str) -> None:
        self.world, self.source = world, source
        self.peer = f"{source}:50000"
        self.name = f"{self.peer}->meter"
        self.is_closing = False
        self.proved = False
        self.arrived: deque[tuple[int, int, bytes]] = deque()
        self.handler: Handler = world.party.session(self)

    # for the meter
    def send(self, source: int, destination: int, payload: bytes) -> None:
        if not self.is_closing:
            self.arrived.append((source, destination, payload))

    notify = send

    def hold(self, source: int, destination: int, on: bool) -> None:
        pass

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        self.abort()

    def abort(self, cause: Exception | None = None) -> None:
        if not self.is_closing:
            self.is_closing = True
            self.handler.closed(cause)

    def established(self) -> None:
        self.proved = True

    # for the test
    def put(self, apdu: bytes, client: int, server: int = 1) -> None:
        """Send one APDU."""
        if self.is_closing:
            raise ConnectionLost("closed by the meter")
        self.handler.received(client, server, apdu)
        self.world.timer.advance(0)  # whoever waits for others, as for a write of many meters, has its turn

    def answers(self) -> list[bytes]:
        """What has come back since."""
        found = [payload for _, _, payload in self.arrived]
        self.arrived.clear()
        return found

    def ask(self, apdu: bytes, client: int, server: int = 1) -> bytes:
        """Send one APDU and take the one answer, addressed back; waits for one that is delayed."""
        self.put(apdu, client, server)
        if not self.arrived:
            self.world.pass_time(LONGEST)
        (came,) = list(self.arrived)
        self.arrived.clear()
        assert came[:2] == (server, client)
        return came[2]

    def run(self, steps: Steps, client: int, server: int = 1) -> list[Effect]:
        """Carry a conversation through."""
        answer: bytes | None = None
        try:
            while True:
                octets = steps.send(answer)
                answer = self.ask(octets, client, server)
        except StopIteration as done:
            found: list[Effect] = done.value
            return found


Steps = Generator[bytes, bytes | None, list[Effect]]
"""Octets to send out, answers in, effects at the end."""


def talk(association: ClientAssociation, effects: Sequence[Effect]) -> Steps:
    """Carry out what a client association says, up to what it tells its caller."""
    found: list[Effect] = []
    todo = deque(effects)
    while todo:
        effect = todo.popleft()
        if isinstance(effect, Reply):
            answer = yield effect.octets
            if answer is None:
                raise ConnectionLost("no answer")
            todo.extend(association.receive(answer))
        elif isinstance(effect, Compute):
            todo.extend(association.resume(effect.token, effect.job()))
        elif isinstance(effect, Need):
            raise AssertionError("a test client has all counters")
        else:
            found.append(effect)
    return found


# --- the meter ----------------------------------------------------------------------------------


@dataclass
class World:
    """A meter, its party, the time, and the keys that its clients share."""

    plan: MeterPlan
    folder: Path | None = None
    seconds: float = NOON
    timer: Timer = field(default_factory=Timer)
    keys: dict[str, KeyInUse] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Bring the meter up on its folder."""
        self.meter = Meter(self.plan, self.folder, wall=lambda: self.seconds)
        self.party = Party(self.meter, self.timer)
        self.credentials: Credentials = credentials_of(self.meter)

    def restart(self) -> None:
        """Close the meter and bring it up again."""
        self.meter.close()
        self.start()

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.timer.advance(seconds)

    def line(self, source: str = "192.0.2.1") -> Line:
        return Line(self, source)

    def key(self, role: str) -> KeyInUse | None:
        """The key of a role with the counters that all its clients share."""
        given = self.credentials.roles[role]
        guek, gak = given.octets("guek"), given.octets("gak")
        if guek is None:
            return None
        held = self.keys.get(role)
        if held is None or not held.handle.holds(guek):
            start = given.counter_start or 0
            held = KeyInUse(GcmKey(guek, gak or b""), SendCounter(start, start + 100_000), ReceiveCounter())
            self.keys[role] = held
        return held

    def client(self, role: str, line: Line | None = None, **options: Any) -> Client:
        return Client(self, role, line or self.line(), **options)

    def signed_on(self, role: str, line: Line | None = None, **options: Any) -> Client:
        return self.client(role, line, **options).sign_on()


def world(
    config: str = "",
    folder: Path | None = None,
    tmp: Path | None = None,
    preset: str = "suite0",
    **options: Any,
) -> World:
    """A world from a configuration over a preset."""
    if not config:
        return World(load_plan(preset), folder, **options)
    assert tmp is not None
    path = tmp / "meter.toml"
    path.write_text(config)
    return World(load_plan(preset, path), folder, **options)


class Client:
    """One association of a role, by the library's own client machine.

    `line` is a `Line` in memory or on a socket (`tests.hostile.raw`), `world` what has `credentials`
    and `key`.
    """

    def __init__(self, world: Any, role: str, line: Any, server: int = 1, **options: Any) -> None:
        self.world, self.server, self.role = world, server, role
        self.line: Any = line
        self.sap = world.credentials.roles[role].client
        profile = profile_of(world.credentials, role, world.key(role), server, **options)
        meter = getattr(world, "meter", None)
        if meter is not None and meter.pairs is not None:
            equip(profile.setup, meter, self.sap)
        self.machine = ClientAssociation(profile)

    def run(self, effects: Sequence[Effect]) -> list[Effect]:
        found: list[Effect] = self.line.run(talk(self.machine, effects), self.sap, self.server)
        return found

    def try_sign_on(self) -> list[Effect]:
        return self.run(self.machine.associate(random_octets(self.machine.profile.scheme.drawn)))

    def sign_on(self) -> Client:
        effects = self.try_sign_on()
        assert any(isinstance(e, Associated) for e in effects), effects
        return self

    def release(self) -> list[Effect]:
        return self.run(self.machine.release())

    def ask(self, *operations: Operation) -> tuple[Outcome, ...]:
        """Outcomes of one request; a refusal as a whole is raised."""
        for effect in self.run(self.machine.request(operations)):
            if isinstance(effect, Confirmed):
                return effect.outcomes
            if isinstance(effect, Failed):
                raise effect.error
        raise AssertionError("neither answer nor failure")

    def plain(self, octets: bytes, applied: int | None = None, style: Style | None = None) -> bytes:
        """Send a plain APDU under this association's protection, or the one given; what came back, opened."""
        return self.opened(self.line.ask(self.sealed(octets, applied, style), self.sap, self.server))

    def sealed(self, octets: bytes, applied: int | None = None, style: Style | None = None) -> bytes:
        if applied is None:
            applied = of_request(self.machine.profile.setup.policy) if self.machine.profile.ciphered else 0
        if not applied:
            return octets
        usual = Style.GLO if octets[0] in GLO_TAG else Style.GENERAL_GLO
        return protect(self.machine.context, octets, applied, style or usual)

    def opened(self, octets: bytes) -> bytes:
        return unprotect(self.machine.context, octets).apdu if octets[0] in FORMS else octets

    def codes(self, form: Form, operations: Sequence[Operation]) -> list[int]:
        """Result codes of operations in a service form, blocks fetched as they come."""
        plain = b""
        for message in form(operations):
            plain = self.plain(message.encode())
        raw, block = b"", block_of(plain)
        while block is not None:
            raw += block[2]
            if block[0]:
                return list_codes(raw) if len(operations) > 1 or form is get_list else [0]
            block = block_of(plain := self.plain(next_block(block[1])))
        found = codes(plain)
        assert found is not None, plain.hex()
        return found

    def one(self, operation: Operation) -> Outcome:
        (outcome,) = self.ask(operation)
        return outcome

    def get(self, class_id: int, name: str, member: int = 2) -> Any:
        """A value that must be readable."""
        outcome = self.one(read(class_id, name, member))
        assert outcome.code == 0 and outcome.data is not None, outcome
        return codec.decode(outcome.data)

    def set(self, class_id: int, name: str, member: int, value: Any, type_: Type) -> int:
        return self.one(write(class_id, name, member, value, type_)).code

    def call(self, class_id: int, name: str, member: int, value: Any = 0, type_: Type = Tag.INTEGER) -> int:
        return self.one(call(class_id, name, member, value, type_)).code


def profile_of(
    credentials: Credentials, role: str, key: KeyInUse | None, server: int = 1, **options: Any
) -> ClientProfile:
    """The client profile of a role, with changes."""
    given, meter = credentials.roles[role], credentials.meter
    policy = policy_bits(given.protection, given.protection)
    setup = SecuritySetup(
        suite(meter.suite),
        given.client_system_title or b"",
        meter.system_title,
        options.pop("policy", policy),
        key,
    )
    base: dict[str, Any] = {
        "client_sap": given.client,
        "server_sap": server,
        "setup": setup,
        "mechanism": BY_NAME[given.mechanism].number,
        "ciphered": given.in_ciphered_context,
        "secret": given.octets("secret") or b"",
    }
    return ClientProfile(**(base | options))


# --- operations ---------------------------------------------------------------------------------


def read(class_id: int, name: str, member: int = 2, selection: Any = None) -> Operation:
    return Operation(Service.GET, class_id, Obis(name), member, selection)


def write(class_id: int, name: str, member: int, value: Any, type_: Type) -> Operation:
    return Operation(Service.SET, class_id, Obis(name), member, None, Data.of(value, type_))


def call(
    class_id: int, name: str, member: int, value: Any = 0, type_: Type | None = Tag.INTEGER
) -> Operation:
    given = None if type_ is None else Data.of(value, type_)
    return Operation(Service.ACTION, class_id, Obis(name), member, None, given)
