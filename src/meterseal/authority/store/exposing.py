"""Keys and certificates that others may have: who holds them, marked at all at once, exposed for how long.

One secret may stand in many slots: the GBEK of a group, a KEK of a batch, the pair of a client.  Whichever of
them is found out, all are marked in one transaction, and none of them protects anything from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from meterseal.authority.store import schema
from meterseal.authority.store.keeping import Keeping
from meterseal.authority.store.keystore import Act
from meterseal.authority.store.records import Stored, moment, seconds, stored
from meterseal.errors import CertificateRefused, Misuse
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import MOVES, Record, State, Verb

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate
    from meterseal.crypto.revocation import RevocationList

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Exposure:
    """A key that others may have: since when, until when its device had it (None: still has), and why."""

    key: int
    slot: Slot
    kcv: str
    since: datetime
    marked: datetime
    until: datetime | None
    why: str

    def seconds(self, now: datetime) -> int:
        """How long the device was, or is, exposed."""
        return max(0, int(((self.until or now) - self.since).total_seconds()))


class Exposing:
    """What is compromised in a store."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping, self._store = keeping, keeping.store

    # --- who holds it -----------------------------------------------------------------------------

    def same(self, number: int) -> list[Stored]:
        """All keys with the secret of this one, itself among them, that are not destroyed."""
        mark = self._keeping.find(number).mark
        return self._rows(schema.keys.c.mark == mark)

    def with_certificate(self, certificate: Certificate) -> list[Stored]:
        """All pairs with this certificate, or one that it has certified."""
        return [one for one in self._certified() if _rests_on(one, certificate)]

    def on_list(self, revoked: RevocationList, issuer: Certificate) -> dict[int, tuple[Stored, datetime]]:
        """Pairs whose certificate a revocation list names, by number, each with the moment that it says.

        Raises CertificateRefused for a list that `issuer` has not signed.
        """
        revoked.check_issued_by(issuer)
        found = {}
        for one in self._certified():
            certificate = _certificate(one)
            entry = revoked.find(certificate.serial) if certificate.issuer == issuer.subject else None
            if entry is not None:
                found[one.record.id] = one, entry.moment
        return found

    def _rows(self, *where: Any) -> list[Stored]:
        k = schema.keys
        query = select(k).where(*where, k.c.state != State.DESTROYED.value).order_by(k.c.device, k.c.id)
        with self._store.reading() as connection:
            return [stored(row) for row in connection.execute(query)]

    def _certified(self) -> list[Stored]:
        return self._rows(schema.keys.c.certificate.is_not(None))

    # --- marked -----------------------------------------------------------------------------------

    def mark(self, found: Iterable[Stored], why: str, since: datetime | None = None) -> list[Exposure]:
        """Mark keys as compromised, all or none, in one transaction; those that are already stay as they are.

        `since`: from when on others may have had them; None: for as long as they exist.  Raises Misuse
        without a reason, for a moment to come, or where there is nothing to mark.
        """
        with self._store.acting(why) as act:
            numbers = {record.id for record in self.mark_within(act, [(one, since) for one in found])}
            if not numbers:
                raise Misuse("there is nothing to mark: no key, or all are compromised already")
        return [one for one in self.report() if one.key in numbers]

    def mark_within(self, act: Act, found: Iterable[tuple[Stored, datetime | None]]) -> list[Record]:
        """As `mark`, within a transaction, each since a moment of its own; those that are marked now."""
        wanted = [(one.record, since) for one, since in found if (one.record.state, Verb.COMPROMISE) in MOVES]
        for record, since in wanted:
            if since is not None and since > self._store.moment:
                raise Misuse("compromised since a moment that is yet to come")
            self._keeping.change(act, Verb.COMPROMISE, record.id)
            self._expose(act, record, since)
        return [record for record, _ in wanted]

    def going_on(self, found: Iterable[Stored]) -> list[Stored]:
        """Those of these keys that their devices may have: exposed still, or once they are marked."""
        exposed = {one.key for one in self.report(open_only=True)}
        now = self._store.now
        return [
            one
            for one in found
            if (
                one.record.id in exposed
                if one.record.state is State.COMPROMISED
                else _ended(one.record, now) is None
            )
        ]

    def _expose(self, act: Act, record: Record, since: datetime | None) -> None:
        began = seconds(record.made if since is None else since)
        ended = _ended(record, act.now)
        act.connection.execute(
            insert(schema.exposures).values(
                key=record.id, device=record.slot.device, role=record.slot.role, kind=record.slot.kind,
                since=began, marked=act.now, until=ended, why=act.why,
            )
        )  # fmt: skip
        act.note(
            "exposed", record.slot.device, role=record.slot.role, kind=record.slot.kind, kcv=record.kcv,
            since=began, until=ended,
        )  # fmt: skip

    # --- how long ---------------------------------------------------------------------------------

    def report(self, title: bytes | None = None, open_only: bool = False) -> list[Exposure]:
        """Every exposure there was, of one device or of all, by device; or those that go on."""
        e, k = schema.exposures, schema.keys
        query = select(e, k.c.kcv).join(k, k.c.id == e.c.key).order_by(e.c.device, e.c.key)
        if title is not None:
            query = query.where(e.c.device == title)
        if open_only:
            query = query.where(e.c.until.is_(None))
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        return [
            Exposure(
                row.key, Slot(row.device, row.role, row.kind), row.kcv, moment(row.since), moment(row.marked),
                None if row.until is None else moment(row.until), row.why,
            )
            for row in rows
        ]  # fmt: skip

    def slots(self, titles: Sequence[bytes]) -> list[Slot]:
        """All slots of these devices that have a key."""
        found: dict[Slot, None] = {}
        k = schema.keys.c
        with self._store.reading() as connection:
            for at in range(0, len(titles), _PAGE):
                query = select(k.device, k.role, k.kind).where(
                    k.device.in_(titles[at : at + _PAGE]), k.state != State.DESTROYED.value
                )
                found |= {Slot(*row): None for row in connection.execute(query.distinct())}
        return list(found)


def _ended(record: Record, now: int) -> int | None:
    """When a device no longer had a key that is being marked; None: it has it, or may have it."""
    if record.state is State.DEACTIVATED and record.sent is None:
        return seconds(record.changed)
    return now if record.state is State.STAGED and record.sent is None else None


def _certificate(one: Stored) -> Certificate:
    from meterseal.crypto.certificates import Certificate

    return Certificate(one.certificate or b"")


def _rests_on(one: Stored, certificate: Certificate) -> bool:
    """Whether the certificate of a pair is this one, or was issued by it."""
    from meterseal.crypto.certificates import Purpose

    held = _certificate(one)
    if held == certificate:
        return True
    if certificate.purpose is not Purpose.AUTHORITY or held.issuer != certificate.subject:
        return False
    try:
        held.check_issued_by(certificate)
    except CertificateRefused:
        return False
    return True
