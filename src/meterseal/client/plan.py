"""A plan: what one association is to be, made of credentials, a role and the caller's own wishes.

Refuses here, before anything is sent, what this version cannot do and what is weak without having been
switched on by name (design law 5).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Final, TypedDict

from meterseal.association import ClientProfile
from meterseal.association.profile import BLOCKS
from meterseal.client.titles import FileTitles, MemoryTitles, Titles
from meterseal.client.values import Notice
from meterseal.cosem.obis import Member, Obis, parse_member
from meterseal.credentials import Credentials, RoleCredentials
from meterseal.credentials.fields import ROLE, Where, read_table, seconds
from meterseal.crypto import WrappingKey, random_octets, suite
from meterseal.errors import ConfigurationError, Misuse
from meterseal.security import AUTHENTICATED, ENCRYPTED, KeyInUse, SecuritySetup
from meterseal.security.hls import BY_NAME, Manufacturer
from meterseal.security.packing import parameters_of
from meterseal.security.protection import from_text, policy_bits, text
from meterseal.state import CounterStore, FileCounters, MemoryCounters

PUBLIC_CLIENT: Final = 16
"""Client SAP of the public client (acse-xdlms 10)."""

SMALL: Final = 512
"""Octets of a largest APDU into which what is sealed for others may not fit, however short it is: a client
that takes no more asks for general block transfer."""

_PASS_3: Final = Member(15, Obis("0.0.40.0.0.255"), 1, method=True)
"""reply_to_HLS_authentication of the current association."""

log = logging.getLogger("meterseal.client")


class Wishes(TypedDict, total=False):
    """What the caller of `connect` and `associate` may set in place of what the credentials say.

    `timeout` in seconds for each answer; `manufacturer` is the function of mechanism 2; `user` goes into
    calling-AE-invocation-id; `dedicated` makes a key for this association alone; `general` uses general-glo
    and general-ded forms; `max_pdu` is the largest APDU taken, in octets; `policy`, `layers` and
    `compression` are words as in a credentials file.  `events` asks for EventNotifications, and is called
    with each of them as a `Notice`, when one comes before an answer or while `watch` waits.
    """

    timeout: float
    allow_weak: bool
    manufacturer: Manufacturer
    user: int
    dedicated: bool
    general: bool
    policy: str
    layers: str
    compression: str
    max_pdu: int
    events: Callable[[Notice], None]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One association to be: a role of some credentials, checked."""

    credentials: Credentials
    name: str
    role: RoleCredentials
    wishes: Wishes

    @property
    def pair(self) -> tuple[int, int]:
        """Client SAP and server SAP."""
        return self.role.client, self.credentials.meter.server_sap

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer."""
        return seconds(self.wishes.get("timeout", self.role.timeout))

    def profile(self, key: KeyInUse | None, title: bytes | None) -> ClientProfile:
        """The association's profile, with the key in use and the title that the meter must show."""
        role, meter, wishes = self.role, self.credentials.meter, self.wishes
        compression = wishes.get("compression", role.compression)
        master = role.octets("kek")
        setup = SecuritySetup(
            suite(meter.suite),
            role.client_system_title or b"",
            title,
            policy_bits(role.protection, role.protection),
            key,
            master=None if master is None else WrappingKey(master),
        )
        if setup.suite.curve is not None:
            # Loads the backend's X.509 part, which the roles of suite 0 do without.
            import_module("meterseal.credentials.identity").equip(setup, self.credentials, role)
        profile = ClientProfile(
            client_sap=role.client,
            server_sap=meter.server_sap,
            setup=setup,
            mechanism=BY_NAME[role.mechanism].number,
            ciphered=role.in_ciphered_context,
            secret=role.octets("secret") or b"",
            manufacturer=wishes.get("manufacturer"),
            general=wishes.get("general", role.general),
            layers=wishes.get("layers", role.layers) or "",
            compression=None if compression is None else parameters_of(compression),
            user=wishes.get("user", role.user),
            options=role.peer,
            signs_proof=_PASS_3 in map(parse_member, role.signed),
        )
        size = wishes.get("max_pdu", role.max_pdu)
        if size is not None:
            profile.max_pdu = size
        if profile.ciphered and 0 < profile.max_pdu < SMALL:
            profile.conformance |= BLOCKS
        told = wishes.get("events")
        if told is not None:
            profile.events = lambda message: told(Notice.of(message))
        if wishes.get("dedicated", role.dedicated):
            profile.dedicated_key = random_octets(setup.suite.key_length)
        return profile

    def public(self) -> Plan:
        """The plan of the public client at the same meter: no security, and no keys."""
        role = RoleCredentials(client=PUBLIC_CLIENT, mechanism="none", timeout=self.timeout)
        return Plan(self.credentials, "public", role, {})

    def described(self) -> dict[str, object]:
        """`{"role", "mechanism", "suite", "policy"}` of the machine-readable output."""
        return {
            "role": self.name,
            "mechanism": self.role.mechanism,
            "suite": self.credentials.meter.suite,
            "policy": text(self.role.protection),
        }


