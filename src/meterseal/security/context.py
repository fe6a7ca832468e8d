"""Security setups and contexts: which keys, titles, counters and policy a message is held against.

A `SecuritySetup` mirrors one Security setup object (class 64) at either end and is shared by
every association that refers to it; a `Context` adds what one association has of its own: the
peer's title, the dedicated key, the least protection it accepts (security 2, 8, 9, 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import GeneratorType
from typing import TypeVar

from meterseal.apdu.ciphered import GLOBAL
from meterseal.crypto import (
    AgreementKey,
    AgreementPoint,
    GcmKey,
    SigningKey,
    Suite,
    VerifyingKey,
    WrappingKey,
    is_blank,
)
from meterseal.crypto.v44 import LIMIT, Parameters
from meterseal.errors import KeyLength, UnknownKey
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.keys.exchanges import Exchanges
from meterseal.keys.introduced import Introduced
from meterseal.security import protection
from meterseal.security.changes import Changes
from meterseal.security.directory import Directory, KnownKeys
from meterseal.security.steps import Steps


@dataclass(slots=True, eq=False)
class Counted:
    """Two counters: ours for sending, the peer's for receiving.

    Whoever makes one keeps the counters on disk under `key_id`: the sending counter is reserved
    ahead, the receiving one noted at the moments that the design names.
    """

    tx: SendCounter
    rx: ReceiveCounter
    key_id: str = ""


class KeyInUse(Counted):
    """A key handle with its counters."""

    __slots__ = ("handle",)

    def __init__(self, handle: GcmKey, tx: SendCounter, rx: ReceiveCounter, key_id: str = "") -> None:
        super().__init__(tx, rx, key_id)
        self.handle = handle


def _own_space() -> Counted:
    return Counted(SendCounter.unlimited(), ReceiveCounter())


@dataclass(slots=True, eq=False)
class SecuritySetup:
    """The security of one role: suite, policy (class 64 version 1 bits), titles and keys.

    `peer_title` None means that it is learned at sign-on.  `broadcast` is the GBEK in use, for
    receiving only; `master` unwraps what key_transfer brings.  In suites 1 and 2 `signing` and
    `agreement` are this end's own private keys, `certificate` (DER) goes along at a sign-on by
    signature, and `directory` has the public keys of others.  `fresh` counts what goes and
    comes under keys made for one message: it outlives every key.  `exchanges` is what came without
    a counter that orders it.  `asks_of_request` and `asks_of_response` are what the policy asks of
    either.  Whatever is set here is noted in `changes`.
    """

    suite: Suite
    own_title: bytes
    peer_title: bytes | None = None
    policy: int = 0
    asks_of_request: int = field(init=False, repr=False)
    asks_of_response: int = field(init=False, repr=False)
    unicast: KeyInUse | None = None
    broadcast: KeyInUse | None = None
    master: WrappingKey | None = None
    signing: SigningKey | None = None
    agreement: AgreementKey | None = None
    certificate: bytes | None = None
    directory: Directory = field(default_factory=KnownKeys)
    fresh: Counted = field(default_factory=_own_space)
    exchanges: Exchanges = field(default_factory=Exchanges)
    changes: Changes = field(default_factory=Changes)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name == "policy":
            object.__setattr__(self, "asks_of_request", protection.of_request(self.policy))
            object.__setattr__(self, "asks_of_response", protection.of_response(self.policy))
        changes: Changes | None = getattr(self, "changes", None)
        if changes is not None:  # it is the last field to be there
            changes.note()

    def signing_key(self) -> SigningKey:
        """This end's digital signature key.  Raises UnknownKey when none is set."""
        if self.signing is None:
            raise UnknownKey("this end has no digital signature key")
        return self.signing

    def agreement_key(self) -> AgreementKey:
        """This end's static key agreement key.  Raises UnknownKey when none is set."""
        if self.agreement is None:
            raise UnknownKey("this end has no key agreement key")
        return self.agreement

    def verifying_key(self, title: bytes) -> VerifyingKey:
        """The signature key of another party.  Raises UnknownKey, CertificateRefused."""
        return _of_suite(self.directory.verifying_key(title), self.suite)

    def introduced(self, title: bytes, certificate: bytes | None) -> VerifyingKey | Steps[VerifyingKey]:
        """The same at a sign-on, where a new `certificate` (DER) takes curve work: then the steps."""
        found = self.directory.introduced(title, certificate)
        if isinstance(found, GeneratorType):
            return self._introduced(found)
        return _of_suite(found, self.suite)  # type: ignore[type-var]  # a cast would be a call

    def _introduced(self, steps: Steps[VerifyingKey]) -> Steps[VerifyingKey]:
        return _of_suite((yield from steps), self.suite)

    def agreement_point(self, title: bytes) -> AgreementPoint:
        """The static key agreement key of another party.  Raises UnknownKey, CertificateRefused."""
        return _of_suite(self.directory.agreement_point(title), self.suite)

    def key(self) -> KeyInUse:
        """The global unicast key.  Raises UnknownKey when none is set."""
        if self.unicast is None:
            raise UnknownKey("no global unicast encryption key (GUEK) is set")
        return self.unicast


