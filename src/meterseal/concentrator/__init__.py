"""The concentrator: one front on TCP, meters behind it on TCP and HDLC lines, named by the gateway prefix.

It forwards and holds no meter key: a sign-on is between head-end and meter.  What it looks at are addresses
and the titles that stand open in front of messages; nothing of a message is kept.
"""

from meterseal.concentrator.config import Config, Route, SharedLine, from_mapping, load
from meterseal.concentrator.house import Concentrator, run_concentrator, serve_concentrator
from meterseal.concentrator.record import Account, Record, Standing

__all__ = [
    "Account",
    "Concentrator",
    "Config",
    "Record",
    "Route",
    "SharedLine",
    "Standing",
    "from_mapping",
    "load",
    "run_concentrator",
    "serve_concentrator",
]
