"""A key that came along at a sign-on: good for that sign-on, and held once its owner has proved to have it.

Certificates are public, and what carries them at a sign-on is not protected: whoever writes on the line could
send anybody's newer one.  So it takes the place of the older only after the proof (security 11).
"""

from __future__ import annotations

from collections.abc import Callable

from meterseal.crypto import VerifyingKey


class Introduced(VerifyingKey):
    """The key, with what holds its certificate from now on.  `hold` raises what keeping it may raise."""

    __slots__ = ("hold",)

    def __init__(self, key: VerifyingKey, hold: Callable[[], None]) -> None:
        super().__init__(key.curve, key.octets)
        self.hold = hold
