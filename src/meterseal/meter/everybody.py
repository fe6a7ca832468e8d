"""What comes for all logical devices at once: opened once, as its counter counts once, and heard by each.

Associations of one client share a Security setup and its counters.  Were such a message opened by each
association on its own, the second would see a replay; were there counters for each, what was sent to one
logical device could be sent again to another, for the address on the line is nobody's word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from meterseal.errors import MetersealError
from meterseal.framing import hdlc, wrapper
from meterseal.meter.live import Live
from meterseal.security import Opened

ON_A_BUS: Final = frozenset(hdlc.ALL_STATION.values())
BY_DATAGRAM: Final = frozenset({wrapper.ALL_STATION})
"""Server SAPs that stand for all logical devices, by the kind of line (acse-xdlms 8, 9); none on TCP."""

At: TypeAlias = tuple[int, Live]
"""An association of the client, by its logical device."""


def opened_once(standing: Iterable[At], octets: bytes) -> list[tuple[Opened | MetersealError, list[At]]]:
    """Who hears a message, in groups that share their keys, and what it says to them; or why nothing."""
    groups: dict[tuple[int, bytes | None, bool], list[At]] = {}
    for at in standing:
        context = at[1].machine.context
        groups.setdefault((id(context.setup), context.peer_title, context.general), []).append(at)
    return [(_opened(group[0][1], octets), group) for group in groups.values()]


def _opened(live: Live, octets: bytes) -> Opened | MetersealError:
    try:
        return live.machine.open_for_all(octets)
    except MetersealError as error:
        return error
