"""A storage KEK in an HSM: what is wrapped under it is of use to nobody who has the store and its files."""

from __future__ import annotations

from typing import Final

from meterseal.authority.store.vault import LENGTH, FileVault, Vault
from meterseal.credentials.hsm import wrapping_key
from meterseal.crypto.gcm import GcmKey

_STEP: Final = 8


class HsmVault:
    """A storage KEK named by a `pkcs11:` URI."""

    def __init__(self, uri: str) -> None:
        """Raises ConfigurationError for a URI, PIN or key that is not right, HsmUnavailable."""
        self._uri = uri
        self._key = wrapping_key(uri)

    def __repr__(self) -> str:
        return f"<HsmVault {self.kcv}>"

    @property
    def kcv(self) -> str:
        """Its check value."""
        return self._key.kcv

    def wrap(self, secret: bytes) -> bytes:
        """As `Vault.wrap`."""
        return self._key.wrap(secret)

    def unwrap(self, blob: bytes) -> bytes:
        """As `Vault.unwrap`."""
        return self._key.unwrap(blob)

    def gcm(self, blob: bytes, ak: bytes) -> GcmKey:
        """As `Vault.gcm`: the EK stays in the HSM."""
        return self._key.gcm(blob, ak)

    def left(self, to: Vault) -> bytes:
        """As `Vault.left`: the key stays where it is, so what is left is where that was."""
        octets = self._uri.encode("utf-8")
        return to.wrap(octets.ljust(max(-(-len(octets) // _STEP) * _STEP, LENGTH + _STEP), b"\0"))


def handed_on(octets: bytes) -> Vault:
    """The storage KEK before the present one, from what its `left` had wrapped.  Raises as `HsmVault`."""
    if len(octets) == LENGTH:
        return FileVault.of(octets)
    return HsmVault(octets.rstrip(b"\0").decode("utf-8"))
