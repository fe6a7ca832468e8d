"""The store of keys: devices, their slots, and what becomes of the keys in them, over the years.

Every change is one transaction with its entry in the journal, durable before anything of it is used.  Any
number of processes may have the same store open; what two want to change at once one of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from meterseal.authority.store import journal, migrations, schema
from meterseal.authority.store.database import Database
from meterseal.authority.store.hsm import handed_on
from meterseal.authority.store.records import seconds
from meterseal.authority.store.roll import Audit, Session, everybody
from meterseal.authority.store.vault import Vault, check_kek
from meterseal.authority.store.witness import Seen, Witness
from meterseal.crypto import random_octets
from meterseal.crypto.mac import MacKey
from meterseal.errors import ConfigurationError, Forged, NotAllowed, StateDamaged
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Verb
from meterseal.keys.people import allows

Clock = Callable[[], datetime]

RESTORED = (
    "an older copy was put in its place.  `keys restored` takes it into use: every counter jumps over what "
    "may have been used since; then `keys recover` asks meters which keys they have"
)


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Act:
    """A writing transaction: everything in it happens, or nothing does."""

    connection: Connection
    now: int
    by: str
    why: str
    chain: journal.Chain
    store: Row[Any]
    session: Session | None = None
    """Who has proved to act; None: nobody is on the roll of the store."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Further columns of the store's row."""
    after: list[Callable[[], object]] = field(default_factory=list)
    """What is told once all is durable."""

    def note(self, verb: str, device: bytes | None = None, **said: Any) -> int:
        """Write an entry of the journal; its number."""
        told = {key: value for key, value in said.items() if value is not None}
        if device is not None:
            told["device"] = device.hex().upper()
        if self.why:
            told["why"] = self.why
        return self.chain.append({**told, "at": self.now, "by": self.by, "verb": verb}, device)

    def permit(self, verb: Verb, slot: Slot, number: int | None = None) -> None:
        """Raises NotAllowed where who has signed on may not do this to the key `number` (None: a new one)."""
        found = self.session
        if found is not None and not (allows(found.deed, verb, slot.kind) and found.covers(slot, number)):
            raise NotAllowed(f"{slot.text}: {verb.value} is no part of what {self.by} signed on for")

    def only(self, *deeds: str) -> None:
        """Raises NotAllowed where who has signed on did so for something else."""
        if self.session is not None and self.session.deed not in deeds:
            raise NotAllowed(f"this is no part of what {self.by} signed on for, {self.session.deed}")


