"""Steps: what a conversation with a meter asks of whoever drives it; it does no input and output itself.

A conversation is a generator that yields steps and is sent their results.  The asyncio client and the
blocking one (aio.py, blocking.py) are two small loops over the same generators.  A step that fails is
thrown in as the error; one that is given up (cancelled) closes the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from meterseal.security.sealed import Sealed

T = TypeVar("T")

Pair: TypeAlias = tuple[int, int]
"""Client SAP and server SAP: on a line, the name of an association."""


@dataclass(slots=True, eq=False)
class Exchange:
    """Send `octets` for `pair`, and wait at most `timeout` seconds for the next APDU that comes back.

    `ahead` are APDUs that go out just before them: the blocks of one window.  With `octets` None: wait on
    for another APDU, until the same deadline.  One object serves all exchanges of an association.
    Result: the APDU.
    """

    pair: Pair
    timeout: float | None
    octets: bytes | None = None
    ahead: tuple[bytes, ...] = ()
    deadline: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Call `job`; `slow` when it may wait for a disk.  Result: what it returns."""

    job: Callable[[], Any]
    slow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Pause:
    """Let `seconds` pass."""

    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Send:
    """Send `octets` for `pair`; nothing comes back."""

    pair: Pair
    octets: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Passing:
    """Have `sealed` carried to its meter, and wait at most `timeout` seconds.  Result: the sealed answer.

    Only a third party's conversation has such steps; a client's does not.
    """

    sealed: Sealed
    timeout: float


@dataclass(frozen=True, slots=True, eq=False)
class Acting:
    """Have a method called by whoever has an association, and wait at most `timeout` seconds.

    Result: what it returns as A-XDR, None for nothing.  As `Passing`, for data protection (class 30).
    """

    class_id: int
    instance: bytes
    method: int
    data: bytes
    timeout: float


Step: TypeAlias = Exchange | Work | Pause | Send | Passing | Acting
Steps: TypeAlias = Generator[Step, Any, T]
