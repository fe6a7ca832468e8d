"""Pushes of meters, direct or by way of a concentrator: what is sealed waits until its utility fetches it.

The head-end's own layer comes off by the keys of its role (`meterseal.listener`): each counter once,
strangers put aside by title in `pushes/unknown`.  What is inside it cannot open.  A push for the head-end's
own role is a reading of that role.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from meterseal.apdu.services import DataNotification
from meterseal.cosem.present import present
from meterseal.cosem.texts import json_text
from meterseal.crypto import random_octets
from meterseal.errors import MetersealError, Moved
from meterseal.headend import store
from meterseal.headend.config import Utility
from meterseal.headend.desk import Desk
from meterseal.headend.store import Job
from meterseal.listener import Doors, Floors, Listener, Quarantine, Received, Receiver
from meterseal.security.sealed import Sealed

UNWRITTEN: Final = 1024
"""Pushes that may be on their way to the disk; beyond that one is lost, and told."""

OWN: Final = "push"
"""The object of a reading that a meter has pushed."""

_ID: Final = 12


class Pushes:
    """What comes unasked.  `urls` says where it listens, once it is open."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self._desk, self._folder = desk, folder
        self._floors: Floors | None = None
        self._listener: Listener | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._came: dict[str, asyncio.Event] = {}
        self.urls: list[str] = []

    @property
    def refused(self) -> int:
        """What came and was no push of a meter for anybody here."""
        return 0 if self._listener is None else self._listener.refusals.count

    async def open(self) -> None:
        """Listen where the file says.  Raises ConfigurationError, StateLocked, StateDamaged."""
        desk = self._desk
        if not desk.config.pushes:
            return
        self._floors = Floors(self._folder)
        doors = Doors(self._floors)
        for meter in desk.config.meters:
            doors.put(Path(meter.name), meter.credentials, None)
        receiver = Receiver(doors, self._floors, quarantine=Quarantine(self._folder / "unknown"))
        self._listener = Listener(receiver, self._take, wire_log=desk.wire_log)
        for url in desk.config.pushes:
            self.urls.append(await self._listener.open(url))

    async def close(self) -> None:
        """Take no more; what has come is written first."""
        if self._listener is not None:
            await self._listener.close()
        await asyncio.gather(*self._writing, return_exceptions=True)
        if self._floors is not None:
            self._floors.close()

    def coming(self, utility: Utility) -> asyncio.Event:
        """Set when the next push for this utility is on the disk."""
        return self._came.setdefault(utility.name, asyncio.Event())

    # --- one push ---------------------------------------------------------------------------------

    def _take(self, received: Received) -> None:
        """What the listener hands on: opened, its counter durable, or refused and told there."""
        desk, title = self._desk, received.title or b""
        if received.error is not None:
            desk.metrics.refused(received.error)
            return
        try:
            job, utility, size = self._job(received, title)
        except MetersealError as error:
            desk.metrics.refused(error)
            desk.journal.warning("push refused", meter=title.hex().upper(), cause=f"{error.kind}: {error}")
            return
        if len(self._writing) >= UNWRITTEN:
            desk.journal.warning("push lost", meter=title.hex().upper(), cause="the disk does not keep up")
            return
        task = asyncio.get_running_loop().create_task(self._write(job, title, utility, size))
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _job(self, received: Received, title: bytes) -> tuple[Job, Utility | None, int]:
        """What is to be written, for which utility.  Raises Moved for what is sealed for none here."""
        now, meter = time.time(), title.hex().upper()
        if received.sealed is None:
            message = received.message
            body = message.notification_body if isinstance(message, DataNotification) else None
            shown = None if body is None else present(body.value, body.type)
            return store.read(meter, now, {OWN: json_text(shown)}), None, len(received.plain or b"")
        sealed: Sealed = received.sealed
        if sealed.originator != title:
            raise Moved(f"sealed by {sealed.originator.hex().upper()}, which is not the meter that sends it")
        utility = self._desk.config.whose(title, sealed.recipient)
        if utility is None:
            raise Moved(f"sealed for {sealed.recipient.hex().upper()}, no utility of this meter here")
        row = {
            "id": random_octets(_ID).hex().upper(), "utility": utility.name, "meter": meter,
            "received": now, "size": sealed.size, "sealed": sealed.octets,
        }  # fmt: skip
        return store.keep(row, self._desk.config.pushes_of_meter), utility, sealed.size

    async def _write(self, job: Job, title: bytes, utility: Utility | None, size: int) -> None:
        await self._desk.store.run(job)
        name = None if utility is None else utility.name
        self._desk.metrics.pushes.labels("own" if utility is None else "sealed").inc()
        self._desk.journal.info("push kept", meter=title.hex().upper(), utility=name, size=size)
        came = None if name is None else self._came.pop(name, None)
        if came is not None:
            came.set()

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            self._desk.broken(task.exception())
