"""A meter for the tests of a module: `meterseal meter run` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MAIN = "from meterseal.cli import main; main()"


@dataclass(frozen=True)
class Running:
    """A meter that listens, and the file of all its roles."""

    process: subprocess.Popen[str]
    url: str
    credentials: Path

    def end(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def meter(folder: Path, *words: str, umask: int = 0o077) -> Iterator[Running]:
    """A meter with its state in `folder`, until the end of the block."""
    credentials = folder / "meter.toml"
    options: Sequence[str] = ("--state", str(folder / "state"), "--credentials-out", str(credentials))
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "meter", "run", *options, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        umask=umask,
        env={"PATH": os.environ["PATH"]},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            line = process.stdout.readline()
            scheme = words[words.index("--url") + 1].partition("://")[0] if "--url" in words else "tcp"
            where = "" if scheme == "serial" else "127.0.0.1:"
            assert line.startswith(f"listening on {scheme}://{where}"), line + process.stderr.read()
            yield Running(process, line.removeprefix("listening on ").strip(), credentials)
        finally:
            process.kill()


CONFIG = """# A meter whose maker had ideas.
[[objects]]
class = 1
obis = "0.0.96.1.1.255"
type = "utf8"
value = "name\\u001b[2J\\u202e\\u0007"

[[roles.operator.rights]]
objects = ["0.0.96.1.1.255"]
attributes = "read"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One meter for the tests of a module."""
    folder = tmp_path_factory.mktemp("meter")
    config = folder / "meter-config.toml"
    config.write_text(CONFIG)
    with meter(folder, "--config", str(config)) as one:
        yield one
