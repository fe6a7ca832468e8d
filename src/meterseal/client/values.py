"""What a client gives back: values with their source, refusals with their cause; `as_json` as in design 5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, overload

from meterseal.apdu.common import ACTION_RESULT, DATA_ACCESS_RESULT
from meterseal.apdu.services import EventNotificationRequest
from meterseal.association.operations import SCOPE_VIOLATED
from meterseal.codec.data import decode, describe
from meterseal.codec.types import Tag, Type
from meterseal.cosem.classes import attribute_shape
from meterseal.cosem.obis import Obis
from meterseal.cosem.present import error_object, present, profile_object, value_object
from meterseal.cosem.profile import Column
from meterseal.cosem.shapes import Kind, kind_of
from meterseal.cosem.times import Date, DateTime, Time
from meterseal.cosem.units import scaled, unit_symbol
from meterseal.errors import MetersealError, Refused

_TIMES: Final[dict[Kind, tuple[int, type[DateTime] | type[Date] | type[Time]]]] = {
    Kind.DATE_TIME: (12, DateTime),
    Kind.DATE: (5, Date),
    Kind.TIME: (4, Time),
}
_TIME_OCTETS: Final = 12
_TIME_TAGS: Final = {int(Tag.DATE_TIME): Kind.DATE_TIME, int(Tag.DATE): Kind.DATE, int(Tag.TIME): Kind.TIME}


def python_value(value: Any, kind: Kind, tag: int = 0) -> Any:
    """A time as `DateTime`, `Date` or `Time`, a logical name as `Obis`, everything else as decoded."""
    if type(value) is not bytes:
        return value
    kind = _TIME_TAGS.get(tag, kind)
    if kind in _TIMES:
        size, reader = _TIMES[kind]
        return reader.from_octets(value) if len(value) == size else value
    return Obis(value) if kind is Kind.LOGICAL_NAME and len(value) == 6 else value


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that the meter tells of unasked: an attribute's value, and when, where the meter says it."""

    class_id: int
    obis: Obis
    attribute: int
    value: Any
    time: DateTime | None = None

    @classmethod
    def of(cls, message: EventNotificationRequest) -> Notice:
        """What an EventNotification says."""
        what, time = message.attribute, message.time
        moment = DateTime.from_octets(time) if time is not None and len(time) == _TIME_OCTETS else None
        value = message.value.value
        return cls(what.class_id, Obis(what.instance_id), what.attribute_id, value, moment)


@dataclass(frozen=True, slots=True)
class Value:
    """An attribute as read.

    `value`: of a register with known scaler the quantity, an exact `Decimal`; a time as `DateTime`, `Date` or
    `Time`; else the decoded value.  `unit` is the symbol of the quantity's unit, None where there is none or
    it was not read.  `raw` is the A-XDR Data as received.
    """

    class_id: int
    obis: Obis
    attribute: int
    value: Any
    unit: str | None
    raw: bytes = field(repr=False)
    scaler_unit: tuple[int, int] | None = field(default=None, repr=False)

    error: ClassVar[MetersealError | None] = None

    def as_json(self) -> dict[str, Any]:
        """`{"obis", "class", "attribute", "value", "unit", "raw"}`."""
        return value_object(
            self.class_id,
            self.obis,
            self.attribute,
            decode(self.raw),
            type_=describe(self.raw),
            raw=self.raw,
            scaler_unit=self.scaler_unit,
        )


def make_value(
    class_id: int, obis: Obis, attribute: int, raw: bytes, scaler_unit: tuple[int, int] | None = None
) -> Value:
    """The value of an attribute from its octets.  Raises DecodeError."""
    decoded = decode(raw)
    if scaler_unit is not None:
        scaler, unit = scaler_unit
        quantity = scaled(decoded, scaler)
        return Value(class_id, obis, attribute, quantity, unit_symbol(unit), raw, scaler_unit)
    kind = kind_of(attribute_shape(class_id, attribute))
    return Value(class_id, obis, attribute, python_value(decoded, kind, raw[0]), None, raw)


@dataclass(frozen=True, slots=True)
class Profile(Value, Sequence[tuple[Any, ...]]):
    """The buffer of a profile: a sequence of rows, complete, with times and quantities as in `Value`.

    `columns` describe the cells of each row; `cells` are the rows before scaling.
    """

    columns: tuple[Column, ...] = ()
    cells: list[tuple[Any, ...]] = field(default_factory=list, repr=False)
    type: Type | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.value)

    @overload
    def __getitem__(self, index: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Any, ...]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.value[index]

    def as_json(self) -> dict[str, Any]:
        """`{"obis", "class", "attribute", "value", "columns", "unit", "raw"}`, `value` a list of rows."""
        return profile_object(self.obis, self.cells, self.columns, type_=self.type, raw=self.raw)


def make_profile(
    obis: Obis, columns: tuple[Column, ...], cells: list[tuple[Any, ...]], raw: bytes, type_: Type | None
) -> Profile:
    """A profile from its completed rows."""
    readers = [_cell_reader(column) for column in columns]
    rows = [tuple(read(cell) for read, cell in zip(readers, row, strict=True)) for row in cells]
    return Profile(7, obis, 2, rows, None, raw, None, columns, cells, type_)


def _cell_reader(column: Column) -> Any:
    scaler, kind = column.scaler, column.kind
    if scaler is not None:
        return lambda cell: scaled(cell, scaler)
    if kind is Kind.PLAIN:
        return lambda cell: cell
    return lambda cell: python_value(cell, kind)


@dataclass(frozen=True, slots=True)
class NotRead:
    """An attribute that could not be read, and why."""

    class_id: int | None
    obis: Obis
    attribute: int
    error: MetersealError

    def as_json(self) -> dict[str, Any]:
        """`{"obis", "class", "attribute", "error": {"type", "message", ...}}`."""
        return error_object(self.class_id, self.obis, self.attribute, self.error)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method returned; `value` and `raw` None where it returned nothing."""

    class_id: int
    obis: Obis
    method: int
    value: Any
    raw: bytes | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """`{"obis", "class", "method", "value", "raw"}`."""
        described = None if self.raw is None else describe(self.raw)
        return {
            "obis": str(self.obis),
            "class": self.class_id,
            "method": self.method,
            "value": present(self.value, described),
            "raw": None if self.raw is None else self.raw.hex().upper(),
        }


_MORE_PROTECTION: Final = (
    ", it asks for more protection than this request had: where for a signature, name the member under "
    "`signed` of the role (it needs a signing_key), else raise its policy"
)


def refusal(what: str, code: int, *, method: bool = False) -> Refused:
    """The error for a result code of the meter."""
    names = ACTION_RESULT if method else DATA_ACCESS_RESULT
    reason = names.get(code, f"result {code}")
    hint = _MORE_PROTECTION if code == SCOPE_VIOLATED else ""
    return Refused(
        f"{what}: the meter answers {reason}{hint}",
        reason=reason,
        code=code,
        source="action-result" if method else "data-access-result",
    )
