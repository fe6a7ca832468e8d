"""Who may hold connections: caps for those that have not signed on.

No stranger takes the place of others (design law 8): caps are per source, and the oldest goes first. A peer
that has proved itself is out of all this.
"""

from __future__ import annotations

from typing import Protocol

from meterseal.errors import ConnectionLost, Misuse

PER_SOURCE = 1024
_RESERVE = 128  # descriptors for state files, and for connections that are just being closed
_UNLIMITED = 1 << 20


class Newcomer(Protocol):
    """What is admitted: a connection."""

    @property
    def source(self) -> str:
        """What limits per source go by."""

    def abort(self, cause: Exception | None = None) -> None:
        """Close at once."""


class Admission:
    """`per_source`: connections of one source that have not signed on. `total`: connections altogether.

    `total` left out: the process's limit of open files less a reserve and the listening sockets. One
    Admission may serve several listeners, then the caps hold for all of them together.
    """

    def __init__(self, per_source: int = PER_SOURCE, total: int | None = None) -> None:
        if per_source < 1 or (total is not None and total < 1):
            raise Misuse("caps on connections are 1 or more")
        self.per_source = per_source
        self.dropped = 0
        """Connections closed to make room, and newcomers for whom there was none."""
        self.listeners = 0
        self._total = total
        self._count = 0
        self._strangers: dict[str, dict[Newcomer, None]] = {}

    @property
    def total(self) -> int:
        """Connections that may be open altogether."""
        if self._total is not None:
            return self._total
        files = _open_files_limit()
        return max(1, files - min(_RESERVE, files // 4) - self.listeners)

    @property
    def count(self) -> int:
        """Connections that are open."""
        return self._count

    def enter(self, newcomer: Newcomer) -> bool:
        """Make room for `newcomer`, or say that there is none because all others have signed on."""
        source = newcomer.source
        of_source = self._strangers.get(source, {})
        if len(of_source) >= self.per_source:
            self._drop(next(iter(of_source)))
        if self._count >= self.total and not self.shed():
            self.dropped += 1
            return False
        self._strangers.setdefault(source, {})[newcomer] = None
        self._count += 1
        return True

    def established(self, connection: Newcomer) -> None:
        """It has signed on: no cap applies to it any more."""
        self._forget(connection)

    def leave(self, connection: Newcomer) -> None:
        """It is closed."""
        self._forget(connection)
        self._count -= 1

    def shed(self) -> bool:
        """Close the oldest stranger of the source that has most of them; False when there are none."""
        if not self._strangers:
            return False
        crowd = max(self._strangers.values(), key=len)
        self._drop(next(iter(crowd)))
        return True

    def _drop(self, connection: Newcomer) -> None:
        self.dropped += 1
        self._forget(connection)
        connection.abort(ConnectionLost("closed to make room: it had not signed on"))

    def _forget(self, connection: Newcomer) -> None:
        of_source = self._strangers.get(connection.source)
        if of_source is not None and connection in of_source:
            del of_source[connection]
            if not of_source:
                del self._strangers[connection.source]


def _open_files_limit() -> int:
    """Descriptors that this process may have."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


def allow_files(wanted: int) -> int:
    """Raise the limit of open files towards `wanted`, as far as this process may; what it is then."""
    try:
        import resource
    except ImportError:
        return _UNLIMITED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return _open_files_limit()
