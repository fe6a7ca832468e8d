"""What is done with keys in a store: taken in, staged, activated, called compromised, destroyed; and used.

The table of `keys.lifecycle` says what a verb changes; here it is carried out, in one transaction with its
entries in the journal.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, insert, select, text, update

from meterseal.authority.store import schema
from meterseal.authority.store.devices import Devices, check_device, device_row
from meterseal.authority.store.keystore import Act, KeyStore
from meterseal.authority.store.records import (
    Device,
    Flag,
    Stored,
    device,
    device_rows,
    end_of,
    holders,
    moment,
    slot_rows,
    stored,
)
from meterseal.authority.store.vault import Vault, framed, unframed
from meterseal.crypto import SUITES, GcmKey, Secret, kcv
from meterseal.errors import (
    Compromised,
    Forged,
    KeyLength,
    Misuse,
    StateDamaged,
    UnknownKey,
)
from meterseal.keys.kinds import KINDS, Material, Slot, kind_of
from meterseal.keys.lifecycle import RULES, Record, State, Verb, find, plan

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate

T = TypeVar("T")

_TALLY: Final = text(
    "INSERT INTO tallies (kind, state, count) VALUES (:kind, :state, :count) "
    "ON CONFLICT (kind, state) DO UPDATE SET count = tallies.count + :count"
)


class New(NamedTuple):
    """A device that is taken in: its active keys by role and kind, and what was noticed about them."""

    device: Device
    secrets: Mapping[tuple[str, str], bytes]
    flags: Mapping[tuple[str, str], Flag] = MappingProxyType({})


class Keeping(Devices):
    """The keys of a store, and the devices that have them."""

    def __init__(self, store: KeyStore) -> None:
        super().__init__(store)
        self.changed: Callable[[bytes], object] = lambda title: None
        """Told the title of a device whose keys have changed, once that is durable."""
        self.gone: Callable[[Stored], object] = lambda found: None
        """Told what the store had of a client's pair that is destroyed, once that is durable."""

    # --- looking ----------------------------------------------------------------------------------

    def slot(self, slot: Slot) -> list[Record]:
        """The keys of a slot, oldest first."""
        with self.store.reading() as connection:
            return [one.record for one in slot_rows(connection, slot)]

    def slots(self, title: bytes) -> dict[Slot, list[Record]]:
        """The keys of a device by slot.  Raises ConfigurationError for a device that is not known."""
        with self.store.reading() as connection:
            device(connection, title)
            found = device_rows(connection, title)
        return {slot: [one.record for one in kept] for slot, kept in found.items()}

    def holders(self, marks: Iterable[bytes]) -> Iterator[tuple[bytes, Slot]]:
        """The slots that have a secret with one of these marks (`KeyStore.mark`), whatever its state."""
        with self.store.reading() as connection:
            yield from holders(connection, marks)

    def stored(self, title: bytes) -> dict[Slot, list[Stored]]:
        """As `slots`, with what else is stored of each key."""
        with self.store.reading() as connection:
            device(connection, title)
            return device_rows(connection, title)

    def find(self, number: int) -> Stored:
        """A key by its number.  Raises UnknownKey."""
        with self.store.reading() as connection:
            return _one(connection, number)

    def reveal(self, record: Record) -> Secret:
        """The secret itself, as the store has it now, for a state that may open.  Raises UnknownKey for a
        destroyed key or one that is not here, StateDamaged for a blob that is not in its place."""
        return self.opened(self.find(record.id))

    def opened(self, found: Stored) -> Secret:
        """The secret of a row.  Raises as `reveal`."""
        material = found.record.kind.material
        return self._in_vault(found, lambda vault, blob: Secret(unframed(material, vault.unwrap(blob))))

    def gcm(self, found: Stored, ak: bytes) -> GcmKey:
        """The EK of a row as a handle, in the HSM where the storage KEK is there.  Raises as `reveal`."""
        return self._in_vault(found, lambda vault, blob: vault.gcm(blob, ak))

    def _in_vault(self, found: Stored, work: Callable[[Vault, bytes], T]) -> T:
        record = found.record
        if found.blob is None or not record.standing.held:
            where = "never was here" if record.kind.own else "has been destroyed"
            raise UnknownKey(f"{record.slot.text} {record.kcv}: the material {where}")
        self.store.check_reach(record.slot)
        kek = found.kek or ""
        if not self.store.sealed(found.seal, *_place(record.slot, record.version, kek, found.blob)):
            raise StateDamaged(f"{record.slot.text} {record.kcv} is not what was stored in this place")
        vault = self.store.vaults.get(kek)
        if vault is None:
            raise UnknownKey(f"{record.slot.text} {record.kcv} is under storage KEK {kek}, which is not here")
        try:
            return work(vault, found.blob)
        except Forged:
            raise StateDamaged(f"{record.slot.text} {record.kcv} does not unwrap") from None

    # --- verbs ------------------------------------------------------------------------------------

    def put(
        self,
        act: Act,
        slot: Slot,
        secret: bytes | None,
        verb: Verb,
        origin: str,
        *,
        suite: int,
        certificate: Certificate | None = None,
        flags: Flag | None = None,
    ) -> Record:
        """A new key in a slot: staged, or adopted as the one that the device has.

        `secret` None: a pair of the device's own, known by `certificate`.  That a client has one pair for all
        its devices is as it should be, any other secret in two places is noticed.  Raises Misuse for a key
        that is in the slot already (C12), KeyLength, and as `lifecycle.plan` does.
        """
        kind = KINDS[slot.kind]
        if (secret is None) is not kind.own:
            raise Misuse(f"{slot.text}: the private half of such a key {'is not' if kind.own else 'is'} kept")
        act.permit(verb, slot)
        held = slot_rows(act.connection, slot)
        der = None if certificate is None else certificate.der
        octets = der or b"" if secret is None else secret
        mark = self.store.mark(octets)
        name = _name(kind.material, octets, mark)
        if kind.material is Material.AES and len(octets) != SUITES[suite].key_length:
            raise KeyLength(
                f"{slot.text}: {len(octets)} octets, suite {suite} has {SUITES[suite].key_length}"
            )
        same, noticed = schema.keys.c.mark == mark, flags or Flag(0)
        for twin in act.connection.execute(select(schema.keys).where(same)):
            if Slot(twin.device, twin.role, twin.kind) == slot:
                raise Misuse(f"{slot.text}: {name} is in this slot already, {twin.state}")
            noticed |= Flag(0) if kind.common else Flag.SHARED
        self._carry_out(act, plan([one.record for one in held], verb))
        version = 1 + max((one.record.version for one in held), default=0)
        blob = None if secret is None else self.store.vault.wrap(framed(kind.material, secret))
        kek = self.store.vault.kcv
        entry = act.note(verb.value, slot.device, role=slot.role, kind=slot.kind, kcv=name, origin=origin)
        state = State.STAGED if verb is Verb.STAGE else State.ACTIVE
        row = act.connection.execute(
            insert(schema.keys).values(
                device=slot.device, role=slot.role, kind=slot.kind, version=version, state=state.value,
                suite=suite, kcv=name, mark=mark, blob=blob, kek=None if blob is None else kek,
                seal=self.store.seal(*_place(slot, version, kek, blob or b"")), certificate=der,
                expires=end_of(certificate),
                origin=origin, entry=entry, flags=int(noticed), made=act.now, changed=act.now,
            ).returning(schema.keys.c.id)
        )  # fmt: skip
        count(act.connection, slot.kind, state, 1)
        made = moment(act.now)
        return Record(row.scalar_one(), slot, version, state, suite, name, origin, made, made)

    def put_new(
        self, act: Act, new: Iterable[New | tuple[Device, Mapping[tuple[str, str], bytes]]], origin: str
    ) -> None:
        """Many devices that the store does not have, each with its active keys, at once.

        One entry of the journal for each device names all its keys.  Raises StateLocked for a title that is
        there, KeyLength; what `shipment` checks is not checked here.
        """
        found, rows, profiles = [], [], dict[str, int]()
        for one in (New(*each) for each in new):
            check_device(one.device)
            body = json.dumps(one.device.settings, sort_keys=True)
            if body not in profiles:
                profiles[body] = self.profile(act, one.device.settings)
            found.append(device_row(one.device, profiles[body], act.now))
            mine = [self._new_row(act, one, *name, origin) for name in one.secrets]
            keys = [f"{row['role']} {row['kind']} {row['kcv']}".lstrip() for row in mine]
            act.note("device", one.device.title, suite=one.device.suite, origin=origin, keys=keys)
            rows += mine
        if found:
            act.connection.execute(insert(schema.devices), found)
        if rows:
            held = Counter(row["mark"] for row in rows)
            held.update({mark: 1 for mark, _ in holders(act.connection, held)})
            for row in rows:
                row["flags"] |= int(Flag.SHARED) if held[row["mark"]] > 1 else 0
            act.connection.execute(insert(schema.keys), rows)
        for name, number in Counter(row["kind"] for row in rows).items():
            count(act.connection, name, State.ACTIVE, number)

    def _new_row(self, act: Act, one: New, role: str, kind: str, origin: str) -> dict[str, Any]:
        """The columns of a key that a new device has; its entry is the one that comes next."""
        title, suite, secret = one.device.title, one.device.suite, one.secrets[role, kind]
        slot, row, kek = slot_of(title, role, kind), kind_of(kind), self.store.vault.kcv
        act.permit(Verb.ADOPT, slot)
        if row.key_id is not None and len(secret) != SUITES[suite].key_length:
            raise KeyLength(f"{slot.text}: {len(secret)} octets, not as suite {suite} has them")
        mark, blob = self.store.mark(secret), self.store.vault.wrap(framed(row.material, secret))
        return {
            "device": title, "role": slot.role, "kind": kind, "version": 1, "state": State.ACTIVE.value,
            "suite": suite, "kcv": _name(row.material, secret, mark), "mark": mark, "blob": blob, "kek": kek,
            "seal": self.store.seal(*_place(slot, 1, kek, blob)), "origin": origin,
            "entry": act.chain.entry + 1, "flags": int(one.flags.get((role, kind), 0)), "made": act.now,
            "changed": act.now,
        }  # fmt: skip

    def stage(self, slot: Slot, secret: bytes, origin: str = "generated", why: str = "") -> Record:
        """Keep a new key before its device has it; an older staged one of the slot is withdrawn (G03)."""
        with self.store.acting(why) as act:
            suite = device(act.connection, slot.device).suite
            return self.put(act, slot, secret, Verb.STAGE, origin, suite=suite)

    def apply(self, verb: Verb, record: Record, why: str = "") -> Record:
        """Do something with a key that is there; as it is afterwards.

        Raises Misuse for what the table does not have, or where the reason that is needed is missing.
        """
        with self.store.acting(why) as act:
            return self.change(act, verb, record.id)

    def change(self, act: Act, verb: Verb, number: int) -> Record:
        """As `apply`, within a transaction."""
        if RULES[verb].reason and not act.why:
            raise Misuse(f"{verb.value}: say why")
        record = _one(act.connection, number).record
        held = [one.record for one in slot_rows(act.connection, record.slot)]
        serving = device(act.connection, record.slot.device).serving
        self._carry_out(act, plan(held, verb, record, serving=serving))
        return _one(act.connection, number).record

    def found(self, act: Act, record: Record) -> None:
        """The device was found to have this key, which was thought to be replaced.

        One that is compromised is not activated by that; but then no other is the active one any more.
        """
        if record.state is not State.COMPROMISED:
            self.change(act, Verb.ACTIVATE, record.id)
            return
        e = schema.exposures
        act.connection.execute(update(e).where(e.c.key == record.id).values(until=None))
        held = [one.record for one in slot_rows(act.connection, record.slot)]
        active = find(held, State.ACTIVE)
        if active is not None:
            self._carry_out(act, plan(held, Verb.RETIRE, active, serving=False))

    def sent(self, act: Act, number: int, there: bool) -> None:
        """From now on the device may have this key; or not `there`: it was shown that it has another."""
        act.connection.execute(
            update(schema.keys).where(schema.keys.c.id == number).values(sent=act.now if there else None)
        )

    def _tell(self, title: bytes) -> None:
        self.changed(title)

    def _carry_out(self, act: Act, changes: Iterable[Any]) -> None:
        for record, verb, after in changes:
            act.permit(verb, record.slot, record.id)
            values: dict[str, Any] = {"state": after.value, "changed": act.now}
            if verb is Verb.ACTIVATE:
                values |= {"proved": act.now, "sent": None}
            if after is State.DESTROYED:
                values |= {"blob": None, "kek": None}
                if record.kind.common:
                    act.after.append(partial(self.gone, _one(act.connection, record.id)))
            act.connection.execute(update(schema.keys).where(schema.keys.c.id == record.id).values(values))
            count(act.connection, record.slot.kind, record.state, -1)
            count(act.connection, record.slot.kind, after, 1)
            if verb is Verb.ACTIVATE:
                _end_exposure(act, record)
            act.after.append(partial(self._tell, record.slot.device))
            act.note(
                verb.value, record.slot.device, role=record.slot.role, kind=record.slot.kind, kcv=record.kcv,
                before=record.state.value, after=after.value,
            )  # fmt: skip


