"""Everything wrapped anew under another storage KEK: in small transactions, cut off anywhere, gone on with.

The old KEK stands in the store, wrapped under the new one, until nothing needs it any more.  So who holds
the new one reads everything at every moment, and who holds the old one nothing that is written from then on.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from sqlalchemy import select, update

from meterseal.authority.store import schema
from meterseal.authority.store.keeping import Keeping, rewrapped
from meterseal.authority.store.keystore import KeyStore
from meterseal.authority.store.records import stored
from meterseal.authority.store.vault import Vault
from meterseal.errors import Misuse

BATCH: Final = 500
"""Keys in one transaction."""

_OWN: Final = ("journal_key", "seal_key", "mark_key")


def change_kek(store: KeyStore, new: Vault, why: str = "") -> None:
    """From now on the storage KEK is `new`, and the store is open under it; `rewrap` does the rest.

    Raises Misuse while an earlier change is not through, or for the same KEK.
    """
    old = store.vault
    with store.acting(why) as act:
        act.only("master-key")
        if act.store.old_kek is not None:
            raise Misuse("an earlier change of the storage KEK is not through: `keys rewrap` again")
        if new.kcv == old.kcv:
            raise Misuse(f"storage KEK {new.kcv} is in use already")
        own = {name: new.wrap(old.unwrap(getattr(act.store, name))) for name in _OWN}
        act.changes |= {**own, "kek": new.kcv, "old_kek": old.left(new), "old_kcv": old.kcv}
        act.note("storage-kek", before=old.kcv, after=new.kcv)
    store.vaults, store.vault = {new.kcv: new, old.kcv: old}, new


def rewrap(store: KeyStore, batch: int = BATCH) -> Generator[int, None, None]:
    """Wrap anew what is under another KEK than the present one; yields how many are done after each batch.

    When it has come to its end nothing is left, and the old KEK is gone from the store.
    """
    keeping, done, last, k = Keeping(store), 0, 0, schema.keys.c
    while True:
        with store.acting() as act:
            query = select(schema.keys).where(k.id > last, k.blob.is_not(None)).order_by(k.id).limit(batch)
            rows = act.connection.execute(query.with_for_update()).all()
            for row in rows:
                found = stored(row)
                if found.kek != store.vault.kcv:
                    values = rewrapped(store, found, keeping.opened(found).reveal())
                    act.connection.execute(update(schema.keys).where(k.id == row.id).values(values))
                    done += 1
            if not rows:
                if act.store.old_kek is not None:
                    act.changes |= {"old_kek": None, "old_kcv": None}
                    act.note("rewrapped", count=done, kek=store.vault.kcv)
                break
            last = rows[-1].id
        yield done
    store.vaults = {store.vault.kcv: store.vault}
