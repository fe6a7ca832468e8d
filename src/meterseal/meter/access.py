"""Who may do what: the views of a meter as rows, for the `access` command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from meterseal.cosem import rights
from meterseal.errors import ConfigurationError
from meterseal.meter.association_object import Association
from meterseal.meter.config import load_plan
from meterseal.meter.model import Meter
from meterseal.security.protection import of_request, of_response, text


class AccessRow(NamedTuple):
    """One member that one role may use.

    `member` is `attribute 2` or `method 1`; `right` the words of `cosem.rights` as the view has them;
    `request` and `response` the protection that each must carry, policy and right taken together.
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
    """Every member with a right, of all roles or of one.  Raises ConfigurationError for an unknown role."""
    if role is not None and meter.plan.role(role) is None:
        known = ", ".join(known.name for known in meter.plan.roles)
        raise ConfigurationError(f"no role {role[:40]!r}; there are: {known}")
    found = (held for held in meter.associations() if role in (None, held.role))
    return [row for association in found for row in _rows(association)]


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
    for entry in association.view.entries():
        held = association.view.held(entry.class_id, entry.obis)
        if held is None:
            continue
        members = [
            (f"{kind} {index}", table[index].name, bits, kind == "method")
            for kind, given, table in (
                ("attribute", entry.attributes, held.table.attributes),
                ("method", entry.methods, held.table.methods),
            )
            for index, bits in given.items()
            if bits
        ]
        for member, name, bits, method in members:
            yield AccessRow(
                association.role,
                profile.server_sap,
                entry.class_id,
                str(entry.obis),
                member,
                name,
                rights.text(bits, method=method),
                text(of_request(policy | bits)),
                text(of_response(policy | bits)),
            )
