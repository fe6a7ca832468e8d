"""What a meter is to be, as checked data: `config` reads it, `model` builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meterseal.association.operations import Named
from meterseal.association.profile import SERVER_CONFORMANCE
from meterseal.codec.types import Tag, Type
from meterseal.cosem.obis import Obis
from meterseal.cosem.rights import SIGN_REQUEST
from meterseal.cosem.selection import CaptureObject
from meterseal.crypto import Secret
from meterseal.meter.view import Grant, User
from meterseal.security.hls import MECHANISMS, Mechanism

PROFILE_DAYS: Final = 120
PROFILE_ENTRIES: Final = PROFILE_DAYS * 96


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPlan:
    """One object besides those that every logical device has.  Fields that a class does not know are unset.

    Classes 1, 3, 4: `source` (a word of `plant.SOURCES`) or `value` with `type`; 5: `source`, `period` (s),
    `periods`; 7: `columns`, and `log` for an event log; 8: none; 18: `block_size`, `largest` (octets);
    70: `control_mode`; all others: `attributes`, values with their types by index; 40 besides them `version`,
    `role` (whose keys seal), `interval` (s) and `blocks` (octets of the largest APDU, 0: any).
    """

    logical_device: int
    class_id: int
    obis: Obis
    type: Tag | None = None
    value: Any = None
    source: str | None = None
    scaler: int | None = None
    unit: int | None = None
    writable: bool = False
    columns: tuple[CaptureObject, ...] = ()
    capture_period: int = 900
    entries: int = PROFILE_ENTRIES
    log: int | None = None
    control_mode: int = 2
    period: int = 900
    periods: int = 1
    block_size: int = 512
    largest: int = 1 << 18
    version: int = 0
    attributes: Mapping[int, tuple[Any, Type]] = field(default_factory=dict)
    role: str = ""
    interval: int = 0
    blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """One role: client SAP, mechanism, Security setup, view.  Keys left out are drawn.

    `policy` is in class 64 version 1 bits; `broadcast` names the operations that the broadcast key may do:
    (class, name, member, is a method).  `certificates` (DER) of its client are taken in at the first start.
    `users` empty: no person is asked for.
    """

    name: str
    client: int
    logical_devices: tuple[int, ...] = (1,)
    mechanism: int = 0
    ciphered: bool = False
    policy: int = 0
    client_system_title: bytes | None = None
    guek: Secret | None = None
    gak: Secret | None = None
    gbek: Secret | None = None
    kek: Secret | None = None
    secret: Secret | None = None
    certificates: tuple[bytes, ...] = ()
    single: bool = False
    report_counter: bool = True
    pre_established: bool = False
    association_version: int = 3
    setup_version: int = 1
    max_pdu: int = 4096
    compression: str | None = None
    conformance: int = SERVER_CONFORMANCE
    options: frozenset[str] = frozenset()
    users: Mapping[int, User] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    broadcast: frozenset[Named] = frozenset()

    @property
    def scheme(self) -> Mechanism:
        """The row of the mechanism."""
        return MECHANISMS[self.mechanism]

    @property
    def signs(self) -> bool:
        """True when the client has key pairs: its mechanism signs, or its policy or a right asks for it."""
        rights = (*(bits for grant in self.grants for bits in grant.bits), self.policy)
        return self.scheme.needs_keys or any(bits & SIGN_REQUEST for bits in rights)

    @property
    def keyed(self) -> bool:
        """True when the role has a Security setup with keys: its mechanism uses them, or its messages do."""
        return self.ciphered or (self.scheme.passes == 4 and not self.scheme.needs_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdPartyPlan:
    """Somebody who asks through the clients of the meter (security 7).

    `certificates` (DER) are taken in at the first start.  `kek` is for the peer option
    `third_party_wrapped_key`, and drawn when it is left out.  `max_age`: seconds that a request may have been
    on its way by the meter's clock; 0: any.
    """

    name: str
    system_title: bytes
    certificates: tuple[bytes, ...] = ()
    kek: Secret | None = None
    max_age: int = 0
    options: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterPlan:
    """A meter.  `seed`, `system_title` and names left out follow from what is drawn at the first start.

    `physical_address` and the forms of address it answers to, in octets (empty: all that fit), are for HDLC.
    `logical_devices` maps SAPs to names (empty: made from the device name).  `time_zone` is minutes east of
    UTC, `clock_offset` seconds that the clock is ahead at the first start.  `trust` are the anchors of suites
    1 and 2, certificates in DER; none: the meter comes with a root of its own maker.
    """

    name: str
    suite: int = 0
    system_title: bytes | None = None
    device_name: str = ""
    firmware: str = "1.0.0"
    kek: Secret | None = None
    trust: tuple[bytes, ...] = ()
    seed: int | None = None
    roof: int = 0
    time_zone: int = 60
    daylight_saving: bool = True
    clock_offset: int = 0
    days: int = PROFILE_DAYS
    physical_address: int = 17
    address_sizes: tuple[int, ...] = ()
    logical_devices: Mapping[int, str] = field(default_factory=lambda: {1: ""})
    objects: tuple[ObjectPlan, ...] = ()
    roles: tuple[RolePlan, ...] = ()
    third_parties: tuple[ThirdPartyPlan, ...] = ()

    def role(self, name: str) -> RolePlan | None:
        """The role of this name."""
        return next((role for role in self.roles if role.name == name), None)

    @property
    def fixed_keys(self) -> bool:
        """True when some encryption key comes from the configuration and is not drawn."""
        return any(role.guek is not None for role in self.roles)
