"""A benchmark case: two functions over the same fresh inputs, and the bar that their ratio has to meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
    """Both sides of a comparison.

    `inputs(n)` makes n fresh inputs for one round; `ours` and `theirs` take one each.  `agree`
    holds the two results against each other before anything is timed; it raises when they differ.
    """

    inputs: Callable[[int], Sequence[Any]]
    ours: Callable[[Any], Any]
    theirs: Callable[[Any], Any]
    agree: Callable[[Any, Any, Any], None]
    calls: int = 200
    """Calls of ours in one round; theirs is called so often that a round takes alike long."""

    calls_theirs: int | None = None


@dataclass(frozen=True)
class Case:
    """One ratio of the table.

    `faster` ratios are theirs / ours and have to be at least `bar`; the others are ours / theirs
    (what we add to a bare call) and at most `bar`.
    """

    name: str
    bar: float
    make: Callable[[], Pair]
    faster: bool = True


@dataclass(frozen=True)
class Figures:
    """Measurements that come together, over lines and in other processes.

    `measure(rounds)` gives a row for each name: with `ratio`, `bar` and `holds` where there is a bar.
    `names` are what it is chosen by; it takes at least `rounds` rounds.
    """

    names: Sequence[str]
    measure: Callable[[int], dict[str, dict[str, Any]]]
    rounds: int
    faster: bool = True
    """As of a `Case`: whether ratios have to be at least their bar, or at most."""


def equal(_: Any, ours: Any, theirs: Any) -> None:
    """The plain check: both results are the same."""
    if ours != theirs:
        raise AssertionError(f"the two sides differ: {ours!r} and {theirs!r}")
