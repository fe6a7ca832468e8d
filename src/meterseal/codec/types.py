"""Types of DLMS Data: the tags, the compact type descriptions, and the two values Python has no word for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, Literal, TypeAlias

MAX_DEPTH: Final = 32
"""Containers inside each other that decoder and encoder go into; one more is refused."""


class Tag(IntEnum):
    """Tag octet of a Data value (acse-xdlms 6; delta types: more 10). A scalar's tag is its type."""

    NULL = 0x00
    ARRAY = 0x01
    STRUCTURE = 0x02
    BOOLEAN = 0x03
    BIT_STRING = 0x04
    DOUBLE_LONG = 0x05
    DOUBLE_LONG_UNSIGNED = 0x06
    OCTET_STRING = 0x09
    VISIBLE_STRING = 0x0A
    UTF8_STRING = 0x0C
    BCD = 0x0D
    INTEGER = 0x0F
    LONG = 0x10
    UNSIGNED = 0x11
    LONG_UNSIGNED = 0x12
    COMPACT_ARRAY = 0x13
    LONG64 = 0x14
    LONG64_UNSIGNED = 0x15
    ENUM = 0x16
    FLOAT32 = 0x17
    FLOAT64 = 0x18
    DATE_TIME = 0x19
    DATE = 0x1A
    TIME = 0x1B
    DELTA_INTEGER = 0x1C
    DELTA_LONG = 0x1D
    DELTA_DOUBLE_LONG = 0x1E
    DELTA_UNSIGNED = 0x1F
    DELTA_LONG_UNSIGNED = 0x20
    DELTA_DOUBLE_LONG_UNSIGNED = 0x21
    DONT_CARE = 0xFF

    __hash__ = int.__hash__

    @property
    def word(self) -> str:
        """The standard's spelling: `long-unsigned`, `octet-string`, `null-data`."""
        return _WORDS.get(self) or self.name.lower().replace("_", "-")


_WORDS: Final = {Tag.NULL: "null-data", Tag.DONT_CARE: "dont-care"}

TAGS: Final[dict[int, Tag]] = {int(tag): tag for tag in Tag}
"""Each tag by its octet."""

CONTAINERS: Final = frozenset({Tag.ARRAY, Tag.STRUCTURE, Tag.COMPACT_ARRAY})
"""Tags that are no type by themselves: `Array`, `Structure` and so on say what is inside."""


@dataclass(frozen=True, slots=True)
class _Described:
    """A type with parts. Its hash is made once: types nest, and serve as keys."""

    _hash: int = field(init=False, repr=False, compare=False)

    def _remember(self, tag: Tag, *parts: object) -> None:
        object.__setattr__(self, "_hash", hash((tag, *parts)))


@dataclass(frozen=True, slots=True)
class Array(_Described):
    """Array (01) whose elements share one type.

    `count` is None where the number of elements comes from the value; inside a `CompactArray` the
    description fixes it (u16).
    """

    element: Type
    count: int | None = None

    def __post_init__(self) -> None:
        self._remember(Tag.ARRAY, self.element, -1 if self.count is None else self.count)

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Structure(_Described):
    """Structure (02): one type per field, in order."""

    fields: tuple[Type, ...]

    def __post_init__(self) -> None:
        self._remember(Tag.STRUCTURE, self.fields)

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class MixedArray(_Described):
    """Array (01) whose elements differ in type (rows with null cells, for one), or an empty one."""

    elements: tuple[Type, ...]

    def __post_init__(self) -> None:
        self._remember(Tag.ARRAY, self.elements)

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class CompactArray(_Described):
    """Compact-array (13): one type description for all elements, contents without tags."""

    element: Type

    def __post_init__(self) -> None:
        self._remember(Tag.COMPACT_ARRAY, self.element)

    def __hash__(self) -> int:
        return self._hash


Type: TypeAlias = Tag | Array | Structure | MixedArray | CompactArray


class DontCare(Enum):
    """Home of the one value of the type dont-care (FF)."""

    DONT_CARE = "dont-care"

    def __repr__(self) -> str:
        return "DONT_CARE"


DONT_CARE: Final[Literal[DontCare.DONT_CARE]] = DontCare.DONT_CARE
"""The value of a dont-care; null-data is None."""


class BitString:
    """Bits in order, the first one the most significant of the first octet. Immutable, hashable.

    `octets` holds them padded with zero bits; `len()` counts bits; `str()` is text of 0 and 1.
    Pad bits that were set on the wire are not kept.
    """

    __slots__ = ("_length", "octets")

    octets: bytes
    _length: int

    def __init__(self, octets: bytes, length: int) -> None:
        """Take the first `length` bits of `octets`, which must have just the octets for them (ValueError)."""
        if length < 0 or len(octets) != (length + 7) // 8:
            raise ValueError(f"{length} bits do not fill {len(octets)} octets")
        pad = -length % 8
        if pad and octets[-1] & ((1 << pad) - 1):
            octets = octets[:-1] + bytes((octets[-1] >> pad << pad,))
        object.__setattr__(self, "octets", bytes(octets))
        object.__setattr__(self, "_length", length)

    @classmethod
    def of(cls, text: str) -> BitString:
        """Make one from text of 0 and 1; ValueError for any other character."""
        if text.strip("01"):
            raise ValueError(f"not a text of 0 and 1: {text!r}")
        size = (len(text) + 7) // 8
        return cls(int(text.ljust(size * 8, "0") or "0", 2).to_bytes(size, "big"), len(text))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"BitString is immutable, {name} cannot be set")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> bool:
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError(f"bit {index} of {self._length}")
        return bool(self.octets[index >> 3] >> (7 - (index & 7)) & 1)

    def __iter__(self) -> Iterator[bool]:
        return (character == "1" for character in str(self))

    def __str__(self) -> str:
        if not self._length:
            return ""
        return f"{int.from_bytes(self.octets, 'big'):0{len(self.octets) * 8}b}"[: self._length]

    def __repr__(self) -> str:
        return f"BitString.of({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BitString):
            return NotImplemented
        return self._length == other._length and self.octets == other.octets

    def __hash__(self) -> int:
        return hash((self._length, self.octets))

    def __reduce__(self) -> tuple[type[BitString], tuple[bytes, int]]:
        return BitString, (self.octets, self._length)


NO_BITS: Final = BitString(b"", 0)
