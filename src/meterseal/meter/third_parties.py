"""Third parties of a meter: their keys and counters, and what they may do through each association.

A third party has one Security setup, whichever client carries for it: its counters go on from one to the
next, so that what came through one does not come again through another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from meterseal.association.profile import ThirdParty
from meterseal.crypto import Suite, WrappingKey
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.meter.objects import OTHER_REASON, Asker, Denied
from meterseal.meter.plan import MeterPlan, RolePlan, ThirdPartyPlan
from meterseal.meter.plant import Plant
from meterseal.meter.store import MeterStore
from meterseal.meter.view import View
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.options import WRAPPED_FOR_THIRD_PARTIES
from meterseal.security.protection import policy_bits

if TYPE_CHECKING:
    from meterseal.meter.pairs import KeyPairs

_SEALED: Final = AUTHENTICATED | ENCRYPTED


def kek_name(name: str) -> str:
    """Where the store has the KEK of a third party."""
    return f"third/{name}/kek"


def make_setup(
    chosen: Suite, title: bytes, planned: ThirdPartyPlan, store: MeterStore, pairs: KeyPairs | None
) -> SecuritySetup:
    """Its Security setup: everything sealed, and signed where the suite has signatures."""
    applied = _SEALED | SIGNED if chosen.signature_length else _SEALED
    policy = policy_bits(applied, applied)
    setup = SecuritySetup(chosen, title, planned.system_title, policy)
    kek = store.get(kek_name(planned.name))
    if kek is not None and WRAPPED_FOR_THIRD_PARTIES in planned.options:
        setup.master = WrappingKey(bytes.fromhex(kek))
    if pairs is not None:
        pairs.equip(setup)
    name = f"third-{planned.name}-{title.hex().upper()}"
    floor = store.counters.received(name) or 0
    setup.fresh = Counted(SendCounter(0, 0), ReceiveCounter(floor), name)
    return setup


def through(
    plan: MeterPlan, setups: Mapping[str, SecuritySetup], role: RolePlan, view: View
) -> dict[bytes, ThirdParty]:
    """The third parties of an association by system title; their views are opened with its own."""
    if not role.ciphered:
        return {}
    return {
        one.system_title: ThirdParty(
            name=one.name, setup=setups[one.name], view=View({}), extra=View(view.users),
            options=one.options,
        )
        for one in plan.third_parties
    }  # fmt: skip


def check_age(plant: Plant, limits: Mapping[bytes, int], asker: Asker) -> None:
    """Hold the time that a third party's layer says against the meter's clock.

    Raises Denied for what is older than it may be, or from a time to come, or says no time (E04).
    """
    if asker.third is None:
        return
    limit = limits.get(asker.third.title, 0)
    if not limit:
        return
    said = asker.third.layers[0].date_time
    if not said:
        raise Denied(OTHER_REASON, "sealed without a time, and its age is limited")
    age = plant.now().shown - plant.moment_of(said)
    if abs(age) > limit:
        raise Denied(OTHER_REASON, f"sealed {age} s ago, and {limit} s are allowed")
