"""Length octets of A-XDR: the one place where a count or length is read from or written to the wire."""

from __future__ import annotations

from meterseal.errors import Malformed, Misuse, Truncated

MAX_LENGTH_OCTETS = 4
"""Longest accepted length after the leading octet (84 xx xx xx xx)."""

SHORT = tuple(bytes((n,)) for n in range(0x80))


def read_length(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    """Read a length or count at `pos`; return it and the position behind it (acse-xdlms 1.2).

    Below 80 one octet, else 81 to 84 followed by that many octets, big endian; a longer form than
    needed is accepted. Truncated when the octets end before the length does; Malformed for 80
    (indefinite) and for more than four length octets. What the length promises is not checked here.
    """
    if pos >= end:
        raise Truncated(f"length octet missing at octet {pos}")
    first = buf[pos]
    pos += 1
    if first < 0x80:
        return first, pos
    size = first & 0x7F
    if not 1 <= size <= MAX_LENGTH_OCTETS:
        raise Malformed(f"length octet {first:02X} at octet {pos - 1}: only 00..7F and 81..84 are lengths")
    if size > end - pos:
        raise Truncated(f"length at octet {pos - 1} needs {size} octets, {end - pos} left")
    return int.from_bytes(buf[pos : pos + size], "big"), pos + size


def length_octets(n: int) -> bytes:
    """Write `n` (0 to 2^32-1) in the shortest form (acse-xdlms 1.2); Misuse outside of that."""
    if 0 <= n < 0x80:
        return SHORT[n]
    size = (n.bit_length() + 7) // 8
    if n < 0 or size > MAX_LENGTH_OCTETS:
        raise Misuse(f"length {n} does not fit the four length octets of A-XDR")
    return bytes((0x80 | size,)) + n.to_bytes(size, "big")
