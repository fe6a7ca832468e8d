"""Compression of what is about to be protected, and back once its tag holds (v44 7).

Only general forms carry it, only suites 1 and 2 have it, and only an association whose profile says
so: what is compressed tells of its content by its length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from meterseal.apdu.ciphered import SC_COMPRESSED
from meterseal.crypto.v44 import PACKET, STREAM, Parameters, compress, decompress
from meterseal.errors import Malformed, Misuse, TooWeak
from meterseal.security.context import Context
from meterseal.security.protection import AUTHENTICATED, of_control

COMPRESSION: Final[dict[str, Parameters]] = {"packet-default": PACKET, "stream-default": STREAM}
"""The profiles of parameters by name.  Nothing of them is negotiated: both ends are told the same."""

_NUMBERS: Final = ("n2", "n7", "n8", "c2", "c5")


def parameters_of(text: str) -> Parameters:
    """A profile by its name, and behind it what a peer has otherwise: `packet-default c5=8 n7=46` (v44 2).

    Raises Misuse.
    """
    name, *words = text.split() or [""]
    profile, changes = COMPRESSION.get(name), dict[str, int]()
    if profile is None:
        raise Misuse(f"a compression is one of {', '.join(COMPRESSION)}")
    for word in words:
        key, _, number = word.partition("=")
        if key not in _NUMBERS or key in changes or not (number.isascii() and number.isdigit()):
            raise Misuse(f"behind a compression stand {', '.join(_NUMBERS)} as c5=8, once: {word[:20]!r}")
        changes[key] = int(number[:6])
    return replace(profile, **changes)  # type: ignore[arg-type]


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
