"""The meter's end of one association: a message in, effects out.

No parsing, no cryptography, no access rule and no key lives here: the class walks the state
table and calls `apdu`, `security`, `signon`, `exchange` and the party's view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from meterseal import apdu
from meterseal.apdu import acse, services
from meterseal.apdu.acse import Aare, Aarq, Rlre, Rlrq
from meterseal.apdu.ciphered import FORMS, GLOBAL
from meterseal.apdu.initiate import (
    DLMS_VERSION,
    LN_VAA_NAME,
    CounterErrorResponse,
    ExceptionResponse,
    InitiateRequest,
    InitiateResponse,
)
from meterseal.association import exchange as ex
from meterseal.association import signon
from meterseal.association.blocks import PROTECTION_OVERHEAD, TITLE_OVERHEAD, Incoming
from meterseal.association.effects import Associated, Effect, Indication, Need, Refusal, Released, Reply
from meterseal.association.exchange import Exchange
from meterseal.association.operations import (
    OBJECT_UNDEFINED,
    OTHER_REASON,
    READ_WRITE_DENIED,
    RIGHT_NEEDED,
    SCOPE_VIOLATED,
    SUCCESS,
    Operation,
    Outcome,
    Service,
)
from meterseal.association.profile import ServerProfile, conformance
from meterseal.association.states import KIND_OF, TABLE, Kind, Role, State, Step
from meterseal.codec.data import Data, Tag
from meterseal.errors import (
    AuthenticationFailed,
    Malformed,
    MetersealError,
    Misuse,
    ProtocolViolation,
    Replayed,
    TooLarge,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.security import (
    AUTHENTICATED,
    ENCRYPTED,
    Context,
    Handshake,
    KeyInUse,
    Opened,
    Style,
    protect,
    unprotect,
)
from meterseal.security.hls import Frame
from meterseal.security.protection import of_request, of_response

CHALLENGE_OCTETS = 16
QUEUE = 16
REPLY_TO_HLS = (15, bytes.fromhex("0000280000FF"), 1)
"""Class, logical name and method of the current association."""
SELECTIVE_ACCESS, MULTIPLE_REFERENCES = conformance("selective-access"), conformance("multiple-references")
GENERAL_PROTECTION = conformance("general-protection")
_SUITE_BITS = AUTHENTICATED | ENCRYPTED


class ServerAssociation:
    """One association of a meter, in any state; `draw(n)` gives n random octets for challenges."""

    def __init__(self, profile: ServerProfile, draw: Callable[[int], bytes]) -> None:
        self.profile = profile
        self._draw = draw
        self.state = State.STANDING if profile.pre_established else State.IDLE
        self.user: int | None = None
        self.context = self._fresh_context()
        self.negotiated = profile.conformance if profile.pre_established else 0
        self.client_max_pdu = 0
        self._initiate: Opened | None = None
        self._handshake: Handshake | None = None
        self._exchange: Exchange | None = None
        self._parked: Callable[[], list[Effect]] | None = None
        self._indicated = False
        self._token = 0
        self._queue: deque[bytes] = deque()

    # --- the way in -------------------------------------------------------------------------

    def receive(self, octets: bytes) -> list[Effect]:
        """Take one APDU.  Returns what to do; never raises for anything a peer can send."""
        if self._parked is not None or self._indicated:
            if len(self._queue) >= QUEUE:
                error = ProtocolViolation("more requests at once than this end keeps")
                return [Refusal(error, "queueing"), Reply(error_response(error, False))]
            self._queue.append(octets)
            return []
        try:
            return self._take(octets)
        except MetersealError as error:
            return self._refuse(error, f"receiving {apdu.name(octets)}")

    def _take(self, octets: bytes) -> list[Effect]:
        if self.profile.max_pdu and len(octets) > self.profile.max_pdu:
            raise TooLarge(f"an APDU of {len(octets)} octets, {self.profile.max_pdu} were agreed")
        if octets[:1] == Aarq.tag:
            return self._take_aarq(octets)
        opened = self._open(octets)
        message = apdu.decode(opened.apdu)
        kind = KIND_OF.get(type(message))
        step = TABLE.get((Role.SERVER, self.state, kind)) if kind else None
        if step is None:
            raise ProtocolViolation(f"{message.name} in state {self.state.value}")
        return _ACTIONS[step.action](self, step, message, opened)

    def _open(self, octets: bytes) -> Opened:
        if not octets or octets[0] not in FORMS:
            return Opened(octets, 0, Style.PLAIN)
        if self.state is State.IDLE:
            raise ProtocolViolation("a ciphered APDU without an association")
        if not self.profile.ciphered:
            raise Unsupported("a ciphered APDU in a context without ciphering")
        return unprotect(self.context, octets)

    # --- sign-on ----------------------------------------------------------------------------

    def _take_aarq(self, octets: bytes) -> list[Effect]:
        step = TABLE.get((Role.SERVER, self.state, Kind.AARQ))
        if step is None:
            raise ProtocolViolation(f"an AARQ in state {self.state.value}")
        request: signon.Request | None = None
        try:
            try:
                aarq = Aarq.decode(octets)
            except MetersealError as error:
                raise signon.Rejected(error) from error
            request = signon.Request(self.profile, aarq, self._fresh_context())
            for check in signon.CHECKS:
                check(request)
        except signon.Rejected as rejected:
            return self._reject(step, request, rejected)
        self._end()
        return self._with_counters(2, lambda: self._accept(step, request))

    def _accept(self, step: Step, request: signon.Request) -> list[Effect]:
        profile, initiate, opened = self.profile, request.initiate, request.opened
        assert initiate is not None and opened is not None
        self.context, self.user, self._initiate = request.context, request.user, opened
        self.negotiated = initiate.proposed_conformance & profile.conformance
        self.client_max_pdu = initiate.client_max_receive_pdu_size
        self.context.general = bool(self.negotiated & GENERAL_PROTECTION)
        self.context.minimum = of_request(profile.setup.policy) & _SUITE_BITS if profile.ciphered else 0
        challenged = profile.scheme.passes == 4
        challenge = self._challenge(request) if challenged else None
        with_title = profile.ciphered or profile.scheme.needs_titles
        aare = Aare(
            application_context_name=request.aarq.application_context_name,
            result=signon.ACCEPTED,
            user_diagnostic=signon.AUTHENTICATION_REQUIRED if challenged else signon.NULL,
            responding_ap_title=profile.setup.own_title if with_title else None,
            responder_acse_requirements=acse.AUTHENTICATION_UNIT if challenged else None,
            mechanism_name=request.aarq.mechanism_name if challenged else None,
            responding_authentication_value=challenge,
            user_information=self._initiate_answer(opened),
        )
        outcome = "challenged" if challenged else "accepted"
        self.state = step.outcomes[outcome]
        effects: list[Effect] = [Reply(aare.encode())]
        return effects if challenged else [*self._established(), *effects]

    def _challenge(self, request: signon.Request) -> bytes:
        theirs = request.aarq.calling_authentication_value or b""
        ours = self._draw(CHALLENGE_OCTETS)
        while ours == theirs or ours in self.profile.recent:
            ours = self._draw(CHALLENGE_OCTETS)
        self._handshake = Handshake(
            self.profile.setup,
            own_title=self.profile.setup.own_title,
            peer_title=request.context.peer_title or b"",
            own_challenge=ours,
            peer_challenge=theirs,
            secret=self.profile.secret(),
            manufacturer=self.profile.manufacturer,
            shares_counter="hls_token_shares_counter" in self.profile.options,
        )
        return ours

    def _established(self) -> list[Effect]:
        self.context.exclusive_dedicated = self.context.dedicated is not None
        return [Associated(self.user)]

    def _initiate_answer(self, opened: Opened) -> bytes:
        answer = InitiateResponse(
            None, DLMS_VERSION, self.negotiated, self.profile.max_pdu, LN_VAA_NAME
        ).encode()
        return self._like_initiate(self._fresh_context(self.context.peer_title), answer, opened)

    def _like_initiate(self, context: Context, octets: bytes, opened: Opened) -> bytes:
        """Protect an Initiate answer as its request was; Initiates always use the global keys."""
        applied = opened.applied
        if self.profile.ciphered:
            applied |= of_response(self.profile.setup.policy) & _SUITE_BITS
        if not applied:
            return octets
        return protect(context, octets, applied, Style.GLO if opened.style is Style.PLAIN else opened.style)

    def _reject(self, step: Step, request: signon.Request | None, rejected: signon.Rejected) -> list[Effect]:
        # An AARQ that does not pass its checks leaves an association that stands as it is.
        information = None
        if rejected.initiate and request is not None and request.opened is not None:
            context = self._fresh_context(request.context.peer_title)
            if not request.opened.applied or self._counters_left(1):
                information = self._like_initiate(
                    context, signon.initiate_error(rejected.initiate), request.opened
                )
        aare = Aare(
            application_context_name=acse.context_name(3 if self.profile.ciphered else 1),
            result=signon.REJECTED,
            user_diagnostic=rejected.user,
            provider_diagnostic=rejected.provider,
            user_information=information,
        )
        if self.state is State.PENDING:
            self.state = step.outcomes["refused"]
            self._end()
        return [Refusal(rejected.cause, "signing on"), Reply(aare.encode(), penalty=True)]

    def _prove(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        """Pass 3: the only request that a pending association takes, and only once."""
        handshake, self._handshake = self._handshake, None
        self.state = step.outcomes["failed"]
        try:
            proof = self._proof(message, opened)
            verify = self.profile.scheme.verify
            if handshake is None or verify is None:
                raise ProtocolViolation("no challenge is open")
            verify(handshake, proof, Frame(opened.counter, opened.lowest_before if opened.key else None))
        except MetersealError as error:
            self._end()
            if not isinstance(message, services.ActionRequestNormal):
                return [
                    Refusal(error, "pass 3"),
                    Reply(error_response(error, False), penalty=True),
                    Released(""),
                ]
            code = SCOPE_VIOLATED if isinstance(error, TooWeak) else OTHER_REASON
            refusal = services.ActionResponseNormal(
                message.invoke_id_and_priority, services.ActionResult(code, None)
            ).encode()
            # Like for like, but never under a dedicated key that has just been dropped.
            return [Refusal(error, "pass 3"), Reply(refusal, penalty=True), Released("")]
        return self._with_counters(2, lambda: self._answer_proof(step, message, opened, handshake))

    def _proof(self, message: Any, opened: Opened) -> bytes:
        if not isinstance(message, services.ActionRequestNormal):
            raise ProtocolViolation(f"{message.name} before the sign-on is complete")
        method = message.method
        if (
            method.class_id,
            method.instance_id,
            method.method_id,
        ) != REPLY_TO_HLS or message.parameters is None:
            raise ProtocolViolation("another call than reply_to_HLS_authentication")
        if self.context.minimum & ~opened.applied:
            raise TooWeak("reply_to_HLS_authentication carries less protection than the policy asks for")
        value = message.parameters.value
        if not isinstance(value, bytes):
            raise AuthenticationFailed("the proof is not an octet-string")
        return value

    def _answer_proof(self, step: Step, message: Any, opened: Opened, handshake: Handshake) -> list[Effect]:
        prove = self.profile.scheme.prove
        assert prove is not None
        token = Data.of(prove(handshake), Tag.OCTET_STRING)
        x = Exchange(Service.ACTION, message.invoke_id_and_priority, opened.applied, opened.style)
        x.outcomes = [Outcome(SUCCESS, token.raw)]
        x.required = self._answer_protection(x, ())
        self.state = step.outcomes["proved"]
        answer = self._seal(x, ex.answer(x, None, False).encode())
        return [*self._established(), Reply(answer)]

    # --- service ----------------------------------------------------------------------------

    def _serve(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        kind = type(message)
        opener = ex.OPENERS.get(kind)
        if opener is not None:
            return self._open_exchange(opener, message, opened)
        if kind in ex.NEXT_REQUESTS:
            return self._next_block(ex.NEXT_REQUESTS[kind], message, opened)
        return self._more_data(ex.BLOCK_REQUESTS[kind], message.block, message, opened)

    def _open_exchange(self, opener: ex.Opener, message: Any, opened: Opened) -> list[Effect]:
        x = Exchange(opener.service, message.invoke_id_and_priority, opened.applied, opened.style)
        x.broadcast = opened.broadcast
        opener.fill(x, message)
        self._check_negotiated(x, opener)
        if opened.broadcast and (x.confirmed or opener.service is Service.GET):
            raise UnknownKey("the broadcast key is for unconfirmed requests only")
        self._exchange = None
        if not opener.blocks:
            return self._indicate(x)
        x.incoming = Incoming(self.profile.reassembly_limit)
        x.required = self._answer_protection(x, ())
        self._exchange = x
        return self._more_data(x.service, message.block, message, opened)

    def _check_negotiated(self, x: Exchange, opener: ex.Opener) -> None:
        needed = conformance(ex.SERVICE_BIT[x.service])
        if x.listed:
            needed |= MULTIPLE_REFERENCES
        if opener.blocks:
            needed |= conformance(ex.BLOCK_BIT[x.service])
        if any(o.selection is not None for o in x.operations):
            needed |= SELECTIVE_ACCESS
        if needed & ~self.negotiated:
            raise Unsupported(f"{ex.SERVICE_BIT[x.service]} in a form that was not negotiated")

    def _more_data(self, service: Service, block: Any, message: Any, opened: Opened) -> list[Effect]:
        x, invoke = self._exchange, message.invoke_id_and_priority
        if x is None or x.incoming is None or x.service is not service or x.invoke != invoke:
            code = ex.NONE_IN_PROGRESS[service]
            return self._block_error(service, invoke, block.block_number, code, opened)
        x.applied &= opened.applied
        try:
            raw = x.incoming.take(block)
        except (Malformed, TooLarge) as error:
            self._exchange = None
            code = ex.WRONG_NUMBER[service] if isinstance(error, Malformed) else ex.ABORTED[service]
            effects = self._block_error(service, invoke, block.block_number, code, opened)
            return [Refusal(error, "block transfer"), *effects]
        x.blocks_received = block.block_number
        if raw is None:
            return self._with_counters(
                1, lambda: [Reply(self._seal(x, ex.block_taken(x, block.block_number).encode()))]
            )
        self._exchange = None
        ex.take_long_data(x, raw)
        return self._indicate(x)

    def _next_block(self, service: Service, message: Any, opened: Opened) -> list[Effect]:
        x, invoke, number = self._exchange, message.invoke_id_and_priority, message.block_number
        if x is None or x.outgoing is None or x.service is not service or x.invoke != invoke:
            return self._block_error(service, invoke, number, ex.NONE_IN_PROGRESS[service], opened)
        if x.applied & ~opened.applied:
            # The long answer was earned under stronger protection than this request carries.
            return self._block_error(service, invoke, number, SCOPE_VIOLATED, opened)
        if number != x.outgoing.number:
            self._exchange = None
            return self._block_error(service, invoke, number, ex.WRONG_NUMBER[service], opened)
        return self._with_counters(1, lambda: self._send_block(x))

    def _send_block(self, x: Exchange) -> list[Effect]:
        message = ex.next_block(x)
        if x.outgoing is not None and x.outgoing.done:
            self._exchange = None
        return [Reply(self._seal(x, message.encode()))]

    def _block_error(
        self, service: Service, invoke: int, number: int, code: int, opened: Opened
    ) -> list[Effect]:
        x = Exchange(service, invoke, opened.applied, opened.style)
        x.required = self._answer_protection(x, ())
        octets = ex.block_error(service, invoke, number, code).encode()
        return self._with_counters(1, lambda: [Reply(self._seal(x, octets))])

    def _indicate(self, x: Exchange) -> list[Effect]:
        """Check every operation against view, right and protection; hand on what is allowed."""
        rights = [self.profile.view.right(operation, self.user) for operation in x.operations]
        x.outcomes = [
            self._check(operation, right, x.applied)
            for operation, right in zip(x.operations, rights, strict=True)
        ]
        x.required = self._answer_protection(x, rights)
        allowed = tuple(o for o, refused in zip(x.operations, x.outcomes, strict=True) if refused is None)
        self._exchange = x
        if not allowed:
            return self._finish(x)
        self._token += 1
        self._indicated = True
        return [Indication(self._token, allowed, x.applied, self.user, x.confirmed)]

    def _check(self, operation: Operation, right: int | None, applied: int) -> Outcome | None:
        if right is None:
            return Outcome(OBJECT_UNDEFINED)
        if not right & RIGHT_NEEDED[operation.service]:
            return Outcome(READ_WRITE_DENIED)
        policy = self.profile.setup.policy if self.profile.ciphered else 0
        if of_request(right | policy) & ~applied:
            return Outcome(SCOPE_VIOLATED)
        return None

    def _answer_protection(self, x: Exchange, rights: Any) -> int:
        required = x.applied
        if self.profile.ciphered:
            bits = self.profile.setup.policy
            for right in rights:
                bits |= right or 0
            required |= of_response(bits) & _SUITE_BITS
        return required

    def respond(self, token: int, outcomes: list[Outcome] | tuple[Outcome, ...]) -> list[Effect]:
        """The party's outcomes of an `Indication`, one per operation, in order."""
        x = self._exchange
        if not self._indicated or token != self._token or x is None:
            # The association ended while the party was at work: nobody waits for the answer.
            return []
        rest = iter(outcomes)
        x.outcomes = [o if o is not None else next(rest) for o in x.outcomes]
        self._indicated = False
        return self._then_queue(self._guarded(lambda: self._finish(x), "answering"))

    def _finish(self, x: Exchange) -> list[Effect]:
        self._exchange = None
        if not x.confirmed or x.broadcast:
            return []
        return self._with_counters(1, lambda: self._send_answer(x))

    def _send_answer(self, x: Exchange) -> list[Effect]:
        blocks = bool(self.negotiated & conformance(ex.BLOCK_BIT[x.service]))
        message = ex.answer(x, self._room(x), blocks)
        if x.outgoing is not None and not x.outgoing.done:
            self._exchange = x
        return [Reply(self._seal(x, message.encode()))]

    def _room(self, x: Exchange) -> int | None:
        if not self.client_max_pdu:
            return None
        overhead = (PROTECTION_OVERHEAD + TITLE_OVERHEAD * x.style.general) if x.required else 0
        return self.client_max_pdu - overhead

    def _seal(self, x: Exchange, octets: bytes) -> bytes:
        if not x.required:
            return octets
        style = x.style
        if style is Style.PLAIN:
            style = Style.DED if self.context.dedicated else Style.GLO
        return protect(self.context, octets, x.required, style)

    # --- release ----------------------------------------------------------------------------

    def _release(self, step: Step, message: Rlrq, opened: Opened) -> list[Effect]:
        if opened.style is not Style.PLAIN:
            raise ProtocolViolation("ACSE APDUs are never ciphered themselves")
        first = self._initiate
        try:
            information = self._released_initiate(message, first)
        except MetersealError as error:
            refusal = Rlre(1).encode()
            return [Refusal(error, "releasing"), Reply(refusal)]
        if information is None:
            return self._released(step, None)
        return self._with_counters(1, lambda: self._released(step, information))

    def _released_initiate(self, message: Rlrq, first: Opened | None) -> Opened | None:
        """Check that the RLRQ repeats the Initiate under the protection that the AARQ had."""
        octets = message.user_information
        if first is None or not first.applied or ("plain_release" in self.profile.options and not octets):
            return None
        if not octets or octets[0] not in FORMS:
            raise TooWeak("the RLRQ does not repeat the protected Initiate")
        opened = unprotect(self._initiate_context(), octets)
        if first.applied & ~opened.applied:
            raise TooWeak("the RLRQ protects the Initiate less than the AARQ did")
        if not isinstance(apdu.decode(opened.apdu), InitiateRequest):
            raise Malformed("the RLRQ holds no InitiateRequest")
        return opened

    def _released(self, step: Step, information: Opened | None) -> list[Effect]:
        answer = None if information is None else self._initiate_answer(information)
        self.state = step.outcomes["released"]
        self._end()
        return [Reply(Rlre(0, answer).encode()), Released()]

    # --- help -------------------------------------------------------------------------------

    def end(self) -> None:
        """The line is gone, or another association takes this one's place: forget everything."""
        self._end()
        self.state = State.STANDING if self.profile.pre_established else State.IDLE

    def _end(self) -> None:
        self.context.drop_dedicated()
        self.context = self._fresh_context()
        self._exchange = self._handshake = self._initiate = self._parked = None
        self._indicated = False
        self._queue.clear()
        self.user = None
        self.negotiated = self.profile.conformance if self.profile.pre_established else 0

    def _fresh_context(self, peer_title: bytes | None = None) -> Context:
        profile = self.profile
        context = Context(profile.setup, peer_title or profile.setup.peer_title, general=True, serving=True)
        if profile.ciphered:
            context.minimum = of_request(profile.setup.policy) & _SUITE_BITS
        return context

    def _initiate_context(self) -> Context:
        return self._fresh_context(self.context.peer_title)

    def _counters_left(self, count: int) -> bool:
        key = self.profile.setup.unicast
        return key is None or key.tx.left >= count

    def _with_counters(self, count: int, go: Callable[[], list[Effect]]) -> list[Effect]:
        """Go on now, or after the party has reserved more counters for the global key."""
        if self._counters_left(count):
            return go()
        key = self.profile.setup.key(GLOBAL)
        self._parked = go
        self._token += 1
        return [Need(self._token, key, count)]

    def resume(self, token: int, result: KeyInUse | None = None) -> list[Effect]:
        """Go on after a `Need`: its key now has the counters that were asked for."""
        go, self._parked = self._parked, None
        if go is None or token != self._token:
            return []
        return self._then_queue(self._guarded(go, "sending"))

    def _guarded(self, go: Callable[[], list[Effect]], during: str) -> list[Effect]:
        try:
            return go()
        except MetersealError as error:
            return self._refuse(error, during)

    def _then_queue(self, effects: list[Effect]) -> list[Effect]:
        while self._queue and self._parked is None and not self._indicated:
            effects = [*effects, *self.receive(self._queue.popleft())]
        return effects

    def _refuse(self, error: MetersealError, during: str) -> list[Effect]:
        return [Refusal(error, during), Reply(error_response(error, self.profile.report_counter))]


def error_response(error: MetersealError, report_counter: bool) -> bytes:
    """The exception-response for an error: the cause stays inside, the wire's word goes out."""
    if isinstance(error, Misuse):
        return ExceptionResponse(1, 1).encode()
    state, service = error.wire or (1, 1)
    if isinstance(error, Replayed) and report_counter:
        return CounterErrorResponse(state, service, error.lowest_acceptable).encode()
    if isinstance(error, Replayed):
        return ExceptionResponse(1, 5).encode()
    return ExceptionResponse(state, service).encode()


_ACTIONS: dict[str, Callable[[ServerAssociation, Step, Any, Opened], list[Effect]]] = {
    "prove": ServerAssociation._prove,
    "serve": ServerAssociation._serve,
    "release": ServerAssociation._release,
}
