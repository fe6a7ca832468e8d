"""Moulds: messages that are always the same, octet for octet, but for two fields that are fresh each time.

A mould is taken from a message that was written or read by its declaration.  What it casts that declaration
would write; what fits it that declaration would read, with just these two fields in place of the others.
"""

from __future__ import annotations

from collections.abc import Callable


class Mould:
    """The octets of a message around two fields of fixed lengths, of which the second ends it.

    `size` is the length of the message, `first` and `second` are those of the fields.
    """

    __slots__ = ("_between", "_ends", "_lead", "first", "second", "size")

    def __init__(self, octets: bytes, first: tuple[int, int], second: int) -> None:
        """Of a message with a fresh field at `first` (start, end), and one from `second` to the end."""
        start, end = first
        # Around the fields, and nothing of what was in them: it may have been a password.
        self._lead, self._between = octets[:start], octets[end:second]
        self._ends = start, end, second
        self.size = size = len(octets)
        self.first, self.second = end - start, size - second

    @classmethod
    def of(cls, write: Callable[[bytes, bytes], bytes], first: int, second: int) -> Mould:
        """Of what `write` makes of two fields of these lengths, neither of them 0.

        Raises ValueError where it puts the second one anywhere but at the end.
        """
        low, high = write(bytes(first), bytes(second)), write(b"\xff" * first, b"\xff" * second)
        start = next(at for at, (a, b) in enumerate(zip(low, high, strict=True)) if a != b)
        made = cls(low, (start, start + first), len(low) - second)
        if made.cast(b"\xff" * first, b"\xff" * second) != high:
            raise ValueError("a field that is not where a mould has it")
        return made

    def cast(self, first: bytes, second: bytes) -> bytes:
        """The message with these fields, whose lengths are to be `first` and `second`."""
        return self._lead + first + self._between + second

    def fresh(self, octets: bytes) -> tuple[bytes, bytes] | None:
        """The fresh fields of a message that is the same otherwise; None for every other."""
        start, end, second = self._ends
        if len(octets) != self.size or octets[end:second] != self._between:
            return None
        if not octets.startswith(self._lead):
            return None
        return octets[start:end], octets[second:]
