"""The utility: a third party that seals requests for meters and opens their answers; others carry both.

The conversation is sans-I/O (session.py, exchanges.py, counting.py): it yields steps, of which one is "have
this `Sealed` carried".  What carries is a callable of the caller: a head-end's HTTPS interface, or
`Meter.forward` of a client.  `SealedMeter` (asyncio) and `meterseal.utility.blocking.SealedMeter` have the
verbs of a client's `Meter`: read, write, call, profile, access.  Names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meterseal.security.sealed import Sealed
    from meterseal.utility.aio import Act, Carry, ProtectedMeter, SealedMeter
    from meterseal.utility.session import SealedSession

_DOORS = {
    "Act": "meterseal.utility.aio",
    "Carry": "meterseal.utility.aio",
    "ProtectedMeter": "meterseal.utility.aio",
    "Sealed": "meterseal.security.sealed",
    "SealedMeter": "meterseal.utility.aio",
    "SealedSession": "meterseal.utility.session",
}

__all__ = ["Act", "Carry", "ProtectedMeter", "Sealed", "SealedMeter", "SealedSession"]


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_DOORS[name]), name)
    globals()[name] = value
    return value
