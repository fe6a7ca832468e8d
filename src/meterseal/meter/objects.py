"""COSEM objects as instances: attributes that are read and written, methods that do something.

A `CosemObject` is a row of functions per attribute and method of its interface class.  The class tables
(`cosem.classes`) say which there are and what a value looks like; rights are not known here: whoever calls
has checked them.  An operation that does not go through raises `Denied` with the result code of the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import GeneratorType
from typing import Any, Protocol, TypeAlias, cast

from meterseal.apdu.common import SelectiveAccess
from meterseal.association import Operation, Outcome, ServerAssociation, ServerProfile, Service
from meterseal.association.repeating import Again
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Array, CompactArray, MixedArray, Structure, Tag, Type
from meterseal.cosem.classes import InterfaceClass, Method, interface_class
from meterseal.cosem.obis import Obis
from meterseal.cosem.rights import ACCESS, READ, WRITE
from meterseal.cosem.selection import Selection, parse_selection, restricted
from meterseal.cosem.shapes import Group, Kind, Leaf, Many, Shape
from meterseal.errors import ConfigurationError, DecodeError, MetersealError, Unsupported
from meterseal.security.steps import Steps, through
from meterseal.security.third import Third

Key: TypeAlias = tuple[int, bytes]
"""Class and name of an object."""

Value: TypeAlias = tuple[Any, Type]
"""A value and its type, as `codec.data.encode` takes them."""

_outcome = tuple.__new__
TEMPORARY_FAILURE, READ_WRITE_DENIED, OBJECT_UNDEFINED = 2, 3, 4
OBJECT_UNAVAILABLE, TYPE_UNMATCHED, SCOPE_VIOLATED, OTHER_REASON = 0x0B, 0x0C, 0x0D, 0xFA


class Denied(Exception):
    """An operation that an object does not do: the result code for the wire, the cause for the journal."""

    def __init__(self, code: int, cause: str) -> None:
        super().__init__(cause)
        self.code = code


def listed(definition: tuple[Any, ...]) -> Operation:
    """The reading that an object definition of a list stands for: { class, name, attribute, index, ... }.

    What follows is a restriction, where the list has them (classes 6 and 8).  Raises Denied for one that
    means nothing.
    """
    class_id, name, index = definition[:3]
    try:
        chosen = restricted(definition[4]) if len(definition) > 4 else None
        selection = None if chosen is None else SelectiveAccess(chosen.selector, Data.of(*chosen.parameter()))
        return Operation(Service.GET, class_id, Obis(name), index, selection)
    except MetersealError as error:
        raise Denied(OTHER_REASON, f"an object of a list: {error}") from error


class Device(Protocol):
    """A logical device, as its objects may know it."""

    sap: int
    name: str

    @property
    def objects(self) -> Mapping[Key, CosemObject]:
        """What is in it."""


class Shown(Protocol):
    """The objects of an association, seen or not."""

    def held(self, class_id: int, instance: bytes) -> CosemObject | None:
        """An object of the logical device, None where there is none."""


class Associated(Protocol):
    """The association of an asker, as far as other objects may know it."""

    @property
    def role(self) -> str:
        """The role that has signed on."""

    @property
    def profile(self) -> ServerProfile:
        """The association's profile."""

    @property
    def view(self) -> Shown:
        """What there is to see in it."""

    def perform(self, asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        """Do an operation on the association as an object."""

    def read(self, asker: Asker, index: int) -> Outcome:
        """Read one of its attributes as a whole."""

    def again(self, asker: Asker, index: int) -> Again | None:
        """How that is done once more for the same asker; None where it takes its time."""


@dataclass(slots=True, eq=False)
class Asker:
    """Who asks: the association, the person behind the client, the protection of the request.

    `live` is the association's machine (None outside a connection). `after` collects what may happen
    only when the answer has gone out; each is told whether it has, or never will.  `ending` collects what
    has to wait until the association has ended.
    `own`: nobody asks, the meter does it by itself.  `third`: the third party for which the association's
    client has carried the request.
    """

    association: Associated
    user: int | None = None
    applied: int = 0
    live: ServerAssociation | None = None
    after: list[Callable[[bool], None]] = field(default_factory=list)
    ending: list[Callable[[], None]] = field(default_factory=list)
    own: bool = False
    third: Third | None = None


Reader: TypeAlias = Callable[[Asker], Value]
SlowReader: TypeAlias = Callable[[Asker], Steps[Value]]
Selector: TypeAlias = Callable[[Asker, Selection], "Value | Steps[Value]"]
Writer: TypeAlias = Callable[[Asker, Any], Steps[None] | None]
Caller: TypeAlias = Callable[[Asker, Any], Value | Steps[Value] | Steps[None] | None]
"""A method.  What takes curve work, or long, here and in the others, gives the steps to its result."""


class CosemObject:
    """One object. `readers`, `writers` and `callers` are keyed by attribute and method index.

    `selectors` maps an attribute to its function for selective access and the selectors it takes.
    `slow_readers` stand in place of readers where it takes curve work, and before them where it takes long.
    Raises ConfigurationError for a class or version that the tables do not have.
    """

    def __init__(self, class_id: int, obis: Obis, version: int = 0) -> None:
        table = interface_class(class_id, version)
        if table is None or table.version != version:
            raise ConfigurationError(f"class {class_id} version {version} is not known here")
        self.table: InterfaceClass = table
        self.obis = obis
        self.readers: dict[int, Reader] = {1: lambda asker: (obis, Tag.OCTET_STRING)}
        self.slow_readers: dict[int, SlowReader] = {}
        self.writers: dict[int, Writer] = {}
        self.callers: dict[int, Caller] = {}
        self.selectors: dict[int, tuple[Selector, tuple[int, ...]]] = {}

    @property
    def class_id(self) -> int:
        """The interface class."""
        return self.table.id

    @property
    def version(self) -> int:
        """The version of the interface class."""
        return self.table.version

    @property
    def key(self) -> tuple[int, Obis]:
        """How a logical device finds it."""
        return self.class_id, self.obis

    def attribute_offer(self, index: int) -> int:
        """READ and WRITE as far as this object can do them with an attribute: no right goes beyond."""
        readable = index in self.readers or index in self.slow_readers
        return (READ if readable else 0) | (WRITE if index in self.writers else 0)

    def method_offer(self, index: int) -> int:
        """ACCESS for a method that this object has."""
        return ACCESS if index in self.callers else 0

    def at(self, index: int, moment: Any) -> Value | None:
        """What a profile captures of an attribute at a `plant.Moment`; None where it changes with no time."""
        return None

    def perform(self, asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        """Read, write or call; where it takes curve work the steps to it.

        Raises Denied, and errors of the store.
        """
        return _SERVICES[operation.service](self, asker, operation)

    def read(self, asker: Asker, index: int) -> Outcome:
        """Read one attribute as a whole.  Raises as `perform`."""
        reader = self.readers.get(index)
        if reader is None:
            raise Denied(READ_WRITE_DENIED, f"attribute {index} cannot be read")
        value, type_ = reader(asker)
        return _outcome(Outcome, (0, codec.encode(value, type_)))

    def again(self, asker: Asker, index: int) -> Again | None:
        """How `read` is done once more for the same asker; None where it takes its time."""
        return None if index in self.slow_readers else partial(self._again, asker, index)

    def _again(self, asker: Asker, index: int) -> bytes | None:
        reader = self.readers.get(index)
        if reader is None:
            return None
        try:
            value, type_ = reader(asker)
            return codec.encode(value, type_)
        except (Denied, MetersealError):
            return None

    def _read(self, asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        index = operation.member
        if operation.selection is None:
            slow = self.slow_readers.get(index)
            return self.read(asker, index) if slow is None else _later(slow(asker))
        return _later(self._select(asker, index, operation.selection))

    def _select(self, asker: Asker, index: int, access: SelectiveAccess) -> Steps[Value]:
        select, known = self.selectors.get(index, (None, ()))
        if select is None or access.access_selector not in known:
            raise Denied(TYPE_UNMATCHED, f"attribute {index} has no access selector {access.access_selector}")
        try:
            selection = parse_selection(
                self.class_id, index, access.access_selector, access.access_parameters.value
            )
            return (yield from through(select(asker, selection)))
        except DecodeError as error:
            raise Denied(TYPE_UNMATCHED, str(error)) from error
        except Unsupported as error:
            raise Denied(SCOPE_VIOLATED, str(error)) from error

    def _write(self, asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        index, given = operation.member, operation.data
        writer, attribute = self.writers.get(index), self.table.attributes.get(index)
        if writer is None or attribute is None:
            raise Denied(READ_WRITE_DENIED, f"attribute {index} cannot be written")
        if operation.selection is not None or given is None:
            raise Denied(TYPE_UNMATCHED, f"attribute {index} is written as a whole")
        need(given, attribute.shape, f"attribute {index}")
        return _done(writer(asker, self.taken(index, given)))

    def taken(self, index: int, given: Data) -> Any:
        """The value written to an attribute; classes that leave the type open look at it here."""
        return given.value

    def _call(self, asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        index, given = operation.member, operation.data
        caller, method = self.callers.get(index), self.table.methods.get(index)
        if caller is None or method is None:
            raise Denied(READ_WRITE_DENIED, f"method {index} cannot be called")
        return _done(caller(asker, _parameter(method, given)))


def _done(result: Value | Steps[Value] | Steps[None] | None) -> Outcome | Steps[Outcome]:
    return _later(result) if isinstance(result, GeneratorType) else _returned(cast("Value | None", result))


def _returned(result: Value | None) -> Outcome:
    return Outcome(0, None if result is None else codec.encode(*result))


def _later(steps: Steps[Value] | Steps[None]) -> Steps[Outcome]:
    return _returned((yield from steps))


_SERVICES: dict[Service, Callable[[CosemObject, Asker, Operation], Outcome | Steps[Outcome]]] = {
    Service.GET: CosemObject._read,
    Service.SET: CosemObject._write,
    Service.ACTION: CosemObject._call,
}


def _parameter(method: Method, given: Data | None) -> Any:
    """The parameter of a method; the customary integer 0 may be left out."""
    if given is None:
        if method.notation == "i8":
            return 0
        raise Denied(TYPE_UNMATCHED, f"{method.name} needs a parameter")
    need(given, method.shape, method.name)
    return given.value


def need(given: Data, shape: Shape, what: str) -> None:
    """Raises Denied (type-unmatched) unless the value has the shape that the class table says."""
    if not fits(given.type, given.value, shape):
        raise Denied(TYPE_UNMATCHED, f"{what}: a value of another type than the class says")


_SIZES = {Kind.DATE_TIME: 12, Kind.DATE: 5, Kind.TIME: 4, Kind.LOGICAL_NAME: 6}


def fits(type_: Type, value: Any, shape: Shape) -> bool:
    """True when a value of this type has this shape.  As deep as the shape, which is ours."""
    if isinstance(shape, Leaf):
        if shape.tag is not None and type_ is not shape.tag:
            return False
        size = _SIZES.get(shape.kind)
        return size is None or len(value) == size
    if isinstance(shape, Many):
        return isinstance(value, list) and all(
            fits(element, item, shape.element)
            for element, item in zip(elements(type_, len(value)), value, strict=True)
        )
    return _fits_group(type_, value, shape)


def _fits_group(type_: Type, value: Any, shape: Group) -> bool:
    if not isinstance(type_, Structure) or len(type_.fields) != len(shape.fields):
        return False
    return all(fits(t, v, s) for t, v, s in zip(type_.fields, value, shape.fields, strict=True))


def elements(type_: Type, count: int) -> tuple[Type, ...]:
    """The types of the elements of an array, however it came."""
    if isinstance(type_, MixedArray):
        return type_.elements
    if isinstance(type_, Array | CompactArray):
        return (type_.element,) * count
    return ()
