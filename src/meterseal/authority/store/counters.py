"""Invocation counters in a store: blocks leased to any number of processes, never one value to two (C09-C13).

A `CounterStore` for clients.  A block is durable, and the witness has seen it, before a value of it is used.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, text, update

from meterseal.authority.store import schema
from meterseal.authority.store.keystore import KeyStore
from meterseal.errors import CounterExhausted, CounterUnknown, Misuse
from meterseal.keys.counters import BLOCK, LIMIT, REKEY_FROM

MOST: Final = 10_000
"""Values of a block at most: what a lost transaction can have given out."""

_FLOOR: Final = text(
    "INSERT INTO counters (name, lowest) VALUES (:name, :lowest) ON CONFLICT (name) DO UPDATE SET lowest = "
    "CASE WHEN counters.lowest IS NULL OR counters.lowest < :lowest THEN :lowest ELSE counters.lowest END"
)


class StoreCounters:
    """The counters of a store, for the processes and threads that share it."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._noted: dict[str, int] = {}
        self._guard = Lock()

    def reserve(self, key_id: str, count: int = BLOCK, start: int | None = None) -> tuple[int, int]:
        """As `state.CounterStore.reserve`.  From 2,000,000,000 on an event in the journal asks for a new key.

        Raises StateDamaged, and gives nothing out, when the store is older than its witness.
        """
        if not 1 <= count <= MOST:
            raise Misuse(f"a block of {count} counters: 1 to {MOST} are leased")
        if not 0 <= (start or 0) <= LIMIT:
            raise Misuse(f"{start} is not an invocation counter")
        table = schema.counters
        with self._store.acting() as act:
            row = _row(act.connection, key_id, lock=True)
            known = None if row is None else row.next
            if known is None and start is None:
                raise CounterUnknown(f"where the invocation counter of key {key_id} stands is not known")
            floor = 0 if known is not None else act.store.floor
            first = max(known or 0, start or 0, floor)
            if first >= LIMIT:
                raise CounterExhausted(
                    f"the invocation counter of key {key_id} is used up: only a new key helps"
                )
            end = min(first + count, LIMIT)
            if row is None:
                act.connection.execute(insert(table).values(name=key_id, next=end))
            else:
                act.connection.execute(update(table).where(table.c.name == key_id).values(next=end))
            if (known or 0) < REKEY_FROM <= end:
                act.note("counter-high", counter=key_id, next=end)
        return first, end

    def received(self, key_id: str) -> int | None:
        """As `state.CounterStore.received`."""
        with self._store.reading() as connection:
            row = _row(connection, key_id)
        with self._guard:
            known = [None if row is None else row.lowest, self._noted.get(key_id)]
        return max((value for value in known if value is not None), default=None)

    def note_received(self, key_id: str, lowest: int) -> None:
        """As `state.CounterStore.note_received`: in memory until `sync`."""
        if not 0 <= lowest <= LIMIT:
            raise Misuse(f"{lowest} is not an invocation counter")
        with self._guard:
            self._noted[key_id] = max(lowest, self._noted.get(key_id, 0))

    def sync(self) -> None:
        """As `state.CounterStore.sync`."""
        with self._guard:
            noted = dict(self._noted)
        if not noted:
            return
        with self._store.writing() as connection:
            for name, lowest in noted.items():
                connection.execute(_FLOOR, {"name": name, "lowest": lowest})
        with self._guard:
            for name, lowest in noted.items():
                if self._noted.get(name) == lowest:
                    del self._noted[name]


def take_restored(store: KeyStore, why: str) -> int:
    """Take an older copy into use: by how much every counter jumped.

    The store is one that was opened with `restored`.  For each change that the witness has seen and the copy
    does not know a whole block of the largest size may have been used.
    """
    with store.acting(why) as act:
        act.only("restored")
        behind = store.behind(act.store)
        jump = behind * MOST
        if jump:
            act.connection.execute(
                text(
                    "UPDATE counters SET next = CASE WHEN next + :jump < :limit THEN next + :jump "
                    "ELSE :limit END WHERE next IS NOT NULL"
                ),
                {"jump": jump, "limit": LIMIT},
            )
            floor = min(act.store.floor + jump, LIMIT)
            act.changes |= {"epoch": act.store.epoch + 1, "floor": floor, "tick": act.store.tick + behind + 1}
            act.note("restored", behind=behind, jump=jump)
    store.restoring = False
    return jump


def _row(connection: Connection, name: str, lock: bool = False) -> Row[Any] | None:
    query = select(schema.counters).where(schema.counters.c.name == name)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()
