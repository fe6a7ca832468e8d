"""Running the command line: in this process for speed, as a process of its own for what only that shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer import testing

from meterseal.cli.app import commands_of, everything

app = everything()
_whole = cache(commands_of)
"""The commands as they are put together, once: making them takes longer than most of them take to run."""


@dataclass(frozen=True)
class Ran:
    """Exit code and both streams of a command."""

    code: int
    out: str
    err: str

    def lines(self) -> list[Any]:
        """Stdout as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def run(*words: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command in this process. An exception other than an exit is a failure of the test."""
    with patch.object(testing, "_get_command", _whole):
        result = testing.CliRunner().invoke(app, list(words), input=stdin, env=dict(env or {}))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


class Keys:
    """`meterseal keys` at the store `keys.db` of a folder."""

    folder: Path

    def keys(self, *words: str, code: int = 0) -> Ran:
        """Run a command, which ends with this code."""
        ran = run("keys", *words, env={"METERSEAL_STORE": str(self.folder / "keys.db")})
        assert ran.code == code, (words, ran.out, ran.err)
        return ran

    def json(self, *words: str, code: int = 0) -> Any:
        """What a command says to programs."""
        (found,) = self.keys(*words, "--json", code=code).lines()
        return found


def spawn(
    words: Sequence[str | bytes],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    code: str = "from meterseal.cli import main; main()",
    umask: int = -1,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a process, its environment bare but for `env`."""
    bare = {"PATH": os.environ["PATH"], **(env or {})}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        input=stdin,
        capture_output=True,
        env=bare,
        cwd=cwd,
        umask=umask,
        timeout=300,
        check=False,
    )
