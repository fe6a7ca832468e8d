"""Rotations in a store: which slot changes, to which key, in which phase; every step is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from meterseal.authority.store import schema
from meterseal.authority.store.keeping import Keeping
from meterseal.authority.store.keystore import Act
from meterseal.authority.store.leases import Lease, fence
from meterseal.authority.store.records import device, moment, slot_rows
from meterseal.errors import Misuse
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Record, State, Verb, find
from meterseal.keys.rotation import Heard, Phase, after, ended


@dataclass(frozen=True, slots=True)
class Rotation:
    """A slot on its way to the key with the number `key`."""

    id: int
    slot: Slot
    key: int
    phase: Phase
    tries: int
    begun: datetime
    changed: datetime
    note: str


class Rotating:
    """The rotations of a store."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping, self._store = keeping, keeping.store

    def open(self, title: bytes | None = None, limit: int | None = None) -> list[Rotation]:
        """Those that have not ended, of one device or of all, the oldest first."""
        table = schema.rotations
        query = select(table).where(table.c.open).order_by(table.c.id)
        if title is not None:
            query = query.where(table.c.device == title)
        with self._store.reading() as connection:
            return [_rotation(row) for row in connection.execute(query.limit(limit))]

    def begin(
        self, slot: Slot, secret: Callable[[], bytes], *, lease: Lease | None = None, why: str = ""
    ) -> Rotation:
        """The open rotation of a slot; else a new one, to the key that is staged, or to one that `secret`
        draws and that is staged in the same transaction."""
        table = schema.rotations
        with self._store.acting(why) as act:
            fence(act, lease)
            row = self._row(act, slot)
            if row is None:
                held = [one.record for one in slot_rows(act.connection, slot)]
                staged = find(held, State.STAGED)
                if staged is None:
                    suite = device(act.connection, slot.device).suite
                    staged = self._keeping.put(act, slot, secret(), Verb.STAGE, "generated", suite=suite)
                phase = Phase.STAGED if staged.sent is None else Phase.SENT
                act.connection.execute(
                    insert(table).values(
                        device=slot.device, role=slot.role, kind=slot.kind, key=staged.id, tries=0,
                        phase=phase.value, begun=act.now, changed=act.now, note="", open=True,
                    )
                )  # fmt: skip
                act.note("rotate", slot.device, role=slot.role, kind=slot.kind, kcv=staged.kcv)
                row = self._row(act, slot)
                if row is None:
                    raise Misuse("a rotation that was begun is not there")
            return _rotation(row)

    def anew(self, slot: Slot, secret: Callable[[], bytes]) -> Rotation:
        """A rotation to a key that was never sent, about to be sent; an open one of the slot ends unproved.

        Its key is kept: should the device have it after all, it is among those that are tried.
        """
        table = schema.rotations
        with self._store.acting() as act:
            row = self._row(act, slot)
            if row is not None:
                act.connection.execute(
                    update(table)
                    .where(table.c.id == row.id)
                    .values(open=False, phase=Phase.FAILED.value, changed=act.now, note="superseded")
                )
            suite = device(act.connection, slot.device).suite
            self._keeping.put(act, slot, secret(), Verb.STAGE, "generated", suite=suite)
        return self.hear(self.begin(slot, secret), Heard.SENDING)

    def hear(
        self,
        rotation: Rotation,
        heard: Heard,
        *,
        other: Record | None = None,
        also: Sequence[Callable[[Act], object]] = (),
        lease: Lease | None = None,
        note: str = "",
    ) -> Rotation:
        """Where a rotation stands once this was heard; what follows for the keys is in the same transaction.

        `other`: the earlier key that answered.  `also`: what else is to be kept with it.  Raises Misuse for
        what cannot be heard, StateLocked where another worker has gone on with it.
        """
        table = schema.rotations
        with self._store.acting() as act:
            fence(act, lease)
            row = self._row(act, rotation.slot)
            if row is None or row.id != rotation.id or row.phase != rotation.phase.value:
                raise Misuse(f"{rotation.slot.text}: another worker has gone on with this rotation")
            phase = after(rotation.phase, heard)
            for one in also:
                one(act)
            self._follow(act, rotation, heard, other)
            act.connection.execute(
                update(table)
                .where(table.c.id == rotation.id)
                .values(
                    phase=phase.value, changed=act.now, note=note[:400], open=not ended(phase),
                    tries=rotation.tries + (heard is Heard.SENDING),
                )
            )  # fmt: skip
            if phase is not rotation.phase:
                act.note(
                    "rotation", rotation.slot.device, role=rotation.slot.role, kind=rotation.slot.kind,
                    heard=heard.value, phase=phase.value, note=note[:200] or None,
                )  # fmt: skip
            found = act.connection.execute(select(table).where(table.c.id == rotation.id)).one()
            return _rotation(found)

    def _follow(self, act: Act, rotation: Rotation, heard: Heard, other: Record | None) -> None:
        match heard:
            case Heard.SENDING:
                self._keeping.sent(act, rotation.key, True)
            case Heard.NEW:
                self._keeping.change(act, Verb.ACTIVATE, rotation.key)
            case Heard.OLD:
                self._keeping.sent(act, rotation.key, False)
            case Heard.OTHER if other is not None:
                self._keeping.sent(act, rotation.key, False)
                self._keeping.found(act, other)
            case _:
                pass

    def _row(self, act: Act, slot: Slot) -> Row[Any] | None:
        t = schema.rotations.c
        query = select(schema.rotations).where(
            t.device == slot.device, t.role == slot.role, t.kind == slot.kind, t.open
        )
        return act.connection.execute(query).one_or_none()


def _rotation(row: Row[Any]) -> Rotation:
    slot = Slot(row.device, row.role, row.kind)
    phase, begun, changed = Phase(row.phase), moment(row.begun), moment(row.changed)
    return Rotation(row.id, slot, row.key, phase, row.tries, begun, changed, row.note)
