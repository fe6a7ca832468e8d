"""Meters behind a gateway: is what comes the answer to what was sent? For the channels of all lines.

The prefix is outside of all ciphering (more 1): which meter has answered, only the protection inside tells.
"""

from __future__ import annotations

from meterseal.errors import MetersealError, ProtocolViolation, TimedOut
from meterseal.framing import gateway
from meterseal.framing.gateway import Prefix

_SHOWN = 8


def answer(via: Prefix, octets: bytes) -> bytes:
    """The APDU behind the prefix that answers `via`.

    ProtocolViolation: without a prefix, a request's, of another network or device. Truncated; Malformed for
    a prefix inside a prefix.
    """
    if octets[:1] not in (b"\xe6", b"\xe7"):
        raise ProtocolViolation("an answer without a gateway prefix, to a request that had one")
    prefix, apdu = gateway.decode(octets)
    if prefix != via.answer():
        raise ProtocolViolation(f"an answer {_told(prefix)}, to a request {_told(via)}")
    return apdu


def _told(prefix: Prefix) -> str:
    more = "..." if len(prefix.address) > _SHOWN else ""
    device = prefix.address[:_SHOWN].hex().upper() + more or "of no address"
    return f"{'for' if prefix.request else 'from'} network {prefix.network}, device {device}"


def late(error: TimedOut, passed_over: MetersealError | None) -> TimedOut:
    """The time-out, with the cause why the latest datagram was not taken for the answer."""
    return error if passed_over is None else TimedOut(f"{error}; what came was passed over: {passed_over}")
