"""BER for ACSE: tagged fields in order, definite lengths, from the rows of a declaration.

Only AARQ, AARE, RLRQ, RLRE use it (acse-xdlms 1.1).  Every field is optional on the wire; what
must be there is the association's rule.  Unknown, repeated or misplaced fields are malformed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct
from typing import Any, NamedTuple

from meterseal.codec.moulds import Mould
from meterseal.errors import Malformed, Misuse, Truncated

_INTEGER_OCTETS = 4


class Ber(NamedTuple):
    """A BER field: the tags from the outside in, and how the innermost contents are read.

    `content` is "octets" or "integer".  A `fresh` one is made anew for each message; the others hardly
    change, and are no secrets.  A declaration has two fresh ones, the second at its end, or none.
    """

    tags: tuple[int, ...]
    content: str = "octets"
    fresh: bool = False


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


class Layout(NamedTuple):
    """Where a message has its tags and lengths, and where its contents.

    `marks` picks the octets of tags, lengths and integers, which have to be `expected`; `contents` takes out
    the octets of the other fields; `order` puts these, and `rest`, into the order of the declaration.
    `fresh` is where the fresh fields are: start and end of the first, start of the second, which ends the
    message; None where they are not both there.
    """

    marks: Callable[[bytes], Any]
    expected: Any
    contents: Callable[[bytes], tuple[bytes, ...]]
    rest: tuple[int | None, ...]
    order: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    fresh: tuple[tuple[int, int], int] | None


KEPT = 64
"""Layouts, and encoded beginnings, that are kept of each message: sign-ons differ in little."""

_Known = dict[int, list[tuple[int, Ber]]]
_Wraps = list[tuple[tuple[int, ...], bool]]


def reader(cls: Any, rows: list[Ber]) -> Callable[[bytes, int, int], tuple[Any, int]]:
    """The function `read(b, p, e)` of a declaration with these rows."""
    known = _known(rows)
    kept: dict[int, Layout] = {}
    make = tuple.__new__

    def read(b: bytes, p: int, e: int) -> tuple[Any, int]:
        # What is wrong with a message is wrong with its tags, lengths and integers.  So a layout that was
        # found once is right for every message that has the same in the same places.
        layout = kept.get(e)
        if layout is None or layout.marks(b) != layout.expected:
            layout = _layout(cls.name, known, len(rows), b, e)
            if len(kept) >= KEPT:
                kept.clear()
            kept[e] = layout
        _, _, contents, rest, order, _ = layout
        return make(cls, order(contents(b) + rest)), e

    return read


def mould(cls: Any, rows: list[Ber], octets: bytes, last: int) -> Mould | None:
    """The mould of a message with these rows; its second field is the `last` octets of the second fresh one.

    None where the fresh fields are not both there, or the second is shorter.  Raises Malformed, Truncated.
    """
    fresh = _layout(cls.name, _known(rows), len(rows), octets, len(octets)).fresh
    second = len(octets) - last
    return None if fresh is None or second < fresh[1] else Mould(octets, fresh[0], second)


def _known(rows: list[Ber]) -> _Known:
    """What fields an element may be, by its outer tag."""
    known: _Known = {}
    for place, row in enumerate(rows):
        known.setdefault(row.tags[0], []).append((place, row))
    return known


def _layout(name: str, known: _Known, count: int, b: bytes, e: int) -> Layout:
    """The layout of the whole of `b`, whose tag has been looked at.  Raises Malformed, Truncated."""
    _, p, end = read_tlv(b, 0, e)
    marks, shape, last, at = [*range(p)], ">", -1, 0
    spans: dict[int, int] = {}
    fresh: list[int] = []
    integers: dict[int, int] = {}
    while p < end:
        start = p
        tag, inner, p = read_tlv(b, p, end)
        place, row, inner = _match(known.get(tag, ()), b, start, inner, p)
        if place <= last:
            raise Malformed(f"{name}: field {tag:02X} is repeated or out of order")
        last = place
        if row.content == "octets":
            shape += f"{inner - at}x{p - inner}s"
            spans[place], at = len(spans), p
            if row.fresh:
                fresh += inner, p
            marks += range(start, inner)
        else:
            integers[place] = _value(row, b[inner:p])
            marks += range(start, p)
    if end != e:
        raise Malformed(f"{name}: {e - end} octets left over")
    rest = (None, *integers.values())
    places = dict.fromkeys(range(count), len(spans)) | spans
    places |= {place: len(spans) + 1 + index for index, place in enumerate(integers)}
    picked = itemgetter(*marks)
    contents = Struct(shape).unpack_from
    both = ((fresh[0], fresh[1]), fresh[2]) if len(fresh) == 4 and fresh[3] == e else None
    return Layout(picked, picked(b), contents, rest, itemgetter(*places.values()), both)


def _match(
    fields: Sequence[tuple[int, Ber]], b: bytes, start: int, inner: int, end: int
) -> tuple[int, Ber, int]:
    """The place and row whose tags lead to the contents of the element, and where these begin."""
    for place, row in fields:
        p = inner
        for tag in row.tags[1:]:
            found, p, inner_end = read_tlv(b, p, end)
            if found != tag:
                break
            if inner_end != end:
                raise Malformed(f"BER element {tag:02X}: octets left over")
        else:
            return place, row, p
    raise Malformed(f"no field for BER element {b[start : start + 2].hex().upper()}")


def _value(row: Ber, octets: bytes) -> int:
    if not 1 <= len(octets) <= _INTEGER_OCTETS:
        raise Malformed(f"an INTEGER of {len(octets)} octets in field {row.tags[0]:02X}")
    return int.from_bytes(octets, "big", signed=True)


def writer(cls: Any, rows: list[Ber]) -> Callable[[Any], bytes]:
    """The method `encode(self)` of a declaration with these rows."""
    # The tags from the inside out.
    wraps = [(tuple(reversed(row.tags)), row.content == "octets") for row in rows]
    fresh = [place for place, row in enumerate(rows) if row.fresh]
    if not fresh:
        return lambda self: tlv(cls.tag[0], _written(wraps, self))
    first, second = fresh
    still = itemgetter(*(place for place in range(len(rows)) if place not in fresh))
    kept: dict[tuple[Any, ...], Mould] = {}

    def encode(self: Any) -> bytes:
        # All but the fresh fields is the same at each sign-on of the same parties.
        a, b = self[first], self[second]
        if b is None:
            return tlv(cls.tag[0], _written(wraps, self))
        same = still(self), None if a is None else len(a), len(b)
        mould = kept.get(same)
        if mould is not None:
            return mould.cast(a or b"", b)
        octets = tlv(cls.tag[0], _written(wraps, self))
        if len(kept) >= KEPT:
            kept.clear()
        end = len(octets) - len(_written(wraps[first + 1 :], self[first + 1 :]))
        kept[same] = Mould(octets, (end - len(a or b""), end), len(octets) - len(b))
        return octets

    return encode


def _written(wraps: _Wraps, values: tuple[Any, ...]) -> bytes:
    chunks = []
    for (tags, is_octets), value in zip(wraps, values, strict=True):
        if value is not None:
            octets = value if is_octets else _integer(value)
            for tag in tags:
                octets = tlv(tag, octets)
            chunks.append(octets)
    return b"".join(chunks)


def _integer(value: int) -> bytes:
    size = (value + (value < 0)).bit_length() // 8 + 1
    if size > _INTEGER_OCTETS:
        raise Misuse(f"{value} does not fit the {_INTEGER_OCTETS} octets of an INTEGER here")
    return value.to_bytes(size, "big", signed=True)
