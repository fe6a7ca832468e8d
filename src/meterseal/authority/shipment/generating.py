"""New meters by a template: titles, and keys drawn for each, for the factory and for the store (keys 2).

suite = 0
title = { flag = "MSL", first = 1000 }     # FLAG id and a number of five octets that counts up
serial = "MS-{number:08}"
url = "tcp://meter-{number}.example:4059"
place = "station-7"                        # left out: none

[meter]                                    # as in a credentials file
[roles.manager]                            # as in a credentials file, and which keys are drawn
client = 1
mechanism = "gmac"
client_system_title = "4D534C4845530001"
draw = ["guek", "gak", "kek"]

[groups]                                   # keys that the meters of one run share by their nature
gbek = ["manager"]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meterseal.authority.shipment.importing import Shipped
from meterseal.authority.shipment.tables import NUMBERS, is_flag, numbered, read_tables
from meterseal.credentials import Credentials
from meterseal.credentials.records import SECRETS
from meterseal.crypto import SUITES, random_octets
from meterseal.errors import ConfigurationError

MOST: Final = 1_000_000
_SHARED: Final = ("gbek",)
_ONCE: Final = ("kek",)
_SECRET: Final = 32
"""Octets of a drawn HLS secret."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template, read."""

    suite: int
    flag: str
    first: int
    meter: dict[str, Any]
    roles: dict[str, dict[str, Any]]
    groups: dict[str, tuple[str, ...]]
    serial: str | None = None
    url: str | None = None
    place: str | None = None


def read_template(path: Path) -> Template:
    """Raises ConfigurationError naming what is wrong with it."""
    return read_tables(path, "template", parse)


def parse(tables: dict[str, Any]) -> Template:
    """A template out of its tables.  Raises ConfigurationError."""
    known = {"suite", "title", "serial", "url", "place", "meter", "roles", "groups"}
    title = tables.get("title")
    if set(tables) - known or not isinstance(title, dict) or set(title) != {"flag", "first"}:
        raise ConfigurationError("title = { flag, first }, " + ", ".join(sorted(known - {"title"})))
    flag, first, suite = title["flag"], title["first"], tables.get("suite", 0)
    if not is_flag(flag):
        raise ConfigurationError("title.flag is three letters")
    if type(first) is not int or not 0 <= first < NUMBERS or type(suite) is not int or suite not in SUITES:
        raise ConfigurationError("title.first is a number below 2^40, suite 0, 1 or 2")
    roles, groups = tables.get("roles", {}), tables.get("groups", {})
    for table in roles.values() if isinstance(roles, dict) else [None]:
        draw = table.get("draw", []) if isinstance(table, dict) else None
        if not isinstance(draw, list) or set(draw) - set(SECRETS):
            raise ConfigurationError(f"draw is a list of {', '.join(SECRETS)}")
    if not isinstance(groups, dict) or set(groups) - set(_SHARED):
        raise ConfigurationError(f"groups share {', '.join(_SHARED)} and nothing else")
    named = {kind: tuple(found) for kind, found in groups.items() if isinstance(found, list)}
    if any(role not in roles for found in named.values() for role in found):
        raise ConfigurationError("groups name a role that is not there")
    texts = {name: tables.get(name) for name in ("serial", "url", "place")}
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise ConfigurationError("serial, url and place are texts")
    return Template(suite, flag, first, tables.get("meter", {}), roles, named, **texts)


def generate(template: Template, count: int) -> Iterator[Shipped]:
    """New meters with fresh keys.  Raises ConfigurationError."""
    if not 1 <= count <= MOST or template.first + count > NUMBERS:
        raise ConfigurationError(f"1 to {MOST} meters are made at once, with numbers below 2^40")
    length = SUITES[template.suite].key_length
    group = {kind: random_octets(length) for kind in template.groups}
    for number in range(template.first, template.first + count):
        yield _meter(template, number, length, group)


def _meter(template: Template, number: int, length: int, group: dict[str, bytes]) -> Shipped:
    once = {kind: random_octets(length) for kind in _ONCE}  # a device has it once, whatever the role
    roles = {}
    for name, table in template.roles.items():
        made = {key: value for key, value in table.items() if key != "draw"}
        for kind in table.get("draw", ()):
            made[kind] = once.get(kind) or random_octets(_SECRET if kind == "secret" else length)
        made |= {kind: group[kind] for kind, shared in template.groups.items() if name in shared}
        roles[name] = made
    title = numbered(template.flag, number)
    meter = {**template.meter, "system_title": title, "suite": template.suite}
    if template.url is not None:
        meter["url"] = _filled(template.url, number)
    place = None if template.place is None else _filled(template.place, number)
    serial = None if template.serial is None else _filled(template.serial, number)
    made_of = Credentials.from_mapping({"meter": meter, "roles": roles})
    return Shipped(f"meter {number}", made_of, serial, place)


def _filled(text: str, number: int) -> str:
    """`{number}` and `{number:08}`, nothing else."""
    return re.sub(
        r"\{number(?::0(\d{1,2}))?\}", lambda found: str(number).zfill(int(found.group(1) or 0)), text
    )
