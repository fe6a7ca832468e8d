"""People and requests: who may do what with a store, and what takes two of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables; nobody is enrolled."""
    op.add_column("stores", sa.Column("people", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "people",
        sa.Column("id", _number, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("duties", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("curve", sa.String(8), nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("enrolled", sa.Boolean, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("deed", sa.String(32), nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("person", sa.BigInteger, sa.ForeignKey("people.id"), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("approver", sa.BigInteger, sa.ForeignKey("people.id")),
        sa.Column("approved_why", sa.Text),
        sa.Column("approved", sa.BigInteger),
        sa.Column("approved_until", sa.BigInteger),
        sa.Column("approved_signature", sa.LargeBinary),
    )


def downgrade() -> None:
    """Take them away, and with them the rules."""
    op.drop_table("requests")
    op.drop_table("people")
    op.drop_column("stores", "people")
