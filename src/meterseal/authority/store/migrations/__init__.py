"""Migrations of a store's tables, in order; `upgrade` brings a database to the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from meterseal.authority.store.database import Database, exists, scalar
from meterseal.errors import StateDamaged, Unsupported

HEAD: Final = "0004"
"""The newest migration."""

_HERE: Final = Path(__file__).parent


def version(connection: Connection) -> str | None:
    """The migration that a database is at; None for an empty one."""
    if not exists(connection, "alembic_version"):
        return None
    found: str | None = scalar(connection, "SELECT version_num FROM alembic_version")
    return found


def check(connection: Connection, name: str) -> None:
    """Raises Unsupported for a store of another version, by name of both; StateDamaged for no store (H12)."""
    found = version(connection)
    if found is None:
        raise StateDamaged(f"store {name}: there are no tables of a store in it")
    if found != HEAD:
        newer = found > HEAD
        how = "a later version of this program made it" if newer else "`keys upgrade` brings it here"
        raise Unsupported(f"store {name} is at version {found}, this program is at {HEAD}: {how}")


def bring_here(database: Database) -> tuple[str, str]:
    """Bring a store to this version, whole or not at all; the version before, and now.

    Raises Unsupported for one that a later version made, StateDamaged for no store."""
    with database.closed_unless_through(), database.write() as connection:
        found = version(connection)
        if found is None or found > HEAD:
            check(connection, database.name)
        upgrade(connection)
    database.close()
    return str(found), HEAD


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the tables to a version, within the present transaction."""
    from alembic import command

    command.upgrade(_config(connection), to)


def downgrade(connection: Connection, to: str) -> None:
    """Bring the tables back to an older version; what only the newer ones hold is gone."""
    from alembic import command

    command.downgrade(_config(connection), to)


def _config(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
