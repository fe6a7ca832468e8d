"""DLMS/COSEM security from the meter's register to the utility's desk; this module is the front door.

Names of the front door load on first use: `import meterseal` alone costs no cryptography.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as in _DOORS, for type checkers
    pass

__version__ = "0.1.0"

_DOORS: dict[str, str] = {}
"""Public name -> module that defines it. Filled by the parties, e.g. "connect": "meterseal.client"."""

__all__ = ["__version__", *_DOORS]


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_DOORS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS})
