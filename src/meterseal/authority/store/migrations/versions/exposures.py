"""Exposures: since when others may have a key that a device has, and until when it had it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STILL = sa.text("until IS NULL")


def upgrade() -> None:
    """Make the table; keys that were marked before this version have no line in it."""
    op.create_table(
        "exposures",
        sa.Column("key", sa.BigInteger, sa.ForeignKey("keys.id"), primary_key=True),
        sa.Column("device", sa.LargeBinary, nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("marked", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_index("still_exposed", "exposures", ["device"], sqlite_where=_STILL, postgresql_where=_STILL)


def downgrade() -> None:
    """Take it away; the journal still tells what was marked."""
    op.drop_table("exposures")
