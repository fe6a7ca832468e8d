"""Commands and programs in Markdown pages: found, run in order in one folder, compared with what is printed.

In a ```console block a line `$ COMMAND` runs under bash; the lines up to the next `$` are its output, where
`...` stands for any text within a line and, alone on a line, for any lines. No output lines: not compared.
`# exits N` at the end of a command line states an exit code other than 0. A command that ends in `&` keeps
running; the page goes on once its output lines have appeared. Exported variables last to the end of the page.
A ```python block is a whole program; what cannot run alone is fenced as ```py. A ```python or ```toml block
with `title="NAME"` is written to that file instead. A port that a page names in `--port N`,
`--url URL` or `listen URL` is exchanged for a free one.
"""

from __future__ import annotations

import os
import random
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^( *)```(console|python|toml)\b([^\n]*)\n(.*?)^\1```\s*$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r'title="([\w.-]+)"')
PORT = re.compile(r"(?:--port |--url \S+:|listen (?:tcp|udp)://127\.0\.0\.1:)([1-9]\d*)\b")
EXITS = re.compile(r"\s+# exits (\d+)$")
LIMIT = 300.0
"""Seconds that one step may take before the page counts as hanging."""

ENVIRONMENT = {
    "LANG": "C.UTF-8", "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "TMPDIR": tempfile.gettempdir(),
}  # fmt: skip
"""What a reader has in his environment, beside his PATH and his HOME."""


def _free_port() -> int:
    """Return a port that nobody listens on, from below those that systems give to whoever asks for any."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass(frozen=True)
class Step:
    """One command line or program of a page, with what it should print ("" = anything) and its exit code.

    With `file` it is a file of that name to be written, `run` its content.
    """

    run: str
    output: str = ""
    code: int = 0
    python: bool = False
    file: str = ""


def with_free_ports(text: str) -> str:
    """Exchange the ports that a page names for free ones, so that pages run side by side."""
    free = {port: str(_free_port()) for port in dict.fromkeys(PORT.findall(text))}
    return re.sub(r"\b\d+\b", lambda found: free.get(found[0], found[0]), text)


def steps(text: str) -> Iterator[Step]:
    """Find the steps of a page in order."""
    for indent, language, rest, body in FENCE.findall(text):
        block = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        if title := TITLE.search(rest):
            yield Step(block, file=title[1])
        elif language == "python":
            yield Step(block, python=True)
        if title or language != "console":
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.replace("\\\n", "").partition("\n")
            stated = EXITS.search(command)
            yield Step(EXITS.sub("", command), output.rstrip("\n"), int(stated[1]) if stated else 0)


def matches(expected: str, printed: str) -> bool:
    """Whether the printed text is the expected one, `...` standing for anything."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(piece.rstrip()) for piece in line.split("...")) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None


class Shell:
    """One reader at work: a folder, an environment that lasts, and what still runs in the background."""

    def __init__(self, folder: Path, commands: Path | None = None) -> None:
        """`commands`: a folder whose programs go before those that are installed."""
        self.folder = folder
        self.exported = folder / ".exported"
        self.background: list[subprocess.Popen[str]] = []
        path = (commands, Path(sys.executable).parent, os.environ["PATH"])
        self.environment = {
            **ENVIRONMENT,
            "PATH": os.pathsep.join(str(one) for one in path if one is not None),
            "HOME": str(folder),
        }

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.background:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.background:
            process.communicate(timeout=LIMIT)

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a process of this reader, its output and errors in one pipe."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, step: Step) -> None:
        """Carry out one step; AssertionError when it does not do what the page says."""
        if step.file:
            (self.folder / step.file).write_text(step.run)
            return
        if step.run.endswith("&"):
            self.stay(step)
            return
        shell = f"{step.run}\ncode=$?; env -0 > {self.exported.name}; exit $code"
        process = self.start([sys.executable, "-c", step.run] if step.python else ["bash", "-c", shell])
        try:
            printed, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            raise AssertionError(f"still running after {LIMIT:.0f} s: {step.run}\n{printed}") from None
        assert process.returncode == step.code, f"exit code {process.returncode}: {step.run}\n{printed}"
        wanted = f"{step.run}\nshould print:\n{step.output}\nprinted:\n{printed}"
        assert not step.output or matches(step.output, printed), wanted
        if not step.python:
            pairs = self.exported.read_text().split("\0")
            self.environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def stay(self, step: Step) -> None:
        """Start a command that keeps running; wait until it has printed what the page shows."""
        process = self.start(["bash", "-c", step.run.removesuffix("&")])
        self.background.append(process)
        assert process.stdout is not None
        printed, end = "", time.monotonic() + LIMIT
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while not matches(step.output, printed):
                assert time.monotonic() < end, f"not printed in time: {step.run}\n{printed}"
                if ready.select(timeout=1):
                    piece = os.read(process.stdout.fileno(), 65536)
                    assert piece, f"ended: {step.run}\n{printed}"
                    printed += piece.decode()
