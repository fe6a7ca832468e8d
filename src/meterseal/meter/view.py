"""Views: which objects an association shows, and the rights on each attribute and method.

One table feeds the check of every request (`View.right`), the object_list that a client reads and the
`access` command.  A configuration writes it as grants, patterns of names with rights; a view never gives
what an object does not offer, whoever asks for it.  The person behind the client may be given less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from meterseal.association import Operation, Service
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import CURRENT_ASSOCIATION, ObjectEntry
from meterseal.cosem.rights import ACCESS, PROTECTION, READ, WRITE
from meterseal.errors import ConfigurationError
from meterseal.meter.objects import OBJECT_UNDEFINED, READ_WRITE_DENIED, CosemObject, Denied
from meterseal.security.changes import Changes

ALL: Final = 0
"""In a grant: every attribute, or every method, that the object offers."""

Objects = Mapping[tuple[int, bytes], CosemObject]


class Seen(Objects):
    """The objects of a logical device, and the association of who looks at them under its own name."""

    __slots__ = ("_current", "_device", "_name")

    def __init__(self, device: Objects, current: CosemObject) -> None:
        self._device, self._current, self._name = device, current, current.key

    def __getitem__(self, key: tuple[int, bytes]) -> CosemObject:
        return self._current if key == self._name else self._device[key]

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        yield from self._device
        yield self._name

    def __len__(self) -> int:
        return len(self._device) + 1


@dataclass(frozen=True, slots=True)
class Pattern:
    """Names of objects: six groups, each a number, `a-b` or `*` (0.0.43.1.*.255)."""

    text: str
    bounds: tuple[range, ...] = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Read one.  Raises ConfigurationError."""
        groups = text.split(".")
        if len(groups) != 6:
            raise ConfigurationError(f"{text!r} has not six groups")
        return cls(text, tuple(_bounds(group, text) for group in groups))

    def fits(self, obis: bytes) -> bool:
        """True when the name is one of these."""
        return all(group in bounds for group, bounds in zip(obis, self.bounds, strict=True))


def _bounds(group: str, text: str) -> range:
    if group == "*":
        return range(256)
    low, dash, high = group.partition("-")
    try:
        found = range(int(low), int(high if dash else low) + 1)
    except ValueError:
        found = range(0)
    if not found or found[0] < 0 or found[-1] > 255:
        raise ConfigurationError(f"{text!r}: a group is a number to 255, a range like 1-4, or *")
    return found


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights (class 15 version 3 bits) on the objects that fit; a later grant goes over an earlier one.

    `attributes` and `methods` are keyed by index, `ALL` for every one.  `hide` takes objects away.  With
    `third_parties` it holds only for what the role carries for these.
    """

    objects: tuple[Pattern, ...]
    class_id: int | None = None
    attributes: Mapping[int, int] = field(default_factory=dict)
    methods: Mapping[int, int] = field(default_factory=dict)
    hide: bool = False
    third_parties: frozenset[str] = frozenset()

    @property
    def bits(self) -> tuple[int, ...]:
        """All rights in it."""
        return *self.attributes.values(), *self.methods.values()

    def fits(self, held: CosemObject) -> bool:
        """True when the grant is about this object."""
        named = self.class_id is None or held.class_id == self.class_id
        return named and any(pattern.fits(held.obis) for pattern in self.objects)


@dataclass(frozen=True, slots=True)
class User:
    """A person behind a client.  `objects` None: all that the role sees; the bits: what is left of rights."""

    name: str
    objects: tuple[Pattern, ...] | None = None
    attributes: int = READ | WRITE
    methods: int = ACCESS

    def sees(self, obis: bytes) -> bool:
        """True for an object in this person's view; the own association always is."""
        if self.objects is None or obis == CURRENT_ASSOCIATION:
            return True
        return any(pattern.fits(obis) for pattern in self.objects)


def entries_of(objects: Objects, grants: Iterable[Grant]) -> dict[tuple[int, bytes], ObjectEntry]:
    """What grants show of objects, by class and name."""
    given = tuple(grants)
    made = (entry_of(held, given) for held in objects.values()) if given else ()
    return {(entry.class_id, entry.obis): entry for entry in made if entry is not None}


def entry_of(held: CosemObject, grants: Iterable[Grant]) -> ObjectEntry | None:
    """What grants make of an object; None when no grant shows it."""
    attributes: dict[int, int] = {}
    methods: dict[int, int] = {}
    shown = False
    for grant in grants:
        if not grant.fits(held):
            continue
        shown = not grant.hide
        attributes |= _spread(grant.attributes, held.table.attributes)
        methods |= _spread(grant.methods, held.table.methods)
    if not shown:
        return None
    return offered(held, ObjectEntry(held.class_id, held.version, held.obis, attributes, methods))


def _spread(given: Mapping[int, int], indices: Iterable[int]) -> dict[int, int]:
    rights = dict.fromkeys(indices, given[ALL]) if ALL in given else {}
    return rights | {index: bits for index, bits in given.items() if index != ALL}


def offered(held: CosemObject, entry: ObjectEntry) -> ObjectEntry:
    """The entry with every member of the class, each right cut to what the object offers."""
    attributes = {
        index: _cut(entry.attribute_right(index), held.attribute_offer(index))
        for index in held.table.attributes
    }
    methods = {
        index: _cut(entry.method_right(index), held.method_offer(index)) for index in held.table.methods
    }
    selectors = {index: known for index, (_, known) in held.selectors.items()}
    return replace(entry, attributes=attributes, methods=methods, selectors=selectors)


