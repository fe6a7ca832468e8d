"""What a meter does by itself: scripts with its own rights, and objects that the clock sets going."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from meterseal.association import Operation, ServerProfile, Service
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import suite
from meterseal.errors import MetersealError
from meterseal.meter.association_object import Association
from meterseal.meter.events import Events
from meterseal.meter.objects import OBJECT_UNDEFINED, READ_WRITE_DENIED, Asker, Denied, Device
from meterseal.meter.plan import MeterPlan
from meterseal.meter.plant import LAST_MOMENT, Plant
from meterseal.meter.push import PushSetup
from meterseal.meter.schedule import Timed
from meterseal.meter.scripts import ScriptTable
from meterseal.meter.store import MeterStore
from meterseal.meter.view import View
from meterseal.security import SecuritySetup
from meterseal.security.steps import settle

_NOT_BY_SCRIPT: Final = frozenset({15, 30, 64})
"""Associations and keys are for those who have signed on."""

_DEEPEST: Final = 4
"""Scripts that may call one another."""

_MOST_STEPS: Final = 2_000
"""Moments that are made up for; what is further back than that is not."""

T = TypeVar("T", bound=Timed)


class Owner(Protocol):
    """What a routine needs of its meter."""

    plan: MeterPlan
    system_title: bytes
    store: MeterStore
    plant: Plant
    events: Events

    def start(self) -> None:
        """Make what does something by itself."""


class Routine:
    """The scripts and the timed objects of one meter."""

    def __init__(self, meter: Owner) -> None:
        self._meter = meter
        self._timed: list[Timed] = []
        self._depth = 0
        self._soonest = 0
        """Real time before which nothing is due; 0 when that has to be looked for."""

    def itself(self, device: Device) -> Asker:
        """The meter as the one who asks: no client, no connection."""
        meter = self._meter
        setup = SecuritySetup(suite(meter.plan.suite), meter.system_title)
        view = View({})
        profile = ServerProfile(client_sap=0, server_sap=device.sap, setup=setup, view=view)
        place = f"association/{device.sap}/0"
        own = Association("itself", profile, view, meter.store, version=0, place=place, setup_name=None)
        return Asker(own, own=True)

    def act(self, device: Device, asker: Asker, operation: Operation) -> None:
        """Do what a script says, with the meter's own rights.  Raises Denied, StateUnavailable."""
        held = device.objects.get((operation.class_id, operation.instance))
        name = f"{operation.class_id}/{Obis(operation.instance)}"
        if held is None:
            raise Denied(OBJECT_UNDEFINED, f"by script: there is no {name}")
        if operation.class_id in _NOT_BY_SCRIPT or self._depth >= _DEEPEST:
            raise Denied(READ_WRITE_DENIED, f"by script: not {name}, or not that deep")
        self._depth += 1
        try:
            settle(held.perform(asker, operation))
        finally:
            self._depth -= 1

    def pushes(self, device: Device, called: Operation, deepest: int = _DEEPEST) -> bool:
        """Does an operation of a script push to somewhere, by itself or by further scripts?"""
        held = device.objects.get((called.class_id, called.instance))
        if isinstance(held, PushSetup):
            return called.service is Service.ACTION and called.member == 1 and held.wakes
        if not isinstance(held, ScriptTable) or called.service is not Service.ACTION or not deepest:
            return False
        try:
            selector = 0 if called.data is None else called.data.value
            return any(self.pushes(device, one, deepest - 1) for one in held.operations(selector))
        except Denied:
            return False

    def runner(self, device: Device) -> Runner:
        """Runs scripts of a logical device."""
        return Runner(self, device, self._meter.events)

    def timed(self, made: T) -> T:
        """Keep an object that the clock sets going."""
        self._timed.append(made)
        made.changed = partial(self._plan, [made])
        self._soonest = 0
        return made

    def _plan(self, which: Iterable[Timed]) -> None:
        for timed in which:
            timed.plan()
        self._soonest = 0

    def turn(self) -> None:
        """Do what the clock asks for.  Raises StateUnavailable: what is due is then tried again."""
        now = self._meter.plant.real()
        if now < self._soonest:
            return
        for timed in self._timed:
            if timed.due is not None and timed.due <= now:
                timed.turn()
        self._soonest = min(
            (timed.due for timed in self._timed if timed.due is not None), default=LAST_MOMENT
        )

    @property
    def wakes_at(self) -> int | None:
        """Real time of the next thing that somebody outside sees; None when there is none."""
        return min(
            (timed.due for timed in self._timed if timed.wakes and timed.due is not None), default=None
        )

    @property
    def busy(self) -> bool:
        """True while something is looked at every second."""
        soon = self._meter.plant.real() + 1
        return any(timed.due is not None and timed.due <= soon for timed in self._timed)

    def catch_up(self, since: int) -> None:
        """Do what the clock has asked for since a moment of real time, each at its own moment."""
        plant = self._meter.plant
        with plant.at(since):
            self._meter.start()
        for _ in range(_MOST_STEPS):
            due = min((timed.due for timed in self._timed if timed.due is not None), default=None)
            if due is None or due > plant.real():
                return
            with plant.at(max(due, since)):
                self.turn()
        self._plan(self._timed)

    def clock_set(self, offset: int) -> tuple[dict[str, Any], Callable[[], None]]:
        """For the plant: every moment is looked for anew when the clock has been set."""
        return {}, lambda: self._plan(self._timed)


class Runner:
    """Runs scripts of one logical device; what does not go through is a line in the journal."""

    __slots__ = ("_device", "_events", "_routine")

    def __init__(self, routine: Routine, device: Device, events: Events) -> None:
        self._routine, self._device, self._events = routine, device, events

    def __call__(self, name: bytes, selector: int) -> None:
        """As `schedule.Run`; by the name 0.0.0.0.0.0 nothing is to be done."""
        if not any(name):
            return
        called, asker = _execute(name, selector), self._routine.itself(self._device)
        try:
            self._routine.act(self._device, asker, called)
        except (Denied, MetersealError) as error:
            self._events.denied(asker, called, str(error))

    def pushes(self, name: bytes, selector: int) -> bool:
        """As `schedule.Run`."""
        return self._routine.pushes(self._device, _execute(name, selector))


def _execute(name: bytes, selector: int) -> Operation:
    return Operation(Service.ACTION, 9, Obis(name), 1, None, Data.of(selector, Tag.LONG_UNSIGNED))
