"""The client's end of one association: calls in, effects out.

The same table of states as the meter's; what the peer answers is held against what was asked:
context, mechanism, title, protection, service and invoke-id (design 4, 5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meterseal import apdu
from meterseal.apdu import acse
from meterseal.apdu.acse import Aare, Aarq, Rlre, Rlrq
from meterseal.apdu.ciphered import FORMS, GLOBAL
from meterseal.apdu.initiate import (
    DLMS_VERSION,
    INITIATE_ERROR,
    SERVICE_ERROR,
    ConfirmedServiceError,
    CounterErrorResponse,
    InitiateRequest,
    InitiateResponse,
)
from meterseal.association.asking import Asking
from meterseal.association.effects import Associated, Confirmed, Effect, Failed, Need, Released, Reply
from meterseal.association.operations import SUCCESS, Operation, Service
from meterseal.association.profile import ClientProfile, conformance
from meterseal.association.states import KIND_OF, TABLE, Role, State, Step
from meterseal.codec.data import Data, Tag
from meterseal.codec.message import Message
from meterseal.errors import (
    AuthenticationFailed,
    Malformed,
    MetersealError,
    Misuse,
    ProtocolViolation,
    Refused,
    TooLarge,
    TooWeak,
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
from meterseal.security.hls import CHALLENGE_LENGTHS, Frame
from meterseal.security.protection import of_request, of_response, text

_SUITE_BITS = AUTHENTICATED | ENCRYPTED
_REPLY_TO_HLS = Operation(Service.ACTION, 15, bytes.fromhex("0000280000FF"), 1)
GENERAL_PROTECTION = conformance("general-protection")


class ClientAssociation:
    """One association of a client.

    `associate`, `request` and `release` start something, `receive` takes what the meter sends;
    each returns effects.  A sign-on or request ends with `Associated`, `Confirmed`, `Released` or
    `Failed`.
    """

    def __init__(self, profile: ClientProfile) -> None:
        self.profile = profile
        self.state = State.IDLE
        self.context = Context(profile.setup, profile.setup.peer_title, general=True)
        self.negotiated = 0
        self.server_max_pdu = 0
        self.server_title: bytes | None = profile.setup.peer_title
        self._aarq_protection = 0
        self._handshake: Handshake | None = None
        self._asking: Asking | None = None
        self._invoke = 0
        self._token = 0
        self._parked: Callable[[], list[Effect]] | None = None

    # --- calls ------------------------------------------------------------------------------

    def associate(self, challenge: bytes = b"") -> list[Effect]:
        """Send the AARQ; `challenge` (8 to 64 random octets) is needed for HLS.

        Raises Misuse outside of the idle state or for a challenge of another length.
        """
        profile = self.profile
        if self.state is not State.IDLE:
            raise Misuse(f"cannot sign on: the association is {self.state.value}")
        if profile.scheme.passes == 4 and len(challenge) not in CHALLENGE_LENGTHS:
            raise Misuse("a challenge has 8 to 64 octets")
        self._handshake = Handshake(
            profile.setup,
            own_title=profile.setup.own_title,
            peer_title=b"",
            own_challenge=challenge,
            secret=profile.secret,
            manufacturer=profile.manufacturer,
            shares_counter="hls_token_shares_counter" in profile.options,
        )
        self.context.general = True
        return self._with_counters(1, self._send_aarq)

    def _send_aarq(self) -> list[Effect]:
        profile, handshake = self.profile, self._handshake
        assert handshake is not None
        scheme = profile.scheme
        with_title = profile.ciphered or scheme.needs_titles
        value = {0: None, 1: profile.secret, 4: handshake.own_challenge}[scheme.passes]
        aarq = Aarq(
            application_context_name=acse.context_name(3 if profile.ciphered else 1),
            calling_ap_title=profile.setup.own_title if with_title else None,
            calling_ae_invocation_id=profile.user,
            sender_acse_requirements=acse.AUTHENTICATION_UNIT if scheme.passes else None,
            mechanism_name=acse.mechanism_name(scheme.number) if scheme.passes else None,
            calling_authentication_value=value,
            user_information=self._initiate_request(),
        )
        self.state = State.OPENING
        return [Reply(aarq.encode())]

    def _initiate_request(self) -> bytes:
        profile = self.profile
        request = InitiateRequest(
            profile.dedicated_key, True, None, DLMS_VERSION, profile.conformance, profile.max_pdu
        ).encode()
        applied = of_request(profile.setup.policy) & _SUITE_BITS if profile.ciphered else 0
        if profile.dedicated_key is not None:
            if not profile.ciphered:
                raise Misuse("a dedicated key needs a context with ciphering")
            applied = _SUITE_BITS
        self._aarq_protection = applied
        if not applied:
            return request
        return protect(self._initiate_context(), request, applied, self._style(GLOBAL))

    def request(self, operations: Sequence[Operation]) -> list[Effect]:
        """Ask for one operation, or several of the same service as a list.

        Raises Misuse when not associated or busy, Unsupported when the services in question were
        not negotiated.
        """
        if self.state is not State.ASSOCIATED:
            raise Misuse(f"no association stands: it is {self.state.value}")
        if self._asking is not None:
            raise Misuse("a request is under way in this association")
        self._invoke = (self._invoke + 1) & 0x0F
        asking = Asking(
            tuple(operations),
            0xC0 | self._invoke,
            self.negotiated,
            self._room(),
            self.profile.reassembly_limit,
        )
        message = asking.first()
        self._asking = asking
        return self._with_counters(1, lambda: [Reply(self._seal(message.encode()))])

    def release(self) -> list[Effect]:
        """Send the RLRQ, which repeats the protected Initiate in a ciphered association."""
        if self.state is not State.ASSOCIATED:
            raise Misuse(f"nothing to release: the association is {self.state.value}")
        return self._with_counters(1, self._send_rlrq)

    def _send_rlrq(self) -> list[Effect]:
        plain = not self._aarq_protection or "plain_release" in self.profile.options
        rlrq = Rlrq(0, None if plain else self._initiate_request())
        self.state = State.CLOSING
        return [Reply(rlrq.encode())]

    # --- the way in -------------------------------------------------------------------------

    def receive(self, octets: bytes) -> list[Effect]:
        """Take one APDU of the meter; what is wrong with it ends the request as `Failed`.

        In a ciphered association an unprotected error answer ends the request as a hint: keys,
        counters and state stay as they are.
        """
        try:
            return self._take(octets)
        except MetersealError as error:
            return self._fail(error)

    def _take(self, octets: bytes) -> list[Effect]:
        opened = self._open(octets)
        message = apdu.decode(opened.apdu)
        kind = KIND_OF.get(type(message))
        step = TABLE.get((Role.CLIENT, self.state, kind)) if kind else None
        if step is None:
            raise ProtocolViolation(f"{message.name} in state {self.state.value}")
        return _ACTIONS[step.action](self, step, message, opened)

    def _open(self, octets: bytes) -> Opened:
        if not octets or octets[0] not in FORMS:
            return Opened(octets, 0, Style.PLAIN)
        if not self.profile.ciphered:
            raise Unsupported("a ciphered APDU in a context without ciphering")
        return unprotect(self.context, octets)

    def _accept(self, step: Step, message: Aare, opened: Opened) -> list[Effect]:
        try:
            self._check_accepted(message)
            self._negotiate(message)
            challenged = self._check_mechanism(message)
        except MetersealError as error:
            self.state = step.outcomes["refused"]
            self._end()
            return [Failed(error)]
        if self.profile.dedicated_key is not None:
            self.context.set_dedicated(self.profile.dedicated_key)
        if not challenged:
            self.state = step.outcomes["accepted"]
            return [Associated(self.profile.user)]
        self.state = step.outcomes["challenged"]
        return self._with_counters(2, self._send_proof)

    def _check_accepted(self, aare: Aare) -> None:
        if aare.result != 0:
            raise self._refusal(aare)
        wanted = acse.context_name(3 if self.profile.ciphered else 1)
        if aare.application_context_name != wanted:
            raise ProtocolViolation("the AARE names another application context than was asked for")
        if not (self.profile.ciphered or self.profile.scheme.needs_titles):
            return
        title = aare.responding_ap_title
        if title is None or len(title) != 8:
            raise ProtocolViolation("the AARE gives no system title of 8 octets")
        if title == self.profile.setup.own_title:
            raise AuthenticationFailed("the meter gives the client's own system title back")
        if self.profile.setup.peer_title is not None and title != self.profile.setup.peer_title:
            raise AuthenticationFailed(
                f"the meter gives the system title {title.hex().upper()}, not the one expected"
            )
        self.server_title = self.context.peer_title = title

    def _check_mechanism(self, aare: Aare) -> bool:
        """True when the sign-on goes on with pass 3.  Raises when the meter asks for less."""
        scheme, handshake = self.profile.scheme, self._handshake
        assert handshake is not None
        named = acse.number_of(aare.mechanism_name, acse.MECHANISM_PREFIX)
        if aare.mechanism_name is not None and named != scheme.number:
            raise AuthenticationFailed(f"the AARE names mechanism {named}, asked for was {scheme.number}")
        if scheme.passes < 4:
            if aare.user_diagnostic != 0:
                raise AuthenticationFailed("the AARE asks for an authentication that was not proposed")
            return False
        if aare.user_diagnostic != 14 or aare.mechanism_name is None:
            raise AuthenticationFailed("the AARE accepts without the authentication that was asked for")
        challenge = aare.responding_authentication_value
        if challenge is None or len(challenge) not in CHALLENGE_LENGTHS:
            raise AuthenticationFailed("the AARE brings no challenge of 8 to 64 octets")
        if challenge == handshake.own_challenge:
            raise AuthenticationFailed("the meter gives the client's own challenge back")
        handshake.peer_challenge = challenge
        handshake.peer_title = self.server_title or b""
        return True

    def _negotiate(self, aare: Aare) -> None:
        octets = aare.user_information
        if not octets:
            raise ProtocolViolation("the AARE has no user-information")
        initiate = self._opened_initiate(octets)
        if initiate.negotiated_dlms_version_number != DLMS_VERSION:
            raise ProtocolViolation(f"DLMS version {initiate.negotiated_dlms_version_number}")
        if initiate.negotiated_conformance & ~self.profile.conformance:
            raise ProtocolViolation("the meter negotiates services that were not proposed")
        self.negotiated = initiate.negotiated_conformance
        self.server_max_pdu = initiate.server_max_receive_pdu_size
        self.context.general = bool(self.negotiated & GENERAL_PROTECTION)
        self.context.minimum = self._response_minimum()

    def _opened_initiate(self, octets: bytes) -> InitiateResponse:
        context = self._initiate_context()
        opened = unprotect(context, octets) if octets[0] in FORMS else Opened(octets, 0, Style.PLAIN)
        if (self._response_minimum() | self._aarq_protection) & ~opened.applied:
            raise TooWeak(f"the Initiate response is {text(opened.applied)}, less than was asked for")
        message = apdu.decode(opened.apdu)
        if not isinstance(message, InitiateResponse):
            raise Malformed(f"user-information holds a {message.name}")
        return message

    def _refusal(self, aare: Aare) -> MetersealError:
        provider = aare.provider_diagnostic is not None
        code = aare.provider_diagnostic if provider else aare.user_diagnostic
        names = acse.PROVIDER_DIAGNOSTIC if provider else acse.USER_DIAGNOSTIC
        reason = names.get(code if code is not None else -1, f"diagnostic {code}")
        detail = self._initiate_error(aare.user_information)
        return Refused(
            f"the meter rejects the association: {reason}{detail}",
            reason=reason,
            code=code or 0,
            source="association-result",
            authenticated=False,
        )

    def _initiate_error(self, octets: bytes | None) -> str:
        """What a refused AARE says inside, as far as it can be read; only ever a hint."""
        try:
            if octets and octets[0] in FORMS:
                octets = unprotect(self._initiate_context(), octets).apdu
            message = apdu.decode(octets) if octets else None
        except MetersealError:
            return ""
        if not isinstance(message, ConfirmedServiceError) or message.error_class != 6:
            return ""
        return f" ({INITIATE_ERROR.get(message.value, message.value)})"

    def _send_proof(self) -> list[Effect]:
        prove, handshake = self.profile.scheme.prove, self._handshake
        assert prove is not None and handshake is not None
        operation = _REPLY_TO_HLS._replace(data=Data.of(prove(handshake), Tag.OCTET_STRING))
        self._invoke = (self._invoke + 1) & 0x0F
        asking = Asking((operation,), 0xC0 | self._invoke, conformance("action"), None, 256)
        self._asking = asking
        return [Reply(self._seal(asking.first().encode(), of_request(self.profile.setup.policy)))]

    def _check(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        """Pass 4: the meter proves itself, or the association is given up."""
        asking, self._asking = self._asking, None
        handshake, verify = self._handshake, self.profile.scheme.verify
        assert asking is not None and handshake is not None and verify is not None
        self.state = step.outcomes["failed"]
        try:
            self._check_protection(opened)
            outcomes = asking.take(message)
            if isinstance(outcomes, Message):
                raise ProtocolViolation("the answer to pass 3 comes in blocks")
            if outcomes[0].code != SUCCESS:
                raise asking.refusal(outcomes[0].code, bool(opened.applied) or not self.profile.ciphered)
            proof = Data.decode(outcomes[0].data).value if outcomes[0].data is not None else None
            if not isinstance(proof, bytes):
                raise AuthenticationFailed("the meter says success without a proof")
            verify(handshake, proof, Frame(opened.counter, opened.lowest_before if opened.key else None))
        except MetersealError as error:
            self._end()
            return [Failed(error)]
        self._handshake = None
        self.state = step.outcomes["proved"]
        return [Associated(self.profile.user)]

    def _answer(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        asking = self._asking
        if asking is None:
            raise ProtocolViolation(f"a {message.name} that nobody asked for")
        if step is TABLE[Role.CLIENT, State.ASSOCIATED, _ERROR]:
            self._asking = None
            return [Failed(self._hint(message, opened))]
        self._check_protection(opened)
        outcome = asking.take(message)
        if isinstance(outcome, Message):
            return self._with_counters(1, lambda: [Reply(self._seal(outcome.encode()))])
        self._asking = None
        return [Confirmed(outcome)]

    def _check_protection(self, opened: Opened) -> None:
        required = self._response_minimum()
        if required & ~opened.applied:
            raise TooWeak(f"the answer is {text(opened.applied)}, less than {text(required)}")

    def _hint(self, message: Any, opened: Opened) -> Refused:
        trusted = not self._response_minimum() & ~opened.applied
        if isinstance(message, ConfirmedServiceError):
            reason, code, source = f"class {message.error_class}", message.value, "confirmed-service-error"
        else:
            code, source = message.service_error, "exception-response"
            reason = SERVICE_ERROR.get(code, f"service error {code}")
            if isinstance(message, CounterErrorResponse):
                reason += f", lowest acceptable {message.lowest_acceptable}"
        note = "" if trusted else " (unprotected, so only a hint)"
        return Refused(
            f"the meter answers {reason}{note}",
            reason=reason,
            code=code,
            source=source,
            authenticated=trusted,
        )

    def _fail_state(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        self.state = step.outcomes["failed"]
        error = self._hint(message, opened)
        self._end()
        return [Failed(error)]

    def _released(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        self.state = step.outcomes["released"]
        warning = self._release_warning(message)
        self._end()
        return [Released(warning)]

    def _release_warning(self, message: Any) -> str:
        if not isinstance(message, Rlre):
            return f"the release was answered by an {message.name}"
        if not self._aarq_protection or "plain_release" in self.profile.options:
            return ""
        if message.reason == 1:
            return "the meter did not agree to the release"
        try:
            if not message.user_information:
                raise TooWeak("the RLRE does not repeat the protected Initiate")
            self._opened_initiate(message.user_information)
        except MetersealError as error:
            return f"the release was answered in a weaker form than it was asked: {error}"
        return ""

    # --- help -------------------------------------------------------------------------------

    def end(self) -> None:
        """The line is gone: forget the association."""
        self.state = State.IDLE
        self._end()

    def _end(self) -> None:
        self.context.drop_dedicated()
        self.context = Context(self.profile.setup, self.server_title, general=True)
        self._handshake = self._asking = self._parked = None

    def _fail(self, error: MetersealError) -> list[Effect]:
        """An answer that cannot be used: a sign-on ends, a standing association goes on without it."""
        self._asking = None
        if self.state is State.CLOSING:
            self.state = State.IDLE
            self._end()
            return [Released(f"the answer to the release cannot be used: {error}")]
        if self.state is not State.ASSOCIATED:
            self.state = State.IDLE
            self._end()
        return [Failed(error)]

    def _response_minimum(self) -> int:
        return of_response(self.profile.setup.policy) & _SUITE_BITS if self.profile.ciphered else 0

    def _initiate_context(self) -> Context:
        context = Context(self.profile.setup, self.server_title, general=True)
        context.minimum = self._response_minimum()
        return context

    def _style(self, key_set: str) -> Style:
        if key_set is GLOBAL:
            return Style.GENERAL_GLO if self.profile.general else Style.GLO
        return Style.GENERAL_DED if self.profile.general else Style.DED

    def _seal(self, octets: bytes, applied: int | None = None) -> bytes:
        if not self.profile.ciphered:
            return octets
        applied = (
            of_request(self.profile.setup.policy) & _SUITE_BITS if applied is None else applied & _SUITE_BITS
        )
        if not applied:
            return octets
        style = self._style("dedicated" if self.context.dedicated is not None else GLOBAL)
        if style.general and not self.context.general:
            style = Style.DED if self.context.dedicated is not None else Style.GLO
        return protect(self.context, octets, applied, style)

    def _room(self) -> int | None:
        if not self.server_max_pdu:
            return None
        overhead = 32 if self.profile.ciphered else 0
        if self.server_max_pdu <= overhead:
            raise TooLarge("the meter's PDU size leaves no room for a request")
        return self.server_max_pdu - overhead

    def _with_counters(self, count: int, go: Callable[[], list[Effect]]) -> list[Effect]:
        key = self.profile.setup.unicast
        if key is None or key.tx.left >= count:
            return go()
        self._parked = go
        self._token += 1
        return [Need(self._token, key, count)]

    def resume(self, token: int, result: KeyInUse | None = None) -> list[Effect]:
        """Go on after a `Need`: its key now has the counters that were asked for."""
        go, self._parked = self._parked, None
        if go is None or token != self._token:
            return []
        try:
            return go()
        except MetersealError as error:
            return self._fail(error)


_ERROR = next(
    kind for (role, state, kind), step in TABLE.items() if role is Role.CLIENT and step.action == "fail"
)

_ACTIONS: dict[str, Callable[[ClientAssociation, Step, Any, Opened], list[Effect]]] = {
    "accept": ClientAssociation._accept,
    "check": ClientAssociation._check,
    "answer": ClientAssociation._answer,
    "fail": ClientAssociation._fail_state,
    "released": ClientAssociation._released,
}
