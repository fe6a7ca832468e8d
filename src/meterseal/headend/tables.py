"""The tables of a head-end: requests that are carried, pushes, the account, what its role has read.

Times are seconds since 1970, UTC.  What is sealed stands in `requests` and `pushes` as octets until it is
fetched or its days are over; the account has sizes, titles, times and outcomes, and none of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

METADATA: Final = MetaData()


class State(StrEnum):
    """What has become of a request.  All but the first two are final."""

    QUEUED = "queued"
    """Not sent yet."""
    SENT = "sent"
    """On its way: from here on it is sent by nobody a second time."""
    ANSWERED = "answered"
    REFUSED = "refused"
    """The meter, or its line, did not take it: nothing was done."""
    UNANSWERED = "unanswered"
    """It was sent and no answer came: whether the meter has done it, only the meter knows."""
    EXPIRED = "expired"
    """Its deadline passed before it could be sent: nothing was done."""
    CANCELLED = "cancelled"


class Push(StrEnum):
    """What has become of a push that waited for its utility: a row of the account says it."""

    FETCHED = "fetched"
    """The utility has acknowledged it."""
    UNFETCHED = "unfetched"
    """Its days were over before."""
    DISPLACED = "displaced"
    """More than may wait came of its meter, and it was the oldest."""


FINAL: Final = frozenset(State) - {State.QUEUED, State.SENT}

REQUESTS: Final = Table(
    "requests",
    METADATA,
    Column("id", String(24), primary_key=True),
    Column("utility", String(32), nullable=False),
    Column("meter", String(16), nullable=False),
    Column("state", String(12), nullable=False),
    Column("created", Float, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("finished", Float),
    Column("cause", Text),
    Column("sealed", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
    Index("requests_of", "utility", "meter"),
    Index("requests_state", "state"),
)

PUSHES: Final = Table(
    "pushes",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("id", String(24), nullable=False, unique=True),
    Column("utility", String(32), nullable=False),
    Column("meter", String(16), nullable=False),
    Column("received", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("pushes_of", "utility", "meter"),
    Index("pushes_meter", "meter"),
    Index("pushes_received", "received"),
)

ACCOUNT: Final = Table(
    "account",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("request", String(24), nullable=False),
    Column("utility", String(32), nullable=False),
    Column("meter", String(16), nullable=False),
    Column("originator", String(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("finished", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("answer_size", Integer),
    Column("outcome", String(12), nullable=False),
    Column("cause", Text),
    Index("account_of", "utility", "meter"),
    Index("account_finished", "finished"),
)

READINGS: Final = Table(
    "readings",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("meter", String(16), nullable=False),
    Column("object", String(40), nullable=False),
    Column("at", Float, nullable=False),
    Column("value", Text, nullable=False),  # JSON
    Index("readings_of", "meter", "object"),
)
