"""Key wrap of RFC 3394, with which a key travels under the KEK (security 8)."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from meterseal.crypto.check import AES_LENGTHS, kcv_of
from meterseal.crypto.secret import Guarded, random_octets, same
from meterseal.errors import Forged, KeyLength, UnknownKey

SHORTEST, LONGEST = 16, 1024
"""Octets that may be wrapped: RFC 3394 wants two blocks of 8 at least; no secret here is longer."""

_OVERHEAD = 8


class WrappingKey(Guarded):
    """Handle of a KEK (master key): wraps and unwraps, and never shows the key.

    Raises KeyLength unless the KEK has 16 or 32 octets.
    """

    __slots__ = ("_kcv", "_kek")

    def __init__(self, kek: bytes) -> None:
        self._kek: bytes | None = None
        self._kcv = ""
        length = len(kek)
        if length not in AES_LENGTHS:
            del kek  # a traceback shows locals
            raise KeyLength(f"a KEK of {length} octets, not 16 or 32")
        self._kek = bytes(kek)
        self._kcv = kcv_of(AES(self._kek))

    def __repr__(self) -> str:
        return f"<WrappingKey {self._kcv}{'' if self._kek else ', destroyed'}>"

    @property
    def kcv(self) -> str:
        """The check value of the KEK."""
        return self._kcv

    def wrap(self, key: bytes) -> bytes:
        """`key` wrapped: 8 octets longer.

        Raises KeyLength unless it has 16 to 1024 octets and a multiple of 8, UnknownKey after
        `destroy`.
        """
        length = len(key)
        if not SHORTEST <= length <= LONGEST or length % 8:
            del key
            raise KeyLength(f"{length} octets cannot be wrapped: 16 to 1024 in steps of 8 can")
        return self._wrapped(key)

    def _wrapped(self, key: bytes) -> bytes:
        return aes_key_wrap(self._held(), key)

    def fresh(self, length: int) -> tuple[bytes, bytes]:
        """A new random key of `length` octets, bare and wrapped.  Raises as `wrap`."""
        key = random_octets(length)
        return key, self.wrap(key)

    def unwrap(self, blob: bytes) -> bytes:
        """The key inside `blob`; its length is for the caller to hold against his suite.

        Raises Forged for everything that is not a wrap under this KEK, its length included: the
        answer tells nobody how far a forged one came.  Raises UnknownKey after `destroy`.
        """
        kek = self._held()
        try:
            if len(blob) <= LONGEST + _OVERHEAD:
                return aes_key_unwrap(kek, blob)
        except InvalidUnwrap:
            pass
        del kek
        raise Forged("the wrapped key does not unwrap: other KEK, or changed on the way") from None

    def holds(self, kek: bytes) -> bool:
        """True when `kek` is this very key (constant time); for refusing the same key again."""
        return same(self._held(), kek)

    def destroy(self) -> None:
        """Drop the key; every later use raises UnknownKey."""
        self._kek = None

    def _held(self) -> bytes:
        if self._kek is None:
            raise UnknownKey(f"KEK {self._kcv} has been destroyed")
        return self._kek
