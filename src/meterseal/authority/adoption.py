"""Between the store and credentials: a meter's file taken into the store, credentials made of its keys.

A file that was taken in is spent: its counters belong to the store from then on, and count nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from meterseal.authority.paired import CERTIFICATES, Held, named_pairs, pick, trusted
from meterseal.authority.store import Device, Store
from meterseal.authority.store.anchors import strange
from meterseal.authority.store.counters import MOST
from meterseal.authority.store.devices import check_device
from meterseal.authority.store.keeping import New, slot_of, unusable
from meterseal.authority.store.records import Flag, device, device_rows
from meterseal.cosem.obis import parse_object
from meterseal.cosem.texts import moment_text
from meterseal.credentials import Credentials, RoleCredentials
from meterseal.credentials.files import is_there
from meterseal.credentials.records import SECRETS
from meterseal.crypto import kcv
from meterseal.errors import ConfigurationError, CounterExhausted, CounterUnknown, Misuse
from meterseal.keys.counters import LIMIT, key_id
from meterseal.keys.kinds import KINDS, Proof, Slot
from meterseal.keys.lifecycle import Record, Verb
from meterseal.state import FileCounters

_FILES: Final = (
    "signing_key", "signing_certificate", "agreement_key", "agreement_certificate", "trust",
    "revocation_lists",
)  # fmt: skip
_OF_DEVICE: Final = ("system_title", "url", "suite")
_OURS: Final = ("agreed", "carries", "probe", "setup")
"""Settings of a role that are the store's own, and no field of credentials."""

CARRIER: Final = "manager"

EXPORT: Final = "export-credentials"
"""What an export of a credentials file is called in the journal."""

_OPENING: Final = (Proof.ASSOCIATION, Proof.MECHANISM)
"""Proofs of keys without which no association is opened."""


def secret_kind(mechanism: str) -> str:
    """The kind of the secret of a mechanism."""
    return "lls" if mechanism == "lls" else "hls"


def settings_of(credentials: Credentials) -> dict[str, dict[str, Any]]:
    """What a device is spoken to by, without its keys: `Device.settings`."""
    given, held = credentials.tables()
    meter = {name: value for name, value in given.items() if name not in (*_OF_DEVICE, *_FILES)}
    roles = {}
    for name, table in held.items():
        roles[name] = {key: value for key, value in table.items() if key not in (*SECRETS, *_FILES)}
        if "kek" in table:
            roles[name]["carries"] = True
    return {"meter": meter, "roles": roles}


def adopt(
    store: Store,
    credentials: Credentials,
    *,
    serial: str | None = None,
    place: str | None = None,
    broadcast: str | None = None,
    origin: str = "credentials file",
    why: str = "",
) -> Device:
    """Take a meter's credentials into the store, its keys as the active ones, all of it or nothing.

    `broadcast` is an octet string that members of a group may write: it proves a new GBEK.  None: what
    the credentials say, role by role.

    The counters of the file go over to the store: what was used is jumped over, and the file counts no more.
    Raises ConfigurationError for credentials without a title, Misuse for a device that is there already.
    """
    new = new_of(credentials, serial=serial, place=place, broadcast=broadcast)
    pairs = named_pairs(credentials)
    with store.core.acting(why) as act:
        store.keys.add_device(act, new.device, origin)
        for (role, kind), octets in new.secrets.items():
            slot = slot_of(new.device.title, role, kind)
            store.keys.put(act, slot, octets, Verb.ADOPT, origin, suite=new.device.suite)
        for slot, secret, certificate in () if pairs is None else pairs.slots():
            how: Any = {"suite": new.device.suite, "certificate": certificate}
            store.keys.put(act, slot, secret, Verb.ADOPT, origin, **how)
    _take_counters(store, credentials)
    return new.device


