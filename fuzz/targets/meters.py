"""The simulated meter against a client with its keys, and the whole client against a meter that lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from fuzz.script import FATES, Script, written
from fuzz.target import Target
from meterseal import net, sync
from meterseal.apdu import ciphered
from meterseal.association import Associated, Reply, Service
from meterseal.codec.data import Data
from meterseal.cosem.obis import Obis
from meterseal.errors import MetersealError
from meterseal.framing import hdlc
from meterseal.meter import load_plan
from meterseal.meter.delays import LONGEST
from meterseal.security import unprotect
from tests.client.fake_meter import CLOCK, ENERGY, LOAD, NAME, PUBLIC, SWITCH, Exchange, FakeMeter, Role
from tests.meter.forms import ONE
from tests.meter.world import NOON, Client, World, read

EVERYBODY = hdlc.ALL_STATION[1]
RENEWED_EVERY = 50
"""Inputs that one meter takes: it is costly to make, and what it keeps of them is part of the play."""

ROLES = ("manager", "operator", "installer", "public")
NAMES: tuple[tuple[int, str], ...] = (
    (3, "1.0.1.8.0.255"),
    (7, "1.0.99.1.0.255"),
    (8, "0.0.1.0.0.255"),
    (15, "0.0.40.0.0.255"),
    (64, "0.0.43.0.0.255"),
    (70, "0.0.96.3.10.255"),
    (20, "0.0.13.0.0.255"),
    (18, "0.0.44.0.0.255"),
    (9, "0.0.10.0.100.255"),
    (22, "0.0.15.0.0.255"),
    (71, "0.0.17.0.0.255"),
    (5, "1.0.1.4.0.255"),
)


class Meter:
    """The meter that inputs share for a while, and what they were."""

    def __init__(self) -> None:
        self.plan = replace(load_plan(), days=1)
        self.inputs: list[bytes] = []
        self.world = self._new()

    def _new(self) -> World:
        return World(self.plan, seconds=NOON)

    def run(self, octets: bytes) -> object:
        """Play one input.  What goes wrong is raised with all inputs since the meter was new."""
        if len(self.inputs) >= RENEWED_EVERY:
            self.world, self.inputs = self._new(), []
        self.inputs.append(octets)
        try:
            return Play(self.world, Script(octets)).run()
        except Exception as error:
            error.add_note("inputs since the meter was new: " + " ".join(i.hex() for i in self.inputs))
            self.world, self.inputs = self._new(), []
            raise


class Play:
    """One input at the meter: two lines, a role on each."""

    def __init__(self, here: World, script: Script) -> None:
        self.world, self.script = here, script
        self.lines = [here.line("192.0.2.1"), here.line("192.0.2.2")]
        for line in self.lines:
            line.handler = here.party.bus_session(line)
        self.clients = [Client(here, script.choose(ROLES), line) for line in self.lines]
        self.client = self.clients[0]
        self.sent: list[bytes] = []
        self.answers: list[bytes] = []

    def run(self) -> object:
        for client in self.clients[: 1 + (self.script.octet() & 1)]:
            self.client = client
            self.sign_on()
        while self.script.goes_on:
            self.step()
        for line in self.lines:
            line.abort()
        assert all(len(octets) for octets in self.answers)
        return self.answers

    def step(self) -> None:
        steps: tuple[Callable[[], None], ...] = (
            lambda: self.sealed(self.script.part()),
            lambda: self.put(self.script.part()),
            self.again,
            self.member,
            self.turn,
            self.sign_on,
            lambda: self.world.pass_time(self.script.octet() * 60),
            self.release,
            lambda: self.for_all(self.script.part()),
        )
        self.script.choose(steps)()

    def turn(self) -> None:
        """The other line speaks."""
        self.client = self.clients[self.script.octet() & 1]

    def put(self, octets: bytes) -> None:
        """An APDU to the meter; its answers are kept."""
        line = self.client.line
        if line.is_closing or not octets:
            return
        self.sent.append(octets)
        line.put(octets, self.client.sap)
        if not line.arrived:
            self.world.pass_time(LONGEST)
        for answer in line.answers():
            self.answers.append(answer)
            self._open(answer)

    def _open(self, answer: bytes) -> None:
        if answer[0] in ciphered.FORMS:
            try:
                unprotect(self.client.machine.context, answer)
            except MetersealError:
                return

    def sealed(self, plain: bytes) -> None:
        """A plain APDU under the role's own keys, as its policy asks."""
        if plain:
            try:
                octets = self.client.sealed(plain)
            except MetersealError:
                return
            self.put(octets)

    def for_all(self, plain: bytes) -> None:
        """A plain APDU to all logical devices, under the broadcast key where the role has one: no answer."""
        line, ring = self.client.line, self.world.meter.rings.get(self.client.sap)
        if line.is_closing or not plain:
            return
        key = None if ring is None else ring.setup.broadcast
        if key is not None:
            title = self.client.machine.profile.setup.own_title
            counter = key.rx.lowest + self.script.octet() % 3
            body = key.handle.seal(0x70, title + counter.to_bytes(4, "big"), plain)
            form = ciphered.FORMS[ciphered.GLO_TAG.get(plain[0], 0xDB)]
            plain = ciphered.build(form, title, 0x70, counter, body)
        line.put(plain, self.client.sap, EVERYBODY)
        assert not line.arrived, "nobody answers what is for all"

    def member(self) -> None:
        """Any member of an object that is there, read or given a value of the script."""
        class_id, name = self.script.choose(NAMES)
        service, index = self.script.choose((0xC0, 0xC1, 0xC3)), self.script.octet()
        head = bytes((service, 1, 0xC1)) + class_id.to_bytes(2, "big") + bytes(Obis(name)) + bytes((index,))
        value = self.script.part()
        if service == 0xC0:
            self.sealed(head + (b"\x01" + value if value else b"\x00"))
        elif service == 0xC1:
            self.sealed(head + b"\x00" + value)
        else:
            self.sealed(head + (b"\x01" + value if value else b"\x00"))

    def again(self) -> None:
        if self.sent:
            self.put(self.sent[self.script.octet() % len(self.sent)])

    def sign_on(self) -> None:
        """AARQ and proof, with the script's fate for each."""
        machine = self.client.machine
        machine.end()
        try:
            effects = machine.associate(b"a challenge of 16")
        except MetersealError:
            return
        while effects:
            effect, *effects = effects
            if isinstance(effect, Associated) or not isinstance(effect, Reply):
                continue
            for octets in self.script.choose(FATES)(self.script, effect.octets):
                seen = len(self.answers)
                self.put(octets)
                for answer in self.answers[seen:]:
                    effects = [*effects, *machine.receive(answer)]

    def release(self) -> None:
        try:
            effects = self.client.machine.release()
        except MetersealError:
            return
        for effect in effects:
            if isinstance(effect, Reply):
                for octets in self.script.choose(FATES)(self.script, effect.octets):
                    self.put(octets)


