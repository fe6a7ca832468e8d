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
            callback=options.understood("--url", options.line),
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
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust",
            help="Trust anchors (PEM) of suites 1 and 2, in place of a root of the meter's own maker: the "
            "meter then has key pairs and no certificates, until `pki enrol`.",
            metavar="FILE",
        ),
    ] = None,
    wire_log: options.WireLogFile = None,
    meters: Annotated[
        int | None,
        typer.Option(
            "--meters",
            help="Run that many behind one port, each at a server wPort of its own; --credentials-out is a "
            "folder then, with a file for each and index.json.",
            min=1,
            max=15_000,
            metavar="N",
        ),
    ] = None,
    own_ports: Annotated[
        bool,
        typer.Option(
            "--own-ports",
            help="With --meters: a port for each meter, --port and those that follow, or any free.",
        ),
    ] = False,
) -> None:
    """Run a meter with its roles until SIGINT or SIGTERM, or many of them.

    One line on stdout, `listening on tcp://127.0.0.1:PORT` (or the like of the URL), once the port is open
    and the credentials file complete. The same state folder brings the same meter back.
    """
    if url is not None and port:
        raise typer.BadParameter("--url says the port", param_hint="--port")
    if trust is not None and meters is not None:
        raise typer.BadParameter("for many meters anchors stand in the --config file", param_hint="--trust")
    if url is not None and meters is not None:
        raise typer.BadParameter("many meters listen on TCP, see --port", param_hint="--url")
    if own_ports and meters is None:
        raise typer.BadParameter("it is for --meters", param_hint="--own-ports")
    if own_ports and port + (meters or 0) > 1 << 16:
        raise typer.BadParameter(f"from there to 65535 there are not {meters}", param_hint="--port")
    from meterseal.meter import run_fleet, run_meter  # asyncio and all: the other commands do without

    with answering():
        if meters is not None:
            run_fleet(
                meters,
                preset=preset,
                port=port,
                config=config,
                state=state,
                credentials_out=credentials_out,
                wire_log=wire_log,
                ports=own_ports,
            )
            return
        run_meter(
            preset=preset,
            port=port,
            url=url,
            trust=trust,
            config=config,
            state=state,
            credentials_out=credentials_out,
            wire_log=wire_log,
        )
