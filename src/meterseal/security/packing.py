"""Compression of what is about to be protected, and back once its tag holds (v44 7).

Only general forms carry it, only suites 1 and 2 have it, and only an association whose profile says
so: what is compressed tells of its content by its length.
"""

from __future__ import annotations

from typing import Final

from meterseal.apdu.ciphered import SC_COMPRESSED
from meterseal.crypto.v44 import PACKET, STREAM, Parameters, compress, decompress
from meterseal.errors import Malformed, TooWeak
from meterseal.security.context import Context
from meterseal.security.protection import AUTHENTICATED, of_control

COMPRESSION: Final[dict[str, Parameters]] = {"packet-default": PACKET, "stream-default": STREAM}
"""The profiles of parameters by name.  Nothing of them is negotiated: both ends are told the same."""


def pack(context: Context, sc: int, apdu: bytes) -> tuple[int, bytes]:
    """SC and information to protect: compressed where that is on and shorter."""
    parameters = context.compression
    if parameters is None or not context.setup.suite.compression or not of_control(sc) & AUTHENTICATED:
        return sc, apdu
    packed = compress(apdu, parameters)
    return (sc | SC_COMPRESSED, packed) if len(packed) < len(apdu) else (sc, apdu)


def check_packed(context: Context, sc: int, unfit: str = "") -> None:
    """Look at the compression bit of a received `sc`; `unfit` names a form that should not have it.

    Raises Malformed, TooWeak.
    """
    if not sc & SC_COMPRESSED:
        return
    if unfit and "compress_service_specific" not in context.options:
        raise Malformed(f"security control {sc:02X}: compression is not for {unfit}")
    if context.compression is None or not context.setup.suite.compression:
        raise Malformed(f"security control {sc:02X}: compression is off in this association")
    if not of_control(sc) & AUTHENTICATED:
        raise TooWeak(f"security control {sc:02X}: compressed content without a tag is not opened")


def unpack(context: Context, sc: int, plain: bytes) -> bytes:
    """The APDU; its tag has been verified.  Raises DecodeError for what does not decompress within limits."""
    if not sc & SC_COMPRESSED or context.compression is None:
        return plain
    return decompress(plain, context.compression, context.limit)
