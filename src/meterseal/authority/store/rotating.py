"""Rotations in a store: which slot changes, to which key, in which phase; every step is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate


class Fresh(NamedTuple):
    """A new key: the secret, None for a pair of the device's own; its certificate, where it has one."""

    secret: bytes | None
    certificate: Certificate | None = None
    origin: str = "generated"


@dataclass(frozen=True, slots=True)
class Rotation:
    """A slot on its way to the key with the number `key`; None: the device has not told it yet."""

    id: int
    slot: Slot
    key: int | None
    phase: Phase
    tries: int
    begun: datetime
    changed: datetime
    note: str


_MAY_HAVE_IT: Final = {Heard.SENDING: True, Heard.OLD: False, Heard.OTHER: False}
"""Whether the device may have the key of a rotation after this was heard."""


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
        self, slot: Slot, fresh: Callable[[], Fresh | None], *, lease: Lease | None = None, why: str = ""
    ) -> Rotation:
        """The open rotation of a slot; else a new one, to the key that is staged, or to one that `fresh`
        draws and that is staged in the same transaction, or to one that comes from the device (None)."""
        table = schema.rotations
        with self._store.acting(why) as act:
            fence(act, lease)
            row = self._row(act, slot)
            if row is None:
                held = [one.record for one in slot_rows(act.connection, slot)]
                staged = find(held, State.STAGED)
                drawn = fresh() if staged is None else None
                if drawn is not None:
                    staged = self._stage(act, slot, drawn)
                phase = Phase.STAGED if staged is None or staged.sent is None else Phase.SENT
                act.connection.execute(
                    insert(table).values(
                        device=slot.device, role=slot.role, kind=slot.kind,
                        key=None if staged is None else staged.id, tries=0,
                        phase=phase.value, begun=act.now, changed=act.now, note="", open=True,
                    )
                )  # fmt: skip
                check = None if staged is None else staged.kcv
                act.note("rotate", slot.device, role=slot.role, kind=slot.kind, kcv=check)
                row = self._row(act, slot)
                if row is None:
                    raise Misuse("a rotation that was begun is not there")
            return _rotation(row)

    def _stage(self, act: Act, slot: Slot, fresh: Fresh) -> Record:
        suite, (secret, certificate, origin) = device(act.connection, slot.device).suite, fresh
        return self._keeping.put(act, slot, secret, Verb.STAGE, origin, suite=suite, certificate=certificate)

    def equip(self, rotation: Rotation, fresh: Fresh, *, lease: Lease | None = None) -> Rotation:
        """A rotation has its key, which came from the device: staged, and the device may have it."""
        table = schema.rotations
        with self._store.acting() as act:
            fence(act, lease)
            self._same(act, rotation)
            record = self._stage(act, rotation.slot, fresh)
            self._keeping.sent(act, record.id, True)
            where = table.c.id == rotation.id
            act.connection.execute(update(table).where(where).values(key=record.id, changed=act.now))
            return _rotation(act.connection.execute(select(table).where(where)).one())

    def _same(self, act: Act, rotation: Rotation) -> None:
        """Raises Misuse where another worker has gone on with it."""
        row = self._row(act, rotation.slot)
        if row is None or row.id != rotation.id or row.phase != rotation.phase.value:
            raise Misuse(f"{rotation.slot.text}: another worker has gone on with this rotation")

    def anew(self, slot: Slot, fresh: Callable[[], Fresh]) -> Rotation:
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
            self._stage(act, slot, fresh())
        return self.hear(self.begin(slot, fresh), Heard.SENDING)

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
            self._same(act, rotation)
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
        if other is not None and heard is Heard.OTHER:
            self._keeping.found(act, other)
        if rotation.key is None:
            return
        if heard in (Heard.NEW, Heard.BESIDE):
            self._keeping.change(act, Verb.ACTIVATE, rotation.key)
        elif heard in _MAY_HAVE_IT:
            self._keeping.sent(act, rotation.key, _MAY_HAVE_IT[heard])

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
