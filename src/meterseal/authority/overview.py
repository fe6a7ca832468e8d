"""What a person wants to see of a store at a glance: how many keys, which are old, stuck, weak, shared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, false, func, or_, select, text

from meterseal.authority.store import Flag, Rotation, Store, Stored
from meterseal.authority.store.records import seconds, stored
from meterseal.authority.store.schema import devices, exposures, keys, periods, rotations, tallies
from meterseal.errors import Misuse
from meterseal.keys.kinds import KINDS, kind_of

STUCK: Final = timedelta(hours=1)
"""A rotation that has been open for longer than this is stuck."""

PERIODS: Final = {
    "guek": 365, "gak": 365, "gbek": 365, "kek": 3650, "lls": 365, "hls": 365, "client-sign": 730,
    "client-agree": 730, "meter-sign": 1825, "meter-agree": 1825,
}  # fmt: skip
"""Days after which a key is due, where the store says nothing else."""

CERTIFICATE: Final = "certificate"
"""Stands among the periods for how many days ahead of its end a certificate is renewed."""

AHEAD: Final = 60
"""Those days, where the store says nothing else."""

_MOST_DAYS: Final = 36_500
_DAY: Final = 86_400


@dataclass(slots=True)
class Overview:
    """Counts over a whole store."""

    devices: int
    states: dict[str, dict[str, int]]
    """By kind, then by state."""
    flagged: dict[str, int]
    due: int
    open: int
    stuck: int
    people: int
    """On the roll; 0: the store is one operator's."""
    exposed: int
    """Keys that others may have, and their device still has."""


@dataclass(slots=True)
class Due:
    """Keys whose time has come, soonest first, and how many there are."""

    keys: list[Stored] = field(default_factory=list)
    count: int = 0


def every(store: Store) -> dict[str, int]:
    """Days after which a key of each kind is due."""
    with store.core.reading() as connection:
        return _every(connection)


def check_period(kind: str, days: int) -> None:
    """Raises Misuse for what is no kind of key nor `certificate`, or more days than a period has."""
    if kind != CERTIFICATE:
        kind_of(kind)
    if not 0 <= days <= _MOST_DAYS:
        raise Misuse(f"rotate_every of {kind}: 0 to {_MOST_DAYS} days")


def set_every(store: Store, days: Mapping[str, int]) -> None:
    """Set the periods of some kinds; 0 days: never due.  Of `certificate`: days ahead of its end.

    Raises Misuse.
    """
    for kind, number in days.items():
        check_period(kind, number)
    with store.core.acting() as act:
        act.only("periods")
        for kind, number in days.items():
            act.connection.execute(
                text(
                    "INSERT INTO periods (kind, days) VALUES (:kind, :days) "
                    "ON CONFLICT (kind) DO UPDATE SET days = :days"
                ),
                {"kind": kind, "days": number},
            )
        act.note("periods", days=dict(days))


def overview(store: Store, now: datetime) -> Overview:
    """Counts over a whole store; from sums that are kept and short indexes, whatever its size."""
    with store.core.reading() as connection:
        states: dict[str, dict[str, int]] = {}
        for row in connection.execute(select(tallies)):
            kind, state, number = row
            if number:
                states.setdefault(kind, {})[state] = number
        flagged = dict.fromkeys((flag.name.lower() for flag in Flag if flag.name), 0)
        for bits, number in connection.execute(
            select(keys.c.flags, func.count())
            .where(keys.c.flags != 0, keys.c.state != "destroyed")
            .group_by(keys.c.flags)
        ):
            for flag in Flag(bits):
                flagged[str(flag.name).lower()] += number
        opened = connection.execute(
            select(func.count()).select_from(rotations).where(rotations.c.open)
        ).scalar_one()
        stuck = connection.execute(
            select(func.count())
            .select_from(rotations)
            .where(rotations.c.open, rotations.c.begun < seconds(now - STUCK))
        ).scalar_one()
        number = connection.execute(select(func.count()).select_from(devices)).scalar_one()
        still = select(func.count()).select_from(exposures).where(exposures.c.until.is_(None))
        exposed = connection.execute(still).scalar_one()
        return Overview(
            number, states, flagged, _due(connection, now, 0).count, opened, stuck, store.core.people, exposed
        )


def due(
    store: Store,
    now: datetime,
    limit: int = 1000,
    kinds: Collection[str] = KINDS,
    device: bytes | None = None,
) -> Due:
    """Keys whose time has come, soonest first; `limit` of them at the most.

    Of these kinds or of all, of one device or of all.
    """
    with store.core.reading() as connection:
        return _due(connection, now, limit, kinds, device)


def stuck(store: Store, now: datetime) -> list[Rotation]:
    """Rotations that have been open for too long."""
    return [one for one in store.rotations.open() if one.begun < now - STUCK]


def _every(connection: Connection) -> dict[str, int]:
    found = {**PERIODS, CERTIFICATE: AHEAD}
    for kind, days in connection.execute(select(periods)):
        found[kind] = days
    return found


def _due(
    connection: Connection,
    now: datetime,
    limit: int,
    kinds: Collection[str] = KINDS,
    device: bytes | None = None,
) -> Due:
    found, overdue, days = Due(), [], _every(connection)
    ahead = days.pop(CERTIFICATE) * _DAY
    for kind, period in ((kind, days[kind] * _DAY) for kind in days if kind in kinds):
        late = [keys.c.made < seconds(now) - period] if period else []
        if KINDS[kind].certified:
            late.append(keys.c.expires < seconds(now) + ahead)
        where = [keys.c.kind == kind, keys.c.state == "active", or_(false(), *late)]
        if device is not None:
            where.append(keys.c.device == device)
        found.count += connection.execute(select(func.count()).select_from(keys).where(*where)).scalar_one()
        if limit:
            for row in connection.execute(select(keys).where(*where).order_by(keys.c.made).limit(limit)):
                ends = [] if row.expires is None else [row.expires - ahead]
                overdue.append((min([*([row.made + period] if period else []), *ends]), stored(row)))
    overdue.sort(key=lambda pair: (pair[0], pair[1].record.id))
    found.keys = [one for _, one in overdue[:limit]]
    return found
