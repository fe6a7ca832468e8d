"""HDLC addresses of 1, 2 or 4 octets: the last octet is the one with its lowest bit set (acse-xdlms 9)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from meterseal.errors import Malformed, Misuse, Truncated
from meterseal.framing.bounds import Octets

ALL_STATION = {1: 0x7F, 2: 0x7F, 4: 0x3FFF}
"""The upper (and lower) part that addresses everybody, by address size."""

CLIENT = {"no-station": 0x00, "management": 0x01, "public": 0x10, "all": 0x7F}
"""Reserved client addresses."""

_BITS = {1: 7, 2: 7, 4: 14}  # of each part, by address size


@dataclass(frozen=True, slots=True)
class Address:
    """`upper` is the client SAP or the server's logical device, `lower` the physical device.

    With one octet there is no lower part (None). `size` is 1, 2 or 4 octets; left out, the smallest that
    fits. Parts are 0..127, with four octets 0..16383. Some clients use two octets.
    """

    upper: int
    lower: int | None = None
    size: int = 0

    def __post_init__(self) -> None:
        if not self.size:
            wide = max(self.upper, self.lower or 0) > 0x7F
            object.__setattr__(self, "size", 1 if self.lower is None and not wide else 4 if wide else 2)
        if self.size not in _BITS:
            raise Misuse(f"an HDLC address has 1, 2 or 4 octets, not {self.size}")
        if (self.lower is None) != (self.size == 1):
            has = "no" if self.size == 1 else "a"
            raise Misuse(f"an HDLC address of {self.size} octets has {has} lower part")
        top = (1 << _BITS[self.size]) - 1
        if not (0 <= self.upper <= top and 0 <= (self.lower or 0) <= top):
            raise Misuse(f"each part of an HDLC address of {self.size} octets is 0..{top}")

    def encode(self) -> bytes:
        """The octets on the line."""
        lower = self.lower or 0
        if self.size == 1:
            return bytes((self.upper << 1 | 1,))
        if self.size == 2:
            return bytes((self.upper << 1, lower << 1 | 1))
        return bytes(
            (
                self.upper >> 7 << 1,
                (self.upper & 0x7F) << 1,
                lower >> 7 << 1,
                (lower & 0x7F) << 1 | 1,
            )
        )

    def __str__(self) -> str:
        return str(self.upper) if self.lower is None else f"{self.upper}/{self.lower}"


@lru_cache(maxsize=1024)
def decode(octets: bytes) -> Address:
    """The address in exactly 1, 2 or 4 octets whose end bits were already checked by `length_at`."""
    if len(octets) == 1:
        return Address(octets[0] >> 1, None, 1)
    if len(octets) == 2:
        return Address(octets[0] >> 1, octets[1] >> 1, 2)
    return Address(
        octets[0] >> 1 << 7 | octets[1] >> 1,
        octets[2] >> 1 << 7 | octets[3] >> 1,
        4,
    )


def length_at(octets: Octets, pos: int, end: int) -> int:
    """Octets of the address at `pos`. Malformed: three octets, or more than four. Truncated."""
    for size in range(1, 5):
        if pos + size > end:
            raise Truncated("HDLC frame ends inside an address")
        if octets[pos + size - 1] & 1:
            if size == 3:
                break
            return size
    raise Malformed("an HDLC address has 1, 2 or 4 octets")
