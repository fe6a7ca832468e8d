"""The database under a store: how it is opened, what a transaction is, and what its errors mean here.

SQLite by default (`sqlite:///FILE`, or a bare path); PostgreSQL (`postgresql://...`) for many writers.  Times
are whole seconds since 1970, UTC.  A writing transaction begins by taking the store's lock, so that what it
reads is what it changes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from meterseal.errors import ConfigurationError, MetersealError, StateDamaged, StateLocked, StateUnavailable
from meterseal.state.folder import keep_private, new_private

_PATIENCE: Final = 30_000
"""Milliseconds to wait for another process that writes."""

_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit is on the disk
    f"busy_timeout = {_PATIENCE}",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "secure_delete = ON",  # what is destroyed is written over
)
_SCHEMES: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def store_url(where: str) -> URL:
    """The URL of a store: as it is, or of a SQLite file by its path.  Raises ConfigurationError."""
    try:
        found = make_url(where if "://" in where else f"sqlite:///{where}")
    except (ArgumentError, ValueError):
        raise ConfigurationError("the store is named by sqlite:///FILE, a path or postgresql://...") from None
    driver = _SCHEMES.get(found.drivername.partition("+")[0])
    if driver is None:
        raise ConfigurationError(f"a store is kept in SQLite or PostgreSQL, not in {found.drivername[:20]}")
    if driver == "sqlite" and found.database in (None, "", ":memory:"):
        raise ConfigurationError("a store needs a file: sqlite:///FILE")
    if found.port is not None and not 0 < found.port < 1 << 16:
        raise ConfigurationError("a port is a number from 1 to 65535")
    return found.set(drivername=driver)


class Database:
    """A database, shared by any number of processes and threads."""

    def __init__(self, where: str, *, new: bool = False) -> None:
        """Raises ConfigurationError: none there, or with `new` one is there already."""
        self.url = store_url(where)
        self.name = self.url.render_as_string(hide_password=True)
        self.on_sqlite = self.url.drivername == "sqlite"
        self._owner = os.getpid()
        if self.on_sqlite:
            _prepare_file(Path(self.url.database or ""), new)
        try:
            self._engine = create_engine(self.url, pool_pre_ping=not self.on_sqlite)
        except (NoSuchModuleError, ImportError, SQLAlchemyError) as error:
            raise ConfigurationError(f"store {self.name}: {_first_line(error)}") from None
        if self.on_sqlite:
            event.listen(self._engine, "connect", _set_up)
            event.listen(self._engine, "begin", _begin)

    @property
    def engine(self) -> Engine:
        """The engine; a forked child makes its own connections."""
        if os.getpid() != self._owner:
            self._engine.dispose(close=False)
            self._owner = os.getpid()
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state.  Raises StateUnavailable, StateDamaged."""
        with self._meaning(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is kept whole or not at all, durable when the block has ended.

        Raises StateUnavailable, StateLocked, StateDamaged; nothing is changed then.
        """
        with (
            self._meaning(),
            self.engine.connect().execution_options(writing=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def closed_unless_through(self) -> Iterator[None]:
        """Close all connections where the block does not come to its end: nobody has the store then."""
        with ExitStack() as undo:
            undo.callback(self.close)
            yield
            undo.pop_all()

    @contextmanager
    def _meaning(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._means(error) from None  # its text would repeat what was to be written

    def _means(self, error: SQLAlchemyError) -> MetersealError:
        cause = error.orig if isinstance(error, DBAPIError) else None
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        said = f"store {self.name}: {_first_line(cause or error)}"
        if isinstance(error, IntegrityError):
            return StateLocked(f"{said}: somebody else changed the same key")
        if code in _DAMAGED:
            return StateDamaged(f"{said}; put back a copy that is whole")
        if code in _BUSY:
            return StateLocked(said)
        if isinstance(error, OperationalError):
            return StateUnavailable(said)
        return StateDamaged(f"{said}; is it a store of this version?")


def _first_line(error: object) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _prepare_file(path: Path, new: bool) -> None:
    """The file belongs to its owner alone from its first moment on; what stands beside it follows it."""
    try:
        (new_private if new else keep_private)(path)
    except FileExistsError:
        raise ConfigurationError(f"there is a store in {path} already") from None
    except FileNotFoundError:
        raise ConfigurationError(f"no store in {path}: `keys init` makes one") from None
    except OSError as error:
        raise StateUnavailable(f"store {path}: {error.strerror or error}") from None


def _set_up(connection: Any, record: object) -> None:
    connection.isolation_level = None  # begin is said by us
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def exists(connection: Connection, table: str) -> bool:
    """True when there is such a table."""
    return bool(connection.dialect.has_table(connection, table))


def scalar(connection: Connection, statement: str, **values: object) -> Any:
    """The one value of a query in SQL that both databases know."""
    return connection.execute(text(statement), values).scalar()
