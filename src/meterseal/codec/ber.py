"""BER for ACSE: tagged fields in order, definite lengths, from the rows of a declaration.

Only AARQ, AARE, RLRQ, RLRE use it (acse-xdlms 1.1).  Every field is optional on the wire; what
must be there is the association's rule.  Unknown, repeated or misplaced fields are malformed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meterseal.errors import Malformed, Misuse, Truncated

if TYPE_CHECKING:
    from meterseal.codec.parts import Ber

_INTEGER_OCTETS = 4


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

    def read(b: bytes, p: int, e: int) -> tuple[Any, int]:
        # The outer tag has been taken: what stands here is the length of the whole APDU.
        _, p, end = read_tlv(b, p - 1, e)
        values: dict[str, Any] = {}
        last = -1
        while p < end:
            start = p
            tag, _, p = read_tlv(b, p, end)
            at, value = _match(rows, b, start, p)
            if at <= last:
                raise Malformed(f"{cls.name}: field {tag:02X} is repeated or out of order")
            values[rows[at][0]], last = value, at
        return tuple.__new__(cls, tuple(values.get(name) for name, _ in rows)), end

    def encode(self: Any) -> bytes:
        chunks = [
            _wrap(row, value) for (_, row), value in zip(rows, tuple(self), strict=True) if value is not None
        ]
        return tlv(cls.tag[0], b"".join(chunks))

    return staticmethod(read), encode


def _match(rows: list[tuple[str, Ber]], b: bytes, start: int, end: int) -> tuple[int, Any]:
    """The row whose tags lead to the contents of the element, and the value found there."""
    for at, (_, row) in enumerate(rows):
        if row.tags[0] != b[start]:
            continue
        p, e, fits = start, end, True
        for depth, tag in enumerate(row.tags):
            found, inner, inner_end = read_tlv(b, p, e)
            if found != tag:
                fits = False
                break
            if inner_end != e:
                raise Malformed(f"BER element {row.tags[depth]:02X}: octets left over")
            p, e = inner, inner_end
        if fits:
            return at, _contents(row, b[p:e])
    raise Malformed(f"no field for BER element {b[start : start + 2].hex().upper()}")


def _contents(row: Ber, octets: bytes) -> Any:
    if row.content == "octets":
        return octets
    if not 1 <= len(octets) <= _INTEGER_OCTETS:
        raise Malformed(f"an INTEGER of {len(octets)} octets in field {row.tags[0]:02X}")
    return int.from_bytes(octets, "big", signed=True)


def _wrap(row: Ber, value: Any) -> bytes:
    octets = value if row.content == "octets" else _integer(value)
    for tag in reversed(row.tags):
        octets = tlv(tag, octets)
    return bytes(octets)


def _integer(value: int) -> bytes:
    size = (value + (value < 0)).bit_length() // 8 + 1
    if size > _INTEGER_OCTETS:
        raise Misuse(f"{value} does not fit the {_INTEGER_OCTETS} octets of an INTEGER here")
    return value.to_bytes(size, "big", signed=True)
