"""The object_list of an Association: built by the meter, read and searched by the client.

Element (fact sheet classes 1): structure { class_id, version, logical_name, access_rights structure {
array of { attribute_id, access_mode, access_selectors null | array }, array of { method_id,
access_mode } } }. Rights inside this package are bits (`cosem.rights`); the version of the
Association says how access_mode writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meterseal.codec.types import Array, MixedArray, Structure, Tag, Type
from meterseal.cosem import rights
from meterseal.cosem.obis import Obis
from meterseal.cosem.selection import AllObjects, ByClasses, ByObjects, ObjectSelection
from meterseal.errors import Malformed

ASSOCIATION_LN: Final = 15
CURRENT_ASSOCIATION: Final = Obis("0.0.40.0.0.255")

_NO_SELECTORS: Final[dict[int, tuple[int, ...]]] = {}


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object of a view: rights as bits per attribute and method index, selectors per attribute."""

    class_id: int
    version: int
    obis: Obis
    attributes: Mapping[int, int] = field(default_factory=dict, hash=False)
    methods: Mapping[int, int] = field(default_factory=dict, hash=False)
    selectors: Mapping[int, tuple[int, ...]] = field(default_factory=dict, hash=False)

    def attribute_right(self, index: int) -> int:
        """Bits of an attribute; 0 for one that is not listed."""
        return self.attributes.get(index, 0)

    def method_right(self, index: int) -> int:
        """Bits of a method; 0 for one that is not listed."""
        return self.methods.get(index, 0)


# --- the meter's side ---------------------------------------------------------------------------


def encode_element(entry: ObjectEntry, association_version: int) -> tuple[Any, Type]:
    """One element as (value, Type) for an Association of version 0 to 3."""
    method_type = Tag.BOOLEAN if association_version == 0 else Tag.ENUM
    attributes, attribute_types = [], []
    for index, bits in entry.attributes.items():
        selectors = entry.selectors.get(index)
        attributes.append(
            (index, rights.attribute_mode(bits, association_version), list(selectors) if selectors else None)
        )
        attribute_types.append(
            Structure((Tag.INTEGER, Tag.ENUM, Array(Tag.INTEGER) if selectors else Tag.NULL))
        )
    methods = [
        (index, rights.method_mode(bits, association_version)) for index, bits in entry.methods.items()
    ]
    value = (entry.class_id, entry.version, entry.obis, (attributes, methods))
    type_ = Structure(
        (
            Tag.LONG_UNSIGNED,
            Tag.UNSIGNED,
            Tag.OCTET_STRING,
            Structure((MixedArray(tuple(attribute_types)), Array(Structure((Tag.INTEGER, method_type))))),
        )
    )
    return value, type_


def encode_object_list(entries: Iterable[ObjectEntry], association_version: int) -> tuple[list[Any], Type]:
    """The whole attribute as (value, Type) for `codec.data.encode`."""
    elements = [encode_element(entry, association_version) for entry in entries]
    return [value for value, _ in elements], MixedArray(tuple(type_ for _, type_ in elements))


def select_objects(entries: Iterable[ObjectEntry], selection: ObjectSelection) -> list[ObjectEntry]:
    """The entries that a selective access asks for, in the order of the list."""
    if isinstance(selection, AllObjects):
        return list(entries)
    if isinstance(selection, ByClasses):
        classes = frozenset(selection.classes)
        return [entry for entry in entries if entry.class_id in classes]
    asked = selection.objects if isinstance(selection, ByObjects) else ((selection.class_id, selection.obis),)
    wanted = frozenset(asked)
    return [entry for entry in entries if (entry.class_id, entry.obis) in wanted]


# --- the client's side --------------------------------------------------------------------------


