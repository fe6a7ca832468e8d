"""DLMS Data: the public door to its codec: `decode`, `describe`, `encode`, and `Data` for message fields.

Values: array -> list, structure -> tuple, compact-array -> the list it means, octet-string -> bytes,
visible-string (latin-1) and utf8-string (octets that are no UTF-8 as surrogate escapes) -> str,
bit-string -> BitString, boolean -> bool, floats -> float, integers, bcd, enum and delta types -> int,
date-time, date and time -> their 12, 5 and 4 octets, null-data -> None, dont-care -> DONT_CARE.
A delta is the plain number sent; what it is added to is the profile's business.

Bounds: MAX_DEPTH containers inside each other, counts and lengths never above the octets that are
left, work at most four units for each octet (`Budget`).
"""

from __future__ import annotations

from typing import Any

from meterseal.codec.budget import Budget
from meterseal.codec.data_decode import read_value
from meterseal.codec.data_encode import write_value
from meterseal.codec.data_types import read_type
from meterseal.codec.types import (
    DONT_CARE,
    MAX_DEPTH,
    Array,
    BitString,
    CompactArray,
    DontCare,
    MixedArray,
    Structure,
    Tag,
    Type,
)
from meterseal.errors import Malformed

__all__ = [
    "DONT_CARE",
    "MAX_DEPTH",
    "Array",
    "BitString",
    "Budget",
    "CompactArray",
    "Data",
    "DontCare",
    "MixedArray",
    "Structure",
    "Tag",
    "Type",
    "decode",
    "decode_at",
    "decode_typed",
    "describe",
    "encode",
    "skip_at",
]


def decode(octets: bytes, budget: Budget | None = None) -> Any:
    """The value that `octets` are, all of them. Raises DecodeError (Malformed for octets left over).

    `budget` is made from the size of the input when left out; pass one to read the work done.
    """
    end = len(octets)
    value, pos = read_value(octets, 0, end, budget)
    if pos != end:
        raise Malformed(f"{end - pos} octets left over behind the value")
    return value


def decode_at(octets: bytes, pos: int, end: int) -> tuple[Any, int]:
    """Read one value at `pos`, tag included; return it and the position behind it. Raises DecodeError."""
    return read_value(octets, pos, end)


def skip_at(octets: bytes, pos: int, end: int) -> int:
    """Check one value as `decode_at` would; return the position behind it. Raises DecodeError."""
    return read_type(octets, pos, end, Budget(end - pos))[1]


def describe(octets: bytes, budget: Budget | None = None) -> Type:
    """The type of the value that `octets` are: with it `encode` gives canonical octets back."""
    end = len(octets)
    type_, pos = read_type(octets, 0, end, budget or Budget(end))
    if pos != end:
        raise Malformed(f"{end - pos} octets left over behind the value")
    return type_


def decode_typed(octets: bytes) -> tuple[Any, Type]:
    """Value and type of `octets`. Raises DecodeError."""
    return decode(octets), describe(octets)


encode = write_value


class Data:
    """A value as a message carries it: the octets received or to be sent, and what they mean.

    Equal when the octets are equal, whatever way they were made. Immutable.
    """

    __slots__ = ("raw", "value")

    raw: bytes
    value: Any

    def __init__(self, raw: bytes, value: Any) -> None:
        _set_raw(self, raw)
        _set_value(self, value)

    @classmethod
    def of(cls, value: Any, type: Type) -> Data:
        """Encode `value` as `type`. Raises Misuse."""
        return cls(write_value(value, type), value)

    @classmethod
    def decode(cls, octets: bytes) -> Data:
        """The whole of `octets` as one value. Raises DecodeError."""
        return cls(octets, decode(octets))

    @staticmethod
    def read(octets: bytes, pos: int, end: int) -> tuple[Data, int]:
        """Read one value at `pos`; return it and the position behind it. Raises DecodeError."""
        value, behind = read_value(octets, pos, end)
        return Data(octets[pos:behind], value), behind

    def octets(self) -> bytes:
        """The A-XDR octets: as received, or as encoded."""
        return self.raw

    @property
    def type(self) -> Type:
        """The type description, read from the octets at each call."""
        return describe(self.raw)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Data is immutable, {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Data) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Data({self.value!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Data, (self.raw, self.value)


_set_raw = Data.__dict__["raw"].__set__
_set_value = Data.__dict__["value"].__set__
