"""Bounds that the framing decoders share: the type of octets taken, and a budget of work."""

from __future__ import annotations

from typing import TypeAlias

from meterseal.errors import TooLarge

Octets: TypeAlias = bytes | bytearray | memoryview

WORK_PER_OCTET = 4
"""A decoder looks at each octet it was given at most this often (design law 3)."""

_GRACE = 64  # lets inputs of a few octets be tried in several ways


class Budget:
    """Work allowed and done, in octets looked at; what is spent beyond the allowance raises TooLarge."""

    __slots__ = ("allowed", "spent")

    def __init__(self, octets: int = 0) -> None:
        self.allowed = WORK_PER_OCTET * octets + _GRACE
        self.spent = 0

    def grant(self, octets: int) -> None:
        """`octets` more have arrived."""
        self.allowed += WORK_PER_OCTET * octets

    def affords(self, octets: int) -> bool:
        """Spend `octets` if that is still allowed, and say whether it was."""
        if self.spent + octets > self.allowed:
            return False
        self.spent += octets
        return True

    def spend(self, octets: int) -> None:
        """Spend `octets`, or raise TooLarge."""
        if not self.affords(octets):
            raise TooLarge(f"more work than {WORK_PER_OCTET} looks at each octet")
