"""Tables for the page about keys: duties, deeds, requests, and what follows when others may have a key."""

from __future__ import annotations

from collections.abc import Iterable

from meterseal.keys.compromise import HARMS
from meterseal.keys.kinds import KINDS
from meterseal.keys.people import ANSWERS, DEEDS, DUTIES

Table = tuple[tuple[str, ...], Iterable[tuple[str, ...]]]


def duties() -> Table:
    """List what each duty is for."""
    return ("duty", "what it is for"), [(f"`{one.value}`", words) for one, words in DUTIES.items()]


def deeds() -> Table:
    """List what is done to a store, and whom it is for."""

    def ticked(said: bool) -> str:
        return "yes" if said else "-"

    rows = []
    for name, row in DEEDS.items():
        whom = ", ".join(one.value for one in row.duties)
        rows.append((f"`{name}`", row.meaning, whom, ticked(row.four_eyes), ticked(row.opens)))
    return ("deed", "to", "duties", "takes two", "keys are used"), rows


def requests() -> Table:
    """Tell where an answer leads a request."""
    rows = [(before.value, said.value, then.value) for (before, said), then in ANSWERS.items()]
    return ("a request that is", "and is answered by", "is then"), rows


def harms() -> Table:
    """List what a key of each kind protected, and what is done about it, the most pressing first."""
    rows = []
    for kind, row in sorted(HARMS.items(), key=lambda item: item[1].priority):
        behind = ", ".join(f"`{one}`" for one in row.carried)
        also = f", then {behind} of the device" if behind else ""
        off = ", its certificate taken off" if KINDS[kind].certified else ""
        rows.append((str(row.priority), f"`{kind}`", row.protected, f"rotate{off}{also}"))
    return ("turn", "kind", "it protected", "what is done"), rows
