"""Pushes that wait at a head-end: fetched, opened, handed on, and only then acknowledged, one after another.

What a carrier does to a push is named as with an answer.  Each counter counts once, durably before the push
is handed on; a push of a meter without credentials is told and stays at the head-end.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meterseal.credentials import Credentials
from meterseal.errors import (
    DecodeError,
    MetersealError,
    Misuse,
    ProtectionError,
    ProtocolViolation,
    Refused,
    UnknownKey,
    Unsupported,
)
from meterseal.security.sealed import Sealed
from meterseal.state import CounterStore
from meterseal.utility.aio import SealedMeter
from meterseal.utility.over_https import Via, Waiting
from meterseal.utility.session import Pushed

OPEN: Final = 10_000
"""Meters whose latest counters are held in memory; of others the floors on the disk count."""

_GONE: Final = 404


@dataclass(frozen=True, slots=True)
class Arrived:
    """A push that has come: opened, or with the error that names what is wrong with it."""

    waiting: Waiting
    pushed: Pushed | None
    error: MetersealError | None = None

    @property
    def done(self) -> bool:
        """Is there nothing more to come of it?  False where keys are missing that may still come."""
        return not isinstance(self.error, UnknownKey)


class Pushes:
    """The pushes of one utility at one head-end.

    `find` gives the credentials of a meter by its title, None where there are none; `name` is the third party
    in them.  Counters are kept as `SealedMeter` keeps them.  Not `signed`: a push is taken without a
    signature in suites 1 and 2 as well.
    """

    def __init__(
        self,
        via: Via,
        find: Callable[[bytes], Credentials | None],
        name: str | None = None,
        *,
        counters: CounterStore | None = None,
        state: str | os.PathLike[str] | None = None,
        signed: bool = True,
    ) -> None:
        self._via, self._find, self._name, self._signed = via, find, name, signed
        self._counters, self._state = counters, state
        self._meters: OrderedDict[bytes, SealedMeter] = OrderedDict()
        self._left: str | None = None

    async def fetch(
        self, deliver: Callable[[Arrived], None], *, wait: float = 0.0, most: int | None = None
    ) -> int:
        """Give what waits to `deliver`, at most `most`; how many that were.

        Where none is there one is waited for, `wait` seconds at most.  A push is acknowledged when `deliver`
        has returned.  Raises Refused, ConnectionLost, and what the store of counters raises.
        """
        count = 0
        for waiting in await self._listed(wait):
            if count == most:
                break
            try:
                arrived = await self._opened(waiting)
                deliver(arrived)
                count += 1
                if arrived.done:
                    await self._via.acknowledge(waiting)
                else:
                    self._left = waiting.id
            except Refused as error:
                if error.code != _GONE:  # its days were over, or a newer one has taken its place
                    raise
        return count

    async def _listed(self, wait: float) -> list[Waiting]:
        """Those behind the latest that was left; when that one's days are over, all."""
        try:
            return await self._via.pushes(after=self._left, wait=wait)
        except Refused as error:
            if self._left is None or error.code != _GONE:
                raise
        self._left = None
        return await self._via.pushes(wait=wait)

    async def _opened(self, waiting: Waiting) -> Arrived:
        try:
            meter = self._meter(waiting.meter)
            return Arrived(waiting, await meter.push(await self._via.push(waiting), signed=self._signed))
        except (ProtectionError, ProtocolViolation, DecodeError, Unsupported) as error:
            return Arrived(waiting, None, error)

    def _meter(self, title: bytes) -> SealedMeter:
        found = self._meters.get(title)
        if found is None:
            credentials = self._find(title)
            if credentials is None:
                raise UnknownKey(f"no credentials of a third party for meter {title.hex().upper()}")
            found = self._meters[title] = SealedMeter(
                credentials, _nobody, self._name, counters=self._counters, state=self._state
            )
            if len(self._meters) > OPEN:
                self._meters.popitem(last=False)
        self._meters.move_to_end(title)
        return found


async def _nobody(sealed: Sealed) -> Sealed:
    raise Misuse("nobody carries requests here")
