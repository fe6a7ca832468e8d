"""Mutants tried in forks of the process that has collected the tests, several in a row in each.

A fork costs more than most tests, so it goes on to the next mutant while nothing of the last one is left:
the test that noticed it must hold again without it. Where it does not, what follows begins in a new fork.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import pytest

from tools.mutants import KILLED, SURVIVED, TIMEOUT, Mutant
from tools.switching import Switches

_GRACE: Final = (
    4  # a test may take so many seconds of processor time, and so many times what it takes, longer
)
_MEMORY: Final = 3 << 30
NOBODY: Final = -1
"""In the place of a test's number."""


class Verdict(NamedTuple):
    """What became of a mutant, and the number of the test that noticed it."""

    mutant: Mutant
    outcome: int
    test: int = NOBODY


class Runner:
    """Tests of one session, run without pytest's loop; as a plugin it hears what fails."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []
        self.times: list[float] = []
        self._failed = self.in_fork = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> pytest.TestReport | None:
        """In a fork a failure is told without its cause, which is looked up in the sources of all mutants."""
        error = call.excinfo
        if not self.in_fork or error is None or item.get_closest_marker("xfail"):
            return None
        if call.when == "collect" or isinstance(error.value, pytest.skip.Exception | pytest.xfail.Exception):
            return None
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", None, call.when)

    def fails(self, number: int, following: int | None = None) -> bool:
        """Run a test; what it shares with the `following` one stays."""
        item = self.items[number]
        self._failed = False
        try:
            after = None if following is None else self.items[following]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        except BaseException:  # noqa: BLE001 - whatever a mutant ends in, somebody noticed
            self._failed = True
        if self._failed and following is not None:
            item.session._setupstate.teardown_exact(None)
        return self._failed

    def noticing(self, tests: Sequence[int]) -> int:
        """In a fork: the first of these tests that fails."""
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        for number, following in zip(tests, [*tests[1:], None], strict=True):
            allowed = time.process_time() + _GRACE * (1 + self.times[number])
            resource.setrlimit(resource.RLIMIT_CPU, (int(allowed) + 1, most))
            if self.fails(number, following):
                return number
        return NOBODY

    def enter_fork(self) -> None:
        """From here on failures are not explained, and memory has an end."""
        self.in_fork = True
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


class Forks:
    """At most `jobs` forks at a time.

    `tests` says which tests a mutant is tried with, the best first; `tell` hears of each verdict, in the
    process that asked and in the fork as well.
    """

    def __init__(
        self,
        runner: Runner,
        switches: Switches,
        jobs: int,
        tests: Callable[[Mutant], list[int]],
        tell: Callable[[Verdict], None],
    ) -> None:
        self._runner, self._switches, self._jobs = runner, switches, jobs
        self._tests, self._tell = tests, tell
        self._running: dict[int, tuple[list[Mutant], int]] = {}

    def control(self, tests: Sequence[int]) -> int | None:
        """A test that fails in a fork without any mutant."""
        heard, told = os.pipe()
        if not os.fork():
            self._runner.enter_fork()
            os.write(told, b"%d" % self._runner.noticing(tests))
            os._exit(0)
        os.wait()
        number = int(os.read(heard, 16))
        os.close(heard)
        os.close(told)
        return None if number == NOBODY else number

    def try_all(self, batches: Sequence[list[Mutant]]) -> None:
        """Try the mutants of these batches, each batch in as few forks as it can be."""
        waiting = [*reversed(batches)]
        while waiting or self._running:
            while waiting and len(self._running) < self._jobs:
                self._start(waiting.pop())
            rest = self._ended()
            if rest:
                waiting.append(rest)

    def _start(self, batch: list[Mutant]) -> None:
        heard, told = os.pipe()
        pid = os.fork()
        if not pid:
            self._in_fork(batch, told)
            os._exit(0)
        os.close(told)
        self._running[pid] = batch, heard

    def _in_fork(self, batch: Sequence[Mutant], told: int) -> None:
        """Of each mutant `?` when it begins, then who noticed it and a space; `!` where it begins anew."""
        self._runner.enter_fork()
        for at, mutant in enumerate(batch):
            os.write(told, b"?")
            self._switches.switch(mutant.name)
            number = self._runner.noticing(self._tests(mutant))
            self._switches.original()
            spoilt = number != NOBODY and self._runner.fails(number)
            if spoilt and at:
                os.write(told, b"!")
                return
            os.write(told, b"%d " % number)
            if spoilt:
                return
            self._tell(_verdict(mutant, number))

    def _ended(self) -> list[Mutant]:
        """Tell of the mutants of the next fork that ends; the ones that are still to be tried."""
        pid, _ = os.wait()
        batch, heard = self._running.pop(pid)
        with open(heard) as said:
            *decided, last = said.read().split(" ")
        for mutant, word in zip(batch, decided, strict=False):
            self._tell(_verdict(mutant, int(word.lstrip("?"))))
        rest = batch[len(decided) :]
        if last != "?":
            return rest
        # It did not live to say: out of time or of memory.
        self._tell(Verdict(rest[0], TIMEOUT))
        return rest[1:]


def _verdict(mutant: Mutant, number: int) -> Verdict:
    return Verdict(mutant, SURVIVED if number == NOBODY else KILLED, number)