def _end_exposure(act: Act, record: Record) -> None:
    """A device has proved this key: it has no other one of the slot any more."""
    e, slot = schema.exposures, record.slot
    mine = (e.c.device == slot.device, e.c.role == slot.role, e.c.kind == slot.kind)
    open_one = (e.c.until.is_(None), e.c.key != record.id)
    act.connection.execute(update(e).where(*mine, *open_one).values(until=act.now))


def unusable(slots: Iterable[Sequence[Record]], said: str) -> UnknownKey:
    """Why none of the keys of these slots may be used: `Compromised` where that is the cause."""
    for slot in slots:
        lost = find(slot, State.COMPROMISED)
        if lost is not None and find(slot, State.ACTIVE) is None:
            return Compromised(
                f"{said}: {lost.slot.text} {lost.kcv} is compromised, `keys rotate` brings its successor"
            )
    return UnknownKey(said)


def slot_of(title: bytes, role: str, kind: str) -> Slot:
    """The slot of a kind; what a device has once is in no role.  Raises Misuse for another kind."""
    return Slot(title, "" if kind_of(kind).shared else role, kind)


def count(connection: Connection, kind: str, state: State, by: int) -> None:
    """Keep count of the keys in each state."""
    connection.execute(_TALLY, {"kind": kind, "state": state.value, "count": by})


def rewrapped(store: KeyStore, found: Stored, secret: bytes) -> dict[str, Any]:
    """The columns of a key that is wrapped anew under the present storage KEK."""
    record, kek = found.record, store.vault.kcv
    blob = store.vault.wrap(framed(record.kind.material, secret))
    return {"blob": blob, "kek": kek, "seal": store.seal(*_place(record.slot, record.version, kek, blob))}


def _name(material: Material, secret: bytes, mark: bytes) -> str:
    """What a key is called where it must not stand: its check value, for what is no AES key of its mark."""
    return kcv(secret) if material is Material.AES else mark.hex()[:10].upper()


def _place(slot: Slot, version: int, kek: str, blob: bytes) -> tuple[bytes, ...]:
    return slot.device, slot.role.encode(), slot.kind.encode(), version.to_bytes(4, "big"), kek.encode(), blob


def _one(connection: Connection, number: int) -> Stored:
    row = connection.execute(select(schema.keys).where(schema.keys.c.id == number)).one_or_none()
    if row is None:
        raise UnknownKey(f"no key {number} in the store")
    return stored(row)
