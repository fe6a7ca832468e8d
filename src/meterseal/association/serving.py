"""Serving requests at the meter: judged once for every service form, answered under what that asks for.

A request becomes an `Exchange`; what is allowed of it goes to the party as an `Indication`, and
its outcomes come back by `respond`.  Block transfer wraps around that on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from meterseal.apdu.initiate import CounterErrorResponse, ExceptionResponse
from meterseal.association import exchange as ex
from meterseal.association.accessing import stop_after_error
from meterseal.association.blocks import BLOCK_HEADER, PROTECTION_OVERHEAD, TITLE_OVERHEAD, Incoming
from meterseal.association.effects import Effect, Indication, Refusal, Reply
from meterseal.association.exchange import Exchange
from meterseal.association.judging import SUITE_BITS, Judging, noted
from meterseal.association.memory import Line
from meterseal.association.operations import (
    SCOPE_VIOLATED,
    AnyService,
    Operation,
    Outcome,
    Several,
)
from meterseal.association.profile import ServerProfile, conformance
from meterseal.errors import MetersealError, Misuse, Replayed, TooLarge, TooWeak, UnknownKey, Unsupported
from meterseal.keys.counters import WINDOW
from meterseal.security import AUTHENTICATED, SIGNED, Context, Opened, Style
from meterseal.security.layers import answered, overhead
from meterseal.security.protect import planned, protecting
from meterseal.security.steps import Steps, through
from meterseal.security.third import Third

_SELECTIVE_ACCESS, _MULTIPLE_REFERENCES = conformance("selective-access"), conformance("multiple-references")


class Serving(Judging):
    """The part of a meter's association that stands: requests in, answers out."""

    def __init__(
        self,
        profile: ServerProfile,
        line: Line,
    ) -> None:
        super().__init__(profile.setup, line)
        self.profile = profile
        window = WINDOW if line.datagrams else 0
        self._parties = {title: one.context(window) for title, one in profile.third_parties.items()}
        self.context = self._fresh_context()

    def _fresh_context(self, peer_title: bytes | None = None) -> Context:
        profile, setup = self.profile, self.profile.setup
        minimum = setup.asks_of_request & SUITE_BITS if profile.ciphered else 0
        window = WINDOW if self.datagrams else 0
        return profile.context(peer_title or setup.peer_title, minimum, True, window, self._parties)

    # --- requests ---------------------------------------------------------------------------

    def _serve_message(self, message: Any, opened: Opened) -> list[Effect]:
        kind = type(message)
        opener = ex.OPENERS.get(kind)
        if self._open_to_all and self._is_anybodys(opened) and not opened.applied & AUTHENTICATED:
            raise TooWeak("nothing proves who asks, and a sealed answer would take a counter of the key")
        if opened.broadcast and (opener is None or opener.blocks or opener.is_confirmed(message)):
            raise UnknownKey("the broadcast key is for whole, unconfirmed requests only")
        if self._by_blocks and (opener is None or opener.blocks):
            raise Unsupported("blocks of a service within a general block transfer")
        if opener is not None:
            return self._open_exchange(opener, message, opened)
        if kind in ex.NEXT_REQUESTS:
            return self._next_block(ex.NEXT_REQUESTS[kind], message, opened)
        return self._more_data(ex.BLOCK_REQUESTS[kind], message, opened)

    def _open_exchange(self, opener: ex.Opener, message: Any, opened: Opened) -> list[Effect]:
        x = _exchange(opener.service, message[0], opened)
        x.confirmed = opener.is_confirmed(message)
        opener.fill(x, message)
        if opener.repeats:
            x.plain, x.number = opened.apdu, self._setup.changes.number
        self._check_negotiated(x, opener)
        if self._is_anybodys(opened):
            x.blocks_received = message.block.block_number if opener.blocks else 0
            return self._turn_away(x)
        # A new request ends a block transfer that was under way.
        self._exchange = None
        if not self._by_blocks:
            self._transfer = None
        if not opener.blocks:
            return self._indicate(x)
        self._require(x, (), ())
        x.incoming = Incoming(self.profile.reassembly_limit)
        self._exchange = x
        return self._more_data(x.service, message, opened)

    def _exchange_of(
        self, service: AnyService, invoke: int, opened: Opened, rights: Collection[int | None] = ()
    ) -> Exchange:
        x = _exchange(service, invoke, opened)
        self._require(x, rights, rights)
        return x

    def _check_negotiated(self, x: Exchange, opener: ex.Opener) -> None:
        needed = _SERVICE_BIT[x.service]
        if x.listed:
            needed |= _MULTIPLE_REFERENCES
        if opener.blocks:
            needed |= _BLOCK_BIT[x.service]
        for operation in x.operations:
            if operation.selection is not None:
                needed |= _SELECTIVE_ACCESS
        if needed & ~self.negotiated:
            raise Unsupported(f"{ex.SERVICE_BIT[x.service]} in a form that was not negotiated")
        if x.service is Several.ACCESS and self.profile.ciphered and not self.context.general:
            raise Unsupported("ACCESS is protected in general forms only, and they were not negotiated")

    def _more_data(self, service: AnyService, message: Any, opened: Opened) -> list[Effect]:
        x, invoke, block = self._exchange, message.invoke_id_and_priority, message.block
        waits = x is not None and x.incoming is not None and x.is_of(opened)
        if x is None or x.incoming is None or not waits or x.service is not service or x.invoke != invoke:
            code = ex.NONE_IN_PROGRESS[service]
            return self._block_error(service, invoke, block.block_number, code, opened)
        if self._is_anybodys(opened):
            return self._block_error(service, invoke, block.block_number, SCOPE_VIOLATED, opened)
        x.applied &= opened.applied
        x.go_on_as(opened)
        expected = x.incoming.number + 1
        try:
            raw = x.incoming.take(block)
            if raw is not None:
                ex.take_long_data(x, raw)
        except MetersealError as error:
            self._exchange = None
            code = (ex.ABORTED if block.block_number == expected else ex.WRONG_NUMBER)[service]
            effects = self._block_error(service, invoke, block.block_number, code, opened)
            return [Refusal(error, "block transfer"), *effects]
        x.blocks_received = block.block_number
        if raw is None:
            taken = ex.block_taken(x, block.block_number).encode()
            return self._with_counters(1, self._send, x, taken)
        self._exchange = x.incoming = None
        return self._indicate(x)

    def _next_block(self, service: AnyService, message: Any, opened: Opened) -> list[Effect]:
        x, invoke, number = self._exchange, message.invoke_id_and_priority, message.block_number
        fetched = x is not None and x.outgoing is not None and x.is_of(opened)
        if x is None or x.outgoing is None or not fetched or x.service is not service or x.invoke != invoke:
            return self._block_error(service, invoke, number, ex.NONE_IN_PROGRESS[service], opened)
        if x.applied & ~opened.applied:
            # The long answer was earned under stronger protection than this request carries.
            return self._block_error(service, invoke, number, SCOPE_VIOLATED, opened)
        if number != x.outgoing.number:
            self._exchange = None
            return self._block_error(service, invoke, number, ex.WRONG_NUMBER[service], opened)
        x.go_on_as(opened)
        outgoing = x.outgoing
        outgoing.fit(self._whole(x) - BLOCK_HEADER)  # it may be asked for in a form that takes more
        return self._with_counters(1, lambda: self._send_block(x, ex.next_block(x, outgoing).encode()))

    def _send_block(self, x: Exchange, octets: bytes) -> list[Effect]:
        self._exchange = None if x.outgoing is None or x.outgoing.done else x
        return self._send(x, octets)

    def _block_error(
        self, service: AnyService, invoke: int, number: int, code: int, opened: Opened
    ) -> list[Effect]:
        x = self._exchange_of(service, invoke, opened)
        octets = ex.block_error(service, invoke, number, code).encode()
        return self._with_counters(1, self._send, x, octets)

    @property
    def _open_to_all(self) -> bool:
        """Does what anybody sends come here, without a sign-on on the connection that it came by?"""
        return self.datagrams or self.profile.pre_established

    def _is_anybodys(self, opened: Opened) -> bool:
        """True for less than the policy asks of every request: whoever sent it ends nothing of the peer's."""
        asked = self.profile.setup.asks_of_request & SUITE_BITS if self.profile.ciphered else 0
        return bool(asked & ~opened.applied)

    def _turn_away(self, x: Exchange) -> list[Effect]:
        """The answer to a request that is not done; what is under way goes on."""
        self._judge(x)
        refused = ex.answer(x, self._room(x), False)
        return [*noted(x), *(self._with_counters(1, self._send, x, refused) if x.confirmed else [])]

    # --- rights -----------------------------------------------------------------------------

    def _indicate(self, x: Exchange) -> list[Effect]:
        """Check every operation against view, right and protection; hand on what is allowed."""
        self._judge(x)
        if x.confirmed and (x.layers or x.required & SIGNED):
            self._check_answerable(x)
        self._exchange = x
        if x.outcomes.count(None) == len(x.outcomes) > 0:
            return [self._indication(x, tuple(x.operations))]
        told = noted(x)
        if x.stops:
            stop_after_error(x.outcomes)
        allowed = tuple(o for o, refused in zip(x.operations, x.outcomes, strict=True) if refused is None)
        if not allowed:
            return [*told, *self._finish(x)]
        return [*told, self._indication(x, allowed)]

    def _indication(self, x: Exchange, allowed: tuple[Operation, ...]) -> Indication:
        self._indicated = True
        token = self._next_token()
        return Indication(token, allowed, x.applied, self.user, x.confirmed, x.broadcast, x.stops, x.third)

    # --- answers ----------------------------------------------------------------------------

    def expects(self, token: int) -> bool:
        """True while the outcomes of this `Indication` are waited for."""
        return self._indicated and token == self._token and self._exchange is not None

    def respond(self, token: int, outcomes: Iterable[Outcome]) -> list[Effect]:
        """The party's outcomes of an `Indication`, one per operation, in order.

        Raises Misuse when there are fewer or more.
        """
        x = self._exchange
        if not self.expects(token) or x is None:
            # The association ended while the party was at work: nobody waits for the answer.
            return []
        given, asked = list(outcomes), x.outcomes.count(None)
        if len(given) != asked:
            raise Misuse(f"{len(given)} outcomes for {asked} operations")
        if asked == len(x.outcomes):
            x.outcomes = [*given]
        else:
            rest = iter(given)
            x.outcomes = [o if o is not None else next(rest) for o in x.outcomes]
        if x.stops:
            stop_after_error(x.outcomes)
        self._indicated = False
        return self._answered(x)

    def _answered(self, x: Exchange) -> list[Effect]:
        """On with an exchange that has all its outcomes."""
        try:
            effects = self._finish(x)
        except MetersealError as error:
            effects = self._refuse(error, "answering")
        return self._afterwards(effects)

    def _finish(self, x: Exchange) -> list[Effect]:
        self._exchange = None
        if not x.confirmed:
            return []
        return self._with_counters(1, self._send_answer, x)

    def _send_answer(self, x: Exchange) -> list[Effect]:
        blocks = bool(self.negotiated & _BLOCK_BIT.get(x.service, 0))
        try:
            octets = ex.answer(x, self._room(x), blocks)
        except TooLarge as error:
            if x.third is None:
                raise
            return self._told_to_third(x, error)
        return self._send_block(x, octets)

    def _told_to_third(self, x: Exchange, error: MetersealError) -> list[Effect]:
        """What went wrong with a third party's request, sealed: it is nobody else's (E05)."""
        return [Refusal(error, "a request of a third party"), *self._send(x, error_response(error, True))]

    def _check_answerable(self, x: Exchange) -> None:
        """Whatever the answer will be, it is sealed.  Raises TooLarge where the client takes none such.

        Better nothing is done than something of which nobody can be told.
        """
        room = self._room(x)
        if room is not None and room <= BLOCK_HEADER:
            raise TooLarge(f"sealed answers do not go into {self.client_max_pdu} octets, and not by blocks")

    def _room(self, x: Exchange) -> int | None:
        """The largest plain APDU that the client takes once it is protected; None for any, also in blocks."""
        return None if self._by_blocks or self._prefers_blocks else self._whole(x)

    def _whole(self, x: Exchange) -> int:
        """The same of an answer, or a block of one, that goes as a whole."""
        size = self._largest(x)
        if not (x.layers or x.required & SIGNED or x.third):
            around = (PROTECTION_OVERHEAD + TITLE_OVERHEAD * x.style.general) if x.required else 0
            return size - around
        made = planned(x.required, x.layers)
        general = x.style.general or bool(made)
        around = (PROTECTION_OVERHEAD + TITLE_OVERHEAD * general) if x.required else 0
        if x.third is not None:
            made = (*made, *planned(x.third_required, x.third.layers))
        return size - around - overhead(made, self._setup.suite)

    def _largest(self, x: Exchange) -> int:
        """What the client takes; where nothing is proved and it knows blocks, no more than one lets out."""
        in_blocks = not x.applied and self._unproved and self.negotiated & _BLOCK_BIT.get(x.service, 0)
        if in_blocks:
            return self._at_once()
        return self._reaches

    def _sealed(self, x: Exchange, octets: bytes) -> bytes | Steps[bytes]:
        """An answer protected like for like; where the request was plain, service-specific."""
        if x.third is not None:
            return self._sealed_twice(x, x.third, octets)
        if not x.required and not x.layers:
            return octets
        style = x.style
        if style is Style.PLAIN:
            style = own_style(x.service is Several.ACCESS, self.context.dedicated is not None)
        return protecting(self.context, octets, x.required, style, answered(x.layers) if x.layers else ())

    def _sealed_twice(self, x: Exchange, third: Third, octets: bytes) -> Steps[bytes]:
        """For who asks, and around that for who carries it; nobody but the first can open it."""
        layers = answered(third.layers)
        inner = protecting(third.context, octets, x.third_required, Style.LAYERED, layers)
        octets = yield from through(inner)
        if not x.required and not x.layers:
            return octets
        style = own_style(True, self.context.dedicated is not None)  # no other holds what is sealed
        outer = protecting(self.context, octets, x.required, style, answered(x.layers))
        return (yield from through(outer))

    def _send(self, x: Exchange, octets: bytes) -> list[Effect]:
        if x.layers or x.required & SIGNED or x.third:  # all others were cut to fit
            room = self._room(x)
            if room is not None and len(octets) > room:
                raise TooLarge(f"{len(octets)} octets in these layers are more than the client takes")
        sealed = self._sealed(x, octets)
        if isinstance(sealed, bytes):
            return [Reply(sealed)]
        return self._advance(sealed, None, lambda octets: [Reply(octets)])

    def _refuse(self, error: MetersealError, during: str) -> list[Effect]:
        return [Refusal(error, during), Reply(error_response(error, self.profile.report_counter))]


