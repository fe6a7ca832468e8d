"""Opening an association from the client's side: what is asked for, and what may come back.

Builds the AARQ, holds the AARE against it (context, mechanism, titles, challenge, protection,
conformance), and makes and checks the proofs of passes 3 and 4 (acse-xdlms 2, security 11).
"""

from __future__ import annotations

from typing import NamedTuple

from meterseal import apdu
from meterseal.apdu import acse
from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.initiate import (
    DLMS_VERSION,
    INITIATE_ERROR,
    ConfirmedServiceError,
    InitiateRequest,
    InitiateResponse,
)
from meterseal.association.profile import ClientProfile
from meterseal.association.returning import Heard, Told, comes_back
from meterseal.crypto import VerifyingKey
from meterseal.errors import (
    AuthenticationFailed,
    Malformed,
    MetersealError,
    Misuse,
    ProtocolViolation,
    Refused,
    TooWeak,
)
from meterseal.security import AUTHENTICATED, ENCRYPTED, Context, Handshake, Opened, Style, protect, unprotect
from meterseal.security.hls import SHARES
from meterseal.security.initiates import is_sealed
from meterseal.security.protection import text
from meterseal.security.steps import Steps

SUITE_BITS = AUTHENTICATED | ENCRYPTED
_CHALLENGED = 14
_NO_REASON = 1
_MAY_BE = " (keys, password, title, client, user or counter: it does not say which)"
"""What may be behind a meter's one answer to all that a stranger could try out."""


class Accepted(NamedTuple):
    """What an AARE that passed its checks brings; `challenged` when passes 3 and 4 follow.

    `negotiated` are the services, `max_pdu` what the meter takes at once, `certificate` is what it sent
    along of itself.
    """

    negotiated: int
    max_pdu: int
    server_title: bytes | None
    challenged: bool
    certificate: bytes | None = None


