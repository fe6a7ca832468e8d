"""The API of a head-end for utilities: HTTPS with mutual TLS; sealed octets go in, and come out in hex.

A caller is the certificate of its connection (`tls.identified`).  A utility sees its own meters and requests;
those of others are not there (404), as those that never were.  An error is `{"error": {"type", "message"}}`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

from litestar import Litestar, MediaType, Request, Response, Router, delete, get, post
from litestar.datastructures import State as AppState
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotAuthorizedException, PermissionDeniedException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import PathParameter, QueryParameter
from msgspec import Raw

from meterseal.errors import DecodeError, MetersealError, Misuse, StateUnavailable, TooWeak
from meterseal.headend import store
from meterseal.headend.config import Utility
from meterseal.headend.house import Busy, HeadEnd
from meterseal.headend.tables import FINAL, State
from meterseal.headend.tls import FINGERPRINT
from meterseal.net.rate import Rate

BODY: Final = 66_000
"""Octets of a request's body at most: one APDU."""

LONGEST_WAIT: Final = 60.0
LONGEST_DEADLINE: Final = 7 * 86_400.0
SHORTEST_DEADLINE: Final = 0.1
ROWS: Final = 1000

_SECONDS: Final = "Seconds to wait for the end of the request."
_DEADLINE: Final = "Seconds until the request has to be answered; it is not sent later."
_ID: Final = "^[0-9A-F]{24}$"
_TITLE: Final = "^[0-9A-F]{16}$"

Wait = Annotated[float, QueryParameter(ge=0, le=LONGEST_WAIT, description=_SECONDS)]
Deadline = Annotated[float, QueryParameter(ge=SHORTEST_DEADLINE, le=LONGEST_DEADLINE, description=_DEADLINE)]
Rows = Annotated[int, QueryParameter(ge=1, le=ROWS, description="Rows at most, newest first.")]
Of = Annotated[str | None, QueryParameter(pattern=_TITLE, description="System title of one meter, hex.")]
Title = Annotated[str, PathParameter(pattern=_TITLE, description="System title of the meter, hex.")]
Id = Annotated[str, PathParameter(pattern=_ID, description="Name of the request or push.")]
After = Annotated[str | None, QueryParameter(pattern=_ID, description="Those behind this one.")]


@dataclass(frozen=True)
class Meter:
    """A meter of the caller's: requests that wait, failures in a row."""

    name: str
    title: str
    waiting: int
    failures: int


@dataclass(frozen=True)
class Carried:
    """A request: `answer` is what the meter has sealed in return, hex; `cause` says why there is none.

    `state`: queued, sent, answered, refused, unanswered, expired, cancelled.  Times are seconds since 1970.
    """

    id: str
    meter: str
    state: str
    created: float
    deadline: float
    finished: float | None
    cause: str | None
    answer: str | None


@dataclass(frozen=True)
class Passed:
    """A row of the account: sizes, titles, times and outcome of one request or push, and none of its content.

    A push has no answer; its `originator` is the meter, its outcome fetched, unfetched or displaced.
    """

    request: str
    meter: str
    originator: str
    created: float
    finished: float
    size: int
    answer_size: int | None
    outcome: str
    cause: str | None


@dataclass(frozen=True)
class Reading:
    """What the head-end's own role has read, as `meterseal read --json` prints it; of a push its body."""

    object: str
    at: float
    value: Any


@dataclass(frozen=True)
class Waiting:
    """A push of a meter that waits for the caller, who acknowledges it when it is done with it."""

    id: str
    meter: str
    received: float
    size: int


@dataclass(frozen=True)
class Pushed(Waiting):
    """The same with what the meter has sealed, hex."""

    sealed: str


class Gate:
    """Who may come in, and how often: a rate for each utility."""

    def __init__(self, house: HeadEnd) -> None:
        self._house = house
        self._rates: dict[str, Rate] = {one.name: Rate(one.rate, 1) for one in house.config.utilities}

    def utility(self, request: Request[Any, Any, AppState]) -> Utility:
        """The utility whose certificate the connection has proved."""
        found = self._house.config.who(self._print(request))
        if found is None:
            raise PermissionDeniedException("this certificate is no utility's")
        if not self._rates[found.name].take(time.monotonic())[0]:
            raise HTTPException("too many requests", status_code=429, headers={"Retry-After": "1"})
        return found

    def observer(self, request: Request[Any, Any, AppState]) -> None:
        """Is it one of those that may read the metrics?"""
        if self._print(request) not in self._house.config.observers:
            raise PermissionDeniedException("this certificate is no observer's")

    @staticmethod
    def _print(request: Request[Any, Any, AppState]) -> bytes:
        found = request.scope.get("state", {}).get(FINGERPRINT)
        if not isinstance(found, bytes) or not found:
            raise NotAuthorizedException("no client certificate")
        return found


