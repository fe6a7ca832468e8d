"""Ciphered APDUs: header and body of glo-, ded-, general-glo and general-ded forms (security 3, 5).

Each form is a row: its tag, its key set, and whether the system title travels in front.  The
security header is SC (1) and invocation counter (4); the body is what the protection made of
the plain APDU.
"""

from __future__ import annotations

from typing import NamedTuple

from meterseal.codec.ber import tlv
from meterseal.codec.octets import length_octets, read_length
from meterseal.errors import Malformed, Truncated

GLOBAL, DEDICATED = "global", "dedicated"

_PLAIN = {
    0x01: "initiate-request",
    0x05: "read-request",
    0x06: "write-request",
    0x08: "initiate-response",
    0x0C: "read-response",
    0x0D: "write-response",
    0x0E: "confirmed-service-error",
    0x16: "unconfirmed-write-request",
    0x18: "information-report-request",
    0xC0: "get-request",
    0xC1: "set-request",
    0xC2: "event-notification-request",
    0xC3: "action-request",
    0xC4: "get-response",
    0xC5: "set-response",
    0xC7: "action-response",
}


class Form(NamedTuple):
    """One kind of ciphered APDU.  `plain_tag` is 0 in the general forms."""

    tag: int
    name: str
    key_set: str
    plain_tag: int

    @property
    def general(self) -> bool:
        """True when the form takes any plain APDU and carries a system title."""
        return not self.plain_tag


def _rows() -> list[Form]:
    rows = [Form(0xDB, "general-glo-ciphering", GLOBAL, 0), Form(0xDC, "general-ded-ciphering", DEDICATED, 0)]
    for plain, name in _PLAIN.items():
        # C0.. is ciphered as C8.. and D0..; the older tags as +20 and +40.
        glo, ded = (plain + 0x08, plain + 0x10) if plain >= 0xC0 else (plain + 0x20, plain + 0x40)
        rows += [Form(glo, f"glo-{name}", GLOBAL, plain), Form(ded, f"ded-{name}", DEDICATED, plain)]
    return rows


FORMS: dict[int, Form] = {row.tag: row for row in _rows()}
"""Every ciphered form by its tag octet."""

GLO_TAG: dict[int, int] = {f.plain_tag: t for t, f in FORMS.items() if f.key_set == GLOBAL and f.plain_tag}
DED_TAG: dict[int, int] = {f.plain_tag: t for t, f in FORMS.items() if f.key_set == DEDICATED and f.plain_tag}
GENERAL_GLO, GENERAL_DED = FORMS[0xDB], FORMS[0xDC]

SC_AUTHENTICATED, SC_ENCRYPTED, SC_BROADCAST, SC_COMPRESSED = 0x10, 0x20, 0x40, 0x80


class Ciphered(NamedTuple):
    """A ciphered APDU taken apart; nothing of it has been verified.

    `title` is the system title of the header (general forms), None where the form has none, and
    empty where it was left out.
    """

    form: Form
    title: bytes | None
    sc: int
    counter: int
    body: bytes


def parse(octets: bytes) -> Ciphered:
    """Take a ciphered APDU apart; every octet must belong to it.

    Raises Malformed or Truncated; the length of the title is checked against the octets there.
    """
    form = FORMS.get(octets[0]) if octets else None
    if form is None:
        raise Malformed("not a ciphered APDU")
    p, e, title = 1, len(octets), None
    if not form.plain_tag:
        size, p = read_length(octets, p, e)
        if size > e - p:
            raise Truncated(f"{form.name}: a system title of {size} octets, {e - p} left")
        if size not in (0, 8):
            raise Malformed(f"{form.name}: a system title of {size} octets, not 8")
        title, p = octets[p : p + size], p + size
    size, p = read_length(octets, p, e)
    if size != e - p:
        kind = Truncated if size > e - p else Malformed
        raise kind(f"{form.name}: content of {size} octets, {e - p} left")
    if size < 5:
        raise Malformed(f"{form.name}: content of {size} octets has no security header")
    return Ciphered(form, title, octets[p], int.from_bytes(octets[p + 1 : p + 5], "big"), octets[p + 5 :])


def build(form: Form, title: bytes, sc: int, counter: int, body: bytes) -> bytes:
    """The octets of a ciphered APDU; `title` is used by the general forms only."""
    content = b"%c%b%b" % (sc, counter.to_bytes(4, "big"), body)
    lead = tlv(form.tag, title) if not form.plain_tag else bytes((form.tag,))
    return lead + length_octets(len(content)) + content
