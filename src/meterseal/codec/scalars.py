"""Scalars of DLMS Data: a row for each tag with width, struct code and conversions; strings by function."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from meterseal.codec.octets import SHORT, length_octets, read_length
from meterseal.codec.types import DONT_CARE, NO_BITS, BitString, Tag
from meterseal.errors import Misuse, Truncated

Reader = Callable[[bytes, int, int], tuple[Any, int]]
"""(octets, position behind the tag, end) -> (value, position behind the value)."""


class Fixed(NamedTuple):
    """A scalar of fixed width: `code` is its struct code, `python` the type of its value.

    Where an integer is written, whatever counts as one will do, True and False included.
    """

    code: str
    width: int
    python: type


def _integer(code: str) -> Fixed:
    return Fixed(code, struct.calcsize(">" + code), int)


FIXED: Final[dict[Tag, Fixed]] = {
    Tag.BOOLEAN: Fixed("?", 1, bool),
    Tag.DOUBLE_LONG: _integer("i"),
    Tag.DOUBLE_LONG_UNSIGNED: _integer("I"),
    Tag.BCD: _integer("B"),
    Tag.INTEGER: _integer("b"),
    Tag.LONG: _integer("h"),
    Tag.UNSIGNED: _integer("B"),
    Tag.LONG_UNSIGNED: _integer("H"),
    Tag.LONG64: _integer("q"),
    Tag.LONG64_UNSIGNED: _integer("Q"),
    Tag.ENUM: _integer("B"),
    Tag.FLOAT32: Fixed("f", 4, float),
    Tag.FLOAT64: Fixed("d", 8, float),
    Tag.DATE_TIME: Fixed("12s", 12, bytes),
    Tag.DATE: Fixed("5s", 5, bytes),
    Tag.TIME: Fixed("4s", 4, bytes),
    Tag.DELTA_INTEGER: _integer("b"),
    Tag.DELTA_LONG: _integer("h"),
    Tag.DELTA_DOUBLE_LONG: _integer("i"),
    Tag.DELTA_UNSIGNED: _integer("B"),
    Tag.DELTA_LONG_UNSIGNED: _integer("H"),
    Tag.DELTA_DOUBLE_LONG_UNSIGNED: _integer("I"),
}
"""Scalars of one to twelve octets (acse-xdlms 6)."""

EMPTY: Final[dict[Tag, Any]] = {Tag.NULL: None, Tag.DONT_CARE: DONT_CARE}
"""Scalars without octets."""


def read_octets(buf: bytes, pos: int, end: int) -> tuple[bytes, int]:
    """Length and octets; Truncated when the length promises more than is left."""
    if pos < end and (size := buf[pos]) < 0x80:  # nearly all
        pos += 1
    else:
        size, pos = read_length(buf, pos, end)
    if size > end - pos:
        raise Truncated(f"string of {size} octets at octet {pos}, {end - pos} left")
    return buf[pos : pos + size], pos + size


def _read_visible(buf: bytes, pos: int, end: int) -> tuple[str, int]:
    octets, pos = read_octets(buf, pos, end)
    return octets.decode("latin-1"), pos


def _read_utf8(buf: bytes, pos: int, end: int) -> tuple[str, int]:
    octets, pos = read_octets(buf, pos, end)
    return octets.decode("utf-8", "surrogateescape"), pos


def _read_bits(buf: bytes, pos: int, end: int) -> tuple[BitString, int]:
    bits, pos = read_length(buf, pos, end)
    size = (bits + 7) >> 3
    if size > end - pos:
        raise Truncated(f"bit-string of {bits} bits at octet {pos}, {end - pos} octets left")
    return (BitString(buf[pos : pos + size], bits) if bits else NO_BITS), pos + size


STRINGS: Final[dict[Tag, Reader]] = {
    Tag.BIT_STRING: _read_bits,
    Tag.OCTET_STRING: read_octets,
    Tag.VISIBLE_STRING: _read_visible,
    Tag.UTF8_STRING: _read_utf8,
}
"""Scalars that carry their length."""


def _fixed_reader(code: str, width: int) -> Reader:
    unpack = struct.Struct(">" + code).unpack_from

    def read(buf: bytes, pos: int, end: int) -> tuple[Any, int]:
        if width > end - pos:
            raise Truncated(f"value of {width} octets at octet {pos}, {end - pos} left")
        return unpack(buf, pos)[0], pos + width

    return read


def _empty_reader(value: Any) -> Reader:
    def read(buf: bytes, pos: int, end: int) -> tuple[Any, int]:
        return value, pos

    return read


SCALAR_READERS: Final[dict[Tag, Reader]] = {
    **{tag: _empty_reader(value) for tag, value in EMPTY.items()},
    **{tag: _fixed_reader(row.code, row.width) for tag, row in FIXED.items()},
    **STRINGS,
}

READERS: Final[tuple[Reader | None, ...]] = tuple(
    SCALAR_READERS.get(Tag(n)) if n in Tag.__members__.values() else None for n in range(256)
)
"""A slot for each possible tag octet; None for containers and for octets that are no tag."""


WIDTHS: Final[tuple[int, ...]] = tuple(
    1 + FIXED[Tag(n)].width if n in FIXED else int(n in EMPTY) for n in range(256)
)
"""Octets of a value with its tag, by the tag's octet; 0 where the tag alone does not say."""