# --- what can be asked ----------------------------------------------------------------------------


@get("/meters", summary="The caller's meters.")
async def meters(caller: NamedDependency[Utility], house: NamedDependency[HeadEnd]) -> list[Meter]:
    """The meters that the caller may reach."""
    found = [(one, house.visitors[one.title]) for one in house.meters_of(caller)]
    return [Meter(one.name, one.title.hex().upper(), at.waiting, at.failures) for one, at in found]


@post(
    "/meters/{title:str}/requests",
    request_max_body_size=BODY,
    summary="Carry a sealed request to a meter.",
    status_code=202,
)
async def carry(
    caller: NamedDependency[Utility],
    house: NamedDependency[HeadEnd],
    request: Request[Any, Any, AppState],
    title: Title,
    deadline: Deadline = 60.0,
    wait: Wait = 0.0,
) -> Carried:
    """The body is the sealed APDU (`application/octet-stream`).  Accepted when it is on the disk."""
    meter = _meter_of(caller, title)
    if request.content_type[0] != "application/octet-stream":
        raise HTTPException("application/octet-stream is wanted", status_code=415)
    accepted = await house.accept(caller, meter, await request.body(), deadline)
    await house.wait(accepted.id, wait)
    return await _one(house, caller, accepted.id)


@get("/requests/{id:str}", summary="How a request stands.")
async def look(
    caller: NamedDependency[Utility], house: NamedDependency[HeadEnd], id: Id, wait: Wait = 0.0
) -> Carried:
    """Waits for its end, if asked to."""
    found = await _one(house, caller, id)
    if wait and State(found.state) not in FINAL:
        await house.wait(id, wait)
        found = await _one(house, caller, id)
    return found


@delete("/requests/{id:str}", summary="Take a request back, or delete one that has ended.")
async def take_back(caller: NamedDependency[Utility], house: NamedDependency[HeadEnd], id: Id) -> None:
    """What was sent cannot be taken back (409)."""
    found = await _one(house, caller, id)
    if not await house.cancel(found.id, caller):
        raise HTTPException("it is on its way", status_code=409)


@get("/pushes", summary="Pushes that wait for the caller.")
async def pushes(
    caller: NamedDependency[Utility],
    house: NamedDependency[HeadEnd],
    meter: Of = None,
    after: After = None,
    rows: Rows = 100,
    wait: Wait = 0.0,
) -> list[Waiting]:
    """Oldest first; where none is there, waits for one if asked to."""
    if meter is not None:
        _meter_of(caller, meter)
    if after is not None:
        await _push(house, caller, after)
    coming = house.pushes.coming(caller)
    query = store.pushes_of(caller.name, meter, rows, after)
    found = await house.store.run(query)
    if not found and wait:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await coming.wait()
        found = await house.store.run(query)
    return [Waiting(**{name: row[name] for name in Waiting.__dataclass_fields__}) for row in found]


@get("/pushes/{id:str}", summary="A push, sealed for the caller.")
async def push(caller: NamedDependency[Utility], house: NamedDependency[HeadEnd], id: Id) -> Pushed:
    """It waits until it is acknowledged, or its days are over."""
    row = await _push(house, caller, id)
    return Pushed(row["id"], row["meter"], row["received"], row["size"], row["sealed"].hex().upper())


@delete("/pushes/{id:str}", summary="Acknowledge a push.")
async def acknowledge(caller: NamedDependency[Utility], house: NamedDependency[HeadEnd], id: Id) -> None:
    """Its octets are deleted; the account keeps a row."""
    if not await house.store.run(store.acknowledge(id, caller.name, time.time())):
        raise HTTPException("no such push", status_code=404)


@get("/meters/{title:str}/readings", summary="What the head-end's own role has read.")
async def readings(
    caller: NamedDependency[Utility], house: NamedDependency[HeadEnd], title: Title, rows: Rows = 100
) -> list[Reading]:
    """Newest first."""
    meter = _meter_of(caller, title).hex().upper()
    return [
        Reading(row["object"], row["at"], Raw(row["value"].encode("ascii")))  # JSON, with all its digits
        for row in await house.store.run(store.readings_of(meter, rows))
    ]


