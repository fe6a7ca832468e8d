"""The command line as a whole: one file per family of commands, put together here.

Who names a command waits for that command's family alone: a table says where each lives.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import typer
from typer.models import TyperPath

from meterseal import __version__
from meterseal.cli import output

_NEGATIVE = {"ignore_unknown_options": True}  # a value like -5 is no option

COMMANDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "decode": ("decode", "decode", {}),
    "listen": ("listen", "listen", {}),
    "read": ("talk", "read", {}),
    "write": ("talk", "write", _NEGATIVE),
    "call": ("talk", "call", _NEGATIVE),
    "demo": ("demo", "demo", {}),
    "suites": ("suites", "suites", {}),
}
"""Command to its module, its function there, and its settings."""

FAMILIES = (
    "meter",
    "concentrator",
    "headend",
    "utility",
    "street",
    "access",
    "credentials",
    "pki",
    "keys",
    "evidence",
)
"""Modules whose `app` has commands of its own."""


def _version(wanted: bool) -> None:
    if wanted:
        output.emit(f"meterseal {__version__}")
        raise typer.Exit


def main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """What stands before the command; the help of the whole is `HELP`."""


HELP = """DLMS/COSEM security: simulate a meter, speak to one, hear what meters send, open captured frames.

Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 not understood, 3 to be run again.
"""


def build(names: Iterable[str]) -> typer.Typer:
    """The command line with these commands and families."""
    whole = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,  # its tracebacks show local variables, and those may be keys
    )
    whole.callback()(main)
    for name in names:
        where, function, settings = COMMANDS.get(name, (name, "", {}))
        module = import_module(f"meterseal.cli.{where}")
        if function:
            whole.command(name, context_settings=settings)(getattr(module, function))
        else:
            whole.add_typer(module.app, name=name)
    return whole


def commands_of(whole: typer.Typer) -> Any:
    """The commands as they run: a file that may not be read is refused by who reads it, as a missing one is.

    Left alone they would call that a usage error.
    """
    top = typer.main.get_command(whole)
    left = [top]
    while left:
        one = left.pop()
        left += getattr(one, "commands", {}).values()
        for parameter in one.params:
            if isinstance(parameter.type, TyperPath):
                parameter.type.readable = False
    return top


def everything() -> typer.Typer:
    """The command line with all that it has."""
    return build((*COMMANDS, *FAMILIES))


def run() -> None:
    """Run the command line on this process's arguments and streams."""
    output.prepare()
    first = sys.argv[1:2]
    if first == ["--version"]:
        whole = build(())
    elif first and (first[0] in COMMANDS or first[0] in FAMILIES):
        whole = build(first)
    else:
        whole = everything()
    with output.written():
        commands_of(whole)()
