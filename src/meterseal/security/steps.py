"""Steps: curve work handed out on the way, so that whoever drives an association may put it in a pool.

What may need it is made or opened by a generator that yields pure calls and is sent their results.
Counters, keys and floors are touched between the calls only, never within one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any, TypeAlias, TypeVar, cast, overload

from meterseal.errors import MetersealError

T = TypeVar("T")

Job: TypeAlias = Callable[[], Any]
Steps: TypeAlias = Generator[Job, Any, T]


def breath() -> None:
    """A job that is none: much is being done in parts, and whoever drives it may serve others first."""


@overload
def settle(found: Steps[T]) -> T: ...
@overload
def settle(found: T) -> T: ...
def settle(found: Any) -> Any:
    """The result, every job done here and now.  Raises what a job or the steps raise."""
    if not isinstance(found, GeneratorType):
        return found
    try:
        job = next(found)
        while True:
            try:
                result = job()
            except MetersealError as error:
                job = found.throw(error)
            else:
                job = found.send(result)
    except StopIteration as done:
        return done.value


def begun(steps: Steps[T]) -> T | Steps[T]:
    """The result where no job is asked for, else steps to it that begin with the first job."""
    try:
        job = next(steps)
    except StopIteration as done:
        return cast("T", done.value)
    return _from(job, steps)


def _from(job: Job, steps: Steps[T]) -> Steps[T]:
    try:
        while True:
            try:
                result = yield job
            except MetersealError as error:
                job = steps.throw(error)
            else:
                job = steps.send(result)
    except StopIteration as done:
        return cast("T", done.value)


def outcome_of(job: Callable[..., T], *given: Any) -> T | MetersealError:
    """What a job returns that is `given` this, or the error that it raises."""
    try:
        return job(*given)
    except MetersealError as error:
        return error


def through(found: T | Steps[T]) -> Steps[T]:
    """The result, from within other steps."""
    if isinstance(found, GeneratorType):
        found = yield from found
    return found  # type: ignore[return-value]  # a cast would be a call
