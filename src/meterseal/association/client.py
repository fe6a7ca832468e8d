"""The client's end of one association: calls in, effects out.

The same table of states as the meter's; what the peer answers is held against what was asked:
protection, service, form, invoke-id and block (design 4, 5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from meterseal import apdu
from meterseal.apdu.acse import Aare, Rlre, Rlrq
from meterseal.apdu.services import EventNotificationRequest
from meterseal.association.accessing import identity
from meterseal.association.asking import BLOCK_RESPONSES, error_answer, refused
from meterseal.association.carrying import Carrying
from meterseal.association.effects import (
    Associated,
    Carried,
    Confirmed,
    Effect,
    Failed,
    Released,
    Reply,
    made,
)
from meterseal.association.opening import Accepted
from meterseal.association.operations import SUCCESS, Outcome, Service
from meterseal.association.profile import ClientProfile, conformance
from meterseal.association.proving import Proving
from meterseal.association.requesting import Requesting
from meterseal.association.states import (
    ASSOCIATED,
    CLOSING,
    IDLE,
    OPENING,
    PENDING,
    TABLE,
    Kind,
    Role,
    Step,
    kind_of,
)
from meterseal.association.usual import UsualGet
from meterseal.codec.data import decode
from meterseal.codec.message import Message
from meterseal.crypto import VerifyingKey
from meterseal.errors import (
    DecodeError,
    MetersealError,
    Misuse,
    ProtectionError,
    ProtocolViolation,
    Refused,
    Unsupported,
)
from meterseal.framing import gbt
from meterseal.security import SIGNED, Opened, Style
from meterseal.security.protect import PROTECTED, unprotecting
from meterseal.security.sealed import TAG, Sealed
from meterseal.security.steps import Steps

_GENERAL_PROTECTION = conformance("general-protection")
_BLOCK = bytes((gbt.TAG,))
_ACCEPT = TABLE[Role.CLIENT, OPENING, Kind.AARE]
_CHECK = TABLE[Role.CLIENT, PENDING, Kind.RESPONSE]
_RECEIVING = "receiving"
_RELEASED = (None, 0, 30)
"""Reasons of an RLRE that releases: left out, normal, user-defined."""


class ClientAssociation(Requesting):
    """One association of a client.

    `associate`, `request` and `release` start something, `receive` takes what the meter sends;
    each returns effects.  A sign-on or request ends with `Associated`, `Confirmed`, `Released` or
    `Failed`.
    """

    def __init__(self, profile: ClientProfile) -> None:
        super().__init__(profile)
        self._dedicated_before: bytes | None = None
        self.passed_over: MetersealError | None = None

    # --- calls ------------------------------------------------------------------------------

    def associate(self, challenge: bytes = b"", transaction: bytes = b"") -> list[Effect]:
        """Send the AARQ; `challenge` (8 to 64 random octets) is needed for HLS.

        `transaction` (8 random octets) is needed where requests go in layers of their own: their
        transaction-ids count up from there.

        Raises Misuse outside of the idle state, for a challenge of another length, and for a dedicated
        key that an earlier association of this object had: its counters would start again; UnknownKey
        for a sign-on by signature without a key.
        """
        self._must_stand(IDLE)
        key = self.profile.dedicated_key
        if key is not None and key == self._dedicated_before:
            raise Misuse("the dedicated key was used in an earlier association")
        self._opening.begin(challenge)
        self._begin_transactions(transaction)
        return self._with_counters(1, self._send_aarq)

    def _send_aarq(self) -> list[Effect]:
        octets = self._opening.aarq()
        self._dedicated_before = self.profile.dedicated_key
        self.state = OPENING
        return [made(Reply, (octets, False))]

    def give_up(self) -> None:
        """Nobody waits for the answer any more (time-out, cancelled).

        A standing association goes on: the late answer is known by its invoke-id and dropped.  A
        sign-on or release ends the association, for their answers carry nothing to know them by.
        """
        self._parked = None
        if self.state is ASSOCIATED:
            self._put_aside()
        else:
            self.end()

    def release(self) -> list[Effect]:
        """Send the RLRQ, which repeats the protected Initiate in a ciphered association.

        Raises Misuse when not associated.
        """
        self._must_stand(ASSOCIATED)
        return self._with_counters(1, self._send_rlrq)

    def _send_rlrq(self) -> list[Effect]:
        rlrq = Rlrq(0, None if self._releases_plainly() else self._opening.initiate())
        self.state = CLOSING
        return [Reply(rlrq.encode())]

    def _releases_plainly(self) -> bool:
        return not self._opening.request_protection or "plain_release" in self.profile.options

    # --- the way in -------------------------------------------------------------------------

    def receive(self, octets: bytes) -> list[Effect]:
        """Take one APDU of the meter; what is wrong with it ends the request as `Failed`.

        In a ciphered association an unprotected error answer ends the request as a hint: keys,
        counters and state stay as they are.  Nothing is taken while counters are being reserved.

        Of datagrams, what cannot be the answer is passed over (`passed_over` has the latest cause) and
        the wait goes on: it may be a late or repeated one, or a stranger's (H08).
        """
        if self._parked is not None:
            return []
        if type(self._asking) is UsualGet:
            data = self.answered(octets)
            if data is not None:
                return [Confirmed((Outcome(SUCCESS, data),))]
        try:
            return self._take(octets)
        except MetersealError as error:
            return self._refuse(error, _RECEIVING)

    def answered(self, octets: bytes) -> bytes | None:
        """The data, A-XDR, where this is the answer with data to a read that was asked `again`.

        None for everything else, and then nothing has changed: `receive` is for that.
        """
        asking = self._asking
        if type(asking) is not UsualGet or self._parked is not None or self.state is not ASSOCIATED:
            return None
        data = asking.answered(octets)
        if data is not None:
            if self._given_up:
                self._is_in_order()
            self._asking = self._transfer = self._pieces = None
        return data

    def _is_no_answer(self, error: MetersealError) -> bool:
        """True for what says nothing for certain about the request that waits."""
        if self.state is OPENING:
            return isinstance(error, ProtocolViolation)  # what is wrong with an AARE is worth telling
        if isinstance(error, Refused):
            return not error.authenticated
        return isinstance(error, DecodeError | ProtectionError | ProtocolViolation | Unsupported)

    def _take(self, octets: bytes) -> list[Effect]:
        if len(octets) > self.profile.max_pdu:
            self._check_size(octets, self.profile.max_pdu)
        if octets[:1] == _BLOCK:
            return self._take_block(octets)
        if self.state is OPENING:
            accepted = self._opening.known(octets)
            if accepted is not None:
                return self._introduced(_ACCEPT, accepted)
        return self._take_whole(octets)

    def _take_whole(self, octets: bytes) -> list[Effect]:
        by_blocks, self._by_blocks = self._by_blocks, False
        found = self._open(octets)
        if isinstance(found, Opened):
            return self._take_opened(found, by_blocks)
        return self._advance(found, None, lambda opened: self._take_opened(opened, by_blocks), _RECEIVING)

    def _take_opened(self, opened: Opened, by_blocks: bool) -> list[Effect]:
        octets, asking = opened.apdu, self._asking
        if type(asking) is Proving and self.state is PENDING:
            proof = asking.proof_in(octets)
            if proof is not None:
                self._check_protection(opened)
                return self._verify(_CHECK, proof, opened)
        message: Any = Sealed.of(octets) if octets[:1] == TAG else apdu.decode(octets)
        step = TABLE.get((Role.CLIENT, self.state, kind_of(message)))
        if step is None:
            raise ProtocolViolation(f"{message.name} in state {self.state.value}")
        if by_blocks and type(message) in BLOCK_RESPONSES:
            raise ProtocolViolation("blocks of a service within a general block transfer")
        return _ACTIONS[step.action](self, step, message, opened)

    def _open(self, octets: bytes) -> Opened | Steps[Opened]:
        if not octets or octets[0] not in PROTECTED:
            return Opened(octets, 0, Style.PLAIN)
        if self.state in (IDLE, OPENING):
            raise ProtocolViolation("a ciphered APDU without an association")
        if not self.profile.ciphered:
            raise Unsupported("a ciphered APDU in a context without ciphering")
        return unprotecting(self.context, octets)

    def _accept(self, step: Step, message: Aare, opened: Opened) -> list[Effect]:
        return self._introduced(step, self._opening.accept(message, opened.apdu))

    def _introduced(self, step: Step, accepted: Accepted) -> list[Effect]:
        key = self._opening.peer_key(accepted)
        return self._through(key, partial(self._accepted, step, accepted), _RECEIVING)

    def _accepted(self, step: Step, accepted: Accepted, key: VerifyingKey | None) -> list[Effect]:
        opening = self._opening
        negotiated, self.server_max_pdu, self.server_title, challenged, _ = accepted
        opening.handshake.peer_key = key
        self._agree(negotiated)
        self.context = opening.context()
        self.context.general = self.context.carrying = bool(negotiated & _GENERAL_PROTECTION)
        self.context.introduced = key
        if self.profile.dedicated_key is not None:
            self.context.set_dedicated(self.profile.dedicated_key)
            self.context.exclusive_dedicated = True
        if not challenged:
            self.state = step.outcomes["accepted"]
            return [Associated(self.profile.user)]
        self.state = step.outcomes["challenged"]
        # The token is made first, so its counter is below that of the frame that carries it.
        slow = self.profile.scheme.needs_keys
        return self._with_counters(2, self._computed, slow, opening.prove, self._carry_proof)

    def _carry_proof(self, proof: bytes | MetersealError) -> list[Effect]:
        if isinstance(proof, MetersealError):
            raise proof
        self._next_transaction(SIGNED if self.profile.signs_proof else 0)
        self._asking = Proving(self._next_invoke(), proof, self._room())
        return self._send(self._asking.first())

    def _check(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        """Pass 4: the meter proves itself, or the association is given up."""
        asking = self._asked(message)
        self._check_protection(opened)
        outcomes = asking.take(message)
        if isinstance(outcomes, Message):
            raise ProtocolViolation("the answer to pass 3 comes in blocks")
        code, data = outcomes[0]
        if code != SUCCESS:
            raise refused(Service.ACTION, code, bool(opened.applied) or not self.profile.ciphered)
        return self._verify(step, None if data is None else decode(data), opened)

    def _verify(self, step: Step, proof: object, opened: Opened) -> list[Effect]:
        slow, verify = self.profile.scheme.needs_keys, self._opening.verify
        return self._computed(slow, verify, partial(self._verified, step), proof, opened)

    def _verified(self, step: Step, error: MetersealError | None) -> list[Effect]:
        if error is not None:
            raise error
        self.context.proved()
        self._asking = None
        self.state = step.outcomes["proved"]
        return [made(Associated, (self.profile.user,))]

    def _answer(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        answered = identity(message)
        if answered in self._given_up:
            if not self._opening.answer_minimum & ~opened.applied:
                self._given_up.discard(answered)
            return []
        asking = self._asked(message)
        self._check_protection(opened)
        outcome = asking.take(message)
        if isinstance(outcome, Message):
            self._is_in_order()
            further = outcome.encode()
            return self._with_counters(1, self._send, further)
        self._answered()
        return [Confirmed(outcome)]

    def _is_in_order(self) -> None:
        if self._opening.response_minimum or not self.profile.datagrams:
            # In order, or a late one is known by its counter: what was given up is over.
            self._given_up.clear()

    def _answered(self) -> None:
        if self._given_up:
            self._is_in_order()
        self._asking = self._transfer = self._pieces = None

    def _carry(self, step: Step, sealed: Sealed, opened: Opened) -> list[Effect]:
        """The answer to what is carried.  Anything else that is sealed is a push, or late: not for here."""
        asking = self._asking
        if not isinstance(asking, Carrying) or not sealed.answers(asking.sealed):
            return []
        self._check_protection(opened)
        self._answered()
        return [Carried(sealed)]

    def _fail(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        trusted = not self._opening.answer_minimum & ~opened.applied
        hint = error_answer(message, trusted)
        if hint.authenticated and not self._given_up:
            self._asking = None  # surely its answer: there is no other request it could be about
        raise hint

    def _hear(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        """Events go to who asked for them; pushes are for a listener.  Neither answers a request."""
        if self.profile.events is not None and type(message) is EventNotificationRequest:
            self.profile.events(message)
        return []

    def _ignore(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        """What comes during the release is too late: it ends and answers nothing."""
        return []

    def _released(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        warning = self._release_warning(message)
        self.state = step.outcomes["released"]
        self._forget()
        return [Released(warning)]

    def _release_warning(self, message: Any) -> str:
        if not isinstance(message, Rlre):
            return f"the release was answered by an {message.name}"
        if message.reason not in _RELEASED:
            return f"the meter did not agree to the release (reason {message.reason})"
        if self._releases_plainly():
            return ""
        try:
            self._opening.open_initiate(message.user_information)
        except MetersealError as error:
            return f"the release was answered in a weaker form than it was asked: {error}"
        return ""

    # --- help -------------------------------------------------------------------------------

    def end(self) -> None:
        """The line is gone: forget the association."""
        self.state = IDLE
        self._forget()

    def _forget(self) -> None:
        if self.context.dedicated is not None:
            self.context.drop_dedicated()
        self._asking = self._parked = None
        self._end_transfer()
        self._given_up.clear()
        self._usual.clear()
        self._latest = None

    def _refuse(self, error: MetersealError, during: str) -> list[Effect]:
        """An answer that cannot be used: a sign-on ends, a standing association goes on without it."""
        if during == _RECEIVING and self.profile.datagrams and self._is_no_answer(error):
            self.passed_over = error
            return []
        self._put_aside()
        if self.state is CLOSING:
            self.end()
            return [Released(f"the answer to the release cannot be used: {error}")]
        if self.state is not ASSOCIATED:
            self.end()
        return [Failed(error)]


_ACTIONS: dict[str, Callable[[ClientAssociation, Step, Any, Opened], list[Effect]]] = {
    "accept": ClientAssociation._accept,
    "check": ClientAssociation._check,
    "answer": ClientAssociation._answer,
    "carry": ClientAssociation._carry,
    "fail": ClientAssociation._fail,
    "hear": ClientAssociation._hear,
    "ignore": ClientAssociation._ignore,
    "released": ClientAssociation._released,
}
