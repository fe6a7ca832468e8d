"""What is done when others may have a key: every kind has its row; a KEK goes first, then what it carried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meterseal.keys.compromise import HARMS, plan
from meterseal.keys.kinds import KINDS, Slot

TITLES = [bytes(7) + bytes((number,)) for number in range(3)]
_slots = st.builds(
    lambda title, role, kind: Slot(title, "" if KINDS[kind].shared else role, kind),
    st.sampled_from(TITLES),
    st.sampled_from(["manager", "operator"]),
    st.sampled_from(list(KINDS)),
)


def test_every_kind_has_a_row() -> None:
    assert set(HARMS) == set(KINDS)
    assert all(set(row.carried) <= set(KINDS) for row in HARMS.values())


def test_G06_a_KEK_is_changed_first_and_then_all_that_it_carried() -> None:
    held = [
        Slot(TITLES[0], role, kind) for role in ("manager", "operator") for kind in ("guek", "gak", "hls")
    ]
    kek = Slot(TITLES[0], "", "kek")
    elsewhere = Slot(TITLES[1], "operator", "guek")
    steps = plan([kek], [*held, kek, elsewhere])
    assert (steps[0].slot, steps[0].carried) == (kek, False)
    assert {step.slot for step in steps[1:]} == {slot for slot in held if slot.kind != "hls"}
    assert [step.slot.kind for step in steps[1:]] == ["gak", "gak", "guek", "guek"]
    assert all(step.carried for step in steps[1:])


@given(st.lists(_slots, max_size=8), st.lists(_slots, max_size=12))
def test_what_is_exposed_comes_once_and_the_most_pressing_first(
    exposed: list[Slot], held: list[Slot]
) -> None:
    steps = plan(exposed, held)
    assert [step.priority for step in steps] == sorted(step.priority for step in steps)
    assert len({step.slot for step in steps}) == len(steps)
    assert {step.slot for step in steps if not step.carried} == set(exposed)
    assert all(step.certificate is KINDS[step.slot.kind].certified for step in steps if not step.carried)
    assert {step.slot for step in steps if step.carried} <= set(held)
