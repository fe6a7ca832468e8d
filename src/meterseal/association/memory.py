"""Memory of half-open transfers: one budget for all associations of a meter, shared out fairly (F12)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, NamedTuple, Protocol

from meterseal.association.transfer import LARGEST

LIMIT: Final = 16 << 20
"""Octets that all half-open transfers of a meter keep at most."""


class Holder(Protocol):
    """An association that keeps something."""

    def lose_transfer(self) -> None:
        """Forget what is kept: its place was needed."""


class TransferMemory:
    """Who keeps how much.  Above `limit` octets the oldest transfer of who holds most has to go.

    A `share` is what belongs together, for example all associations of one source: what one source
    keeps is taken from it first.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.total = 0
        self._kept: dict[Hashable, dict[Holder, int]] = {}
        self._totals: dict[Hashable, int] = {}

    def keep(self, holder: Holder, share: Hashable, octets: int) -> None:
        """`holder` keeps so many octets from now on; 0 when its transfer has ended."""
        self._set(holder, share, octets)
        while self.total > self.limit and self._make_room(holder):
            pass

    def _set(self, holder: Holder, share: Hashable, octets: int) -> None:
        mine = self._kept.setdefault(share, {})
        more = octets - mine.get(holder, 0)
        self.total += more
        self._totals[share] = self._totals.get(share, 0) + more
        if octets:
            mine[holder] = octets
        else:
            mine.pop(holder, None)
            if not mine:
                del self._kept[share], self._totals[share]

    def _make_room(self, asking: Holder) -> bool:
        """Drop the oldest transfer of the largest share; never the one that asks."""
        for share in sorted(self._totals, key=self._totals.__getitem__, reverse=True):
            victim = next((holder for holder in self._kept[share] if holder is not asking), None)
            if victim is not None:
                self._set(victim, share, 0)
                victim.lose_transfer()
                return True
        return False

    def __len__(self) -> int:
        """How many transfers are half-open."""
        return sum(len(mine) for mine in self._kept.values())


class Line(NamedTuple):
    """What carries an association of a meter.

    `datagrams`: it may lose, repeat and reorder.  What half-open transfers keep is counted in `memory`, which
    all associations of a meter share, as part of `share`.  It carries APDUs of at most `largest` octets,
    whatever a client says that it takes.
    """

    datagrams: bool = False
    memory: TransferMemory | None = None
    share: Hashable = None
    largest: int = LARGEST
