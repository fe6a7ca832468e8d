"""A fake meter for the client's tests: simple objects behind a real server association, and room for lies.

`FakeMeter.factory` is what `net.serve`, `net.loopback` and `net.blocking_loopback` want.  `alter` sees each
answer before it goes out and says what goes out in its place; with `Exchange.seal` it can lie under the right
keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from meterseal.association import (
    Compute,
    Effect,
    Indication,
    Need,
    Operation,
    Outcome,
    Reply,
    ServerAssociation,
    ServerProfile,
    Service,
)
from meterseal.codec.data import Array, Data, MixedArray, Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import ObjectEntry, encode_object_list
from meterseal.cosem.selection import ByEntry, ByRange, parse_selection
from meterseal.cosem.times import DateTime
from meterseal.credentials import Credentials, MeterCredentials, RoleCredentials
from meterseal.crypto import GcmKey, random_octets, suite
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.net import Handler, Link
from meterseal.security import KeyInUse, SecuritySetup, Style, protect
from meterseal.security.hls import BY_NAME
from meterseal.security.protection import policy_bits
from meterseal.state import MemoryCounters

TITLE = b"MSL\x00\x00\x00\x00\x01"
CLIENT_TITLE = b"MSLHES\x00\x01"
SECRET = b"secret of sixteen"
URL = "tcp://127.0.0.1:4059"
AE = 3

CLOCK, ENERGY, VOLTAGE, NAME, LOAD, SWITCH = (
    (8, Obis("0.0.1.0.0.255")),
    (3, Obis("1.0.1.8.0.255")),
    (3, Obis("1.0.32.7.0.255")),
    (1, Obis("0.0.42.0.0.255")),
    (7, Obis("1.0.99.1.0.255")),
    (70, Obis("0.0.96.3.10.255")),
)
ODD = (3, Obis("1.0.200.200.200.255"))
"""A register under a name that no table has: only the object list tells its class."""

COUNTER = (1, Obis("0.0.43.1.2.255"))
_SCALER = Structure((Tag.INTEGER, Tag.ENUM))
_CAPTURE = Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED))
_ROW = Structure((Tag.OCTET_STRING, Tag.DOUBLE_LONG_UNSIGNED, Tag.UNSIGNED))

START = DateTime(2026, 3, 1, 7, 0, 0, 0, 0, -60, 0)
ROWS = [(START.shifted(900 * n).to_octets(), 1_000_000 + 25 * n, n % 2) for n in range(96)]


@dataclass
class Role:
    """What meter and client have to agree on; `keys` octets of GUEK and GAK."""

    client: int = 2
    mechanism: str = "gmac"
    policy: int = AE
    guek: bytes = field(default_factory=lambda: random_octets(16))
    gak: bytes = field(default_factory=lambda: random_octets(16))
    title: bytes = CLIENT_TITLE
    secret: bytes = SECRET
    objects: Iterable[tuple[int, Obis]] | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the ServerProfile that differ."""


PUBLIC = Role(client=16, mechanism="none", policy=0)


def default_objects() -> dict[tuple[int, Obis, int], Data]:
    """Class, name, attribute -> value."""
    return {
        (*CLOCK, 2): Data.of(START.to_octets(), Tag.OCTET_STRING),
        (*CLOCK, 3): Data.of(-60, Tag.LONG),
        (*ENERGY, 2): Data.of(123_456, Tag.DOUBLE_LONG_UNSIGNED),
        (*ENERGY, 3): Data.of((-1, 30), _SCALER),
        (*VOLTAGE, 2): Data.of(2304, Tag.LONG_UNSIGNED),
        (*VOLTAGE, 3): Data.of((-1, 35), _SCALER),
        (*ODD, 2): Data.of(7, Tag.UNSIGNED),
        (*ODD, 3): Data.of((0, 255), _SCALER),
        (*NAME, 2): Data.of(b"MSL0000000000001", Tag.OCTET_STRING),
        (*COUNTER, 2): Data.of(0, Tag.DOUBLE_LONG_UNSIGNED),
        (*LOAD, 2): Data.of(ROWS, Array(_ROW)),
        (*LOAD, 3): Data.of(
            [(*CLOCK, 2, 0), (*ENERGY, 2, 0), (1, Obis("0.0.96.10.1.255"), 2, 0)], Array(_CAPTURE)
        ),
        (*LOAD, 4): Data.of(900, Tag.DOUBLE_LONG_UNSIGNED),
        (*LOAD, 5): Data.of(1, Tag.ENUM),
        (*SWITCH, 2): Data.of(True, Tag.BOOLEAN),
    }


