"""How long what an authority makes is valid."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from meterseal.crypto.certificates import NO_EXPIRY, Certificate
from meterseal.crypto.issuing import Validity
from meterseal.errors import Misuse

ROOT_DAYS: Final = 7300
SUB_DAYS: Final = 3650
DEVICE_DAYS: Final = 1825
LIST_DAYS: Final = 30
TOKEN_DAYS: Final = 14
MOST_DAYS: Final = 36_500
"""Days that something is valid at most, if it has an end."""

BACKDATED: Final = timedelta(hours=1)
"""A certificate begins a little before it is made: clocks of meters are not that exact."""


def check_days(days: int, what: str) -> None:
    """Raises Misuse unless something may be valid for so many days."""
    if not 1 <= days <= MOST_DAYS:
        raise Misuse(f"{what} for 1 to {MOST_DAYS} days")


def validity(now: datetime, days: int | None, above: Certificate | None) -> Validity:
    """From now on, within the time of the certificate above; `days` None: without a planned end.

    Raises Misuse for too many days, or none.
    """
    if days is not None:
        check_days(days, "a certificate is valid without a planned end, or")
    begin = now - BACKDATED
    if above is not None:
        begin = max(begin, above.not_before)
    return Validity(begin, NO_EXPIRY if days is None else now + timedelta(days=days))
