"""Rows of a store as records, and back: what a slot holds, what a device is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntFlag
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection, Row, select

from meterseal.authority.store import schema
from meterseal.errors import ConfigurationError, StateDamaged
from meterseal.keys.kinds import KINDS, Slot
from meterseal.keys.lifecycle import Record, State

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate

_NEVER: Final = 9999
"""The year of a certificate without a planned end (RFC 5280)."""

_AT_ONCE: Final = 500
"""Values of one query."""

T = TypeVar("T")


class Flag(IntFlag):
    """What was noticed about a secret when it came."""

    WEAK = 1
    DEFAULT = 2
    SHARED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device: title (8 octets), suite, and how it is spoken to.

    `place` is what shares permits, a concentrator or base station.  `settings` are the tables `meter` and
    `roles` of a credentials file without title, URL, suite and keys.  A role has some more: `setup`, the name
    of its Security setup object where that is not 0.0.43.0.CLIENT.255; `carries`: it may change keys;
    `agreed`: kinds that go by key_agreement; `probe` and `broadcast`: what a proof reads and writes.  The
    meter has `anchors` and `behind`: certificates in hex, what is trusted and what stands between.
    """

    title: bytes
    suite: int = 0
    serial: str | None = None
    url: str | None = None
    place: str | None = None
    settings: dict[str, dict[str, Any]]
    serving: bool = True

    @property
    def roles(self) -> dict[str, dict[str, Any]]:
        """The roles it is spoken to in, by name."""
        return self.settings.get("roles", {})


@dataclass(frozen=True, slots=True)
class Stored:
    """A key as the store has it: the record, and the wrapped secret."""

    record: Record
    blob: bytes | None
    kek: str | None
    seal: bytes
    certificate: bytes | None
    flags: Flag
    entry: int
    mark: bytes
    expires: datetime | None = None
    """When the certificate ends."""


def seconds(moment: datetime) -> int:
    """A moment as the store has it."""
    return int(moment.timestamp())


def end_of(certificate: Certificate | None) -> int | None:
    """When a certificate ends; None for none, or one without a planned end."""
    if certificate is None or certificate.not_after.year == _NEVER:
        return None
    return seconds(certificate.not_after)


def moment(found: int) -> datetime:
    """What the store has as a moment."""
    return datetime.fromtimestamp(found, UTC)


def _maybe(found: int | None) -> datetime | None:
    return None if found is None else moment(found)


def stored(row: Row[Any]) -> Stored:
    """A row of `keys`.  Raises StateDamaged for words that are none."""
    try:
        state = State(row.state)
        KINDS[row.kind]
    except (ValueError, KeyError):
        raise StateDamaged(f"key {row.id} of the store has a state or kind that is none") from None
    record = Record(
        row.id, Slot(row.device, row.role, row.kind), row.version, state, row.suite, row.kcv, row.origin,
        moment(row.made), moment(row.changed), _maybe(row.proved), _maybe(row.sent),
    )  # fmt: skip
    return Stored(
        record, row.blob, row.kek, row.seal, row.certificate, Flag(row.flags), row.entry,
        row.mark, _maybe(row.expires),
    )  # fmt: skip


def slot_rows(connection: Connection, slot: Slot) -> list[Stored]:
    """All keys of a slot, oldest first."""
    k = schema.keys.c
    query = select(schema.keys).where(k.device == slot.device, k.role == slot.role, k.kind == slot.kind)
    return [stored(row) for row in connection.execute(query.order_by(k.version))]


def device_rows(connection: Connection, title: bytes) -> dict[Slot, list[Stored]]:
    """All keys of a device by slot."""
    k = schema.keys.c
    found: dict[Slot, list[Stored]] = {}
    for row in connection.execute(select(schema.keys).where(k.device == title).order_by(k.id)):
        one = stored(row)
        found.setdefault(one.record.slot, []).append(one)
    return found


def device(connection: Connection, title: bytes) -> Device:
    """A device by its title.  Raises ConfigurationError where it is not known."""
    d, p = schema.devices, schema.profiles
    row = connection.execute(
        select(d, p.c.body).join(p, d.c.profile == p.c.id, isouter=True).where(d.c.title == title)
    ).one_or_none()
    if row is None:
        raise ConfigurationError(f"no device {title.hex().upper()} in the store")
    return Device(
        title=row.title,
        suite=row.suite,
        serial=row.serial,
        url=row.url,
        place=row.place,
        settings={} if row.body is None else json.loads(row.body),
        serving=row.serving,
    )


def titles_there(connection: Connection, titles: Iterable[bytes]) -> set[bytes]:
    """Those of these titles that are in the store."""
    d = schema.devices.c.title
    queries = (select(d).where(d.in_(some)) for some in _parts(titles))
    return {row.title for query in queries for row in connection.execute(query)}


def holders(connection: Connection, marks: Iterable[bytes]) -> Iterator[tuple[bytes, Slot]]:
    """The slots that have a secret with one of these marks (`KeyStore.mark`), whatever its state."""
    k = schema.keys.c
    for some in _parts(marks):
        query = select(k.mark, k.device, k.role, k.kind).where(k.mark.in_(some)).order_by(k.id)
        for mark, *slot in connection.execute(query):
            yield mark, Slot(*slot)


def _parts(values: Iterable[T]) -> Iterator[Sequence[T]]:
    left = iter(values)
    while some := list(islice(left, _AT_ONCE)):
        yield some