@cache
def _meter() -> Meter:
    return Meter()


def meter(octets: bytes) -> object:
    """Clients with right keys at a whole meter: any service, any value, any order."""
    return _meter().run(octets)


# --- the client --------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {"guek": bytes(range(16)), "gak": bytes(range(0xD0, 0xE0))}
KINDS = (Role(**KEYS), PUBLIC, replace(Role(**KEYS), policy=0))
MEMBERS = (
    (*ENERGY, 2),
    (*ENERGY, 3),
    (*LOAD, 2),
    (*LOAD, 3),
    (*LOAD, 4),
    (*LOAD, 5),
    (*CLOCK, 2),
    (*NAME, 2),
)

VERBS: tuple[Callable[[Any], object], ...] = (
    lambda m: m.read("1.0.1.8.0.255"),
    lambda m: m.read_many(["1.0.1.8.0.255", "1.0.32.7.0.255", "0.0.1.0.0.255", "1.0.200.200.200.255"]),
    lambda m: m.profile("1.0.99.1.0.255"),
    lambda m: m.object_list(),
    lambda m: m.get(1, "0.0.42.0.0.255", 2),
    lambda m: m.write("0.0.42.0.0.255", "os:4D53"),
    lambda m: m.call("70/0.0.96.3.10.255:1"),
    lambda m: m.action(*SWITCH, 2, b"\x0f\x00"),
)


