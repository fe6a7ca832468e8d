"""Which commands may be asked for: those that name a deed that takes two, and no others."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click
import typer

from meterseal.cli import keys, pki
from meterseal.keys.people import DEEDS

TWO = re.compile(rf"act(ing)?\(.*\"({'|'.join(name for name, deed in DEEDS.items() if deed.four_eyes)})\"")


def commands(group: Any, name: str) -> Iterator[tuple[str, click.Command]]:
    for word, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, f"{name} {word}")
        else:
            yield f"{name} {word}", found


def test_a_command_may_be_asked_for_where_it_has_a_deed_that_takes_two() -> None:
    marked, named = set(), set()
    for app, family in ((keys.app, "keys"), (pki.app, "pki")):
        for name, command in commands(typer.main.get_command(app), family):
            assert command.callback is not None
            if hasattr(command.callback, "takes_two"):
                marked.add(name)
            if TWO.search(inspect.getsource(inspect.unwrap(command.callback))):
                named.add(name)
    assert marked == named and {"keys destroy", "keys campaign new", "pki init"} <= marked