def make_plan(credentials: Credentials, role: str | None, wishes: Wishes) -> Plan:
    """Check that the role can be had, and warn about what is weak in it.

    Raises ConfigurationError for a role that is not there, or weak without `allow_weak`; Expired for keys
    that were lent until earlier; Unsupported for what comes with later versions.
    """
    name = credentials.role_name(role)
    named = credentials.role(name)
    if "policy" in wishes:
        named = replace(named, policy=from_text(wishes["policy"]))
    plan = Plan(credentials, name, named, wishes)
    unknown = sorted(wishes.keys() - Wishes.__annotations__.keys())
    if unknown:
        raise Misuse(f"no argument {unknown[0]!r}; there are {', '.join(Wishes.__annotations__)}")
    read_table({key: value for key, value in wishes.items() if key in ROLE}, ROLE, Where(None, "arguments"))
    plan.role.check_lent(name, datetime.now(UTC))
    scheme = BY_NAME[plan.role.mechanism]
    if scheme.name == "manufacturer" and "manufacturer" not in wishes:
        raise Misuse(f"role {name}: mechanism 2 needs the manufacturer's function (manufacturer=...)")
    weak = f"mechanism {scheme.name}" if scheme.weak else ""
    if plan.role.protection & (AUTHENTICATED | ENCRYPTED) == ENCRYPTED:
        weak = "encryption without authentication"
    if weak:
        if not wishes.get("allow_weak", plan.role.allow_weak):
            raise ConfigurationError(
                f"role {name}: {weak} is weak, and off until it is switched on (allow_weak = true)"
            )
        log.warning("role %s uses %s, which is weak", name, weak)
    return plan


# --- where state is kept ------------------------------------------------------------------------

STATE_VARIABLE: Final = "METERSEAL_STATE"


@dataclass(frozen=True, slots=True)
class State:
    """Where counters and titles are kept; `slow` when its calls may wait for a disk."""

    counters: CounterStore
    titles: Titles

    @property
    def slow(self) -> bool:
        """True for files."""
        return isinstance(self.counters, FileCounters)


class _NoCounters(MemoryCounters):
    """Stands where nothing was said about state: associations without keys need none."""

    def reserve(self, key_id: str, count: int = 0, start: int | None = None) -> tuple[int, int]:
        """Raise ConfigurationError: counters that nobody keeps would be used twice."""
        raise ConfigurationError(
            "invocation counters have to be kept: give credentials as a file, or state=FOLDER, or "
            f"{STATE_VARIABLE}, or counters=STORE"
        )


def make_state(
    credentials: Credentials, counters: CounterStore | None, folder: str | os.PathLike[str] | None
) -> State:
    """The store given, else `folder`, else METERSEAL_STATE, else `FILE.state` beside the credentials."""
    if counters is not None and folder is not None:
        raise Misuse("counters and state both say where counters are kept: give one")
    if counters is not None:
        return State(counters, MemoryTitles())
    chosen = folder or os.environ.get(STATE_VARIABLE) or credentials.state_folder
    if chosen is None:
        return State(_NoCounters(), MemoryTitles())
    return State(FileCounters(Path(chosen)), FileTitles(Path(chosen)))
