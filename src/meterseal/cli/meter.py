"""`meterseal meter run`: a simulated meter until it is told to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meterseal.cli import options
from meterseal.cli.output import answering

app = typer.Typer(help="Simulated meters.", no_args_is_help=True)


@app.callback()
def family() -> None:
    """Simulated meters."""


@app.command("run")
def run(
    preset: options.Preset = options.FIRST_PRESET,
    port: Annotated[
        int,
        typer.Option(
            "--port", help="TCP port on 127.0.0.1; 0 takes a free one.", min=0, max=65535, metavar="N"
        ),
    ] = 0,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="Where to listen, in place of --port: tcp://, udp:// or hdlc+tcp://HOST:PORT, serial:///dev/PORT.",
            metavar="URL",
        ),
    ] = None,
    config: options.ConfigFile = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Folder of keys, counters, profile and security log. Default: a temporary one, fresh keys.",
            metavar="DIR",
        ),
    ] = None,
    credentials_out: Annotated[
        Path | None,
        typer.Option(
            "--credentials-out", help="Write the credentials of all roles there, mode 0600.", metavar="FILE"
        ),
    ] = None,
    wire_log: options.WireLogFile = None,
) -> None:
    """Run a meter with its roles until SIGINT or SIGTERM.

    One line on stdout, `listening on tcp://127.0.0.1:PORT` (or the like of the URL), once the port is open
    and the credentials file complete. The same state folder brings the same meter back.
    """
    if url is not None and port:
        raise typer.BadParameter("--url says the port", param_hint="--port")
    from meterseal.meter import run_meter  # asyncio and the simulation: the other commands do without

    with answering():
        run_meter(
            preset=preset,
            port=port,
            url=url,
            config=config,
            state=state,
            credentials_out=credentials_out,
            wire_log=wire_log,
        )
