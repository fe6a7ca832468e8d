"""How makers wrap the keys that they ship: RSA for one receiver, AES-CBC of XML encryption with a password.

Neither is part of DLMS/COSEM, and nothing but files of other people is read with them (keys 4).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from meterseal.crypto.secret import Guarded
from meterseal.errors import ConfigurationError, Forged, Malformed

_BLOCK: Final = 16
_LONGEST_PASSWORD: Final = 16

PADDINGS: Final = {
    "rsa-oaep": padding.OAEP(padding.MGF1(SHA256()), SHA256(), None),
    "rsa-oaep-sha1": padding.OAEP(padding.MGF1(SHA1()), SHA1(), None),
    "rsa": padding.PKCS1v15(),
}
"""How a key may be wrapped for an RSA key, by name."""


class RsaTransportKey(Guarded):
    """The private RSA key of somebody to whom keys are sent: it unwraps, and does nothing else."""

    __slots__ = ("_key",)

    def __init__(self, pem: bytes, password: bytes | None = None) -> None:
        """Raises ConfigurationError for what is no RSA key in PEM form, or below 2,048 bits."""
        try:
            loaded: object = load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            loaded = None
        if not isinstance(loaded, rsa.RSAPrivateKey) or loaded.key_size < 2048:
            del pem, password, loaded
            raise ConfigurationError(
                "no private RSA key of 2,048 bits or more in PEM form, or a wrong password"
            )
        self._key = loaded

    def unwrap(self, blob: bytes, how: str) -> bytes:
        """The octets inside, wrapped by a padding of `PADDINGS`.  Raises Forged.

        With PKCS #1 v1.5 a wrong blob may give octets at random; whoever uses them finds out.
        """
        try:
            return self._key.decrypt(blob, PADDINGS[how])
        except ValueError:
            raise Forged("the key does not unwrap under this RSA key") from None


def open_with_password(password: bytes, ciphertext: bytes) -> bytes:
    """What AES-128-CBC with a password for key and IV alike has inside (keys 4): zeros behind the password.

    Nothing in it proves that the password was right; the reader of what comes out has to.  Raises Malformed
    where length or padding show that it is not, ConfigurationError for a password longer than 16 octets.
    """
    if not 1 <= len(password) <= _LONGEST_PASSWORD:
        raise ConfigurationError(f"the password of such a file has 1 to {_LONGEST_PASSWORD} octets")
    if not ciphertext or len(ciphertext) % _BLOCK:
        raise Malformed("the encrypted part is no whole number of blocks")
    key = password.ljust(_BLOCK, b"\0")
    decryptor = Cipher(AES(key), CBC(key)).decryptor()
    text = decryptor.update(ciphertext) + decryptor.finalize()
    # XML encryption pads with octets of any value; the last one says how many.
    count = text[-1]
    if 1 <= count <= _BLOCK:
        return text[:-count]
    raise Malformed("the password is not right, or the file is not whole")