def client(octets: bytes) -> object:
    """The blocking client against a meter with the right keys that answers as the script says."""
    script = Script(octets)
    kind = script.choose(KINDS)

    def alter(exchange: Exchange) -> list[bytes] | None:
        return script.choose(ANSWERS)(script, exchange)

    fake = FakeMeter(kind, alter=alter)
    for _ in range(script.octet() & 3):
        place, value = script.choose(MEMBERS), script.part()
        try:
            fake.objects[place] = Data.decode(value)
        except MetersealError:
            continue
    found: list[object] = []
    line = net.blocking_loopback(fake.factory)
    try:
        with sync.connect(credentials=fake.credentials(), counters=fake.counters, line=line) as there:
            while script.goes_on:
                try:
                    found.append(script.choose(VERBS)(there))
                except MetersealError as error:
                    found.append(error)
    except MetersealError as error:
        found.append(error)
    return found


def honest(script: Script, exchange: Exchange) -> list[bytes] | None:
    return None


def on_its_way(script: Script, exchange: Exchange) -> list[bytes]:
    return script.choose(FATES)(script, exchange.reply)


def lie(script: Script, exchange: Exchange) -> list[bytes]:
    """A plain APDU of the script, with the invoke-id that is waited for, under the right keys."""
    plain = bytearray(script.part())
    applied = script.octet() & 3 or 3
    if len(plain) < 3:
        return [exchange.reply]
    if plain[0] != 0x0F and not script.octet():
        plain[2] = plain[2] & 0xF0 | exchange.number - 1 & 0x0F
    try:
        return [exchange.seal(bytes(plain), applied)]
    except MetersealError:
        return [bytes(plain)]


def value(script: Script, exchange: Exchange) -> list[bytes]:
    """A get-response with any value."""
    plain = bytes((0xC4, 1, 0xC0 | exchange.number - 1 & 0x0F, 0)) + script.part()
    return [exchange.seal(plain) if exchange.association.profile.ciphered else plain]


ANSWERS: tuple[Callable[[Script, Exchange], list[bytes] | None], ...] = (honest, on_its_way, lie, value)


def _services() -> list[bytes]:
    """A read in each form, as plain APDUs."""
    return [one.encode() for form in ONE[Service.GET] for one in form([read(3, "1.0.1.8.0.255")])]


ON = (0, 0, 0, 0, 0)
"""A manager alone, whose AARQ and proof arrive."""

TARGETS = (
    Target(
        "meter",
        meter,
        [
            written(*ON, *(step for at in range(len(NAMES)) for step in (3, at, 0, 2, b""))),
            written(
                *ON,
                *(
                    step
                    for at in range(len(NAMES))
                    for step in (3, at, 1, 2, b"\x09\x02ab", 3, at, 2, 1, b"\x0f\x00")
                ),
            ),
            written(
                *(1, 2, 1, 0, 0, 0, 0),
                4,
                1,
                3,
                1,
                0,
                2,
                bytes.fromhex("02020412000109060000600800FF0F0212000006000000000600000000"),
                2,
                3,
                7,
                0,
                5,
                0,
                0,
                6,
                9,
            ),
            written(*ON, 1, bytes.fromhex("6000"), 1, bytes.fromhex("C8010203"), 2, 0, 2, 1, 5, 3, 9, 4, 0),
            *(written(*ON, 0, plain) for plain in _services() if len(plain) < 200),
        ],
        stateful=True,
    ),
    Target(
        "client",
        client,
        [
            *(written(0, 0, 0, 0, verb, *(0,) * 10) for verb in range(len(VERBS))),
            written(1, 0, 0, 1, 3, 0, 3, 2, 5),
            written(
                0,
                3,
                1,
                b"\x02\x02\x0f\xff\x16\x1e",
                2,
                b"\x01\x00",
                3,
                b"\x01\x00",
                0,
                0,
                0,
                0,
                0,
                0,
                2,
                0,
                0,
                0,
            ),
            written(
                0,
                0,
                0,
                0,
                4,
                3,
                b"\x12\x00\x07",
                4,
                2,
                bytes.fromhex("C401C100060001E240"),
                3,
                0,
                4,
                1,
                3,
                9,
                1,
            ),
            written(
                2, 0, 0, 0, 0, 1, 2, 0, 1, 6, b"\xd8\x01\x05", 5, 1, 7, b"\x0f\x00\x00\x00\x01\x00\x00", 6, 0
            ),
        ],
        stateful=True,
    ),
)
