"""Who may do what: the views of a meter as rows, for the `access` command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from meterseal.association.profile import ThirdParty
from meterseal.cosem import rights
from meterseal.cosem.object_list import ObjectEntry
from meterseal.errors import ConfigurationError
from meterseal.meter.association_object import Association
from meterseal.meter.config import load_plan
from meterseal.meter.model import Meter
from meterseal.meter.view import View
from meterseal.security.protection import of_request, of_response, text


class AccessRow(NamedTuple):
    """One member that one role may use.

    `role` of what is carried is `THIRD PARTY by ROLE`, with `(off)` behind it where nothing is taken from
    that third party: suite 0 without `third_party_wrapped_key`.  `member` is `attribute 2` or `method 1`;
    `right` the words of `cosem.rights` as the view has them; `request` and `response` the protection that
    each must carry, policy and right taken together.
    """

    role: str
    logical_device: int
    class_id: int
    obis: str
    member: str
    name: str
    right: str
    request: str
    response: str


def access_rows(meter: Meter, role: str | None = None) -> list[AccessRow]:
    """Every member with a right, of all roles and third parties, or of the one that is named.

    Raises ConfigurationError for an unknown name.
    """
    thirds = [third.name for third in meter.plan.third_parties]
    known = [*(known.name for known in meter.plan.roles), *thirds]
    if role is not None and role not in known:
        raise ConfigurationError(f"no role {role[:40]!r}; there are: {', '.join(known)}")
    rows: list[AccessRow] = []
    for association in meter.associations():
        if role in (None, association.role):
            rows += _rows(association)
        if role in (None, *thirds):
            rows += _carried(association, role if role in thirds else None)
    return rows


def access_table(
    preset: str = "suite0", config: str | os.PathLike[str] | None = None, role: str | None = None
) -> list[AccessRow]:
    """The same for a preset and a configuration, without a meter that runs."""
    meter = Meter(load_plan(preset, config))
    try:
        return access_rows(meter, role)
    finally:
        meter.close()


def _rows(association: Association) -> Iterator[AccessRow]:
    profile = association.profile
    policy = profile.setup.policy if profile.ciphered else 0
    for entry, member, name, bits, method in _members(association):
        if bits:
            yield _row(association.role, profile.server_sap, entry, (member, name), bits, policy, method)


def _carried(association: Association, only: str | None) -> Iterator[AccessRow]:
    """What third parties, or `only` one of them, may do through an association: what both may."""
    profile = association.profile
    for third in profile.third_parties.values():
        if only not in (None, third.name):
            continue
        limits, extra, policy = third.view, third.extra, profile.setup.policy | third.setup.policy
        if not isinstance(limits, View) or not isinstance(extra, View):
            continue
        allowed = {(entry.class_id, entry.obis): entry for entry in limits.entries()}
        for entry, member, name, bits, method in _members(association, extra.entries()):
            limit = allowed.get((entry.class_id, entry.obis))
            if limit is None:
                continue
            index = int(member.split()[1])
            rights_of = limit.method_right(index) if method else limit.attribute_right(index)
            both = (bits & rights_of & _DEED) | ((bits | rights_of) & rights.PROTECTION)
            if both & _DEED:
                role = f"{third.name} by {association.role}{_off(third)}"
                yield _row(role, profile.server_sap, entry, (member, name), both, policy, method)


def _off(third: ThirdParty) -> str:
    """Said of a third party that the meter has neither key agreement nor a KEK in use for."""
    setup = third.setup
    return "" if setup.suite.curve is not None or setup.master is not None else " (off)"


_DEED: Final = rights.READ | rights.WRITE | rights.ACCESS

Member = tuple[ObjectEntry, str, str, int, bool]


def _members(association: Association, more: Iterable[ObjectEntry] = ()) -> Iterator[Member]:
    """Every member of the view with its right; `more` are entries whose rights are added."""
    added = {(entry.class_id, entry.obis): entry for entry in more}
    own = {(entry.class_id, entry.obis): entry for entry in association.view.entries()}
    for key, entry in (added | own).items():
        held, extra = association.view.held(*key), added.get(key)
        if held is None:
            continue
        for kind, given, plus, table in (
            ("attribute", entry.attributes, extra and extra.attributes, held.table.attributes),
            ("method", entry.methods, extra and extra.methods, held.table.methods),
        ):
            for index, bits in given.items():
                joined = bits | (plus or {}).get(index, 0)
                yield entry, f"{kind} {index}", table[index].name, joined, kind == "method"


def _row(
    role: str, sap: int, entry: ObjectEntry, member: tuple[str, str], bits: int, policy: int, method: bool
) -> AccessRow:
    return AccessRow(
        role,
        sap,
        entry.class_id,
        str(entry.obis),
        *member,
        rights.text(bits, method=method),
        text(of_request(policy | bits)),
        text(of_response(policy | bits)),
    )