@dataclass
class Exchange:
    """One answer on its way out: for `alter`."""

    meter: FakeMeter
    association: ServerAssociation
    request: bytes
    """As received."""
    reply: bytes
    pair: tuple[int, int]
    number: int
    """Of the request on this line, from 1: 1 is the AARQ, with HLS 2 is pass 3, 3 the first service."""

    def seal(self, plain: bytes, applied: int = AE, style: Style = Style.GLO) -> bytes:
        """A plain APDU under the association's own keys."""
        return protect(self.association.context, plain, applied, style)


Alter = Callable[[Exchange], list[bytes] | None]
"""The APDUs to send in place of the answer; None: the answer as it is."""


class FakeMeter:
    """Objects and roles; one of these may serve many lines."""

    def __init__(self, *roles: Role, alter: Alter | None = None, title: bytes = TITLE) -> None:
        self.title = title
        self.objects = default_objects()
        self.counters = MemoryCounters()
        """What clients of this meter count with, unless they bring their own."""
        self.roles = roles or (Role(),)
        self.alter = alter
        self.lines: list[_Line] = []
        self.done: list[Operation] = []
        """Operations that reached the objects, in order."""
        self.methods: dict[tuple[int, Obis, int], Callable[[Data | None], Data | None]] = {
            (*SWITCH, 1): lambda data: None,
            (*SWITCH, 2): lambda data: data,
        }
        self.profiles = {role.client: self._profile(role) for role in self.roles}

    def _profile(self, role: Role) -> ServerProfile:
        key = None
        if role.mechanism == "gmac" or role.policy:
            key = KeyInUse(GcmKey(role.guek, role.gak), SendCounter(1, 10**9), ReceiveCounter())
        setup = SecuritySetup(suite(0), self.title, None, policy_bits(role.policy, role.policy), key)
        base: dict[str, Any] = {
            "client_sap": role.client,
            "server_sap": 1,
            "setup": setup,
            "view": _View(self, None if role.objects is None else frozenset(role.objects)),
            "mechanism": BY_NAME[role.mechanism].number,
            "ciphered": bool(role.policy),
            "secret": lambda: role.secret,
        }
        return ServerProfile(**base | role.changes)

    def factory(self, link: Link) -> Handler:
        """A handler for a new line."""
        self.lines.append(_Line(self, link))
        return self.lines[-1]

    def credentials(self, **changes: Any) -> Credentials:
        """Credentials for all roles, named by their client SAP: `c2`; `changes` go to each role."""
        roles = {}
        for role in self.roles:
            keyed = role.mechanism == "gmac" or bool(role.policy)
            values: dict[str, Any] = {
                "client": role.client,
                "mechanism": role.mechanism,
                "policy": role.policy,
                "client_system_title": role.title if keyed or role.mechanism == "sha256" else None,
                "guek": role.guek if keyed else None,
                "gak": role.gak if keyed else None,
                "secret": role.secret if BY_NAME[role.mechanism].needs_secret else None,
                "counter_start": 1,
                "timeout": 60.0,
                "allow_weak": BY_NAME[role.mechanism].weak,
            }
            roles[f"c{role.client}"] = RoleCredentials(**values | changes)
        return Credentials(MeterCredentials(url=URL, system_title=self.title), roles)

    def object_list(self, view: frozenset[tuple[int, Obis]] | None) -> Data:
        """The object_list of a view."""
        names = dict.fromkeys(key[:2] for key in self.objects)
        entries = [
            ObjectEntry(class_id, 0, obis, {2: 1, 3: 1}, {})
            for class_id, obis in names
            if view is None or (class_id, obis) in view
        ]
        value, kind = encode_object_list(entries, 3)
        return Data.of(value, kind)

    def do(self, operation: Operation, view: frozenset[tuple[int, Obis]] | None) -> Outcome:
        """Do one operation that the rights allow."""
        self.done.append(operation)
        key = (operation.class_id, Obis(operation.instance), operation.member)
        if operation.service is Service.ACTION:
            method = self.methods.get(key)
            if method is None:
                return Outcome(4)
            answer = method(operation.data)
            return Outcome(0, None if answer is None else answer.raw)
        if operation.service is Service.SET:
            if operation.data is None or key not in self.objects:
                return Outcome(4)
            self.objects[key] = operation.data
            return Outcome(0)
        if key == (15, Obis("0.0.40.0.0.255"), 2):
            return Outcome(0, self.object_list(view).raw)
        if key not in self.objects:
            return Outcome(4)
        if operation.selection is not None:
            return Outcome(0, self._rows(operation).raw)
        return Outcome(0, self.objects[key].raw)

    def _rows(self, operation: Operation) -> Data:
        selection = operation.selection
        assert selection is not None
        chosen = parse_selection(
            operation.class_id, operation.member, selection.access_selector, selection.access_parameters.value
        )
        if isinstance(chosen, ByRange):
            assert isinstance(chosen.start, bytes) and isinstance(chosen.end, bytes)
            # The tests' times are on one clock, so the octets up to the second compare as the times do.
            low, high = (b[:4] + b[5:8] for b in (chosen.start, chosen.end))
            rows = [row for row in ROWS if low <= row[0][:4] + row[0][5:8] <= high]
            captured = [tuple(item) for item in self.objects[*LOAD, 3].value]
            picked = [captured.index(column.to_value()) for column in chosen.columns] or [0, 1, 2]
        else:
            assert isinstance(chosen, ByEntry)
            rows = ROWS[chosen.first - 1 : chosen.last or None]
            picked = list(range(chosen.first_column - 1, chosen.last_column or 3))
        types = Structure(tuple(_ROW.fields[at] for at in picked))
        cells = [tuple(row[at] for at in picked) for row in rows]
        return Data.of(cells, Array(types) if cells else MixedArray(()))


