"""What all meters of one plan have in common: how each object is made, and what each role sees of them.

A meter has its own values, keys and counters, and nothing of this: thousands of meters share one `Blueprint`.
A view that somebody changes becomes that meter's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from meterseal.association import ServerProfile
from meterseal.association.operations import Named
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import ObjectEntry
from meterseal.cosem.rights import ACCESS, AUTH_REQUEST, ENC_REQUEST, WRITE
from meterseal.crypto import suite
from meterseal.meter import furnish
from meterseal.meter.association_object import Association, kept_users
from meterseal.meter.house import House
from meterseal.meter.objects import CosemObject, Device, Key
from meterseal.meter.plan import MeterPlan, RolePlan
from meterseal.meter.security_object import FIRST, SecuritySetupObject
from meterseal.meter.third_parties import through
from meterseal.meter.values import Measured, sap_assignment
from meterseal.meter.view import Objects, View, entries_of
from meterseal.security import SecuritySetup
from meterseal.security.packing import parameters_of

Spec: TypeAlias = Callable[[House, Device], CosemObject]

_DEVICE_NAME: Final = Obis("0.0.42.0.0.255")
_SAP_ASSIGNMENT: Final = Obis("0.0.41.0.0.255")
_COUNTER: Final = Obis("0.0.43.1.0.255")
_ASSOCIATION: Final = Obis("0.0.40.0.0.255")


class Carried(NamedTuple):
    """For a third party through one association: what it may do, and what the association gives for that."""

    limit: dict[Key, ObjectEntry]
    extra: dict[Key, ObjectEntry]


class Blueprint:
    """The objects of a plan by logical device; `views` fills up as the first meter is built."""

    def __init__(self, plan: MeterPlan) -> None:
        self.plan = plan
        self.specs: dict[int, dict[Key, Spec]] = {sap: _specs(plan, sap) for sap in plan.logical_devices}
        self.pairs: dict[tuple[int, int], RolePlan] = {
            (role.client, sap): role for role in plan.roles for sap in role.logical_devices
        }
        """Associations, by client and server SAP."""
        self.keyed: dict[int, RolePlan] = {role.client: role for role in plan.roles if role.keyed}
        self.broadcast = {role.client: role.broadcast for role in plan.roles}
        self.views: dict[tuple[int, int], dict[Key, ObjectEntry]] = {}
        """What the plan grants, by client and server SAP; empty until a meter has been built whole."""
        self.carried: dict[tuple[int, int, str], Carried] = {}
        """The same of what is carried for a third party, by its name besides."""
        self.max_age = {one.system_title: one.max_age for one in plan.third_parties}

    def grant(self, pair: tuple[int, int], objects: Objects) -> None:
        """Make up what an association shows of these objects, and what third parties may do through it."""
        role = self.pairs[pair]
        self.views[pair] = entries_of(objects, (g for g in role.grants if not g.third_parties))
        for third in self.plan.third_parties:
            extra = (g for g in role.grants if third.name in g.third_parties)
            self.carried[*pair, third.name] = Carried(
                entries_of(objects, third.grants), entries_of(objects, extra)
            )

    def show(self, association: Association) -> None:
        """Show an association its objects as the plan grants them, and to third parties theirs."""
        profile, view = association.profile, association.view
        pair = profile.client_sap, profile.server_sap
        for third in profile.third_parties.values():
            carried = self.carried[*pair, third.name]
            for shown, entries in ((third.view, carried.limit), (third.extra, carried.extra)):
                if isinstance(shown, View):
                    shown.show(view.objects, entries)
        view.show(view.objects, self.views[pair])


def _specs(plan: MeterPlan, sap: int) -> dict[Key, Spec]:
    """The objects that every logical device has, those of the plan, and its associations."""
    specs: dict[Key, Spec] = {(1, _DEVICE_NAME): _device_name}
    if sap == 1:
        specs[17, _SAP_ASSIGNMENT] = _sap_assignment
    roles = [role for role in plan.roles if sap in role.logical_devices]
    for role in roles:
        if role.keyed:
            specs[64, FIRST.with_group("E", role.client)] = partial(_security_setup, role)
            specs[1, _COUNTER.with_group("E", role.client)] = partial(_counter, role)
    plans = {(p.class_id, p.obis): p for p in plan.objects if p.logical_device == sap}
    # Profiles last, as their columns are other objects.
    for made in sorted(plans.values(), key=lambda made: made.class_id == 7):
        specs[made.class_id, made.obis] = partial(furnish.make, made)
    for role in roles:
        specs[association_key(role.client)] = partial(_association, role)
    return specs


def association_key(client: int) -> Key:
    """Class and name of the association of a client."""
    return 15, _ASSOCIATION.with_group("E", client)


def _device_name(meter: House, device: Device) -> CosemObject:
    name = device.name.encode("ascii")
    return Measured(1, _DEVICE_NAME, meter.plant, lambda moment: (name, Tag.OCTET_STRING))


def _sap_assignment(meter: House, device: Device) -> CosemObject:
    return sap_assignment(_SAP_ASSIGNMENT, [(held.sap, held.name) for held in meter.devices.values()])


def _security_setup(role: RolePlan, meter: House, device: Device) -> CosemObject:
    return SecuritySetupObject(
        FIRST.with_group("E", role.client),
        role.setup_version,
        meter.rings[role.client],
        meter.store,
        meter.rings.values,
        pairs=meter.pairs,
        on_key_change=meter.key_changed,
        on_policy=meter.policy_changed,
        on_pairs=meter.pairs_changed,
        on_failure=meter.events.note,
    )


def _counter(role: RolePlan, meter: House, device: Device) -> CosemObject:
    """The counter object: the lowest acceptable value of what the client of this role sends."""

    def lowest(moment: object) -> tuple[int, Tag]:
        key = meter.rings[role.client].setup.unicast
        return (key.rx.lowest if key else 0), Tag.DOUBLE_LONG_UNSIGNED

    return Measured(1, _COUNTER.with_group("E", role.client), meter.plant, lowest)


def _group(role: RolePlan) -> dict[Named, int]:
    """What the role's broadcast key may do: what is listed, authenticated and encrypted."""
    return {one: (ACCESS if one[3] else WRITE) | AUTH_REQUEST | ENC_REQUEST for one in role.broadcast}


def _association(role: RolePlan, meter: House, device: Device) -> CosemObject:
    place = f"association/{device.sap}/{role.client}"
    ring = meter.rings.get(role.client)
    setup = ring.setup if ring else SecuritySetup(suite(meter.plan.suite), meter.system_title)
    users = kept_users(meter.store, place)
    view = View(dict(role.users) if users is None else users)
    profile = ServerProfile(
        client_sap=role.client, server_sap=device.sap, setup=setup, mechanism=role.mechanism,
        ciphered=role.ciphered, conformance=role.conformance, max_pdu=role.max_pdu, options=role.options,
        view=view, report_counter=role.report_counter, single=role.single,
        pre_established=role.pre_established,
        compression=None if role.compression is None else parameters_of(role.compression),
        third_parties=through(meter.plan, meter.thirds, role, view), group=_group(role),
    )  # fmt: skip
    made = Association(
        role.name, profile, view, meter.store,
        version=role.association_version, place=place, secret=role.secret,
        setup_name=FIRST.with_group("E", role.client) if ring else None,
    )  # fmt: skip
    made.status = lambda: meter.status(made)
    return made
