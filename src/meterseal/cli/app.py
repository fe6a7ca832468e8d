"""The command line as a whole: one file per family of commands, put together here."""

from __future__ import annotations

import typer

from meterseal import __version__
from meterseal.cli import (
    access,
    concentrator,
    credentials,
    decode,
    demo,
    evidence,
    headend,
    keys,
    listen,
    meter,
    output,
    pki,
    street,
    suites,
    talk,
    utility,
)

app = typer.Typer(
    help="DLMS/COSEM security: simulate a meter, speak to one, hear what meters send, open captured frames.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those may be keys
)
app.command("decode")(decode.decode)
app.command("listen")(listen.listen)
app.command("read")(talk.read)
_NEGATIVE = {"ignore_unknown_options": True}  # a value like -5 is no option
app.command("write", context_settings=_NEGATIVE)(talk.write)
app.command("call", context_settings=_NEGATIVE)(talk.call)
app.command("demo")(demo.demo)
app.command("suites")(suites.suites)
app.add_typer(meter.app, name="meter")
app.add_typer(concentrator.app, name="concentrator")
app.add_typer(headend.app, name="headend")
app.add_typer(utility.app, name="utility")
app.add_typer(street.app, name="street")
app.add_typer(access.app, name="access")
app.add_typer(credentials.app, name="credentials")
app.add_typer(pki.app, name="pki")
app.add_typer(keys.app, name="keys")
app.add_typer(evidence.app, name="evidence")


def _version(wanted: bool) -> None:
    if wanted:
        output.emit(f"meterseal {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 not understood, 3 again."""


def run() -> None:
    """Run the command line on this process's arguments and streams."""
    output.prepare()
    app()
