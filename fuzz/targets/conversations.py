"""A client and a meter with a line between them that changes, repeats and invents what it carries.

Both ends are those of the library, with keys and counters that are right; the script may also speak under
these keys itself.  Whatever comes, no end raises anything, all that the meter sends can be read, and what
either end carries out or believes came in a frame that was made under the keys, and only once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fuzz.script import FATES, Recording, Script, written
from fuzz.target import Target
from meterseal import apdu
from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import GLO_TAG
from meterseal.association import Associated, Confirmed, Effect, Indication, Operation, Reply, State
from meterseal.association.transfer import Transfer
from meterseal.errors import MetersealError
from meterseal.security import Style, protect
from tests.association.pair import (
    CLIENT_CHALLENGE,
    CLOCK,
    DEK,
    SWITCH,
    TO_CLIENT,
    TO_METER,
    Direction,
    Pair,
    call,
    get,
    octet_string,
    put,
)
from tests.vectors import load

LONG = octet_string(bytes(range(200)))
SMALL_PDU = {"max_pdu": 128}
BLOCKS: dict[str, Any] = {"max_pdu": 128, "options": frozenset({"prefers_gbt"})}

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"client": SMALL_PDU, "server": SMALL_PDU},
    {"client": {"dedicated_key": DEK}},
    {"client": {"general": True}},
    {"mechanism": 0, "ciphered": False},
    {"mechanism": 1, "ciphered": False},
    {"mechanism": 3, "ciphered": False},
    {"mechanism": 4, "ciphered": False},
    {"mechanism": 6},
    {"datagrams": True},
    {"policy": 0x24, "broadcast": True},
    {"policy": 0, "client": SMALL_PDU},
    {"client": BLOCKS, "server": BLOCKS},
    {"mechanism": 0, "ciphered": False, "client": BLOCKS, "server": BLOCKS},
    {"mechanism": 7, "suite_id": 1},
    {"mechanism": 5, "suite_id": 2},
)
"""Associations by the first octet of a script."""

REQUESTS: tuple[Callable[[], tuple[Operation, ...]], ...] = (
    lambda: (get(),),
    lambda: (get(), get(member=3), get(CLOCK, 2, 8)),
    lambda: (put(octet_string(b"short")),),
    lambda: (put(LONG),),
    lambda: (put(LONG), put(octet_string(b"x"))),
    lambda: (call(),),
    lambda: (call(LONG), call()),
    lambda: (get(member=3),),
)
STYLES = (Style.GLO, Style.GENERAL_GLO, Style.DED, Style.GENERAL_DED)


class Watched(Pair):
    """A pair that notes who made a frame, and holds what it does against that."""

    def __init__(self, script: Script) -> None:
        kind = script.choose(KINDS)
        super().__init__(**kind)
        self.script = script
        # What a block says around its piece of an APDU proves nothing: there the frame may be another.
        self.protected = kind.get("policy", 1) != 0 and kind.get("ciphered", True) and not self.blocks(kind)
        self.made: dict[tuple[Direction, bytes], None] = {}
        self.used: set[tuple[Direction, bytes]] = set()
        self.plant.values[get().instance, 3] = LONG.raw

    @staticmethod
    def blocks(kind: dict[str, Any]) -> bool:
        return kind.get("client") is BLOCKS

    def carry_out(self, sender: Direction, effect: Effect) -> list[tuple[Direction, Effect]]:
        """As a pair, with the script's fate for every frame."""
        if not isinstance(effect, Reply):
            return super().carry_out(sender, effect)
        self.made[sender, effect.octets] = None
        readable(effect.octets)
        found: list[tuple[Direction, Effect]] = []
        for octets in self.script.choose(FATES)(self.script, effect.octets):
            found += self.deliver(sender, octets)
        return found

    def deliver(self, sender: Direction, octets: bytes) -> list[tuple[Direction, Effect]]:
        """A frame arrives, as if from `sender`."""
        end, other = (self.server, TO_CLIENT) if sender == TO_METER else (self.client, TO_METER)
        try:
            effects = end.receive(octets)
        except MetersealError as error:
            raise AssertionError(f"what comes raises nothing, and {octets.hex()} did") from error
        believed = (Indication, Confirmed, Associated) if self.protected else ()
        if any(isinstance(effect, believed) for effect in effects):
            assert (sender, octets) in self.made, f"believed, and nobody made it: {octets.hex()}"
            assert (sender, octets) not in self.used, f"believed twice: {octets.hex()}"
            self.used.add((sender, octets))
        return [(other, effect) for effect in effects]

    def put_in(self, sender: Direction, octets: bytes) -> None:
        """A frame that the line invents; all that comes of it."""
        for direction, effect in self.deliver(sender, octets):
            self.run([effect], direction)

    def sealed(self, sender: Direction) -> None:
        """A plain APDU of the script under the keys of `sender`, as it says."""
        style, applied = self.script.choose(STYLES), self.script.octet() & 3 or 3
        plain = self.script.part()
        end = self.client if sender == TO_METER else self.server
        if not plain:
            return
        if plain[0] not in GLO_TAG and style in (Style.GLO, Style.DED):
            style = STYLES[STYLES.index(style) ^ 1]
        try:
            octets = protect(end.context, plain, applied, style)
        except MetersealError:
            return
        self.made[sender, octets] = None
        self.put_in(sender, octets)

    def in_blocks(self) -> None:
        """A plain APDU of the script under the client's keys, cut into blocks, each with a fate."""
        plain = self.script.part()
        if not plain:
            return
        ciphered_so = self.client.profile.ciphered and plain[0] in GLO_TAG
        try:
            octets = protect(self.client.context, plain, 3, Style.GLO) if ciphered_so else plain
        except MetersealError:
            return
        cut = Transfer(size=8 + self.script.octet(), window=1 + self.script.octet() % 63, limit=1 << 16)
        for block in cut.send(octets):
            for arrived in self.script.choose(FATES)(self.script, block):
                self.put_in(TO_METER, arrived)

    def time_passes(self) -> None:
        """The client has waited long enough."""
        self.run(self.client.timed_out())

    def again(self, sender: Direction) -> None:
        """A frame that was sent before."""
        before = self.wire_of(sender)
        if before:
            self.put_in(sender, before[self.script.octet() % len(before)])

    def wire_of(self, sender: Direction) -> list[bytes]:
        """All frames that were made under the keys of one end, each once."""
        return [octets for direction, octets in self.made if direction == sender]

    def ask_for(self, operations: Sequence[Operation]) -> None:
        try:
            effects = self.client.request(operations)
        except MetersealError:
            return
        self.run(effects)

    def anew(self) -> None:
        """Sign on, after the end of what stands."""
        if self.client.state is not State.IDLE:
            self.client.end()
        challenge = bytes((self.script.octet(),)) + CLIENT_CHALLENGE[1:]
        hls = self.client.profile.scheme.passes == 4
        try:
            effects = self.client.associate(challenge if hls else b"")
        except MetersealError:
            return
        self.run(effects)

    def leave(self) -> None:
        if self.client.state is State.ASSOCIATED:
            self.release()

    def give_up(self) -> None:
        self.client.give_up()

    def ended(self) -> None:
        """The connection is gone at the meter."""
        self.server.end()

    def step(self) -> None:
        """What the script says next."""
        steps: tuple[Callable[[], None], ...] = (
            lambda: self.ask_for(self.script.choose(REQUESTS)()),
            self.anew,
            self.leave,
            lambda: self.sealed(TO_METER),
            lambda: self.sealed(TO_CLIENT),
            lambda: self.put_in(TO_METER, self.script.part()),
            lambda: self.put_in(TO_CLIENT, self.script.part()),
            lambda: self.again(TO_METER),
            lambda: self.again(TO_CLIENT),
            self.give_up,
            self.ended,
            self.in_blocks,
            self.time_passes,
        )
        self.script.choose(steps)()


