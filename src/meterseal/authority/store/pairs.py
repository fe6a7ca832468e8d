"""Key pairs in a store: their certificates, and the one pair that a client has for all its devices.

Of a pair of the device's own only the certificate is here, bound to its place by its mark; the pair of a
client is a secret like others, and its certificate is held against it whenever it is used.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select, update

from meterseal.authority.store import schema
from meterseal.authority.store.keeping import Keeping
from meterseal.authority.store.keystore import Act
from meterseal.authority.store.records import Stored, end_of, stored
from meterseal.authority.store.vault import unframed
from meterseal.credentials.files import in_hsm
from meterseal.credentials.hsm import certified, drop_pair, pair_beside, pairs_beside, private_key
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.keyfiles import read_key
from meterseal.errors import ConfigurationError, HsmUnavailable, StateDamaged
from meterseal.keys.kinds import KINDS, Slot
from meterseal.keys.lifecycle import State, find

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate
    from meterseal.crypto.keyfiles import Key


IN_HSM: Final = "made in the HSM"
"""Origin of a pair that the store had made there, and takes away there when it is destroyed."""

_log = logging.getLogger("meterseal.authority")


class Pairs:
    """The key pairs of a store."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping, self._store = keeping, keeping.store
        keeping.gone = self._gone

    def new(self, slot: Slot, on: str, kind: type[SigningKey] | type[AgreementKey]) -> tuple[bytes, str]:
        """A new pair of a client, as it is kept, and its origin: made in the HSM where the one before it is.

        So it is where the storage KEK is in an HSM.  Raises ConfigurationError, HsmUnavailable; then no pair
        is made outside in its place.
        """
        records = self._keeping.slot(slot)
        held = find(records, State.ACTIVE) or find(records, State.COMPROMISED)
        before = b"" if held is None else self._keeping.reveal(held).reveal()
        if _named(before):
            return pair_beside(before.decode("utf-8"), curve(on), kind).encode("utf-8"), IN_HSM
        made = self._store.vault.pair(curve(on), kind)
        return made, IN_HSM if _named(made) else "generated"

    def private(self, found: Stored, kind: type[Key]) -> Key:
        """The private half of a client's pair, in the HSM where it is there.  Raises as `Keeping.reveal`,
        ConfigurationError, HsmUnavailable."""
        secret = self._keeping.opened(found).reveal()
        if not _named(secret):
            return read_key(secret, kind)
        wanted: Any = kind
        key = private_key(secret.decode("utf-8"), wanted)
        assert isinstance(key, kind)  # noqa: S101 - made so
        return key

    def bound(self, found: Stored) -> None:
        """A pair that the store had made in an HSM has its certificate: it signs no further request there."""
        secret = self._keeping.opened(found).reveal()
        if found.record.origin == IN_HSM and _named(secret):
            certified(secret.decode("utf-8"))

    def _gone(self, found: Stored) -> None:
        """A pair was destroyed in one place: where it was the last one, it goes from the HSM that made it."""
        k = schema.keys.c
        with self._store.reading() as connection:
            same = connection.execute(select(k.origin, k.blob).where(k.mark == found.mark)).all()
        vault = self._store.vaults.get(found.kek or "")
        if vault is None or found.blob is None or IN_HSM not in {row.origin for row in same}:
            return
        if any(row.blob is not None for row in same):
            return
        try:
            drop_pair(unframed(found.record.kind.material, vault.unwrap(found.blob)).decode("utf-8"))
        except (ConfigurationError, HsmUnavailable) as error:
            _log.warning("%s %s is left in its HSM: %s", found.record.slot.text, found.record.kcv, error)

    def strays(self) -> list[str]:
        """URIs of pairs that were made for a store in the HSMs of this one, and that no key here has.

        A process that died between the store and the HSM leaves such a pair; so look those that are being
        made, and those of another store with the same HSM.  Raises ConfigurationError, HsmUnavailable.
        """
        k = schema.keys.c
        clients = [kind.name for kind in KINDS.values() if kind.common]
        each = select(func.min(k.id)).where(k.kind.in_(clients), k.blob.is_not(None)).group_by(k.mark)
        with self._store.reading() as connection:
            held = [stored(row) for row in connection.execute(select(schema.keys).where(k.id.in_(each)))]
        names = {self._name(one) for one in held} - {None}
        tokens = names | {self._store.vault.uri}
        there = {uri for one in tokens if one is not None for uri in pairs_beside(one)}
        return sorted(there - names)

    def _name(self, found: Stored) -> str | None:
        """Of a pair in an HSM: its URI, which tells nobody the key."""
        vault = self._store.vaults.get(found.kek or "")
        if vault is None or found.blob is None:
            return None
        secret = unframed(found.record.kind.material, vault.unwrap(found.blob))
        return secret.decode("utf-8") if _named(secret) else None

    def certify(self, number: int, certificate: Certificate) -> None:
        """Keep the certificate of a client's pair that is there already.  Raises UnknownKey."""
        record = self._keeping.find(number).record
        with self._store.acting() as act:
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
        """The newer pair that this client has at another device, where the two had the same one so far: also
        where that one is compromised."""
        mine, theirs, newer = schema.keys.alias(), schema.keys.alias(), schema.keys.alias()
        k = schema.keys.c
        here = select(k.mark).where(k.device == slot.device, k.role == slot.role, k.kind == slot.kind)
        query = (
            select(newer)
            .join(theirs, (newer.c.device == theirs.c.device) & (newer.c.role == theirs.c.role))
            .join(mine, mine.c.mark == theirs.c.mark)
            .where(
                mine.c.device == slot.device, mine.c.role == slot.role, mine.c.kind == slot.kind,
                mine.c.state.in_((State.ACTIVE.value, State.COMPROMISED.value)),
                theirs.c.kind == slot.kind, theirs.c.id != mine.c.id, newer.c.mark.not_in(here),
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


def _named(secret: bytes) -> bool:
    """True for what names a pair in an HSM."""
    return in_hsm(secret.decode("utf-8", "replace"))
