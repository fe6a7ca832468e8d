"""The journal: who did what to which key, when and why; append-only, each entry bound to all before it (G12).

An entry's hash is HMAC-SHA-256 under the journal key over its number, the hash before it, and its text.
Without the storage KEK nobody can make another one that fits.  The last hash stands in the store's row, and
in the witness outside, so that a cut end shows as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from meterseal.authority.store import schema
from meterseal.authority.store.witness import Seen
from meterseal.crypto.mac import LENGTH, MacKey
from meterseal.errors import StateDamaged

FIRST: Final = bytes(LENGTH)
"""What stands before the first entry."""

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: number, and what its text says."""

    number: int
    said: dict[str, Any]

    @property
    def moment(self) -> datetime:
        """When it was written."""
        return datetime.fromtimestamp(self.said["at"], UTC)


def text_of(said: dict[str, Any]) -> str:
    """The text of an entry: JSON, keys in order."""
    return json.dumps(said, separators=(",", ":"), sort_keys=True, ensure_ascii=True)


def link(key: MacKey, number: int, before: bytes, text: str) -> bytes:
    """The hash of an entry."""
    return key.digest(number.to_bytes(8, "big"), before, text.encode("ascii"))


class Chain:
    """The end of a journal, within a writing transaction."""

    def __init__(self, connection: Connection, key: MacKey, entry: int, head: bytes) -> None:
        self._connection, self._key = connection, key
        self.entry, self.head = entry, head
        self._rows: list[dict[str, Any]] = []

    def append(self, said: dict[str, Any], device: bytes | None = None) -> int:
        """Add an entry, which is written with the others of its transaction (`write`); its number."""
        text, number = text_of(said), self.entry + 1
        self.head = link(self._key, number, self.head, text)
        self.entry = number
        self._rows.append({"number": number, "device": device, "text": text, "hash": self.head})
        return number

    def write(self) -> None:
        """Write what was added: one statement, however many entries there are."""
        if self._rows:
            self._connection.execute(insert(schema.journal), self._rows)
            self._rows = []


def verify(
    connection: Connection,
    key: MacKey,
    entry: int,
    head: bytes,
    seen: Seen | None,
    look: Callable[[int, dict[str, Any], bytes], object] = lambda number, said, head: None,
) -> int:
    """Go through the whole journal; how many entries there are.

    `entry` and `head` are what the store's row says, `seen` what the witness does; `look` has every entry
    that is as it was written, with its hash.  Raises StateDamaged, which names the first entry that is not,
    or is missing.
    """
    before, number = FIRST, 0
    for found, text, held in _pages(connection):
        number += 1
        if found != number:
            raise StateDamaged(f"journal: entry {number} is missing")
        before = link(key, number, before, text)
        if before != held:
            raise StateDamaged(f"journal: entry {number} is not as it was written")
        if seen is not None and seen.entry == number and seen.head != before:
            raise StateDamaged(f"journal: entry {number} is another one than the witness has seen")
        look(number, _entry(number, text).said, before)
    if (number, before) != (entry, head):
        raise StateDamaged(f"journal: it ends at entry {number}, and {entry} had been written")
    if seen is not None and seen.entry > number:
        raise StateDamaged(f"journal: it ends at entry {number}, and the witness has seen {seen.entry}")
    return number


def entries(connection: Connection, device: bytes | None = None, last: int | None = None) -> Iterator[Entry]:
    """The entries in order: all, those about a device, or the last so many.  They are not verified here."""
    query = select(schema.journal.c.number, schema.journal.c.text)
    if device is not None:
        query = query.where(schema.journal.c.device == device)
    if last is not None:
        query = query.order_by(schema.journal.c.number.desc()).limit(last)
        rows = list(reversed(connection.execute(query).all()))
        yield from (_entry(*row) for row in rows)
        return
    yield from (_entry(*row) for row in connection.execute(query.order_by(schema.journal.c.number)))


def _entry(number: int, text: str) -> Entry:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("at"), int):
        raise StateDamaged(f"journal: entry {number} is not as it was written")
    return Entry(number, said)


def _pages(connection: Connection) -> Iterator[tuple[int, str, bytes]]:
    last = -(2**63)
    table = schema.journal.c
    while True:
        query = (
            select(table.number, table.text, table.hash)
            .where(table.number > last)
            .order_by(table.number)
            .limit(_PAGE)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        for row in rows:
            yield row.number, row.text, row.hash
        last = rows[-1].number
