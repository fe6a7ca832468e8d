"""Interface classes: attributes, methods, types; one table for meter, client, command line and docs.

The tables themselves are text in `class_tables` (fact sheets classes 2 to 10, more 6), one line per
member; shapes are compiled on first use. Attribute 1 of every class is logical_name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from meterseal.codec.types import Type
from meterseal.cosem import class_tables
from meterseal.cosem.shapes import ANY, Kind, Shape, kind_of, shape, wire_type


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: `static` ones are set up, the others change by themselves as the meter works."""

    index: int
    name: str
    notation: str
    static: bool

    @property
    def shape(self) -> Shape:
        """The compiled notation."""
        return shape(self.notation)

    @property
    def type(self) -> Type | None:
        """Type on the wire; None where the class leaves a part of it open."""
        return wire_type(self.shape)

    @property
    def kind(self) -> Kind:
        """How the value is shown when it is a scalar."""
        return kind_of(self.shape)


@dataclass(frozen=True, slots=True)
class Method:
    """One method: the notation of its parameter ("i8" for the customary integer 0) and of its answer."""

    index: int
    name: str
    notation: str
    answer: str | None = None

    @property
    def shape(self) -> Shape:
        """The compiled notation of the parameter."""
        return shape(self.notation)

    @property
    def type(self) -> Type | None:
        """Type of the parameter on the wire; None where the class leaves a part of it open."""
        return wire_type(self.shape)


@dataclass(frozen=True, slots=True)
class InterfaceClass:
    """A class at one version; `attributes` and `methods` are keyed by index, from 1."""

    id: int
    version: int
    name: str
    attributes: dict[int, Attribute] = field(hash=False)
    methods: dict[int, Method] = field(hash=False)

    def attribute(self, member: int | str) -> Attribute | None:
        """The attribute with this index or name, if the class has it."""
        if isinstance(member, int):
            return self.attributes.get(member)
        return next((known for known in self.attributes.values() if known.name == member), None)

    def method(self, member: int | str) -> Method | None:
        """The method with this index or name, if the class has it."""
        if isinstance(member, int):
            return self.methods.get(member)
        return next((known for known in self.methods.values() if known.name == member), None)


_MEMBER: Final = re.compile(r"\n\s*(?=(?:static|dynamic|method) )")


def _parsed(class_id: int, version: int, name: str, members: str) -> InterfaceClass:
    """Compile one entry of `class_tables.CLASSES`."""
    attributes = {1: Attribute(1, "logical_name", "ln", True)}
    methods: dict[int, Method] = {}
    for line in _MEMBER.split(members.strip()):
        role, index, member, rest = " ".join(line.split()).split(" ", 3)
        if role == "method":
            parameter, _, answer = rest.partition(" -> ")
            methods[int(index)] = Method(int(index), member, parameter.strip(), answer.strip() or None)
        else:
            attributes[int(index)] = Attribute(int(index), member, rest, role == "static")
    in_order = dict(sorted(attributes.items())), dict(sorted(methods.items()))
    return InterfaceClass(class_id, version, name, *in_order)


@cache
def _all() -> dict[tuple[int, int], InterfaceClass]:
    entries = (_parsed(*entry) for entry in class_tables.CLASSES)
    return {(entry.id, entry.version): entry for entry in entries}


def interface_classes() -> tuple[InterfaceClass, ...]:
    """Every known class and version, in order."""
    return tuple(entry for _, entry in sorted(_all().items()))


@cache
def interface_class(class_id: int, version: int | None = None) -> InterfaceClass | None:
    """The table of a class; without a version, or with one not known, the newest one known.

    Attributes keep their indices over the versions, so the newest table shows the others right.
    None for a class that is not in the tables.
    """
    if version is not None and (class_id, version) in _all():
        return _all()[class_id, version]
    versions = [known for known in _all() if known[0] == class_id]
    return _all()[max(versions)] if versions else None


def attribute_of(class_id: int, index: int, version: int | None = None) -> Attribute | None:
    """One attribute's entry, if the class is known and has it."""
    known = interface_class(class_id, version)
    return None if known is None else known.attributes.get(index)


def attribute_shape(class_id: int, index: int, version: int | None = None) -> Shape:
    """The shape of an attribute, `ANY` where the tables do not know it."""
    known = attribute_of(class_id, index, version)
    return ANY if known is None else known.shape


CLOCK: Final = 8
PROFILE: Final = 7
REGISTER: Final = 3
EXTENDED_REGISTER: Final = 4
DEMAND_REGISTER: Final = 5
ASSOCIATION_LN: Final = 15

SCALED: Final[dict[tuple[int, int], int]] = {
    (REGISTER, 2): 3,
    (EXTENDED_REGISTER, 2): 3,
    (DEMAND_REGISTER, 2): 4,
    (DEMAND_REGISTER, 3): 4,
}
"""(class, attribute) of a quantity -> the attribute that holds its scaler_unit."""
