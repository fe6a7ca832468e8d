"""Changes: one number that says whether what was worked out from rules and keys still holds."""

from __future__ import annotations


class Changes:
    """Counts changes of what messages are held against: keys, policy, titles, rights, what is seen.

    Who keeps a decision keeps the `number` it was made at; at another number the decision is void.  All
    that one party decides by may share one of these.
    """

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def note(self) -> None:
        """Something has changed."""
        self.number += 1
