"""Mutation testing of security and association: mutmut makes the mutants, the tests of the packages try each.

mutmut by itself starts pytest for every mutant and collects the tests again, which takes longer than they
do. Here they are collected once, and each mutant is tried in a fork, with the tests that come by the line
that is another: first those that noticed other mutants of its function, then quick ones that come by little
else. A mutant that is not noticed in `--seconds` of tests has survived. What a function is only called for
while modules are imported takes a process of its own. A mutant that does what the original does, by the
rules in `tools/mutants.py`, is passed over and counted apart. Outcomes are kept in mutmut's own files
(`mutants/`), so `mutmut results` and `mutmut show NAME` read them; what was killed stays so until its
function changes, survivors are tried again in each run. Delete `mutants/` to begin anew.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from mutmut.__main__ import create_mutants
from mutmut.mutation import trampoline
from mutmut.utils import file_utils

from tools.mutants import ORIGINAL, Mutant, all_mutants

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
)
SURVIVED, KILLED, UNTESTED, TIMEOUT = 0, 1, 33, 36  # mutmut's numbers
QUICK = "not slow and not soak"
_ANEW = 900.0  # seconds of all tests in a process of their own; a mutant that needs more is untested
_GRACE = 5  # a test may take so many seconds of processor time, and so many times what it takes, longer
_MEMORY = 3 << 30
_CONTROL = 30.0  # seconds of tests that must hold in a fork without a mutant
_TOLD_EVERY = 50
_SEEN = ROOT / "mutants" / "tests-seen.json"


class Running(NamedTuple):
    """A mutant on trial; from `heard` comes the number of the test that noticed it."""

    mutant: Mutant | None
    heard: int


class Watch:
    """The lines that a test comes by, of functions with mutants: bit n is n lines below `def`."""

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


class Trial:
    """In place of pytest's own loop: what do the tests come by, and which mutants do they notice?"""

    def __init__(self, wanted: Sequence[str], sample: int, seed: int, jobs: int, seconds: float) -> None:
        self._jobs, self._seconds = jobs, seconds
        self._tests: dict[str, list[int]] = defaultdict(list)  # by function, the best first
        self._lines: dict[str, dict[int, int]] = defaultdict(dict)  # by function and test: bits of its lines
        self._noticed: dict[str, list[int]] = defaultdict(list)  # by function, the latest first
        self._times: list[float] = []
        self._running: dict[int, Running] = {}
        self._items: list[pytest.Item] = []
        self._failed = False
        self.mutants = list(all_mutants())
        self.chosen, self.passed_over = self._choose(wanted, sample, seed)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Each test once, to see what it comes by; then each mutant."""
        self._items = session.items
        self._look()
        due = [mutant for mutant in self.chosen if mutant.outcome not in (KILLED, TIMEOUT)]
        _say(f"{len(self._items)} tests, {len(self.mutants)} mutants, {len(due)} of them to try")
        self._start(
            None, self._affordable(sorted(range(len(self._times)), key=self._times.__getitem__), _CONTROL)
        )
        self._wait()
        for number, mutant in enumerate(due):
            if number % _TOLD_EVERY == 0:
                _keep(self.mutants)
                _say(f"{number} tried, {sum(m.outcome == SURVIVED for m in due[:number])} survived")
            if len(self._running) >= self._jobs:
                self._wait()
            self._start(mutant, self._affordable(self._coming_by(mutant), self._seconds))
        while self._running:
            self._wait()
        _keep(self.mutants)
        return True

    def _choose(
        self, wanted: Sequence[str], sample: int, seed: int
    ) -> tuple[dict[Mutant, int], list[Mutant]]:
        """The mutants to try, each with its line, and those among them that do nothing else."""
        names = wanted or ("*",)
        found = [m for m in self.mutants if any(fnmatch.fnmatch(m.name, name) for name in names)]
        random.Random(seed).shuffle(found)  # the same ones for the same seed, as long as there are no others
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

    def _coming_by(self, mutant: Mutant) -> list[int]:
        """The tests that come by its line, or the nearest one before it that any test comes by."""
        tests, lines = self._tests[mutant.function], self._lines[mutant.function]
        noticed = self._noticed[mutant.function]
        ordered = [*noticed, *(n for n in tests if n not in noticed)]
        for line in range(self.chosen[mutant], 0, -1):
            found = [n for n in ordered if lines[n] >> line & 1]
            if found:
                return found
        return ordered

    def _look(self) -> None:
        """What each test takes and comes by; of tests that an earlier run has seen, from that run."""
        seen = json.loads(_SEEN.read_text()) if _SEEN.exists() else {}
        new = [item for item in self._items if item.nodeid not in seen]
        trampoline.set_mutant_under_test("none")
        for item, following in zip(new, [*new[1:], None], strict=False):
            watch, begin = Watch(), time.process_time()
            sys.settrace(watch.call)
            try:
                self._run(item, following)
            finally:
                sys.settrace(None)
            if self._failed:
                raise SystemExit(f"{item.nodeid} fails without a mutant")
            seen[item.nodeid] = (
                time.process_time() - begin,
                {name: hex(m) for name, m in watch.lines.items()},
            )
        _SEEN.write_text(json.dumps(seen))
        for number, item in enumerate(self._items):
            taken, functions = seen[item.nodeid]
            self._times.append(taken)
            for function, lines in functions.items():
                self._tests[function].append(number)
                self._lines[function][number] = int(lines, 16)
        # What comes by few functions is about them.
        worth = [
            taken * (1 + len(seen[item.nodeid][1]))
            for taken, item in zip(self._times, self._items, strict=True)
        ]
        for tests in self._tests.values():
            tests.sort(key=worth.__getitem__)
        gc.freeze()  # forks share what there is

    def _run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

    def _affordable(self, tests: Sequence[int], seconds: float) -> list[int]:
        """The first of these tests, for so many seconds; at least one."""
        for at, number in enumerate(tests):
            seconds -= self._times[number]
            if at and seconds < 0:
                return list(tests[:at])
        return list(tests)

    # --- forks ------------------------------------------------------------------------------------

    def _start(self, mutant: Mutant | None, tests: list[int]) -> None:
        heard, told = os.pipe()
        pid = os.fork()
        if not pid:
            self._try("none" if mutant is None else mutant.name, tests, told)
        os.close(told)
        self._running[pid] = Running(mutant, heard)

    def _try(self, name: str, tests: list[int], told: int) -> None:
        """In the fork: the tests, up to the first that fails.  Does not return."""
        trampoline.set_mutant_under_test(name)
        if not tests:
            os._exit(self._try_anew())
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        for at, number in enumerate(tests):
            allowed = time.process_time() + _GRACE * (1 + self._times[number])
            resource.setrlimit(resource.RLIMIT_CPU, (int(allowed) + 1, most))
            try:
                self._run(self._items[number], self._items[tests[at + 1]] if at + 1 < len(tests) else None)
            except BaseException:  # noqa: BLE001 - whatever a mutant ends in, somebody noticed
                self._failed = True
            if self._failed:
                os.write(told, b"%d" % number)
                os._exit(KILLED)
        os._exit(SURVIVED)

    def _try_anew(self) -> int:
        """What happens while modules are imported is over in this process."""
        command = [sys.executable, "-m", "pytest", *ARGUMENTS, "-x", "-m", QUICK, *TESTS]
        try:
            code = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=_ANEW, check=False).returncode
        except subprocess.TimeoutExpired:
            return UNTESTED
        return KILLED if code else SURVIVED

    def _wait(self) -> None:
        pid, status = os.wait()
        mutant, heard = self._running.pop(pid)
        number = os.read(heard, 16)
        os.close(heard)
        code = os.waitstatus_to_exitcode(status)
        if mutant is None:
            if code != SURVIVED:
                raise SystemExit(f"{self._items[int(number)].nodeid} fails in a fork without a mutant")
            return
        mutant.file.exit_code_by_key[mutant.name] = code if code in (KILLED, SURVIVED, UNTESTED) else TIMEOUT
        if number:
            noticed = self._noticed[mutant.function]
            noticed[:] = [int(number), *(n for n in noticed if n != int(number))]


def _keep(mutants: Sequence[Mutant]) -> None:
    for file in {id(mutant.file): mutant.file for mutant in mutants}.values():
        file.save()


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _score(counts: Counter[int | None]) -> float:
    return 100 * (counts[KILLED] + counts[TIMEOUT]) / max(1, counts.total() - counts[None])


def report(mutants: Sequence[Mutant]) -> float:
    """Print what became of the mutants, by module.  Gives the score: noticed of those tried, in percent."""
    modules: dict[str, Counter[int | None]] = defaultdict(Counter)
    for mutant in mutants:
        for name in (mutant.module, mutant.module.split(".")[0], "all"):
            modules[name][mutant.outcome] += 1
    print(
        f"{'':32}{'mutants':>8}{'killed':>8}{'timeout':>8}{'survived':>9}{'untested':>9}{'untried':>8}{'score':>7}"
    )
    for name, counts in sorted(modules.items()):
        numbers = (counts.total(), counts[KILLED], counts[TIMEOUT])
        print(
            f"{name:32}{numbers[0]:8}{numbers[1]:8}{numbers[2]:8}{counts[SURVIVED]:9}{counts[UNTESTED]:9}"
            f"{counts[None]:8}{_score(counts):7.1f}"
        )
    return _score(modules["all"])


def main() -> int:
    """0 when the score is as high as is asked."""
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutants of such names: 'meterseal.security.hls*'")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of tests, for a mutant that nobody notices"
    )
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, drawn by chance; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=float, default=90.0, help="the least score, in percent")
    parser.add_argument("--report", action="store_true", help="only tell what came out so far")
    options = parser.parse_args()
    os.chdir(ROOT)
    if not options.report:
        os.environ["HYPOTHESIS_PROFILE"] = "few"
        Path("mutants").mkdir(exist_ok=True)
        shutil.rmtree("mutants/tests", ignore_errors=True)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            file_utils.copy_src_dir()
            file_utils.copy_also_copy_files()
            file_utils.setup_source_paths()
            create_mutants(options.jobs)
        trial = Trial(options.names, options.sample, options.seed, options.jobs, options.seconds)
        os.chdir("mutants")
        code = pytest.main([*ARGUMENTS, "-m", QUICK, *TESTS], plugins=[trial])
        if code:
            return int(code)
        os.chdir(ROOT)
        _say(f"seed {options.seed}: {len(trial.chosen)} mutants; {len(trial.passed_over)} did nothing else")
        return 0 if report(list(trial.chosen)) >= options.least else 1
    return 0 if report(list(all_mutants())) >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
