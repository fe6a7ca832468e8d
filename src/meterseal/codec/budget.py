"""Budget of work: what one decoder run may do in relation to the octets it was given."""

from __future__ import annotations

from typing import Final

READING_UNITS: Final = 3
"""Work units that reading may take for each octet of what is read."""

TRYING_UNITS: Final = 1
"""Units for each octet of the input that may go into short cuts, whether or not they turn out to fit."""

STRUCTURE_UNITS: Final = 2
ARRAY_UNITS: Final = 4
"""Units of one structure and one array; a scalar costs one. They follow the memory each takes."""


class Budget:
    """Work units of one decoder run on an input of `octets`: at most four for each of them.

    `spent` is what reading took: the values it made. Values with tags cannot take more than
    READING_UNITS an octet; compact-arrays, whose descriptions multiply, are held to it. `tried` is what
    short cuts took. Tests read both and hold `work`, the sum, against the size of the input.
    """

    __slots__ = ("octets", "spent", "tried")

    def __init__(self, octets: int) -> None:
        """Start with nothing spent on an input of `octets`."""
        self.octets = octets
        self.spent = 0
        self.tried = 0

    @property
    def work(self) -> int:
        """All units used so far."""
        return self.spent + self.tried

    def try_for(self, units: int) -> bool:
        """Take `units` for a short cut if they are there; False leaves the budget as it was."""
        if self.tried + units > TRYING_UNITS * self.octets:
            return False
        self.tried += units
        return True
