"""Migrations of a store's tables, in order; `upgrade` brings a database to the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from meterseal.authority.store.database import exists, scalar
from meterseal.errors import StateDamaged, Unsupported

HEAD: Final = "0002"
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
        how = "a later version of this program made it" if newer else "there is no way from there to here"
        raise Unsupported(f"store {name} is at version {found}, this program is at {HEAD}: {how}")


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the tables to a version, within the present transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
