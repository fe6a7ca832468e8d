"""The first start of a meter: what is drawn then, and kept from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meterseal.crypto import Secret, suite
from meterseal.keys.kinds import GAK, GBEK, GUEK, NAMES
from meterseal.meter.plan import MeterPlan
from meterseal.meter.store import MeterStore
from meterseal.meter.third_parties import kek_name
from meterseal.security.options import WRAPPED_FOR_THIRD_PARTIES

_FLAG: Final = b"MSL"


def found(plan: MeterPlan, store: MeterStore, draw: Callable[[int], bytes], now: int) -> None:
    """Keep what the store lacks of identity and keys: configured, else drawn; all in one record.

    A later role of the configuration gets its keys when it comes.
    """
    records: dict[str, Any] = {}
    if store.get("meter") is None:
        records["meter"] = _identity(plan, draw, now)
    for place, planned in _keys(plan):
        if store.get(place) is None:
            octets = planned.reveal() if planned is not None else draw(suite(plan.suite).key_length)
            records[place] = octets.hex().upper()
    if records:
        store.keep(records)


def _identity(plan: MeterPlan, draw: Callable[[int], bytes], now: int) -> dict[str, Any]:
    title = plan.system_title or _FLAG + draw(5)
    return {
        "title": title.hex().upper(),
        "name": plan.device_name or f"MSL{title[3:].hex().upper()}",
        "seed": plan.seed if plan.seed is not None else int.from_bytes(title, "big") >> 1,
        "born": now,
        "days": plan.days,
        "suite": plan.suite,
    }


def _keys(plan: MeterPlan) -> list[tuple[str, Secret | None]]:
    """Where each key is kept, and what the configuration says of it."""
    keys = [("kek", plan.kek)]
    bare = suite(plan.suite).curve is None
    keys += [
        (kek_name(one.name), one.kek)
        for one in plan.third_parties
        if bare or WRAPPED_FOR_THIRD_PARTIES in one.options
    ]
    for role in plan.roles:
        if role.keyed:
            named = {GUEK: role.guek, GBEK: role.gbek, GAK: role.gak}
            keys += [(f"setup/{role.client}/{NAMES[key_id]}", secret) for key_id, secret in named.items()]
            if role.kek is not None:
                keys.append((f"setup/{role.client}/kek", role.kek))
    return keys