def readable(octets: bytes) -> None:
    """Whatever an end sends is an APDU."""
    if octets[0] in ciphered.FORMS:
        ciphered.parse(octets)
    elif octets[0] not in apdu.UNDECODED:
        apdu.decode(octets)


def conversation(octets: bytes) -> object:
    """A script of a whole conversation."""
    pair = Watched(Script(octets))
    pair.anew()
    while pair.script.goes_on:
        pair.step()
    return pair.state()


ASK, ANEW, LEAVE, SEAL, LIE, PUT, TELL, AGAIN, REPEAT, GIVE_UP, ENDED, CUT, LATE = range(13)
SIGNED_ON = (0, 0, 0, 0, 0)
"""A challenge, and four passes that arrive."""


def _recorded(kind: int) -> bytes:
    """Every request in an association of a kind, and its release."""
    script = Recording(bytes((kind,)))
    pair = Watched(script)
    pair.anew()
    for step in (*((ASK, number) for number in range(len(REQUESTS))), (LEAVE,)):
        script.add(bytes(step))
        pair.step()
    return script.octets


def _seeds() -> list[bytes]:
    plain = [bytes.fromhex(v["inputs"]["plaintext"]) for v in load("protect")]
    sealed = [bytes.fromhex(v["inputs"]["apdu"]) for v in load("unprotect")]
    acse = [bytes.fromhex(v["inputs"]["apdu"]) for v in load("acse")]
    found = [_recorded(kind) for kind in range(len(KINDS))]
    for make, rows in ((lambda o: (SEAL, 0, 3, o), plain), (lambda o: (PUT, o), sealed + acse)):
        for row in rows:
            if len(row) < 200:
                found.append(written(0, *SIGNED_ON, *make(row), 0, *make(row)))
    found += [
        written(0, *SIGNED_ON, LIE, style, 3, bytes.fromhex("C401C100060001E240"), ASK, 0, 0, 6, 0)
        for style in range(4)
    ]
    for kind in (12, 13):
        put_long = bytes.fromhex("C101C100080000010000FF020009") + bytes((100,)) + bytes(100)
        found += [
            written(kind, *SIGNED_ON, CUT, put_long, 30, 7, 0, 0, 0, 0, 0, 0, ASK, 7),
            written(kind, *SIGNED_ON, ASK, 3, 0, 1, 0, 0, LATE, 0, 0, 1, LATE, 0, 0, 0, 0, LATE),
        ]
    found += [
        written(1, 0, 0, 2, 3, 4, 1, ASK, 3, 0, 3, 200, 4, AGAIN, 2, REPEAT, 1, LEAVE, 7, b"\x62\x00", 0),
        written(
            2,
            *SIGNED_ON,
            SEAL,
            2,
            3,
            bytes.fromhex("C001C10046") + SWITCH + b"\x02\x00",
            GIVE_UP,
            ENDED,
            ANEW,
        ),
        written(9, *SIGNED_ON, ASK, 0, 2, 2, ASK, 1, 1, GIVE_UP, REPEAT, 0, ANEW, *SIGNED_ON),
        written(
            11,
            *SIGNED_ON,
            PUT,
            bytes.fromhex("C002C100000001"),
            TELL,
            bytes.fromhex("0F00000001000600000001"),
        ),
    ]
    return found


TARGETS = (Target("conversation", conversation, _seeds(), stateful=True),)
