"""Rounds on a shared line: which meter is asked for pushes next, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from meterseal.concentrator.config import Route, SharedLine
from meterseal.framing.hdlc import on_device


class Due(NamedTuple):
    """A meter that is to be asked: for pushes of a logical device to a client SAP."""

    route: Route
    server: int
    client: int


class Round:
    """All meters of a line in turn, each once in the line's `ask_every` seconds, as time allows."""

    def __init__(self, line: SharedLine, routes: Iterable[Route]) -> None:
        self._every = line.ask_every
        self._of = {
            on_device(server, route.device): (route, server)
            for route in routes
            if route.line is line
            for server in route.servers
        }
        self._waiting: deque[tuple[float, Due]] = deque(
            (0.0, Due(*found, client)) for client in line.push_clients for found in self._of.values()
        )

    def of(self, source: int) -> tuple[Route, int] | None:
        """Route and logical device of a server's number on the line."""
        return self._of.get(source)

    def take(self, now: float) -> Due | None:
        """The meter that is to be asked now, if one is."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        _, due = self._waiting.popleft()
        self._waiting.append((now + self._every, due))
        return due

    def wait(self, now: float) -> float | None:
        """Seconds until one is to be asked; None: never."""
        return max(0.0, self._waiting[0][0] - now) if self._waiting else None
