"""Rotation as a table: every phase leads on, nothing is given up, and the likeliest key is tried first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Misuse
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Record, State
from meterseal.keys.rotation import (
    HEARD,
    MEANING,
    NEXT,
    STEP,
    Heard,
    Phase,
    Step,
    after,
    candidates,
    chosen,
    ended,
    mixtures,
)
from tests.keys.test_lifecycle import NOW, record

S, A, D, C, X = State.STAGED, State.ACTIVE, State.DEACTIVATED, State.COMPROMISED, State.DESTROYED


def test_every_phase_has_a_step_and_a_meaning_and_all_are_reached() -> None:
    assert set(STEP) == set(MEANING) == set(Phase) and set(HEARD) == set(Heard)
    reached, todo = {Phase.STAGED}, [Phase.STAGED]
    while todo:
        here = todo.pop()
        for (phase, _), following in NEXT.items():
            if phase is here and following not in reached:
                reached.add(following)
                todo.append(following)
    assert reached == set(Phase)
    assert {phase for phase, _ in NEXT} == {phase for phase in Phase if not ended(phase)}


def test_what_cannot_be_heard_is_refused() -> None:
    with pytest.raises(Misuse, match="done does not hear"):
        after(Phase.DONE, Heard.NEW)
    with pytest.raises(Misuse, match="staged does not hear"):
        after(Phase.STAGED, Heard.TAKEN)


class Device:
    """A device with a key, on a line that loses what it is told to lose."""

    def __init__(self, takes: bool) -> None:
        self.key, self.takes = "old", takes

    def hears(self, step: Step, cut: int) -> Heard:
        if step is Step.TRANSFER:
            if cut == 1:
                return Heard.LOST  # the request
            taken = self.takes and self.key == "old"
            if taken:
                self.key = "new"
            return Heard.LOST if cut == 2 else Heard.TAKEN if taken else Heard.REFUSED
        if cut:
            return Heard.SILENT
        return Heard.NEW if self.key == "new" else Heard.OLD


@given(st.booleans(), st.lists(st.integers(0, 2), max_size=12))
def test_G01_cut_anywhere_and_run_again_it_ends_with_the_key_that_the_device_has(
    takes: bool, cuts: list[int]
) -> None:
    device, phase, script = Device(takes), Phase.STAGED, iter(cuts)
    for _ in range(len(cuts) + 8):
        step = STEP[phase]
        if step is Step.END:
            break
        if step is Step.TRANSFER:
            phase = after(phase, Heard.SENDING)
        phase = after(phase, device.hears(step, next(script, 0)))
        # The new key is active only after the device has shown that it has it, and lost never.
        assert phase is not Phase.DONE or device.key == "new"
    assert phase is (Phase.DONE if takes else Phase.FAILED)
    assert device.key == ("new" if takes else "old")


def of(*states: State, sent: int | None = None) -> list[Record]:
    return [
        record(number, state, sent=NOW if number == sent else None) for number, state in enumerate(states, 1)
    ]


def versions(records: list[Record]) -> list[int]:
    return [one.version for one in records]


@pytest.mark.parametrize(
    ("kinds", "roles", "wanted"),
    [
        ((), (), {"guek", "gak", "kek"}),
        (("kek",), (), {"kek"}),
        (("kek",), ("operator",), {"kek"}),
        (("gak", "kek"), ("operator",), {"gak", "kek"}),
        (("gak", "kek"), ("manager",), {"kek"}),
        (("guek",), (), {"guek"}),
        ((), ("operator",), {"guek", "gak"}),
        ((), ("manager",), set()),
    ],
)
def test_what_a_change_of_kinds_and_roles_changes(
    kinds: tuple[str, ...], roles: tuple[str, ...], wanted: set[str]
) -> None:
    slots = (Slot(b"", "operator", "guek"), Slot(b"", "operator", "gak"), Slot(b"", "", "kek"))
    assert {slot.kind for slot in slots if chosen(slot, kinds, roles)} == wanted


def test_candidates_come_in_order_and_without_the_destroyed() -> None:
    assert versions(candidates(of(X, D, D, A, S))) == [5, 4, 3, 2]
    assert versions(candidates(of(D, D, D, A, S, sent=1))) == [5, 4, 1, 3, 2]
    assert versions(candidates(of(D, C, D))) == [2, 3, 1]


def test_mixed_cases_are_tried_after_the_pure_ones() -> None:
    both = [versions(list(pair)) for pair in mixtures(of(A, S), of(A, S))]
    assert both == [[2, 2], [1, 1], [1, 2], [2, 1]] or both == [[2, 2], [1, 1], [2, 1], [1, 2]]
    one = [versions(list(pair)) for pair in mixtures(of(A), of(A, S))]
    assert one == [[1, 2], [1, 1]]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20))
def test_tries_are_bounded_and_none_comes_twice(left: int, right: int, most: int) -> None:
    def slot(count: int) -> list[Record]:
        return of(*[D] * (count - 1), A)

    found = [tuple(versions(list(pair))) for pair in mixtures(slot(left), slot(right), most=most)]
    assert len(found) == len(set(found)) == min(most, left * right)
    assert found[0] == (left, right)
