"""A storage KEK in an HSM: what is wrapped under it is of use to nobody who has the store and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meterseal.authority.store.vault import LENGTH, FileVault, Vault
from meterseal.credentials.hsm import pair_beside, wrapping_key
from meterseal.crypto import AgreementKey, Curve, GcmKey, SigningKey

if TYPE_CHECKING:
    from meterseal.crypto.token import TokenWrappingKey

_STEP: Final = 8


class HsmVault(Vault):
    """A storage KEK named by a `pkcs11:` URI."""

    uri: str

    def __init__(self, uri: str) -> None:
        """Raises ConfigurationError for a URI, PIN or key that is not right, HsmUnavailable."""
        self.uri = uri
        self._key: TokenWrappingKey = wrapping_key(uri)

    def gcm(self, blob: bytes, ak: bytes) -> GcmKey:
        """As `Vault.gcm`: the EK stays in the HSM."""
        return self._key.gcm(blob, ak)

    def pair(self, on: Curve, kind: type[SigningKey] | type[AgreementKey]) -> bytes:
        """As `Vault.pair`: made in the token of the storage KEK."""
        return pair_beside(self.uri, on, kind).encode("utf-8")

    def left(self, to: Vault) -> bytes:
        """As `Vault.left`: the key stays where it is, so what is left is where that was."""
        octets = self.uri.encode("utf-8")
        return to.wrap(octets.ljust(max(-(-len(octets) // _STEP) * _STEP, LENGTH + _STEP), b"\0"))


def handed_on(octets: bytes) -> Vault:
    """The storage KEK before the present one, from what its `left` had wrapped.  Raises as `HsmVault`."""
    if len(octets) == LENGTH:
        return FileVault.of(octets)
    return HsmVault(octets.rstrip(b"\0").decode("utf-8"))
