"""A store with all that belongs to it, found by one name: the database, its storage KEK, its witness."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from meterseal.authority.store.counters import StoreCounters
from meterseal.authority.store.database import store_url
from meterseal.authority.store.handles import Handles
from meterseal.authority.store.keeping import Keeping
from meterseal.authority.store.keystore import Clock, KeyStore, utc_now
from meterseal.authority.store.leases import Leases
from meterseal.authority.store.rotating import Rotating
from meterseal.authority.store.vault import FileVault, kek_file


class Store:
    """The parts of an open store, each with its own few verbs."""

    def __init__(self, core: KeyStore) -> None:
        self.core = core
        self.keys = Keeping(core)
        self.rotations = Rotating(self.keys)
        self.counters = StoreCounters(core)
        self.leases = Leases(core)
        self.handles = Handles(self.keys)

    def close(self) -> None:
        """Let go of everything."""
        self.core.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def file_of(where: str) -> Path | None:
    """The file of a store in SQLite; None for one on a server."""
    url = store_url(where)
    return Path(url.database or "") if url.drivername == "sqlite" else None


def witness_file(where: str, kek: Path) -> Path:
    """The witness stands beside the storage KEK, which no backup of the store should hold."""
    return kek.with_name(f"{kek.name}.witness")


def open_store(
    where: str,
    kek: Path | None = None,
    *,
    by: str = "",
    clock: Clock = utc_now,
    restored: bool = False,
) -> Store:
    """Open a store by its URL or path.  `kek`: file of the storage KEK, if it is not where it is looked for.

    Raises what `KeyStore` raises.
    """
    path = kek_file(file_of(where), kek)
    witness = witness_file(where, path)
    return Store(KeyStore(where, FileVault(path), by=by, witness=witness, clock=clock, restored=restored))


def create_store(where: str, kek: Path | None = None, *, by: str = "", clock: Clock = utc_now) -> Store:
    """A new store, and where there is none a new storage KEK.  Raises ConfigurationError for one that is
    there."""
    path = kek_file(file_of(where), kek)
    vault = FileVault(path) if path.exists() else FileVault.create(path)
    return Store(KeyStore.create(where, vault, by=by, witness=witness_file(where, path), clock=clock))
