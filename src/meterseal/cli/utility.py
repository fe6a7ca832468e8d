"""`meterseal utility read`, `write`, `call`, `pushes`: end to end, past a head-end that cannot open it.

`--role` goes without a head-end: the command signs on to the meter itself and carries what it has sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from meterseal.cli import options, output, values
from meterseal.cli.output import answering
from meterseal.cosem.obis import ObjectAddress
from meterseal.credentials import Credentials
from meterseal.errors import ConfigurationError, MetersealError, Misuse
from meterseal.net.wirelog import WireLog

if TYPE_CHECKING:
    from meterseal.utility import SealedMeter

app = typer.Typer(help="A utility's side: sealed for the meter, carried by a head-end.", no_args_is_help=True)

T = TypeVar("T")

Where = Annotated[
    str | None,
    typer.Option(
        "--via",
        help="The head-end, https://HOST:PORT. With --role: the meter, where its file does not say.",
        metavar="URL",
    ),
]


def _head_end(text: str) -> None:
    if not text.startswith("https://"):
        raise ConfigurationError("a head-end is reached at https://HOST:PORT")


HeadEnd = Annotated[
    str,
    typer.Option(
        "--via",
        help="The head-end: https://HOST:PORT.",
        metavar="URL",
        callback=options.understood("--via", _head_end),
    ),
]
Role = Annotated[
    str | None,
    typer.Option("--role", help="No head-end: sign on as this role of the file, and carry.", metavar="ROLE"),
]
File = Annotated[
    Path,
    typer.Option(
        "--credentials",
        help="Credentials file with a third party, or a folder of them (*.toml).",
        metavar="FILE|FOLDER",
    ),
]
Who = Annotated[
    str | None,
    typer.Option("--third-party", help="Third party of the file; by default the only one.", metavar="NAME"),
]
Title = Annotated[str, typer.Argument(metavar="METER", help="System title of the meter, 16 hex digits.")]
Seconds = Annotated[
    float | None, typer.Option("--timeout", help="Seconds that a request has.", min=0.1, metavar="S")
]
_OBJECT = "[CLASS/]OBIS[:ATTRIBUTE], for example 3/1.0.1.8.0.255:2; attribute 2 when left out."
_NO_OPTIONS = {"ignore_unknown_options": True}  # a value like -5 is no option


@app.callback()
def family() -> None:
    """A utility's side: sealed for the meter, carried by a head-end."""


@app.command("read")
def read(
    meter: Title,
    objects: Annotated[list[str], typer.Argument(metavar="OBJECT...", help=_OBJECT)],
    credentials: File,
    via: Where = None,
    role: Role = None,
    third_party: Who = None,
    timeout: Seconds = None,
    json: options.Json = False,
    wire_log: options.WireLogFile = None,
    state: options.StateFolder = None,
) -> None:
    """Read objects of a meter, sealed both ways. Exit code 1 when any of it was refused."""
    wanted = [values.object_of(text) for text in objects]
    with answering():
        found, layers = _through(
            _Way(via, role, wire_log, third_party, timeout, state), credentials, meter,
            lambda at: at.read_many(wanted),
        )  # fmt: skip
    values.read(wanted, found, json, layers=layers)


@app.command("write", context_settings=_NO_OPTIONS)
def write(
    meter: Title,
    object: Annotated[str, typer.Argument(metavar="OBJECT", help=_OBJECT)],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="As `meterseal write` takes it.")],
    credentials: File,
    via: Where = None,
    role: Role = None,
    third_party: Who = None,
    timeout: Seconds = None,
    json: options.Json = False,
    wire_log: options.WireLogFile = None,
    state: options.StateFolder = None,
) -> None:
    """Write one attribute of a meter, sealed both ways."""
    asked = values.object_of(object)
    with answering():
        _, layers = _reported(
            asked,
            json,
            lambda: _through(
                _Way(via, role, wire_log, third_party, timeout, state),
                credentials,
                meter,
                lambda at: at.write(asked, value),
            ),
        )
    values.written(asked, value, json, layers=layers)


@app.command("call", context_settings=_NO_OPTIONS)
def call(
    meter: Title,
    object: Annotated[str, typer.Argument(metavar="OBJECT", help="[CLASS/]OBIS:METHOD.")],
    credentials: File,
    parameters: Annotated[str | None, typer.Argument(metavar="VALUE", help="Parameters; often none.")] = None,
    via: Where = None,
    role: Role = None,
    third_party: Who = None,
    timeout: Seconds = None,
    json: options.Json = False,
    wire_log: options.WireLogFile = None,
    state: options.StateFolder = None,
) -> None:
    """Call one method of a meter, sealed both ways."""
    asked = values.method_of(object)
    with answering():
        answer, layers = _reported(
            asked,
            json,
            lambda: _through(
                _Way(via, role, wire_log, third_party, timeout, state),
                credentials,
                meter,
                lambda at: at.call(asked, parameters),
            ),
            method=True,
        )
    values.called(asked, answer, json, layers=layers)


