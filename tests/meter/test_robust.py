"""Whatever a manager sends, of the right type or another: an outcome, and a meter that goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.apdu.common import DATA_ACCESS_RESULT, SelectiveAccess
from meterseal.association import Operation, Service
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Type
from meterseal.cosem.shapes import wire_type
from meterseal.meter import load_plan
from meterseal.meter.objects import Asker, CosemObject
from meterseal.security.steps import settle
from tests.codec.typed import plain_types, values_of
from tests.meter.world import NOON, World

HERE = World(replace(load_plan(), days=1))
MANAGER = HERE.meter.association(1, 1)
assert MANAGER is not None
OBJECTS: list[CosemObject] = [
    held
    for device in HERE.meter.devices.values()
    for held in device.objects.values()
    if device.sap == 1
]  # fmt: skip


def shaped(held: CosemObject, service: Service, member: int) -> Type | None:
    """The type that the class says, where it says one."""
    table: Any = held.table.methods if service is Service.ACTION else held.table.attributes
    return wire_type(table[member].shape) if member in table else None


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    held = draw(st.sampled_from(OBJECTS))
    service = draw(st.sampled_from(Service))
    member = draw(st.integers(-2, 12))
    own = shaped(held, service, member)
    type_ = own if own is not None and draw(st.booleans()) else draw(plain_types)
    given_data = Data.of(draw(values_of(type_)), type_)
    data = None if service is Service.GET or draw(st.integers(0, 9)) == 0 else given_data
    selection = None
    if service is Service.GET and draw(st.booleans()):
        selection = SelectiveAccess(draw(st.integers(0, 5)), given_data)
    return Operation(service, held.class_id, held.obis, member, selection, data)


@settings(max_examples=100)
@given(st.lists(operations(), min_size=1, max_size=4))
def test_any_operation_has_an_outcome(asked: list[Operation]) -> None:
    assert MANAGER is not None
    HERE.seconds = NOON
    asker = Asker(MANAGER, None, 3)
    outcomes = settle(HERE.meter.perform(asker, asked))
    for act in asker.after:
        act(True)
    assert len(outcomes) == len(asked)
    for outcome in outcomes:
        assert outcome.code in DATA_ACCESS_RESULT
        if outcome.data is not None:
            codec.decode(outcome.data)


@settings(max_examples=25)
@given(st.lists(operations(), max_size=8))
def test_and_everything_can_still_be_read(asked: list[Operation]) -> None:
    assert MANAGER is not None
    settle(HERE.meter.perform(Asker(MANAGER, None, 3), asked))
    for held in OBJECTS:
        reading = [
            Operation(Service.GET, held.class_id, held.obis, index)
            for index in held.table.attributes
            if held.attribute_offer(index) and (held.class_id, index) != (7, 2)
        ]
        assert {outcome.code for outcome in settle(HERE.meter.perform(Asker(MANAGER), reading))} == {0}
