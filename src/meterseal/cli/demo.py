"""`meterseal demo`: the whole picture on this machine, scene by scene."""

from __future__ import annotations

from importlib import import_module

import typer

from meterseal.cli import options, output
from meterseal.cli.output import answering


def demo(json: options.Json = False) -> None:
    """Play the scenes on this machine, each with what it claims and what shows that it held."""
    with answering():
        # It starts meters and clients: nothing that the other commands need.
        held = import_module("meterseal.demo").run(json=json)
    if not held:
        raise typer.Exit(output.REFUSED)
