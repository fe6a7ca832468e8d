"""The meter's end of one association: a message in, effects out.

No parsing, no cryptography, no access rule and no key lives here: the class walks the state
table and calls `apdu`, `security`, `signon`, `serving` and the party's view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from meterseal import apdu
from meterseal.apdu.acse import Aarq, Rlre, Rlrq
from meterseal.apdu.ciphered import SC_BROADCAST, parse
from meterseal.apdu.initiate import InitiateRequest
from meterseal.association import signon
from meterseal.association.admitting import Admitting
from meterseal.association.effects import Effect, Refusal, Released, Reply
from meterseal.association.exchange import OPENERS
from meterseal.association.memory import Line
from meterseal.association.operations import (
    Service,
)
from meterseal.association.profile import ServerProfile, conformance
from meterseal.association.proving import call_of
from meterseal.association.states import ASSOCIATED, IDLE, PENDING, STANDING, TABLE, Kind, Role, Step, kind_of
from meterseal.errors import (
    DecodeError,
    Malformed,
    MetersealError,
    ProtocolViolation,
    Replayed,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.framing import gbt
from meterseal.security import Context, Opened, Style, unprotect
from meterseal.security.initiates import is_sealed
from meterseal.security.keyforms import is_fresh
from meterseal.security.protect import LAYERED, PROTECTED, unprotecting
from meterseal.security.steps import Steps

QUEUE = 16
"""Requests that wait while one is being answered; more are refused."""

_GENERAL_PROTECTION = conformance("general-protection")
_BLOCK = bytes((gbt.TAG,))
_LINE = Line()
_SERVER, _AARQ = Role.SERVER, Kind.AARQ
_PROVE = TABLE[_SERVER, PENDING, Kind.REQUEST]


class ServerAssociation(Admitting):
    """One association of a meter, in any state; `draw(n)` gives n random octets for challenges.

    Over datagrams counters may come out of order, each once, and what came before, or makes no sense, is
    not answered.
    """

    def __init__(
        self,
        profile: ServerProfile,
        draw: Callable[[int], bytes],
        line: Line = _LINE,
    ) -> None:
        super().__init__(profile, draw, line)
        self._queue: deque[bytes | Opened] = deque()
        self.end()

    # --- the way in -------------------------------------------------------------------------

    def receive(self, octets: bytes | Opened) -> list[Effect]:
        """Take one APDU, or what `open_for_all` made of one: that gets no answer.

        Returns what to do; never raises for anything a peer can send.
        """
        self._ready = None
        if self._parked is None and not self._indicated:
            if isinstance(octets, Opened):
                return self._settled(self._hear(octets))
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
        if len(octets) > self.profile.max_pdu:
            self._check_size(octets, self.profile.max_pdu)
        if octets[:1] == Aarq.tag:
            return self._take_aarq(self._step(_AARQ, "aarq"), octets)
        if octets[:1] == _BLOCK:
            if self.state is PENDING:
                raise ProtocolViolation("blocks before the sign-on is complete")
            return self._take_block(octets)
        return self._take_whole(octets)

    @property
    def stands(self) -> bool:
        """True while requests are served."""
        return self.state in (ASSOCIATED, STANDING)

    def open_for_all(self, octets: bytes) -> Opened:
        """What came for all logical devices, with these keys: once for all associations that share them.

        Each takes it by `receive`.  Raises MetersealError for what does not hold, and for what is neither
        plain nor whole and under the broadcast key alone: curve work is done for one that asks.
        """
        if octets[:1] and octets[0] in PROTECTED:
            layered = octets[0] in LAYERED
            if layered or not parse(octets).sc & SC_BROADCAST:
                raise UnknownKey("what is for all logical devices comes under the broadcast key")
        opened = self._open(octets)
        if not isinstance(opened, Opened):
            opened.close()
            raise Unsupported("what is signed comes to one logical device at a time")
        return opened

    def _hear(self, opened: Opened) -> list[Effect]:
        """A request that nobody answers, whatever comes of it."""
        try:
            message = apdu.decode(opened.apdu)
            opener = OPENERS.get(type(message))
            if not self.stands or opener is None or opener.blocks or opener.is_confirmed(message):
                raise ProtocolViolation(f"{message.name} for all: not a whole, unconfirmed request")
            effects = self._take_opened(opened)
        except MetersealError as error:
            return [Refusal(error, "receiving for all logical devices")]
        return [effect for effect in effects if not isinstance(effect, Reply)]

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
        if self.state is PENDING:
            call = call_of(opened.apdu)
            if call is not None:
                return self._take_proof(_PROVE, opened, *call)
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
        return self._with_counters(1, self._told_to_third, x, refused)

    def _step(self, kind: Kind, name: str) -> Step:
        step = TABLE.get((_SERVER, self.state, kind))
        if step is None:
            raise ProtocolViolation(f"{name} in state {self.state.value}")
        return step

    def _open(self, octets: bytes) -> Opened | Steps[Opened]:
        if not octets or octets[0] not in PROTECTED:
            return Opened(octets, 0, Style.PLAIN)
        if self.state is IDLE:
            raise ProtocolViolation("a ciphered APDU without an association")
        if not self.profile.ciphered:
            raise Unsupported("a ciphered APDU in a context without ciphering")
        return unprotecting(self.context, octets)

    def _serve(self, step: Step, message: Any, opened: Opened) -> list[Effect]:
        return self._serve_message(message, opened)

    # --- release ----------------------------------------------------------------------------

    def _release(self, step: Step, message: Rlrq, opened: Opened) -> list[Effect]:
        try:
            information = self._released_initiate(message)
        except MetersealError as error:
            return [Refusal(error, "releasing"), Reply(Rlre(signon.NOT_FINISHED).encode())]
        if information is None:
            return self._released(step, None)
        return self._with_counters(1, self._released, step, information)

    def _released_initiate(self, message: Rlrq) -> Opened | None:
        """Check that the RLRQ repeats the Initiate under the protection that the AARQ had."""
        first, octets = self._initiate, message.user_information
        if message.reason not in signon.RELEASE_REASONS:
            raise Malformed(f"release reason {message.reason}")
        if first is None or not first.applied or ("plain_release" in self.profile.options and not octets):
            return None
        if not octets or not is_sealed(octets):
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
        if self.state is IDLE and self._parked is None:
            self._forget()  # a sign-on that broke off half way
        effects = super()._refuse(error, during)
        return effects[:1] if self._silent(error) else effects

    def _silent(self, error: MetersealError) -> bool:
        """True where nobody waits for an answer: a datagram that came before, or is none of a client's."""
        idle = self.state is IDLE
        return self.datagrams and isinstance(error, (Replayed, DecodeError) if idle else Replayed)

    def end(self) -> None:
        """The line is gone, or another association takes this one's place: forget everything."""
        self._forget()
        self._queue.clear()
        self.state = STANDING if self.profile.pre_established else IDLE

    def _forget(self, context: Context | None = None) -> None:
        if self.context.dedicated is not None:
            self.context.drop_dedicated()
        self.context: Context = context or self._fresh_context()
        self._exchange = self._handshake = self._initiate = self._parked = None
        self._track = self._ready = None
        self._indicated = self._by_blocks = False
        self._end_transfer()
        if self._kept:
            self._count()
        self.user = None
        self._agree(self.profile.conformance if self.profile.pre_established else 0)


_ACTIONS: dict[str, Callable[[ServerAssociation, Step, Any, Opened], list[Effect]]] = {
    "prove": ServerAssociation._prove,
    "serve": ServerAssociation._serve,
    "release": ServerAssociation._release,
}
