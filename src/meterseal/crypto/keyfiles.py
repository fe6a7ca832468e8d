"""Private keys as files: PKCS#8 in PEM, with or without a password."""

from __future__ import annotations

from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from meterseal.crypto.curves import AgreementKey, SigningKey, TlsKey
from meterseal.errors import ConfigurationError

Key = TypeVar("Key", SigningKey, AgreementKey, TlsKey)


def read_key(pem: bytes, kind: type[Key], password: bytes | None = None) -> Key:
    """The private key of a PEM file, for the purpose that `kind` stands for.

    Raises ConfigurationError for what is no such key, or does not open with this password; Unsupported
    for another algorithm or curve.
    """
    try:
        loaded = load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The backend's text may tell of what is inside.
        loaded = None
    if loaded is None:
        del pem, password
        raise ConfigurationError("no private key in PEM form, or the password is not right")
    return kind.of(loaded)


def write_key(key: SigningKey | AgreementKey | TlsKey, password: bytes | None = None) -> bytes:
    """PKCS#8 in PEM; for a file that nobody else may read.  Raises UnknownKey after `destroy`."""
    how: KeySerializationEncryption = NoEncryption()
    if password is not None:
        how = BestAvailableEncryption(password)
    return key.backend().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
