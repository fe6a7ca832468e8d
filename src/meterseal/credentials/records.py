"""The records of credentials: a meter, and a role it may be spoken to in; one field per key of the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from meterseal.cosem.texts import moment_text
from meterseal.crypto import Secret
from meterseal.errors import Expired
from meterseal.net.url import on_hdlc
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED

STRONG: Final = AUTHENTICATED | ENCRYPTED
"""Protection of each direction where no policy is named and there are keys."""

SECRETS: Final = ("guek", "gak", "gbek", "kek", "secret")
"""Fields of a role that hold keys, or its secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterCredentials:
    """Where a meter is and who it says it is; the fields of the table `[meter]`.

    `system_title` None: learned at sign-on and pinned.  `server_address` (upper, lower) and `address_size`
    are for HDLC, and so are `frame_size` (octets of information) and `window` (frames), the most of each way.
    `trust`, `revocation_lists` and the certificates are names of PEM files.
    """

    url: str | None = None
    system_title: bytes | None = None
    suite: int = 0
    logical_device: int = 1
    server_address: tuple[int, int] | None = None
    address_size: int | None = None
    frame_size: int | None = None
    window: int | None = None
    trust: tuple[str, ...] = ()
    revocation_lists: tuple[str, ...] = ()
    signing_certificate: str | None = None
    agreement_certificate: str | None = None

    @property
    def server_sap(self) -> int:
        """What the logical device is called on the line: on HDLC the upper part of `server_address`."""
        if self.server_address is not None and on_hdlc(self.url):
            return self.server_address[0]
        return self.logical_device


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCredentials:
    """One role: client SAP, mechanism by name, keys; the fields of a table `[roles.NAME]`.

    `policy` is the protection of each direction (AUTHENTICATED | ENCRYPTED | SIGNED); None stands for the
    first two where there is a `guek`, and for none where there is not.  `signed` names members
    (`CLASS/OBIS:ATTRIBUTE`, `CLASS/OBIS:METHOD()`) whose requests and answers are signed besides.  Keys and
    secret may be given as octets; they are kept as `Secret`.  `broadcast` names the octet string
    (`CLASS/OBIS:ATTRIBUTE`) that may be written under the GBEK, which shows who has it.  `layers` names the
    key of general-ciphering where that is used, `compression` the V.44 parameters where that is on.
    `not_after` is the end that whoever lent the keys has set.  `ciphered` says whether the application
    context is the one with ciphering; None: when the policy asks for any.
    """

    client: int
    mechanism: str
    policy: int | None = None
    signed: tuple[str, ...] = ()
    client_system_title: bytes | None = None
    guek: Secret | bytes | None = field(default=None, repr=False)
    gak: Secret | bytes | None = field(default=None, repr=False)
    gbek: Secret | bytes | None = field(default=None, repr=False)
    broadcast: str | None = None
    kek: Secret | bytes | None = field(default=None, repr=False)
    secret: Secret | bytes | None = field(default=None, repr=False)
    ciphered: bool | None = None
    dedicated: bool = False
    general: bool = False
    layers: str | None = None
    compression: str | None = None
    user: int | None = None
    max_pdu: int | None = None
    counter_start: int | None = None
    counter_end: int | None = None
    counter_object: str | None = None
    not_after: datetime | None = None
    timeout: float = 10.0
    allow_weak: bool = False
    signing_key: str | None = field(default=None, repr=False)
    signing_certificate: str | None = None
    agreement_key: str | None = field(default=None, repr=False)
    agreement_certificate: str | None = None
    peer: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in SECRETS:
            value = getattr(self, name)
            if isinstance(value, bytes):
                object.__setattr__(self, name, Secret(value))

    def check_lent(self, name: str, now: datetime) -> None:
        """Raises Expired for keys that were lent (to the role `name`), and not for as long as this."""
        if self.not_after is not None and now > self.not_after:
            end = moment_text(self.not_after)
            raise Expired(f"role {name}: these keys were lent until {end} (not_after): ask for a new set")

    def octets(self, name: str) -> bytes | None:
        """The octets of a key or of the secret, by its name."""
        value = getattr(self, name)
        return value.reveal() if isinstance(value, Secret) else value

    @property
    def title(self) -> bytes | None:
        """The system title."""
        return self.client_system_title

    @property
    def protection(self) -> int:
        """The protection of each direction: `policy`, or what it stands for when left out."""
        if self.policy is not None:
            return self.policy
        return STRONG if self.guek is not None else 0

    @property
    def in_ciphered_context(self) -> bool:
        """True when the association is asked for in the application context with ciphering."""
        return bool(self.protection) if self.ciphered is None else self.ciphered


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdPartyCredentials:
    """One third party: it seals for the meter, and some client carries; the fields of `[third_parties.NAME]`.

    `layers` names the key that messages are sealed under: `one-pass` or `static` in suites 1 and 2, `wrapped`
    under `kek` where the meter has the peer option `third_party_wrapped_key`.  `max_pdu` is the largest plain
    request, in octets.  `tls_key` and `tls_certificate` prove it to a head-end, which has the certificate
    `head_end`.
    """

    system_title: bytes
    layers: str
    kek: Secret | bytes | None = field(default=None, repr=False)
    signing_key: str | None = field(default=None, repr=False)
    signing_certificate: str | None = None
    agreement_key: str | None = field(default=None, repr=False)
    agreement_certificate: str | None = None
    counter_start: int | None = None
    max_pdu: int = 1024
    timeout: float = 60.0
    tls_key: str | None = field(default=None, repr=False)
    tls_certificate: str | None = None
    head_end: str | None = None
    peer: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if isinstance(self.kek, bytes):
            object.__setattr__(self, "kek", Secret(self.kek))

    def octets(self, name: str) -> bytes | None:
        """The octets of a key by its name."""
        value = getattr(self, name)
        return value.reveal() if isinstance(value, Secret) else value

    @property
    def title(self) -> bytes:
        """The system title."""
        return self.system_title


Party = RoleCredentials | ThirdPartyCredentials
"""Who has keys toward a meter."""
