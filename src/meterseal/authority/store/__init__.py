"""The store of keys of a fleet: records and wrapped secrets in a database, a journal, counters, leases.

`open_store` and `create_store` give a `Store`: `keys` (states and verbs), `rotations`, `counters` for
clients, `leases`, `handles`.
"""

from meterseal.authority.store.keystore import KeyStore
from meterseal.authority.store.opening import Store, create_store, open_store
from meterseal.authority.store.records import Device, Flag, Stored
from meterseal.authority.store.rotating import Rotation
from meterseal.authority.store.vault import FileVault, Vault

__all__ = [
    "Device",
    "FileVault",
    "Flag",
    "KeyStore",
    "Rotation",
    "Store",
    "Stored",
    "Vault",
    "create_store",
    "open_store",
]
