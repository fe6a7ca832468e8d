"""The meter's end of one association: a message in, effects out.

No parsing, no cryptography, no access rule and no key lives here: the class walks the state
table and calls `apdu`, `security`, `signon`, `serving` and the party's view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from meterseal import apdu
from meterseal.apdu import acse, services
from meterseal.apdu.acse import Aare, Aarq, Rlre, Rlrq
from meterseal.apdu.ciphered import FORMS
from meterseal.apdu.initiate import DLMS_VERSION, LN_VAA_NAME, InitiateRequest, InitiateResponse
from meterseal.association import exchange as ex
from meterseal.association import signon
from meterseal.association.effects import Associated, Effect, Refusal, Released, Reply
from meterseal.association.memory import TransferMemory
from meterseal.association.operations import (
    OTHER_REASON,
    SCOPE_VIOLATED,
    SUCCESS,
    Outcome,
    Service,
)
from meterseal.association.profile import ServerProfile, conformance
from meterseal.association.repeating import Repeating
from meterseal.association.serving import SUITE_BITS, error_response
from meterseal.association.signon import Proposal, Rejected, Request
from meterseal.association.states import TABLE, Kind, Role, State, Step, kind_of
from meterseal.codec.data import Tag, encode
from meterseal.crypto import VerifyingKey
from meterseal.errors import (
    AuthenticationFailed,
    DecodeError,
    Malformed,
    MetersealError,
    Misuse,
    ProtocolViolation,
    Replayed,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.framing import gbt
from meterseal.security import Context, Handshake, Opened, Style, protect, unprotect
from meterseal.security.keyforms import is_fresh
from meterseal.security.protect import PROTECTED, unprotecting
from meterseal.security.protection import of_request, of_response
from meterseal.security.steps import Steps

DRAWS = 4
"""How often a challenge is drawn again when it is the client's, or an earlier one."""

QUEUE = 16
"""Requests that wait while one is being answered; more are refused."""

REPLY_TO_HLS = (15, bytes.fromhex("0000280000FF"), 1)
"""Class, logical name and method of the current association."""

_GENERAL_PROTECTION = conformance("general-protection")
_BLOCK = bytes((gbt.TAG,))
_PROOF = services.ActionRequestNormal


