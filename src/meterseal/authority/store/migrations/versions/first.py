"""The first tables of a store: devices, keys, rotations, leases, counters, journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool) -> None:
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )


def _stores() -> None:
    op.create_table(
        "stores",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("kek", sa.String(10), nullable=False),
        sa.Column("old_kek", sa.LargeBinary),
        sa.Column("old_kcv", sa.String(10)),
        sa.Column("journal_key", sa.LargeBinary, nullable=False),
        sa.Column("seal_key", sa.LargeBinary, nullable=False),
        sa.Column("mark_key", sa.LargeBinary, nullable=False),
        sa.Column("tick", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.Column("entry", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
    )


def _devices() -> None:
    op.create_table(
        "profiles",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("mark", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("title", sa.LargeBinary, primary_key=True),
        sa.Column("suite", sa.Integer, nullable=False),
        sa.Column("serial", sa.String(64)),
        sa.Column("url", sa.Text),
        sa.Column("place", sa.String(64)),
        sa.Column("profile", sa.Integer, sa.ForeignKey("profiles.id")),
        sa.Column("serving", sa.Boolean, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
    )


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", _number, primary_key=True),
        sa.Column("device", sa.LargeBinary, sa.ForeignKey("devices.title"), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("suite", sa.Integer, nullable=False),
        sa.Column("kcv", sa.String(10), nullable=False),
        sa.Column("mark", sa.LargeBinary, nullable=False),
        sa.Column("blob", sa.LargeBinary),
        sa.Column("kek", sa.String(10)),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.Column("certificate", sa.LargeBinary),
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("entry", sa.BigInteger, nullable=False),
        sa.Column("flags", sa.Integer, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("proved", sa.BigInteger),
        sa.Column("sent", sa.BigInteger),
        sa.UniqueConstraint("device", "role", "kind", "version", name="one_version"),
    )
    slot = ["device", "role", "kind"]
    _partial("one_staged", "keys", slot, "state = 'staged'", unique=True)
    _partial("one_active", "keys", slot, "state = 'active'", unique=True)
    _partial("by_age", "keys", ["kind", "made"], "state = 'active'", unique=False)
    _partial("by_flag", "keys", ["flags"], "flags != 0", unique=False)
    op.create_index("by_mark", "keys", ["mark"])
    op.create_table(
        "tallies",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("state", sa.String(12), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )


def _work() -> None:
    op.create_table(
        "periods",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("days", sa.Integer, nullable=False),
    )
    op.create_table(
        "rotations",
        sa.Column("id", _number, primary_key=True),
        sa.Column("device", sa.LargeBinary, sa.ForeignKey("devices.title"), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.BigInteger, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("phase", sa.String(12), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("begun", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
    )
    _partial("one_open", "rotations", ["device", "role", "kind"], "open", unique=True)
    op.create_table(
        "leases",
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("next", sa.BigInteger),
        sa.Column("lowest", sa.BigInteger),
    )


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tasks",
        sa.Column("campaign", sa.String(64), sa.ForeignKey("campaigns.name"), primary_key=True),
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("task_turn", "tasks", ["campaign", "state", "next"])


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("device", sa.LargeBinary),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_index("journal_by_device", "journal", ["device"])


def upgrade() -> None:
    """Make the tables."""
    for part in (_stores, _devices, _keys, _work, _campaigns, _journal):
        part()


def downgrade() -> None:
    """Take them away: what is before the first version is no store."""
    for table in (
        "journal", "tasks", "campaigns", "counters", "leases", "rotations", "periods", "tallies", "keys",
        "devices", "profiles", "stores",
    ):  # fmt: skip
        op.drop_table(table)
