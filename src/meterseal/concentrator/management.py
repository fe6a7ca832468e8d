"""The concentrator's own logical device: roles, keys and counters of its own, and what it says of its routes.

It is a meter without measurements, by `meterseal.meter`: signing on to it opens no meter behind it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from meterseal.codec.types import Array, Structure, Tag
from meterseal.concentrator.record import Account, Record
from meterseal.cosem.obis import Obis
from meterseal.crypto import suite
from meterseal.meter import Meter
from meterseal.meter.config import plan_from
from meterseal.meter.events import Event
from meterseal.meter.fields import Place
from meterseal.meter.objects import Value
from meterseal.meter.plan import MeterPlan

ROUTES: Final = Obis("0.0.96.50.0.255")
"""Data: array of {name, network, address, title pinned, standing, title seen, requests, answers, refused}."""

LINES: Final = Obis("0.0.96.50.1.255")
"""Data: an array of {name, requests that wait}, of the lines that meters share."""

SWAPPED: Final = Event(1, 51)
"""Code in the security log (0.0.99.98.1.255) when a foreign meter answers on a route: of this maker's own."""

_ROUTE: Final = Structure(
    (
        Tag.UTF8_STRING,
        Tag.UNSIGNED,
        Tag.OCTET_STRING,
        Tag.OCTET_STRING,
        Tag.ENUM,
        Tag.OCTET_STRING,
        *(Tag.DOUBLE_LONG_UNSIGNED,) * 3,
    )
)
_LINE: Final = Structure((Tag.UTF8_STRING, Tag.LONG_UNSIGNED))
_DATA: Final = 1
_SIGNING: Final = ("operator", "manager")


def plan(management: Mapping[str, Any]) -> MeterPlan:
    """The plan of the logical device; `management` is the table of that name."""
    file = "management.toml"
    mapping = tomllib.loads((resources.files(__package__) / file).read_text(encoding="utf-8"))
    mapping["meter"] |= management
    if suite(mapping["meter"]["suite"]).curve is not None:
        for role in _SIGNING:
            mapping["roles"][role]["mechanism"] = "ecdsa"
    return plan_from(mapping, "concentrator", Place(file, Path()))


def tell(meter: Meter, record: Record, waiting: Callable[[], list[tuple[str, int]]]) -> None:
    """Let the meter show the record, and note alarms in its security log."""
    objects = meter.devices[1].objects

    def routes(asker: object) -> Value:
        return [_row(account) for account in record.accounts.values()], Array(_ROUTE)

    objects[_DATA, ROUTES].readers[2] = routes
    objects[_DATA, LINES].readers[2] = lambda asker: (waiting(), Array(_LINE))
    record.alarm = lambda account: meter.events.happened(SWAPPED)


def _row(one: Account) -> tuple[Any, ...]:
    return (
        one.route.name,
        one.route.network,
        one.route.address,
        one.title or b"",
        int(one.standing),
        one.seen or b"",
        one.requests,
        one.answers,
        one.refused,
    )
