"""What both ends share: how a step waits for counters and for work, and which sizes are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meterseal.association.base import ACSE_ROOM, Association
from meterseal.association.effects import Compute, Effect, Need, Refusal, Reply
from meterseal.crypto import suite
from meterseal.errors import Forged, MetersealError, TooLarge
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.steps import Steps
from tests.association.pair import METER_TITLE, key

DONE: list[Effect] = [Reply(b"done")]


class End(Association):
    """An end that tells what it refuses and during what."""

    def __init__(self) -> None:
        super().__init__(SecuritySetup(suite(0), METER_TITLE))

    def _refuse(self, error: MetersealError, during: str) -> list[Effect]:
        return [Refusal(error, during)]


def counted(left: int) -> Counted:
    return Counted(SendCounter(10, 10 + left), ReceiveCounter())


def going() -> list[Effect]:
    return DONE


@pytest.mark.parametrize("count", [1, 2])
def test_C10_it_waits_where_fewer_values_are_left_than_it_takes(count: int) -> None:
    end = End()
    for left in (count + 1, count):
        end._setup.unicast = key(10, end=10 + left)
        assert end._with_counters(count, going) == DONE and end._counters_left(count)
    end._setup.unicast = key(10, end=10 + count - 1)
    assert not end._counters_left(count)
    (need,) = end._with_counters(count, going)
    assert isinstance(need, Need) and (need.key, need.count) == (end._setup.unicast, count)
    for token in (need.token - 1, need.token + 1):
        assert end.resume(token) == []
    assert end.resume(need.token) == DONE
    assert end.resume(need.token) == [], "once"


def test_C10_without_a_key_there_is_nothing_to_wait_for() -> None:
    end = End()
    assert end._with_counters(1, going) == DONE and end._counters_left(1)


@pytest.mark.parametrize("fresh", [False, True])
def test_C10_each_kind_of_counter_is_asked_for_in_its_turn(fresh: bool) -> None:
    end = End()
    end._setup.unicast, end._setup.fresh = key(10, end=10), counted(0)
    end._fresh_keys, end._also = fresh, (counted(0), counted(5), counted(0))
    expected = [end._setup.unicast, *([end._setup.fresh] if fresh else []), end._also[0], end._also[2]]
    asked, tokens = [], set()
    effects = end._with_counters(1, going)
    while effects != DONE:
        (need,) = effects
        assert isinstance(need, Need) and need.count == 1
        asked.append(need.key)
        tokens.add(need.token)
        effects = end.resume(need.token)
    assert asked == expected and len(tokens) == len(expected)


@pytest.mark.parametrize("wanting", ["unicast", "fresh", "also"])
def test_C10_one_kind_that_is_used_up_is_enough_to_wait(wanting: str) -> None:
    end = End()
    end._fresh_keys = wanting == "fresh"
    end._also = (counted(0),) if wanting == "also" else ()
    end._setup.unicast = key(10, end=10 + (wanting != "unicast"))
    end._setup.fresh = counted(0)
    assert not end._counters_left(1)
    (need,) = end._with_counters(1, going)
    assert isinstance(need, Need)


def later() -> list[Effect]:
    raise Forged("later")


def went_on(total: int) -> list[Effect]:
    return DONE


def two_jobs(failing: int = -1) -> Steps[int]:
    total = 0
    for number in range(2):
        total += yield job(number, failing)
    return total


def job(number: int, failing: int) -> Callable[[], int]:
    def work() -> int:
        if number == failing:
            raise Forged("work that shows a forgery")
        return number + 1

    return work


def run(end: End, effects: list[Effect]) -> list[Any]:
    """Carry the work out; what comes in the end."""
    tokens = []
    while isinstance(effects[0], Compute):
        (compute,) = effects
        assert isinstance(compute, Compute)
        tokens.append(compute.token)
        effects = end.resume(compute.token, compute.job())
    return [len(set(tokens)), *effects]


def test_work_is_handed_out_one_job_after_the_other() -> None:
    end = End()
    got: list[int] = []

    def go(total: int) -> list[Effect]:
        got.append(total)
        return DONE

    assert run(end, end._through(two_jobs(), go, "looking")) == [2, *DONE]
    assert end._through(7, go) == DONE
    assert got == [3, 7]


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("during", [None, "looking"])
def test_work_that_fails_is_refused_with_what_it_was_for(failing: int, during: str | None) -> None:
    end = End()
    said = {} if during is None else {"during": during}
    _, refusal = run(end, end._through(two_jobs(failing), went_on, **said))
    assert isinstance(refusal.error, Forged) and refusal.during == (during or "sending")
    # What is parked afterwards for another reason is not said to be for this.
    end._setup.unicast = key(10, end=10)
    (need,) = end._with_counters(1, later)
    (refusal,) = end.resume(need.token)  # type: ignore[union-attr]
    assert isinstance(refusal, Refusal) and refusal.during == "sending"


@pytest.mark.parametrize(
    ("tag", "agreed", "most"),
    [(0xC4, 0, None), (0xC4, 100, 100), (0x61, 0, None), (0x61, 100, ACSE_ROOM), (0x61, 3000, 3000)],
)
def test_F11_nothing_above_the_agreed_size_is_taken(tag: int, agreed: int, most: int | None) -> None:
    """ACSE has some room of its own: sizes are agreed later, and it may carry a certificate."""
    Association._check_size(bytes((tag,)) + bytes((most or 70_000) - 1), agreed)
    if most is not None:
        with pytest.raises(TooLarge, match=f"{most + 1} octets, {most} were agreed"):
            Association._check_size(bytes((tag,)) + bytes(most), agreed)
