"""Steps: what takes no job is done at once, and what does goes on with its result or its error."""

from __future__ import annotations

from functools import partial
from types import GeneratorType
from typing import Any

import pytest

from meterseal.errors import Forged
from meterseal.security.steps import Steps, begun, outcome_of, settle, through


def refuse() -> Any:
    raise Forged("not this one")


def counting(jobs: int) -> Steps[list[Any]]:
    """So many jobs, each with its number, and what came of them; an error is taken as a result."""
    found: list[Any] = []
    for number in range(jobs):
        try:
            found.append((yield refuse if number % 2 else partial(int, number)))
        except Forged as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("jobs", range(5))
def test_begun_steps_come_to_the_same(jobs: int) -> None:
    expected = [n if n % 2 == 0 else "not this one" for n in range(jobs)]
    found = begun(counting(jobs))
    assert isinstance(found, GeneratorType) == (jobs > 0)
    assert settle(found) == settle(counting(jobs)) == expected


def test_an_error_that_nobody_takes_comes_out() -> None:
    def failing() -> Steps[int]:
        yield refuse
        return 1

    with pytest.raises(Forged):
        settle(begun(failing()))


def test_from_within_others() -> None:
    def outer() -> Steps[tuple[Any, Any]]:
        plain: Any = 7
        steps: Any = counting(2)
        first = yield from through(plain)
        return first, (yield from through(steps))

    assert settle(outer()) == (7, [0, "not this one"])


def test_the_outcome_of_a_job_is_its_result_or_its_error() -> None:
    assert outcome_of(lambda: 3) == 3
    assert isinstance(outcome_of(refuse), Forged)
    with pytest.raises(ZeroDivisionError):
        outcome_of(lambda: 1 // 0)
