"""HDLC links: both ends with a line that loses and damages, and each end alone with a stranger."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.script import HARMLESS, Script, written
from fuzz.target import Target
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Address, Event, Frame, Parameters, Primary, Received, Secondary, Timing
from tests.framing.hdlc_line import Line, Party

PAIRS = ((16, 1), (1, 1), (16, 17))
SIZES = (2030, 3, 7, 20, 128)
PATIENT = Timing(response=2.0, retries=10_000, hold=0.3, inactivity=None)
APDU = bytes.fromhex("C001C100080000010000FF0200")


def parameters(script: Script) -> Parameters:
    return Parameters(
        script.choose(SIZES), script.choose(SIZES), 1 + script.octet() % 7, 1 + script.octet() % 7
    )


def link(octets: bytes) -> object:
    """Requests of three pairs on a bad line: each APDU arrives once and in order, or is still on its way."""
    script = Script(octets)
    sent: dict[tuple[int, int], list[bytes]] = {pair: [] for pair in PAIRS}

    def tamper(way: str, frame: bytes) -> list[bytes]:
        return script.choose(HARMLESS)(script, frame)

    line = Line(
        Primary(17, wanted=parameters(script), timing=PATIENT),
        Secondary(lambda server: server in (1, 17), wanted=parameters(script), timing=PATIENT),
        answer=lambda client, server, apdu: [apdu + apdu[:3]],
        tamper=tamper,
    )

    def ask() -> None:
        pair = script.choose(PAIRS)
        apdu = (bytes((0xC0, len(sent[pair]) % 256)) + script.part())[:300]
        sent[pair].append(apdu)
        line.send(apdu, *pair, wait=1e9)

    def leave() -> None:
        line.primary.poll(*script.choose(PAIRS), line.now, line.now)

    while script.goes_on:
        script.choose((ask, line.step, lambda: line.run(script.octet() / 10), leave))()
    line.run(30)
    for pair in PAIRS:
        came, back = arrived(line.meter.told, pair), arrived(line.client.told, pair)
        assert came == sent[pair][: len(came)], pair
        assert back == [apdu + apdu[:3] for apdu in sent[pair][: len(back)]], pair
    assert not line.client.downs
    return line.trace


def arrived(told: list[Event], pair: tuple[int, int]) -> list[bytes]:
    return [e.apdu for e in told if isinstance(e, Received) and (e.client, e.server) == pair]


Step = Callable[[], object]


def secondary(octets: bytes) -> object:
    """A meter's end and a stranger, whose frames are right as frames or not even that."""
    script = Script(octets)
    station = Secondary(
        lambda server: server in (1, 17), wanted=parameters(script), limit=4000, unasked=bool(script.octet())
    )

    def answer(client: int, server: int, apdu: bytes) -> None:
        for _ in range(script.octet() & 3):
            station.send(client, server, apdu[:600], clock[0])

    party, clock = Party(station), [0.0]
    steps: dict[str, Step] = {
        "notify": lambda: station.notify(*script.choose(PAIRS), script.part() or APDU, clock[0]),
    }
    return _alone(
        script, party, clock, (Address(1, 17), Address(17, 17), Address(1)), Address(16), steps, answer
    )


def primary(octets: bytes) -> object:
    """A client's end that asks, and a line on which anything may answer."""
    script = Script(octets)
    station = Primary(17, wanted=parameters(script), limit=4000)

    def ask() -> None:
        pair = script.choose(PAIRS)
        station.send(*pair, script.part() or APDU, clock[0])
        station.poll(*pair, clock[0] + 30, clock[0])

    party, clock = Party(station), [0.0]
    ask()
    steps: dict[str, Step] = {
        "ask": ask,
        "leave": lambda: station.disconnect(*script.choose(PAIRS), clock[0]),
    }
    return _alone(script, party, clock, (Address(16), Address(1)), Address(1, 17), steps)


def _alone(
    script: Script,
    party: Party,
    clock: list[float],
    own: tuple[Address, ...],
    peer: Address,
    steps: dict[str, Step],
    answer: Callable[[int, int, bytes], object] = lambda client, server, apdu: None,
) -> object:
    """One end, frames at it, and time; all that it writes must be frames."""

    def frame() -> None:
        made = Frame(script.choose(own), peer, script.octet(), script.part()[:2000], bool(script.octet() & 1))
        party.take(hdlc.encode(made), clock[0])

    def wait() -> None:
        clock[0] += script.octet() / 10
        party.station.tick(clock[0])

    rows: tuple[Step, ...] = (frame, wait, lambda: party.take(script.part(), clock[0]), *steps.values())
    written: list[bytes] = []
    while script.goes_on:
        script.choose(rows)()
        told = list(party.station.events)
        party.station.events.clear()
        for event in told:
            if isinstance(event, Received):
                assert len(event.apdu) <= 4000
                answer(event.client, event.server, event.apdu)
        written += party.frames()
    for octets in written:
        hdlc.decode(octets)
    return written


SNRM, DISC, UA, RR, UI = 0x93, 0x53, 0x73, 0x11, 0x13
GET, GOT = b"\xe6\xe6\x00" + APDU, b"\xe6\xe7\x00\xc4\x01\xc1\x00\x11\x05"
WIDE = (0, 0, 6, 6)

TARGETS = (
    Target(
        "hdlc-link",
        link,
        [
            written(*WIDE, *WIDE, 0, 0, APDU, 2, 50),
            written(1, 2, 0, 3, 3, 4, 6, 1, 0, 0, APDU, 0, 1, APDU, 2, 20, 0, 1, 0, 2, 0, 3, 4, 9, 2, 60),
            written(
                3, 3, 2, 2, 4, 4, 6, 6, 0, 0, APDU * 8, 0, 2, APDU * 3, 1, 0, 1, 2, 1, 3, 7, 255, 2, 99, 3, 0
            ),
        ],
        stateful=True,
    ),
    Target(
        "hdlc-secondary",
        secondary,
        [
            written(
                *WIDE, 0, 0, 0, SNRM, b"", 0, 0, 0, 0x10, GET, 0, 1, 0, 0, 0x31, b"", 0, 0, 0, DISC, b"", 0
            ),
            written(*WIDE, 1, 0, 0, SNRM, b"", 0, 0, 0, UI, GET, 0, 3, 0, APDU, 1, 30, 0, 0, RR, b"", 0),
            written(
                3, 3, 0, 0, 0, 0, 0, SNRM, b"", 0, 0, 0, 0x00, GET[:9], 1, 0, 0, 0x12, GET[9:], 0, 3, 1, 30
            ),
        ],
        stateful=True,
    ),
    Target(
        "hdlc-primary",
        primary,
        [
            written(*WIDE, 0, APDU, 0, 0, UA, b"", 0, 0, 0, 0x30, GOT, 0, 1, 40, 4, 0, 0, 0, UA, b"", 0),
            written(
                *WIDE, 0, APDU, 1, 30, 1, 30, 0, 0, UA, b"", 0, 0, 0, 0x20, GOT[:5], 1, 0, 0, 0x32, GOT[5:], 0
            ),
        ],
        stateful=True,
    ),
)
