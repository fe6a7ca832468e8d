"""What is to be done at many devices: the keys whose time has come, by device."""

from __future__ import annotations

from meterseal.authority.overview import due
from meterseal.authority.store import Store


def due_devices(store: Store, limit: int, kinds: set[str]) -> list[tuple[bytes, list[str], list[str]]]:
    """Devices with keys that are due, the most overdue first: title, kinds and roles to be changed."""
    found: dict[bytes, tuple[dict[str, int], dict[str, int]]] = {}
    for one in due(store, store.core.moment, 20 * limit).keys:
        slot = one.record.slot
        if (kinds and slot.kind not in kinds) or (slot.device not in found and len(found) >= limit):
            continue
        due_kinds, roles = found.setdefault(slot.device, ({}, {}))
        due_kinds[slot.kind] = 0
        if slot.role:
            roles[slot.role] = 0
    return [(title, list(due_kinds), list(roles)) for title, (due_kinds, roles) in found.items()]
