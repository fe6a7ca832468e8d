"""What is carried for others: sealed messages by their header, protected values (class 30) with parameters.

A protected value that opens is one that was made, each once; what is refused moves no counter.
"""

from __future__ import annotations

from fuzz.script import FATES, Script, written
from fuzz.target import Target
from meterseal.codec import data as codec
from meterseal.errors import MetersealError
from meterseal.security import AUTHENTICATED, SIGNED, Style, protect
from meterseal.security.data_protection import between, protecting_data, unprotecting_data
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.parameters import Element, elements_value, read_elements
from meterseal.security.sealed import Sealed
from meterseal.security.steps import settle
from tests.security.parties import BOTH, CLIENT, GET, METER, both, ciphering, floors

SUITES = (1, 0, 2)
FORMS = ("static", "one-pass", "wrapped", "identified")
APPLIED = (BOTH, 1, 2)


def sealed(octets: bytes) -> object:
    """The header of something sealed."""
    return Sealed.of(octets)


def protected(octets: bytes) -> object:
    """A script of protected values from one end to the other."""
    script, opened, made = Script(octets), 0, dict[bytes, bytes]()
    client, meter = both(script.choose(SUITES))
    while script.goes_on:
        form, applied, signs = script.choose(FORMS), script.choose(APPLIED), script.octet() & 1
        layer = Layer(CIPHERING, CLIENT, METER, script.part()[:8], form, other_information=script.part()[:8])
        signature, cipher = Element(SIGNED, layer._replace(kind=SIGNING, form="")), Element(applied, layer)
        elements = [signature] * signs + [cipher]
        plain = script.part() or b"\x00"
        try:
            parts, value = settle(protecting_data(between(client), elements, plain))
        except MetersealError:
            continue
        made[value] = plain
        given = codec.encode(*elements_value(parts))
        for arrived in script.choose(FATES)(script, given + value):
            before = floors(meter)
            try:
                told = read_elements(codec.decode(arrived[: len(given)]))
                found = settle(unprotecting_data(between(meter), told, arrived[len(given) :]))
                found.commit()
            except MetersealError:
                assert floors(meter) == before, arrived.hex()
                continue
            if found.applied & (AUTHENTICATED | SIGNED):
                assert found.plain == made.get(arrived[len(given) :]), arrived.hex()
            opened += 1
    return opened


def _seeds() -> list[bytes]:
    client, _ = both()
    return [protect(client, GET, BOTH, Style.LAYERED, (ciphering(form, b"id"),)) for form in FORMS]


def _scripts() -> list[bytes]:
    return [
        written(suite, form, applied, signs, b"id", b"objects:", b"\x02\x01\x00", fate)
        for suite in range(len(SUITES))
        for form in range(len(FORMS))
        for applied, signs, fate in ((0, 1, 0), (0, 0, 2), (1, 1, 1))
    ]


TARGETS = (
    Target("sealed", sealed, _seeds()),
    Target("protected-values", protected, _scripts(), stateful=True),
)
