"""The side of the head-ends: with a gateway prefix to a meter, without one to the concentrator itself."""

from __future__ import annotations

from typing import Final, Protocol

from meterseal.apdu.initiate import ExceptionResponse
from meterseal.concentrator import titles
from meterseal.concentrator.config import Config, Route
from meterseal.concentrator.lanes import Caller, Direct, Shared
from meterseal.concentrator.record import Record
from meterseal.errors import DecodeError, MetersealError, Misuse, TooLarge
from meterseal.framing import gateway
from meterseal.meter.session import Session
from meterseal.net import Admission, Link

REFUSED: Final = ExceptionResponse(state_error=1, service_error=1).encode()
"""What a request is answered with that reaches no meter, whatever the cause (more 1)."""

_PREFIXED: Final = (gateway.REQUEST, gateway.RESPONSE)


class House(Protocol):
    """What a front needs of its concentrator: the routes, what is kept of them, and the lanes to meters."""

    config: Config
    routes: dict[tuple[int, bytes], Route]
    record: Record
    shared: dict[str, Shared]
    lanes: Admission

    def own_session(self, link: Link) -> Session:
        """The handler of what is for the concentrator itself."""

    def lane(self, caller: Caller, route: Route) -> Direct:
        """A connection to a meter.  Raises ConnectionLost when all that may be are in use by others."""


class Front:
    """The handler of one connection; it is the caller of its lanes."""

    def __init__(self, house: House, link: Link) -> None:
        self.source = link.source
        self._house, self._link = house, link
        self._own = house.own_session(link)
        self._admitted = house.config.admits(link.source)
        self._lanes: dict[Route, Direct] = {}
        self._gone = False

    # --- for the line -----------------------------------------------------------------------------

    def received(self, source: int, destination: int, payload: bytes) -> None:
        """One APDU from client SAP `source` to server SAP `destination`, of a meter or its own."""
        if payload[0] not in _PREFIXED:
            self._own.received(source, destination, payload)
            return
        try:
            prefix, apdu = gateway.decode(payload)
        except DecodeError as error:
            self._refuse(None, source, destination, error)
            self._link.send(destination, source, REFUSED)
            return
        route = self._house.routes.get((prefix.network, prefix.address))
        cause: MetersealError | None = None
        try:
            self._pass_on(self._wanted(prefix, route, destination, apdu), source, destination, apdu)
        except MetersealError as error:
            cause = error
        if cause is not None:
            self._refuse(route, source, destination, cause)
            self._link.send(destination, source, gateway.encode(prefix.answer(), REFUSED))

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """Pairs have no link of their own here."""
        self._own.parted(source, destination, cause)

    def closed(self, cause: Exception | None) -> None:
        """The caller has gone: its associations with meters end."""
        self._gone = True
        self._own.closed(cause)
        for lane in list(self._lanes.values()):
            lane.abort()
        for shared in self._house.shared.values():
            shared.leave(self)

    # --- a request --------------------------------------------------------------------------------

    def _wanted(self, prefix: gateway.Prefix, route: Route | None, server: int, apdu: bytes) -> Route:
        """The route, when this caller may send this request there.  Raises Misuse."""
        if not self._admitted:
            raise Misuse("no caller of meters")
        if not prefix.request:
            raise Misuse("the prefix of an answer in front of a request")
        if route is None or server not in route.servers:
            raise Misuse("no such network, device or logical device")
        named, pinned = titles.recipient(apdu), self._house.record.accounts[route.key].title
        if named and pinned and named != pinned:
            raise Misuse(f"the message is for {named.hex().upper()}, another meter")
        return route

    def _pass_on(self, route: Route, client: int, server: int, apdu: bytes) -> None:
        self._house.record.accounts[route.key].requests += 1
        if route.line is not None:
            self._house.shared[route.line.name].ask(self, route, client, server, apdu)
            return
        lane = self._lanes.get(route)
        if lane is None or lane.gone:
            lane = self._lanes[route] = self._house.lane(self, route)
        lane.ask(client, server, apdu)

    def _refuse(self, route: Route | None, client: int, server: int, cause: Exception) -> None:
        caller = f"client {client} at {self._link.peer} to logical device {server}"
        self._house.record.refused(route, caller, cause)

    # --- for the lanes ----------------------------------------------------------------------------

    def answer(self, route: Route, server: int, client: int, apdu: bytes) -> None:
        """An APDU of a meter goes on under the prefix of an answer."""
        if self._gone:
            return
        try:
            octets = gateway.encode(gateway.Prefix(False, route.network, route.address), apdu)
            self._link.send(server, client, octets)
        except MetersealError as error:  # it begins like a prefix, or is too long with one in front
            self._refuse(route, client, server, error)
            if isinstance(error, TooLarge):
                self.answer(route, server, client, REFUSED)  # nobody waits for what cannot come

    def failed(self, route: Route, server: int, client: int, cause: MetersealError) -> None:
        """A request that no meter answers."""
        if not self._gone:
            self._refuse(route, client, server, cause)
            self.answer(route, server, client, REFUSED)

    def proved(self, lane: Direct | None) -> None:
        """A meter knows this caller: limits for strangers no longer apply to its connections."""
        self._link.established()
        if lane is not None:
            self._house.lanes.established(lane)
