"""Key check values: a short name for a key that gives nothing of it away."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from meterseal.errors import KeyLength

AES_LENGTHS = (16, 32)
"""Octets of an AES key in the suites: 16 in 0 and 1, 32 in 2."""

KCV_OCTETS = 5
"""Octets of a check value."""

_ZERO_BLOCK = bytes(16)


def kcv_of(cipher: AES) -> str:
    """`kcv` of a key that is already in a cipher object."""
    # CMAC, and not the older AES-ECB of a zero block: that block is GCM's own hash key H, the
    # whole secret of its authentication, and a check value is made to be shown.
    mac = CMAC(cipher)
    mac.update(_ZERO_BLOCK)
    return mac.finalize()[:KCV_OCTETS].hex().upper()


def kcv(key: bytes) -> str:
    """The check value of an AES key: CMAC of a zero block, first 5 octets, 10 hex digits (ANSI X9.24-1).

    Raises KeyLength unless the key has 16 or 32 octets.
    """
    if len(key) not in AES_LENGTHS:
        raise KeyLength(f"a key of {len(key)} octets, not 16 or 32")
    return kcv_of(AES(key))
