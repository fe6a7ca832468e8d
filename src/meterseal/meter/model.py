"""The meter as a model: logical devices with their objects, roles with their keys, and what they share.

No connection and no loop: `server` drives it.  What the associations of a meter share is here: the security
setups and their counters, the store, the plant, the log of events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meterseal.association import NOT_DONE, Operation, Outcome, ServerProfile, Service
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import Secret, random_octets, suite
from meterseal.errors import ConfigurationError, MetersealError, StateUnavailable
from meterseal.meter import furnish
from meterseal.meter import view as views
from meterseal.meter.association_object import Association, CurrentAssociation, kept_users
from meterseal.meter.events import KEY_CHANGED, POWER_DOWN, POWER_UP, Events
from meterseal.meter.image import Check, check_digest
from meterseal.meter.keyring import GAK, GBEK, GUEK, NAMES, KeyRing, Master
from meterseal.meter.objects import (
    OBJECT_UNDEFINED,
    OTHER_REASON,
    READ_WRITE_DENIED,
    TEMPORARY_FAILURE,
    Asker,
    CosemObject,
    Denied,
)
from meterseal.meter.plan import MeterPlan, RolePlan
from meterseal.meter.plant import Identity, Plant
from meterseal.meter.profile_data import Household, Zone
from meterseal.meter.routine import Routine
from meterseal.meter.security_object import FIRST, SecuritySetupObject
from meterseal.meter.store import MeterStore
from meterseal.meter.values import Measured, sap_assignment
from meterseal.meter.view import View
from meterseal.security import SecuritySetup

if TYPE_CHECKING:
    from meterseal.meter.pairs import KeyPairs

_FLAG: Final = b"MSL"
_DEVICE_NAME: Final = Obis("0.0.42.0.0.255")
_SAP_ASSIGNMENT: Final = Obis("0.0.41.0.0.255")
_COUNTER: Final = Obis("0.0.43.1.0.255")


@dataclass(slots=True, eq=False)
class LogicalDevice:
    """One logical device: SAP, name, objects by (class, name), associations by client SAP."""

    sap: int
    name: str
    objects: dict[tuple[int, bytes], CosemObject] = field(default_factory=dict)
    associations: dict[int, Association] = field(default_factory=dict)

    def put(self, held: CosemObject) -> None:
        """Add an object; one of the same class and name is replaced."""
        self.objects[held.key] = held


class Meter:
    """A meter made of a plan, with its state in `folder` (None: in memory).

    `wall` gives the time (seconds since 1970 UTC), `draw(n)` random octets; `image_check` verifies a new
    firmware.  Raises ConfigurationError,
    StateDamaged, StateLocked, StateUnavailable.
    """

    def __init__(
        self,
        plan: MeterPlan,
        folder: Path | None = None,
        *,
        wall: Callable[[], float] = time.time,
        draw: Callable[[int], bytes] = random_octets,
        image_check: Check = check_digest,
    ) -> None:
        self.plan, self.draw, self.image_check = plan, draw, image_check
        self.routine = Routine(self)
        self.store = MeterStore(folder)
        try:
            self._build(wall)
        except (MetersealError, Denied):
            self.store.close()
            raise

    def _build(self, wall: Callable[[], float]) -> None:
        self.identity = self._identify(int(wall()))
        self.system_title = self.identity.system_title
        self.plant = Plant(wall, self._household(), self.identity, self.store, self.plan.clock_offset)
        self.events = Events(self.store, self.plant)
        self.rings = self._key_rings()
        self.pairs = self._key_pairs()
        self.devices = {
            sap: LogicalDevice(sap, name or self._device_name(sap))
            for sap, name in self.plan.logical_devices.items()
        }
        self._broadcast = {role.client: role.broadcast for role in self.plan.roles}
        self.on_key_change: list[Callable[[KeyRing], None]] = []
        self.on_policy: list[Callable[[KeyRing], None]] = []
        for device in self.devices.values():
            self._furnish(device)
        for device in self.devices.values():
            self._open_to_roles(device)
        self.plant.on_clock_set.append(self.routine.clock_set)

    # --- what it is -------------------------------------------------------------------------

    def _identify(self, now: int) -> Identity:
        """Title, names and birth: drawn or configured at the first start, kept from then on."""
        plan, kept = self.plan, self.store.get("meter")
        if kept is None:
            title = plan.system_title or _FLAG + self.draw(5)
            seed = plan.seed if plan.seed is not None else int.from_bytes(title, "big") >> 1
            name = plan.device_name or f"MSL{title[3:].hex().upper()}"
            kept = {
                "title": title.hex().upper(), "name": name, "seed": seed,
                "born": now, "days": plan.days, "suite": plan.suite,
            }  # fmt: skip
            self.store.keep({"meter": kept})
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

    def _octets(self, place: str, planned: Secret | None, records: dict[str, str]) -> bytes:
        """A key: kept, else configured, else drawn; new ones are added to `records`."""
        kept = self.store.get(place)
        if kept is not None:
            return bytes.fromhex(kept)
        octets = planned.reveal() if planned is not None else self.draw(suite(self.plan.suite).key_length)
        records[place] = octets.hex().upper()
        return octets

    def _key_rings(self) -> dict[int, KeyRing]:
        """The key ring of every role with keys, by client SAP; all new keys are kept in one record."""
        records: dict[str, str] = {}
        shared = Master("kek", self._octets("kek", self.plan.kek, records))
        found: list[tuple[RolePlan, dict[int, bytes], Master]] = []
        for role in self.plan.roles:
            if role.keyed:
                place = f"setup/{role.client}"
                planned = {GUEK: role.guek, GBEK: role.gbek, GAK: role.gak}
                keys = {
                    i: self._octets(f"{place}/{NAMES[i]}", secret, records) for i, secret in planned.items()
                }
                own = role.kek is not None or self.store.get(f"{place}/kek") is not None
                place_of_kek = f"{place}/kek"
                master = (
                    Master(place_of_kek, self._octets(place_of_kek, role.kek, records)) if own else shared
                )
                found.append((role, keys, master))
        if records:
            self.store.keep(records)
        return {role.client: self._ring(role, keys, master) for role, keys, master in found}

    def _key_pairs(self) -> KeyPairs | None:
        """Key pairs and certificates, put to use in every Security setup; None in suite 0."""
        if suite(self.plan.suite).curve is None:
            return None
        # Loads the backend's X.509 part, which meters of suite 0 do without.
        from meterseal.meter.manufacture import key_pairs

        pairs = key_pairs(self.plan, self.store, self.system_title, self.plant)
        for ring in self.rings.values():
            pairs.equip(ring.setup)
        return pairs

    def _ring(self, role: RolePlan, keys: dict[int, bytes], master: Master) -> KeyRing:
        place = f"setup/{role.client}"
        policy = self.store.get(f"{place}/policy", role.policy)
        setup = SecuritySetup(suite(self.plan.suite), self.system_title, role.client_system_title, policy)
        return KeyRing(place, setup, keys, master, self.store)

    # --- objects ----------------------------------------------------------------------------

    def _furnish(self, device: LogicalDevice) -> None:
        """The objects that every logical device has, and those of the plan."""
        name = device.name.encode("ascii")
        device.put(Measured(1, _DEVICE_NAME, self.plant, lambda moment: (name, Tag.OCTET_STRING)))
        if device.sap == 1:
            names = [(held.sap, held.name) for held in self.devices.values()]
            device.put(sap_assignment(_SAP_ASSIGNMENT, names))
        for role in self.plan.roles:
            ring = self.rings.get(role.client)
            if ring is not None and device.sap in role.logical_devices:
                device.put(self._security_setup(role, ring))
                device.put(self._counter(role, ring))
        plans = {(p.class_id, p.obis): p for p in self.plan.objects if p.logical_device == device.sap}
        # Profiles last: their columns are other objects.
        for plan in sorted(plans.values(), key=lambda plan: plan.class_id == 7):
            device.put(furnish.make(self, device, plan))

    def _security_setup(self, role: RolePlan, ring: KeyRing) -> CosemObject:
        return SecuritySetupObject(
            FIRST.with_group("E", role.client),
            role.setup_version,
            ring,
            self.store,
            lambda: self.rings.values(),
            on_key_change=self._key_changed,
            on_policy=lambda changed: self._tell(self.on_policy, changed),
        )

    def _counter(self, role: RolePlan, ring: KeyRing) -> CosemObject:
        """The counter object: the lowest acceptable value of what the client of this role sends."""

        def lowest(moment: object) -> tuple[int, Tag]:
            key = ring.setup.unicast
            return (key.rx.lowest if key else 0), Tag.DOUBLE_LONG_UNSIGNED

        return Measured(1, _COUNTER.with_group("E", role.client), self.plant, lowest)

    def _key_changed(self, ring: KeyRing) -> None:
        self.events.happened(KEY_CHANGED)
        self._tell(self.on_key_change, ring)

    @staticmethod
    def _tell(listeners: Sequence[Callable[[KeyRing], None]], ring: KeyRing) -> None:
        for listener in listeners:
            listener(ring)

    # --- roles ------------------------------------------------------------------------------

    def _open_to_roles(self, device: LogicalDevice) -> None:
        """The associations of a logical device, first as objects, then with their views on all objects."""
        roles = [role for role in self.plan.roles if device.sap in role.logical_devices]
        for role in roles:
            device.associations[role.client] = self._association(device, role)
        for association in device.associations.values():
            device.put(association)
        for role in roles:
            self._fill_view(device.associations[role.client], device, role)

    def _association(self, device: LogicalDevice, role: RolePlan) -> Association:
        place = f"association/{device.sap}/{role.client}"
        ring = self.rings.get(role.client)
        setup = ring.setup if ring else SecuritySetup(suite(self.plan.suite), self.system_title)
        users = kept_users(self.store, place)
        view = View(dict(role.users) if users is None else users)
        profile = ServerProfile(
            client_sap=role.client, server_sap=device.sap, setup=setup, mechanism=role.mechanism,
            ciphered=role.ciphered, conformance=role.conformance, max_pdu=role.max_pdu, options=role.options,
            view=view, report_counter=role.report_counter, single=role.single,
            pre_established=role.pre_established,
        )  # fmt: skip
        return Association(
            role.name, profile, view, self.store,
            version=role.association_version, place=place, secret=role.secret,
            setup_name=FIRST.with_group("E", role.client) if ring else None,
        )  # fmt: skip

    def _fill_view(self, association: Association, device: LogicalDevice, role: RolePlan) -> None:
        current = CurrentAssociation(association)
        objects = {**device.objects, current.key: current}
        kept = self.store.get(f"{association.place}/view")
        if kept is not None:
            entries = views.from_record(kept, objects)
        else:
            made = (views.entry_of(held, role.grants) for held in objects.values())
            entries = [entry for entry in made if entry is not None]
        association.view.open(objects, entries)

    # --- what a request does ----------------------------------------------------------------

    def association(self, client: int, server: int) -> Association | None:
        """The association of a pair of SAPs, None where there is none."""
        device = self.devices.get(server)
        return None if device is None else device.associations.get(client)

    def associations(self) -> Iterable[Association]:
        """All associations of all logical devices."""
        return (held for device in self.devices.values() for held in device.associations.values())

    def perform(
        self,
        asker: Asker,
        operations: Sequence[Operation],
        *,
        broadcast: bool = False,
        stops: bool = False,
    ) -> list[Outcome]:
        """Do what has been found allowed, one outcome each.  Raises nothing for what a client can ask.

        What was received is on disk before a write or a call takes effect; where the disk does not take
        it, nothing happens.  Under the broadcast key only what the role lists is done: every member of
        the group can make such a request.  With `stops` nothing is done after the first that fails.
        """
        if broadcast:
            listed = self._broadcast[asker.association.profile.client_sap]
            allowed = [operation for operation in operations if _named(operation) in listed]
            if len(allowed) < len(operations):
                self.events.note("not done: a request under the broadcast key that the role does not list")
                return [Outcome(READ_WRITE_DENIED)] * len(operations)
        broken = ""
        if any(operation.service is not Service.GET for operation in operations):
            try:
                self.note(asker.association.profile.setup)
            except StateUnavailable as error:
                broken = str(error)
        outcomes: list[Outcome] = []
        for operation in operations:
            failed = stops and outcomes and outcomes[-1].code
            outcomes.append(NOT_DONE if failed else self._perform(asker, operation, broken))
        return outcomes

    def _perform(self, asker: Asker, operation: Operation, broken: str) -> Outcome:
        try:
            if broken and operation.service is not Service.GET:
                raise Denied(TEMPORARY_FAILURE, broken)
            held = asker.association.view.held(operation.class_id, operation.instance)
            if held is None:
                raise Denied(OBJECT_UNDEFINED, "not in the logical device")
            return held.perform(asker, operation)
        except Denied as denied:
            self.events.denied(asker, operation, str(denied))
            return Outcome(denied.code)
        except MetersealError as error:
            self.events.denied(asker, operation, str(error))
            return Outcome(TEMPORARY_FAILURE if isinstance(error, StateUnavailable) else OTHER_REASON)

    # --- its life ---------------------------------------------------------------------------

    def power_up(self) -> None:
        """It has been switched on."""
        self.events.happened(POWER_UP)

    def power_down(self) -> None:
        """It is being switched off."""
        self.events.happened(POWER_DOWN)

    def note(self, setup: SecuritySetup) -> None:
        """Make durable how far messages of a Security setup have been received.  Raises StateUnavailable."""
        self._note(setup)
        self.store.sync()

    def note_all(self) -> None:
        """The same for every Security setup.  Raises StateUnavailable."""
        for ring in self.rings.values():
            self._note(ring.setup)
        self.store.sync()

    def _note(self, setup: SecuritySetup) -> None:
        for key in (setup.unicast, setup.broadcast):
            if key is not None:
                self.store.note(key)

    def close(self) -> None:
        """Keep everything and let go of the state folder."""
        for ring in self.rings.values():
            self._note(ring.setup)
        self.store.close()


def _named(operation: Operation) -> tuple[int, bytes, int, bool]:
    method = operation.service is Service.ACTION
    return operation.class_id, operation.instance, operation.member, method
