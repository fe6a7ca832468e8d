"""Initiates under protection: which ciphered forms an AARQ, AARE, RLRQ or RLRE may carry (security 4, 10).

An Initiate goes under the global keys: in its service-specific form, in general-glo, or in
general-ciphering whose key-info means the GUEK.  A key made for the message would cost curve work before
anybody has proved anything, and is for what comes after.
"""

from __future__ import annotations

from typing import Final

from meterseal.apdu.ciphered import FORMS
from meterseal.apdu.general import GeneralCiphering
from meterseal.errors import UnknownKey
from meterseal.security.keyforms import form_of
from meterseal.security.layers import CIPHERED_TAG, CIPHERING

_GLOBAL: Final = frozenset({"absent", "identified"})


def is_sealed(octets: bytes) -> bool:
    """True for a user-information that is opened first, False for one in the clear.

    Raises UnknownKey for general-ciphering under another key, DecodeError.
    """
    if octets[0] != CIPHERED_TAG:
        return octets[0] in FORMS
    form = form_of(GeneralCiphering.decode(octets).key_info)
    if form not in _GLOBAL:
        raise UnknownKey(f"an Initiate in {CIPHERING} under a key that is {form}: the GUEK is for it")
    return True
