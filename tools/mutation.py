"""Mutation testing of security and association: mutmut makes the mutants, the tests of the packages try each.

mutmut by itself starts pytest for every mutant and collects the tests again, which takes longer than they
do. Here they are collected once, and mutants are tried in forks, several in a row in each, with the tests
that come by the line that is another: first those that noticed other mutants of its function, then quick
ones that come by little else, from all files. A mutant that is not noticed in `--seconds` of tests has
survived. What a function is only called for while modules are imported takes a process of its own. A mutant
that does what the original does, by the rules in `tools/mutants.py`, is passed over and counted apart.
Most are noticed at once: what is left after a fraction of a second of tests waits until all others had
theirs, and so on up to `--seconds`. Outcomes are kept in mutmut's own files (`mutants/`), so `mutmut
results` and `mutmut show NAME` read them; what was killed stays so until its function changes, a survivor
until code or tests change. So a run that was cut goes on where it was. Delete `mutants/` to begin anew.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from mutmut.__main__ import create_mutants
from mutmut.utils import file_utils

from tools.forks import NOBODY, Forks, Runner, Verdict
from tools.mutants import KILLED, ORIGINAL, SURVIVED, TIMEOUT, UNTESTED, Mutant, all_mutants
from tools.outcomes import Equivalents, Kept, report, survivors
from tools.switching import Switches

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/security", "tests/association")
ARGUMENTS = (
    "-o",
    "addopts=",
    "-o",
    "timeout=0",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:terminal",
    "-p",
    "no:logging",
    "--assert=plain",  # nobody reads why a mutant was noticed
)
QUICK = "not slow and not soak"
_ANEW = 900.0  # seconds of all tests in a process of their own; a mutant that needs more is untested
_BATCH = 25  # mutants for one fork
_CONTROL = 4.0  # seconds of tests that must hold in a fork without a mutant
_STAGES = (0.2, 1.0, 5.0)
"""Seconds of tests: what is left after so many waits until all mutants had theirs."""
_TOLD_EVERY = 50
_SEEN = ROOT / "mutants" / "tests-seen.json"
_KEPT = ROOT / "mutants" / "kept.json"
_WATCHED = ("tests/security", "tests/association", "src/meterseal/security", "src/meterseal/association")


class Watch:
    """The lines that a test comes by, of functions with mutants: bit n is n lines below their first."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        """For `sys.settrace`."""
        code = frame.f_code
        if not code.co_name.endswith(ORIGINAL):
            return None
        name = f"{frame.f_globals['__name__']}.{code.co_name.removesuffix(ORIGINAL)}"
        first, lines = code.co_firstlineno, self.lines
        lines.setdefault(name, 0)

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                lines[name] |= 1 << frame.f_lineno - first
            return line

        return line


class Trial(Runner):
    """In place of pytest's own loop: what do the tests come by, and which mutants do they notice?"""

    def __init__(self, wanted: Sequence[str], sample: int, seed: int, jobs: int, seconds: float) -> None:
        super().__init__()
        self._jobs, self._seconds, self._seed = jobs, seconds, seed
        self._limit = seconds
        self._kept = Kept(_KEPT, (path for folder in _WATCHED for path in (ROOT / folder).rglob("*.py")))
        self._switches = Switches()
        self._tests: dict[str, list[int]] = defaultdict(list)  # by function, the best first
        self._lines: dict[str, dict[int, int]] = defaultdict(dict)  # by function and test: bits of its lines
        self._numbers: dict[str, int] = {}  # of tests, by their ids
        self._tried = self._survived = 0
        self.mutants = list(all_mutants())
        self.chosen, self.passed_over = self._choose(wanted, sample)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Each test once, to see what it comes by; then each mutant."""
        self.items = session.items
        self._look()
        due = self._due(self._seconds)
        _say(f"{len(self.items)} tests, {len(self.mutants)} mutants, {len(due)} of them to try")
        forks = Forks(self, self._switches, self._jobs, self._trying, self._heard)
        quickest = sorted(range(len(self.times)), key=self.times.__getitem__)
        wrong = forks.control(self._affordable(quickest, _CONTROL))
        if wrong is not None:
            raise SystemExit(f"{self.items[wrong].nodeid} fails in a fork without a mutant")
        for seconds in (*(stage for stage in _STAGES if stage < self._seconds), self._seconds):
            self._limit = seconds
            self._stage(forks)
        for mutant in self._due(self._seconds):
            if not self._tests[mutant.function]:
                self._heard(Verdict(mutant, _try_anew(mutant)))
        self._save()
        return True

    def _due(self, seconds: float) -> list[Mutant]:
        """What nobody has noticed, and what was not tried for so long."""
        survived = self._kept.survived
        return [
            mutant
            for mutant in self.chosen
            if mutant.outcome not in (KILLED, TIMEOUT)
            and (mutant.outcome != SURVIVED or survived.get(mutant.name, 0.0) < seconds)
        ]

    def _stage(self, forks: Forks) -> None:
        """All that is due, with so many seconds of tests each."""
        due = [mutant for mutant in self._due(self._limit) if self._tests[mutant.function]]
        due.sort(key=lambda mutant: mutant.function)
        self._tried = self._survived = 0
        _say(f"{len(due)} to try with {self._limit} s of tests each")
        batches = [due[at : at + _BATCH] for at in range(0, len(due), _BATCH)]
        random.Random(self._seed).shuffle(batches)
        forks.try_all(batches)
        self._save()

    def _heard(self, verdict: Verdict) -> None:
        mutant, outcome, test = verdict
        mutant.file.exit_code_by_key[mutant.name] = outcome
        if test != NOBODY:
            noticed, one = self._kept.noticed[mutant.function], self.items[test].nodeid
            noticed[:] = [one, *(other for other in noticed if other != one)]
        if self.in_fork:
            return
        if outcome == SURVIVED:
            self._kept.survived[mutant.name] = self._limit
        self._tried += 1
        self._survived += outcome == SURVIVED
        if self._tried % _TOLD_EVERY == 0:
            self._save()
            _say(f"{self._tried} tried, {self._survived} left")

    def _save(self) -> None:
        for file in {id(mutant.file): mutant.file for mutant in self.mutants}.values():
            file.save()
        self._kept.save()

    def _choose(self, wanted: Sequence[str], sample: int) -> tuple[dict[Mutant, int], list[Mutant]]:
        """The mutants to try, each with its line, and those among them that do nothing else."""
        found = [mutant for mutant in self.mutants if _is_wanted(mutant, wanted)]
        # The same ones for the same seed, as long as there are no others.
        random.Random(self._seed).shuffle(found)
        chosen: dict[Mutant, int] = {}
        passed_over = []
        for mutant in found:
            if sample and len(chosen) == sample:
                break
            if mutant.says_it_otherwise:
                passed_over.append(mutant)
            else:
                chosen[mutant] = mutant.line
        return chosen, passed_over

    def _trying(self, mutant: Mutant) -> list[int]:
        return self._affordable(self._coming_by(mutant), self._limit)

    def _coming_by(self, mutant: Mutant) -> list[int]:
        """The tests that come by its line, or the nearest one before it that any test comes by."""
        tests, lines = self._tests[mutant.function], self._lines[mutant.function]
        ids, numbers = self._kept.noticed[mutant.function], self._numbers
        noticed = [numbers[one] for one in ids if one in numbers]
        ordered = [*noticed, *(n for n in tests if n not in noticed)]
        for line in range(self.chosen[mutant], 0, -1):
            found = [n for n in ordered if lines.get(n, 0) >> line & 1]
            if found:
                return found
        return ordered

    def _look(self) -> None:
        """What each test takes and comes by; an earlier run may have seen it as it is."""
        kept = json.loads(_SEEN.read_text()) if _SEEN.exists() else {"functions": {}, "tests": {}}
        of = {path: _digest(path) for path in {item.path for item in self.items}}
        now = {mutant.function: mutant.function_hash for mutant in self.mutants}
        # What is new is called by what has changed, so these tests come by it.
        same = {name for name, digest in kept["functions"].items() if now.get(name) == digest}
        seen = {name: was for name, was in kept["tests"].items() if same.issuperset(was[2])}
        self._switches.original()
        self._numbers = {item.nodeid: number for number, item in enumerate(self.items)}
        for number, item in enumerate(self.items):
            if seen.get(item.nodeid, [""])[0] != of[item.path]:
                seen[item.nodeid] = (of[item.path], *self._watched(number))
                if number % _TOLD_EVERY == 0:
                    _SEEN.write_text(json.dumps({"functions": now, "tests": seen}))
        _SEEN.write_text(json.dumps({"functions": now, "tests": seen}))
        for number, item in enumerate(self.items):
            _, taken, functions = seen[item.nodeid]
            self.times.append(taken)
            for function, lines in functions.items():
                self._tests[function].append(number)
                self._lines[function][number] = int(lines, 16)
        # What comes by few functions is about them.
        worth = [
            taken * (1 + len(seen[item.nodeid][2]))
            for taken, item in zip(self.times, self.items, strict=True)
        ]
        for tests in self._tests.values():
            tests.sort(key=worth.__getitem__)
            tests[:] = self._mixed(tests)
        gc.freeze()  # forks share what there is

    def _mixed(self, tests: Sequence[int]) -> list[int]:
        """Each file has the same share of the time: a line that all come by is seen from all sides."""
        spent: dict[Path, float] = defaultdict(float)
        order = []
        for number in tests:
            path = self.items[number].path
            spent[path] += self.times[number]
            order.append((spent[path], number))
        return [number for _, number in sorted(order)]

    def _watched(self, number: int) -> tuple[float, dict[str, str]]:
        """What a test takes of processor time while it is watched, and the lines that it comes by."""
        watch, begin = Watch(), time.process_time()
        sys.settrace(watch.call)
        try:
            failed = self.fails(number)
        finally:
            sys.settrace(None)
        if failed:
            raise SystemExit(f"{self.items[number].nodeid} fails without a mutant")
        return time.process_time() - begin, {name: hex(lines) for name, lines in watch.lines.items()}

    def _affordable(self, tests: Sequence[int], seconds: float) -> list[int]:
        """The first of these tests, for so many seconds; at least one."""
        for at, number in enumerate(tests):
            seconds -= self.times[number]
            if at and seconds < 0:
                return list(tests[:at])
        return list(tests)


def _try_anew(mutant: Mutant) -> int:
    """What happens while modules are imported is over in this process: tests in another, by mutmut's own way.

    Those of the module come first, then all.
    """
    chosen = os.environ | {"MUTANT_UNDER_TEST": mutant.name, "PYTHONPATH": str(Path("src").resolve())}
    package, module = mutant.module.split(".")
    own = f"tests/{package}/test_{module}.py"
    for tests in ((own,), TESTS) if Path(own).exists() else (TESTS,):
        command = [sys.executable, "-m", "pytest", *ARGUMENTS, "-x", "-m", QUICK, *tests]
        try:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=_ANEW, check=False, env=chosen)
        except subprocess.TimeoutExpired:
            return UNTESTED
        if done.returncode:
            return KILLED
    return SURVIVED


def _create(jobs: int) -> None:
    """mutmut's mutants; what a run was writing when it was cut is written again, verdicts stay."""
    whole = Path("mutants/whole")
    whole.parent.mkdir(exist_ok=True)
    shutil.rmtree("mutants/tests", ignore_errors=True)
    if not whole.exists():
        for path in Path("mutants/src").rglob("*.py"):
            path.unlink()
    whole.unlink(missing_ok=True)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        file_utils.copy_src_dir()
        file_utils.copy_also_copy_files()
        file_utils.setup_source_paths()
        create_mutants(jobs)
    whole.touch()


