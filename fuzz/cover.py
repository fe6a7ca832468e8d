"""Guided by coverage: targets under atheris (libFuzzer), in a process of their own, each in a fork of it.

The process instruments the package once; a fork per target, because libFuzzer ends its process.  What it
found comes back as files, out of which `fuzz.reach` picks what is worth keeping.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any, NamedTuple

from fuzz import corpus
from fuzz.target import Target

_LONGEST_INPUT = 4096
_MEMORY_MB = 2048
_ONE_INPUT_SECONDS = 20
_DONE = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def is_there() -> bool:
    """Is atheris installed?  It has no wheels for some platforms and versions of Python."""
    return find_spec("atheris") is not None


class Found(NamedTuple):
    """What came of one target: how many inputs were run, which reached something new, what broke it."""

    name: str
    runs: int
    new: list[bytes]
    broken: str


def guided(targets: Sequence[Target], seconds: int, seed: int) -> Iterator[Found]:
    """Fuzz targets for a time each, from the seeds and the corpus that this process has."""
    with TemporaryDirectory() as folder, (Path(folder) / "errors").open("w+") as errors:
        for target in targets:
            _lay_out(target, Path(folder) / target.name)
        names = [target.name for target in targets]
        command = [sys.executable, "-m", "fuzz.cover", folder, str(seconds), str(seed), *names]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                name, status = line.split()
                yield _found(name, Path(folder) / name, status)
        errors.seek(0)
        assert process.returncode == 0, errors.read()[-6000:]


def _lay_out(target: Target, place: Path) -> None:
    (place / "found").mkdir(parents=True)
    (place / "old").mkdir()
    for octets in corpus.beginnings(target):
        (place / "old" / corpus.name(octets)).write_bytes(octets)


def _found(name: str, place: Path, status: str) -> Found:
    said = (place / "said").read_text(errors="replace")
    count = max((int(found) for found in _DONE.findall(said)), default=0)
    inputs = ", ".join(path.read_bytes().hex() for path in place.glob("broken-*")) or "no input was kept"
    broken = "" if status == "0" else f"{inputs}\n{said[-6000:]}"
    return Found(name, count, [path.read_bytes() for path in (place / "found").iterdir()], broken)


# --- the process -------------------------------------------------------------------------------------


def _main(folder: str, seconds: str, seed: str, *names: str) -> None:
    by_name = _instrumented()
    for name in names:
        child = os.fork()
        if not child:
            _fuzz(by_name[name].run, Path(folder) / name, f"-max_total_time={seconds}", f"-seed={seed}")
        _, status = os.waitpid(child, 0)
        print(name, os.waitstatus_to_exitcode(status), flush=True)


def _instrumented() -> Any:
    """The targets, with the package under watch: also the functions that declarations compile to."""
    import atheris

    def execute(source: str, names: dict[str, Any]) -> None:
        exec(source, names)
        for made in names.values():
            if isinstance(made, FunctionType) and made.__code__.co_filename == "<string>":
                atheris.instrument_func(made)

    with atheris.instrument_imports(include=["meterseal"]):
        from meterseal.codec import message, parts

        for module in (message, parts):
            module.exec = execute  # type: ignore[attr-defined]
        from fuzz.targets import BY_NAME
    return BY_NAME


def _fuzz(run: Any, place: Path, *options: str) -> None:
    """In the fork: all it says goes into a file; does not return."""
    import atheris

    from meterseal.errors import MetersealError

    said = os.open(place / "said", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)

    def one_input(octets: bytes) -> None:
        try:
            run(octets)
        except MetersealError:
            return

    arguments = [
        "fuzz",
        str(place / "found"),
        str(place / "old"),
        *options,
        f"-max_len={_LONGEST_INPUT}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-timeout={_ONE_INPUT_SECONDS}",
        "-print_final_stats=1",
        f"-artifact_prefix={place}/broken-",
    ]
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    _main(*sys.argv[1:])
