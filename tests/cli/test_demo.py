"""`meterseal demo`: the command's part of it; the scenes have tests of their own."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from meterseal.errors import TimedOut
from tests.cli.shell import run


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_exit_code_says_whether_every_claim_held(
    held: bool, code: int, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def play(*, json: bool) -> bool:
        asked.append(json)
        return held

    monkeypatch.setitem(sys.modules, "meterseal.demo", SimpleNamespace(run=play))
    assert run("demo", *words).code == code
    assert asked == [bool(words)]


def test_a_scene_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(*, json: bool) -> bool:
        raise TimedOut("the meter did not start")

    monkeypatch.setitem(sys.modules, "meterseal.demo", SimpleNamespace(run=play))
    ran = run("demo")
    assert (ran.code, ran.err) == (1, "meterseal: timed-out: the meter did not start\n")
