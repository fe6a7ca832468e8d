"""What is kept of a run that was cut, what is said to be equal, and the table by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tools import outcomes
from tools.mutants import KILLED, SURVIVED, TIMEOUT, UNTESTED, Mutant
from tools.outcomes import EQUIVALENTS, Equivalents, Kept, report, survivors

ROW = """
[[equivalent]]
function = "security.hls.Proof.check"
before = "if a < b:"
after = "if a <= b:"
reason = "they are never the same"
"""


class Fake:
    """A mutant without files."""

    def __init__(
        self,
        outcome: int | None,
        *,
        module: str = "security.hls",
        after: str = "if a <= b:",
        otherwise: bool = False,
    ) -> None:
        self.outcome, self.module, self.says_it_otherwise = outcome, module, otherwise
        self.plain_name, self.name = f"{module}.Proof.check", f"meterseal.{module}.mutant"
        self.changed = ("if a < b:", after)


def fakes(*found: Fake) -> list[Mutant]:
    return cast("list[Mutant]", list(found))


def table(path: Path, text: str = ROW) -> Equivalents:
    path.write_text(text)
    return Equivalents(path)


def test_a_row_is_of_one_change_of_one_function(tmp_path: Path) -> None:
    rows = table(tmp_path / "rows.toml")
    same, other, elsewhere = fakes(
        Fake(SURVIVED), Fake(SURVIVED, after="if a > b:"), Fake(SURVIVED, module="security.third")
    )
    assert same in rows and other not in rows and elsewhere not in rows
    assert not list(rows.wrong([same, other]))


@pytest.mark.parametrize("outcome", [KILLED, TIMEOUT])
def test_a_row_that_a_test_noticed_is_wrong(tmp_path: Path, outcome: int) -> None:
    (complaint,) = table(tmp_path / "rows.toml").wrong(fakes(Fake(outcome)))
    assert "was noticed" in complaint


def test_a_row_of_no_mutant_is_wrong(tmp_path: Path) -> None:
    (complaint,) = table(tmp_path / "rows.toml").wrong(fakes(Fake(SURVIVED, after="if b:")))
    assert "has no mutant `if a <= b:`" in complaint


def test_every_row_of_the_table_has_a_reason() -> None:
    rows = Equivalents(EQUIVALENTS)._rows
    assert all(len(row.reason.split()) >= 4 and row.before != row.after for row in rows.values())


def test_a_survivor_is_kept_for_the_same_code_and_tests(tmp_path: Path) -> None:
    path, code = tmp_path / "kept.json", tmp_path / "code.py"
    code.write_text("1")
    kept = Kept(path, [code])
    kept.survived["a"] = 3.0
    kept.noticed["f"] = ["test"]
    kept.save()
    again = Kept(path, [code])
    assert (again.survived, again.noticed["f"], again.noticed["g"]) == ({"a": 3.0}, ["test"], [])
    code.write_text("2")
    changed = Kept(path, [code])
    assert (changed.survived, changed.noticed["f"]) == ({}, ["test"])


def test_the_table_has_a_row_for_each_file_and_the_score_leaves_out_what_is_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path / "rows.toml")
    monkeypatch.setattr(outcomes, "EQUIVALENTS", tmp_path / "rows.toml")
    found: list[Any] = [
        Fake(KILLED, after="x"),
        Fake(TIMEOUT, after="x"),
        Fake(SURVIVED),
        Fake(SURVIVED, after="x"),
        Fake(None, after="x"),
        Fake(None, otherwise=True),
        Fake(UNTESTED, module="association.base"),
    ]
    assert report(fakes(*found)) == 50.0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|") == 10
    assert [line.split(" |")[0] for line in lines[2:]] == [
        "| association.base", "| association", "| security.hls", "| security", "| all",
    ]  # fmt: skip
    assert lines[4] == "| security.hls | 6 | 1 | 1 | 2 | 1 | 0 | 1 | 66.7 |"
    assert lines[6] == "| all | 7 | 1 | 1 | 2 | 1 | 1 | 1 | 50.0 |"
    told = list(survivors(fakes(*found)))
    assert len(told) == 2 and told[0].splitlines() == [
        "meterseal.security.hls.mutant",
        "  - if a < b:",
        "  + x",
    ]
