"""Keys that a `pkcs11:` URI names: its token opened with the PIN, from a file or from the environment.

| what       | said by                                             |
|------------|-----------------------------------------------------|
| the module | `module-path` in the URI, else METERSEAL_PKCS11_MODULE |
| the PIN    | `pin-source` in the URI, a file; else METERSEAL_HSM_PIN |

Loads `pkcs11`: only who names such a key comes here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meterseal.credentials.files import LARGEST_KEY, read_private
from meterseal.crypto import AgreementKey, Curve, SigningKey, random_octets
from meterseal.crypto.token_uri import TokenUri
from meterseal.errors import ConfigurationError

if TYPE_CHECKING:
    from meterseal.crypto.token import Token, TokenWrappingKey

MODULE: Final = "METERSEAL_PKCS11_MODULE"
PIN: Final = "METERSEAL_HSM_PIN"
_OURS: Final = "meterseal-"
"""What the label of a pair begins with that was made beside another key."""


def token_of(text: str, folder: Path = Path()) -> tuple[Token, str]:
    """The token that a URI names, opened, and the label of the key in it.

    `folder`: where the file of the PIN is named from.  Raises ConfigurationError for a URI, module or PIN
    that is not right or not there, and without the extra `hsm`; HsmUnavailable when the token cannot be
    reached.
    """
    try:
        from meterseal.crypto.token import open_token
    except ImportError:
        raise ConfigurationError("keys in an HSM need the extra: pip install 'meterseal[hsm]'") from None
    uri = TokenUri.parse(text)
    module = uri.module or os.environ.get(MODULE)
    if not module:
        raise ConfigurationError(f"where is the PKCS#11 library? Say module-path in the URI, or set {MODULE}")
    return open_token(module, uri.token, _pin(uri.pin_file, folder)), uri.object


def wrapping_key(text: str) -> TokenWrappingKey:
    """The KEK that a URI names.  Raises as `token_of`."""
    token, label = token_of(text)
    from meterseal.crypto.token import TokenWrappingKey

    return TokenWrappingKey(token, label)


def new_wrapping_key(text: str) -> None:
    """Make the KEK that a URI names in its token.  Raises as `token_of`, also for a label in use."""
    token, label = token_of(text)
    from meterseal.crypto.token import make_kek

    make_kek(token, label)


def private_key(
    text: str, kind: type[SigningKey] | type[AgreementKey], folder: Path = Path()
) -> SigningKey | AgreementKey:
    """The private key that a URI names, for this purpose.  Raises as `token_of`."""
    token, label = token_of(text, folder)
    from meterseal.crypto.token import agreement_key, signing_key

    return signing_key(token, label) if kind is SigningKey else agreement_key(token, label)


def new_pair(text: str, on: Curve, kind: type[SigningKey] | type[AgreementKey]) -> None:
    """Make the key pair that a URI names, in its token; it signs its requests until `certified`.

    Raises as `token_of`, also for a label in use.
    """
    token, label = token_of(text)
    from meterseal.crypto.token import make_pair

    make_pair(token, label, on, kind, requests=True)


def certified(text: str) -> None:
    """The pair of a URI has its certificate: it does what it is for, and no more.  Raises as `token_of`."""
    token, label = token_of(text)
    from meterseal.crypto.token import end_requests

    end_requests(token, label)


def pair_beside(text: str, on: Curve, kind: type[SigningKey] | type[AgreementKey]) -> str:
    """The URI of a new key pair in the token that holds the key of this URI.  Raises as `token_of`."""
    token_of(text)
    use = "sign" if kind is SigningKey else "agree"
    made = str(TokenUri.parse(text).beside(f"{_OURS}{use}-{random_octets(8).hex()}"))
    new_pair(made, on, kind)
    return made


def pairs_beside(text: str) -> set[str]:
    """The URIs of all that `pair_beside` has made in the token that holds the key of this URI.

    Raises as `token_of`.
    """
    token, _ = token_of(text)
    from meterseal.crypto.token import pairs_of

    uri = TokenUri.parse(text)
    return {str(uri.beside(label)) for label in pairs_of(token) if label.startswith(_OURS)}


def drop_pair(text: str) -> None:
    """Take the key pair of a URI out of its token, for good.  Raises as `token_of`."""
    token, label = token_of(text)
    from meterseal.crypto.token import remove_pair

    remove_pair(token, label)


def _pin(file: str | None, folder: Path) -> bytes:
    if file is not None:
        return read_private(folder / file, "PIN", LARGEST_KEY).strip()
    found = os.environ.get(PIN)
    if not found:
        raise ConfigurationError(f"where is the PIN of the HSM? Say pin-source in the URI, or set {PIN}")
    return found.encode("utf-8")
