"""What others may have, marked and planned for at once: the marks and their campaigns are there, or neither.

Run again it finds what it did: what is marked stays as it is, a campaign of this name that does the same is
the one that is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from meterseal.authority.campaign import Campaign, Plan
from meterseal.authority.store import Store, Stored
from meterseal.authority.store.schema import campaigns, devices, tasks
from meterseal.errors import Misuse
from meterseal.keys.compromise import Step, plan
from meterseal.keys.kinds import KINDS

Found = Sequence[tuple[Stored, datetime | None]]
"""Keys, and since when others may have each; None: since each exists."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A campaign that is yet to be written."""

    name: str
    plan: Plan
    titles: frozenset[bytes]


def steps(store: Store, found: Found) -> list[Step]:
    """What is to be done about these keys, marked or not yet: for each slot whose device may have one."""
    mine = store.exposures.going_on([one for one, _ in found])
    slots = list({one.record.slot: None for one in mine})
    return plan(slots, store.exposures.slots(list({slot.device: None for slot in slots})))


def revoke(store: Store, found: Found, todo: Iterable[Step], why: str, campaign: str | None = None) -> None:
    """Mark keys, and write what is to be done as campaigns, one for each kind: NAME-1 is run first.

    One transaction.  Raises Misuse where there is nothing to do, or a campaign of that name does something
    else; then nothing is marked.
    """
    with store.core.acting(why) as act:
        marked = store.exposures.mark_within(act, found)
        wanted = [] if campaign is None else _wanted(act.connection, campaign, list(todo), why)
        if not marked and campaign is None:
            raise Misuse("there is nothing to mark: no key, or all are compromised already")
        for one in wanted:
            Campaign.write(act, one.name, one.plan, one.titles)


def planned(store: Store, name: str) -> bool:
    """Whether there are campaigns of this name."""
    with store.core.reading() as connection:
        return bool(_there(connection, name))


def _wanted(connection: Connection, name: str, todo: list[Step], why: str) -> list[_Wanted]:
    """The campaigns that are not there yet.  Devices out of service are in none."""
    there = _there(connection, name)
    serving = {row.title for row in connection.execute(select(devices.c.title).where(devices.c.serving))}
    wanted = []
    for at, kind in enumerate(dict.fromkeys(step.slot.kind for step in todo), 1):
        slots = [step.slot for step in todo if step.slot.kind == kind and step.slot.device in serving]
        titles = frozenset(slot.device for slot in slots)
        if not titles or any(kind in kinds and titles <= held for kinds, held in there.values()):
            continue
        one = f"{name}-{at}"
        if one in there:
            raise Misuse(
                f"nothing is marked: campaign {one!r} is there and does something else: say another name"
            )
        roles = tuple(dict.fromkeys(slot.role for slot in slots if slot.role))
        wanted.append(_Wanted(one, Plan((kind,), roles, why=why), titles))
    return wanted


def _there(connection: Connection, name: str) -> Mapping[str, tuple[set[str], set[bytes]]]:
    """The campaigns that have one of the names: which kinds they change, at which devices."""
    names = [f"{name}-{at}" for at in range(1, len(KINDS) + 1)]
    rows = connection.execute(select(campaigns.c.name, campaigns.c.plan).where(campaigns.c.name.in_(names)))
    plans = {row.name: Plan.told(row.plan) for row in rows}
    held = {one: set[bytes]() for one in plans}
    for row in connection.execute(
        select(tasks.c.campaign, tasks.c.device).where(tasks.c.campaign.in_(plans))
    ):
        held[row.campaign].add(row.device)
    return {one: (set(found.kinds), held[one]) for one, found in plans.items()}
