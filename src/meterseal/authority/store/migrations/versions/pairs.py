"""Key pairs: when a certificate ends, and rotations to a key that the device has not told yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ENDING = "state = 'active' AND expires IS NOT NULL"


def _key(nullable: bool) -> None:
    # SQLite alters no column: the table is made anew, without its index, which batches do not carry over.
    op.drop_index("one_open", "rotations")
    with op.batch_alter_table("rotations") as table:
        table.alter_column("key", existing_type=sa.BigInteger, nullable=nullable)
    op.create_index(
        "one_open", "rotations", ["device", "role", "kind"], unique=True,
        sqlite_where=sa.text("open"), postgresql_where=sa.text("open"),
    )  # fmt: skip


def upgrade() -> None:
    """The end of a certificate beside it; a rotation may be without a key."""
    op.add_column("keys", sa.Column("expires", sa.BigInteger))
    op.create_index(
        "by_end", "keys", ["kind", "expires"],
        sqlite_where=sa.text(_ENDING), postgresql_where=sa.text(_ENDING),
    )  # fmt: skip
    _key(nullable=True)


def downgrade() -> None:
    """Rotations without a key go: the next run begins them anew."""
    op.execute("DELETE FROM rotations WHERE key IS NULL")
    _key(nullable=False)
    op.drop_index("by_end", "keys")
    op.drop_column("keys", "expires")
