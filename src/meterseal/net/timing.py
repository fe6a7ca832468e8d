"""Time-outs: one rule for every argument that is a time in seconds."""

from __future__ import annotations

from meterseal.errors import Misuse

LONGEST = 2_000_000.0
"""Seconds (23 days); longer times are cut to this, because operating systems wait no longer in one call."""


def seconds(name: str, value: float | None) -> float | None:
    """`value` as seconds to wait: None for ever, 0 not at all, at most `LONGEST`.

    Misuse, with `name`, for a negative number, NaN, or anything that is no number.
    """
    if value is None or (value.__class__ in (float, int) and 0 <= value <= LONGEST):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misuse(f"{name} is a number of seconds or None, not {type(value).__name__}")
    if not value >= 0:
        raise Misuse(f"{name} is 0 or more seconds, not {value}")
    return min(value, LONGEST)
