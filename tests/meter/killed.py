"""A process that transfers keys to a meter on a state folder and is killed at a chosen point.

Usage: killed.py FOLDER POINT NEW_GUEK NEW_GAK.  `POINTS` are the names of the points; the process kills
itself with SIGKILL there, as a power cut would.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meterseal.codec.types import Array, Structure, Tag
from meterseal.crypto import WrappingKey
from meterseal.meter import session, store
from meterseal.meter.keyring import KeyRing
from meterseal.state import log
from tests.meter.world import call, world

POINTS = (
    "before-write",
    "torn-write",
    "before-sync",
    "after-commit",
    "before-answer",
    "after-answer",
    "active",
)
ITEMS = Array(Structure((Tag.ENUM, Tag.OCTET_STRING)))


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(real: Callable[..., Any]) -> Callable[..., Any]:
    return die


def after(real: Callable[..., Any]) -> Callable[..., Any]:
    def both(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        die()

    return both


def torn(real: Callable[..., Any]) -> Callable[..., Any]:
    def half(descriptor: int, octets: bytes, position: int) -> None:
        real(descriptor, octets[: len(octets) // 2], position)
        os.fsync(descriptor)
        die()

    return half


WHERE: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "before-write": (store.MeterStore, "keep", before),
    "torn-write": (log, "write_at", torn),
    "before-sync": (log, "sync_file", before),
    "after-commit": (store.MeterStore, "keep", after),
    "before-answer": (session.Session, "_send", before),
    "after-answer": (session.Session, "_send", after),
    "active": (KeyRing, "activate", after),
}


def main(folder: str, point: str, guek: str, gak: str) -> None:
    here = world(folder=Path(folder))
    manager = here.signed_on("manager")
    kek = here.credentials.roles["manager"].octets("kek")
    assert kek is not None
    wrap = WrappingKey(kek).wrap
    items = [(0, wrap(bytes.fromhex(guek))), (2, wrap(bytes.fromhex(gak)))]
    # What was received is written before; only the keys themselves are to meet the cut.
    here.party.tick()
    here.meter.note = lambda setup: None  # type: ignore[method-assign]
    owner, name, how = WHERE[point]
    setattr(owner, name, how(getattr(owner, name)))
    print("started", flush=True)
    manager.one(call(64, "0.0.43.0.2.255", 2, items, ITEMS))
    print("not killed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
