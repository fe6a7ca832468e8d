"""Profiles: what one end of an association is configured to be and to accept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from meterseal.apdu.initiate import CONFORMANCE_BITS
from meterseal.association.operations import Named, View
from meterseal.association.returning import Known
from meterseal.association.transfer import LARGEST
from meterseal.crypto.v44 import LIMIT, Parameters
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Context, SecuritySetup
from meterseal.security.hls import MECHANISMS, Manufacturer, Mechanism


def conformance(*names: str) -> int:
    """The 24-bit conformance block with these services."""
    return sum(CONFORMANCE_BITS[name] for name in names)


DEFAULT_CONFORMANCE = conformance(
    "general-protection",
    "block-transfer-with-get-or-read",
    "block-transfer-with-set-or-write",
    "block-transfer-with-action",
    "multiple-references",
    "data-notification",
    "access",
    "get",
    "set",
    "selective-access",
    "action",
)

BLOCKS = conformance("general-block-transfer")
EVENTS = conformance("event-notification")
PREFERS_BLOCKS = "prefers_gbt"
"""The peer option: long APDUs go to this peer by general block transfer, whoever began."""

SERVER_CONFORMANCE = DEFAULT_CONFORMANCE | BLOCKS
"""What a meter offers: blocks in every form, so that a client finds the one it knows."""

RING = 64
T = TypeVar("T", bound=Hashable)


class Ring(dict[T, None]):
    """The latest values of one kind, so many that none is looked for one by one; the oldest goes first."""

    maxlen: Final = RING

    def append(self, value: T) -> None:
        """Add one, as the latest."""
        self.pop(value, None)
        if len(self) >= RING:
            del self[next(iter(self))]
        self[value] = None


@dataclass(slots=True, eq=False, kw_only=True)
class Profile:
    """What client and meter have in common: SAPs, security, mechanism, services, sizes.

    `compression` are the V.44 parameters where compression is on: both ends are told the same.  `window` is
    how many blocks of a general block transfer this end takes before it acknowledges (1 to 63),
    `reassembly_limit` how many octets of a transfer it keeps.

    What follows from these is told once: `scheme` is the row of the mechanism, `context_number` the
    application context with logical names (3 with ciphering, 1 without), and `with_titles` says that both
    sides have to give their system title at sign-on.

    Whatever is set here is noted in the changes of the setup.
    """

    client_sap: int
    server_sap: int
    setup: SecuritySetup
    mechanism: int = 0
    ciphered: bool = False
    manufacturer: Manufacturer | None = None
    conformance: int = DEFAULT_CONFORMANCE
    max_pdu: int = 4096
    options: frozenset[str] = frozenset()
    compression: Parameters | None = None
    window: int = 8
    reassembly_limit: int = 1 << 16
    scheme: Mechanism = field(init=False, repr=False)
    context_number: int = field(init=False, repr=False)
    with_titles: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.scheme = MECHANISMS[self.mechanism]
        self.context_number = 3 if self.ciphered else 1
        self.with_titles = self.ciphered or self.scheme.needs_titles

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        setup: SecuritySetup | None = getattr(self, "setup", None)
        if setup is not None:
            setup.changes.note()

    def context(
        self,
        peer_title: bytes | None,
        minimum: int = 0,
        serving: bool = False,
        window: int = 0,
        parties: Mapping[bytes, Context] | None = None,
    ) -> Context:
        """A context under this profile's setup, options and limits, that takes general protection."""
        limit, parties = self.max_pdu or LIMIT, {} if parties is None else parties
        # By place, for each sign-on makes several; without a dedicated key.
        return Context(
            self.setup, peer_title, None, minimum, True, serving, False, window,
            self.options, self.compression, limit, parties,
        )  # fmt: skip

    @property
    def waived(self) -> int:
        """Protection of a request that its answer need not have: the signature, of peers that sign none."""
        return SIGNED if "unsigned_answers" in self.options else 0


@dataclass(slots=True, eq=False, kw_only=True)
class ThirdParty:
    """Somebody who asks through the clients of a meter: title and keys in `setup`, what it may do in `view`.

    `extra` are rights that the association has only when it carries for this one.  No authentication key
    stands beside the keys of its messages: that one is the clients'.
    """

    name: str
    setup: SecuritySetup
    view: View
    extra: View | None = None
    options: frozenset[str] = frozenset()

    def context(self, window: int) -> Context:
        """What its messages are held against, `window` as in `Context`."""
        return Context(
            self.setup, self.setup.peer_title, minimum=AUTHENTICATED | ENCRYPTED, general=True, serving=True,
            window=window, options=self.options | {"ak_in_use"},
        )  # fmt: skip


@dataclass(slots=True, eq=False, kw_only=True)
class ServerProfile(Profile):
    """One association that a meter offers, named by (client SAP, server SAP).

    `secret` and `users` are asked at each sign-on, so that methods may change them.  `pre_established`
    associations need no AARQ and take no ACSE.  `recent` remembers the latest client challenges,
    `dedicated_before` the check values of the latest dedicated keys: both start their counters anew, so
    neither may come twice.  `known` remembers who signed on before (returning.py).  `third_parties` by
    system title may speak through this association's client.  `group` are rights on operations
    (`operations.named`) that hold only under the broadcast key.
    """

    view: View
    secret: Callable[[], bytes] = bytes
    users: Callable[[], Mapping[int, str]] = dict
    conformance: int = SERVER_CONFORMANCE
    report_counter: bool = True
    single: bool = False
    pre_established: bool = False
    recent: Ring[bytes] = field(default_factory=Ring)
    dedicated_before: Ring[str] = field(default_factory=Ring)
    known: Known[Any] = field(default_factory=Known)
    third_parties: Mapping[bytes, ThirdParty] = field(default_factory=dict)
    group: Mapping[Named, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False, kw_only=True)
class ClientProfile(Profile):
    """One association that a client asks for.

    `setup.policy` is the least that requests carry and responses must carry.  `general` sends
    general-glo instead of the service-specific forms; `dedicated_key` is sent in the
    InitiateRequest and used from then on, for one association only; `layers` names the key with which
    general-ciphering takes the place of all these (a row of `security.keyforms`); `user` goes into
    calling-AE-invocation-id.  `datagrams`: the line may lose, repeat and reorder, and strangers can
    write on it.  `around`: octets of every APDU's size, both ways, that are for what a line puts around it
    (a gateway prefix, more 1).  `events` is called with each EventNotification, and asks for them.
    `signs_proof`: pass 3 is signed beyond the policy, as single requests may be.
    """

    secret: bytes = field(default=b"", repr=False)
    reassembly_limit: int = 1 << 22
    general: bool = False
    layers: str = ""
    dedicated_key: bytes | None = field(default=None, repr=False)
    user: int | None = None
    datagrams: bool = False
    around: int = 0
    events: Callable[[Any], None] | None = None
    signs_proof: bool = False

    def within(self, size: int) -> int:
        """What is left of a largest APDU for the APDU itself; with nothing around it 0 stands for no limit.

        Where something is, no limit (0) is what a line carries whole.
        """
        return max(1, (size or LARGEST) - self.around) if self.around else size

    @property
    def proposed(self) -> int:
        """The conformance block that is asked for: blocks where they are preferred, events where wanted."""
        wanted = self.conformance | (BLOCKS if PREFERS_BLOCKS in self.options else 0)
        return wanted | (EVENTS if self.events is not None else 0)
