"""ACCESS: reads, writes and calls of any attributes and methods in one request (acse-xdlms 5.1).

It has no glo- or ded- form: where it is protected, it travels in the general forms.
"""

from __future__ import annotations

from meterseal.apdu.specifications import AccessResult, AccessSpecification
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.codec.parts import U32, OctetString


class AccessRequest(Message, tag=b"\xd9"):
    """One Data per specification, null-data for a read; `date_time` is empty or 12 octets."""

    long_invoke_id_and_priority: U32
    date_time: OctetString
    specifications: tuple[AccessSpecification, ...]
    data: tuple[Data, ...]


class AccessResponse(Message, tag=b"\xda"):
    """One Data and one result per element, in the order of the request; null-data where none is returned.

    `specifications` repeats those of the request, or is absent.
    """

    long_invoke_id_and_priority: U32
    date_time: OctetString
    specifications: tuple[AccessSpecification, ...] | None
    data: tuple[Data, ...]
    results: tuple[AccessResult, ...]


SELF_DESCRIPTIVE, BREAK_ON_ERROR, CONFIRMED, HIGH_PRIORITY = 1 << 28, 1 << 29, 1 << 30, 1 << 31
"""Bits of Long-Invoke-Id-And-Priority: the answer repeats the specifications; nothing is done after the
first element that fails; an answer is wanted; high priority."""

INVOKE_ID = 0x00FF_FFFF
"""The 24 bits of the long invoke-id itself."""
