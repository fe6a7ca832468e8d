"""A key in a message: protection of APDUs, security setups, sign-on proofs.

The doors are `protect` and `unprotect` (protect.py), the values they work on `SecuritySetup` and
`Context` (context.py), and the proofs of HLS sign-on (hls.py).  Nothing here reads a clock, a
file or a random source.
"""

from meterseal.security.context import Context, KeyInUse, SecuritySetup
from meterseal.security.hls import MECHANISMS, Handshake, Mechanism
from meterseal.security.options import PEER_OPTIONS, peer_options
from meterseal.security.protect import Opened, protect, unprotect
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, SIGNED, Style

__all__ = [
    "AUTHENTICATED",
    "ENCRYPTED",
    "MECHANISMS",
    "PEER_OPTIONS",
    "SIGNED",
    "Context",
    "Handshake",
    "KeyInUse",
    "Mechanism",
    "Opened",
    "SecuritySetup",
    "Style",
    "peer_options",
    "protect",
    "unprotect",
]
