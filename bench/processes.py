"""Other processes of a benchmark: meters, and children that do one thing each time they are told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METER = "from meterseal.cli import main; main()"
ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def meter(folder: Path, *words: str) -> Iterator[tuple[int, str]]:
    """`meterseal meter run` with these words, until the end of the block: process id and URL."""
    with subprocess.Popen(
        [sys.executable, "-c", METER, "meter", "run", *words, "--credentials-out", str(folder / "meters")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError(f"the meter did not start: {line!r}")
            yield process.pid, line.removeprefix("listening on ").strip()
        finally:
            process.send_signal(signal.SIGTERM)


@dataclass
class Child:
    """A process of one of the modules here; each line it is told it answers with a line of JSON."""

    process: subprocess.Popen[str]

    def tell(self, word: str, **values: Any) -> Any:
        """Have something done; the answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([word, values]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the child ended instead of doing {word}")
        return json.loads(line)


@contextmanager
def child(module: str, *words: str) -> Iterator[Child]:
    """`python -m bench.MODULE WORDS`, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", f"bench.{module}", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield Child(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def orders() -> Iterator[tuple[str, dict[str, Any]]]:
    """For a child: what it is told, line by line."""
    for line in sys.stdin:
        word, values = json.loads(line)
        yield word, values


_ANSWERS = sys.stdout


def answer(value: Any) -> None:
    """For a child: what came of it."""
    _ANSWERS.write(json.dumps(value) + "\n")
    _ANSWERS.flush()


def resident(pid: int) -> int:
    """Octets of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
