"""DLMS/COSEM security from the meter's register to the utility's desk; this module is the front door.

Names of the front door load on first use: `import meterseal` alone costs no cryptography.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterseal.doors import doors

if TYPE_CHECKING:  # the same names, for type checkers
    from meterseal import errors, sync
    from meterseal.client import (
        Answer,
        Call,
        Link,
        Meter,
        NotDone,
        Notice,
        NotRead,
        Profile,
        Read,
        Value,
        Write,
        Written,
        connect,
        link,
    )
    from meterseal.credentials import Credentials
    from meterseal.net import Limits, WireLog
    from meterseal.security.sealed import Sealed
    from meterseal.state import FileCounters, MemoryCounters

__version__ = "0.1.0"

_DOORS = {
    "Answer": ".client",
    "Call": ".client",
    "Credentials": ".credentials",
    "FileCounters": ".state",
    "Limits": ".net",
    "Link": ".client",
    "MemoryCounters": ".state",
    "Meter": ".client",
    "NotDone": ".client",
    "NotRead": ".client",
    "Notice": ".client",
    "Profile": ".client",
    "Read": ".client",
    "Sealed": ".security.sealed",
    "Value": ".client",
    "WireLog": ".net",
    "Write": ".client",
    "Written": ".client",
    "connect": ".client",
    "errors": "",
    "link": ".client",
    "sync": "",
}

if not TYPE_CHECKING:  # so that checkers know what is not there
    __getattr__ = doors(__name__, _DOORS)

__all__ = [
    "Answer",
    "Call",
    "Credentials",
    "FileCounters",
    "Limits",
    "Link",
    "MemoryCounters",
    "Meter",
    "NotDone",
    "NotRead",
    "Notice",
    "Profile",
    "Read",
    "Sealed",
    "Value",
    "WireLog",
    "Write",
    "Written",
    "__version__",
    "connect",
    "errors",
    "link",
    "sync",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS})
