"""How alembic runs the migrations of a store: on the connection, and in the transaction, that it is given."""

from __future__ import annotations

from alembic import context

from meterseal.authority.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the transaction is that of whoever upgrades
)
context.run_migrations()
