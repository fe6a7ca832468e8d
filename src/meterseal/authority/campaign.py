"""Campaigns: new keys for many devices, by any number of workers, killed and gone on with at any time (G13).

The work list is in the store.  A worker takes one device at a time out of it, under a lease that ends by
itself; the rotation behind it is durable on its own, so a task that is done twice does no harm.

| task      | next                                                                         |
|-----------|------------------------------------------------------------------------------|
| `waiting` | taken when its time has come, its place has a permit, and its wave has begun |
| `working` | `done`, `failed` (the device keeps its old key), or waiting again            |
| `stuck`   | tried too often; `resume` lets it wait again                                 |
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from meterseal.authority.overview import due
from meterseal.authority.rotator import Report, Rotator
from meterseal.authority.store import Store
from meterseal.authority.store.keystore import Act
from meterseal.authority.store.leases import SECONDS
from meterseal.authority.store.records import seconds
from meterseal.authority.store.schema import campaigns, devices, tasks
from meterseal.errors import ConfigurationError, Misuse, StateLocked
from meterseal.keys.kinds import KINDS, Slot, kind_of

MOST_TRIES: Final = 5
"""Tries of one device before it is stuck."""

BACK_OFF: Final = 60
"""Seconds to the second try; each further one takes twice as long."""

_LONGEST: Final = BACK_OFF * 2 ** (MOST_TRIES - 1)
"""Seconds for which a task waits or is worked at, at the most."""

MOST_FAILED: Final = 0.1
"""Part of a wave that may fail or be stuck before the campaign pauses by itself."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done: kinds and roles (empty: all), and when.

    `permits`: devices of one place at a time; `wave`: devices before the next ones are begun; 0: no limit.
    `window`: minutes of the day, UTC, from and to; it may go over midnight.
    """

    kinds: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    permits: int = 0
    wave: int = 0
    window: tuple[int, int] | None = None
    why: str = ""

    def open_at(self, now: datetime) -> bool:
        """Whether it is time to work."""
        if self.window is None:
            return True
        minute, (start, end) = now.hour * 60 + now.minute, self.window
        return start <= minute < end if start <= end else minute >= start or minute < end

    @classmethod
    def told(cls, text: str) -> Plan:
        """A plan as the store has it."""
        told = json.loads(text)
        window = None if told["window"] is None else (told["window"][0], told["window"][1])
        return cls(**{**told, "kinds": tuple(told["kinds"]), "roles": tuple(told["roles"]), "window": window})


@dataclass(frozen=True, slots=True)
class Task:
    """One device of a campaign."""

    device: bytes
    place: str
    state: str
    tries: int
    note: str


def due_devices(
    store: Store, limit: int, kinds: set[str], *, pairs: bool = True
) -> list[tuple[bytes, list[str], list[str]]]:
    """Devices with keys that are due, the most overdue first: title, kinds and roles to be changed.

    Without `pairs` key pairs are left out: there is no authority for new ones.
    """
    found: dict[bytes, tuple[dict[str, int], dict[str, int]]] = {}
    wanted = {
        name for name, kind in KINDS.items() if name in (kinds or KINDS) and (pairs or not kind.certified)
    }
    for one in due(store, store.core.moment, 20 * limit, wanted).keys:
        slot = one.record.slot
        if slot.device not in found and len(found) >= limit:
            continue
        due_kinds, roles = found.setdefault(slot.device, ({}, {}))
        due_kinds[slot.kind] = 0
        if slot.role:
            roles[slot.role] = 0
    return [(title, list(due_kinds), list(roles)) for title, (due_kinds, roles) in found.items()]


def check_name(name: str) -> None:
    """Raises Misuse for what no campaign is called."""
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise Misuse("the name of a campaign has 1 to 64 printable characters")


class Campaign:
    """A campaign of a store, by its name."""

    def __init__(self, store: Store, name: str) -> None:
        """Raises ConfigurationError where there is none of this name."""
        self._store, self.name = store, name
        with store.core.reading() as connection:
            row = connection.execute(select(campaigns).where(campaigns.c.name == name)).one_or_none()
        if row is None:
            raise ConfigurationError(f"no campaign {name[:64]!r} in the store")
        self.plan = Plan.told(row.plan)

    @classmethod
    def new(
        cls,
        store: Store,
        name: str,
        plan: Plan,
        titles: Iterable[bytes] | None = None,
        place: str | None = None,
    ) -> Campaign:
        """A new one: for these devices, or all in service, of one place or of every.

        Raises Misuse for a name that is there, no devices, kinds that are none.
        """
        with store.core.acting(plan.why) as act:
            cls.write(act, name, plan, titles, place)
        return cls(store, name)

    @staticmethod
    def write(
        act: Act,
        name: str,
        plan: Plan,
        titles: Iterable[bytes] | None = None,
        place: str | None = None,
    ) -> None:
        """As `new`, within a transaction."""
        for kind in plan.kinds:
            kind_of(kind)
        check_name(name)
        if act.connection.execute(select(campaigns.c.name).where(campaigns.c.name == name)).first():
            raise Misuse(f"there is a campaign {name!r} already")
        query = select(devices.c.title, devices.c.place).where(devices.c.serving).order_by(devices.c.title)
        rows = act.connection.execute(query if place is None else query.where(devices.c.place == place))
        wanted = None if titles is None else set(titles)
        chosen = [row for row in rows if wanted is None or row.title in wanted]
        if not chosen or (wanted is not None and len(chosen) < len(wanted)):
            raise Misuse("a campaign without devices, or with some that are not in service")
        act.connection.execute(
            insert(campaigns).values(name=name, plan=json.dumps(asdict(plan)), paused=False, made=act.now)
        )
        act.connection.execute(
            insert(tasks),
            [
                {
                    "campaign": name, "device": row.title, "place": row.place or "", "number": number,
                    "state": "waiting", "tries": 0, "next": 0, "note": "",
                }
                for number, row in enumerate(chosen)
            ],
        )  # fmt: skip
        act.note("campaign", name=name, devices=len(chosen), kinds=list(plan.kinds))

    # --- looking ----------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Tasks by state."""
        found = dict.fromkeys(("waiting", "working", "done", "failed", "stuck"), 0)
        with self._store.core.reading() as connection:
            query = select(tasks.c.state, func.count()).where(tasks.c.campaign == self.name)
            found |= {row[0]: row[1] for row in connection.execute(query.group_by(tasks.c.state))}
        return found

    def tasks(self, states: Sequence[str] = ()) -> list[Task]:
        """All tasks in order, or those in some states."""
        query = select(tasks).where(tasks.c.campaign == self.name).order_by(tasks.c.number)
        if states:
            query = query.where(tasks.c.state.in_(states))
        with self._store.core.reading() as connection:
            rows = connection.execute(query).all()
        return [Task(row.device, row.place, row.state, row.tries, row.note) for row in rows]

    @property
    def paused(self) -> bool:
        """Whether nothing is begun any more."""
        query = select(campaigns.c.paused).where(campaigns.c.name == self.name)
        with self._store.core.reading() as connection:
            return bool(connection.execute(query).scalar_one())

    def _found(self, device: bytes) -> Task:
        query = select(tasks).where(tasks.c.campaign == self.name, tasks.c.device == device)
        with self._store.core.reading() as connection:
            row = connection.execute(query).one()
        return Task(row.device, row.place, row.state, row.tries, row.note)

    # --- pause and go on --------------------------------------------------------------------------

    def pause(self, why: str = "") -> None:
        """Begin no further device; what is under way ends."""
        self._set_paused(True, why)

    def resume(self, why: str = "") -> None:
        """Go on; what was stuck waits again."""
        with self._store.core.acting(why) as act:
            act.connection.execute(
                update(tasks)
                .where(tasks.c.campaign == self.name, tasks.c.state == "stuck")
                .values(state="waiting", tries=0, next=0)
            )
        self._set_paused(False, why)

    def _set_paused(self, paused: bool, why: str) -> None:
        with self._store.core.acting(why) as act:
            act.connection.execute(
                update(campaigns).where(campaigns.c.name == self.name).values(paused=paused)
            )
            act.note("campaign-pause" if paused else "campaign-resume", name=self.name)

    # --- work -------------------------------------------------------------------------------------

    def take(self) -> Task | None:
        """The next device for this worker, marked as worked at; None when there is nothing to do now."""
        now = self._store.core.moment
        if not self.plan.open_at(now):
            return None
        with self._store.core.writing() as connection:
            if connection.execute(
                select(campaigns.c.paused).where(campaigns.c.name == self.name).with_for_update()
            ).scalar_one():
                return None
            mine, moment = tasks.c.campaign == self.name, seconds(now)
            # A clock that was put back would let tasks wait for years (G18).
            connection.execute(
                update(tasks).where(mine, tasks.c.next > moment + _LONGEST).values(next=moment + _LONGEST)
            )
            # Whoever was killed at work has let it go by now.
            connection.execute(
                update(tasks)
                .where(mine, tasks.c.state == "working", tasks.c.next <= moment)
                .values(state="waiting", next=0)
            )
            row = connection.execute(self._turn(connection, moment)).first()
            if row is None:
                return None
            connection.execute(
                update(tasks)
                .where(mine, tasks.c.device == row.device)
                .values(state="working", next=moment + SECONDS, tries=row.tries + 1)
            )
        return Task(row.device, row.place, "working", row.tries + 1, row.note)

    def _turn(self, connection: Connection, moment: int) -> Any:
        """The query for the next task whose time, place and wave allow it."""
        mine, plan = tasks.c.campaign == self.name, self.plan
        query = select(tasks).where(mine, tasks.c.state == "waiting", tasks.c.next <= moment)
        if plan.wave:
            open_ones = (mine, tasks.c.state.in_(("waiting", "working")))
            first = connection.execute(select(func.min(tasks.c.number)).where(*open_ones)).scalar()
            query = query.where(tasks.c.number < ((first or 0) // plan.wave + 1) * plan.wave)
        if plan.permits:
            busy = (
                select(tasks.c.place)
                .where(mine, tasks.c.state == "working", tasks.c.place != "")
                .group_by(tasks.c.place)
                .having(func.count() >= plan.permits)
            )
            query = query.where(tasks.c.place.not_in(busy))
        return query.order_by(tasks.c.number).limit(1)

    def end(self, task: Task, report: Report | None, note: str = "") -> None:
        """What became of a device; `report` None: it could not even be begun."""
        state, after = "waiting", 0
        if report is not None and not report.again:
            state = "failed" if report.failed else "done"
            note = "; ".join(report.failed.values())
        elif task.tries >= MOST_TRIES:
            state = "stuck"
        else:
            after = self._store.core.now + BACK_OFF * 2 ** (task.tries - 1)
        if report is not None and report.again:
            note = "; ".join(report.waiting.values())
        with self._store.core.writing() as connection:
            connection.execute(
                update(tasks)
                .where(tasks.c.campaign == self.name, tasks.c.device == task.device)
                .values(state=state, next=after, note=note[:400])
            )
        if state in ("failed", "stuck") and self._too_many_failed():
            self.pause("too many of a wave have failed")

    def _too_many_failed(self) -> bool:
        found = self.counts()
        bad, ended = found["failed"] + found["stuck"], sum(found.values()) - found["waiting"]
        return bad >= 3 and bad > MOST_FAILED * max(ended, self.plan.wave)

    async def run(self, rotator: Rotator, workers: int = 8) -> AsyncIterator[Task]:
        """Work until there is nothing to do now; yields every task with what became of it."""
        ended: asyncio.Queue[Task | None] = asyncio.Queue()
        crew = [asyncio.create_task(self._work(rotator, ended.put_nowait)) for _ in range(workers)]
        try:
            left = workers
            while left:
                task = await ended.get()
                if task is None:
                    left -= 1
                else:
                    yield task
        finally:
            for one in crew:
                one.cancel()
            found = await asyncio.gather(*crew, return_exceptions=True)
        for error in found:
            if isinstance(error, Exception):
                raise error

    async def _work(self, rotator: Rotator, tell: Callable[[Task | None], None]) -> None:
        try:
            while (task := self.take()) is not None:
                note, report = "", None
                try:
                    plan = self.plan
                    report = await rotator.rotate(task.device, plan.kinds, plan.roles, plan.why)
                except StateLocked as error:
                    note = str(error)
                except (Misuse, ConfigurationError) as error:  # of this device; the others go on
                    report = Report(task.device)
                    report.failed[_nowhere(task.device)] = str(error)
                self.end(task, report, note)
                tell(self._found(task.device))
        finally:
            tell(None)


def _nowhere(device: bytes) -> Slot:
    return Slot(device, "", "-")


def span(text: str) -> tuple[int, int]:
    """A window as `22:00-05:00`, in minutes of the day.  Raises Misuse."""
    try:
        start, end = (datetime.strptime(part.strip(), "%H:%M") for part in text.split("-"))
    except ValueError:
        raise Misuse("a window is written as 22:00-05:00, UTC") from None
    return start.hour * 60 + start.minute, end.hour * 60 + end.minute