def _cut(bits: int, offer: int) -> int:
    """A right as far as it goes; without any left, the protection it asks for means nothing."""
    left = bits & offer
    return left | bits & PROTECTION if left else 0


class View:
    """The table of one association: an entry per object, and the persons it is narrowed for.

    The `View` protocol of `association`: `right` is asked for every operation of every service form.
    """

    def __init__(self, users: dict[int, User]) -> None:
        self.objects: Objects = {}
        """What there is to see, shown or not."""
        self._table: Mapping[tuple[int, bytes], ObjectEntry] = {}
        self._later: Callable[[], None] | None = None
        self.users = users
        self.changes = Changes()
        """Told when something else is seen, or by others."""

    @property
    def _entries(self) -> Mapping[tuple[int, bytes], ObjectEntry]:
        if self._later is not None:
            later, self._later = self._later, None
            later()
        return self._table

    def right(self, operation: Operation, user: int | None) -> int | None:
        """Right bits of the member; None when the object is not in the view (of this person)."""
        table = self._table if self._later is None else self._entries
        entry = table.get((operation.class_id, operation.instance))
        if entry is None:
            return None
        method = operation.service is Service.ACTION
        rights = entry.methods if method else entry.attributes
        bits: int = rights.get(operation.member, 0)
        if user is None:
            return bits
        person = self.users.get(user)
        if person is None or not person.sees(operation.instance):
            # Without an entry: this person was taken off the list with the association still open.
            return None
        return _cut(bits, person.methods if method else person.attributes)

    def open(self, objects: Objects, entries: Iterable[ObjectEntry]) -> None:
        """Show these entries of these objects."""
        self.objects = objects
        self.take(list(entries))

    def show(self, objects: Objects, entries: Mapping[tuple[int, bytes], ObjectEntry]) -> None:
        """Show entries that other views may show as well."""
        self.objects, self._table = objects, entries
        self.changes.note()

    def recall(self, objects: Objects, record: Iterable[list[Any]]) -> None:
        """Show kept entries; they are looked at when somebody asks for the first time."""
        self.objects = objects
        self._later = lambda: self.take(from_record(record, objects))
        self.changes.note()

    def entries(self, user: int | None = None) -> list[ObjectEntry]:
        """All entries, as this person sees them."""
        if user is None:
            return list(self._entries.values())
        person = self.users.get(user)
        if person is None:
            return []
        return [
            replace(
                entry,
                attributes={i: _cut(bits, person.attributes) for i, bits in entry.attributes.items()},
                methods={i: _cut(bits, person.methods) for i, bits in entry.methods.items()},
            )
            for entry in self._entries.values()
            if person.sees(entry.obis)
        ]

    def held(self, class_id: int, obis: bytes) -> CosemObject | None:
        """The object behind an entry, whether the view shows it or not."""
        return self.objects.get((class_id, obis))

    def with_entry(self, asked: ObjectEntry) -> list[ObjectEntry]:
        """The entries as they are after add_object; an entry of the same object is replaced.

        Raises Denied for an object that the logical device does not have, and for a right that it
        does not offer.
        """
        held = self.held(asked.class_id, asked.obis)
        if held is None or held.version != asked.version:
            raise Denied(OBJECT_UNDEFINED, f"{asked.class_id}/{asked.obis} is not in the logical device")
        entry = offered(held, asked)
        for rights, cut in ((asked.attributes, entry.attributes), (asked.methods, entry.methods)):
            if any(bits != cut.get(index, 0) for index, bits in rights.items()):
                raise Denied(READ_WRITE_DENIED, f"{asked.obis} does not offer all that add_object asks for")
        return list(({**self._entries, (entry.class_id, entry.obis): entry}).values())

    def without_entry(self, asked: ObjectEntry) -> list[ObjectEntry]:
        """The entries as they are after remove_object.  Raises Denied; the own association stays."""
        key = asked.class_id, asked.obis
        if key not in self._entries:
            raise Denied(OBJECT_UNDEFINED, f"{asked.class_id}/{asked.obis} is not in the view")
        if asked.obis == CURRENT_ASSOCIATION:
            raise Denied(READ_WRITE_DENIED, "every association shows itself")
        return [entry for held, entry in self._entries.items() if held != key]

    def take(self, entries: Sequence[ObjectEntry]) -> None:
        """Use these entries from now on."""
        self._later = None
        self._table = {(entry.class_id, entry.obis): entry for entry in entries}
        self.changes.note()

    def take_users(self, users: Mapping[int, User]) -> None:
        """These persons from now on, also in the views that are narrowed for the same ones."""
        self.users.clear()
        self.users.update(users)
        self.changes.note()


def to_record(entries: Iterable[ObjectEntry]) -> list[list[object]]:
    """Entries as the store keeps them."""
    return [
        [e.class_id, e.version, str(e.obis), list(e.attributes.items()), list(e.methods.items())]
        for e in entries
    ]


def from_record(record: Iterable[list[Any]], objects: Objects) -> list[ObjectEntry]:
    """Kept entries, as far as their objects still exist, again cut to what these offer."""
    found = []
    for class_id, version, name, attributes, methods in record:
        obis = Obis(name)
        held = objects.get((class_id, obis))
        if held is not None and held.version == version:
            entry = ObjectEntry(held.class_id, held.version, obis, dict(attributes), dict(methods))
            found.append(offered(held, entry))
    return found
