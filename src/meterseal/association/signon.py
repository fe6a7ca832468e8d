"""Sign-on at the meter: the checks of an AARQ, in the order of the standard, one function each.

What depends only on the shape of the request is told by its diagnostic; what depends on a key,
secret, title, user or counter gets one answer: result 1, diagnostic 1, no user-information
(acse-xdlms 2.4, more 8; design 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import GeneratorType
from typing import NamedTuple, TypeAlias

from meterseal import apdu
from meterseal.apdu import acse
from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.initiate import DLMS_VERSION, ConfirmedServiceError, InitiateRequest
from meterseal.association.effects import made
from meterseal.association.profile import ServerProfile
from meterseal.association.returning import Heard, Told, comes_back
from meterseal.crypto import VerifyingKey, same
from meterseal.errors import AuthenticationFailed, Malformed, MetersealError, TooWeak, UnknownKey
from meterseal.security import AUTHENTICATED, ENCRYPTED, Context, Opened, Style, unprotect
from meterseal.security.initiates import is_sealed
from meterseal.security.steps import Steps

ACCEPTED, REJECTED = 0, 1
NULL, NO_REASON, CONTEXT_UNSUPPORTED, TITLE_MISSING = 0, 1, 2, 3
MECHANISM_UNKNOWN, MECHANISM_REQUIRED, AUTHENTICATION_REQUIRED = 11, 12, 14
NO_COMMON_ACSE_VERSION = 2
VERSION_TOO_LOW, INCOMPATIBLE_CONFORMANCE, SIZE_TOO_SHORT = 1, 2, 3
NOT_FINISHED = 1
"""Reason of an RLRE that does not release."""
RELEASE_REASONS = (None, 0, 1, 30)
"""Reasons of an RLRQ: left out, normal, urgent, user-defined."""

PROTECTED_REASONS = (None, 0)
"""Reasons where the Initiate inside is protected: the reason itself is not, and might be anybody's."""

SMALLEST_PDU, SMALLEST_CIPHERED_PDU = 12, 64


class Rejected(Exception):
    """An AARQ is refused: what the AARE says, and the cause for the journal."""

    def __init__(
        self,
        cause: MetersealError,
        *,
        user: int | None = NO_REASON,
        provider: int | None = None,
        initiate: int = 0,
    ) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.user = user if provider is None else None
        self.provider = provider
        self.initiate = initiate


Certified: TypeAlias = VerifyingKey | Rejected | None
"""The key that a sign-on is to be proved by, where it is by one, or why there is none."""


@dataclass(slots=True, eq=False)
class Request:
    """A sign-on being checked.

    `octets` are those that `aarq` was decoded from, `challenge` is its authentication value.  `context` is
    what the Initiate is opened with: the global keys, never a dedicated one.
    """

    profile: ServerProfile
    octets: bytes
    aarq: Aarq
    challenge: bytes | None
    context: Context
    user: int | None = None


class Proposal(NamedTuple):
    """A sign-on whose Initiate has been opened: what the client proposes, and how it came.

    `told` is the AARE of the same sign-on before.
    """

    request: Request
    opened: Opened
    initiate: InitiateRequest
    told: Told | None = None


class Before(NamedTuple):
    """What is kept of a sign-on that was accepted: as of `Request` and `Proposal`."""

    title: bytes
    aarq: Aarq
    opened: Opened
    initiate: InitiateRequest
    told: Told


def _protocol_version(request: Request) -> None:
    version = request.aarq.protocol_version
    if version is not None and not acse.has_first(version):
        raise Rejected(Malformed("ACSE protocol version 1 is not offered"), provider=NO_COMMON_ACSE_VERSION)


def _context_name(request: Request) -> None:
    wanted = acse.number_of(request.aarq.application_context_name, acse.OID_PREFIX)
    if wanted != request.profile.context_number:
        raise Rejected(
            Malformed(f"application context {wanted} is not this association's"), user=CONTEXT_UNSUPPORTED
        )