CurveKey = TypeVar("CurveKey", SigningKey, AgreementKey, VerifyingKey, AgreementPoint)


def _of_suite(key: CurveKey, suite: Suite) -> CurveKey:
    """The key, which must be on the curve of the suite (D20)."""
    if key.curve.name != suite.curve:
        raise UnknownKey(f"a key on {key.curve.name}: suite {suite.id} has {suite.curve or 'no curve'}")
    return key


@dataclass(slots=True, eq=False)
class Context:
    """What one association holds every message against.

    `minimum` is the least protection of a received message whose tag is to be trusted at all;
    `general` says whether general protection was negotiated.  `serving` is True at the meter:
    only a server takes broadcast keys, and only a client expects answers.  `window` is how far
    counters may come out of order: 0 on a stream, `keys.counters.WINDOW` for datagrams.  `options`
    are the peer options in force, `compression` the V.44 parameters where compression is on, `limit`
    how many octets a decompressed APDU has at most.  `parties` are, at the meter, the third parties by
    system title; `carrying` is True at a client, which hands on what is sealed for others.  `introduced` is,
    from a sign-on by signature to its proof, the key that the peer has to prove.
    """

    setup: SecuritySetup
    peer_title: bytes | None = None
    dedicated: KeyInUse | None = None
    minimum: int = protection.NONE
    general: bool = False
    serving: bool = False
    exclusive_dedicated: bool = field(default=False)
    window: int = 0
    options: frozenset[str] = frozenset()
    compression: Parameters | None = None
    limit: int = LIMIT
    parties: Mapping[bytes, Context] = field(default_factory=dict)
    carrying: bool = False
    introduced: VerifyingKey | None = None

    def verifying_key(self, title: bytes) -> VerifyingKey:
        """The signature key of another party; before the proof that of the peer is the one it came with."""
        if self.introduced is not None and title == self.peer_title:
            return self.introduced
        return self.setup.verifying_key(title)

    def proved(self) -> None:
        """The peer has proved to have its signature key: what it came along in is held from now on.

        Raises CertificateRefused, StateUnavailable.
        """
        key, self.introduced = self.introduced, None
        if isinstance(key, Introduced):
            key.hold()

    def sending_key(self, key_set: str) -> KeyInUse:
        """The key that a message of this key set goes out under.  Raises UnknownKey."""
        if key_set is GLOBAL:
            return self.setup.key()
        if self.dedicated is None:
            raise UnknownKey("no dedicated key has been agreed in this association")
        return self.dedicated

    def receiving_key(self, key_set: str, broadcast: bool) -> KeyInUse:
        """The key that a received message asks for.  Raises UnknownKey."""
        if broadcast:
            if self.setup.broadcast is None:
                raise UnknownKey("no broadcast encryption key (GBEK) is set")
            return self.setup.broadcast
        if key_set is GLOBAL and self.exclusive_dedicated:
            raise UnknownKey("a dedicated key has been agreed: the global key is not for this association")
        return self.sending_key(key_set)

    def set_dedicated(self, octets: bytes) -> KeyInUse:
        """Take the dedicated key of an InitiateRequest into use, beside the GAK of the setup; return it.

        Raises KeyLength when it does not fit the suite, UnknownKey when it is the global key or all zeros.
        """
        if len(octets) != self.setup.suite.key_length:
            raise KeyLength(
                f"a dedicated key of {len(octets)} octets, the suite has {self.setup.suite.key_length}"
            )
        shared = self.setup.key().handle
        if shared.holds(octets):
            raise UnknownKey("the dedicated key is the global key")
        if is_blank(octets):
            raise UnknownKey("the dedicated key is all zeros: nobody has drawn it")
        self.dedicated = KeyInUse(shared.with_key(octets), SendCounter.unlimited(), ReceiveCounter())
        return self.dedicated

    def drop_dedicated(self) -> None:
        """Destroy the dedicated key; nothing opens or closes under it any more."""
        if self.dedicated is not None:
            self.dedicated.handle.destroy()
        self.dedicated = None
        self.exclusive_dedicated = False
