"""Sign-on at the meter: an AARQ taken and answered, the client's proof taken, the meter's own given.

What an AARQ has to hold is in signon.py, who came before in returning.py; here is what follows from it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from meterseal.apdu import acse, services
from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.initiate import DLMS_VERSION, LN_VAA_NAME, InitiateResponse
from meterseal.association import signon
from meterseal.association.effects import Associated, Effect, Refusal, Released, Reply, made
from meterseal.association.judging import SUITE_BITS
from meterseal.association.memory import Line
from meterseal.association.operations import (
    OTHER_REASON,
    SCOPE_VIOLATED,
    Service,
)
from meterseal.association.profile import ServerProfile, conformance
from meterseal.association.proving import REPLY_TO_HLS, REPLYING, answer_with, refusal
from meterseal.association.repeating import Repeating
from meterseal.association.serving import error_response
from meterseal.association.signon import Proposal, Rejected, Request
from meterseal.association.states import IDLE, State, Step
from meterseal.crypto import VerifyingKey
from meterseal.errors import (
    AuthenticationFailed,
    MetersealError,
    Misuse,
    ProtocolViolation,
    Replayed,
    TooLarge,
    TooWeak,
    UnknownKey,
)
from meterseal.security import Context, Handshake, Opened, Style, protect
from meterseal.security.hls import SHARES, Proofs, verify_and_prove
from meterseal.security.layers import answered
from meterseal.security.protection import of_request
from meterseal.security.steps import Steps

DRAWS = 4
"""How often a challenge is drawn again when it is the client's, or an earlier one."""


_GENERAL_PROTECTION = conformance("general-protection")
_ACTION = Service.ACTION