class ServerAssociation(Repeating):
    """One association of a meter, in any state; `draw(n)` gives n random octets for challenges.

    `datagrams`: the line may lose, repeat and reorder.  Counters may then come out of order, each once,
    and what came before, or makes no sense, is not answered.
    """

    _initiate: Opened | None
    _handshake: Handshake | None

    def __init__(
        self,
        profile: ServerProfile,
        draw: Callable[[int], bytes],
        *,
        datagrams: bool = False,
        memory: TransferMemory | None = None,
        share: Hashable = None,
    ) -> None:
        super().__init__(profile, datagrams, memory, share)
        self._draw = draw
        self._queue: deque[bytes] = deque()
        self.end()

    # --- the way in -------------------------------------------------------------------------

    def receive(self, octets: bytes) -> list[Effect]:
        """Take one APDU.  Returns what to do; never raises for anything a peer can send."""
        self._ready = None
        if self._parked is None and not self._indicated:
            try:
                effects = self._take(octets)
            except MetersealError as error:
                effects = self._refuse(error, f"receiving {apdu.name(octets)}")
            return self._settled(effects)
        if len(self._queue) >= QUEUE:
            return self._refuse(ProtocolViolation("more requests at once than this end keeps"), "queueing")
        self._queue.append(octets)
        return []

    def _afterwards(self, effects: list[Effect]) -> list[Effect]:
        effects = self._settled(effects)
        while self._queue and self._parked is None and not self._indicated:
            effects = [*effects, *self.receive(self._queue.popleft())]
        return effects

    def _take(self, octets: bytes) -> list[Effect]:
        self._check_size(octets, self.profile.max_pdu)
        if octets[:1] == Aarq.tag:
            return self._take_aarq(self._step(Kind.AARQ, "aarq"), octets)
        if octets[:1] == _BLOCK:
            if self.state is State.PENDING:
                raise ProtocolViolation("blocks before the sign-on is complete")
            return self._take_block(octets)
        return self._take_whole(octets)

    def _take_whole(self, octets: bytes) -> list[Effect]:
        opened = self._open(octets)
        if isinstance(opened, Opened):
            return self._take_opened(opened)
        return self._advance(opened, None, self._take_opened, f"receiving {apdu.name(octets)}")

    def _take_opened(self, opened: Opened) -> list[Effect]:
        layers, third = opened.layers, opened.third
        self._fresh_keys = bool(layers) and any(is_fresh(layer.form) for layer in layers)
        self._also = () if third is None else (third.context.setup.fresh,)
        if third is not None:
            return self._take_third(opened)
        message = apdu.decode(opened.apdu)
        step = self._step(kind_of(message), message.name)
        return _ACTIONS[step.action](self, step, message, opened)

    def _take_third(self, opened: Opened) -> list[Effect]:
        """A third party asks for services and for nothing else; what is wrong is told to it alone (E05)."""
        x = self._exchange_of(Service.GET, 0, opened)
        self._check_answerable(x)
        try:
            message = apdu.decode(opened.apdu)
            if self._step(kind_of(message), message.name).action != "serve":
                raise ProtocolViolation(f"{message.name} is not for third parties")
            return self._serve_message(message, opened)
        except MetersealError as error:
            refused = error
        return self._with_counters(1, lambda: self._told_to_third(x, refused))

    def _step(self, kind: Kind, name: str) -> Step:
        step = TABLE.get((Role.SERVER, self.state, kind))
        if step is None:
            raise ProtocolViolation(f"{name} in state {self.state.value}")
        return step

    def _open(self, octets: bytes) -> Opened | Steps[Opened]:
        if not octets or octets[0] not in PROTECTED:
            return Opened(octets, 0, Style.PLAIN)
        if self.state is State.IDLE:
            raise ProtocolViolation("a ciphered APDU without an association")
        if not self.profile.ciphered:
            raise Unsupported("a ciphered APDU in a context without ciphering")
        return unprotecting(self.context, octets)

    def _serve(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        return self._serve_message(message, opened)

    # --- sign-on ----------------------------------------------------------------------------

    def _take_aarq(self, step: Step, octets: bytes) -> list[Effect]:
        proposal: Proposal | None = None
        try:
            request = self._request(octets)
            for check in signon.BEFORE:
                check(request)
            proposal = signon.open_initiate(request)
            for examine in signon.AFTER:
                examine(proposal)
        except Rejected as rejected:
            return self._reject(step, proposal, rejected)
        accepted = proposal
        certified = signon.certified(proposal.request)
        return self._through(certified, lambda key: self._examined(step, accepted, key), "signing on")

    def _examined(self, step: Step, proposal: Proposal, key: signon.Certified) -> list[Effect]:
        if isinstance(key, Rejected):
            return self._reject(step, proposal, key)
        self._forget(proposal.request.context)
        self.state = State.IDLE
        return self._with_counters(1, lambda: self._accept(step, proposal, key))

    def _request(self, octets: bytes) -> Request:
        try:
            return Request(self.profile, Aarq.decode(octets), self._fresh_context())
        except MetersealError as error:
            if self._silent(error):
                raise
            raise Rejected(error) from error

    def _accept(self, step: Step, proposal: Proposal, key: VerifyingKey | None) -> list[Effect]:
        profile, initiate, request = self.profile, proposal.initiate, proposal.request
        scheme = profile.scheme
        self.user, self._initiate = request.user, proposal.opened
        self.negotiated = initiate.proposed_conformance & profile.conformance
        self.client_max_pdu = initiate.client_max_receive_pdu_size
        self.context.general = bool(self.negotiated & _GENERAL_PROTECTION)
        challenged = scheme.passes == 4
        aare = Aare(
            application_context_name=request.aarq.application_context_name,
            result=signon.ACCEPTED,
            user_diagnostic=signon.AUTHENTICATION_REQUIRED if challenged else signon.NULL,
            responding_ap_title=profile.setup.own_title if profile.with_titles else None,
            responding_ae_qualifier=profile.setup.certificate if scheme.needs_keys else None,
            responder_acse_requirements=acse.AUTHENTICATION_UNIT if challenged else None,
            mechanism_name=request.aarq.mechanism_name if challenged else None,
            responding_authentication_value=self._challenge(request, key) if challenged else None,
            user_information=self._initiate_answer(proposal.opened, request.context),
        )
        if self.context.dedicated is not None:
            profile.dedicated_before.append(self.context.dedicated.handle.kcv)
        self.state = step.outcomes["challenged" if challenged else "accepted"]
        reply = Reply(aare.encode())
        return [reply] if challenged else [self._established(), reply]

    def _challenge(self, request: Request, key: VerifyingKey | None) -> bytes:
        profile, theirs = self.profile, request.aarq.calling_authentication_value or b""
        for _ in range(DRAWS):
            ours = self._draw(profile.scheme.drawn)
            if ours != theirs and ours not in profile.recent:
                break
        else:
            raise Misuse("the random source of the challenges repeats itself")
        self._handshake = Handshake(
            profile.setup,
            own_title=profile.setup.own_title,
            peer_title=request.context.peer_title or b"",
            own_challenge=ours,
            peer_challenge=theirs,
            secret=profile.secret(),
            manufacturer=profile.manufacturer,
            shares_counter="hls_token_shares_counter" in profile.options,
            window=self.context.window,
            peer_key=key,
        )
        return ours

    def _established(self) -> Effect:
        self.context.exclusive_dedicated = self.context.dedicated is not None
        return Associated(self.user)

    def _initiate_answer(self, opened: Opened, context: Context) -> bytes:
        octets = InitiateResponse(
            None, DLMS_VERSION, self.negotiated, self.profile.max_pdu, LN_VAA_NAME
        ).encode()
        return self._like_initiate(octets, opened, context)

    def _like_initiate(self, octets: bytes, opened: Opened, context: Context) -> bytes:
        """Protect an Initiate answer as its request was: Initiates come, and so go, under the global keys."""
        applied = opened.applied
        if self.profile.ciphered:
            applied |= of_response(self.profile.setup.policy) & SUITE_BITS
        if not applied:
            return octets
        style = Style.GLO if opened.style is Style.PLAIN else opened.style
        return protect(context, octets, applied, style)

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
        """Pass 3: the only request that a pending association takes, and only once."""
        handshake, self._handshake = self._handshake, None
        self.state = step.outcomes["failed"]
        scheme = self.profile.scheme
        verify, prove = scheme.verify, scheme.prove
        try:
            if handshake is None or verify is None or prove is None or not isinstance(message, _PROOF):
                raise ProtocolViolation(f"{message.name} before the sign-on is complete")
            proof = self._proof(message, opened)
        except MetersealError as error:
            return self._not_proved(message, opened, error)

        def verified(error: MetersealError | None) -> list[Effect]:
            if error is not None:
                return self._not_proved(message, opened, error)
            return self._with_counters(
                2, lambda: self._computed(scheme.needs_keys, partial(prove, handshake), answer)
            )

        def answer(proof: bytes | MetersealError) -> list[Effect]:
            return self._answer_proof(step, message, opened, proof)

        return self._computed(scheme.needs_keys, partial(verify, handshake, proof, opened), verified)

    def _proof(self, message: services.ActionRequestNormal, opened: Opened) -> bytes:
        method = message.method
        called = (method.class_id, method.instance_id, method.method_id)
        if called != REPLY_TO_HLS or message.parameters is None:
            raise ProtocolViolation("another call than reply_to_HLS_authentication")
        if opened.broadcast:
            raise UnknownKey("reply_to_HLS_authentication came under the broadcast key")
        if self._asked_of_proof() & ~opened.applied:
            raise TooWeak("reply_to_HLS_authentication carries less protection than the policy asks for")
        value = message.parameters.value
        if not isinstance(value, bytes):
            raise AuthenticationFailed("the proof is not an octet-string")
        return value

    def _asked_of_proof(self) -> int:
        """What the policy asks of the request that carries the proof: a signature, where it says so."""
        return of_request(self.profile.setup.policy) if self.profile.ciphered else 0

    def _not_proved(self, message: Any, opened: Opened, error: MetersealError) -> list[Effect]:
        if isinstance(message, _PROOF) and self._counters_left(1):
            code = SCOPE_VIOLATED if isinstance(error, TooWeak) else OTHER_REASON
            answer = self._action_answer(message, opened, Outcome(code), mask=SUITE_BITS)
        else:
            answer = error_response(ProtocolViolation("before sign-on"), False)

        def refused(octets: bytes) -> list[Effect]:
            self._forget()
            return [Refusal(error, "pass 3"), Reply(octets, penalty=True), Released()]

        return self._through(answer, refused)

    def _answer_proof(
        self, step: Step, message: Any, opened: Opened, proof: bytes | MetersealError
    ) -> list[Effect]:
        if isinstance(proof, MetersealError):
            raise proof
        answer = self._action_answer(message, opened, Outcome(SUCCESS, encode(proof, Tag.OCTET_STRING)))

        def proved(octets: bytes) -> list[Effect]:
            self.state = step.outcomes["proved"]
            return [self._established(), Reply(octets)]

        return self._through(answer, proved)

    def _action_answer(
        self, message: Any, opened: Opened, outcome: Outcome, *, mask: int = -1
    ) -> bytes | Steps[bytes]:
        """The answer to pass 3.  Whoever is refused gets no signature: `mask` takes it off."""
        x = self._exchange_of(Service.ACTION, message.invoke_id_and_priority, opened)
        x.required &= mask
        x.outcomes = [outcome]
        return self._sealed(x, ex.answer(x, self._room(x), False))

    # --- release ----------------------------------------------------------------------------

    def _release(self, step: Step, message: Rlrq, opened: Opened) -> list[Effect]:
        try:
            information = self._released_initiate(message)
        except MetersealError as error:
            return [Refusal(error, "releasing"), Reply(Rlre(signon.NOT_FINISHED).encode())]
        if information is None:
            return self._released(step, None)
        return self._with_counters(1, lambda: self._released(step, information))

    def _released_initiate(self, message: Rlrq) -> Opened | None:
        """Check that the RLRQ repeats the Initiate under the protection that the AARQ had."""
        first, octets = self._initiate, message.user_information
        if message.reason not in signon.RELEASE_REASONS:
            raise Malformed(f"release reason {message.reason}")
        if first is None or not first.applied or ("plain_release" in self.profile.options and not octets):
            return None
        if not octets or octets[0] not in FORMS:
            raise TooWeak("the RLRQ does not repeat the protected Initiate")
        if message.reason not in signon.PROTECTED_REASONS:
            raise TooWeak("the reason of a protected release travels bare: only the normal one is taken")
        opened = unprotect(self._fresh_context(self.context.peer_title), octets)
        if first.applied & ~opened.applied:
            raise TooWeak("the RLRQ protects the Initiate less than the AARQ did")
        if not isinstance(apdu.decode(opened.apdu), InitiateRequest):
            raise Malformed("the RLRQ holds no InitiateRequest")
        return opened

    def _released(self, step: Step, information: Opened | None) -> list[Effect]:
        answer = None if information is None else self._initiate_answer(information, self.context)
        self.state = step.outcomes["released"]
        self._forget()
        return [Reply(Rlre(0, answer).encode()), Released()]

    def _refuse(self, error: MetersealError, during: str) -> list[Effect]:
        if self.state is State.IDLE and self._parked is None:
            self._forget()  # a sign-on that broke off half way
        effects = super()._refuse(error, during)
        return effects[:1] if self._silent(error) else effects

    def _silent(self, error: MetersealError) -> bool:
        """True where nobody waits for an answer: a datagram that came before, or is none of a client's."""
        idle = self.state is State.IDLE
        return self.datagrams and isinstance(error, (Replayed, DecodeError) if idle else Replayed)

    def end(self) -> None:
        """The line is gone, or another association takes this one's place: forget everything."""
        self._forget()
        self._queue.clear()
        self.state = State.STANDING if self.profile.pre_established else State.IDLE

    def _forget(self, context: Context | None = None) -> None:
        self.context.drop_dedicated()
        self.context: Context = context or self._fresh_context()
        self._exchange = self._handshake = self._initiate = self._parked = None
        self._track = self._ready = None
        self._indicated = self._by_blocks = False
        self._end_transfer()
        if self._kept:
            self._count()
        self.user = None
        self.negotiated = self.profile.conformance if self.profile.pre_established else 0


_ACTIONS: dict[str, Callable[[ServerAssociation, Step, Any, Opened], list[Effect]]] = {
    "prove": ServerAssociation._prove,
    "serve": ServerAssociation._serve,
    "release": ServerAssociation._release,
}
