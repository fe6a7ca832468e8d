"""`meterseal demo`: the command's part of it; the scenes have tests of their own (tests/demo)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import meterseal
from meterseal.demo import Fact, Played
from meterseal.errors import TimedOut
from tests.cli.shell import run


def stand_in(monkeypatch: pytest.MonkeyPatch, play: Callable[..., list[Played]]) -> None:
    module = SimpleNamespace(play=play)
    monkeypatch.setitem(sys.modules, "meterseal.demo", module)
    monkeypatch.setattr(meterseal, "demo", module, raising=False)


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_exit_code_says_whether_every_claim_held(
    held: bool, code: int, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def play(one_by_one: Callable[[Played], None] | None) -> list[Played]:
        told.append(one_by_one is None)
        scenes = [Played(name, "claim", (Fact("what", "seen", ok),), {}) for name, ok in _two(held)]
        if one_by_one is not None:
            for scene in scenes:
                one_by_one(scene)
        return scenes

    stand_in(monkeypatch, play)
    ran = run("demo", *words)
    assert ran.code == code
    assert told == [bool(words)]
    if words:
        assert [scene["held"] for scene in ran.lines()[0]["scenes"]] == [True, held]
    else:
        assert ran.out.splitlines()[-1] == f"{1 + held} of 2 claims held"


def _two(held: bool) -> list[tuple[str, bool]]:
    return [("first", True), ("second", held)]


def test_text_of_a_meter_does_not_steer_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Played("a\x1b[2J", "claim", (Fact("what", "b\x1b[2J", True),), {}, "c\x1b[2J")
    stand_in(monkeypatch, lambda told: [told(scene), scene][1:])
    ran = run("demo")
    assert ran.code == 1 and "\x1b" not in ran.out
    assert all(letter + "\\x1b[2J" in ran.out for letter in "abc")


def test_a_stage_that_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(told: object) -> list[Played]:
        raise TimedOut("the meter did not start")

    stand_in(monkeypatch, play)
    ran = run("demo")
    assert (ran.code, ran.err) == (1, "meterseal: timed-out: the meter did not start\n")
