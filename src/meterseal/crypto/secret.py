"""What secrets have in common: they do not show, do not copy, and are compared in constant time."""

from __future__ import annotations

import os
from hmac import compare_digest
from typing import NoReturn, SupportsIndex

from meterseal.errors import Misuse, UnknownKey


class Guarded:
    """Base of everything that holds key or secret octets: redacted, and refuses copies and pickles.

    A copy would outlive `destroy`, and a pickle would write the octets out.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise Misuse(f"a {type(self).__name__} is not copied or pickled: it holds key material")


class Secret(Guarded):
    """A password or HLS secret (attribute 7 of class 15): octets that only `reveal` hands out."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets: bytes | None = bytes(octets)

    def reveal(self) -> bytes:
        """The octets.  Raises UnknownKey after `destroy`."""
        if self._octets is None:
            raise UnknownKey("this secret has been destroyed")
        return self._octets

    def destroy(self) -> None:
        """Drop the octets; every later `reveal` raises UnknownKey."""
        self._octets = None


same = compare_digest
"""`same(a, b) -> bool`: equal or not, in a time that tells nothing but the lengths (catalogue I01)."""


def is_blank(octets: bytes) -> bool:
    """True for octets that are all zero: a key that nobody has drawn (catalogue G08)."""
    return same(octets, bytes(len(octets)))


def random_octets(count: int) -> bytes:
    """`count` octets of the operating system's random source.  Raises Misuse below 1."""
    if count < 1:
        raise Misuse(f"{count} random octets cannot be drawn")
    return os.urandom(count)
