"""Tables of what proves what: attacks and the tests named by them, the file of evidence."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Table = tuple[Iterable[object], Iterable[Iterable[object]]]
"""Heads and rows."""

_TEST = re.compile(r"^(?:async )?def (test_(?:core_)?[A-I]\d\d\w*)", re.MULTILINE)
_ROW = re.compile(r"(?<=_)([A-I]\d\d)(?=_|$)")
_RANGE = re.compile(r"_([A-I])(\d\d)_to_\1(\d\d)_")


def _rows_of(test: str) -> set[str]:
    """The ids in the name of a test; `F03_to_F08` is all between."""
    found = set(_ROW.findall(test))
    for letter, first, last in _RANGE.findall(test):
        found |= {f"{letter}{number:02}" for number in range(int(first), int(last) + 1)}
    return found


def attacks() -> Table:
    """List the attacks with the test files that have tests named by them."""
    table_of_rows = tomllib.loads((ROOT / "docs" / "attacks.toml").read_text())
    what_is_tried, not_yet = table_of_rows["attacks"], table_of_rows["not-yet"]
    tested: dict[str, dict[str, None]] = {row: {} for row in what_is_tried}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT / "tests").as_posix()
        for test in _TEST.findall(path.read_text()):
            for row in _rows_of(test) & set(tested):
                tested[row][name] = None
    if bare := [row for row, files in tested.items() if not files and row not in not_yet]:
        raise SystemExit(f"docs/attacks.toml: no test is named by {', '.join(bare)}, and no reason is given")
    rows = []
    for row, what in what_is_tried.items():
        where = ", ".join(f"`{name}`" for name in tested[row])
        rows.append((row, what, "; ".join(part for part in (where, not_yet.get(row)) if part)))
    return (("id", "what is tried", "tests that are named by it"), rows)


def evidence_file() -> Table:
    """Quote the table of keys of the file of evidence from where it is read."""
    text = (ROOT / "src/meterseal/authority/evidence_file.py").read_text().split('"""')[1]
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = [[one.strip() for one in line] for line in lines]
    return head, rows
