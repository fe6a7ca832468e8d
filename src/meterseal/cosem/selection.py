"""Selective access: what of an attribute is asked for, built by the client and read by the meter.

Profile generic buffer (class 7 attribute 2): 1 by range, 2 by entry. Association object_list (class 15
attribute 2): 1 all, 2 by classes, 3 by objects, 4 one object. Fact sheets acse-xdlms 5.4, more 7,
classes 2. A parameter is built as (value, Type) for `codec.data.encode` and read from a decoded value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from meterseal.codec.types import Array, MixedArray, Structure, Tag, Type
from meterseal.cosem.obis import Obis
from meterseal.cosem.times import DateTime
from meterseal.errors import Malformed, Unsupported

_OBJECT: Final = Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING))
CAPTURE_OBJECT: Final = Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED))
_ENTRY: Final = Structure(
    (Tag.DOUBLE_LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED, Tag.LONG_UNSIGNED, Tag.LONG_UNSIGNED)
)


@dataclass(frozen=True, slots=True)
class CaptureObject:
    """One column of a profile: an attribute, whole (`data_index` 0) or its n-th element (n from 1)."""

    class_id: int
    obis: Obis
    attribute: int
    data_index: int = 0

    @classmethod
    def from_value(cls, value: object) -> CaptureObject:
        """Read the decoded structure(4); `Malformed` when it has another shape."""
        class_id, name, attribute, data_index = _structure(value, 4, "capture object")
        return cls(
            _unsigned(class_id, 16, "class_id"),
            _obis(name),
            _integer(attribute, "attribute_index"),
            _unsigned(data_index, 16, "data_index"),
        )

    def to_value(self) -> tuple[int, Obis, int, int]:
        """The structure, for the type `CAPTURE_OBJECT`."""
        return self.class_id, self.obis, self.attribute, self.data_index

    def __str__(self) -> str:
        suffix = f"[{self.data_index}]" if self.data_index else ""
        return f"{self.class_id}/{self.obis}:{self.attribute}{suffix}"


CLOCK_COLUMN: Final = CaptureObject(8, Obis("0.0.1.0.0.255"), 2)
"""What a range normally restricts: the time of the clock."""


@dataclass(frozen=True, slots=True)
class ByRange:
    """Rows whose `restricting` column lies in `start`..`end`, both included; `columns` empty means all.

    A bound is a `DateTime`, octets (12 of a date-time among them) or an integer, as the column is.
    """

    start: DateTime | bytes | int
    end: DateTime | bytes | int
    restricting: CaptureObject = CLOCK_COLUMN
    columns: tuple[CaptureObject, ...] = ()
    bound_type: Type = Tag.OCTET_STRING

    selector = 1

    def parameter(self) -> tuple[Any, Type]:
        """Value and type of the access parameter; the bounds go out as `bound_type`."""
        value = (
            self.restricting.to_value(),
            _bound(self.start),
            _bound(self.end),
            [column.to_value() for column in self.columns],
        )
        return value, Structure((CAPTURE_OBJECT, self.bound_type, self.bound_type, Array(CAPTURE_OBJECT)))

    @classmethod
    def from_value(cls, value: object) -> ByRange:
        """Read the decoded parameter; `Malformed` when it has another shape."""
        restricting, start, end, columns = _structure(value, 4, "range descriptor")
        for bound in (start, end):
            if type(bound) not in (bytes, int):
                raise Malformed("a bound of a range is an octet-string, date-time or integer")
        return cls(
            start,
            end,
            CaptureObject.from_value(restricting),
            tuple(CaptureObject.from_value(column) for column in _array(columns, "selected_values")),
            Tag.OCTET_STRING if type(start) is bytes else Tag.DOUBLE_LONG_UNSIGNED,
        )


@dataclass(frozen=True, slots=True)
class ByEntry:
    """Entries `first`..`last` in the buffer's order and columns `first_column`..`last_column`, from 1.

    0 as a last one means up to the end.
    """

    first: int = 1
    last: int = 0
    first_column: int = 1
    last_column: int = 0

    selector = 2

    def parameter(self) -> tuple[Any, Type]:
        """Value and type of the access parameter."""
        return (self.first, self.last, self.first_column, self.last_column), _ENTRY

    @classmethod
    def from_value(cls, value: object) -> ByEntry:
        """Read the decoded parameter; `Malformed` when it has another shape."""
        first, last, first_column, last_column = _structure(value, 4, "entry descriptor")
        return cls(
            _unsigned(first, 32, "from_entry"),
            _unsigned(last, 32, "to_entry"),
            _unsigned(first_column, 16, "from_selected_value"),
            _unsigned(last_column, 16, "to_selected_value"),
        )


@dataclass(frozen=True, slots=True)
class AllObjects:
    """The whole object_list."""

    selector = 1

    def parameter(self) -> tuple[Any, Type]:
        """null-data."""
        return None, Tag.NULL


@dataclass(frozen=True, slots=True)
class ByClasses:
    """Objects of these classes."""

    classes: tuple[int, ...]

    selector = 2

    def parameter(self) -> tuple[Any, Type]:
        """Array of long-unsigned."""
        return list(self.classes), Array(Tag.LONG_UNSIGNED)

    @classmethod
    def from_value(cls, value: object) -> ByClasses:
        """Read the decoded parameter; `Malformed` when it has another shape."""
        return cls(tuple(_unsigned(item, 16, "class_id") for item in _array(value, "class_list")))


@dataclass(frozen=True, slots=True)
class ByObjects:
    """These objects, each a class and a logical name."""

    objects: tuple[tuple[int, Obis], ...]

    selector = 3

    def parameter(self) -> tuple[Any, Type]:
        """Array of structure { class_id, logical_name }."""
        return list(self.objects), Array(_OBJECT)

    @classmethod
    def from_value(cls, value: object) -> ByObjects:
        """Read the decoded parameter; `Malformed` when it has another shape."""
        return cls(tuple(_object(item) for item in _array(value, "object_Id_list")))


@dataclass(frozen=True, slots=True)
class OneObject:
    """One object, by class and logical name."""

    class_id: int
    obis: Obis

    selector = 4

    def parameter(self) -> tuple[Any, Type]:
        """Structure { class_id, logical_name }."""
        return (self.class_id, self.obis), _OBJECT

    @classmethod
    def from_value(cls, value: object) -> OneObject:
        """Read the decoded parameter; `Malformed` when it has another shape."""
        return cls(*_object(value))


ProfileSelection: TypeAlias = ByRange | ByEntry
ObjectSelection: TypeAlias = AllObjects | ByClasses | ByObjects | OneObject
Selection: TypeAlias = ProfileSelection | ObjectSelection


NO_RESTRICTION, BY_DATE, BY_ENTRY = 0, 1, 2
"""restriction_type of an object definition (classes 6)."""


def restricted(restriction: object) -> ByRange | ByEntry | None:
    """The selection that a decoded restriction_element means; raises Malformed."""
    kind, value = _structure(restriction, 2, "restriction")
    if kind == NO_RESTRICTION:
        return None
    first, last = _structure(value, 2, "bounds of a restriction")
    if kind == BY_DATE and type(first) is bytes and type(last) is bytes:
        return ByRange(first, last)
    if kind == BY_ENTRY:
        return ByEntry(_unsigned(first, 32, "from"), _unsigned(last, 32, "to"))
    raise Malformed("a restriction is by date or by entry")


def restriction_of(selection: Selection | None) -> tuple[Any, Type]:
    """A selection as a restriction_element with its type; raises Unsupported for more than one can say."""
    match selection:
        case None:
            return (NO_RESTRICTION, None), Structure((Tag.ENUM, Tag.NULL))
        case ByRange(start, end, column, ()) if column == CLOCK_COLUMN:
            bounds = Structure((Tag.OCTET_STRING, Tag.OCTET_STRING))
            return (BY_DATE, (_bound(start), _bound(end))), Structure((Tag.ENUM, bounds))
        case ByEntry(first, last, 1, 0):
            bounds = Structure((Tag.DOUBLE_LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED))
            return (BY_ENTRY, (first, last)), Structure((Tag.ENUM, bounds))
    raise Unsupported("a restriction is by dates of the clock or by entries, all columns")


def parse_selection(class_id: int, attribute: int, selector: int, value: object) -> Selection:
    """Read a selective access of an attribute from its selector and decoded parameter.

    Raises `Unsupported` where the attribute has no such selector, `Malformed` (or another
    `DecodeError`) where the parameter has not the selector's shape.
    """
    match class_id, attribute, selector:
        case 7, 2, 1:
            return ByRange.from_value(value)
        case 7, 2, 2:
            return ByEntry.from_value(value)
        case 15, 2, 1:
            return AllObjects()
        case 15, 2, 2:
            return ByClasses.from_value(value)
        case 15, 2, 3:
            return ByObjects.from_value(value)
        case 15, 2, 4:
            return OneObject.from_value(value)
    raise Unsupported(f"attribute {attribute} of class {class_id} has no access selector {selector}")


def capture_objects_type(count: int) -> Type:
    """Type of a capture_objects attribute with `count` columns."""
    return Array(CAPTURE_OBJECT) if count else MixedArray(())


# --- shapes of decoded values -------------------------------------------------------------------


def _bound(bound: DateTime | bytes | int) -> bytes | int:
    return bound.to_octets() if isinstance(bound, DateTime) else bound


def _structure(value: object, size: int, what: str) -> tuple[Any, ...]:
    if isinstance(value, tuple) and len(value) == size:
        return value
    raise Malformed(f"{what} is no structure of {size}")


def _array(value: object, what: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise Malformed(f"{what} is no array")


def _unsigned(value: object, bits: int, what: str) -> int:
    # type(), not isinstance(): True is an int to Python and no number to the meter.
    if type(value) is int and 0 <= value < 1 << bits:
        return value
    raise Malformed(f"{what} is no unsigned number of {bits} bits")


def _integer(value: object, what: str) -> int:
    if type(value) is int and -128 <= value <= 127:
        return value
    raise Malformed(f"{what} is no integer of 8 bits")


def _obis(value: object) -> Obis:
    if isinstance(value, bytes):
        return Obis(value)
    raise Malformed("logical_name is no octet-string")


def _object(value: object) -> tuple[int, Obis]:
    class_id, name = _structure(value, 2, "object")
    return _unsigned(class_id, 16, "class_id"), _obis(name)
