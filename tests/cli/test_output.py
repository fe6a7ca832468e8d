"""The printing itself: tables on a terminal and off it, log lines, what becomes of text from outside."""

from __future__ import annotations

import logging
import os
import pty

import pytest

from meterseal.cli import output
from tests.cli.shell import spawn

COLUMNS = ("what", "value")
ROWS = [("a", "1"), ("long name", "[bold]2[/bold]\x1b[2J")]


def test_table_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(COLUMNS, ROWS, title="things")
    assert capsys.readouterr().out == (
        "things\nwhat       value\na          1\nlong name  [bold]2[/bold]\\x1b[2J\n"
    )


def test_table_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    output.table(COLUMNS, ROWS)
    out = capsys.readouterr().out
    assert "[bold]2[/bold]\\x1b[2J" in out  # neither markup nor escapes mean anything
    assert out.count("\n") > 4


@pytest.mark.parametrize(
    ("env", "drawn"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_what_counts_as_a_terminal(env: dict[str, str], drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb"):
        monkeypatch.setattr("sys.stdout", terminal)
        assert output.on_terminal() is drawn


def test_not_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr("sys.stdout", nowhere)
        assert not output.on_terminal()


def test_F18_log_lines_are_one_safe_line() -> None:
    record = logging.LogRecord("meterseal.x", logging.WARNING, "", 0, "says %s", ("a\nb\x1b[2J\u202e",), None)
    line = output._Lines().format(record)
    assert line == "meterseal: warning: says a\\nb\\x1b[2J\\u202e"


def test_warnings_of_the_library_go_to_stderr() -> None:
    code = (
        "from meterseal.cli import output\nimport logging\noutput.prepare()\n"
        "logging.getLogger('meterseal.net').warning('the line %s', 'closed')\n"
        "logging.getLogger('meterseal.net').info('not this')\n"
    )
    done = spawn([], code=code)
    assert done.stdout == b""
    assert done.stderr.splitlines()[0] == b"meterseal: warning: the line closed"
    assert b"not this" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_under_the_output_is_one_line() -> None:
    code = "import sys; sys.stdout = open('/dev/full', 'w'); from meterseal.cli import main; main()"
    for words in (["--version"], ["access", "show", "--json"]):
        ran = spawn(words, code=code)
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr.startswith(b"meterseal: state-unavailable: the output cannot be written: ")
        assert ran.stderr.count(b"\n") == 1


def test_a_reader_that_has_gone_ends_a_command_without_a_word() -> None:
    code = (
        "import os, sys; read, write = os.pipe(); os.close(read); sys.stdout = open(write, 'w');"
        "from meterseal.cli import main; main()"
    )
    ran = spawn(["--version"], code=code)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, b"", b"")


def test_closed_streams_are_none_to_write_to() -> None:
    code = "import sys; sys.stdout = sys.stderr = None; from meterseal.cli import main; main()"
    assert [spawn(words, code=code).returncode for words in (["--version"], ["no-such"])] == [0, 2]
