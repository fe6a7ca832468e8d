"""DLMS/COSEM security from the meter's register to the utility's desk; this module is the front door.

Names of the front door load on first use: `import meterseal` alone costs no cryptography.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as in _DOORS, for type checkers
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
    from meterseal.security.sealed import Sealed
    from meterseal.state import FileCounters, MemoryCounters

__version__ = "0.1.0"

_DOORS: dict[str, str] = {
    "Answer": "meterseal.client",
    "Call": "meterseal.client",
    "Credentials": "meterseal.credentials",
    "FileCounters": "meterseal.state",
    "Link": "meterseal.client",
    "MemoryCounters": "meterseal.state",
    "Meter": "meterseal.client",
    "NotDone": "meterseal.client",
    "NotRead": "meterseal.client",
    "Notice": "meterseal.client",
    "Profile": "meterseal.client",
    "Read": "meterseal.client",
    "Sealed": "meterseal.security.sealed",
    "Value": "meterseal.client",
    "Write": "meterseal.client",
    "Written": "meterseal.client",
    "connect": "meterseal.client",
    "link": "meterseal.client",
}
"""Public name -> module that defines it. Filled by the parties, e.g. "connect": "meterseal.client"."""

_MODULES = ("errors", "sync")
"""Modules of the front door that load when they are named."""

__all__ = [
    "Answer",
    "Call",
    "Credentials",
    "FileCounters",
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
    "Write",
    "Written",
    "__version__",
    "connect",
    "errors",
    "link",
    "sync",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"meterseal.{name}")
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_DOORS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS})
