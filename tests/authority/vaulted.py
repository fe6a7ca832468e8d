"""A store of keys in a folder, with a device in it, and time turned by hand."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meterseal.authority.store import Device, Store, create_store, open_store
from meterseal.crypto import random_octets
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Record, Verb

TITLE = bytes.fromhex("4D534C0000000001")
ROLES = {"operator": {"client": 2, "mechanism": "gmac"}, "manager": {"client": 1, "mechanism": "gmac"}}
GUEK = Slot(TITLE, "operator", "guek")


class Clock:
    """The time, standing still until it is turned."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **parts: int) -> None:
        self.now += timedelta(**parts)


class House:
    """A folder with a store in it, to be opened any number of times."""

    def __init__(self, folder: Path) -> None:
        self._settle(folder)
        with create_store(str(self.path), by="test", clock=self.clock) as store:
            add(store, TITLE)

    def _settle(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.path = folder / "keys.db"

    @property
    def kek(self) -> Path:
        return self.path.with_name("keys.db.kek")

    @property
    def witness(self) -> Path:
        return self.path.with_name("keys.db.kek.witness")

    def open(self, *, restored: bool = False, kek: Path | None = None) -> Store:
        return open_store(str(self.path), kek, by="test", clock=self.clock, restored=restored)

    def files(self) -> dict[str, bytes]:
        """The files of the database, as a backup would take them."""
        return {
            path.name: path.read_bytes() for path in self.folder.glob("keys.db*") if ".kek" not in path.name
        }

    def copied(self, folder: Path) -> House:
        """The same store in another folder, key and witness included; its time is what it is here."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        made = House.__new__(House)
        made._settle(folder)
        made.clock.now = self.clock.now
        return made

    def put_back(self, files: dict[str, bytes]) -> None:
        for path in self.folder.glob("keys.db*"):
            if ".kek" not in path.name:
                path.unlink()
        for name, octets in files.items():
            (self.folder / name).write_bytes(octets)


def add(store: Store, title: bytes, suite: int = 0) -> None:
    with store.core.acting() as act:
        store.keys.add_device(act, Device(title=title, suite=suite, settings={"roles": ROLES}), "test")


def adopt(store: Store, slot: Slot = GUEK, secret: bytes | None = None) -> Record:
    """An active key in a slot."""
    with store.core.acting() as act:
        octets = random_octets(16) if secret is None else secret
        return store.keys.put(act, slot, octets, Verb.ADOPT, "test", suite=0)


def states(store: Store, slot: Slot = GUEK) -> list[str]:
    return [one.state.value for one in store.keys.slot(slot)]
