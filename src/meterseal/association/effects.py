"""Effects: what an association wants done; the party that drives it does it.

An association never waits and never touches a socket, a clock or a disk.  It returns effects;
`Compute` and `Need` are answered by `resume(token, result)`, an `Indication` by `respond`.
Until then the association takes nothing else (design 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from meterseal.apdu.common import SelectiveAccess
from meterseal.association.operations import Operation, Outcome
from meterseal.errors import MetersealError
from meterseal.security.context import Counted
from meterseal.security.sealed import Sealed
from meterseal.security.third import Third

made: Final = tuple.__new__
"""Makes one of these named tuples out of all its fields, without the call of Python that its class takes."""


class Reply(NamedTuple):
    """Send these octets.  `penalty` marks the answer to a failed sign-on: it may be delayed."""

    octets: bytes
    penalty: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """The sending counter `key.tx` has fewer than `count` values left: reserve, then resume."""

    token: int
    key: Counted
    count: int


class Compute(NamedTuple):
    """Run `job` (a pure call, perhaps in a pool) and resume with its result."""

    token: int
    job: Callable[[], Any]


class Indication(NamedTuple):
    """At the meter: these operations are allowed; do them and `respond` with one outcome each.

    `applied` is the protection the request came under, `user` the id behind the client; `broadcast`
    says that the request came under the broadcast key, which every member of the group has.  With
    `stops` nothing may be done after the first operation that fails: the outcomes of the rest are
    `NOT_DONE`.  `third` is the third party that asks through the client.
    """

    token: int
    operations: tuple[Operation, ...]
    applied: int
    user: int | None
    confirmed: bool = True
    broadcast: bool = False
    stops: bool = False
    third: Third | None = None


class Associated(NamedTuple):
    """The association stands.  `user` is the user id of the AARQ, where one was given."""

    user: int | None = None


class Released(NamedTuple):
    """The association has ended; `warning` says what was wrong with the way it ended, if anything."""

    warning: str = ""


class Confirmed(NamedTuple):
    """At the client: the outcome of each operation of the request."""

    outcomes: tuple[Outcome, ...]


class Carried(NamedTuple):
    """At the client: the sealed answer to what was carried."""

    sealed: Sealed


class Failed(NamedTuple):
    """At the client: the request or the sign-on ended with this error."""

    error: MetersealError


class Refusal(NamedTuple):
    """For the journal: what arrived was refused, and why exactly; the peer is told less."""

    error: MetersealError
    during: str


Effect = Reply | Need | Compute | Indication | Associated | Released | Confirmed | Carried | Failed | Refusal

__all__ = [
    "Associated",
    "Carried",
    "Compute",
    "Confirmed",
    "Effect",
    "Failed",
    "Indication",
    "Need",
    "Refusal",
    "Released",
    "Reply",
    "SelectiveAccess",
]
