"""`meterseal street up`: all parties as processes that stay, until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from meterseal.cli import output
from meterseal.cli.output import answering

app = typer.Typer(help="Streets: meters, concentrator, head-end, utility.", no_args_is_help=True)


@app.callback()
def family() -> None:
    """Streets: meters, concentrator, head-end, utility."""


@app.command("up")
def up(
    folder: Annotated[
        Path, typer.Option("--dir", help="A new folder: each party has one of its own in it.", metavar="DIR")
    ],
    meters: Annotated[
        int, typer.Option("--meters", help="How many; suites take turns.", min=1, max=100, metavar="N")
    ] = 3,
) -> None:
    """Start every party of a street as a process, and keep them until SIGINT or SIGTERM.

    One line of JSON on stdout when all of them listen: `processes` (name, pid, url, dir), `credentials`,
    `meters`, and `via`, the URL of the head-end.
    """
    with answering():
        asyncio.run(_stay(folder, meters))


async def _stay(folder: Path, meters: int) -> None:
    with output.needing("a street", "server"):
        from meterseal.demo.street import stay

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)

    def say(line: str) -> None:
        output.emit(line)
        output.flush()

    await stay(folder, meters, stop, say)
