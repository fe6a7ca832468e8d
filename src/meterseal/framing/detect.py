"""Which framing captured octets have, and the APDUs inside: recognition in the order of more 4.3.

`unframe` takes octets of one or several frames, one after another, and works from the outside in: link frames
(HDLC, M-Bus, wrapper, P1), their segments, LLC octets, a gateway prefix, general block transfer, the APDU.
Whether octets "parse as an APDU" is the word of the caller: this package knows tags, not APDUs.
"""

from __future__ import annotations

from .bounds import Budget, Octets
from .capture import Capture
from .items import APDU, DATA, LINK, P1_TELEGRAM, IsApdu, Item, Layer

__all__ = ["APDU", "DATA", "LINK", "P1_TELEGRAM", "IsApdu", "Item", "Layer", "detect", "unframe"]


def detect(octets: Octets, is_apdu: IsApdu | None = None) -> str:
    """The outermost kind of the first frame: that of its layer, or of an item without layers.

    `hdlc`, `m-bus`, `wrapper`, `p1`, `llc`, `gateway`, `general-block-transfer`, `apdu` or `data`. The
    frame has to hold; otherwise the DecodeError that says why it does not.
    """
    first = unframe(octets, is_apdu)[0]
    if first.layers:
        return first.layers[0].kind
    if first.error is not None:
        raise first.error
    return first.kind


def unframe(
    octets: Octets,
    is_apdu: IsApdu | None = None,
    *,
    length_modulo_256: bool = False,
    limit: int = 0xFFFF,
) -> list[Item]:
    """Everything that `octets` hold, in order: at least one item, and only the last one may have an `error`.

    `is_apdu` left out: the tag decides. `length_modulo_256`: the M-Bus option of that name. `limit`: octets
    of one joined APDU. Octets that could be frames or a bare APDU are what consumes all of them; when
    neither does, the error names both causes.
    """
    octets = bytes(octets)
    budget = Budget(len(octets))
    framed = Capture(budget, is_apdu, length_modulo_256, limit)
    framed.read_frames(octets)
    if framed.items and framed.items[-1].error is None:
        return framed.items
    bare = Capture(budget, is_apdu, length_modulo_256, limit)
    bare.read_bare(octets)
    return bare.items if not framed.items or bare.items[-1].kind == APDU else framed.items
