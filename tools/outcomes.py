"""What became of the mutants: kept for the next run, held against what is said to be equal, told by file."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tools.mutants import KILLED, SURVIVED, TIMEOUT, Mutant

EQUIVALENTS: Final = Path(__file__).with_name("equivalents.toml")
_COLUMNS: Final = ("mutants", "killed", "timeout", "equal", "survived", "untested", "untried")


class Equivalent(NamedTuple):
    """A change of one line that nobody can notice, and why."""

    function: str
    before: str
    after: str
    reason: str


class Equivalents:
    """The table of those, by function and the line as it was and as it is.  They are tried like all."""

    def __init__(self, path: Path | None = None) -> None:
        rows = tomllib.loads((path or EQUIVALENTS).read_text())["equivalent"]
        self._rows = {row[:3]: row for row in (Equivalent(**row) for row in rows)}
        self._functions = {row.function for row in self._rows.values()}

    def __contains__(self, mutant: Mutant) -> bool:
        return mutant.plain_name in self._functions and _key(mutant) in self._rows

    def wrong(self, mutants: Sequence[Mutant]) -> Iterator[str]:
        """Complaints: a row of no mutant, and one that a test noticed after all."""
        found = {_key(mutant): mutant for mutant in mutants if mutant in self}
        for key, row in self._rows.items():
            if key not in found:
                yield f"{EQUIVALENTS.name}: {row.function} has no mutant `{row.after}`"
        for mutant in found.values():
            if mutant.outcome in (KILLED, TIMEOUT):
                yield f"{EQUIVALENTS.name}: {mutant.name} is said to be equal, and was noticed"


def _key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.plain_name, *mutant.changed


class Kept:
    """What mutmut has no place for: how long survivors were tried, and which tests noticed the others.

    A survivor of the same code and tests need not be tried again for as long; so a run that was cut goes on.
    """

    def __init__(self, path: Path, watched: Iterable[Path]) -> None:
        self._path = path
        digest = hashlib.sha256(b"".join(one.read_bytes() for one in sorted(watched))).hexdigest()
        was: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self._digest = digest
        self.noticed: dict[str, list[str]] = defaultdict(list, was.get("noticed", {}))
        """By function the ids of tests, the latest first."""
        same = was.get("digest") == digest
        self.survived: dict[str, float] = was.get("survived", {}) if same else {}
        """Seconds of tests, by mutant."""

    def save(self) -> None:
        found = {"digest": self._digest, "noticed": self.noticed, "survived": self.survived}
        self._path.write_text(json.dumps(found))


def _fate(mutant: Mutant, equal: bool) -> str:
    if mutant.outcome in (KILLED, TIMEOUT):
        return "killed" if mutant.outcome == KILLED else "timeout"
    if equal:
        return "equal"
    if mutant.outcome is None:
        return "untried"
    return "survived" if mutant.outcome == SURVIVED else "untested"


def _score(counts: Mapping[str, int]) -> float:
    noticed = counts["killed"] + counts["timeout"]
    return 100 * noticed / max(1, noticed + counts["survived"] + counts["untested"])


def report(mutants: Sequence[Mutant]) -> float:
    """Print a table by file.  Gives the score: noticed of those tried that are not equal, in percent."""
    equivalents = Equivalents()
    files: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant in mutants:
        fate = _fate(mutant, mutant.says_it_otherwise or mutant in equivalents)
        for name in (mutant.module, mutant.module.split(".")[0], "all"):
            files[name][fate] += 1
    print(f"| file | {' | '.join(_COLUMNS)} | score |")
    print(f"| --- |{' ---: |' * (len(_COLUMNS) + 1)}")
    for name, counts in sorted(files.items(), key=_place):
        numbers = " | ".join(str(counts[column]) for column in _COLUMNS[1:])
        print(f"| {name} | {counts.total()} | {numbers} | {_score(counts):.1f} |")
    return _score(files["all"])


def _place(one: tuple[str, Any]) -> tuple[bool, str, bool, str]:
    """Files, below them their package, and all at the end."""
    package, _, file = one[0].partition(".")
    return package == "all", package, not file, file


def survivors(mutants: Sequence[Mutant]) -> Iterator[str]:
    """Each as its name, the line as it was and as it is."""
    equivalents = Equivalents()
    for mutant in mutants:
        equal = mutant.says_it_otherwise or mutant in equivalents
        if _fate(mutant, equal) in ("survived", "untested"):
            before, after = mutant.changed
            yield f"{mutant.name}\n  - {before}\n  + {after}"
