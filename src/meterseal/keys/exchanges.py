"""Exchanges: which messages have come that no counter of a lasting key orders.

A message signed and nothing else has no counter, and under a key made for it alone a counter may start
anew (peer option `fresh_key_any_counter`).  Such a message is known by what makes it the only one of its
kind: its transaction-id, its ephemeral key, its wrapped key (D07).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from meterseal.errors import Replayed

KEPT: Final = 1024
"""Names that are remembered; of more than that the oldest are forgotten."""

ONCE: Final = 0xFFFF_FFFF
"""Counter of what may come a single time, whatever it carries."""


class Exchanges:
    """The latest `KEPT` exchanges by name, each with the lowest counter that it may go on with.

    Only what was verified is put in, so nobody without a key can push anything out.
    """

    __slots__ = ("_lowest",)

    def __init__(self) -> None:
        # What goes is the oldest, each time: a plain dict looks for it among those that have gone.
        self._lowest: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lowest)

    def check(self, name: bytes, counter: int) -> None:
        """Raises Replayed when this exchange has come before with this counter or a higher one."""
        lowest = self._lowest.get(name, 0)
        if lowest == ONCE:
            raise Replayed("this exchange has come before, and it comes once", None)
        if counter < lowest:
            raise Replayed(f"invocation counter {counter} has come before in this exchange", lowest)

    def commit(self, name: bytes, counter: int) -> None:
        """A message of this exchange was verified; with the counter ONCE there is no other."""
        self._lowest.pop(name, None)
        self._lowest[name] = min(counter + 1, ONCE)
        if len(self._lowest) > KEPT:
            self._lowest.popitem(last=False)
