"""The README and the pages of the docs: every command and program in them runs and does what is printed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from meterseal import errors
from meterseal.demo.scenes import SCENES
from tests.docs import forks
from tests.docs.pages import ENVIRONMENT, LIMIT, Shell, Step, matches, steps, with_free_ports

ROOT = Path(__file__).resolve().parents[2]
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
WITH_HSM = [page for page in HOW_TO if "softhsm2-util" in page.read_text()]
"""Run by tests/system, where there is one."""

PAGES = [
    ROOT / "README.md", *(page for page in HOW_TO if page not in WITH_HSM),
    ROOT / "docs" / "reference" / "json.md",
]  # fmt: skip


@pytest.fixture(scope="session")
def quick() -> Iterator[Path | None]:
    """Where `meterseal` is a fork of one that is there already; None where that is not possible."""
    with forks.commands(ENVIRONMENT) if forks.POSSIBLE else nullcontext() as folder:
        yield folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_does_what_it_says(page: Path, tmp_path: Path, quick: Path | None) -> None:
    with Shell(tmp_path, None if page.stem == "README" else quick) as shell:
        for step in steps(with_free_ports(page.read_text())):
            shell.run(step)


@pytest.mark.skipif(not forks.POSSIBLE, reason="pages start the real one here")
@pytest.mark.parametrize("words", [["suites"], ["keys", "status"], ["decode", "C0", ""]], ids=" ".join)
def test_a_fork_says_what_the_real_one_says(words: list[str], tmp_path: Path, quick: Path) -> None:
    said = [
        subprocess.run(
            ["meterseal", *words], env=Shell(tmp_path, where).environment, cwd=tmp_path, capture_output=True
        )
        for where in (quick, None)
    ]
    assert len({(one.returncode, one.stdout, one.stderr) for one in said}) == 1


@pytest.mark.skipif(not forks.POSSIBLE, reason="pages start the real one here")
@pytest.mark.parametrize(("way", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_fork_ends_as_the_real_one_ends(
    way: signal.Signals, code: int, tmp_path: Path, quick: Path
) -> None:
    with Shell(tmp_path, quick) as shell:
        shell.run(Step("exec meterseal meter run --port 0 --state state &", "listening on ..."))
        (meter,) = shell.background
        meter.send_signal(way)
        assert meter.wait(LIMIT) == code
        assert meter.stdout is not None and not meter.stdout.read(), "it goes on, or says why it ended"


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_how_to_page_has_something_to_run(page: Path) -> None:
    assert list(steps(page.read_text()))


def test_readme_quotes_the_demo_as_it_is() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    quoted = [scene for scene in SCENES if scene.claim in text]
    assert len(quoted) == 2 and all(f"{scene.name} {scene.claim}" in text for scene in quoted)
    assert f"{len(SCENES)} of {len(SCENES)} claims held" in text


def test_every_kind_of_error_is_explained() -> None:
    tree = [found for found in vars(errors).values() if isinstance(found, type)]
    kinds = {
        found.kind
        for found in tree
        if issubclass(found, errors.MetersealError) and not found.__subclasses__()
    }
    text = (ROOT / "docs" / "how-to" / "when-it-does-not-work.md").read_text()
    rows = {
        cell
        for line in text.splitlines()
        if line.startswith("| `")
        for cell in line.split("|")[1].split(", ")
    }
    assert not kinds - {cell.strip(" `") for cell in rows}


PAGE = """
```console
$ export NAME=world
$ echo hello $NAME; false   # exits 1
hello ...
$ ls nothing-here \\
    2>/dev/null; true
```
```py
await fragment
```
```toml
[fragment]
```
- a list

  ```python
  print("program")
  ```
  ```toml title="a-file.toml"
  [whole]
  key = 1
  ```
"""


def test_steps_of_a_page() -> None:
    assert list(steps(PAGE)) == [
        Step("export NAME=world"),
        Step("echo hello $NAME; false", "hello ...", 1),
        Step("ls nothing-here     2>/dev/null; true"),
        Step('print("program")\n', python=True),
        Step("[whole]\nkey = 1\n", file="a-file.toml"),
    ]


def test_steps_run_with_lasting_environment(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        for step in steps(PAGE):
            shell.run(step)
        assert shell.environment["NAME"] == "world"
    assert (tmp_path / "a-file.toml").read_text() == "[whole]\nkey = 1\n"


def test_ports_are_exchanged_for_free_ones() -> None:
    page = with_free_ports("--port 14059, --port 14060, tcp://h:14059/, 140590, --port 0")
    one, two, again, longer, zero = page.split(", ")
    assert len({"--port 14059", "--port 14060", one, two}) == 4
    assert again == f"tcp://h:{one.removeprefix('--port ')}/"
    assert (longer, zero) == ("140590", "--port 0")


@pytest.mark.parametrize(
    "step",
    [
        Step("true", code=1),
        Step("echo one", "two"),
        Step("raise SystemExit(3)", python=True),
        Step("exit 1 &", "up"),
    ],
    ids=["code", "output", "program", "background"],
)
def test_a_page_that_lies_is_caught(step: Step, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell, pytest.raises(AssertionError):
        shell.run(step)


def test_background_command_goes_on_until_the_end_of_the_page(tmp_path: Path) -> None:
    program = """python -c 'print("starting\\nlistening on 1", flush=True); import time; time.sleep(60)' &"""
    with Shell(tmp_path) as shell:
        shell.run(Step(program, "starting\nlistening on ..."))
        assert shell.background[0].poll() is None
    assert shell.background[0].returncode is not None


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nd\n", True),
        ("a ... c", "a b c\n", True),
        ("a ... c", "a b d\n", False),
        ("a", "a\nb\n", False),
        ("...", "", True),
        ("a.c", "abc\n", False),
    ],
)
def test_matches(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
