"""Key pairs and requests of clients: a private key in a file of its own, and the request that it signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from meterseal.credentials.files import LARGEST_KEY, read_private, write_private
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Request, make_request
from meterseal.crypto.keyfiles import read_key, write_key

KINDS: Final[dict[Purpose, type[SigningKey] | type[AgreementKey] | type[TlsKey]]] = {
    Purpose.SIGNATURE: SigningKey,
    Purpose.AGREEMENT: AgreementKey,
    Purpose.TLS: TlsKey,
}
"""The key of each purpose of an end entity."""


def new_request(
    key_file: Path, title: bytes, purpose: Purpose, on: str, password: bytes | None = None
) -> Request:
    """A new key pair, its private half in `key_file` (a new file, mode 0600), and the request for `title`.

    `on`: the curve.  Raises ConfigurationError for a file that is there, StateUnavailable, Misuse.
    """
    key = KINDS[purpose].generate(curve(on))
    made = Request(make_request(key, title))
    write_private(key_file, write_key(key, password), "private key", new=True)
    return made


def kept_request(key_file: Path, title: bytes, purpose: Purpose) -> Request:
    """The request for `title` by the private key in a file.  Raises ConfigurationError."""
    pem = read_private(key_file, "private key", LARGEST_KEY)
    kind: Any = KINDS[purpose]
    return Request(make_request(read_key(pem, kind), title))
