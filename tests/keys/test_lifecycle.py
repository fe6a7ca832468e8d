"""The life of a key: the table, one staged and one active at most, nothing lost that a device may have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Misuse
from meterseal.keys.kinds import KINDS, ORDER, Slot
from meterseal.keys.lifecycle import MOVES, RULES, STANDING, Record, State, Verb, find, move, plan

NOW = datetime(2026, 11, 25, tzinfo=UTC)
DEVICE = bytes.fromhex("4D534C0000000001")


def record(number: int, state: State, kind: str = "guek", sent: datetime | None = None) -> Record:
    return Record(
        number,
        Slot(DEVICE, "operator", kind),
        number,
        state,
        0,
        f"{number:010X}",
        "made",
        NOW,
        NOW,
        None,
        sent,
    )


class Slots:
    """A slot whose plans are carried out."""

    def __init__(self, kind: str = "guek") -> None:
        self.kind, self.records = kind, list[Record]()

    def do(self, verb: Verb, number: int | None = None) -> None:
        chosen = None if number is None else self.records[number % len(self.records)]
        changes = plan(self.records, verb, chosen)
        for change in changes:
            at = next(i for i, one in enumerate(self.records) if one.id == change.record.id)
            self.records[at] = replace(self.records[at], state=change.after)
        if chosen is None:
            self.records.append(record(len(self.records) + 1, MOVES[None, verb], self.kind))

    def states(self) -> list[str]:
        return [one.state.value for one in self.records]


def test_every_state_has_a_standing_and_every_verb_a_rule() -> None:
    assert set(STANDING) == set(State) and set(RULES) == set(Verb)
    assert {verb for _, verb in MOVES} == set(Verb)
    assert set(ORDER) == set(KINDS)
    assert not STANDING[State.DESTROYED].held and STANDING[State.ACTIVE].protect
    assert [state for state, standing in STANDING.items() if standing.protect] == [State.ACTIVE]


@pytest.mark.parametrize("verb", Verb)
def test_nothing_leads_out_of_destroyed(verb: Verb) -> None:
    with pytest.raises(Misuse, match="destroyed"):
        move(State.DESTROYED, verb)


def test_G03_a_new_staged_key_withdraws_the_older_one_which_is_kept() -> None:
    slot = Slots()
    slot.do(Verb.ADOPT)
    slot.do(Verb.STAGE)
    slot.do(Verb.STAGE)
    assert slot.states() == ["active", "deactivated", "staged"]
    slot.do(Verb.ACTIVATE, 2)
    assert slot.states() == ["deactivated", "deactivated", "active"]


def test_a_device_that_went_back_gets_its_old_key_back() -> None:
    slot = Slots()
    slot.do(Verb.ADOPT)
    slot.do(Verb.STAGE)
    slot.do(Verb.ACTIVATE, 1)
    slot.do(Verb.ACTIVATE, 0)
    assert slot.states() == ["active", "deactivated"]


def test_the_private_half_of_a_signature_pair_is_not_kept() -> None:
    slot = Slots("client-sign")
    slot.do(Verb.ADOPT)
    slot.do(Verb.STAGE)
    slot.do(Verb.ACTIVATE, 1)
    assert slot.states() == ["destroyed", "active"]


def test_the_last_key_of_a_device_is_not_destroyed() -> None:
    slot = Slots()
    slot.do(Verb.ADOPT)
    slot.do(Verb.COMPROMISE, 0)
    with pytest.raises(Misuse, match="no other key"):
        slot.do(Verb.DESTROY, 0)
    slot.do(Verb.STAGE)
    slot.do(Verb.ACTIVATE, 1)
    slot.do(Verb.DESTROY, 0)
    assert slot.states() == ["destroyed", "active"]


def test_only_a_device_out_of_service_is_left_without_a_key() -> None:
    slot = Slots()
    slot.do(Verb.ADOPT)
    with pytest.raises(Misuse, match="in service"):
        slot.do(Verb.RETIRE, 0)
    (retired,) = plan(slot.records, Verb.RETIRE, slot.records[0], serving=False)
    old = replace(slot.records[0], state=retired.after)
    assert plan([old], Verb.DESTROY, old, serving=False)[0].after is State.DESTROYED


def test_a_second_key_is_not_adopted() -> None:
    slot = Slots()
    slot.do(Verb.ADOPT)
    with pytest.raises(Misuse, match="only one"):
        slot.do(Verb.ADOPT)


@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.tuples(st.sampled_from(list(Verb)), st.integers(0, 5)), max_size=30),
)
def test_at_most_one_staged_and_one_active_whatever_is_done(kind: str, acts: list[tuple[Verb, int]]) -> None:
    slot = Slots(kind)
    for verb, number in acts:
        before = list(slot.records)
        try:
            slot.do(verb, number if slot.records and (None, verb) not in MOVES else None)
        except Misuse:
            assert slot.records == before
        for state in (State.STAGED, State.ACTIVE):
            assert slot.states().count(state.value) <= 1
        if len(before) < len(slot.records) or before != slot.records:
            # What was active before is active still, or another is, or it was called compromised.
            was = find(before, State.ACTIVE)
            assert was is None or verb is Verb.COMPROMISE or find(slot.records, State.ACTIVE) is not None
