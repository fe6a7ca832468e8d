"""The private key of an authority: in a file of its folder, or in an HSM, with its name in that file."""

from __future__ import annotations

from pathlib import Path

from meterseal.credentials.files import LARGEST_KEY, in_hsm, read_private, write_private
from meterseal.credentials.hsm import drop_pair, new_pair, private_key
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.keyfiles import read_key, write_key
from meterseal.errors import ConfigurationError

NAME = "ca-key.pem"


def make(folder: Path, on: str, password: bytes | None, hsm: str | None) -> SigningKey:
    """A new one, of the curve `on`; `hsm`: the `pkcs11:` URI under which it is made there, to stay.

    Raises ConfigurationError for a file or a label that is there, or a password beside an HSM;
    HsmUnavailable, StateUnavailable.
    """
    if hsm is None:
        key = SigningKey.generate(curve(on))
        write_private(folder / NAME, write_key(key, password), "private key", new=True)
        return key
    if password is not None or not in_hsm(hsm):
        raise ConfigurationError(
            "a key in an HSM is named pkcs11:..., and has the token's PIN for a password"
        )
    # The name first: a pair that is made and not named would stay in the token for good.
    write_private(folder / NAME, hsm.encode("utf-8") + b"\n", "private key", new=True)
    try:
        new_pair(hsm, curve(on), SigningKey)
        return _there(hsm)
    except BaseException:
        (folder / NAME).unlink()
        raise


def read(folder: Path, password: bytes | None) -> SigningKey:
    """The one of a folder.  Raises ConfigurationError, HsmUnavailable."""
    pem = read_private(folder / NAME, "private key", LARGEST_KEY)
    named = pem.decode("utf-8", "replace").strip()
    if in_hsm(named):
        return _there(named)
    if password is None and b"ENCRYPTED PRIVATE KEY" in pem:
        raise ConfigurationError(f"{folder / NAME} is encrypted: it needs a password")
    return read_key(pem, SigningKey, password)


def drop(folder: Path, hsm: str | None) -> None:
    """Take away what `make` has made, for an authority that came to nothing.  Reads nothing: disks fail."""
    if hsm is not None:
        drop_pair(hsm)
    (folder / NAME).unlink()


def _there(uri: str) -> SigningKey:
    found = private_key(uri, SigningKey)
    assert isinstance(found, SigningKey)  # noqa: S101 - what was asked for
    return found