_OWN_STYLE = {
    (False, False): Style.GLO,
    (False, True): Style.DED,
    (True, False): Style.GENERAL_GLO,
    (True, True): Style.GENERAL_DED,
}
"""How the answer to a plain request is protected: (ACCESS, with a dedicated key)."""


def own_style(access: bool, dedicated: bool) -> Style:
    """The form that this end takes where no request says which."""
    return _OWN_STYLE[access, dedicated]


def _exchange(service: AnyService, invoke: int, opened: Opened) -> Exchange:
    _, applied, style, broadcast, _, _, _, layers, third = opened
    return Exchange(service, invoke, applied, style, layers, broadcast, third)


_SERVICE_BIT = {service: conformance(name) for service, name in ex.SERVICE_BIT.items()}
_BLOCK_BIT = {service: conformance(name) for service, name in ex.BLOCK_BIT.items()}
_INSIDE = (1, 1)
"""What goes out for an error that is nobody's business outside: operation not possible."""


def error_response(error: MetersealError, report_counter: bool) -> bytes:
    """The exception-response for an error: the cause stays inside, the wire's word goes out."""
    state, service = error.wire or _INSIDE
    if not isinstance(error, Replayed):
        return ExceptionResponse(state, service).encode()
    if report_counter and error.lowest_acceptable is not None:
        return CounterErrorResponse(state, service, error.lowest_acceptable).encode()
    return ExceptionResponse(*UnknownKey.wire).encode()
