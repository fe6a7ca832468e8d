"""A result in parts: one job a step, whole at any point of it, errors where they come up."""

from __future__ import annotations

from functools import partial

import pytest

from meterseal.errors import Malformed
from meterseal.meter.gradual import Gradual
from meterseal.security.steps import Steps, breath


def job(done: list[int], number: int) -> int:
    done.append(number)
    return number * 2


def counting(done: list[int], most: int) -> Steps[int]:
    for number in range(most):
        heard = yield partial(job, done, number)
        assert heard == number * 2
    return most


@pytest.mark.parametrize("looked", range(6))
def test_whole_after_any_number_of_parts(looked: int) -> None:
    done: list[int] = []
    made = Gradual(counting(done, 4))
    parts = iter(made)
    for number in range(looked):
        assert len(done) == min(number, 4)
        next(parts, None)
    assert made.whole() == made.whole() == 4 and done == [0, 1, 2, 3]
    assert list(made) == []


def test_an_error_of_a_job_is_met_by_the_steps_and_theirs_by_who_goes_on() -> None:
    def refused() -> None:
        raise Malformed("a job")

    def steps() -> Steps[str]:
        with pytest.raises(Malformed, match="a job"):
            yield refused
        yield breath
        raise Malformed("the steps")

    made = Gradual(steps())
    next(iter(made))
    with pytest.raises(Malformed, match="the steps"):
        made.whole()
