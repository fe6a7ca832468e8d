"""A conversation: states, sign-on, access and blocks of application associations (sans-I/O).

`ServerAssociation` and `ClientAssociation` take octets and calls and return effects; the party
that drives them owns the sockets, the clock, the random source and the disk.
"""

from meterseal.association.accessing import NOT_DONE
from meterseal.association.client import ClientAssociation
from meterseal.association.effects import (
    Associated,
    Carried,
    Compute,
    Confirmed,
    Effect,
    Failed,
    Indication,
    Need,
    Refusal,
    Released,
    Reply,
)
from meterseal.association.memory import Line, TransferMemory
from meterseal.association.operations import Operation, Outcome, Service, View
from meterseal.association.profile import (
    DEFAULT_CONFORMANCE,
    SERVER_CONFORMANCE,
    ClientProfile,
    ServerProfile,
    conformance,
)
from meterseal.association.server import ServerAssociation
from meterseal.association.states import TABLE, Kind, Role, State

__all__ = [
    "DEFAULT_CONFORMANCE",
    "NOT_DONE",
    "SERVER_CONFORMANCE",
    "TABLE",
    "Associated",
    "Carried",
    "ClientAssociation",
    "ClientProfile",
    "Compute",
    "Confirmed",
    "Effect",
    "Failed",
    "Indication",
    "Kind",
    "Line",
    "Need",
    "Operation",
    "Outcome",
    "Refusal",
    "Released",
    "Reply",
    "Role",
    "ServerAssociation",
    "ServerProfile",
    "Service",
    "State",
    "TransferMemory",
    "View",
    "conformance",
]
