"""The store of a head-end: a durable queue and an account, in one database, written by one thread.

What waits to be written when the thread is free is written in one transaction (group commit): a request is
accepted, and an answer told, only when it is on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Select, create_engine, delete, event, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from meterseal.errors import StateUnavailable
from meterseal.headend.tables import ACCOUNT, FINAL, METADATA, PUSHES, READINGS, REQUESTS, Push, State
from meterseal.state.folder import make_private

AT_ONCE: Final = 256
"""Jobs of one transaction."""

DAY: Final = 86_400.0

FILE: Final = "headend.sqlite"
"""In the state folder, where the file names no database."""

_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "trusted_schema = OFF",
    "secure_delete = ON",  # what is deleted is written over
    "busy_timeout = 30000",
)

T = TypeVar("T")
Job = Callable[[Connection], Any]
Row = dict[str, Any]


class Store:
    """A database by URL, or a SQLite file of mode 0600.  Raises StateUnavailable."""

    def __init__(self, where: str | Path) -> None:
        if isinstance(where, Path):
            try:
                make_private(where)
            except OSError as error:
                raise StateUnavailable(f"database {where}: {error.strerror or error}") from None
            where = f"sqlite:///{where}"
        self._engine: Engine = create_engine(where)
        self._sqlite = self._engine.dialect.name == "sqlite"
        if self._sqlite:
            event.listen(self._engine, "connect", _set_up)
        self._pool = ThreadPoolExecutor(1, "headend-store")
        self._waiting: list[tuple[Job, asyncio.Future[Any]]] = []
        self._busy = False
        self._connection: Connection | None = None
        try:
            METADATA.create_all(self._engine)
        except SQLAlchemyError as error:
            raise _means(error) from None

    async def run(self, job: Callable[[Connection], T]) -> T:
        """Do a job in a transaction; back when that is on the disk.  Raises StateUnavailable."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, done))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._flush, loop)
        return await done

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        work = loop.run_in_executor(self._pool, self._batch, [job for job, _ in jobs])
        work.add_done_callback(lambda done: self._told(loop, [future for _, future in jobs], done))

    def _told(
        self,
        loop: asyncio.AbstractEventLoop,
        futures: list[asyncio.Future[Any]],
        done: asyncio.Future[list[Any]],
    ) -> None:
        error = done.exception()
        for at, future in enumerate(futures):
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result()[at])
        self._busy = bool(self._waiting)
        if self._busy:
            self._flush(loop)

    def _batch(self, jobs: list[Job]) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                return [job(self._connection) for job in jobs]
        except SQLAlchemyError as error:
            self._close()  # the next job finds a server that has come back
            raise _means(error) from None  # its text would repeat what was to be written

    def close(self) -> None:
        """Write what waits, and close."""
        self._pool.submit(self._close).result()
        self._pool.shutdown()
        self._engine.dispose()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()

    async def emptied(self) -> None:
        """Deleted rows are gone from all files, not from the tables alone."""
        if self._sqlite:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._checkpoint)

    def _checkpoint(self) -> None:
        if self._connection is not None:
            self._connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.rollback()


