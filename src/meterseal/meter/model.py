"""The meter as a model: logical devices with their objects, roles with their keys, and what they share.

No connection and no loop: `server` drives it.  What the associations of a meter share is here: the security
setups and their counters, the store, the plant, the log of events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meterseal.association import NOT_DONE, Operation, Outcome, Service
from meterseal.association.operations import named
from meterseal.association.repeating import Again
from meterseal.cosem.obis import Obis
from meterseal.crypto import random_octets, suite
from meterseal.errors import ConfigurationError, MetersealError, StateUnavailable
from meterseal.keys.kinds import GAK, GBEK, GUEK, NAMES
from meterseal.meter import furnish
from meterseal.meter.association_object import NOT_ASSOCIATED, Association, CurrentAssociation
from meterseal.meter.blueprint import Blueprint, association_key
from meterseal.meter.events import KEY_CHANGED, POWER_DOWN, POWER_UP, Events
from meterseal.meter.founding import found
from meterseal.meter.image import Check, check_digest
from meterseal.meter.keyring import KeyRing, Master
from meterseal.meter.lazily import Lazily
from meterseal.meter.objects import (
    OBJECT_UNDEFINED,
    OTHER_REASON,
    READ_WRITE_DENIED,
    TEMPORARY_FAILURE,
    Asker,
    CosemObject,
    Denied,
    Key,
)
from meterseal.meter.orders import Order
from meterseal.meter.plan import MeterPlan
from meterseal.meter.plant import Identity, Plant
from meterseal.meter.profile_data import Household, Zone
from meterseal.meter.routine import Routine
from meterseal.meter.store import MeterStore
from meterseal.meter.third_parties import check_age, make_setup
from meterseal.meter.view import Seen
from meterseal.security import SecuritySetup
from meterseal.security.steps import Steps, begun, through

if TYPE_CHECKING:
    from meterseal.meter.pairs import KeyPairs


class LogicalDevice:
    """One logical device: SAP, name, objects by (class, name)."""

    __slots__ = ("_meter", "name", "objects", "sap")

    def __init__(self, meter: Meter, sap: int, name: str) -> None:
        self._meter, self.sap, self.name = meter, sap, name
        self.objects: Lazily[Key, CosemObject] = Lazily(meter.blueprint.specs[sap], self._make)

    def _make(self, key: Key) -> CosemObject:
        meter = self._meter
        made = meter.blueprint.specs[self.sap][key](meter, self)
        if isinstance(made, Association):
            made.view.show(Seen(self.objects, CurrentAssociation(made)), {})
            if meter.furnished:
                self.open(made)
        return made

    def start(self) -> None:
        """Make what does something by itself."""
        for key in self.objects:
            if key[0] in furnish.TIMED:
                self.objects[key]

    def open(self, association: Association) -> None:
        """Show an association its objects: as they were last kept, else as the plan grants them."""
        kept, view = self._meter.store.get(f"{association.place}/view"), association.view
        self._meter.blueprint.show(association)
        if kept is not None:
            view.recall(view.objects, kept)


class Meter:
    """A meter made of a plan, with its state in `folder` (None: in memory).

    `wall` gives the time (seconds since 1970 UTC), `draw(n)` random octets; `image_check` verifies a new
    firmware.  Meters of one plan may share its `blueprint`, and each may have a `store` of a process with
    many.  Raises ConfigurationError, StateDamaged, StateLocked, StateUnavailable.
    """

    def __init__(
        self,
        plan: MeterPlan,
        folder: Path | None = None,
        *,
        wall: Callable[[], float] = time.time,
        draw: Callable[[int], bytes] = random_octets,
        image_check: Check = check_digest,
        blueprint: Blueprint | None = None,
        store: MeterStore | None = None,
    ) -> None:
        self.plan, self.draw, self.image_check = plan, draw, image_check
        self.blueprint = blueprint or Blueprint(plan)
        self.routine = Routine(self)
        self.store = store or MeterStore(folder)
        try:
            self._build(wall)
        except (MetersealError, Denied):
            self.store.close()
            raise

    def _build(self, wall: Callable[[], float]) -> None:
        found(self.plan, self.store, self.draw, int(wall()))
        self.identity = self._identify()
        self.system_title = self.identity.system_title
        self.plant = Plant(wall, self._household(), self.identity, self.store, self.plan.clock_offset)
        self.plant.on_clock_set.append(self._before_clock_set)
        self.events = Events(self.store, self.plant)
        self._master: Master | None = None
        self.pairs = self._key_pairs()
        self.rings = Lazily(self.blueprint.keyed, self._ring)
        thirds = {one.name: one for one in self.plan.third_parties}
        self.thirds = Lazily(
            thirds,
            lambda name: make_setup(
                suite(self.plan.suite), self.system_title, thirds[name], self.store, self.pairs
            ),
        )
        self.devices = {
            sap: LogicalDevice(self, sap, name or self._device_name(sap))
            for sap, name in self.plan.logical_devices.items()
        }
        self.status: Callable[[Association], int] = lambda association: NOT_ASSOCIATED
        self.on_gak: list[Callable[[KeyRing, bytes], None]] = []
        self.on_key_change: list[Callable[[KeyRing], None]] = []
        self.on_policy: list[Callable[[KeyRing], None]] = []
        self.send: Callable[[Order], None] = self._nowhere
        self.drop: Callable[[Obis], None] = lambda name: None
        """Who has lines takes the pushes that are ordered, and takes them back."""
        if not self.furnished:
            self._build_whole()
        self.plant.on_clock_set.append(self.routine.clock_set)

    @property
    def furnished(self) -> bool:
        """True once every object of the plan has been made, by this meter or by another of the plan."""
        return bool(self.blueprint.views)

    def _build_whole(self) -> None:
        """The first meter of a blueprint makes all objects, and the views out of what they offer."""
        for device in self.devices.values():
            list(device.objects.values())
        for client, sap in self.blueprint.pairs:
            association = self.association(client, sap)
            if association is not None:
                self.blueprint.grant((client, sap), association.view.objects)
                self.devices[sap].open(association)

    def _before_clock_set(self, offset: int) -> tuple[dict[str, Any], Callable[[], None]]:
        """Objects that have to do with the clock are there when it is set."""
        for device in self.devices.values():
            list(device.objects.values())
        return {}, lambda: None

    def _nowhere(self, order: Order) -> None:
        self.events.note(f"push {order.name} was not sent: the meter has no line of its own")

    # --- what it is -------------------------------------------------------------------------

    def _identify(self) -> Identity:
        plan, kept = self.plan, self.store.get("meter")
        title = bytes.fromhex(kept["title"])
        if kept.get("suite", 0) != plan.suite:
            raise ConfigurationError(
                f"the state folder is that of a meter of suite {kept.get('suite', 0)}, "
                f"the configuration says suite {plan.suite}"
            )
        if plan.system_title not in (None, title):
            raise ConfigurationError(
                f"the state folder is that of meter {kept['title']}, the configuration says "
                f"{(plan.system_title or b'').hex().upper()}"
            )
        if any(role.client_system_title == title for role in plan.roles):
            raise ConfigurationError("a client has the meter's own system title")
        firmware = self.store.get("firmware", plan.firmware)
        return Identity(title, plan.device_name or kept["name"], firmware)

    def _household(self) -> Household:
        plan, kept = self.plan, self.store.get("meter")
        zone = Zone(plan.time_zone, plan.daylight_saving)
        return Household.of(kept["seed"], kept["born"], days=kept["days"] + 2, roof=plan.roof, zone=zone)

    def _device_name(self, sap: int) -> str:
        return self.identity.device_name if sap == 1 else f"{self.identity.device_name[:11]}{sap:05}"

    # --- keys -------------------------------------------------------------------------------

    def _key_pairs(self) -> KeyPairs | None:
        """Key pairs and certificates, which every Security setup puts to use; None in suite 0."""
        if suite(self.plan.suite).curve is None:
            return None
        # Loads the backend's X.509 part, which meters of suite 0 do without.
        from meterseal.meter.manufacture import key_pairs

        return key_pairs(self.plan, self.store, self.system_title, self.plant)

    def _ring(self, client: int) -> KeyRing:
        """The key ring of a role; its KEK is the meter's, unless the role has one of its own."""
        role, place, get = self.blueprint.keyed[client], f"setup/{client}", self.store.get
        policy = get(f"{place}/policy", role.policy)
        setup = SecuritySetup(suite(self.plan.suite), self.system_title, role.client_system_title, policy)
        keys = {key_id: bytes.fromhex(get(f"{place}/{NAMES[key_id]}")) for key_id in (GUEK, GBEK, GAK)}
        own = get(f"{place}/kek")
        if own is not None:
            master = Master(f"{place}/kek", bytes.fromhex(own))
        else:
            master = self._master = self._master or Master("kek", bytes.fromhex(get("kek")))
        ring = KeyRing(place, setup, keys, master, self.store)
        if self.pairs is not None:
            self.pairs.equip(setup)
        ring.on_gak.append(lambda gak: self._gak_changed(ring, gak))
        return ring

    def _gak_changed(self, ring: KeyRing, gak: bytes) -> None:
        for listener in self.on_gak:
            listener(ring, gak)

    def key_changed(self, ring: KeyRing) -> None:
        """Keys of a Security setup were replaced."""
        self.events.happened(KEY_CHANGED)
        for listener in self.on_key_change:
            listener(ring)

    def pairs_changed(self) -> None:
        """Key pairs or certificates were replaced: every Security setup uses them as they are now."""
        self.events.happened(KEY_CHANGED)
        if self.pairs is not None:
            for setup in (*(ring.setup for ring in self.rings.made()), *self.thirds.made()):
                self.pairs.equip(setup)
            self.pairs.destroy_dropped()

    def policy_changed(self, ring: KeyRing) -> None:
        """The policy of a Security setup is stronger now."""
        for listener in self.on_policy:
            listener(ring)

    # --- what a request does ----------------------------------------------------------------

    def association(self, client: int, server: int) -> Association | None:
        """The association of a pair of SAPs, None where there is none."""
        if (client, server) not in self.blueprint.pairs:
            return None
        found = self.devices[server].objects[association_key(client)]
        return found if isinstance(found, Association) else None

    def associations(self) -> Iterable[Association]:
        """All associations of all logical devices."""
        found = (self.association(*pair) for pair in self.blueprint.pairs)
        return (association for association in found if association is not None)

    def perform(
        self,
        asker: Asker,
        operations: Sequence[Operation],
        *,
        broadcast: bool = False,
        stops: bool = False,
    ) -> list[Outcome] | Steps[list[Outcome]]:
        """Do what has been found allowed, one outcome each; the steps to them where one takes curve work.

        Raises nothing for what a client can ask.

        What was received is on disk before a write or a call takes effect; where the disk does not take
        it, nothing happens.  Under the broadcast key only what the role lists is done: every member of
        the group can make such a request.  With `stops` nothing is done after the first that fails.
        """
        if broadcast:
            listed = self.blueprint.broadcast[asker.association.profile.client_sap]
            allowed = [operation for operation in operations if named(operation) in listed]
            if len(allowed) < len(operations):
                self.events.note("not done: a request under the broadcast key that the role does not list")
                return [Outcome(READ_WRITE_DENIED)] * len(operations)
        broken = ""
        if asker.third is not None:
            try:
                check_age(self.plant, self.blueprint.max_age, asker)
            except Denied as denied:
                self.events.note(f"not done, third party: {denied}")
                return [Outcome(denied.code)] * len(operations)
        if any(operation.service is not Service.GET for operation in operations):
            try:
                if asker.third is not None:
                    self.gather_of(asker.third.context.setup)
                self.note(asker.association.profile.setup)
            except StateUnavailable as error:
                broken = str(error)
        return begun(self._in_turn(asker, operations, broken, stops))

    def _in_turn(
        self, asker: Asker, operations: Sequence[Operation], broken: str, stops: bool
    ) -> Steps[list[Outcome]]:
        outcomes: list[Outcome] = []
        for operation in operations:
            failed = stops and outcomes and outcomes[-1].code
            outcomes.append(NOT_DONE if failed else (yield from self._perform(asker, operation, broken)))
        return outcomes

    def _perform(self, asker: Asker, operation: Operation, broken: str) -> Steps[Outcome]:
        try:
            if broken and operation.service is not Service.GET:
                raise Denied(TEMPORARY_FAILURE, broken)
            held = asker.association.view.held(operation.class_id, operation.instance)
            if held is None:
                raise Denied(OBJECT_UNDEFINED, "not in the logical device")
            return (yield from through(held.perform(asker, operation)))
        except (Denied, MetersealError) as error:
            return self._failed(asker, operation, error)

    def again(self, asker: Asker, operation: Operation) -> Again | None:
        """How a read of a whole attribute is done once more, while the association sees the same objects."""
        held = asker.association.view.held(operation.class_id, operation.instance)
        return None if held is None else held.again(asker, operation.member)

    def _failed(self, asker: Asker, operation: Operation, error: Denied | MetersealError) -> Outcome:
        self.events.denied(asker, operation, str(error))
        if isinstance(error, Denied):
            return Outcome(error.code)
        return Outcome(TEMPORARY_FAILURE if isinstance(error, StateUnavailable) else OTHER_REASON)

    # --- its life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Make what does something by itself."""
        for device in self.devices.values():
            device.start()

    def power_up(self) -> None:
        """It has been switched on."""
        self.events.happened(POWER_UP)

    def power_down(self) -> None:
        """It is being switched off."""
        self.events.happened(POWER_DOWN)

    def note(self, setup: SecuritySetup) -> None:
        """Make durable how far messages of a Security setup have been received.  Raises StateUnavailable."""
        self.gather_of(setup)
        self.store.sync()

    def note_all(self) -> None:
        """The same for every Security setup.  Raises StateUnavailable."""
        self.gather()
        self.store.sync()

    def gather(self) -> None:
        """Note how far every Security setup has received; durable with the next sync."""
        for setup in (*(ring.setup for ring in self.rings.made()), *self.thirds.made()):
            self.gather_of(setup)

    def gather_of(self, setup: SecuritySetup) -> None:
        """Note how far a Security setup has received; durable with the next sync."""
        for key in (setup.unicast, setup.broadcast, setup.fresh):
            if key is not None and key.key_id and key.rx.lowest:  # where nothing has come, there is nothing
                self.store.note(key)

    def close(self) -> None:
        """Keep everything and let go of the state folder."""
        self.gather()
        self.store.close()
