"""The command line put together: of all families, or of the one that was named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from meterseal.cli.app import COMMANDS, FAMILIES, build
from tests.cli.shell import app, run


def tree(command: Any) -> Any:
    """Names, options and help texts of a command and all below it."""
    options = [(one.name, getattr(one, "help", None)) for one in command.params]
    below = {name: tree(one) for name, one in getattr(command, "commands", {}).items()}
    return command.help, options, below


@pytest.mark.parametrize("name", [*COMMANDS, *FAMILIES])
def test_a_command_alone_is_what_it_is_among_all(name: str) -> None:
    whole, alone = typer.main.get_command(app), typer.main.get_command(build([name]))
    assert list(vars(alone)["commands"]) == [name]
    assert tree(vars(alone)["commands"][name]) == tree(vars(whole)["commands"][name])
    assert tree(alone)[:2] == tree(whole)[:2]


def test_every_family_is_in_the_table() -> None:
    assert list(vars(typer.main.get_command(app))["commands"]) == [*COMMANDS, *FAMILIES]


@pytest.mark.parametrize(
    ("words", "loaded"), [(["pki", "--help"], {"pki"}), (["decode", "--help"], {"decode"})]
)
def test_who_names_a_command_waits_for_its_family_alone(words: list[str], loaded: set[str]) -> None:
    program = (
        "import sys; from meterseal.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*(one for one in sys.modules if one.startswith('meterseal.cli.')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=300, check=True
    )
    families = {where for where, _, _ in COMMANDS.values()}.union(FAMILIES)
    assert families & {one.rpartition(".")[2] for one in done.stderr.split()} == loaded


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "status", "--store", "NAME"),
        ("keys", "init", "--store", "NAME"),
        ("keys", "person", "card", "bob", "--key", "NAME", "--out", "card.pem"),
        ("pki", "list", "--dir", "NAME"),
        ("street", "up", "--dir", "NAME"),
    ],
    ids=" ".join,
)
def test_H16_a_place_that_the_system_refuses_is_told_in_a_line(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """As a folder that may not be looked into, which the user of this test may."""
    ran = run(*(str(tmp_path / ("a" * 300)) if word == "NAME" else word for word in words))
    assert ran.code == 1 and "File name too long" in ran.err and ran.out == ""
