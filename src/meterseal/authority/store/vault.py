"""The storage KEK: where it is, and what it does.  Everything secret in a store is wrapped under it.

| where                    | found as                                                              |
|--------------------------|-----------------------------------------------------------------------|
| a file                   | `--kek FILE`, METERSEAL_STORAGE_KEK, else `STORE.kek` beside the store |
| a credentials directory  | `meterseal-storage-kek` in CREDENTIALS_DIRECTORY (a service manager's) |
| an HSM                   | `--kek pkcs11:token=...;object=...`, or the same in METERSEAL_STORAGE_KEK |

A file holds 64 hex digits, mode 0600; an HSM keeps its key (hsm.py).  An AES key is wrapped as it is; any
other secret with its length in front and zeros behind, for key wrap takes steps of eight octets.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from meterseal.credentials.files import LARGEST_KEY, companion, in_hsm, is_there, read_private, write_private
from meterseal.crypto import AgreementKey, Curve, GcmKey, Secret, SigningKey, WrappingKey, random_octets
from meterseal.crypto.keyfiles import write_key
from meterseal.errors import ConfigurationError, Forged, KeyLength, StateDamaged
from meterseal.keys.kinds import Material

VARIABLE: Final = "METERSEAL_STORAGE_KEK"
DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
CREDENTIAL: Final = "meterseal-storage-kek"
LENGTH: Final = 32
"""Octets of a storage KEK."""

LONGEST: Final = 1000
"""Octets of a secret that is kept."""

_AES: Final = (16, 32)
_STEP, _LEAST = 8, 16


class Vault(ABC):
    """A storage KEK, in a file or in a device that never lets it out."""

    _key: WrappingKey
    uri: str | None = None
    """Where it is, of one in an HSM."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kcv}>"

    @property
    def kcv(self) -> str:
        """Its check value."""
        return self._key.kcv

    def wrap(self, secret: bytes) -> bytes:
        """Wrapped by RFC 3394.  Raises KeyLength."""
        return self._key.wrap(secret)

    def unwrap(self, blob: bytes) -> bytes:
        """What is inside.  Raises Forged."""
        return self._key.unwrap(blob)

    @abstractmethod
    def gcm(self, blob: bytes, ak: bytes) -> GcmKey:
        """The EK inside as a handle, beside this AK.  Raises Forged, KeyLength."""

    @abstractmethod
    def pair(self, on: Curve, kind: type[SigningKey] | type[AgreementKey]) -> bytes:
        """A new key pair, as it is kept: the private half, or the name of one that never leaves."""

    @abstractmethod
    def left(self, to: Vault) -> bytes:
        """What the KEK after this one needs to find it, wrapped under that: the key, or the name of one that
        never leaves."""


def framed(material: Material, secret: bytes) -> bytes:
    """A secret as it is wrapped.  Raises KeyLength."""
    if material is Material.AES:
        if len(secret) not in _AES:
            raise KeyLength(f"an AES key of {len(secret)} octets, not 16 or 32")
        return secret
    if not 1 <= len(secret) <= LONGEST:
        raise KeyLength(f"a secret of {len(secret)} octets, 1 to {LONGEST} are kept")
    octets = len(secret).to_bytes(2, "big") + secret
    return octets.ljust(max(_LEAST, -(-len(octets) // _STEP) * _STEP), b"\0")


def unframed(material: Material, octets: bytes) -> bytes:
    """The secret inside.  Raises StateDamaged."""
    if material is Material.AES:
        return octets
    length = int.from_bytes(octets[:2], "big")
    if not 1 <= length <= len(octets) - 2 or any(octets[2 + length :]):
        raise StateDamaged("a stored secret is not framed as secrets are")
    return octets[2 : 2 + length]


class FileVault(Vault):
    """A storage KEK in a file."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError for a file that is missing, or holds something else."""
        text = read_private(path, "storage KEK", LARGEST_KEY)
        try:
            octets = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            octets = b""
        if len(octets) != LENGTH:
            del octets, text
            raise ConfigurationError(f"storage KEK {path} holds no key: {2 * LENGTH} hex digits are wanted")
        self._take(octets)

    def _take(self, octets: bytes) -> None:
        self._key, self._octets = WrappingKey(octets), Secret(octets)

    @classmethod
    def create(cls, path: Path) -> FileVault:
        """Draw one, in a new file.  Raises ConfigurationError for a file that is there, StateUnavailable."""
        write_private(path, random_octets(LENGTH).hex().upper().encode() + b"\n", "storage KEK", new=True)
        return cls(path)

    @classmethod
    def of(cls, octets: bytes) -> FileVault:
        """One whose key was in a file."""
        made = cls.__new__(cls)
        made._take(octets)
        return made

    def gcm(self, blob: bytes, ak: bytes) -> GcmKey:
        """As `Vault.gcm`."""
        return GcmKey(self._key.unwrap(blob), ak)

    def pair(self, on: Curve, kind: type[SigningKey] | type[AgreementKey]) -> bytes:
        """As `Vault.pair`."""
        return write_key(kind.generate(on))

    def left(self, to: Vault) -> bytes:
        """As `Vault.left`."""
        return to.wrap(self._octets.reveal())


def kek_place(store: Path | None, given: Path | str | None = None) -> Path | str:
    """Where the storage KEK of a store is: as said, as the environment says, else beside the store.

    A text is a `pkcs11:` URI.
    """
    if found := given or os.environ.get(VARIABLE):
        return str(found) if in_hsm(str(found)) else Path(found)
    if folder := os.environ.get(DIRECTORY):
        path = Path(folder) / CREDENTIAL
        if is_there(path, "storage KEK"):
            return path
    if store is None:
        raise ConfigurationError(f"where is the storage KEK? Say --kek FILE, or set {VARIABLE}")
    return companion(store, "kek")


def check_kek(vault: Vault, kcv: str, blob: bytes) -> bytes:
    """The first key of a store, which shows whether this is its storage KEK.  Raises ConfigurationError."""
    if vault.kcv == kcv:
        try:
            return vault.unwrap(blob)
        except Forged:
            raise StateDamaged("the store's own keys do not unwrap under its storage KEK") from None
    raise ConfigurationError(
        f"the store's secrets are under storage KEK {kcv}, and this is {vault.kcv}: say where that is "
        f"(--kek, {VARIABLE})"
    )