def _mechanism(request: Request) -> None:
    aarq, mine = request.aarq, request.profile.scheme
    if aarq.mechanism_name is None:
        if mine.passes:
            raise Rejected(
                AuthenticationFailed("no authentication mechanism is named"), user=MECHANISM_REQUIRED
            )
        return
    if acse.number_of(aarq.mechanism_name, acse.MECHANISM_PREFIX) != mine.number:
        raise Rejected(
            AuthenticationFailed("another authentication mechanism is named"), user=MECHANISM_UNKNOWN
        )
    if mine.passes and aarq.sender_acse_requirements != acse.AUTHENTICATION_UNIT:
        raise Rejected(
            AuthenticationFailed("the authentication unit is not asked for"), user=MECHANISM_REQUIRED
        )


def _title(request: Request) -> None:
    profile, title = request.profile, request.aarq.calling_ap_title
    if not profile.with_titles:
        return
    if title is None or len(title) != 8:
        raise Rejected(Malformed("no client system title of 8 octets"), user=TITLE_MISSING)
    if title == profile.setup.own_title:
        raise Rejected(AuthenticationFailed("the client gives the meter's own system title"))
    if profile.setup.peer_title is not None and title != profile.setup.peer_title:
        raise Rejected(AuthenticationFailed("the client system title is not the one of this Security setup"))
    request.context.peer_title = title


def _user(request: Request) -> None:
    users, user = request.profile.users(), request.aarq.calling_ae_invocation_id
    if users:
        if user not in users:
            raise Rejected(AuthenticationFailed(f"user id {user} is not in the user list"))
        request.user = user


def open_initiate(request: Request) -> Proposal:
    """Decipher and decode the Initiate in user-information.  Raises Rejected."""
    octets, profile = request.aarq.user_information, request.profile
    if not octets:
        raise Rejected(Malformed("no user-information"))
    try:
        if is_sealed(octets):
            if not profile.ciphered:
                raise Malformed("a ciphered Initiate in a context without ciphering")
            # The broadcast key does not open an Initiate: `unprotect` sees to that.
            opened = unprotect(request.context, octets)
        else:
            opened = Opened(octets, 0, Style.PLAIN)
        required = profile.setup.asks_of_request & (AUTHENTICATED | ENCRYPTED) if profile.ciphered else 0
        if required & ~opened.applied:
            raise TooWeak("the Initiate carries less protection than the policy asks for")
        message = apdu.decode(opened.apdu)
        if not isinstance(message, InitiateRequest):
            raise Malformed(f"user-information holds a {message.name}")
    except MetersealError as error:
        raise Rejected(error) from error
    return Proposal(request, opened, message)


def _initiate(proposal: Proposal) -> None:
    initiate, profile = proposal.initiate, proposal.request.profile
    if initiate.proposed_dlms_version_number < DLMS_VERSION:
        raise Rejected(Malformed("DLMS version below 6"), initiate=VERSION_TOO_LOW)
    if not initiate.proposed_conformance & profile.conformance:
        raise Rejected(Malformed("no service in common"), initiate=INCOMPATIBLE_CONFORMANCE)
    smallest = SMALLEST_CIPHERED_PDU if profile.ciphered else SMALLEST_PDU
    if initiate.client_max_receive_pdu_size and initiate.client_max_receive_pdu_size < smallest:
        raise Rejected(Malformed(f"client max PDU size below {smallest}"), initiate=SIZE_TOO_SHORT)


def _dedicated_key(proposal: Proposal) -> None:
    octets = proposal.initiate.dedicated_key
    if octets is None:
        return
    if (AUTHENTICATED | ENCRYPTED) & ~proposal.opened.applied:
        raise Rejected(TooWeak("a dedicated key in an Initiate that is not authenticated and encrypted"))
    try:
        key = proposal.request.context.set_dedicated(octets)
    except MetersealError as error:
        raise Rejected(error) from error
    if key.handle.kcv in proposal.request.profile.dedicated_before:
        # Its counters would start again, and so would its key stream.
        raise Rejected(UnknownKey("the dedicated key was used in an earlier association"))


