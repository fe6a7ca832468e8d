"""The gateway prefix: which device behind a gateway an APDU is for, or from (IEC 62056-5-3 Annex C; more 1).

`E6 | E7 | network id | address length | physical device address | APDU`: E6 towards the device, E7 from it.
It stands right in front of the APDU, behind LLC octets or a wrapper header, and nothing protects it.
"""

from __future__ import annotations

from typing import NamedTuple

from meterseal.errors import Malformed, Misuse, Truncated

from .bounds import Octets

REQUEST = 0xE6
RESPONSE = 0xE7
_FIXED = 3


class Prefix(NamedTuple):
    """Towards the device (`request`) or from it; network id; the device's address of 0..255 octets."""

    request: bool
    network: int
    address: bytes

    @property
    def length(self) -> int:
        """Octets that it costs of the largest APDU."""
        return _FIXED + len(self.address)

    def answer(self) -> Prefix:
        """The prefix of the response: same network and device."""
        return Prefix(False, self.network, self.address)


def encode(prefix: Prefix, apdu: Octets) -> bytes:
    """The prefixed APDU. Misuse: network or address out of range, or an APDU that has a prefix already."""
    if not 0 <= prefix.network <= 0xFF or len(prefix.address) > 0xFF:
        raise Misuse("a gateway prefix has a network id of 0..255 and an address of at most 255 octets")
    if apdu[:1] in (b"\xe6", b"\xe7"):
        raise Misuse("the APDU has a gateway prefix already")
    head = REQUEST if prefix.request else RESPONSE
    return b"".join((bytes((head, prefix.network, len(prefix.address))), prefix.address, apdu))


def decode(octets: Octets) -> tuple[Prefix, bytes]:
    """The prefix and the APDU behind it. Truncated; Malformed, also for a prefix inside a prefix."""
    if len(octets) < _FIXED:
        raise Truncated("gateway prefix ends early")
    head, network, size = octets[:_FIXED]
    if head not in (REQUEST, RESPONSE):
        raise Malformed(f"a gateway prefix begins with E6 or E7, not {head:02X}")
    begin = _FIXED + size
    if begin >= len(octets):
        there = len(octets) - _FIXED
        raise Truncated(f"gateway prefix with an address of {size} octets and an APDU, {there} are there")
    if octets[begin] in (REQUEST, RESPONSE):
        raise Malformed("gateway prefix inside a gateway prefix")
    return Prefix(head == REQUEST, network, bytes(octets[_FIXED:begin])), bytes(octets[begin:])