class Admitting(Repeating):
    """The part of a meter's association that lets a client in; `draw(n)` gives n random octets."""

    state: State
    _initiate: Opened | None
    _handshake: Handshake | None

    def __init__(
        self,
        profile: ServerProfile,
        draw: Callable[[int], bytes],
        line: Line,
    ) -> None:
        super().__init__(profile, line)
        self._draw = draw

    @abstractmethod
    def _forget(self, context: Context | None = None) -> None:
        """Everything of the association that was; on with `context`."""

    @abstractmethod
    def _silent(self, error: MetersealError) -> bool:
        """True where nobody waits for an answer."""

    # --- passes 1 and 2 ---------------------------------------------------------------------

    def _take_aarq(self, step: Step, octets: bytes) -> list[Effect]:
        proposal = signon.returning(self.profile, octets, self._fresh_context)
        if proposal is None:
            try:
                request = self._request(octets)
                for check in signon.BEFORE:
                    check(request)
                proposal = signon.open_initiate(request)
                for examine in signon.AFTER:
                    examine(proposal)
            except Rejected as rejected:
                return self._reject(step, proposal, rejected)
        key = signon.certified(proposal.request)
        return self._through(key, partial(self._examined, step, proposal), "signing on")

    def _examined(self, step: Step, proposal: Proposal, key: signon.Certified) -> list[Effect]:
        if isinstance(key, Rejected):
            return self._reject(step, proposal, key)
        self._forget(proposal.request.context)
        self.state = IDLE
        return self._with_counters(1, self._accept, step, proposal, key)

    def _request(self, octets: bytes) -> Request:
        try:
            aarq = Aarq.decode(octets)
            challenge = aarq.calling_authentication_value
            return Request(self.profile, octets, aarq, challenge, self._fresh_context())
        except MetersealError as error:
            if self._silent(error):
                raise
            raise Rejected(error) from error

    def _accept(self, step: Step, proposal: Proposal, key: VerifyingKey | None) -> list[Effect]:
        profile, initiate, request = self.profile, proposal.initiate, proposal.request
        scheme = profile.scheme
        self.user, self._initiate = request.user, proposal.opened
        self._agree(initiate.proposed_conformance & profile.conformance)
        self.client_max_pdu = initiate.client_max_receive_pdu_size
        self.context.general = bool(self.negotiated & _GENERAL_PROTECTION)
        self.context.introduced = key
        challenged = scheme.passes == 4
        challenge = self._challenge(request, key) if challenged else None
        octets = self._aare(proposal, challenge)
        if self.context.dedicated is not None:
            profile.dedicated_before.append(self.context.dedicated.handle.kcv)
        self.state = step.outcomes["challenged" if challenged else "accepted"]
        reply = made(Reply, (octets, False))
        return [reply] if challenged else [self._established(), reply]

    def _aare(self, proposal: Proposal, challenge: bytes | None) -> bytes:
        """The AARE that accepts; takes one counter where the Initiate is protected."""
        told = proposal.told
        octets = None if told is None or challenge is None else told.again(challenge)
        if octets is not None:
            return octets
        profile, request = self.profile, proposal.request
        challenged = challenge is not None
        plain = self._plain_answer()
        octets = Aare(
            application_context_name=request.aarq.application_context_name,
            result=signon.ACCEPTED,
            user_diagnostic=signon.AUTHENTICATION_REQUIRED if challenged else signon.NULL,
            responding_ap_title=profile.setup.own_title if profile.with_titles else None,
            responding_ae_qualifier=profile.setup.certificate if profile.scheme.needs_keys else None,
            responder_acse_requirements=acse.AUTHENTICATION_UNIT if challenged else None,
            mechanism_name=request.aarq.mechanism_name if challenged else None,
            responding_authentication_value=challenge,
            user_information=self._like_initiate(plain, proposal.opened, request.context),
        ).encode()
        signon.remember(proposal, octets, plain)
        return octets

    def _challenge(self, request: Request, key: VerifyingKey | None) -> bytes:
        profile, theirs = self.profile, request.challenge or b""
        for _ in range(DRAWS):
            ours = self._draw(profile.scheme.drawn)
            if ours != theirs and ours not in profile.recent:
                break
        else:
            raise Misuse("the random source of the challenges repeats itself")
        setup, title, shares = profile.setup, request.context.peer_title or b"", SHARES in profile.options
        # By place, as the next: names would be put together and looked up for each sign-on.
        self._handshake = Handshake(
            setup, setup.own_title, title, ours, theirs, profile.secret(),
            profile.manufacturer, shares, self.context.window, key,
        )  # fmt: skip
        return ours

    def _established(self) -> Effect:
        self.context.exclusive_dedicated = self.context.dedicated is not None
        return made(Associated, (self.user,))

    def _plain_answer(self) -> bytes:
        profile = self.profile
        return InitiateResponse(None, DLMS_VERSION, self.negotiated, profile.max_pdu, LN_VAA_NAME).encode()

    def _initiate_answer(self, opened: Opened, context: Context) -> bytes:
        return self._like_initiate(self._plain_answer(), opened, context)

    def _like_initiate(self, octets: bytes, opened: Opened, context: Context) -> bytes:
        """Protect an Initiate answer as its request was: Initiates come, and so go, under the global keys."""
        applied = opened.applied
        if self.profile.ciphered:
            applied |= self.profile.setup.asks_of_response & SUITE_BITS
        if not applied:
            return octets
        style = Style.GLO if opened.style is Style.PLAIN else opened.style
        return protect(context, octets, applied, style, answered(opened.layers))

    def _reject(self, step: Step, proposal: Proposal | None, rejected: Rejected) -> list[Effect]:
        self.state = step.outcomes["refused"]
        if proposal is not None:
            proposal.request.context.drop_dedicated()
        if self.datagrams and isinstance(rejected.cause, Replayed):
            return [Refusal(rejected.cause, "signing on")]
        information = None
        if rejected.initiate and proposal is not None and self._counters_left(1):
            error = signon.initiate_error(rejected.initiate)
            information = self._like_initiate(error, proposal.opened, proposal.request.context)
        aare = Aare(
            application_context_name=acse.context_name(self.profile.context_number),
            result=signon.REJECTED,
            user_diagnostic=rejected.user,
            provider_diagnostic=rejected.provider,
            user_information=information,
        )
        return [Refusal(rejected.cause, "signing on"), Reply(aare.encode(), penalty=True)]

    # --- passes 3 and 4 ---------------------------------------------------------------------

    def _prove(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        """Pass 3 in whatever form, or another request in its place."""
        if not isinstance(message, services.ActionRequestNormal):
            return self._take_proof(step, opened, None, _too_early(message.name))
        invoke, method, parameters = message.invoke_id_and_priority, message.method, message.parameters
        called = (method.class_id, method.instance_id, method.method_id)
        if called != REPLY_TO_HLS or parameters is None:
            error = ProtocolViolation("another call than reply_to_HLS_authentication")
            return self._take_proof(step, opened, invoke, error)
        return self._take_proof(step, opened, invoke, parameters.value)

    def _take_proof(self, step: Step, opened: Opened, invoke: int | None, proof: Any) -> list[Effect]:
        """Pass 3: the only request that a pending association takes, and only once.

        `invoke` is None where it is no call at all, `proof` what was given for one, or why there is none.
        """
        handshake, self._handshake = self._handshake, None
        self.state = step.outcomes["failed"]
        scheme, wrong = self.profile.scheme, self._wrong_with(proof, opened)
        verify, prove = scheme.verify, scheme.prove
        if wrong is not None or handshake is None or verify is None or prove is None or invoke is None:
            return self._not_proved(invoke, opened, wrong or _too_early(services.ActionRequestNormal.name))
        done = partial(self._answer_proof, step, invoke, opened)
        slow, given = scheme.needs_keys, (handshake, proof, opened)
        if self._counters_left(2):
            # Both proofs are one job: one way to the party, to its threads, and back.
            return self._computed(slow, verify_and_prove, done, verify, prove, *given)

        def verified(wrong: MetersealError | None) -> list[Effect]:
            if wrong is not None:
                return self._not_proved(invoke, opened, wrong)
            # Counters are reserved for who has proved himself.
            return self._with_counters(2, self._computed, slow, verify_and_prove, done, _holds, prove, *given)

        return self._computed(slow, verify, verified, *given)

    def _wrong_with(self, proof: Any, opened: Opened) -> MetersealError | None:
        if isinstance(proof, MetersealError):
            return proof
        if opened.broadcast:
            return UnknownKey("reply_to_HLS_authentication came under the broadcast key")
        # What policy and right ask of the request that carries the proof: a signature, where they say so.
        asked = of_request(self._right_to_reply())
        if self.profile.ciphered:
            asked |= self.profile.setup.asks_of_request
        if asked & ~opened.applied:
            return TooWeak(
                "reply_to_HLS_authentication carries less protection than the policy or its right asks for"
            )
        if not isinstance(proof, bytes):
            return AuthenticationFailed("the proof is not an octet-string")
        return None

    def _right_to_reply(self) -> int:
        """What the view says of the method that pass 3 calls."""
        return self.profile.view.right(REPLYING, self.user) or 0

    def _not_proved(self, invoke: int | None, opened: Opened, error: MetersealError) -> list[Effect]:
        answer: bytes | Steps[bytes]
        if invoke is not None and self._counters_left(1):
            code = SCOPE_VIOLATED if isinstance(error, TooWeak) else OTHER_REASON
            answer = self._action_answer(invoke, opened, refusal(invoke, code), mask=SUITE_BITS)
        else:
            answer = error_response(ProtocolViolation("before sign-on"), False)

        def refused(octets: bytes) -> list[Effect]:
            self._forget()
            return [Refusal(error, "pass 3"), Reply(octets, penalty=True), Released()]

        return self._through(answer, refused)

    def _answer_proof(
        self, step: Step, invoke: int, opened: Opened, proofs: Proofs | MetersealError
    ) -> list[Effect]:
        """The client's proof was looked at, and the meter's own is made, if that held."""
        if isinstance(proofs, MetersealError):
            raise proofs
        wrong, proof = proofs
        if wrong is not None:
            return self._not_proved(invoke, opened, wrong)
        self.context.proved()
        answer = self._action_answer(invoke, opened, answer_with(invoke, proof))
        return self._through(answer, partial(self._proved, step))

    def _proved(self, step: Step, octets: bytes) -> list[Effect]:
        self.state = step.outcomes["proved"]
        return [self._established(), made(Reply, (octets, False))]

    def _action_answer(
        self, invoke: int, opened: Opened, octets: bytes, *, mask: int = -1
    ) -> bytes | Steps[bytes]:
        """The answer to pass 3.  Whoever is refused gets no signature: `mask` takes it off."""
        x = self._exchange_of(_ACTION, invoke, opened, (self._right_to_reply(),))
        x.required &= mask
        room = self._room(x)
        if room is not None and len(octets) > room:
            raise TooLarge("the answer is longer than the client takes, and it does not go in blocks")
        return self._sealed(x, octets)


def _holds(handshake: Handshake, proof: bytes, carrier: Opened) -> None:
    """In place of a verification that has been."""


def _too_early(name: str) -> ProtocolViolation:
    return ProtocolViolation(f"{name} before the sign-on is complete")