def _is_wanted(mutant: Mutant, names: Sequence[str]) -> bool:
    return not names or any(fnmatch.fnmatch(mutant.name, name) for name in names)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main() -> int:
    """0 when the score is as high as is asked."""
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutants of such names: 'meterseal.security.hls*'")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="of tests, for a mutant that nobody notices"
    )
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, drawn by chance; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=float, default=90.0, help="the least score, in percent")
    parser.add_argument("--report", action="store_true", help="only tell what came out so far")
    parser.add_argument("--survivors", action="store_true", help="and what each survivor changes")
    options = parser.parse_args()
    os.chdir(ROOT)
    if not options.report:
        os.environ["HYPOTHESIS_PROFILE"] = "few"
        _create(options.jobs)
        trial = Trial(options.names, options.sample, options.seed, options.jobs, options.seconds)
        os.chdir("mutants")
        code = pytest.main([*ARGUMENTS, "-m", QUICK, *TESTS], plugins=[trial])
        if code:
            return int(code)
        os.chdir(ROOT)
        _say(f"seed {options.seed}: {len(trial.chosen)} mutants; {len(trial.passed_over)} did nothing else")
        told = [*trial.chosen, *trial.passed_over]
    else:
        told = [one for one in all_mutants() if _is_wanted(one, options.names)]
    if options.survivors:
        print(*survivors(told), sep="\n")
    wrong = list(Equivalents().wrong(told)) if not (options.names or options.sample) else []
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 0 if report(told) >= options.least and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
