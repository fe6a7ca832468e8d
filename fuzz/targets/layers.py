"""Layers with parties of their own: signed, ciphered by every kind of key, both; changed, repeated, swapped.

What opens is what was sealed, each message once; what is refused moves no counter.
"""

from __future__ import annotations

from fuzz.script import FATES, Script, written
from fuzz.target import Target
from meterseal.codec.data import Data, encode
from meterseal.cosem.texts import json_text
from meterseal.errors import MetersealError
from meterseal.listener.outside import is_protected, outside
from meterseal.security import AUTHENTICATED, SIGNED, Context, Style, protect, unprotect
from meterseal.security.layers import CIPHERING, SIGNED_TAG, SIGNING, Layer
from meterseal.security.parameters import Element, elements_value, layers_of, read_elements
from tests.security.parties import ALL, BOTH, GET, MIRRORED, both, by, ciphering, floors, signing

SUITES = (1, 0, 2)
APPLIED = (BOTH, ALL, ALL ^ BOTH, 1, 2)
STYLES = (Style.LAYERED, Style.GENERAL_GLO, Style.GLO)


class Parties:
    """Two ends, what they made, and which of it was opened."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.ends = both(script.choose(SUITES))
        self.made: dict[bytes, bytes] = {}
        self.opened: set[bytes] = set()

    def seal(self) -> None:
        """A message from one end, with the script's fate."""
        script = self.script
        way = script.octet() & 1
        form, applied, style = script.choose(MIRRORED), script.choose(APPLIED), script.choose(STYLES)
        transaction, plain = bytes((len(self.made),)) + script.part()[:8], script.part() or GET
        layers = (ciphering(form, transaction), signing(transaction)) if style is Style.LAYERED else ()
        try:
            octets = protect(self.ends[way], plain, applied, style, layers)
        except MetersealError:
            return
        self.made[octets] = plain
        for arrived in script.choose(FATES)(script, octets):
            self.take(self.ends[1 - way], arrived)

    def take(self, end: Context, octets: bytes) -> None:
        before = floors(end)
        try:
            found = unprotect(end, octets)
        except MetersealError:
            assert floors(end) == before, octets.hex()
            return
        if found.applied & AUTHENTICATED or octets[0] == SIGNED_TAG:
            assert found.apdu == self.made.get(octets), octets.hex()
        elif found.applied & SIGNED:  # in a layer that protects nothing: of that anything may be changed
            assert found.apdu in self.made.values(), octets.hex()
        if found.applied & AUTHENTICATED:
            assert octets not in self.opened, f"opened twice: {octets.hex()}"
            self.opened.add(octets)

    def again(self) -> None:
        """What was sent before, to either end."""
        before = list(self.made)
        if before:
            self.take(self.ends[self.script.octet() & 1], before[self.script.octet() % len(before)])

    def anything(self) -> None:
        self.take(self.ends[self.script.octet() & 1], self.script.part())


def layers(octets: bytes) -> object:
    """A script of messages between two parties."""
    parties = Parties(Script(octets))
    while parties.script.goes_on:
        parties.script.choose((parties.seal, parties.again, parties.anything))()
    return parties.opened


def _seeds() -> list[bytes]:
    found = []
    for suite in range(len(SUITES)):
        for form in range(len(MIRRORED)):
            messages = [(0, way, form, applied, 0, b"id", GET, 0) for way in (0, 1) for applied in (0, 1, 2)]
            again = (1, 1, 0, 1, 0, 1, 1, 1, 2)
            found.append(written(suite, *(step for one in messages for step in one), *again))
    found.append(
        written(0, 0, 0, 1, 1, 0, b"id", GET, 3, 40, 1, 0, 0, 1, 2, 0, b"id", GET, 3, 0xF0, 4, 2, 1, GET)
    )
    found.append(written(1, 0, 0, 0, 0, 1, b"", GET, 0, 0, 1, 0, 0, 2, b"", GET, 2, 1, 1, 0))
    return found


def push_outside(octets: bytes) -> object:
    """What a listener tells of a protected push before it has any key."""
    if not is_protected(octets):
        return None
    found = outside(octets)
    assert len(found.title) in (0, 8) or octets[0] == 0xDB
    return json_text(found.shown)


def parameters(octets: bytes) -> object:
    """Protection parameters out of any value; what is read is written and read the same."""
    found = read_elements(Data.decode(octets).value)
    assert read_elements(Data.decode(encode(*elements_value(found))).value) == found
    try:
        return layers_of(found)
    except MetersealError:
        return None


def _pushes() -> list[bytes]:
    client, _ = both(1)
    layered = [by(client, form) for form in MIRRORED]
    signed = protect(client, GET, SIGNED, Style.PLAIN, (signing(),))
    return [*layered, signed, protect(client, GET, ALL, Style.GENERAL_GLO, (signing(),))]


_SIGNATURE = Element(SIGNED, Layer(SIGNING, b"", b"MSLUTI01", b"12345678"))
KEYS = ("identified", "broadcast", "wrapped", "one-pass", "static")
PARAMETERS = [
    encode(*elements_value(elements))
    for elements in (
        *([Element(BOTH, Layer(CIPHERING, b"", b"MSLUTI01", form=form))] for form in KEYS),
        [_SIGNATURE, Element(1, Layer(CIPHERING, b"MSL00001", b"", b"12345678", "one-pass"), bytes(128))],
    )
]

TARGETS = (
    Target("layers", layers, _seeds(), stateful=True),
    Target("push-outside", push_outside, _pushes()),
    Target("protection-parameters", parameters, PARAMETERS),
)