# --- writing: value -> octets without the tag ---------------------------------------------------

Writer = Callable[[Any], bytes]


def _fixed_writer(tag: Tag, row: Fixed) -> Writer:
    pack = struct.Struct(">" + row.code).pack
    kind = row.python

    def write(value: Any) -> bytes:
        if kind is bytes and isinstance(value, (bytes, bytearray)) and len(value) != row.width:
            raise Misuse(f"{len(value)} octets do not fit {tag.word}, which has {row.width}")
        if kind is bool and not isinstance(value, bool):  # struct would take anything
            raise Misuse(f"{shown(value)} is no {tag.word}")
        try:
            return pack(value)
        except (struct.error, OverflowError):
            wrong = "does not fit" if isinstance(value, (int, float)) and kind is type(value) else "is no"
            raise Misuse(f"{shown(value)} {wrong} {tag.word}") from None

    return write


_LONGEST_SHOWN: Final = 128  # bits; Python refuses to write very long integers in digits


def shown(value: Any) -> str:
    """A short name for a value that an error text can bear: values may be secrets, or long."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _empty_writer(tag: Tag, expected: Any) -> Writer:
    def write(value: Any) -> bytes:
        if value is not expected:
            raise Misuse(f"{shown(value)} is no {tag.word}")
        return b""

    return write


def _write_octets(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise Misuse(f"{shown(value)} is no octet-string")
    octets = bytes(value)
    size = len(octets)
    return (SHORT[size] if size < 0x80 else length_octets(size)) + octets


def _text_writer(tag: Tag, encoding: str, errors: str) -> Writer:
    def write(value: Any) -> bytes:
        if not isinstance(value, str):
            raise Misuse(f"{shown(value)} is no {tag.word}")
        try:
            octets = value.encode(encoding, errors)
        except UnicodeEncodeError as error:
            raise Misuse(f"character {error.start} does not fit {tag.word}") from None
        return length_octets(len(octets)) + octets

    return write


def _write_bits(value: Any) -> bytes:
    if not isinstance(value, BitString):
        raise Misuse(f"{shown(value)} is no bit-string")
    return length_octets(len(value)) + value.octets


SCALAR_WRITERS: Final[dict[Tag, Writer]] = {
    **{tag: _empty_writer(tag, value) for tag, value in EMPTY.items()},
    **{tag: _fixed_writer(tag, row) for tag, row in FIXED.items()},
    Tag.OCTET_STRING: _write_octets,
    Tag.VISIBLE_STRING: _text_writer(Tag.VISIBLE_STRING, "latin-1", "strict"),
    Tag.UTF8_STRING: _text_writer(Tag.UTF8_STRING, "utf-8", "surrogateescape"),
    Tag.BIT_STRING: _write_bits,
}
