"""OBIS codes: the names of COSEM objects, and the OBJECT notation of the command line.

An OBIS code is six value groups A to F of one octet each (Blue Book, OBIS clause; fact sheet
more 5.2). On the wire it is the logical_name, an octet-string of 6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from meterseal.errors import Malformed, Misuse

_GROUP = r"(\d{1,3})"
_DOTTED = re.compile(rf"{_GROUP}\.{_GROUP}\.{_GROUP}\.{_GROUP}\.{_GROUP}(?:\.{_GROUP})?", re.ASCII)
_REDUCED = re.compile(rf"{_GROUP}-{_GROUP}:{_GROUP}\.{_GROUP}\.{_GROUP}(?:[.*]{_GROUP})?", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]{12}", re.ASCII)
_OBJECT = re.compile(r"(?:(?P<class>\d{1,5})/)?(?P<obis>.+?)(?::(?P<member>-?\d{1,3}))?", re.ASCII)


class Obis(bytes):
    """One logical name: six octets that read and print as groups.

    A subclass of `bytes`, so that a name taken from a decoded octet-string finds its object in a
    dict without a conversion, compares and sorts as octets, and keeps the hash that CPython caches
    and salts per process: names chosen by a peer cannot be aimed at one bucket (F22).

    Made from "1.0.1.8.0.255", "1-0:1.8.0*255", "1-0:1.8.0.255", 12 hex digits or 6 octets. With
    five groups F is 255. Fewer groups are refused: "1.8.0" does not say the medium or channel.
    Raises `Misuse` for a text that is no code, `Malformed` for octets that are not six.
    """

    __slots__ = ()

    def __new__(cls, code: str | bytes) -> Obis:
        """See the class."""
        if isinstance(code, cls):
            return code
        # bytes(6) would be six zeros: an int must not pass for octets.
        if not isinstance(code, (str, bytes, bytearray, memoryview)):
            raise Misuse(f"an OBIS code is made from text or octets, not from {type(code).__name__}")
        octets = _from_text(code) if isinstance(code, str) else bytes(code)
        if len(octets) != 6:
            raise Malformed(f"a logical name has 6 octets, not {len(octets)}")
        return super().__new__(cls, octets)

    def __str__(self) -> str:
        return ".".join(map(str, self))

    def __repr__(self) -> str:
        return f"Obis('{self}')"

    @property
    def octets(self) -> bytes:
        """The six octets as plain `bytes`."""
        return bytes(self)

    @property
    def reduced(self) -> str:
        """The spelling with medium and channel set apart: "1-0:1.8.0*255"."""
        return "{}-{}:{}.{}.{}*{}".format(*self)

    def with_group(self, group: str, value: int) -> Obis:
        """The same code with one group ("A".."F") set to `value` (0..255)."""
        at = "ABCDEF".find(group)
        if at < 0 or len(group) != 1 or not 0 <= value <= 255:
            raise Misuse(f"no group {group!r} = {value} in an OBIS code")
        return Obis(self[:at] + bytes((value,)) + self[at + 1 :])


def _from_text(text: str) -> bytes:
    """Six octets of any accepted spelling; `Misuse` otherwise."""
    text = text.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    match = _DOTTED.fullmatch(text) or _REDUCED.fullmatch(text)
    if match is None:
        raise Misuse(
            f"{_shown(text)} is no OBIS code: write five or six groups, as 1.0.1.8.0.255 or 1-0:1.8.0*255"
        )
    groups = [255 if group is None else int(group) for group in match.groups()]
    if max(groups) > 255:
        raise Misuse(f"{_shown(text)} is no OBIS code: a group is at most 255")
    return bytes(groups)


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    """One attribute or method as named on the command line (design 5, OBJECT).

    `class_id` is None when the text has no class; `member` is the attribute or method index;
    `explicit_member` tells "…:2" from a plain name that means attribute 2.
    """

    class_id: int | None
    obis: Obis
    member: int = 2
    explicit_member: bool = False

    @property
    def explicit_class(self) -> bool:
        """True when the text named the class; the meter is then asked without any look-up."""
        return self.class_id is not None

    def with_class(self, class_id: int) -> ObjectAddress:
        """The same member with the class found out."""
        return ObjectAddress(class_id, self.obis, self.member, self.explicit_member)

    def __str__(self) -> str:
        prefix = "" if self.class_id is None else f"{self.class_id}/"
        return f"{prefix}{self.obis}:{self.member}"


def parse_object(text: str) -> ObjectAddress:
    """Read `[CLASS/]OBIS[:MEMBER]`, for example "3/1.0.1.8.0.255:2"; member 2 when left out.

    The colon of "1-0:1.8.0" is part of the code: a member is digits alone. Raises `Misuse`.
    """
    match = _OBJECT.fullmatch(text.strip())
    if match is None:
        raise Misuse(f"{_shown(text)} is no object: write [CLASS/]OBIS[:ATTRIBUTE]")
    obis = Obis(match["obis"])
    class_id = None if match["class"] is None else int(match["class"])
    if class_id is not None and not 0 <= class_id <= 0xFFFF:
        raise Misuse(f"{_shown(text)}: a class is 0 to 65535")
    member = 2 if match["member"] is None else int(match["member"])
    if not -128 <= member <= 127:
        raise Misuse(f"{_shown(text)}: an attribute or method index is -128 to 127")
    return ObjectAddress(class_id, obis, member, match["member"] is not None)


class Member(NamedTuple):
    """One attribute or method by class, name and index; what rights and lists of members are about."""

    class_id: int
    obis: Obis
    member: int
    method: bool = False

    def __str__(self) -> str:
        return f"{self.class_id}/{self.obis}:{self.member}{'()' * self.method}"


def parse_member(text: str) -> Member:
    """Read `CLASS/OBIS:ATTRIBUTE`, or `CLASS/OBIS:METHOD()`.  Raises `Misuse`."""
    method = text.endswith("()")
    address = parse_object(text.removesuffix("()"))
    if address.class_id is None or (method and not address.explicit_member):
        raise Misuse(f"{_shown(text)}: write CLASS/OBIS:ATTRIBUTE, or CLASS/OBIS:METHOD()")
    return Member(address.class_id, address.obis, address.member, method)


def _shown(text: str) -> str:
    """The text for an error message: quoted, escaped, cut (one odd character is ten when escaped)."""
    quoted = repr(text[:64])
    return quoted if len(quoted) <= 64 else f"{quoted[:60]}...'"
