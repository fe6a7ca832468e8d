"""Keyed digests: what binds a record to its place and names a secret so that nobody can search for it."""

from __future__ import annotations

from hashlib import sha256
from hmac import HMAC

from meterseal.crypto.secret import Guarded, random_octets, same
from meterseal.errors import KeyLength, UnknownKey

LENGTH = 32
"""Octets of a key and of a whole digest."""


class MacKey(Guarded):
    """Handle of a key for HMAC-SHA-256.  Raises KeyLength unless it has 32 octets."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed: HMAC | None = None
        if len(key) != LENGTH:
            del key
            raise KeyLength(f"a key for digests has {LENGTH} octets")
        self._keyed = HMAC(key, digestmod=sha256)

    @staticmethod
    def fresh() -> bytes:
        """The octets of a new one."""
        return random_octets(LENGTH)

    def digest(self, *parts: bytes, length: int = LENGTH) -> bytes:
        """The first `length` octets of the digest of `parts`, each with its length in front.

        Raises UnknownKey after `destroy`.
        """
        if self._keyed is None:
            raise UnknownKey("this key has been destroyed")
        mac = self._keyed.copy()  # the key is in it already: half the work of a short digest
        mac.update(b"".join([piece for part in parts for piece in (len(part).to_bytes(4, "big"), part)]))
        return mac.digest()[:length]

    def holds(self, digest: bytes, *parts: bytes) -> bool:
        """True when `digest` is that of `parts` (constant time)."""
        return len(digest) >= 16 and same(self.digest(*parts, length=len(digest)), digest)

    def destroy(self) -> None:
        """Drop the key; every later use raises UnknownKey."""
        self._keyed = None
