"""`meterseal demo`: the whole picture on this machine, scene by scene."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from meterseal.cli import options, output, pages
from meterseal.cli.output import answering

if TYPE_CHECKING:
    from meterseal.demo import Played


def demo(json: options.Json = False) -> None:
    """Play the scenes on this machine, each with what it claims and what shows that it held.

    A meter runs as a process of its own, on the loopback address and in a temporary folder, and clients
    speak to it over TCP. --json has every frame, and the keys to recompute the claims with.
    """
    with answering():
        with output.needing("the demo", "server"):
            from meterseal import demo as scenes  # all parties: nothing that the other commands need
        played = scenes.play(None if json else _tell)
    if json:
        output.emit_json({"scenes": [one.to_json() for one in played]})
    else:
        pages.scenes(played)
    if not all(one.held for one in played):
        raise typer.Exit(output.REFUSED)


def _tell(one: Played) -> None:
    pages.scene(one)
    sys.stdout.flush()
