"""Tables of what proves what: rules and their provers, attacks and the tests named by them, evidence kept."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

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


# --- who proves what ------------------------------------------------------------------------------

_COLUMN = {
    "standard": "standard",
    "standard-erratum": "standard",
    "implementation-test": "third",
    "capture": "third",
    "derived": "own",
}
"""Origin of a vector -> the column that it counts in."""


def _vectors() -> dict[str, dict[str, Any]]:
    file = json.loads((ROOT / "tests/vectors/vectors.json").read_text(encoding="utf-8"))
    return {row["id"]: row for row in file["vectors"]}


def rules() -> Table:
    """List the rules of the standard with who proves each; every vector has to be in it."""
    vectors, named = _vectors(), set[str]()
    rows = []
    for rule in tomllib.loads((ROOT / "docs" / "proofs.toml").read_text())["rule"]:
        cells: dict[str, list[str]] = {"standard": [], "third": [], "own": []}
        for pattern in rule.get("vectors", ()):
            found = [id for id in vectors if fnmatchcase(id, pattern)]
            if not found:
                raise SystemExit(f"docs/proofs.toml: no vector {pattern}")
            named |= set(found)
            for id in found:
                row = vectors[id]
                mark = "" if row["verified"] else " (1)"
                cells[_COLUMN[row["origin"]]].append(f"`{id}`{mark}")
        cells["third"] += rule.get("sets", ())
        for test in rule.get("own", ()):
            if not (ROOT / "tests" / test).exists():
                raise SystemExit(f"docs/proofs.toml: no test file {test}")
            cells["own"].append(f"`{test}`")
        peers = ", ".join(rule.get("peers", ()))
        rows.append((rule["rule"], *(", ".join(dict.fromkeys(cells[one])) for one in ("standard", "third")),
                     peers, ", ".join(cells["own"])))  # fmt: skip
    if missing := sorted(vectors.keys() - named):
        raise SystemExit(f"docs/proofs.toml: no rule names {', '.join(missing)}")
    return ("rule", "printed in a standard", "third-party vectors", "other software", "own regression"), rows


def gates() -> Table:
    """List the release gates: vectors without which nothing is released."""
    rows = [(f"`{id}`", row["title"]) for id, row in _vectors().items() if "gbcs" in id]
    return ("vector", "what it is"), rows


def origins() -> Table:
    """Count the vectors by where they are from, and how many of them do not reproduce as printed."""
    counts: dict[str, list[int]] = {}
    for row in _vectors().values():
        counts.setdefault(row["origin"], [0, 0])[not row["verified"]] += 1
    rows = [(origin, *counts[origin]) for origin in _COLUMN if origin in counts]
    return ("origin", "reproduces", "does not"), rows