def strange_anchors(store: Store, *several: Credentials) -> list[str]:
    """The trust anchors that credentials would bring into a store, SHA-256 of each, hex."""
    found = {one.der for credentials in several for one in trusted(credentials)}
    with store.core.reading() as connection:
        return strange(store.core, connection, {"meter": {"anchors": [der.hex() for der in found]}})


def new_of(
    credentials: Credentials,
    *,
    serial: str | None = None,
    place: str | None = None,
    broadcast: str | None = None,
    flags: Mapping[tuple[str, str], Flag] | None = None,
) -> New:
    """A device with its keys, out of credentials; `flags`: what was noticed, by role and kind.

    Raises ConfigurationError for credentials without a title, or what is no device.
    """
    meter = credentials.meter
    if meter.system_title is None:
        raise ConfigurationError("the credentials do not say the meter's system title")
    lent = [name for name, role in credentials.roles.items() if role.not_after is not None]
    if lent:
        raise ConfigurationError(
            f"the keys of role {lent[0]} are lent (not_after): whoever lent them has them"
        )
    settings = settings_of(credentials)
    pairs = named_pairs(credentials)
    if pairs is not None:
        settings["meter"] |= pairs.trusted()
    if broadcast is not None:
        parse_object(broadcast)
        for role in settings["roles"].values():
            role["broadcast"] = broadcast
    new = Device(
        title=meter.system_title,
        suite=meter.suite,
        serial=serial,
        url=meter.url,
        place=place,
        settings=settings,
    )
    check_device(new)
    secrets = {(slot.role, slot.kind): octets for slot, octets in slots_of(credentials)}
    return New(new, secrets, flags or {})


def slots_of(credentials: Credentials) -> list[tuple[Slot, bytes]]:
    """The slots that credentials have keys for, each once."""
    held: dict[Slot, bytes] = {}
    for name, role in credentials.roles.items():
        for slot, octets in _slots(credentials.meter.system_title or b"", name, role):
            held.setdefault(slot, octets)
    return list(held.items())


def _slots(title: bytes, name: str, role: RoleCredentials) -> list[tuple[Slot, bytes]]:
    found = []
    for field in SECRETS:
        octets = role.octets(field)
        if octets is not None:
            kind = secret_kind(role.mechanism) if field == "secret" else field
            found.append((slot_of(title, name, kind), octets))
    return found


def _take_counters(store: Store, credentials: Credentials) -> None:
    """Where the file's counters stand is where the store's begin; the file has none left."""
    folder = credentials.state_folder
    if folder is None or not is_there(folder, "state folder"):
        return
    files = FileCounters(folder)
    for role in credentials.roles.values():
        octets, own = role.octets("guek"), role.client_system_title
        if octets is None or own is None:
            continue
        check, title = kcv(octets), credentials.meter.system_title or b""
        lowest = files.received(key_id(check, title, "rx"))
        if lowest is not None:
            store.counters.note_received(key_id(check, title, "rx"), lowest)
        name = key_id(check, own, "tx")
        try:
            first, _ = files.reserve(name, LIMIT)
        except (CounterUnknown, CounterExhausted):
            continue
        store.counters.reserve(name, 1, first)
    store.counters.sync()


