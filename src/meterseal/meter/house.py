"""The meter around an object, as the makers of objects may use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from meterseal.cosem.obis import Obis
from meterseal.meter.association_object import Association
from meterseal.meter.events import Events
from meterseal.meter.image import Check
from meterseal.meter.keyring import KeyRing
from meterseal.meter.lazily import Lazily
from meterseal.meter.objects import Device
from meterseal.meter.orders import Order
from meterseal.meter.plan import MeterPlan
from meterseal.meter.plant import Plant
from meterseal.meter.routine import Routine
from meterseal.meter.store import MeterStore
from meterseal.security import SecuritySetup

if TYPE_CHECKING:  # loads the backend's X.509 part, which meters of suite 0 do without
    from meterseal.meter.pairs import KeyPairs


class House(Protocol):
    """What a meter has for its objects: its plan, what it keeps and measures, its keys, and who is told."""

    plan: MeterPlan
    system_title: bytes
    store: MeterStore
    plant: Plant
    events: Events
    routine: Routine
    pairs: KeyPairs | None
    rings: Lazily[int, KeyRing]
    thirds: Lazily[str, SecuritySetup]
    draw: Callable[[int], bytes]
    image_check: Check
    status: Callable[[Association], int]
    send: Callable[[Order], None]
    drop: Callable[[Obis], None]

    @property
    def furnished(self) -> bool:
        """True once every object of the plan has been made, by this meter or by another of the plan."""

    @property
    def devices(self) -> Mapping[int, Device]:
        """Its logical devices by SAP."""

    def association(self, client: int, server: int) -> Association | None:
        """The association of a pair of SAPs, None where there is none."""

    def note(self, setup: SecuritySetup) -> None:
        """Make durable how far messages of a Security setup have been received.  Raises StateUnavailable."""

    def key_changed(self, ring: KeyRing) -> None:
        """Keys of a Security setup were replaced."""

    def pairs_changed(self) -> None:
        """Key pairs or certificates were replaced."""

    def policy_changed(self, ring: KeyRing) -> None:
        """The policy of a Security setup is stronger now."""