class Opening:
    """The sign-ons of one association of a client: what was said at one is not worked out for the next."""

    handshake: Handshake  # of the latest one, as all of these
    server_title: bytes | None
    _initiates: Context | None
    answer_minimum: int
    response_minimum: int
    request_protection: int

    def __init__(self, profile: ClientProfile) -> None:
        self.profile = profile
        self._number = -1  # none: nothing has been worked out
        self._told: Told | None = None
        self._heard: tuple[Heard, Accepted] | None = None

    def begin(self, challenge: bytes) -> None:
        """The next sign-on, with its challenge (of the mechanism's length).

        Raises Misuse for another, UnknownKey where the mechanism signs and this end has no key for it;
        nothing has begun then.
        """
        profile = self.profile
        setup, scheme = profile.setup, profile.scheme
        lengths = scheme.challenges
        if scheme.passes == 4 and len(challenge) not in lengths:
            raise Misuse(f"a challenge has {lengths[0]} to {lengths[-1]} octets")
        if profile.dedicated_key is not None and not profile.ciphered:
            raise Misuse("a dedicated key needs a context with ciphering")
        if scheme.needs_keys:
            setup.signing_key()  # without one there is nothing to sign on with
        secret, shares = profile.secret, SHARES in profile.options
        self.handshake = Handshake(
            setup, setup.own_title, b"", challenge, b"", secret, profile.manufacturer, shares
        )
        self.server_title = setup.peer_title
        self._initiates = None
        if self._number != setup.changes.number:
            self._number = setup.changes.number
            self._told = self._heard = None
            self._take_terms()

    def _take_terms(self) -> None:
        profile = self.profile
        setup, ciphered = profile.setup, profile.ciphered
        request, response = (setup.asks_of_request, setup.asks_of_response) if ciphered else (0, 0)
        self.answer_minimum = response & ~profile.waived
        self.response_minimum = response & SUITE_BITS
        # A dedicated key travels authenticated and encrypted, or not at all.
        self.request_protection = SUITE_BITS if profile.dedicated_key else request & SUITE_BITS

    @property
    def initiates(self) -> Context:
        """What the Initiates of this sign-on are protected and opened with."""
        if self._initiates is None:
            self._initiates = self.context()
        return self._initiates

    def context(self) -> Context:
        """What Initiates are protected and opened with: the global keys."""
        return self.profile.context(self.server_title, self.response_minimum)

    def aarq(self) -> bytes:
        """The AARQ; takes one counter when the Initiate is protected."""
        challenge = self.handshake.own_challenge
        octets = None if self._told is None else self._told.again(challenge)
        if octets is not None:
            return octets
        profile, setup, scheme = self.profile, self.profile.setup, self.profile.scheme
        plain = self._plain_initiate()
        octets = Aarq(
            application_context_name=acse.context_name(profile.context_number),
            calling_ap_title=setup.own_title if profile.with_titles else None,
            calling_ae_qualifier=setup.certificate if scheme.needs_keys else None,
            calling_ae_invocation_id=profile.user,
            sender_acse_requirements=acse.AUTHENTICATION_UNIT if scheme.passes else None,
            mechanism_name=acse.mechanism_name(scheme.number) if scheme.passes else None,
            calling_authentication_value={0: None, 1: profile.secret, 4: challenge}[scheme.passes],
            user_information=self._protected(plain),
        ).encode()
        if self._comes_back(self.request_protection, self._style):
            self._told = Told(setup, octets, Aarq, plain, setup.own_title)
        return octets

    def _comes_back(self, applied: int, style: Style) -> bool:
        profile = self.profile
        challenged = profile.scheme.passes == 4 and profile.dedicated_key is None
        return challenged and comes_back(applied, style, profile.compression is not None)

    def initiate(self) -> bytes:
        """The InitiateRequest, protected as the policy asks; the RLRQ repeats it."""
        return self._protected(self._plain_initiate())

    def _plain_initiate(self) -> bytes:
        profile = self.profile
        size = profile.within(profile.max_pdu)
        return InitiateRequest(
            profile.dedicated_key, True, None, DLMS_VERSION, profile.proposed, size
        ).encode()

    @property
    def _style(self) -> Style:
        return Style.GENERAL_GLO if self.profile.general else Style.GLO

    def _protected(self, octets: bytes) -> bytes:
        if not self.request_protection:
            return octets
        return protect(self.initiates, octets, self.request_protection, self._style)

    # --- the answer -------------------------------------------------------------------------

    def known(self, octets: bytes) -> Accepted | None:
        """What an AARE brings that was accepted before, but for its challenge; None for every other."""
        heard = self._heard
        found = None if heard is None else heard[0].again(octets)
        if heard is None or found is None:
            return None
        accepted, (challenge, counter, key) = heard[1], found
        if challenge == self.handshake.own_challenge:
            return None  # which is refused, with a name
        key.rx.commit(counter)
        self.handshake.peer_challenge = challenge
        self._is_title(accepted.server_title or b"")
        return accepted

    def accept(self, aare: Aare, octets: bytes) -> Accepted:
        """Hold an AARE, and the octets that it was decoded from, against what was asked for.

        Raises Refused when the meter says no, AuthenticationFailed, ProtocolViolation or TooWeak
        when it says yes to something else.
        """
        if aare.result != 0:
            raise self._refusal(aare)
        if aare.application_context_name != acse.context_name(self.profile.context_number):
            raise ProtocolViolation("the AARE names another application context than was asked for")
        if self.profile.with_titles:
            self._take_title(aare.responding_ap_title)
        challenged = self._mechanism(aare)
        opened, initiate = self._open_initiate(aare.user_information)
        if initiate.negotiated_dlms_version_number != DLMS_VERSION:
            raise ProtocolViolation(f"DLMS version {initiate.negotiated_dlms_version_number}")
        negotiated = initiate.negotiated_conformance & self.profile.proposed  # more is no promise of ours
        if not negotiated:
            raise ProtocolViolation("the meter negotiates none of the services that were proposed")
        max_pdu = self.profile.within(initiate.server_max_receive_pdu_size)
        certificate = aare.responding_ae_qualifier
        accepted = Accepted(negotiated, max_pdu, self.server_title, challenged, certificate)
        if self.server_title is not None and self._comes_back(opened.applied, opened.style):
            heard = Heard(self.profile.setup, octets, Aare, opened.apdu, self.server_title)
            self._heard = heard, accepted
        return accepted

    def _take_title(self, title: bytes | None) -> None:
        if title is None or len(title) != 8:
            raise ProtocolViolation("the AARE gives no system title of 8 octets")
        if title == self.profile.setup.own_title:
            raise AuthenticationFailed("the meter gives the client's own system title back")
        if self.server_title is not None and title != self.server_title:
            raise AuthenticationFailed(
                f"the meter gives the system title {title.hex().upper()}, "
                f"not the expected {self.server_title.hex().upper()}"
            )
        self._is_title(title)

    def _is_title(self, title: bytes) -> None:
        self.server_title = self.handshake.peer_title = title
        if self._initiates is not None:
            self._initiates.peer_title = title

    def peer_key(self, accepted: Accepted) -> VerifyingKey | Steps[VerifyingKey] | None:
        """The meter's signature key, once its AARE was accepted, or the steps to it; None where none signs.

        Raises UnknownKey, CertificateRefused.
        """
        if not self.profile.scheme.needs_keys:
            return None
        return self.profile.setup.introduced(self.handshake.peer_title, accepted.certificate)

    def _mechanism(self, aare: Aare) -> bool:
        """True when the sign-on goes on with pass 3.  Raises when the meter asks for less."""
        scheme = self.profile.scheme
        named = acse.number_of(aare.mechanism_name, acse.MECHANISM_PREFIX)
        if aare.mechanism_name is not None and named != scheme.number:
            raise AuthenticationFailed(f"the AARE names mechanism {named}, asked for was {scheme.number}")
        if scheme.passes < 4:
            if aare.user_diagnostic != 0:
                raise AuthenticationFailed("the AARE asks for an authentication that was not proposed")
            return False
        if aare.user_diagnostic != _CHALLENGED or aare.mechanism_name is None:
            raise AuthenticationFailed("the AARE accepts without the authentication that was asked for")
        if aare.responder_acse_requirements not in (None, acse.AUTHENTICATION_UNIT):
            raise ProtocolViolation("the AARE asks for another ACSE unit than authentication")
        challenge = aare.responding_authentication_value
        if challenge is None or len(challenge) not in scheme.challenges:
            lengths = f"{scheme.challenges[0]} to {scheme.challenges[-1]}"
            raise AuthenticationFailed(f"the AARE brings no challenge of {lengths} octets")
        if challenge == self.handshake.own_challenge:
            raise AuthenticationFailed("the meter gives the client's own challenge back")
        self.handshake.peer_challenge = challenge
        return True

    def open_initiate(self, octets: bytes | None) -> InitiateResponse:
        """The InitiateResponse of an AARE or RLRE.  Raises TooWeak when it is protected less than asked."""
        return self._open_initiate(octets)[1]

    def _open_initiate(self, octets: bytes | None) -> tuple[Opened, InitiateResponse]:
        if not octets:
            raise TooWeak("there is no Initiate response")
        opened = unprotect(self.initiates, octets) if is_sealed(octets) else Opened(octets, 0, Style.PLAIN)
        required = self.response_minimum | self.request_protection
        if required & ~opened.applied:
            raise TooWeak(f"the Initiate response is {text(opened.applied)}, less than {text(required)}")
        message = apdu.decode(opened.apdu)
        if not isinstance(message, InitiateResponse):
            raise Malformed(f"user-information holds a {message.name}")
        return opened, message

    def _refusal(self, aare: Aare) -> Refused:
        provider = aare.provider_diagnostic is not None
        code = aare.provider_diagnostic if provider else aare.user_diagnostic
        names = acse.PROVIDER_DIAGNOSTIC if provider else acse.USER_DIAGNOSTIC
        reason = names.get(-1 if code is None else code, f"diagnostic {code}")
        detail = self._initiate_error(aare.user_information)
        if not (detail or provider) and code == _NO_REASON:
            detail = _MAY_BE
        return Refused(
            f"the meter rejects the association: {reason}{detail}",
            reason=reason,
            code=code or 0,
            source="association-result",
            authenticated=False,
        )

    def _initiate_error(self, octets: bytes | None) -> str:
        """What a refusing AARE says inside, as far as it can be read; only ever a hint."""
        try:
            if octets and is_sealed(octets):
                octets = unprotect(self.initiates, octets).apdu
            message = apdu.decode(octets) if octets else None
        except MetersealError:
            return ""
        if not isinstance(message, ConfirmedServiceError) or message.error_class != 6:
            return ""
        return f" ({INITIATE_ERROR.get(message.value, message.value)})"

    # --- passes 3 and 4 ---------------------------------------------------------------------

    def prove(self) -> bytes:
        """The client's proof.  With HLS-GMAC it takes one counter."""
        prove = self.profile.scheme.prove
        if prove is None:
            raise Misuse(f"mechanism {self.profile.scheme.name} has no proofs")
        return prove(self.handshake)

    def verify(self, proof: object, opened: Opened) -> None:
        """Check the meter's proof.  Raises AuthenticationFailed or Replayed."""
        verify = self.profile.scheme.verify
        if verify is None or not isinstance(proof, bytes):
            raise AuthenticationFailed("the meter says success without a proof")
        verify(self.handshake, proof, opened)
