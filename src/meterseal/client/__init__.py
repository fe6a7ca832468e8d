"""The client: an association with a meter from sign-on to release, with asyncio and without.

The conversation itself is sans-I/O: generators that yield steps (steps.py, session.py, verbs.py), driven by
two small loops (aio.py, blocking.py).  Names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterseal.doors import doors

if TYPE_CHECKING:
    from meterseal.client.aio import Link, Meter, connect, link
    from meterseal.client.elements import Call, NotDone, Read, Write, Written
    from meterseal.client.plan import Wishes
    from meterseal.client.setups import ByEntity, BySerial, CertificateInfo
    from meterseal.client.values import Answer, Notice, NotRead, Profile, Value
else:
    __getattr__ = doors(
        __name__,
        {
            "Link": ".aio",
            "Meter": ".aio",
            "connect": ".aio",
            "link": ".aio",
            "Wishes": ".plan",
            "ByEntity": ".setups",
            "BySerial": ".setups",
            "CertificateInfo": ".setups",
            "Call": ".elements",
            "NotDone": ".elements",
            "Read": ".elements",
            "Write": ".elements",
            "Written": ".elements",
            "Answer": ".values",
            "NotRead": ".values",
            "Notice": ".values",
            "Profile": ".values",
            "Value": ".values",
        },
    )

__all__ = [
    "Answer",
    "ByEntity",
    "BySerial",
    "Call",
    "CertificateInfo",
    "Link",
    "Meter",
    "NotDone",
    "NotRead",
    "Notice",
    "Profile",
    "Read",
    "Value",
    "Wishes",
    "Write",
    "Written",
    "connect",
    "link",
]
