"""The head-end: signs on to many meters, reads what its role may, carries sealed requests it cannot open.

`HeadEnd` is the service, `serve_headend` the same with its HTTPS API as a process.  Needs the `server` extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterseal.doors import doors

if TYPE_CHECKING:
    from meterseal.headend.config import Config, MeterEntry, Utility, load
    from meterseal.headend.house import HeadEnd
    from meterseal.headend.running import Served, run_headend, serve_headend
else:
    __getattr__ = doors(
        __name__,
        {
            "Config": ".config",
            "HeadEnd": ".house",
            "MeterEntry": ".config",
            "Served": ".running",
            "Utility": ".config",
            "load": ".config",
            "run_headend": ".running",
            "serve_headend": ".running",
        },
    )

__all__ = [
    "Config",
    "HeadEnd",
    "MeterEntry",
    "Served",
    "Utility",
    "load",
    "run_headend",
    "serve_headend",
]
