"""`meterseal concentrator run`: one front, many meters behind it, until it is told to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meterseal.cli import options
from meterseal.cli.output import answering

app = typer.Typer(help="Concentrators: many meters behind one address.", no_args_is_help=True)


@app.callback()
def family() -> None:
    """Concentrators: many meters behind one address."""


@app.command("run")
def run(
    config: Annotated[
        Path, typer.Option("--config", help="Lines and meters behind it (TOML).", metavar="FILE")
    ],
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="Where to listen, tcp://HOST:PORT, in place of the file's.",
            metavar="URL",
            callback=options.understood("--url", options.line),
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Folder of the titles that were pinned and of the keys of its own management. "
            "Default: a temporary one.",
            metavar="DIR",
        ),
    ] = None,
    credentials_out: Annotated[
        Path | None,
        typer.Option(
            "--credentials-out",
            help="Write the credentials of its own management there, mode 0600.",
            metavar="FILE",
        ),
    ] = None,
    wire_log: options.WireLogFile = None,
) -> None:
    """Run a concentrator until SIGINT or SIGTERM.

    One line on stdout, `listening on tcp://HOST:PORT`, once the port is open and the credentials file
    complete. Requests with a gateway prefix go to the meter that it names, all others to the concentrator
    itself.
    """
    from meterseal.concentrator import run_concentrator  # asyncio and all: the other commands do without

    with answering():
        run_concentrator(config, listen=url, state=state, credentials_out=credentials_out, wire_log=wire_log)
