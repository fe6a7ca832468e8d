"""What a plan's objects are made of: one maker per interface class.

A maker gets the meter, the logical device and the plan of one object; `place` is the name under which the
object's changes are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from meterseal.association import Operation, Outcome, ServerProfile
from meterseal.codec.types import Tag
from meterseal.cosem.profile import Column
from meterseal.errors import ConfigurationError
from meterseal.meter.configured import Configured, Setup
from meterseal.meter.data_protection import DataProtection
from meterseal.meter.demand import DemandRegister
from meterseal.meter.house import House
from meterseal.meter.image import ImageTransfer
from meterseal.meter.limiter import Limiter
from meterseal.meter.objects import OBJECT_UNDEFINED, Asker, CosemObject, Denied, Device
from meterseal.meter.orders import Surroundings
from meterseal.meter.plan import ObjectPlan
from meterseal.meter.profile_object import EventLog, LoadProfile
from meterseal.meter.push import PushSetup, read_as
from meterseal.meter.schedule import ActivityCalendar, SingleActionSchedule
from meterseal.meter.scripts import ScriptTable
from meterseal.meter.values import Clock, Disconnect, Held, Measured, of_source
from meterseal.meter.view import View
from meterseal.security.steps import Steps

Maker: TypeAlias = Callable[[House, Device, ObjectPlan, str], CosemObject]

_DAY: Final = 86_400


def make(plan: ObjectPlan, meter: House, device: Device) -> CosemObject:
    """The object of a plan.  Raises ConfigurationError for one that cannot be."""
    place = f"object/{device.sap}/{plan.class_id}/{plan.obis}"
    made = MAKERS[plan.class_id](meter, device, plan, place)
    if isinstance(made, Configured):
        # What the plan says was looked at when the first meter of it was built.
        seen = plan.attributes if meter.furnished else {}
        for index, value in made.values.items():
            if seen.get(index) is value:
                continue
            try:
                made.check(index, value)
            except Denied as denied:
                raise ConfigurationError(f"{plan.class_id}/{plan.obis} attribute {index}: {denied}") from None
    return made


def _valued(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    if plan.source is not None:
        at = of_source(meter.plant, plan.source)
        return Measured(plan.class_id, plan.obis, meter.plant, at, plan.scaler, plan.unit)
    value = plan.value, plan.type if plan.type is not None else Tag.NULL
    return Held(
        plan.class_id, plan.obis, value, meter.store,
        place=place, scaler=plan.scaler, unit=plan.unit, writable=plan.writable,
    )  # fmt: skip


def _demand(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    return DemandRegister(
        plan.obis, plan.source or "energy-import", meter.plant, meter.store,
        place=place, period=plan.period, periods=plan.periods,
        scaler=plan.scaler or 0, unit=27 if plan.unit is None else plan.unit,
    )  # fmt: skip


def _profile(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    if plan.log is not None:
        return EventLog(plan.obis, plan.columns[0], meter.plant, meter.store, plan.entries, plan.log)
    columns = []
    for source in plan.columns:
        held = device.objects.get((source.class_id, source.obis))
        if held is None:
            raise ConfigurationError(f"profile {plan.obis}: there is no {source.class_id}/{source.obis}")
        columns.append((Column(source), held))
    born = meter.store.get("meter")
    return LoadProfile(
        plan.obis, columns, meter.plant, meter.store,
        place=place, period=plan.capture_period, entries=plan.entries,
        since=born["born"] - born["days"] * _DAY,
    )  # fmt: skip


def _clock(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    return Clock(plan.obis, meter.plant)


def _scripts(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    return ScriptTable(
        _setup(meter, plan, place, (2,)), lambda asker, operation: meter.routine.act(device, asker, operation)
    )


def _image(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    return ImageTransfer(
        plan.obis, meter.plant, meter.store, meter.events,
        place=place, block_size=plan.block_size, largest=plan.largest, check=meter.image_check,
    )  # fmt: skip


def _calendar(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    setup = _setup(meter, plan, place, range(6, 11))
    made = ActivityCalendar(setup, meter.plant, meter.routine.runner(device), meter.events)
    return meter.routine.timed(made)


def _schedule(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    setup = _setup(meter, plan, place, (4,))
    return meter.routine.timed(SingleActionSchedule(setup, meter.plant, meter.routine.runner(device)))


def _limiter(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    def watched(class_id: int, name: bytes, index: int) -> Any:
        held = device.objects.get((class_id, name))
        reader = held.readers.get(index) if held is not None else None
        return None if reader is None else reader(meter.routine.itself(device))[0]

    setup = _setup(meter, plan, place, range(4, 10))
    return meter.routine.timed(Limiter(setup, meter.plant, meter.routine.runner(device), watched))


def _switch(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    return Disconnect(plan.obis, meter.plant, meter.store, meter.events, place=place, mode=plan.control_mode)


def _push(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    role = meter.plan.role(plan.role)
    if role is None or role.client not in meter.rings or device.sap not in role.logical_devices:
        raise ConfigurationError(
            f"40/{plan.obis}: pushes go out under the keys of a role of logical device {device.sap}; "
            f"{plan.role[:32]!r} is none"
        )
    client = role.client

    def perform(asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        held = device.objects.get((operation.class_id, operation.instance))
        if held is None:
            raise Denied(OBJECT_UNDEFINED, "not in the logical device")
        return held.perform(asker, operation)

    around = Surroundings(
        meter.plant, meter.store, meter.rings[client], client, device.sap,
        view=lambda: _view(meter, client, device.sap),
        profile=lambda: _profile_of(meter, client, device.sap),
        read=lambda operation: read_as(perform, meter.routine.itself(device))(operation),
        draw=meter.draw, send=lambda order: meter.send(order), drop=lambda name: meter.drop(name),
        note=meter.events.note,
    )  # fmt: skip
    attributes = dict(plan.attributes)
    if plan.version:
        attributes[9] = (client - 256 if client > 127 else client), Tag.INTEGER
    setup = _setup(meter, plan, place, (index for index in attributes if index not in (8, 9)))
    setup = setup._replace(values=attributes)
    return meter.routine.timed(PushSetup(setup, around, interval=plan.interval, blocks=plan.blocks))


def _view(meter: House, client: int, sap: int) -> View | None:
    association = meter.association(client, sap)
    return None if association is None else association.view


def _profile_of(meter: House, client: int, sap: int) -> ServerProfile | None:
    association = meter.association(client, sap)
    return None if association is None else association.profile


def _configured(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    return Configured(plan.class_id, _setup(meter, plan, place, plan.attributes))


def _setup(meter: House, plan: ObjectPlan, place: str, writable: Iterable[int]) -> Setup:
    """`writable`: what clients may write where the plan lets them."""
    may = tuple(writable) if plan.writable else ()
    return Setup(plan.obis, plan.attributes, meter.store, place, may, plan.version)


def _data_protection(meter: House, device: Device, plan: ObjectPlan, place: str) -> CosemObject:
    return DataProtection(_setup(meter, plan, place, ()), meter.store.reserve, meter.note)


MAKERS: Final[dict[int, Maker]] = {
    1: _valued,
    3: _valued,
    4: _valued,
    5: _demand,
    7: _profile,
    8: _clock,
    9: _scripts,
    18: _image,
    20: _calendar,
    22: _schedule,
    23: _configured,
    30: _data_protection,
    40: _push,
    41: _configured,
    42: _configured,
    70: _switch,
    71: _limiter,
}
"""How objects of a class are made; other classes are not made from a plan."""

TIMED: Final = frozenset({20, 22, 40, 71})
"""Classes of objects that the clock sets going."""
