"""The states of an application association: one table for client and meter.

`TABLE[role, state, message kind]` names the action and, per outcome of that action, the next
state.  A message that has no row is refused: at the meter it changes nothing; at the client it ends
the sign-on, request or release that was waiting for an answer (security 11; Green Book 9.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from meterseal.apdu import access, acse, initiate, services
from meterseal.codec.message import Message
from meterseal.errors import Unsupported
from meterseal.security.sealed import Sealed


class Role(Enum):
    """Which end of the association this is."""

    CLIENT = "client"
    SERVER = "server"

    __hash__ = object.__hash__  # Enum's own is a call of Python for each look-up


class State(Enum):
    """Where an association stands.

    `OPENING` and `CLOSING` are the client waiting for AARE and RLRE; `PENDING` is the standard's
    association-pending; `STANDING` is a pre-established association.
    """

    IDLE = "non-associated"
    OPENING = "opening"
    PENDING = "association-pending"
    ASSOCIATED = "associated"
    CLOSING = "closing"
    STANDING = "pre-established"

    __hash__ = object.__hash__  # Enum's own is a call of Python for each look-up


IDLE, OPENING, PENDING, ASSOCIATED, CLOSING, STANDING = State
"""The states by themselves: to read one from its class is a call of the enumeration's."""


class Kind(Enum):
    """What a message is, as far as the states care."""

    AARQ = "AARQ"
    AARE = "AARE"
    RLRQ = "RLRQ"
    RLRE = "RLRE"
    REQUEST = "service request"
    RESPONSE = "service response"
    ERROR = "error response"
    NOTIFICATION = "notification"
    CONFIRMATION = "notification confirmed"
    SEALED = "sealed for others"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with a message, and where each outcome leads."""

    action: str
    outcomes: Mapping[str, State]


def _open(refused: State) -> dict[str, State]:
    return {"accepted": State.ASSOCIATED, "challenged": State.PENDING, "refused": refused}


TABLE: dict[tuple[Role, State, Kind], Step] = {
    # The meter.  A second AARQ that passes its checks starts the association of its pair anew;
    # one that does not leaves everything as it is.
    (Role.SERVER, State.IDLE, Kind.AARQ): Step("open", _open(State.IDLE)),
    (Role.SERVER, State.PENDING, Kind.AARQ): Step("open", _open(State.PENDING)),
    (Role.SERVER, State.ASSOCIATED, Kind.AARQ): Step("open", _open(State.ASSOCIATED)),
    (Role.SERVER, State.PENDING, Kind.REQUEST): Step(
        "prove", {"proved": State.ASSOCIATED, "failed": State.IDLE}
    ),
    (Role.SERVER, State.PENDING, Kind.RLRQ): Step(
        "release", {"released": State.IDLE, "refused": State.PENDING}
    ),
    (Role.SERVER, State.ASSOCIATED, Kind.REQUEST): Step("serve", {"served": State.ASSOCIATED}),
    (Role.SERVER, State.ASSOCIATED, Kind.RLRQ): Step(
        "release", {"released": State.IDLE, "refused": State.ASSOCIATED}
    ),
    (Role.SERVER, State.STANDING, Kind.REQUEST): Step("serve", {"served": State.STANDING}),
    # The client.
    (Role.CLIENT, State.OPENING, Kind.AARE): Step("accept", _open(State.IDLE)),
    (Role.CLIENT, State.OPENING, Kind.ERROR): Step("fail", {"failed": State.IDLE}),
    (Role.CLIENT, State.PENDING, Kind.RESPONSE): Step(
        "check", {"proved": State.ASSOCIATED, "failed": State.IDLE}
    ),
    (Role.CLIENT, State.PENDING, Kind.ERROR): Step("fail", {"failed": State.IDLE}),
    (Role.CLIENT, State.ASSOCIATED, Kind.RESPONSE): Step("answer", {"answered": State.ASSOCIATED}),
    (Role.CLIENT, State.ASSOCIATED, Kind.SEALED): Step("carry", {"carried": State.ASSOCIATED}),
    (Role.CLIENT, State.ASSOCIATED, Kind.ERROR): Step("fail", {"failed": State.ASSOCIATED}),
    (Role.CLIENT, State.ASSOCIATED, Kind.NOTIFICATION): Step("hear", {"heard": State.ASSOCIATED}),
    (Role.CLIENT, State.CLOSING, Kind.RESPONSE): Step("ignore", {"ignored": State.CLOSING}),
    (Role.CLIENT, State.CLOSING, Kind.NOTIFICATION): Step("ignore", {"ignored": State.CLOSING}),
    (Role.CLIENT, State.CLOSING, Kind.SEALED): Step("ignore", {"ignored": State.CLOSING}),
    (Role.CLIENT, State.CLOSING, Kind.RLRE): Step("released", {"released": State.IDLE}),
    (Role.CLIENT, State.CLOSING, Kind.ERROR): Step("released", {"released": State.IDLE}),
}


def _kinds() -> dict[type[Any], Kind]:
    kinds: dict[type[Any], Kind] = {
        Sealed: Kind.SEALED,
        acse.Aarq: Kind.AARQ,
        acse.Aare: Kind.AARE,
        acse.Rlrq: Kind.RLRQ,
        acse.Rlre: Kind.RLRE,
        initiate.ExceptionResponse: Kind.ERROR,
        initiate.CounterErrorResponse: Kind.ERROR,
        initiate.ConfirmedServiceError: Kind.ERROR,
        services.DataNotification: Kind.NOTIFICATION,
        services.EventNotificationRequest: Kind.NOTIFICATION,
        services.DataNotificationConfirm: Kind.CONFIRMATION,
    }
    for declared in (*vars(services).values(), *vars(access).values()):
        if isinstance(declared, type) and issubclass(declared, Message) and "tag" in vars(declared):
            if "Request" in declared.__name__:
                kinds.setdefault(declared, Kind.REQUEST)
            elif "Response" in declared.__name__:
                kinds[declared] = Kind.RESPONSE
    return kinds


KIND_OF: dict[type[Any], Kind] = _kinds()
"""The kind of every message that the states know."""


def kind_of(message: Any) -> Kind:
    """The kind of a message.

    Raises Unsupported for one that no state takes: services with short names, a bare Initiate.
    """
    kind = KIND_OF.get(type(message))
    if kind is None:
        raise Unsupported(f"{message.name} is not taken in an association")
    return kind