def credentials_of(
    store: Store,
    title: bytes,
    use: Mapping[Slot, Record] | None = None,
    *,
    carrying: bool = False,
    need: Iterable[str] = (),
) -> Credentials:
    """Credentials for a device out of its active keys; `use` names others for some slots.

    `carrying`: where there is no active key the likeliest other one will do, to bring in its successor.  Else
    a role whose key may not protect is left out, and raises Compromised (or UnknownKey) where it is among
    those that `need` names; a KEK or GBEK that may not is left out of its role.
    """
    chosen = use or {}
    with store.core.reading() as connection:
        known = device(connection, title)
        rows = device_rows(connection, title)

    def octets(slot: Slot) -> bytes | None:
        found = pick(rows.get(slot, []), chosen.get(slot), carrying)
        return None if found is None else store.keys.opened(found).reveal()

    pairs = Held(store, known, rows, chosen, carrying)
    roles: dict[str, Any] = {}
    for name, settings in known.roles.items():
        table: dict[str, Any] = {key: value for key, value in settings.items() if key not in _OURS}
        kinds = ["guek", "gak", "gbek", secret_kind(str(settings.get("mechanism")))]
        if settings.get("carries"):
            kinds.append("kek")
        whole = True
        for kind in kinds:
            slot = slot_of(title, name, kind)
            found = octets(slot)
            if found is not None:
                table[KINDS[kind].field or kind] = found
            elif rows.get(slot) and KINDS[kind].proof in _OPENING:
                whole = False  # there were keys, and none of them may be used
        whole = whole and pairs.of_role(name, table)
        if whole:
            roles[name] = table
    missing = [name for name in need if name in known.roles and name not in roles]
    if missing or (known.roles and not roles):
        of_roles = {"", *(missing or known.roles)}
        lost = [[one.record for one in held] for slot, held in rows.items() if slot.role in of_roles]
        raise unusable(
            lost, f"no key of {title.hex().upper()} {' '.join(missing)} may be used".replace("  ", " ")
        )
    settings = known.settings.get("meter", {})
    meter = {name: value for name, value in settings.items() if name not in CERTIFICATES}
    meter |= {"system_title": title, "suite": known.suite, **pairs.meter}
    if known.url is not None:
        meter["url"] = known.url
    return Credentials.from_mapping({"meter": meter, "roles": roles}, held=pairs.files)


def export_credentials(
    store: Store,
    title: bytes,
    path: Path,
    roles: Sequence[str] = (),
    why: str = "",
    until: datetime | None = None,
) -> list[str]:
    """Write a device's active keys as a credentials file, mode 0600, of some roles or of all; their names.

    It counts in a block that is leased to it, `MOST` messages in each role.  `until`: the keys are lent, and
    whoever uses them later is refused.  Raises ConfigurationError for a role that is not there, Misuse for an
    end that has passed.
    """
    if until is not None and until <= store.core.moment:
        raise Misuse("keys are lent until a moment that is yet to come")
    found = credentials_of(store, title, need=roles)
    wanted = [found.role_name(name) for name in roles] or list(found.roles)
    chosen: dict[str, RoleCredentials] = {}
    for name in wanted:
        role = found.roles[name]
        guek, own = role.octets("guek"), role.client_system_title
        if guek is not None and own is not None:
            start = 1 if role.counter_start is None else role.counter_start
            first, end = store.counters.reserve(key_id(kcv(guek), own, "tx"), MOST, start)
            role = replace(role, counter_start=first, counter_end=end, counter_object=None)
        chosen[name] = replace(role, not_after=until)
    with store.core.acting(why) as act:
        act.note(EXPORT, title, roles=wanted, until=None if until is None else moment_text(until))
    Credentials(found.meter, chosen, held=found.held).with_copies(path).save(path)
    return wanted


class Loan(NamedTuple):
    """Keys of a device that are with somebody: of which roles, until when, and who gave them out."""

    roles: tuple[str, ...]
    until: datetime
    by: str


def loans(store: Store, title: bytes) -> list[Loan]:
    """What is lent of a device's keys now, the oldest first."""
    found = []
    for one in store.core.entries(title):
        until = one.said.get("until") if one.said.get("verb") == EXPORT else None
        if until is not None and (end := datetime.fromisoformat(until)) >= store.core.moment:
            found.append(Loan(tuple(one.said["roles"]), end, str(one.said["by"])))
    return found


def carriers_of(known: Device) -> list[str]:
    """The roles that may change a device's keys, the manager first.

    Raises ConfigurationError where there is none.
    """
    carrying = [name for name, settings in known.roles.items() if settings.get("carries")]
    if carrying:
        return sorted(carrying, key=lambda name: (name != CARRIER, name))
    if CARRIER in known.roles:
        return [CARRIER]
    raise ConfigurationError(f"device {known.title.hex().upper()} has no role that may change keys")
