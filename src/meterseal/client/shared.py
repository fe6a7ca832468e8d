"""What the sessions of one line have in common: state, keys, and which pairs of SAPs are in use."""

from __future__ import annotations

from collections.abc import Callable

from meterseal.client import plan as plans
from meterseal.client.keyring import Keyring
from meterseal.client.steps import Pair
from meterseal.errors import Misuse
from meterseal.framing.gateway import Prefix


class Shared:
    """What the sessions of one line have in common."""

    def __init__(self, url: str, state: plans.State) -> None:
        self.url = url
        self.state = state
        self.keyring = Keyring(state)
        self.free: Callable[[Pair], None] = _nothing
        """Told when a pair is free again; whoever drives the line may let go of what it keeps for it."""
        self.datagrams = False
        """True for a line that may lose, repeat and reorder what is sent."""
        self.around = 0
        """Octets that the line puts around every APDU within the sizes that are negotiated."""
        self._taken: set[Pair] = set()
        self._spoilt: set[Pair] = set()

    def joins(self, free: Callable[[Pair], None], datagrams: bool, via: Prefix | None) -> None:
        """The line is open, and somebody drives it."""
        self.free, self.datagrams = free, datagrams
        self.around = 0 if via is None else via.length

    def enter(self, pair: Pair) -> None:
        """A session begins.  Raises Misuse when its pair is in use, or no longer to be trusted."""
        if pair in self._taken:
            raise Misuse(f"client {pair[0]} has an association with {pair[1]} on this line already")
        if pair in self._spoilt:
            raise Misuse(f"client {pair[0]}: an earlier sign-on was never answered; open another line")
        self._taken.add(pair)

    def leave(self, pair: Pair, spoilt: bool = False) -> None:
        """A session has ended; `spoilt` when an answer to its sign-on or release may still come."""
        self._taken.discard(pair)
        if spoilt:
            self._spoilt.add(pair)
        self.free(pair)


def _nothing(pair: Pair) -> None:
    """Before anybody drives the line."""
