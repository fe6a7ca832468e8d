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
from meterseal.errors import MetersealError
from meterseal.meter import Meter
from meterseal.meter.config import plan_from
from meterseal.meter.events import Event
from meterseal.meter.objects import OTHER_REASON, Asker, Denied, Value, Writer
from meterseal.meter.plan import MeterPlan
from meterseal.meter.readers import Place
from meterseal.meter.values import Held
from meterseal.net import parse
from meterseal.security.steps import Steps

ROUTES: Final = Obis("0.0.96.50.0.255")
"""Data: an array of {name, network, address, title pinned, standing, title seen, four counts}.

The counts are those of requests, answers, refusals and pushes.
"""

LINES: Final = Obis("0.0.96.50.1.255")
"""Data: an array of {name, requests that wait}, of the lines that meters share."""

HEAD_END: Final = Obis("0.0.96.50.2.255")
"""Data, utf8-string: the URL that pushes go on to, where the file names none.  A manager may write it."""

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
        *(Tag.DOUBLE_LONG_UNSIGNED,) * 4,
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
    where = objects[_DATA, HEAD_END]
    where.writers[2] = _checked(where.writers[2])
    record.alarm = lambda account: meter.events.happened(SWAPPED)


def head_end(meter: Meter) -> str:
    """Where pushes go on to, as somebody has written; empty while nobody has."""
    held = meter.devices[1].objects[_DATA, HEAD_END]
    return held.value if isinstance(held, Held) else ""


def _checked(write: Writer) -> Writer:
    """Take what is the URL of a head-end, or nothing."""

    def checked(asker: Asker, value: Any) -> Steps[None] | None:
        try:
            wrong = value and parse(value).scheme != "tcp"
        except MetersealError as error:
            raise Denied(OTHER_REASON, str(error)) from None
        if wrong:
            raise Denied(OTHER_REASON, "pushes go on to tcp://HOST:PORT")
        return write(asker, value)

    return checked


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
        one.pushes,
    )
