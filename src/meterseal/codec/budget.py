"""Budget of work: what one decoder run may do in relation to the octets it was given."""

from __future__ import annotations

from meterseal.errors import TooLarge

UNITS_PER_OCTET = 4
"""Work units a decoder may spend for each octet of its input."""

STRUCTURE_UNITS = 2
ARRAY_UNITS = 4
"""Units of one structure and one array; a scalar costs one. They follow the memory each takes."""


class Budget:
    """Counts work units; TooLarge once more than `limit` would be spent.

    `spent` can be read at any time: tests hold it against the size of the input.
    """

    __slots__ = ("limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0

    @classmethod
    def of_octets(cls, count: int) -> Budget:
        """The budget for an input of `count` octets."""
        return cls(UNITS_PER_OCTET * count)

    def spend(self, units: int, what: str) -> None:
        """Take `units`, or raise TooLarge naming `what` wanted them."""
        self.spent += units
        if self.spent > self.limit:
            raise TooLarge(f"{what}: more work than {self.limit} units, {UNITS_PER_OCTET} for each octet")

    def affords(self, units: int) -> bool:
        """Take `units` if they are there; False leaves the budget as it was."""
        if self.spent + units > self.limit:
            return False
        self.spent += units
        return True
