"""`meterseal credentials`: files to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meterseal.cli import output
from meterseal.cli.output import answering
from meterseal.credentials import Credentials

app = typer.Typer(help="Credentials files: cut one for each role to hand on.", no_args_is_help=True)


@app.callback()
def family() -> None:
    """Credentials files: cut one for each role to hand on."""


@app.command("cut")
def cut(
    role: Annotated[str, typer.Option("--role", help="The one role of the new file.", metavar="ROLE")],
    source: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file with all roles.", show_default=False)
    ] = None,
    credentials: Annotated[
        Path | None, typer.Option("--credentials", help="The same, as an option.", metavar="FILE")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write it there, mode 0600. Default: print it.", metavar="FILE"),
    ] = None,
) -> None:
    """Make a credentials file with one role only: its keys and no others."""
    if (source is None) == (credentials is None):
        raise typer.BadParameter("name the file with all roles, once", param_hint="FILE")
    with answering():
        alone = Credentials.load(source or credentials or Path()).cut(role)
        if out is None:
            output.emit(alone.to_toml().rstrip("\n"))
        else:
            alone.save(out)
