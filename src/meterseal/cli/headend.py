"""`meterseal headend serve`, `export`, `forget`: the carrier between utilities and meters."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meterseal.cli import options, output
from meterseal.cli.output import answering
from meterseal.errors import ConfigurationError

if TYPE_CHECKING:
    from meterseal.headend.store import Store

app = typer.Typer(help="Head-ends: carry sealed requests, read what their role may.", no_args_is_help=True)

Config = Annotated[
    Path, typer.Option("--config", help="Utilities and meters (TOML, mode 0600).", metavar="FILE")
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", help="Folder of the database and of counters. Default: a temporary one.", metavar="DIR"
    ),
]
Kept = Annotated[Path, typer.Option("--state", help="Folder of the database.", metavar="DIR")]
Title = Annotated[str, typer.Argument(metavar="METER", help="System title of the meter, 16 hex digits.")]

_ALL = 1 << 31


@app.callback()
def family() -> None:
    """Head-ends: carry sealed requests, read what their role may."""


@app.command("serve")
def serve(
    config: Config,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", help="In place of the file's; 0 takes a free one.", min=0, max=65535, metavar="N"
        ),
    ] = None,
    state: State = None,
    wire_log: options.WireLogFile = None,
) -> None:
    """Serve the API of a head-end until SIGINT or SIGTERM.

    One line on stdout, `listening on https://HOST:PORT`, then `pushes on URL` for each place where it
    listens for pushes; the journal, lines of JSON, goes to stderr.
    """
    with answering():
        _extra()
        from meterseal.headend import run_headend  # web server and all: the other commands do without

        run_headend(config, state=state, port=port, wire_log=wire_log)


@app.command("export")
def export(meter: Title, config: Config, state: Kept) -> None:
    """Print all that is kept of one meter, as JSON.

    The account, pushes that wait (times and sizes), and what the head-end's own role has read.
    """
    with answering():
        _extra()
        from meterseal.headend import store

        title = _title(meter)
        jobs = [
            store.account_of(None, title, _ALL),
            store.pushes_of(None, title, _ALL),
            store.readings_of(title, _ALL),
        ]
        account, pushes, readings = _done(config, state, jobs)
    for row in readings:
        row["value"] = json.loads(row["value"], parse_float=Decimal)
    output.emit_json({"meter": title, "account": account, "pushes": pushes, "readings": readings})


@app.command("forget")
def forget(meter: Title, config: Config, state: Kept) -> None:
    """Delete all that is kept of one meter, out of all files of the database.

    Requests that have not ended stay until they have.
    """
    with answering():
        _extra()
        from meterseal.headend import store

        (count,) = _done(config, state, [store.forget(_title(meter))])
    output.note(f"{count} rows deleted")


def _title(text: str) -> str:
    return (options.system_title(text, "METER") or b"").hex().upper()


def _done(config: Path, state: Path, jobs: list[Any]) -> list[Any]:
    """Do jobs on the database of a head-end, which may run meanwhile."""
    import asyncio

    from meterseal.headend import load
    from meterseal.headend.store import FILE, Store

    where = load(config).database or state / FILE
    if isinstance(where, Path) and not where.is_file():
        raise ConfigurationError(f"{where} is no file: there is no head-end's database")

    async def work(store: Store) -> list[Any]:
        try:
            found = [await store.run(job) for job in jobs]
            await store.emptied()
            return found
        finally:
            store.close()

    return asyncio.run(work(Store(where)))


def _extra() -> None:
    """Raises Unsupported without the extra."""
    with output.needing("a head-end", "server"):
        import litestar
        import sqlalchemy
        import uvicorn
    del litestar, sqlalchemy, uvicorn
