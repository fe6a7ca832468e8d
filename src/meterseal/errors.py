"""Errors: one tree of exceptions; the class says whose fault it is and what goes on the wire.

Every exception of the package derives from `MetersealError` and carries

* `kind`: its stable name in machine-readable output (design: truncated, malformed, ...),
* `blame`: who has to act: the peer, the caller, this machine, or nobody (time),
* `wire`: the (state-error, service-error) pair of the exception-response that a server
  answers with, or None where the answer has another form (fact sheet acse-xdlms 4).

The text names the cause precisely and never holds key octets or unverified plaintext.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Blame(Enum):
    """Who has to act so that the error goes away."""

    PEER = "peer"
    CALLER = "caller"
    MACHINE = "machine"
    NOBODY = "nobody"


class MetersealError(Exception):
    """Root of all errors of this package."""

    kind: ClassVar[str] = "error"
    blame: ClassVar[Blame] = Blame.MACHINE
    wire: ClassVar[tuple[int, int] | None] = None


# --- what arrived cannot be read ------------------------------------------------------------


class DecodeError(MetersealError):
    """Octets that are not what the standard says they should be."""

    kind = "malformed"
    blame = Blame.PEER
    wire = (1, 1)


class Truncated(DecodeError):
    """The octets end before the value does."""

    kind = "truncated"


class Malformed(DecodeError):
    """A value outside its definition, an unknown choice, or octets left over."""

    kind = "malformed"


class TooDeep(DecodeError):
    """Nesting deeper than the decoder's limit."""

    kind = "too-deep"


class TooLarge(DecodeError):
    """A count, length or amount of work above the decoder's limit."""

    kind = "too-large"
    wire = (1, 4)


class Unsupported(MetersealError):
    """Well-formed, but this end does not do it (or it was not negotiated)."""

    kind = "unsupported"
    blame = Blame.PEER
    wire = (1, 2)


# --- protection -----------------------------------------------------------------------------


class ProtectionError(MetersealError):
    """A message whose protection does not hold."""

    kind = "forged"
    blame = Blame.PEER
    wire = (1, 5)


class Forged(ProtectionError):
    """The authentication tag (or signature, or key wrap) does not verify."""

    kind = "forged"


class UnknownKey(ProtectionError):
    """The key that the message asks for is not held here."""

    kind = "unknown-key"


class Compromised(UnknownKey):
    """A key that is marked compromised: it brings in its successor, and serves nothing else."""

    kind = "compromised"
    blame = Blame.CALLER


class KeyLength(ProtectionError):
    """A key whose length does not fit the security suite."""

    kind = "key-length"


class TooWeak(ProtectionError):
    """Less protection than policy, access right or the caller asks for."""

    kind = "too-weak"


class CertificateRefused(ProtectionError):
    """A certificate outside the profile, out of date, or without a way to a trust anchor."""

    kind = "certificate"


class Replayed(ProtectionError):
    """An invocation counter below the lowest acceptable value, or an exchange that has come before.

    `lowest_acceptable` is the value that the next message must reach; None where no counter helps.
    """

    kind = "replayed"
    wire = (1, 6)

    def __init__(self, message: str, lowest_acceptable: int | None) -> None:
        super().__init__(message)
        self.lowest_acceptable = lowest_acceptable


class Altered(Forged):
    """What a carrier brings is not as the meter sealed it."""

    kind = "altered"


class Moved(Forged):
    """What a carrier brings was sealed by, or for, somebody else than the exchange is with."""

    kind = "moved"


# --- the conversation -----------------------------------------------------------------------


class PeerError(MetersealError):
    """The peer does not keep to the conversation."""

    kind = "protocol"
    blame = Blame.PEER
    wire = (1, 1)


class ProtocolViolation(PeerError):
    """An answer that fits no request, or a message that the state does not allow."""

    kind = "protocol"


class AuthenticationFailed(PeerError):
    """The peer did not prove who it is."""

    kind = "authentication-failed"


class Refused(PeerError):
    """The peer said no; `reason` is the wire's own word for it.

    `code` is the number behind the reason; `source` names the field that carried it
    ("data-access-result", "action-result", "association-result", "exception-response",
    "confirmed-service-error"); `authenticated` is False when the refusal itself came
    unprotected inside a protected association and is therefore only a hint.
    """

    kind = "refused"

    def __init__(
        self, message: str, *, reason: str, code: int, source: str, authenticated: bool = True
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.source = source
        self.authenticated = authenticated


class Reordered(PeerError):
    """A carrier brings the genuine answer to another request, or one that comes too late."""

    kind = "reordered"


class TimedOut(MetersealError):
    """The time allowed for an answer or a whole message has passed."""

    kind = "timed-out"
    blame = Blame.NOBODY


class Withheld(TimedOut):
    """No sealed answer came through a carrier; whether the meter had the request, nobody can tell."""

    kind = "withheld"


class ConnectionLost(MetersealError):
    """The line closed, or never opened."""

    kind = "connection-lost"
    blame = Blame.NOBODY


# --- this end -------------------------------------------------------------------------------


class LocalError(MetersealError):
    """Something at this end has to be put right before going on."""

    kind = "local"
    blame = Blame.CALLER


class Misuse(LocalError):
    """A call that the present state, or the value's type, does not allow."""

    kind = "misuse"


class ConfigurationError(LocalError):
    """A credentials, configuration or option value that cannot be used; the text names where."""

    kind = "configuration"


class Expired(LocalError):
    """Keys that were lent, past the end that whoever gave them out has set."""

    kind = "expired"


class NotAllowed(LocalError):
    """Whoever acts is not enrolled, or has no duty that this belongs to."""

    kind = "not-allowed"


class NotApproved(LocalError):
    """What takes two people has no approval that counts: none, a stale, another's or a used one."""

    kind = "not-approved"


class CounterUnknown(LocalError):
    """First use of a key, and nothing says where its invocation counter stands."""

    kind = "counter-unknown"


class CountersNeeded(LocalError):
    """The reserved block of invocation counters is used up; the next one must be reserved first."""

    kind = "counters-needed"


class CounterExhausted(LocalError):
    """The invocation counter of a key has reached its end; only a new key helps."""

    kind = "counter-exhausted"


class StateDamaged(LocalError):
    """Stored counters or keys that cannot be trusted; the text says how to mend them."""

    kind = "state-damaged"
    blame = Blame.MACHINE


class StateLocked(LocalError):
    """Another process is using the state folder; the text names both."""

    kind = "state-locked"


class StateUnavailable(LocalError):
    """State could not be written or read (disk full, read-only); what was stored before still holds."""

    kind = "state-unavailable"
    blame = Blame.MACHINE


class HsmUnavailable(LocalError):
    """The HSM that holds a key cannot be reached, or lost its session twice; no key leaves it instead."""

    kind = "hsm-unavailable"
    blame = Blame.MACHINE