class KeyStore:
    """A store that is open.  `by` says in the journal who is acting.

    `witness` is a file outside the store (witness.py); None: older copies are not recognised.
    """

    def __init__(
        self,
        where: str,
        vault: Vault,
        *,
        by: str = "",
        witness: Path | None = None,
        clock: Clock = utc_now,
        restored: bool = False,
    ) -> None:
        """`restored`: an older copy is taken into use, see `restored.py`.

        Raises ConfigurationError: no store, another storage KEK; Unsupported: another version;
        StateDamaged, StateUnavailable."""
        self._database = Database(where)
        self.restoring = restored
        with self._database.closed_unless_through():
            self._open(vault, by, witness, clock)

    @classmethod
    def create(
        cls,
        where: str,
        vault: Vault,
        *,
        by: str = "",
        witness: Path | None = None,
        clock: Clock = utc_now,
    ) -> KeyStore:
        """A new store.  Raises ConfigurationError where there is one, StateUnavailable."""
        database = Database(where, new=True)
        made = cls.__new__(cls)
        made._database, made.restoring = database, False
        with database.closed_unless_through():
            with database.write() as connection:
                if migrations.version(connection) is not None:
                    raise ConfigurationError(f"there is a store in {database.name} already")
                migrations.upgrade(connection)
                bare = {name: MacKey.fresh() for name in ("journal_key", "seal_key", "mark_key")}
                said = {"at": seconds(clock()), "by": by, "verb": "create"}
                chain = journal.Chain(connection, MacKey(bare["journal_key"]), 0, journal.FIRST)
                chain.append(said)
                chain.write()
                connection.execute(
                    insert(schema.stores).values(
                        id=1,
                        name=random_octets(16).hex().upper(),
                        kek=vault.kcv,
                        tick=1,
                        epoch=1,
                        floor=0,
                        entry=chain.entry,
                        head=chain.head,
                        people=0,
                        **{name: vault.wrap(octets) for name, octets in bare.items()},
                    )
                )
            made._open(vault, by, witness, clock)
        return made

    def _open(self, vault: Vault, by: str, witness: Path | None, clock: Clock) -> None:
        self.by, self._clock = by, clock
        self._session: Session | None = None
        self._begin: Callable[[Act], object] | None = None
        self._witness = Witness(witness)
        seen = self._witness.seen()  # first: it is never ahead of what is read after it
        with self._database.read() as connection:
            migrations.check(connection, self._database.name)
            row = self._row(connection)
        self.name: str = row.name
        self.people: int = row.people
        """How many people are on the roll, when that was last looked at."""
        self._take(vault, row)
        self._check_age(row, seen)
        self._seen(row.tick, row.entry, row.head)

    def _take(self, vault: Vault, row: Row[Any]) -> None:
        """The storage KEK, with the one before where not everything is wrapped anew; the store's own keys."""
        self._journal_key = MacKey(check_kek(vault, row.kek, row.journal_key))
        try:
            self._seal_key = MacKey(vault.unwrap(row.seal_key))
            self._mark_key = MacKey(vault.unwrap(row.mark_key))
            self.vaults = {vault.kcv: vault}
            if row.old_kek is not None:
                self.vaults[row.old_kcv] = handed_on(vault.unwrap(row.old_kek))
        except Forged:
            raise StateDamaged("the store's own keys do not unwrap under its storage KEK") from None
        self.vault = vault

    # --- transactions -----------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state."""
        with self._database.read() as connection:
            yield connection

    @contextmanager
    def acting(self, why: str = "") -> Iterator[Act]:
        """A transaction that changes something; durable, and seen by the witness, when the block has ended.

        Raises StateLocked, StateUnavailable, StateDamaged (also for a copy that is older than its witness),
        ConfigurationError when the storage KEK was changed meanwhile.
        """
        with self._database.write() as connection:
            row = self._row(connection, lock=True)
            if row.kek != self.vault.kcv:
                raise ConfigurationError(f"the storage KEK was changed to {row.kek}: open the store again")
            self._check_age(row, self._witness.seen())
            chain = journal.Chain(connection, self._journal_key, row.entry, row.head)
            self._admit(row)
            act = Act(connection, seconds(self._clock()), self.by, why, chain, row, self._session)
            if self._begin is not None:
                self._begin(act)
                act.after.append(self._begun)
            yield act
            chain.write()
            changes = {"tick": row.tick + 1, "entry": chain.entry, "head": chain.head, **act.changes}
            connection.execute(update(schema.stores).values(changes))
        self._seen(changes["tick"], chain.entry, chain.head)
        for tell in act.after:
            tell()

    def take_session(self, session: Session, begin: Callable[[Act], object]) -> None:
        """What is done from now on is done by somebody who has proved who it is.

        `begin`: done first in the first transaction, and with it kept or not."""
        self._session, self._begin, self.by = session, begin, session.person.name

    def _begun(self) -> None:
        self._begin = None

    def _admit(self, row: Row[Any]) -> None:
        """Raises NotAllowed where there is a roll, and nobody has signed on."""
        self.people = row.people
        if self.people and self._session is None:
            raise NotAllowed("this store has people on its roll: say who you are (`keys --as KEY`)")

    def check_reach(self, slot: Slot) -> None:
        """Raises NotAllowed where a secret is not to be opened by, or for, who has signed on."""
        if self.people and (self._session is None or not self._session.reaches(slot)):
            who = (
                "nobody has signed on"
                if self._session is None
                else f"not for {self._session.deed} by {self.by}"
            )
            raise NotAllowed(f"{slot.text}: the key is not opened: {who}")

    def end(self, connection: Connection) -> tuple[int, bytes]:
        """The last entry of the journal, and its hash."""
        row = self._row(connection)
        return row.entry, row.head

    def epoch(self, connection: Connection) -> int:
        """How often the store was put back from an older copy, and one."""
        return int(self._row(connection).epoch)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction about nothing that a copy must not repeat: leases, floors of what was received."""
        with self._database.write() as connection:
            yield connection

    def _row(self, connection: Connection, lock: bool = False) -> Row[Any]:
        query = select(schema.stores).where(schema.stores.c.id == 1)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise StateDamaged(f"store {self._database.name} has tables and nothing in them")
        return row

    def _check_age(self, row: Row[Any], seen: Seen | None) -> None:
        if self.behind(row, seen) and not self.restoring:
            raise StateDamaged(f"store {self._database.name} is older than what was used of it: {RESTORED}")

    def behind(self, row: Row[Any], seen: Seen | None = None) -> int:
        """Changes that the witness has seen and the store does not know; `row` is under the store's lock, or
        `seen` was looked up before it."""
        seen = self._witness.seen() if seen is None else seen
        if seen is None:
            return 0
        if seen.store != row.name:
            raise StateDamaged(f"witness {self._witness.path} is of another store")
        return max(0, seen.tick - int(row.tick))

    def _seen(self, tick: int, entry: int, head: bytes) -> None:
        self._witness.note(Seen(self.name, tick, entry, head))

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return seconds(self._clock())

    @property
    def moment(self) -> datetime:
        """The time."""
        return self._clock()

    @property
    def where(self) -> str:
        """What the store is called, without passwords."""
        return self._database.name

    # --- the store's own keys ---------------------------------------------------------------------

    def mark(self, secret: bytes) -> bytes:
        """The keyed digest of a secret, 16 octets: equal ones are found by it, and by nobody else."""
        return self._mark_key.digest(secret, length=16)

    def seal(self, *place: bytes) -> bytes:
        """What binds a wrapped secret to its place."""
        return self._seal_key.digest(*place, length=16)

    def sealed(self, seal: bytes, *place: bytes) -> bool:
        """True when it is bound to this place."""
        return self._seal_key.holds(seal, *place)

    # --- the journal ------------------------------------------------------------------------------

    def verify_journal(self) -> int:
        """Go through the journal, with all that people have signed; how many entries there are.

        Raises StateDamaged naming the first fault."""
        seen = self._witness.seen()
        with self.reading() as connection:
            row = self._row(connection)
            audit = Audit(self.name)
            number = journal.verify(connection, self._journal_key, row.entry, row.head, seen, audit.take)
            audit.check(everybody(connection))
            return number

    def entries(self, device: bytes | None = None, last: int | None = None) -> list[journal.Entry]:
        """Entries of the journal: all, those about a device, or the last so many."""
        with self.reading() as connection:
            return list(journal.entries(connection, device, last))

    # --- life -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the database and of the keys."""
        self._database.close()
        for key in (self._journal_key, self._seal_key, self._mark_key):
            key.destroy()

    def __enter__(self) -> KeyStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
