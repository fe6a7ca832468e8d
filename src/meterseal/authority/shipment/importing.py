"""A file of meters into the store: held against each other and against the store, then all or nothing.

What is wrong is told of every line at once, and no text repeats a key (catalogue F20, G07, G08).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from meterseal.authority.adoption import new_of, slots_of
from meterseal.authority.paired import named_pairs
from meterseal.authority.shipment.checks import look
from meterseal.authority.shipment.mapping import Mapping, Transport, key_octets
from meterseal.authority.shipment.rows import Row, rows
from meterseal.authority.store import Store
from meterseal.authority.store.records import Flag, holders, titles_there
from meterseal.credentials import Credentials
from meterseal.errors import ConfigurationError, MetersealError
from meterseal.keys.kinds import KINDS, Material, Slot
from meterseal.keys.lifecycle import Verb

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate

MOST_TOLD: Final = 100
"""Lines of a report; what is beyond is counted."""

_GROUP: Final = frozenset({"gbek"})
"""Kinds that meters of a group share by their nature."""


_Pair = tuple[int, Slot, bytes | None, "Certificate | None"]
"""A pair of a meter: suite, slot, private half, certificate."""


class Refusal(ConfigurationError):
    """A file of which nothing was taken; `report` has a line for each thing that is wrong."""

    def __init__(self, report: Iterable[str]) -> None:
        self.report = tuple(report)
        super().__init__("\n".join(self.told))

    @property
    def told(self) -> list[str]:
        """What people are told: lines, not too many."""
        more = len(self.report) - MOST_TOLD
        lines = ["nothing was taken in", *self.report[:MOST_TOLD]]
        return [*lines, f"and {more} more"] if more > 0 else lines


@dataclass(frozen=True, slots=True)
class Shipped:
    """A meter of a file: where it stands there, how it is spoken to and with which keys."""

    place: str
    credentials: Credentials
    serial: str | None = None
    site: str | None = None


def read_shipment(mapping: Mapping, octets: bytes, transport: Transport) -> list[Shipped]:
    """The meters of a maker's file.  Raises Refusal with all that is wrong in it."""
    found, wrong = [], []
    try:
        for row in rows(mapping, octets, transport.password):
            try:
                found.append(_shipped(mapping, row, transport))
            except MetersealError as error:
                wrong.append(f"{row.place}: {error}")
    except MetersealError as error:  # the file ends here
        wrong.append(str(error))
    if wrong or not found:
        raise Refusal(wrong or ["no meters in the file"])
    return found


def _shipped(mapping: Mapping, row: Row, transport: Transport) -> Shipped:
    roles = {name: dict(table) for name, table in mapping.roles.items()}
    for key in mapping.keys:
        text = row.cells.get(key.cell, "")
        if not text:
            raise ConfigurationError(f"{key.cell}: empty, or not there")
        octets = key_octets(key, text, transport)
        for role in key.roles:
            roles[role][key.kind] = octets
    meter = {**mapping.meter, "system_title": mapping.title_of(row.cells), "suite": mapping.suite}
    if url := row.cells.get(mapping.url or ""):
        meter["url"] = url
    made = Credentials.from_mapping({"meter": meter, "roles": roles})
    return Shipped(row.place, made, row.cells.get(mapping.serial or ""), row.cells.get(mapping.place or ""))


def take_in(store: Store, shipped: list[Shipped], origin: str, *, why: str = "", lab: bool = False) -> int:
    """Take meters into the store, their keys and pairs as the active ones; how many.

    `lab`: weak and default keys are marked and not refused.  Raises Refusal, and then nothing was taken.
    """
    wrong, new, pairs = [*_twins(store, shipped)], [], list[_Pair]()
    for one in shipped:
        flags, words = _looked(one)
        wrong += () if lab else words
        try:
            new.append(new_of(one.credentials, serial=one.serial, place=one.site, flags=flags))
            named = named_pairs(one.credentials)
            pairs += [] if named is None else [(new[-1].device.suite, *pair) for pair in named.slots()]
        except ConfigurationError as error:
            wrong.append(f"{one.place}: {error}")
    with store.core.acting(why) as act:
        wrong += _there(act.connection, store, shipped)
        if wrong:
            raise Refusal(wrong)  # and the transaction is none
        store.keys.put_new(act, new, origin)
        for suite, slot, secret, certificate in pairs:
            how: Any = {"suite": suite, "certificate": certificate}
            store.keys.put(act, slot, secret, Verb.ADOPT, origin, **how)
    return len(shipped)


def _looked(one: Shipped) -> tuple[dict[tuple[str, str], Flag], list[str]]:
    """What is wrong with the keys of a meter: by role and kind, and in words."""
    flags, wrong = {}, []
    for slot, octets in slots_of(one.credentials):
        flag, words = look(octets) if KINDS[slot.kind].material is Material.AES else (Flag(0), "")
        if flag:
            flags[slot.role, slot.kind] = flag
            wrong.append(f"{one.place}: {slot.kind} of {slot.role or 'all roles'}: {words}")
    return flags, wrong


def _twins(store: Store, shipped: list[Shipped]) -> Iterator[str]:
    """Titles that come twice, keys that serve two meters or two ends."""
    titles: dict[bytes, str] = {}
    keys: dict[bytes, tuple[bytes, str, str]] = {}
    for one in shipped:
        title = one.credentials.meter.system_title or b""
        if title in titles:
            yield f"{one.place}: title {title.hex().upper()} is that of {titles[title]} too"
        titles.setdefault(title, one.place)
        for slot, octets in slots_of(one.credentials):
            if not _single(slot):
                continue
            mark = store.core.mark(octets)
            device, kind, place = keys.setdefault(mark, (title, slot.kind, one.place))
            if device != title:
                yield f"{one.place}: its {slot.kind} is the {kind} of {place} too"
            elif kind != slot.kind:
                yield f"{one.place}: its {slot.kind} is its {kind} as well"


def _there(connection: Connection, store: Store, shipped: list[Shipped]) -> Iterator[str]:
    """Titles that the store has, and keys that another device of it has."""
    places = {one.credentials.meter.system_title or b"": one.place for one in shipped}
    there = titles_there(connection, places)
    for title, place in places.items():
        if title in there:
            yield f"{place}: device {title.hex().upper()} is in the store already"
    keys = {
        store.core.mark(octets): (slot, one.place)
        for one in shipped
        for slot, octets in slots_of(one.credentials)
        if _single(slot)
    }
    for mark, slot in holders(connection, keys):
        mine, place = keys[mark]
        if slot.device != mine.device:
            yield f"{place}: its {mine.kind} is a key of {slot.device.hex().upper()} in the store"


def _single(slot: Slot) -> bool:
    """True for a key that no two meters may share."""
    return KINDS[slot.kind].material is Material.AES and slot.kind not in _GROUP
