"""`meterseal credentials`: files to hand on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from meterseal.cli import options, output
from meterseal.cli.output import answering
from meterseal.client.plan import STATE_VARIABLE
from meterseal.credentials import Credentials
from meterseal.crypto import kcv
from meterseal.errors import CounterUnknown, Misuse
from meterseal.keys.counters import key_id
from meterseal.state import FileCounters

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
    state: options.StateFolder = None,
) -> None:
    """Make a credentials file with one role only: its keys and no others.

    With --out its private keys and the certificates that the file names are copied into FILE.files beside it.
    A role that has been used here goes on counting there, where its counters stand in the state folder. From
    then on use it from the new file alone: two places would use the same counters.
    """
    if (source is None) == (credentials is None):
        raise typer.BadParameter("name the file with all roles, once", param_hint="FILE")
    whole = source or credentials or Path()
    with answering():
        alone = _counting_on(Credentials.load(whole), role, state)
        if out is not None and out.exists() and out.samefile(whole):
            raise Misuse(f"{out} is the file with all roles: the keys of the others would be gone")
        if out is None:
            output.emit(alone.to_toml().rstrip("\n"))
        else:
            alone.with_copies(out).save(out)


def _counting_on(file: Credentials, name: str, state: Path | None) -> Credentials:
    """The role alone; when it has been used, `counter_start` is above every value reserved for it so far."""
    alone = file.cut(name)
    role = alone.role()
    guek, title = role.octets("guek"), role.client_system_title
    folder = state or os.environ.get(STATE_VARIABLE) or file.state_folder
    if guek is None or title is None or folder is None or not Path(folder).is_dir():
        return alone
    try:
        _, end = FileCounters(folder).reserve(key_id(kcv(guek), title, "tx"), 1)
    except CounterUnknown:
        return alone
    start = max(end, role.counter_start or 0)
    return Credentials(alone.meter, {name: replace(role, counter_start=start)})