@get("/account", summary="What passed between the caller and its meters.")
async def account(
    caller: NamedDependency[Utility],
    house: NamedDependency[HeadEnd],
    meter: Of = None,
    rows: Rows = 100,
) -> list[Passed]:
    """Sizes, titles, times, outcomes; newest first."""
    if meter is not None:
        _meter_of(caller, meter)
    found = await house.store.run(store.account_of(caller.name, meter, rows))
    return [Passed(**{name: row[name] for name in Passed.__dataclass_fields__}) for row in found]


@delete("/meters/{title:str}/account", summary="Delete what is kept of the caller's traffic with a meter.")
async def forget(caller: NamedDependency[Utility], house: NamedDependency[HeadEnd], title: Title) -> None:
    """Its rows of the account, its requests that have ended, its pushes, out of all files."""
    await house.store.run(store.forget(_meter_of(caller, title).hex().upper(), caller.name))
    await house.store.emptied()


@get("/metrics", media_type=MediaType.TEXT, summary="Counters, for Prometheus.", include_in_schema=False)
async def metrics(observer: NamedDependency[None], house: NamedDependency[HeadEnd]) -> Response[bytes]:
    """For observers only."""
    return Response(house.metrics.text(), media_type="text/plain; version=0.0.4")


def _meter_of(caller: Utility, title: str) -> bytes:
    octets = bytes.fromhex(title)
    if octets not in caller.meters:
        raise HTTPException("no such meter", status_code=404)
    return octets


async def _push(house: HeadEnd, caller: Utility, id: str) -> dict[str, Any]:
    found = await house.store.run(store.push(id, caller.name))
    if not found:
        raise HTTPException("no such push", status_code=404)
    return found[0]


async def _one(house: HeadEnd, caller: Utility, id: str) -> Carried:
    found = await house.store.run(store.one(id, caller.name))
    if not found:
        raise HTTPException("no such request", status_code=404)
    row = found[0]
    answer = row["answer"]
    return Carried(
        row["id"], row["meter"], row["state"], row["created"], row["deadline"], row["finished"], row["cause"],
        None if answer is None else answer.hex().upper(),
    )  # fmt: skip


# --- the application ------------------------------------------------------------------------------

_STATUS: Final[Mapping[type[MetersealError], int]] = {
    Busy: 429,
    Misuse: 403,
    TooWeak: 422,
    DecodeError: 422,
    StateUnavailable: 503,
}


def _problem(type_: str, message: str, status: int, headers: dict[str, str] | None = None) -> Response[Any]:
    return Response(
        {"error": {"type": type_, "message": message}},
        status_code=status, media_type=MediaType.JSON, headers=headers,
    )  # fmt: skip


def _ours(request: Request[Any, Any, AppState], error: MetersealError) -> Response[Any]:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    return _problem(error.kind, str(error), status, {"Retry-After": "1"} if status == 429 else None)


def _theirs(request: Request[Any, Any, AppState], error: HTTPException) -> Response[Any]:
    """Of the framework's own errors, what they say without what was sent."""
    detail = "not understood" if error.status_code == 400 else error.detail
    return _problem(f"http-{error.status_code}", detail, error.status_code, dict(error.headers or {}))


def _any(request: Request[Any, Any, AppState], error: Exception) -> Response[Any]:
    return _problem("internal", "something went wrong here", 500)


_ROUTES: Final = [meters, carry, look, take_back, pushes, push, acknowledge, readings, account, forget]


def application(house: HeadEnd) -> Litestar:
    """The API over a head-end that runs."""
    gate = Gate(house)
    provide = {
        "house": Provide(lambda: house, sync_to_thread=False),
        "caller": Provide(gate.utility, sync_to_thread=False),
        "observer": Provide(gate.observer, sync_to_thread=False),
    }
    return Litestar(
        [Router("/v1", route_handlers=_ROUTES), metrics],
        dependencies=provide,
        exception_handlers={MetersealError: _ours, HTTPException: _theirs, Exception: _any},
        # The contract as JSON and no page: a page's scripts come from elsewhere, and would act as the caller.
        openapi_config=OpenAPIConfig("meterseal head-end", "1", render_plugins=[JsonRenderPlugin()]),
        request_max_body_size=BODY,
        logging_config=None,
        debug=False,
    )
