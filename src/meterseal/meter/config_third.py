"""The tables `[third_parties]` of a configuration: who may ask through the meter's clients, and for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from meterseal.crypto import Suite, suite
from meterseal.meter.fields import peer
from meterseal.meter.plan import MeterPlan, ThirdPartyPlan
from meterseal.meter.readers import (
    Place,
    Reader,
    anything,
    certificates,
    check_name,
    key,
    number,
    read_table,
    title,
)
from meterseal.meter.view import Grant
from meterseal.security.options import WRAPPED_FOR_THIRD_PARTIES

THIRD_PARTY: Final[dict[str, Reader]] = {
    "system_title": title,
    "certificates": certificates,
    "kek": key,
    "max_age": number(0, 86_400 * 366),
    "peer": peer,
    "rights": anything,
}
"""Tables `[third_parties.NAME]`."""

MOST: Final = 16
"""Third parties of one meter."""


def read_third_parties(
    tables: Mapping[str, Any], place: Place, grants: Callable[[Any, Place], tuple[Grant, ...]]
) -> Iterator[ThirdPartyPlan]:
    """Each third party; `grants` reads its rights as those of a role.  Raises ConfigurationError."""
    for name, table in tables.items():
        here = place.inside(f"third_parties.{name[:32]}")
        check_name(name, here)
        values = read_table(table, THIRD_PARTY, here, "system_title")
        yield ThirdPartyPlan(
            name=name,
            system_title=values["system_title"],
            certificates=values.get("certificates", ()),
            kek=values.get("kek"),
            max_age=values.get("max_age", 0),
            options=values.get("peer", frozenset()),
            grants=grants(values.get("rights", []), here),
        )


def check_third_parties(plan: MeterPlan, place: Place) -> None:
    """What has to fit together between third parties, roles and the meter.  Raises ConfigurationError."""
    if len(plan.third_parties) > MOST:
        raise place.error(f"more than {MOST} third parties")
    chosen, known = suite(plan.suite), {one.name for one in plan.third_parties}
    titles = {role.client_system_title: f"roles.{role.name}" for role in plan.roles}
    titles[plan.system_title] = "meter"
    for one in plan.third_parties:
        here = place.inside(f"third_parties.{one.name}")
        if one.system_title in titles:
            raise here.error(f"the same as [{titles[one.system_title]}]'s", "system_title")
        titles[one.system_title] = f"third_parties.{one.name}"
        _check_keys(one, chosen, here)
    for role in plan.roles:
        for grant in role.grants:
            if unknown := sorted(grant.third_parties - known):
                raise place.inside(f"roles.{role.name}").error(f"no third party {unknown[0]!r}", "rights for")


def _check_keys(one: ThirdPartyPlan, chosen: Suite, place: Place) -> None:
    """Keys that go with the suite.  In suite 0 a KEK may stand there before its option is switched on."""
    wraps = WRAPPED_FOR_THIRD_PARTIES in one.options
    if one.kek is not None and not wraps and chosen.curve is not None:
        raise place.error(f"only with the peer option {WRAPPED_FOR_THIRD_PARTIES}", "kek")
    if chosen.curve is None and one.certificates:
        raise place.error(f"suite {chosen.id} has no certificates", "certificates")