def _challenge_or_password(proposal: Proposal) -> None:
    profile, value = proposal.request.profile, proposal.request.challenge
    if not profile.scheme.passes:
        return
    if value is None:
        raise Rejected(AuthenticationFailed("no authentication value"), user=AUTHENTICATION_REQUIRED)
    if profile.scheme.passes == 1:
        if not same(value, profile.secret()):
            raise Rejected(AuthenticationFailed("the password is wrong"))
        return
    if len(value) not in profile.scheme.challenges:
        raise Rejected(AuthenticationFailed(f"a challenge of {len(value)} octets"))
    if value in profile.recent:
        raise Rejected(AuthenticationFailed("the client repeats an earlier challenge"))
    profile.recent.append(value)


def certified(request: Request) -> Certified | Steps[Certified]:
    """The client's signature key, known before or in a certificate sent along; None where none signs.

    Last of all checks, because it may cost several signatures: whoever has no keys does not get this far.
    """
    if not request.profile.scheme.needs_keys:
        return None
    title, sent = request.context.peer_title or b"", request.aarq.calling_ae_qualifier
    try:
        found = request.profile.setup.introduced(title, sent)
    except MetersealError as error:
        return Rejected(error)
    return _certifying(found) if isinstance(found, GeneratorType) else found


def _certifying(steps: Steps[VerifyingKey]) -> Steps[Certified]:
    try:
        return (yield from steps)
    except MetersealError as error:
        return Rejected(error)


def returning(profile: ServerProfile, octets: bytes, fresh: Callable[[bytes], Context]) -> Proposal | None:
    """The proposal of an AARQ that was accepted before, but for its challenge; None for every other.

    `fresh` gives a context with a peer.  What lists and people decide is asked as by the checks; where it
    would be refused it is left to them, with nothing changed.
    """
    found = profile.known.find(octets)
    if found is None:
        return None
    (challenge, counter, key), (title, aarq, opened, initiate, told) = found
    user, users = aarq.calling_ae_invocation_id, profile.users()
    if challenge in profile.recent or (users and user not in users):
        return None
    key.rx.commit(counter)
    profile.recent.append(challenge)
    request = Request(profile, octets, aarq, challenge, fresh(title), user if users else None)
    return made(Proposal, (request, opened, initiate, told))


def remember(proposal: Proposal, answer: bytes, plain: bytes) -> None:
    """Keep what was accepted, with the AARE and the Initiate in it, where it may come back."""
    request, opened, profile = proposal.request, proposal.opened, proposal.request.profile
    setup, context = profile.setup, request.context
    title, packed = context.peer_title, context.compression is not None
    challenged = profile.scheme.passes == 4 and proposal.initiate.dedicated_key is None
    if title is None or not challenged or not comes_back(opened.applied, opened.style, packed):
        return
    heard = Heard(setup, request.octets, Aarq, opened.apdu, title)
    told = Told(setup, answer, Aare, plain, setup.own_title)
    profile.known.keep(heard, Before(title, request.aarq, opened, proposal.initiate, told))


BEFORE: tuple[Callable[[Request], None], ...] = (
    _protocol_version,
    _context_name,
    _mechanism,
    _title,
    _user,
)
"""The checks before the Initiate is opened, in their order; each raises Rejected."""

AFTER: tuple[Callable[[Proposal], None], ...] = (
    _initiate,
    _dedicated_key,
    _challenge_or_password,
)
"""The checks of what the client proposes, in their order; each raises Rejected.  `certified` follows."""


def initiate_error(reason: int) -> bytes:
    """confirmedServiceError of an Initiate: class 6 initiate, with the reason."""
    return ConfirmedServiceError(1, 6, reason).encode()
