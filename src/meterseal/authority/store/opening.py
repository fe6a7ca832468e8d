"""A store with all that belongs to it, found by one name: the database, its storage KEK, its witness."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final

from meterseal.authority.store.counters import StoreCounters
from meterseal.authority.store.database import store_url
from meterseal.authority.store.exposing import Exposing
from meterseal.authority.store.handles import Handles
from meterseal.authority.store.hsm import HsmVault
from meterseal.authority.store.keeping import Keeping
from meterseal.authority.store.keystore import Clock, KeyStore, utc_now
from meterseal.authority.store.leases import Leases
from meterseal.authority.store.pairs import Pairs
from meterseal.authority.store.people import People
from meterseal.authority.store.rotating import Rotating
from meterseal.authority.store.vault import FileVault, Vault, kek_place
from meterseal.credentials.files import companion, is_there
from meterseal.credentials.hsm import new_wrapping_key
from meterseal.errors import ConfigurationError

WITNESS: Final = "METERSEAL_WITNESS"


class Store:
    """The parts of an open store, each with its own few verbs."""

    def __init__(self, core: KeyStore) -> None:
        self.core = core
        self.keys = Keeping(core)
        self.pairs = Pairs(self.keys)
        self.rotations = Rotating(self.keys)
        self.counters = StoreCounters(core)
        self.leases = Leases(core)
        self.handles = Handles(self.keys)
        self.people = People(core)
        self.exposures = Exposing(self.keys)

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


def witness_file(where: str, kek: Path | str) -> Path:
    """The witness stands where no backup of the store should come: as METERSEAL_WITNESS says, else beside the
    storage KEK, else (a KEK in an HSM) beside the store.  Raises ConfigurationError for none of them."""
    if found := os.environ.get(WITNESS):
        return Path(found)
    beside = kek if isinstance(kek, Path) else file_of(where)
    if beside is None:
        raise ConfigurationError(f"where is the witness of the store's counters? Set {WITNESS}")
    return companion(beside, "witness")


def vault_at(place: Path | str) -> Vault:
    """The storage KEK at a place.  Raises ConfigurationError, HsmUnavailable."""
    return FileVault(place) if isinstance(place, Path) else HsmVault(place)


def kek_to_be(place: Path | str, make: bool = False) -> Vault:
    """The storage KEK at a place; where that is a file which is not there, a new one.

    `make`: one in an HSM is made there first.  Raises ConfigurationError, HsmUnavailable.
    """
    if make and isinstance(place, str):
        new_wrapping_key(place)
    if isinstance(place, Path) and not is_there(place, "storage KEK"):
        return FileVault.create(place)
    return vault_at(place)


def open_store(
    where: str,
    kek: Path | str | None = None,
    *,
    by: str = "",
    clock: Clock = utc_now,
    restored: bool = False,
) -> Store:
    """Open a store by its URL or path.  `kek`: where its storage KEK is, if not where it is looked for.

    Raises what `KeyStore` raises.
    """
    file = file_of(where)
    if file is not None and not is_there(file, "store"):
        raise ConfigurationError(f"no store in {file}: `keys init` makes one")
    place = kek_place(file, kek)
    witness = witness_file(where, place)
    return Store(KeyStore(where, vault_at(place), by=by, witness=witness, clock=clock, restored=restored))


def create_store(
    where: str,
    kek: Path | str | None = None,
    *,
    by: str = "",
    clock: Clock = utc_now,
    make_kek: bool = False,
) -> Store:
    """A new store, and where there is none a new storage KEK in a file; one in an HSM is there before, or is
    made with `make_kek`.

    Raises ConfigurationError for a store that is there.
    """
    place = kek_place(file_of(where), kek)
    return Store(
        KeyStore.create(
            where, kek_to_be(place, make_kek), by=by, witness=witness_file(where, place), clock=clock
        )
    )
