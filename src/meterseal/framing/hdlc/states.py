"""The states of an HDLC link: one table for primary (client) and secondary (meter), normal response mode.

`TABLE[role, state, frame kind]` names the action and, per outcome of that action, the next state; the kind
is None for a control octet that DLMS/COSEM does not use. A frame without a row changes nothing and gets no
answer (acse-xdlms 9, more 8). UI frames belong to no link and are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from .control import Kind


class Role(Enum):
    """Which end of a link this is: the primary asks, the secondary speaks when it is asked."""

    PRIMARY = "primary"
    SECONDARY = "secondary"

    __hash__ = object.__hash__  # Enum's own is a call of Python for each look-up


class State(Enum):
    """Where a link stands. `CONNECTING` and `DISCONNECTING` are the primary waiting for UA or DM;
    `REJECTED` is the secondary that has answered FRMR and waits for SNRM or DISC.
    """

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    REJECTED = "rejected"
    DISCONNECTING = "disconnecting"

    __hash__ = object.__hash__


class Step(NamedTuple):
    """What to do with a frame, and where each outcome leads."""

    action: str
    outcomes: Mapping[str, State]


_OPEN: Final = Step("open", {"opened": State.CONNECTED, "refused": State.DISCONNECTED})
_LEAVE: Final = Step("leave", {"left": State.DISCONNECTED})
_REFUSED: Final = Step("give_up", {"ended": State.DISCONNECTED})
_RESPONSES: Final = (Kind.UA, Kind.DM, Kind.FRMR)
"""No commands: a secondary takes them for unknown control octets."""


def _numbered(role: Role, rejected: State) -> dict[tuple[Role, State, Kind | None], Step]:
    """What both roles do with numbered frames, and with control octets that nobody uses."""
    outcomes = {"taken": State.CONNECTED, "rejected": rejected}
    unknown = Step("reject_unknown", {"rejected": rejected})
    return {
        (role, State.CONNECTED, Kind.I): Step("take", outcomes),
        (role, State.CONNECTED, Kind.RR): Step("acknowledge", outcomes),
        (role, State.CONNECTED, Kind.RNR): Step("acknowledge", outcomes),
        (role, State.CONNECTED, None): unknown,
    }


TABLE: Final[dict[tuple[Role, State, Kind | None], Step]] = {
    # The secondary. SNRM starts a link anew whatever was before.
    (Role.SECONDARY, State.DISCONNECTED, Kind.SNRM): _OPEN,
    (Role.SECONDARY, State.DISCONNECTED, Kind.DISC): Step("deny", {"denied": State.DISCONNECTED}),
    (Role.SECONDARY, State.CONNECTED, Kind.SNRM): _OPEN,
    (Role.SECONDARY, State.CONNECTED, Kind.DISC): _LEAVE,
    **_numbered(Role.SECONDARY, State.REJECTED),
    **{
        (Role.SECONDARY, State.CONNECTED, kind): Step("reject_unknown", {"rejected": State.REJECTED})
        for kind in _RESPONSES
    },
    (Role.SECONDARY, State.REJECTED, Kind.SNRM): _OPEN,
    (Role.SECONDARY, State.REJECTED, Kind.DISC): _LEAVE,
    **{
        (Role.SECONDARY, State.REJECTED, kind): Step("reject_again", {"rejected": State.REJECTED})
        for kind in (Kind.I, Kind.RR, Kind.RNR, None, *_RESPONSES)
    },
    # The primary.
    (Role.PRIMARY, State.CONNECTING, Kind.UA): Step(
        "agree", {"agreed": State.CONNECTED, "rejected": State.DISCONNECTING}
    ),
    (Role.PRIMARY, State.CONNECTING, Kind.DM): _REFUSED,
    (Role.PRIMARY, State.CONNECTING, Kind.FRMR): _REFUSED,
    **_numbered(Role.PRIMARY, State.DISCONNECTING),
    (Role.PRIMARY, State.CONNECTED, Kind.DM): _REFUSED,
    (Role.PRIMARY, State.CONNECTED, Kind.FRMR): _REFUSED,
    **{
        (Role.PRIMARY, State.DISCONNECTING, kind): Step("part", {"parted": State.DISCONNECTED})
        for kind in _RESPONSES
    },
}

ASKS: Final = {
    State.DISCONNECTED: Kind.UI,
    State.CONNECTING: Kind.SNRM,
    State.CONNECTED: Kind.RR,
    State.DISCONNECTING: Kind.DISC,
}
"""What a primary with nothing to send asks with, by state; an empty UI frame collects events (more 8)."""