def _set_up(connection: Any, record: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _means(error: SQLAlchemyError) -> StateUnavailable:
    return StateUnavailable(f"the head-end's database: {type(error).__name__}")


# --- jobs: each is called with the connection of a transaction --------------------------------------


def accept(row: Row) -> Job:
    """A new request."""
    return lambda connection: connection.execute(insert(REQUESTS).values(row))


def sent(id: str) -> Callable[[Connection], bool]:
    """Mark a request before anything of it goes out; False when it is no longer queued."""

    def job(connection: Connection) -> bool:
        found = connection.execute(
            update(REQUESTS)
            .where(REQUESTS.c.id == id, REQUESTS.c.state == State.QUEUED)
            .values(state=State.SENT)
        )
        return found.rowcount == 1

    return job


def finish(
    id: str, state: State, now: float, originator: str, cause: str | None = None, answer: bytes | None = None
) -> Callable[[Connection], bool]:
    """A request has come to its end: with a row of the account, once."""

    def job(connection: Connection) -> bool:
        found = connection.execute(
            update(REQUESTS)
            .where(REQUESTS.c.id == id, REQUESTS.c.state.not_in(FINAL))
            .values(state=state, finished=now, cause=cause, answer=answer)
        )
        if found.rowcount != 1:
            return False
        row = connection.execute(select(REQUESTS).where(REQUESTS.c.id == id)).one()
        connection.execute(
            insert(ACCOUNT).values(
                request=id, utility=row.utility, meter=row.meter, originator=originator, created=row.created,
                finished=now, size=len(row.sealed), answer_size=None if answer is None else len(answer),
                outcome=state, cause=cause,
            )
        )  # fmt: skip
        return True

    return job


def interrupted(now: float, originator_of: Callable[[bytes], str]) -> Callable[[Connection], int]:
    """After a start: what was on its way when the process ended has no answer to come any more."""

    def job(connection: Connection) -> int:
        rows = connection.execute(select(REQUESTS).where(REQUESTS.c.state == State.SENT)).all()
        for row in rows:
            cause = "the head-end was interrupted"
            finish(row.id, State.UNANSWERED, now, originator_of(row.sealed), cause)(connection)
        return len(rows)

    return job


def rows(query: Select[Any]) -> Callable[[Connection], list[Row]]:
    """The rows of a query as mappings."""
    return lambda connection: [dict(row) for row in connection.execute(query).mappings()]


def queued() -> Callable[[Connection], list[Row]]:
    """All requests that are not sent yet, oldest first."""
    return rows(select(REQUESTS).where(REQUESTS.c.state == State.QUEUED).order_by(REQUESTS.c.created))


def one(id: str, utility: str) -> Callable[[Connection], list[Row]]:
    """A request of a utility; none of another's."""
    return rows(select(REQUESTS).where(REQUESTS.c.id == id, REQUESTS.c.utility == utility))


def account_of(utility: str | None, meter: str | None, most: int) -> Callable[[Connection], list[Row]]:
    """Rows of the account, newest first: of a utility, of a meter, or both."""
    query = select(ACCOUNT).order_by(ACCOUNT.c.number.desc()).limit(most)
    if utility is not None:
        query = query.where(ACCOUNT.c.utility == utility)
    return rows(query if meter is None else query.where(ACCOUNT.c.meter == meter))


def readings_of(meter: str, most: int) -> Callable[[Connection], list[Row]]:
    """What the head-end's own role has read at a meter, newest first."""
    query = select(READINGS).where(READINGS.c.meter == meter).order_by(READINGS.c.number.desc()).limit(most)
    return rows(query)


def read(meter: str, at: float, values: dict[str, str]) -> Job:
    """Values that the head-end's own role has read."""
    made = [{"meter": meter, "object": name, "at": at, "value": value} for name, value in values.items()]
    return lambda connection: connection.execute(insert(READINGS), made) if made else None


# --- pushes ---------------------------------------------------------------------------------------


def keep(row: Row, most: int) -> Job:
    """A push waits for its utility from now on; of its meter the oldest goes where more than `most` do."""

    def job(connection: Connection) -> None:
        connection.execute(insert(PUSHES).values(row))
        of_meter = PUSHES.c.meter == row["meter"]
        beyond = connection.execute(select(func.count()).where(of_meter)).scalar_one() - most
        if beyond > 0:
            oldest = select(PUSHES).where(of_meter).order_by(PUSHES.c.number).limit(beyond)
            _pushes_end(connection, oldest, Push.DISPLACED, row["received"])

    return job


def pushes_of(
    utility: str | None, meter: str | None, most: int, after: str | None = None
) -> Callable[[Connection], list[Row]]:
    """Pushes that wait, oldest first, without their octets: of a utility, of a meter, behind another one."""
    shown = [column for column in PUSHES.c if column.name != "sealed"]
    query = select(*shown).order_by(PUSHES.c.number).limit(most)
    if utility is not None:
        query = query.where(PUSHES.c.utility == utility)
    if meter is not None:
        query = query.where(PUSHES.c.meter == meter)
    if after is not None:
        behind = select(PUSHES.c.number).where(PUSHES.c.id == after, PUSHES.c.utility == utility)
        query = query.where(PUSHES.c.number > behind.scalar_subquery())
    return rows(query)


def push(id: str, utility: str) -> Callable[[Connection], list[Row]]:
    """A push of a utility, its octets too; none of another's."""
    return rows(_push(id, utility))


def acknowledge(id: str, utility: str, now: float) -> Callable[[Connection], bool]:
    """A push has come to its utility: its octets go, the account gets a row."""
    return lambda connection: _pushes_end(connection, _push(id, utility), Push.FETCHED, now) == 1


def _push(id: str, utility: str) -> Select[Any]:
    return select(PUSHES).where(PUSHES.c.id == id, PUSHES.c.utility == utility)


def _pushes_end(connection: Connection, query: Select[Any], outcome: Push, now: float) -> int:
    """What a query finds waits no longer; how many that are."""
    found = connection.execute(query).all()
    for row in found:
        connection.execute(
            insert(ACCOUNT).values(
                request=row.id, utility=row.utility, meter=row.meter, originator=row.meter,
                created=row.received, finished=now, size=row.size, outcome=outcome,
            )
        )  # fmt: skip
        connection.execute(delete(PUSHES).where(PUSHES.c.number == row.number))
    return len(found)


# --- what is kept no longer -----------------------------------------------------------------------


def remove(id: str, utility: str) -> Callable[[Connection], bool]:
    """Take a request that has ended out of the queue, sealed octets and all; the account keeps its row."""

    def job(connection: Connection) -> bool:
        found = connection.execute(
            delete(REQUESTS).where(
                REQUESTS.c.id == id, REQUESTS.c.utility == utility, REQUESTS.c.state.in_(FINAL)
            )
        )
        return found.rowcount == 1

    return job


def forget(meter: str, utility: str | None = None) -> Callable[[Connection], int]:
    """Delete what is kept of a meter (and of one utility): ended requests, pushes, account, readings."""

    def job(connection: Connection) -> int:
        count = 0
        for table in (REQUESTS, PUSHES, ACCOUNT, READINGS):
            query = delete(table).where(table.c.meter == meter)
            if table is REQUESTS:
                query = query.where(table.c.state.in_(FINAL))
            if utility is not None and "utility" in table.c:
                query = query.where(table.c.utility == utility)
            elif utility is not None:
                continue  # what the head-end has read itself is its own
            count += connection.execute(query).rowcount
        return count

    return job


def outdated(now: float, retention: int, answers: int) -> Callable[[Connection], int]:
    """Delete what is older than it is kept, in days."""

    def job(connection: Connection) -> int:
        kept = now - retention * DAY
        count = connection.execute(
            delete(REQUESTS).where(REQUESTS.c.state.in_(FINAL), REQUESTS.c.finished < now - answers * DAY)
        ).rowcount
        late = select(PUSHES).where(PUSHES.c.received < now - answers * DAY)
        count += _pushes_end(connection, late, Push.UNFETCHED, now)
        count += connection.execute(delete(ACCOUNT).where(ACCOUNT.c.finished < kept)).rowcount
        return count + connection.execute(delete(READINGS).where(READINGS.c.at < kept)).rowcount

    return job
