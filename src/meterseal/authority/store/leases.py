"""Leases: one worker at a time at a device, also over many processes and machines (G02).

A lease ends by itself, so that a worker that was killed keeps nobody out for long.  Its token grows with
every lease: who was away for too long and wants to write finds that another one has been there (fencing).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import insert, select, update

from meterseal.authority.store import schema
from meterseal.authority.store.keystore import Act, KeyStore
from meterseal.crypto import random_octets
from meterseal.errors import StateLocked, StateUnavailable

SECONDS: Final = 300
"""How long a lease holds: the longest change of keys at one device (keys 3)."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A device that is ours until then."""

    device: bytes
    holder: str
    token: int
    until: int


class Leases:
    """The leases of a store, for one worker."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self.holder = f"{os.getpid()}-{random_octets(4).hex()}"

    @contextmanager
    def held(self, device: bytes, seconds: int = SECONDS) -> Iterator[Lease]:
        """A device for as long as the block lasts, `seconds` at most.  Raises StateLocked: another has it."""
        lease = self.take(device, seconds)
        try:
            yield lease
        finally:
            with suppress(StateUnavailable, StateLocked):  # it ends by itself
                self.give_back(lease)

    def take(self, device: bytes, seconds: int = SECONDS) -> Lease:
        """Take a device.  Raises StateLocked."""
        table, now = schema.leases, self._store.now
        with self._store.writing() as connection:
            row = connection.execute(
                select(table).where(table.c.device == device).with_for_update()
            ).one_or_none()
            others = row is not None and row.until > now and row.holder != self.holder
            token = 1 if row is None else row.token + 1
            values: dict[str, Any] = {"holder": self.holder, "token": token, "until": now + seconds}
            if row is None:
                connection.execute(insert(table).values(device=device, **values))
            elif others:  # a clock that was put back makes a lease long: from now on it is as any (G18)
                values = {"until": min(row.until, now + SECONDS)}
            if row is not None:
                connection.execute(update(table).where(table.c.device == device).values(values))
        if row is not None and others:
            raise StateLocked(
                f"device {device.hex().upper()} is being worked on by {row.holder}, "
                f"for {values['until'] - now} s at most"
            )
        return Lease(device, self.holder, token, now + seconds)

    def give_back(self, lease: Lease) -> None:
        """Let others in."""
        table = schema.leases
        with self._store.writing() as connection:
            connection.execute(
                update(table)
                .where(table.c.device == lease.device, table.c.token == lease.token)
                .values(until=0)
            )


def fence(act: Act, lease: Lease | None) -> None:
    """Within a transaction: it is still ours.  Raises StateLocked."""
    if lease is None:
        return
    table = schema.leases.c
    token = act.connection.execute(select(table.token).where(table.device == lease.device)).scalar()
    if token != lease.token:
        raise StateLocked(f"device {lease.device.hex().upper()} has been taken over by another worker")
