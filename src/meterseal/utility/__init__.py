"""The utility: a third party that seals requests for meters and opens their answers; others carry both.

The conversation is sans-I/O (session.py, exchanges.py, counting.py): it yields steps, of which one is "have
this `Sealed` carried".  What carries is a callable of the caller: a head-end's HTTPS interface, or
`Meter.forward` of a client.  `SealedMeter` (asyncio) and `meterseal.utility.blocking.SealedMeter` have the
verbs of a client's `Meter`: read, write, call, profile, access.  Names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterseal.doors import doors

if TYPE_CHECKING:
    from meterseal.security.sealed import Sealed
    from meterseal.utility.aio import Act, Carry, ProtectedMeter, SealedMeter
    from meterseal.utility.session import SealedSession
else:
    __getattr__ = doors(
        __name__,
        {
            "Act": ".aio",
            "Carry": ".aio",
            "ProtectedMeter": ".aio",
            "Sealed": "meterseal.security.sealed",
            "SealedMeter": ".aio",
            "SealedSession": ".session",
        },
    )

__all__ = ["Act", "Carry", "ProtectedMeter", "Sealed", "SealedMeter", "SealedSession"]
