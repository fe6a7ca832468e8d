"""The devices of a store: taken in, changed, taken out of service, each in a transaction with its entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import insert, select, update

from meterseal.authority.store import schema
from meterseal.authority.store.anchors import admit, anchors, strange
from meterseal.authority.store.keystore import Act, KeyStore
from meterseal.authority.store.records import Device, device
from meterseal.crypto import SUITES
from meterseal.errors import ConfigurationError, Misuse

_LONGEST_TEXT: Final = 64
"""Characters of a serial number and of a place."""


class Devices:
    """The devices of a store."""

    def __init__(self, store: KeyStore) -> None:
        self.store = store

    def add_device(self, act: Act, new: Device, origin: str) -> None:
        """Take in a device.  Raises Misuse for a title that is there already (C13)."""
        check_device(new)
        known = schema.devices.c.title == new.title
        if act.connection.execute(select(schema.devices.c.title).where(known)).first():
            raise Misuse(f"device {new.title.hex().upper()} is in the store already")
        act.connection.execute(
            insert(schema.devices).values(device_row(new, self.profile(act, new.settings), act.now))
        )
        act.note("device", new.title, suite=new.suite, origin=origin)

    def profile(self, act: Act, settings: Mapping[str, Any]) -> int:
        """The number of what many devices have in common; written once.  Anchors that are new take two."""
        connection = act.connection
        body = json.dumps(settings, separators=(",", ":"), sort_keys=True)
        mark = self.store.mark(body.encode())
        p = schema.profiles
        found: int | None = connection.execute(select(p.c.id).where(p.c.mark == mark)).scalar()
        if found is not None:
            return found
        admit(act, strange(self.store, connection, settings))
        made = connection.execute(insert(p).values(mark=mark, body=body).returning(p.c.id))
        return int(made.scalar_one())

    def device(self, title: bytes) -> Device:
        """A device by its title.  Raises ConfigurationError where it is not known."""
        with self.store.reading() as connection:
            return device(connection, title)

    def set_url(self, title: bytes, url: str) -> None:
        """Where a device is now."""
        with self.store.acting() as act:
            device(act.connection, title)
            act.connection.execute(
                update(schema.devices).where(schema.devices.c.title == title).values(url=url)
            )
            act.note("url", title)

    def set_settings(self, title: bytes, settings: Mapping[str, Any], why: str = "") -> None:
        """How a device is spoken to from now on: `Device.settings`."""
        with self.store.acting(why) as act:
            before = device(act.connection, title).settings
            admit(act, sorted(anchors(before) ^ anchors(settings)))
            profile = self.profile(act, settings)
            act.connection.execute(
                update(schema.devices).where(schema.devices.c.title == title).values(profile=profile)
            )
            act.note("settings", title)

    def retire(self, title: bytes, why: str) -> None:
        """Take a device out of service: its keys may then go, the last ones too."""
        with self.store.acting(why) as act:
            device(act.connection, title)
            act.only("retire")
            act.connection.execute(
                update(schema.devices).where(schema.devices.c.title == title).values(serving=False)
            )
            act.note("retire-device", title)


def check_device(new: Device) -> None:
    """Raises ConfigurationError for what is no device."""
    if len(new.title) != 8:
        raise ConfigurationError(f"a system title has 8 octets, not {len(new.title)}")
    if new.suite not in SUITES:
        raise ConfigurationError(f"there is no suite {new.suite}")
    if any(text is not None and len(text) > _LONGEST_TEXT for text in (new.serial, new.place)):
        raise ConfigurationError(f"serial and place have {_LONGEST_TEXT} characters at the most")


def device_row(new: Device, profile: int, now: int) -> dict[str, Any]:
    """The columns of a device."""
    return {
        "title": new.title, "suite": new.suite, "serial": new.serial, "url": new.url, "place": new.place,
        "profile": profile, "serving": new.serving, "made": now,
    }  # fmt: skip
