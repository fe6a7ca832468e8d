"""What a concentrator knows of its routes: titles pinned and seen, counts, and who has to be told.

Every line of the journal names a route, a caller or a title; nothing of a message is in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from meterseal.client.titles import Titles
from meterseal.concentrator.config import Route
from meterseal.errors import MetersealError, Misuse
from meterseal.net.rate import Rate

LINES_PER_SECOND: Final = 20

log = logging.getLogger("meterseal.concentrator")


class Standing(IntEnum):
    """How a route stands: nothing seen, the pinned meter there, another one there, nobody reached."""

    UNKNOWN = 0
    THERE = 1
    SWAPPED = 2
    UNREACHED = 3


@dataclass(slots=True, eq=False)
class Account:
    """What passed on one route; `seen` is the title that a foreign meter showed last."""

    route: Route
    title: bytes | None
    standing: Standing = Standing.UNKNOWN
    seen: bytes | None = None
    requests: int = 0
    answers: int = 0
    refused: int = 0
    pushes: int = 0


class Record:
    """The accounts of all routes; `alarm` is called when a route turns to a foreign meter."""

    def __init__(
        self, routes: Iterable[Route], titles: Titles, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._titles, self._clock = titles, clock
        self._lines = Rate(LINES_PER_SECOND, 1)
        self.accounts = {
            route.key: Account(route, route.title or titles.get(_name(route))) for route in routes
        }
        self._pinned = {one.title: one for one in self.accounts.values() if one.title is not None}
        self.strays = 0
        """Requests for no route, what no prefix could be read of, pushes of nobody's."""
        self.alarm: Callable[[Account], None] = lambda account: None

    def note(self, text: str) -> None:
        """A line of the journal; so many a second."""
        told, before = self._lines.take(self._clock())
        if before:
            log.warning("%d more lines were left out", before)
        if told:
            log.warning("%s", text)

    def route_of(self, title: bytes) -> Route | None:
        """The route whose meter has this title pinned."""
        account = self._pinned.get(title)
        return None if account is None else account.route

    def stray(self, what: str, cause: MetersealError) -> None:
        """Something came that goes nowhere."""
        self.strays += 1
        self.note(f"refused, {what}: {cause.kind}: {cause}")

    def is_of(self, route: Route, title: bytes | None, pins: bool) -> bool:
        """Is an answer with this title that of the route's meter?

        A foreign title is an alarm, each time that it turns up anew.  `pins`: where no title is known this
        one is kept from now on, durably; False when that does not go.
        """
        account = self.accounts[route.key]
        if title is None:
            return True
        if account.title is None:
            return not pins or self._pin(account, title)
        if title == account.title:
            account.standing = Standing.THERE
            return True
        new = account.standing is not Standing.SWAPPED or account.seen != title
        account.standing, account.seen = Standing.SWAPPED, title
        account.refused += 1
        if new:
            log.error(
                "meter swapped: behind %s answers %s, and %s is pinned: nothing of it is passed on",
                route, title.hex().upper(), account.title.hex().upper(),
            )  # fmt: skip
            self.alarm(account)
        return False

    def _pin(self, account: Account, title: bytes) -> bool:
        other = self._pinned.get(title)
        if other is not None:
            self.note(
                f"{account.route} answers as {title.hex().upper()}, which is the meter of {other.route}"
            )
            account.standing, account.seen = Standing.SWAPPED, title
            account.refused += 1
            self.alarm(account)
            return False
        try:
            self._titles.learn(_name(account.route), title)
        except MetersealError as error:
            self.note(f"{account.route}: its title could not be kept: {error}")
            return False
        account.title, account.standing = title, Standing.THERE
        self._pinned[title] = account
        log.warning(
            "%s says it is %s: pinned, now that nothing said so before", account.route, title.hex().upper()
        )
        return True

    def refused(self, route: Route | None, caller: str, cause: Exception) -> None:
        """A request was not passed on, or its answer was not."""
        if route is None:
            self.strays += 1
        else:
            account = self.accounts[route.key]
            account.refused += 1
            if not isinstance(cause, Misuse) and account.standing is not Standing.SWAPPED:
                account.standing = Standing.UNREACHED
        kind = cause.kind if isinstance(cause, MetersealError) else type(cause).__name__
        self.note(f"refused, {caller} to {route or 'no route'}: {kind}: {cause}")


def _name(route: Route) -> str:
    return f"gateway {route.network}/{route.address.hex().upper()}"