class _View:
    """Every object of the view may be read, written and called."""

    def __init__(self, meter: FakeMeter, objects: frozenset[tuple[int, Obis]] | None) -> None:
        self.meter = meter
        self.objects = objects

    def right(self, operation: Operation, user: int | None) -> int | None:
        name = (operation.class_id, Obis(operation.instance))
        if operation.class_id != 15 and self.objects is not None and name not in self.objects:
            return None
        return 0x03


class _Line:
    """The handler of one line: an association per pair of SAPs."""

    def __init__(self, meter: FakeMeter, link: Link) -> None:
        self.meter = meter
        self.link = link
        self.number = 0
        self.associations: dict[tuple[int, int], ServerAssociation] = {}

    def received(self, source: int, destination: int, payload: bytes) -> None:
        pair = (source, destination)
        profile = self.meter.profiles.get(source)
        if profile is None or destination != profile.server_sap:
            self.link.send(destination, source, bytes.fromhex("D80101"))
            return
        self.number += 1
        association = self.associations.get(pair)
        if association is None:
            association = self.associations[pair] = ServerAssociation(profile, random_octets)
        self._do(association, pair, payload, association.receive(payload))

    def _do(
        self, association: ServerAssociation, pair: tuple[int, int], request: bytes, effects: list[Effect]
    ) -> None:
        queue = list(effects)
        while queue:
            effect = queue.pop(0)
            if isinstance(effect, Indication):
                view = association.profile.view
                assert isinstance(view, _View)
                outcomes = [self.meter.do(operation, view.objects) for operation in effect.operations]
                queue += association.respond(effect.token, outcomes)
            elif isinstance(effect, Need):
                raise AssertionError("the fake meter's counters do not end")
            elif isinstance(effect, Compute):
                queue += association.resume(effect.token, effect.job())
            elif isinstance(effect, Reply):
                self._send(association, pair, request, effect.octets)

    def _send(
        self, association: ServerAssociation, pair: tuple[int, int], request: bytes, reply: bytes
    ) -> None:
        answers: list[bytes] | None = None
        if self.meter.alter is not None:
            answers = self.meter.alter(Exchange(self.meter, association, request, reply, pair, self.number))
        for octets in [reply] if answers is None else answers:
            self.link.send(pair[1], pair[0], octets)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        self.associations.pop((source, destination)).end()

    def closed(self, cause: Exception | None) -> None:
        for association in self.associations.values():
            association.end()
