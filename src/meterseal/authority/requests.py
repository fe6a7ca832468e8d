"""Key pairs and requests of clients: a private key in a file of its own, and the request that it signs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from meterseal.credentials.files import write_private
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Request, make_request
from meterseal.crypto.keyfiles import write_key

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
