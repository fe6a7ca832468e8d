"""What both ends of V.44 have in common: control codes, parameters and the fields of a length (v44 2, 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from meterseal.errors import Misuse

FIRST: Final = 4
"""The first codeword; the values below are the control codes."""

ETM, FLUSH, STEPUP, REINIT = range(FIRST)
"""To transparent mode (not in packets), end and padding, one bit more, dictionary anew."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What both ends agree on (v44 2): nothing of it travels.

    `n2`: codewords, control codes included, 256 to 65535; `n7`: octets of the longest string, 32 to
    255; `c2`, `c5`: bits that a codeword and an ordinal have at first.  `when_full` is the encoder's
    choice: go on with the strings there are (freeze), or begin anew (reinit), which it then also does
    after `n8` octets of history, None for no end; a decoder follows either.  Raises Misuse.
    """

    n2: int = 1525
    n7: int = 255
    c2: int = 6
    c5: int = 7
    when_full: Literal["freeze", "reinit"] = "freeze"
    n8: int | None = None

    def __post_init__(self) -> None:
        bounds = {"n2": (256, 65535), "n7": (32, 255), "c2": (3, 16), "c5": (7, 8)}
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise Misuse(f"V.44 {name} is {least} to {most}, not {value}")
        if self.c2 > self.n1:
            raise Misuse(f"V.44 c2 is {self.n1} bits at most where there are {self.n2} codewords")
        if self.n8 is not None and self.n8 < 512:
            raise Misuse(f"V.44 n8 is 512 or more, not {self.n8}")
        if self.when_full not in ("freeze", "reinit"):
            raise Misuse(f"V.44 when_full is freeze or reinit, not {self.when_full!r}")
        if self.n8 is not None and self.when_full == "freeze":
            raise Misuse("V.44 n8 is for an encoder that begins anew (reinit)")

    @property
    def n1(self) -> int:
        """Bits of the largest codeword."""
        return (self.n2 - 1).bit_length()


PACKET: Final = Parameters()
"""The packet method as the implementations seen have it."""

STREAM: Final = Parameters(n2=1024, when_full="reinit", n8=3072)
"""The defaults of the stream method, for peers that use them packet by packet."""


def tail_bits(n7: int) -> int:
    """Bits of a length from 13 on (v44 3)."""
    return 5 if n7 <= 46 else 6 if n7 <= 78 else 7 if n7 <= 142 else 8


@cache
def length_codes(n7: int) -> tuple[tuple[int, int], ...]:
    """(bits, width) of every extension length from 0 (unused) to n7 - 2, the `0 1` in front included."""
    fields = [(0, 0), (1, 1)]
    fields += [((n - 1) << 1, 3) for n in range(2, 5)]
    fields += [((n - 5) << 4, 7) for n in range(5, 13)]
    fields += [(8 | (n - 13) << 4, 4 + tail_bits(n7)) for n in range(13, n7 - 1)]
    return tuple((0b10 | bits << 2, width + 2) for bits, width in fields)
