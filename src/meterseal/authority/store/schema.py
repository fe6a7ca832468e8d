"""The tables of a store.  Migrations make them (migrations/versions); this is what the code knows of them.

Secrets stand in `blob` columns and nowhere else, wrapped by RFC 3394 under the storage KEK named beside
them.  Times are seconds since 1970, UTC; titles are octets.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

_Number = BigInteger().with_variant(Integer, "sqlite")
"""A number that counts by itself: in SQLite only this one may."""

stores = Table(
    "stores", metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False),       # drawn once, told apart by it
    Column("kek", String(10), nullable=False),        # check value of the storage KEK in use
    Column("old_kek", LargeBinary),                   # the one before, under it, until all is wrapped anew
    Column("old_kcv", String(10)),
    Column("journal_key", LargeBinary, nullable=False),
    Column("seal_key", LargeBinary, nullable=False),
    Column("mark_key", LargeBinary, nullable=False),
    Column("tick", BigInteger, nullable=False),       # grows with every change; the witness has the last
    Column("epoch", Integer, nullable=False),         # grows when a restored copy is taken into use
    Column("floor", BigInteger, nullable=False),      # of counters: where those of other keys begin
    Column("entry", BigInteger, nullable=False),      # the last of the journal
    Column("head", LargeBinary, nullable=False),
    Column("people", Integer, nullable=False),        # enrolled; from the first on the rules of duties bind
)  # fmt: skip

profiles = Table(
    "profiles", metadata,
    Column("id", Integer, primary_key=True),
    Column("mark", LargeBinary, nullable=False, unique=True),
    Column("body", Text, nullable=False),             # settings without keys, JSON
)  # fmt: skip

devices = Table(
    "devices", metadata,
    Column("title", LargeBinary, primary_key=True),
    Column("suite", Integer, nullable=False),
    Column("serial", String(64)),
    Column("url", Text),
    Column("place", String(64)),                      # concentrator, base station: what shares permits
    Column("profile", Integer, ForeignKey("profiles.id")),
    Column("serving", Boolean, nullable=False),
    Column("made", BigInteger, nullable=False),
)  # fmt: skip

keys = Table(
    "keys", metadata,
    Column("id", _Number, primary_key=True),
    Column("device", LargeBinary, ForeignKey("devices.title"), nullable=False),
    Column("role", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("suite", Integer, nullable=False),
    Column("kcv", String(10), nullable=False),
    Column("mark", LargeBinary, nullable=False),      # keyed digest: equal secrets are found by it
    Column("blob", LargeBinary),
    Column("kek", String(10)),
    Column("seal", LargeBinary, nullable=False),      # binds the blob to its place
    Column("certificate", LargeBinary),
    Column("expires", BigInteger),                    # when its certificate ends
    Column("origin", String(64), nullable=False),
    Column("entry", BigInteger, nullable=False),      # of the journal, with which it came
    Column("flags", Integer, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("proved", BigInteger),
    Column("sent", BigInteger),
    UniqueConstraint("device", "role", "kind", "version", name="one_version"),
    Index("one_staged", "device", "role", "kind", unique=True,
          sqlite_where=text("state = 'staged'"), postgresql_where=text("state = 'staged'")),
    Index("one_active", "device", "role", "kind", unique=True,
          sqlite_where=text("state = 'active'"), postgresql_where=text("state = 'active'")),
    Index("by_mark", "mark"),
    Index("by_age", "kind", "made",
          sqlite_where=text("state = 'active'"), postgresql_where=text("state = 'active'")),
    Index("by_end", "kind", "expires",
          sqlite_where=text("state = 'active' AND expires IS NOT NULL"),
          postgresql_where=text("state = 'active' AND expires IS NOT NULL")),
    Index("by_flag", "flags",
          sqlite_where=text("flags != 0"), postgresql_where=text("flags != 0")),
)  # fmt: skip

tallies = Table(
    "tallies", metadata,
    Column("kind", String(16), primary_key=True),
    Column("state", String(12), primary_key=True),
    Column("count", BigInteger, nullable=False),
)  # fmt: skip

periods = Table(
    "periods", metadata,
    Column("kind", String(16), primary_key=True),
    Column("days", Integer, nullable=False),          # rotate_every; of `certificate`: days ahead of its end
)  # fmt: skip

rotations = Table(
    "rotations", metadata,
    Column("id", _Number, primary_key=True),
    Column("device", LargeBinary, ForeignKey("devices.title"), nullable=False),
    Column("role", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("key", BigInteger, ForeignKey("keys.id")),  # none: it comes from the device
    Column("phase", String(12), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Index("one_open", "device", "role", "kind", unique=True,
          sqlite_where=text("open"), postgresql_where=text("open")),
)  # fmt: skip

campaigns = Table(
    "campaigns", metadata,
    Column("name", String(64), primary_key=True),
    Column("plan", Text, nullable=False),             # what is done and when, JSON
    Column("paused", Boolean, nullable=False),
    Column("made", BigInteger, nullable=False),
)  # fmt: skip

tasks = Table(
    "tasks", metadata,
    Column("campaign", String(64), ForeignKey("campaigns.name"), primary_key=True),
    Column("device", LargeBinary, primary_key=True),
    Column("place", String(64), nullable=False),
    Column("number", Integer, nullable=False),        # its turn
    Column("state", String(8), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next", BigInteger, nullable=False),       # not before; of one that is worked at: until when
    Column("note", Text, nullable=False),
    Index("task_turn", "campaign", "state", "next"),
)  # fmt: skip

leases = Table(
    "leases", metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("token", BigInteger, nullable=False),      # grows with every lease: an older holder is known by it
    Column("until", BigInteger, nullable=False),
)  # fmt: skip

counters = Table(
    "counters", metadata,
    Column("name", String(128), primary_key=True),
    Column("next", BigInteger),
    Column("lowest", BigInteger),
)  # fmt: skip

journal = Table(
    "journal", metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("device", LargeBinary),
    Column("text", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index("journal_by_device", "device"),
)  # fmt: skip

people = Table(
    "people", metadata,
    Column("id", _Number, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),   # never given to another
    Column("duties", Text, nullable=False),
    Column("scope", Text, nullable=False),            # roles of devices that it is limited to; empty: all
    Column("curve", String(8), nullable=False),
    Column("key", LargeBinary, nullable=False),       # public, x || y
    Column("enrolled", Boolean, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
)  # fmt: skip

requests = Table(
    "requests", metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("deed", String(32), nullable=False),
    Column("about", Text, nullable=False),            # what exactly, JSON in canonical form
    Column("state", String(10), nullable=False),
    Column("person", BigInteger, ForeignKey("people.id"), nullable=False),
    Column("why", Text, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),         # of the store: a restored copy has another
    Column("signature", LargeBinary, nullable=False),
    Column("approver", BigInteger, ForeignKey("people.id")),
    Column("approved_why", Text),
    Column("approved", BigInteger),
    Column("approved_until", BigInteger),
    Column("approved_signature", LargeBinary),
)  # fmt: skip

exposures = Table(
    "exposures", metadata,
    Column("key", BigInteger, ForeignKey("keys.id"), primary_key=True),
    Column("device", LargeBinary, nullable=False),
    Column("role", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),      # from when on others may have had the key
    Column("marked", BigInteger, nullable=False),
    Column("until", BigInteger),                      # when the device proved another one
    Column("why", Text, nullable=False),
    Index("still_exposed", "device",
          sqlite_where=text("until IS NULL"), postgresql_where=text("until IS NULL")),
)  # fmt: skip
