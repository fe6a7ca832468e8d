"""Key pairs in a store: their certificates, and the one pair that a client has for all its devices.

Of a pair of the device's own only the certificate is here, bound to its place by its mark; the pair of a
client is a secret like others, and its certificate is held against it whenever it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from meterseal.authority.store import schema
from meterseal.authority.store.keeping import Keeping
from meterseal.authority.store.keystore import Act
from meterseal.authority.store.records import Stored, end_of, stored
from meterseal.errors import StateDamaged
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State, find

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate


class Pairs:
    """The key pairs of a store."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping, self._store = keeping, keeping.store

    def certify(self, number: int, certificate: Certificate, why: str = "") -> None:
        """Keep the certificate of a client's pair that is there already.  Raises UnknownKey."""
        record = self._keeping.find(number).record
        with self._store.acting(why) as act:
            act.connection.execute(
                update(schema.keys)
                .where(schema.keys.c.id == number)
                .values(certificate=certificate.der, expires=end_of(certificate))
            )
            self._note(act, record.slot, record.kcv, certificate)

    def _note(self, act: Act, slot: Slot, kcv: str, certificate: Certificate) -> None:
        serial = certificate.serial.hex().upper()
        act.note("certify", slot.device, role=slot.role, kind=slot.kind, kcv=kcv, serial=serial)

    def certificate(self, found: Stored) -> Certificate | None:
        """The certificate of a row.  Raises StateDamaged for one that is not what was stored there."""
        if found.certificate is None:
            return None
        from meterseal.crypto.certificates import Certificate  # loads the backend's X.509 part

        if found.record.kind.own and self._store.mark(found.certificate) != found.mark:
            raise StateDamaged(
                f"{found.record.slot.text} {found.record.kcv}: not the certificate of this pair"
            )
        return Certificate(found.certificate)

    def elsewhere(self, slot: Slot) -> Stored | None:
        """The newer pair that this client has at another device, where the two had the same one so far."""
        mine, theirs, newer = schema.keys.alias(), schema.keys.alias(), schema.keys.alias()
        query = (
            select(newer)
            .join(theirs, (newer.c.device == theirs.c.device) & (newer.c.role == theirs.c.role))
            .join(mine, mine.c.mark == theirs.c.mark)
            .where(
                mine.c.device == slot.device, mine.c.role == slot.role, mine.c.kind == slot.kind,
                mine.c.state == State.ACTIVE.value, theirs.c.kind == slot.kind, theirs.c.id != mine.c.id,
                newer.c.kind == slot.kind, newer.c.suite == mine.c.suite,
                newer.c.version > theirs.c.version,
                newer.c.state.in_((State.STAGED.value, State.ACTIVE.value)),
            )
            .order_by(newer.c.made.desc(), newer.c.id.desc())
            .limit(1)
        )  # fmt: skip
        with self._store.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else stored(row)

    def active(self, slot: Slot) -> Stored | None:
        """The pair of a slot that is in use, with its certificate."""
        record = find(self._keeping.slot(slot), State.ACTIVE)
        return None if record is None else self._keeping.find(record.id)