class ObjectList:
    """What a client has learned of a meter: objects by logical name, in the order they came."""

    def __init__(self, entries: Iterable[ObjectEntry] = (), association_version: int | None = None) -> None:
        self.association_version = association_version
        self._entries: dict[tuple[Obis, int], ObjectEntry] = {}
        self._classes: dict[bytes, list[int]] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: ObjectEntry) -> None:
        if (entry.obis, entry.class_id) not in self._entries:
            self._classes.setdefault(entry.obis, []).append(entry.class_id)
        self._entries[entry.obis, entry.class_id] = entry

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[ObjectEntry]:
        return iter(self._entries.values())

    def find(self, obis: Obis, class_id: int | None = None) -> ObjectEntry | None:
        """The entry of an object; the first class listed when none is asked for."""
        if class_id is None:
            classes = self._classes.get(obis)
            if not classes:
                return None
            class_id = classes[0]
        return self._entries.get((obis, class_id))

    @classmethod
    def from_value(cls, value: object, association_version: int | None = None) -> ObjectList:
        """Read a decoded object_list.

        Without `association_version` the list's own entry of the Association tells it (the one of
        0.0.40.0.0.255 first), and where it has none, the modes: above 6 (of methods 2) they are version 3,
        else 1.
        Raises `Malformed` when an element has another shape or a mode its version does not have.
        """
        if not isinstance(value, list):
            raise Malformed("object_list is no array")
        raw = [_raw_element(element, at) for at, element in enumerate(value)]
        version = association_version
        if version is None:
            version = _association_version(raw)
        if not 0 <= version <= 3:
            raise Malformed(f"object_list of an Association of version {version}: 0 to 3 are known")
        return cls((_entry(element, version) for element in raw), version)


def decode_element(value: object, association_version: int) -> ObjectEntry:
    """One decoded element (parameter of add_object and remove_object).

    Malformed for another shape, and where the right on an attribute or method is said twice.
    """
    raw = _raw_element(value, 0)
    said: tuple[list[int], ...] = [one[0] for one in raw.attributes], [one[0] for one in raw.methods]
    if any(len(set(indices)) < len(indices) for indices in said):
        raise Malformed("object_list element: the right on an attribute or method is said twice")
    return _entry(raw, association_version)


@dataclass(frozen=True, slots=True)
class _Raw:
    """An element checked in shape, modes as they came."""

    class_id: int
    version: int
    obis: Obis
    attributes: list[tuple[int, int, tuple[int, ...]]]
    methods: list[tuple[int, int]]


def _raw_element(value: object, at: int) -> _Raw:
    match value:
        case tuple((int(class_id), int(version), bytes(name), tuple((list(attributes), list(methods))))) if (
            0 <= class_id <= 0xFFFF and 0 <= version <= 0xFF
        ):
            return _Raw(
                class_id,
                version,
                Obis(name),
                [_attribute_access(item, at) for item in attributes],
                [_method_access(item, at) for item in methods],
            )
    raise Malformed(f"object_list element {at} is no structure of class_id, version, name and access_rights")


def _attribute_access(item: object, at: int) -> tuple[int, int, tuple[int, ...]]:
    match item:
        case tuple((int(index), int(mode), None)):
            return index, int(mode), ()
        case tuple((int(index), int(mode), list(selectors))) if all(type(one) is int for one in selectors):
            return index, int(mode), tuple(selectors)
    raise Malformed(f"object_list element {at}: attribute_access item of another shape")


def _method_access(item: object, at: int) -> tuple[int, int]:
    match item:
        case tuple((int(index), int(mode))):
            return index, int(mode)
    raise Malformed(f"object_list element {at}: method_access item of another shape")


def _association_version(elements: list[_Raw]) -> int:
    own = [element for element in elements if element.class_id == ASSOCIATION_LN]
    for element in own:
        if element.obis == CURRENT_ASSOCIATION:
            return element.version
    if own:
        return own[0].version
    attributes = (mode for element in elements for _, mode, _ in element.attributes)
    methods = (mode for element in elements for _, mode in element.methods)
    return 3 if max(attributes, default=0) > 6 or max(methods, default=0) > 2 else 1


def _entry(raw: _Raw, version: int) -> ObjectEntry:
    return ObjectEntry(
        raw.class_id,
        raw.version,
        raw.obis,
        {index: rights.attribute_bits(mode, version) for index, mode, _ in raw.attributes},
        {index: rights.method_bits(mode, version) for index, mode in raw.methods},
        {index: selectors for index, _, selectors in raw.attributes if selectors} or _NO_SELECTORS,
    )
