"""BER for ACSE: tagged fields in order, definite lengths, from the rows of a declaration.

Only AARQ, AARE, RLRQ, RLRE use it (acse-xdlms 1.1).  Every field is optional on the wire; what
must be there is the association's rule.  Unknown, repeated or misplaced fields are malformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from meterseal.errors import Malformed, Misuse, Truncated

_INTEGER_OCTETS = 4


class Ber(NamedTuple):
    """A BER field: the tags from the outside in, and how the innermost contents are read.

    `content` is "octets" or "integer".
    """

    tags: tuple[int, ...]
    content: str = "octets"


def read_tlv(b: bytes, p: int, e: int) -> tuple[int, int, int]:
    """Tag and limits of the contents of the element at `p`: (tag, start, end)."""
    if e - p < 2:
        raise Truncated("a BER element needs tag and length")
    tag, size, p = b[p], b[p + 1], p + 2
    if size >= 0x80:
        count = size - 0x80
        if not 1 <= count <= 4:
            raise Malformed(f"BER length octet {size:02X}: indefinite or too long a length")
        if e - p < count:
            raise Truncated("a BER length is cut")
        size, p = int.from_bytes(b[p : p + count], "big"), p + count
    if size > e - p:
        raise Truncated(f"BER element {tag:02X} of {size} octets, {e - p} left")
    return tag, p, p + size


def tlv(tag: int, contents: bytes) -> bytes:
    """An element with minimal definite length."""
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    count = (size.bit_length() + 7) // 8
    return bytes((tag, 0x80 | count)) + size.to_bytes(count, "big") + contents


def functions(cls: Any, rows: list[tuple[str, Ber]]) -> tuple[Any, Any]:
    """`read(b, p, e)` and `encode(self)` of a BER declaration."""

    # What fields an element may be, by its outer tag: place, further tags inside, the row.
    known: dict[int, list[tuple[int, tuple[int, ...], Ber]]] = {}
    for place, (_, row) in enumerate(rows):
        known.setdefault(row.tags[0], []).append((place, tuple(row.tags[1:]), row))
    # Most have one tag and octets inside: nothing more to look at.
    plain = {
        tag: fields[0][0]
        for tag, fields in known.items()
        if len(fields) == 1 and not fields[0][1] and fields[0][2].content == "octets"
    }
    wraps = [(tuple(reversed(row.tags)), row.content == "octets") for _, row in rows]

    def read(b: bytes, p: int, e: int) -> tuple[Any, int]:
        # The outer tag has been taken: what stands here is the length of the whole APDU.
        _, p, end = read_tlv(b, p - 1, e)
        values: list[Any] = [None] * len(rows)
        last = -1
        while p < end:
            start = p
            tag, inner, p = read_tlv(b, p, end)
            at = plain.get(tag, -1)
            if at >= 0:
                value: Any = b[inner:p]
            else:
                at, value = _match(known.get(tag, ()), b, start, inner, p)
            if at <= last:
                raise Malformed(f"{cls.name}: field {tag:02X} is repeated or out of order")
            values[at], last = value, at
        return tuple.__new__(cls, values), end

    def encode(self: Any) -> bytes:
        chunks = []
        for (tags, is_octets), value in zip(wraps, self, strict=True):
            if value is not None:
                octets = value if is_octets else _integer(value)
                for tag in tags:
                    octets = tlv(tag, octets)
                chunks.append(octets)
        return tlv(cls.tag[0], b"".join(chunks))

    return staticmethod(read), encode


def _match(
    known: Sequence[tuple[int, tuple[int, ...], Ber]], b: bytes, start: int, inner: int, end: int
) -> tuple[int, Any]:
    """The place of the row whose tags lead to the contents of the element, and the value found there."""
    for at, tags, row in known:
        p = inner
        for tag in tags:
            found, p, inner_end = read_tlv(b, p, end)
            if found != tag:
                break
            if inner_end != end:
                raise Malformed(f"BER element {tag:02X}: octets left over")
        else:
            return at, _contents(row, b[p:end])
    raise Malformed(f"no field for BER element {b[start : start + 2].hex().upper()}")


def _contents(row: Ber, octets: bytes) -> Any:
    if row.content == "octets":
        return octets
    if not 1 <= len(octets) <= _INTEGER_OCTETS:
        raise Malformed(f"an INTEGER of {len(octets)} octets in field {row.tags[0]:02X}")
    return int.from_bytes(octets, "big", signed=True)


def _integer(value: int) -> bytes:
    size = (value + (value < 0)).bit_length() // 8 + 1
    if size > _INTEGER_OCTETS:
        raise Misuse(f"{value} does not fit the {_INTEGER_OCTETS} octets of an INTEGER here")
    return value.to_bytes(size, "big", signed=True)
