"""One connection to many meters: the server wPort says which, and each has a session of its own there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from meterseal.meter.plan import MeterPlan
from meterseal.meter.server import Party
from meterseal.meter.session import Session, Way
from meterseal.net import Link

_NOBODY: Final = 0
"""The session for wPorts where no meter is."""

_BEYOND: Final = 0x10000
"""Added to such a wPort it is the SAP of no logical device."""


class Meters(Protocol):
    """What a switchboard needs of its fleet: who is where, and who is at work."""

    plan: MeterPlan

    def behind(self, address: int) -> tuple[int, int] | None:
        """Number of the meter and SAP of the logical device at a wPort, None where nobody is."""

    def address(self, number: int, sap: int) -> int:
        """The wPort of a logical device."""

    def party(self, number: int) -> Party:
        """A meter at work."""

    @property
    def heard(self) -> Callable[[int], None]:
        """To be told that something has come for a meter."""

    def left(self, number: int) -> None:
        """A connection to a meter has gone."""


_Way: TypeAlias = tuple[int, int, int, Way]
"""A pair, the number of its meter, and what takes its APDUs there."""


class Switchboard:
    """The handler of one connection.  A meter begins to work when something comes for it.

    A wPort without a meter is answered as a meter answers for a logical device that it has not.  With
    `alone` the connection leads to that meter only, by the SAPs of its logical devices.
    """

    __slots__ = ("_alone", "_fleet", "_last", "_link", "_sessions", "_ways")

    def __init__(self, fleet: Meters, link: Link, alone: int | None = None) -> None:
        self._fleet, self._link, self._alone = fleet, link, alone
        self._sessions: dict[int, Session] | None = None
        self._ways: dict[tuple[int, int], _Way] | None = None
        """By the pair, where it has an association."""
        self._last: _Way | None = None
        """The one that was used last: most connections have one pair."""

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU for the meter at `destination`."""
        way = self._last
        if way is None or way[1] != destination or way[0] != source:
            way = self._way(source, destination)
        _, _, number, answer = way
        self._fleet.heard(number)
        octets = answer(payload)
        if octets:
            self._link.send(destination, source, octets)

    def _way(self, source: int, destination: int) -> _Way:
        found = None if self._ways is None else self._ways.get((source, destination))
        if found is not None:
            self._last = found
            return found
        number, sap = self._behind(destination)
        if self._sessions is None or self._ways is None:
            self._sessions, self._ways = {}, {}
        session = self._sessions.get(number)
        if session is None:
            session = self._sessions[number] = self._session(number)
        way, lasts = session.way(source, sap)
        found = source, destination, number or 1, way
        if lasts:  # no more than there are associations: anybody can try all pairs of wPorts
            self._ways[source, destination] = self._last = found
        return found

    def _behind(self, destination: int) -> tuple[int, int]:
        if self._alone is not None:
            return self._alone, destination
        return self._fleet.behind(destination) or (_NOBODY, destination + _BEYOND)

    def _session(self, number: int) -> Session:
        fleet = self._fleet
        if self._alone is not None:
            return fleet.party(number).session(self._link)
        if number == _NOBODY:
            return fleet.party(1).session(Branch(self._link, "no meter", lambda sap: sap - _BEYOND))
        addresses = {sap: fleet.address(number, sap) for sap in fleet.plan.logical_devices}
        return fleet.party(number).session(Branch(self._link, f"meter {number}", addresses.__getitem__))

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """The link of one pair is gone."""
        number, sap = self._behind(destination)
        session = (self._sessions or {}).get(number)
        (self._ways or {}).pop((source, destination), None)
        self._last = None
        if session is not None:
            session.parted(source, sap, cause)

    def closed(self, cause: Exception | None) -> None:
        """The connection is gone, for all meters."""
        for number, session in (self._sessions or {}).items():
            session.closed(cause)
            self._fleet.left(number or 1)
        self._sessions = self._ways = self._last = None


class Branch:
    """The link of one meter on a connection to many: what it sends comes from its own wPort."""

    __slots__ = ("_address", "_link", "_whose")

    def __init__(self, link: Link, whose: str, address: Callable[[int], int]) -> None:
        self._link, self._whose, self._address = link, whose, address

    def send(self, source: int, destination: int, payload: bytes) -> None:
        """As the connection does, from the wPort of the logical device `source`."""
        self._link.send(self._address(source), destination, payload)

    def notify(self, source: int, destination: int, payload: bytes) -> None:
        """As `send`."""
        self._link.notify(self._address(source), destination, payload)

    @property
    def peer(self) -> str:
        """The other end's address, and whom it speaks to."""
        return f"{self._link.peer}, {self._whose}"

    @property
    def name(self) -> str:
        """As the connection."""
        return self._link.name

    @property
    def source(self) -> str:
        """As the connection."""
        return self._link.source

    @property
    def unsent(self) -> bool:
        """As the connection."""
        return self._link.unsent

    @property
    def is_closing(self) -> bool:
        """As the connection."""
        return self._link.is_closing

    def hold(self, source: int, destination: int, on: bool) -> None:
        """Only wrapper lines have many meters, and those have no word for it."""

    async def drain(self) -> None:
        """As the connection."""
        await self._link.drain()

    def close(self) -> None:
        """As the connection: for all meters."""
        self._link.close()

    def abort(self, cause: Exception | None = None) -> None:
        """As the connection: for all meters."""
        self._link.abort(cause)

    def established(self) -> None:
        """As the connection."""
        self._link.established()
