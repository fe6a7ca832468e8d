"""Which way new keys of a slot go: transferred, or agreed on with the device (keys 3, security 12)."""

from __future__ import annotations

from meterseal.authority.adoption import carriers_of
from meterseal.authority.store import Store
from meterseal.crypto import SUITES
from meterseal.errors import Misuse
from meterseal.keys.kinds import KINDS, Slot, Way
from meterseal.keys.rotation import way_back


def set_way(store: Store, slot: Slot, way: Way, why: str = "") -> None:
    """From now on new keys of this slot are transferred, or agreed on.

    Raises Misuse for kinds and suites that have one way only, a slot without keys, and where a lost answer
    would leave no way back (`way_back`); ConfigurationError for a device that is not known.
    """
    known = store.keys.device(slot.device)
    if KINDS[slot.kind].key_id is None or way not in (Way.TRANSFER, Way.AGREEMENT):
        raise Misuse(f"{slot.text}: there is one way only for these")
    if not store.keys.slot(slot):
        raise Misuse(f"{slot.text}: there is no key")
    carriers = carriers_of(known)
    if way is Way.AGREEMENT:
        if SUITES[known.suite].curve is None:
            raise Misuse(f"{slot.text}: suite {known.suite} agrees on no keys")
        way_back(slot, carriers)
    settings = known.settings
    role = settings["roles"][slot.role or carriers[0]]
    agreed = {*role.get("agreed", ())} - {slot.kind}
    role["agreed"] = sorted(agreed | ({slot.kind} if way is Way.AGREEMENT else set()))
    store.keys.set_settings(slot.device, settings, why)
