"""General block transfer: two ends on a line that loses and repeats, and one end against any blocks."""

from __future__ import annotations

from fuzz.script import Script, doubled, lost, whole, written
from fuzz.target import Target
from meterseal.association.transfer import Transfer, unconfirmed
from meterseal.errors import MetersealError, TimedOut
from meterseal.framing import gbt
from meterseal.framing.gbt import Block

LIMIT = 4_000
FATES = (whole, lost, doubled)


def exchange(octets: bytes) -> object:
    """A request and its answer in blocks; what is joined is what was sent, or nothing is."""
    script = Script(octets)
    sizes = [script.octet() + 8 for _ in range(2)]
    request, answer = (script.part() * (1 + script.octet() % 20) or b"\xc0" for _ in range(2))
    ends = [
        Transfer(size=size, window=1 + script.octet() % 63, limit=len(request) + len(answer))
        for size in sizes
    ]
    sent: list[bytes] = [request, answer]
    found: list[bytes] = []
    line = [(1, block) for block in ends[0].send(request)]
    for _ in range(2_000):
        if not line:
            if len(found) == 2 or not script.goes_on:
                break
            try:
                line += [(1, block) for block in ends[0].again()]
            except TimedOut as error:
                return error
            continue
        to, block = line.pop(0)
        for arrived in script.choose(FATES)(script, block):
            try:
                taken = ends[to].take(gbt.decode(arrived))
            except MetersealError as error:
                raise AssertionError(
                    f"a line that only loses and repeats ended a transfer: {error}"
                ) from error
            line += [(1 - to, out) for out in taken.send]
            if taken.whole is not None:
                found.append(taken.whole)
                assert taken.whole == sent[1 - to], (taken.whole.hex(), sent[1 - to].hex())
                if to == 1:
                    line += [(0, out) for out in ends[1].send(answer)]
    return found


def alone(octets: bytes) -> object:
    """Any blocks at one end: bounded by its limit, and all it says are blocks of the size agreed."""
    script = Script(octets)
    size = script.octet() + 8
    end = Transfer(size=size, window=1 + script.octet() % 63, limit=LIMIT)
    said = list(end.send(script.part() or b"\xc0")) if script.octet() & 1 else []
    while script.goes_on:
        control = script.octet()
        if control == 0x3F:
            said += end.again()
            continue
        number = script.octet() | (script.octet() & 0x80) << 8
        block = Block(
            number, script.part(), bool(control & 0x80), bool(control & 0x40), control & 0x3F, script.octet()
        )
        said += end.take(block).send
        assert end.held <= LIMIT + len(octets)
    for block_octets in said:
        assert len(block_octets) <= size and gbt.decode(block_octets)
    return said


def cut(octets: bytes) -> object:
    """An APDU of any length in unconfirmed blocks of any size joins to itself."""
    script = Script(octets)
    size, apdu = script.octet(), script.part()
    reassembly = gbt.Reassembly()
    joined = [reassembly.add(gbt.decode(block)) for block in unconfirmed(apdu, size)]
    assert joined[-1] == apdu
    return joined


APDU = bytes.fromhex("C001C1000100002A0000FF0200")

TARGETS = tuple(
    Target(*row)
    for row in (
        (
            "block-transfer",
            exchange,
            [
                written(10, 10, APDU, 3, APDU * 9, 15, 3, 4),
                written(200, 12, APDU, 0, APDU * 4, 19, 1, 62, 0, 1, 0, 2, 1, 1, 0, 0, 2, 0, 1),
            ],
            True,
        ),
        (
            "block-transfer-alone",
            alone,
            [
                written(100, 5, 0, 0x45, 1, 0, APDU, 0, 0x85, 2, 0, APDU, 0, 0x3F),
                written(5, 5, 1, APDU, 0x85, 1, 0, b"", 1, 0x85, 1, 0, b"", 2, 0x85, 1, 0, APDU, 3),
            ],
            True,
        ),
        ("blocks-unconfirmed", cut, [written(20, APDU * 9), written(8, APDU)]),
    )
)