@app.command("pushes")
def pushes(
    via: HeadEnd,
    credentials: File,
    third_party: Who = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Take pushes that are sealed and not signed as well.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay, and open pushes as they come, until SIGINT or SIGTERM.")
    ] = False,
    count: Annotated[int | None, typer.Option("--count", help="So many at most.", min=1, metavar="N")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Append JSON lines to this file, mode 0600, instead.", metavar="FILE"),
    ] = None,
    json: options.Json = False,
    state: options.StateFolder = None,
) -> None:
    """Open what meters have pushed for this utility and the head-end has kept, oldest first.

    Each is acknowledged when it is printed: then the head-end deletes it. One that is not as its meter has
    sealed it is told, and exit code 1; one of a meter without credentials is told and stays there.
    """
    if follow and count is not None:
        raise typer.BadParameter("takes all that come: no --count", param_hint="--follow")
    from meterseal.cli import utility_pushes

    with answering():
        _extra()
        bad = utility_pushes.fetch(
            via, credentials, third_party, state,
            signed=not unsigned, json=json, count=count, follow=follow, out=out,
        )  # fmt: skip
    if bad:
        raise typer.Exit(output.REFUSED)


def _extra() -> None:
    """Raises Unsupported without the extra."""
    with output.needing("to go through a head-end", "server"):
        import httpx
    del httpx


def _reported(asked: ObjectAddress, json: bool, work: Callable[[], T], *, method: bool = False) -> T:
    """What goes wrong is an answer too, where a program wants to read it."""
    try:
        return work()
    except MetersealError as error:
        values.refused(asked, error, json, method=method, layers=[])
        raise


class _Way(NamedTuple):
    """How a command comes to its meter: by way of a head-end, or signing on as a role itself."""

    via: str | None
    role: str | None
    wire_log: Path | None
    third_party: str | None
    timeout: float | None
    state: Path | None


def _through(
    way: _Way, credentials: Path, meter: str, work: Callable[[SealedMeter], Awaitable[T]]
) -> tuple[T, list[dict[str, Any]]]:
    """Do something at the meter; what came of it, and the layers it came in."""
    if way.role is None and way.via is None:
        raise Misuse("say who carries: --via URL of a head-end, or --role ROLE to sign on oneself")
    if way.role is None and way.wire_log is not None:
        raise Misuse("--wire-log is for a line to the meter, which takes --role")
    if way.via is not None:
        with output.understanding("--via"):
            (_head_end if way.role is None else options.line)(way.via)
    chosen = _of_meter(credentials, options.system_title(meter, "METER") or b"")
    carrying = _by_head_end if way.role is None else _by_oneself

    async def run() -> tuple[T, list[dict[str, Any]]]:
        async with carrying(way, chosen) as at:
            return await work(at), at.layers

    return asyncio.run(run())


@asynccontextmanager
async def _by_head_end(way: _Way, chosen: Credentials) -> AsyncIterator[SealedMeter]:
    _extra()
    from meterseal.utility import SealedMeter
    from meterseal.utility.over_https import Via

    name, timeout = way.third_party, way.timeout
    longest = None if timeout is None else 2 * timeout
    async with (
        Via(way.via or "", chosen, name, timeout=timeout) as head_end,
        SealedMeter(chosen, head_end.carry, name, state=way.state, timeout=longest) as at,
    ):
        yield at


@asynccontextmanager
async def _by_oneself(way: _Way, chosen: Credentials) -> AsyncIterator[SealedMeter]:
    from meterseal import client
    from meterseal.utility import SealedMeter

    async with AsyncExitStack() as open_:
        log = None if way.wire_log is None else open_.enter_context(closing(WireLog(way.wire_log)))
        carrier = await open_.enter_async_context(
            client.connect(way.via, chosen, way.role, state=way.state, wire_log=log)
        )
        yield await open_.enter_async_context(
            SealedMeter(chosen, carrier.forward, way.third_party, state=way.state, timeout=way.timeout)
        )


def _of_meter(path: Path, title: bytes) -> Credentials:
    """The credentials of a meter: the file, or that one of a folder."""
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    for file in files:
        found = Credentials.load(file)
        if found.meter.system_title == title and found.third_parties:
            return found
    raise ConfigurationError(f"{path} has no third party's credentials for meter {title.hex().upper()}")
