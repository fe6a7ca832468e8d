"""The runner: by count, by time, guided, and what is kept of what was found."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from fuzz import __main__ as runner
from fuzz import corpus, cover, reach
from fuzz.target import Target
from fuzz.targets import BY_NAME
from meterseal.codec import data
from meterseal.framing import gateway


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fuzz", *words])
    return runner.main()


def test_inputs_by_count(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(monkeypatch, "gateway", "conversation", "--count", "2500", "--seconds", "0", "--seed", "1") == 0
    )
    seed, line = capsys.readouterr().out.splitlines()
    assert seed == "seed 1"
    assert line.split()[:2] == ["gateway", "2500"]  # plays take a time, and none was given


def test_inputs_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    assert runner.mutated(BY_NAME["gateway"], 10, 3, 1).total() == 10 + 2 * runner._ROUND
    assert runner.mutated(BY_NAME["hdlc-link"], 10, 3, 1).total() == 2 * runner._ROUND // 20


def test_without_atheris_the_plain_loop_runs_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cover, "is_there", lambda: False)
    assert run(monkeypatch, "--atheris", "gateway", "--seconds", "0") == 0
    assert "atheris is not installed on this platform" in capsys.readouterr().out


def test_names_are_checked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--atheris", "gatewya")
    assert "no target 'gatewya'" in capsys.readouterr().err
    assert run(monkeypatch, "--list") == 0
    assert len(capsys.readouterr().out.splitlines()) == len(BY_NAME)


def test_what_breaks_a_target_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(octets: bytes) -> object:
        raise RuntimeError("an error of another kind")

    target = Target("broken", broken, [b"\x01\x02"])
    monkeypatch.setattr(runner, "TARGETS", (target,))
    with pytest.raises(RuntimeError) as caught:
        run(monkeypatch, "broken", "--count", "10", "--seconds", "0")
    assert caught.value.__notes__[0].startswith("input: ")


def test_the_corpus_holds_each_input_once_and_no_seed(folder: Path) -> None:
    target = Target("here", data.decode, [b"\x11\x05"])
    assert corpus.kept(target) == []
    assert corpus.keep(target, [b"\x11\x05", b"\x00", b"\x00", b"\x09\x00", bytes(corpus.LARGEST + 1)]) == 2
    assert sorted(corpus.beginnings(target)) == [b"\x00", b"\x09\x00", b"\x11\x05"]
    assert corpus.keep(target, [b"\x09\x00"]) == 1
    assert corpus.kept(target) == [b"\x09\x00"]
    assert corpus.keep(target, []) == 0 and not (folder / "here").exists()


def test_kept_is_what_takes_a_new_step_the_shortest_first() -> None:
    assert reach.steps(gateway.decode, b"\xe6\x00\x00\xc0") != reach.steps(gateway.decode, b"\xe6")
    long, short = b"\xe6\x00\x00\xc0\x01", b"\xe6\x00\x00\xc0"
    assert reach.smallest(gateway.decode, [], [long, short]) == [short]
    assert reach.smallest(gateway.decode, [long], [short]) == []


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.skipif(not cover.is_there(), reason="atheris is not installed on this platform")
def test_guided(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of it: a process that instruments, a fork that fuzzes, a corpus that is used and grows."""
    target = BY_NAME["gateway"]
    corpus.keep(target, [b"\xe6"])
    assert run(monkeypatch, "--atheris", "gateway", "--seconds", "3", "--seed", "1") == 0
    kept = corpus.kept(target)
    assert b"\xe6" in kept, "the shortest that ends early, which the process began with"
    assert any(octets[:1] != b"\xe6" for octets in kept), kept
