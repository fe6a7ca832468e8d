"""Captured octets as people have them: hex text of many habits, a wire log, or the octets themselves.

Hex may hold white space, colons, commas, hyphens, semicolons, `0x` in front of octets and comments from `#`
to the end of a line. A wire log is a line of JSON per frame with a field `hex` (as `--wire-log` writes it).
"""

from __future__ import annotations

import json
import re
from typing import Final

from meterseal.errors import Malformed, TooLarge, Truncated
from meterseal.framing import detect

MAX_INPUT: Final = 8 << 20
"""Octets of input that are looked at, text or binary; more is refused."""

_COMMENT: Final = re.compile(rb"#[^\n]*")
_SEPARATORS: Final = re.compile(rb"0[xX]|[\s:,;\-]+")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]+")
_BOM: Final = b"\xef\xbb\xbf"


def pieces(source: bytes) -> list[bytes]:
    """The captured octets in `source`, in pieces of whole frames.

    Lines of hex are pieces of their own where each of them is whole; otherwise, as in a dump that is merely
    broken into lines, all of them are one. Raises TooLarge above MAX_INPUT, Truncated for nothing at all,
    Malformed for hex with half an octet and for a wire log that is none.
    """
    if len(source) > MAX_INPUT:
        raise TooLarge(f"more than {MAX_INPUT} octets of input")
    text = source.removeprefix(_BOM)
    if not text.strip():
        raise Truncated("there is nothing to read")
    if text.lstrip()[:1] == b"{":
        return _wire_log(text)
    lines = hex_lines(text)
    if lines is None:
        return [source]
    whole = b"".join(lines)
    if len(lines) > 1 and all(_is_whole(line) for line in lines):
        return lines
    return [whole]


def hex_lines(text: bytes) -> list[bytes] | None:
    """The octets of each line of hex; None when this is no hex.

    Malformed when hex has an odd number of digits, over all the lines together.
    """
    stripped = [_SEPARATORS.sub(b"", line) for line in _COMMENT.sub(b"", text).splitlines()]
    digits = [line for line in stripped if line]
    if not digits or not all(_HEX.fullmatch(line) for line in digits):
        return None
    if all(len(line) % 2 == 0 for line in digits):
        return [bytes.fromhex(line.decode("ascii")) for line in digits]
    joined = b"".join(digits)
    if len(joined) % 2:
        raise Malformed(f"hex of {len(joined)} digits: the last octet has only one")
    return [bytes.fromhex(joined.decode("ascii"))]


def _is_whole(octets: bytes) -> bool:
    """Does a line end where a frame or an APDU does?"""
    return detect.unframe(octets)[-1].error is None


def _wire_log(text: bytes) -> list[bytes]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(bytes.fromhex(json.loads(line)["hex"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Malformed(f"line {number} is no entry of a wire log") from None
    return found
