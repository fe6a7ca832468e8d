"""Keys in an HSM, by PKCS#11: the handles of `meterseal.crypto`, with keys that never leave their token.

The only package that imports `pkcs11` (extra `hsm`), and nothing else imports it unasked.
"""

from meterseal.crypto.token.curves import (
    agreement_key,
    end_requests,
    make_pair,
    pairs_of,
    remove_pair,
    signing_key,
)
from meterseal.crypto.token.secrets import TokenGcmKey, TokenWrappingKey, make_kek
from meterseal.crypto.token.session import Token, open_token
from meterseal.crypto.token_uri import TokenUri

__all__ = [
    "Token",
    "TokenGcmKey",
    "TokenUri",
    "TokenWrappingKey",
    "agreement_key",
    "end_requests",
    "make_kek",
    "make_pair",
    "open_token",
    "pairs_of",
    "remove_pair",
    "signing_key",
]
