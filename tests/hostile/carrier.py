"""A head-end turned hostile: what it does to what it carries, one row each, and what the utility calls it.

A row works on the sealed request, on the sealed answer, or on what becomes of either.  It has every key that
a head-end has, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from meterseal.apdu.general import GeneralCiphering
from meterseal.errors import (
    Altered,
    MetersealError,
    Moved,
    Refused,
    Reordered,
    Replayed,
    TimedOut,
    Withheld,
)
from meterseal.security.sealed import Sealed
from tests.utility.street import Street


class Hands:
    """What a hostile head-end has in hand: the meter to pass things to, and all that went through before."""

    def __init__(self, street: Street, other: Street) -> None:
        self.street, self.other = street, other
        self.requests: list[Sealed] = []
        self.answers: list[Sealed] = []
        self.does: Callable[[Hands, Sealed], Sealed] = honest

    def __call__(self, sealed: Sealed) -> Sealed:
        return self.does(self, sealed)

    def pass_on(self, sealed: Sealed) -> Sealed:
        """To the meter and back, kept on record."""
        self.requests.append(sealed)
        answer = self.street.carrier.forward(sealed)
        self.answers.append(answer)
        return answer


def honest(hands: Hands, sealed: Sealed) -> Sealed:
    """Nothing but its task."""
    return hands.pass_on(sealed)


class Deed(NamedTuple):
    """One manipulation, and what the utility is told; `done` where the meter acts all the same."""

    id: str
    name: str
    does: Callable[[Hands, Sealed], Sealed]
    told: tuple[type[MetersealError], ...]
    done: bool


def changed(sealed: Sealed, at: int, bit: int = 1) -> Sealed:
    """With one bit turned over."""
    octets = bytearray(sealed.octets)
    octets[at] ^= bit
    return Sealed.of(bytes(octets))


def field(sealed: Sealed, **fields: Any) -> Sealed:
    """With other fields in its header."""
    return Sealed.of(GeneralCiphering.decode(sealed.octets).replace(**fields).encode())


def _dropped(hands: Hands, sealed: Sealed) -> Sealed:
    raise TimedOut("nothing came")


def _answer_dropped(hands: Hands, sealed: Sealed) -> Sealed:
    hands.pass_on(sealed)
    raise TimedOut("nothing came")


def _error_in_place(hands: Hands, sealed: Sealed) -> Sealed:
    hands.pass_on(sealed)
    raise Refused("no", reason="deciphering-error", code=5, source="exception-response", authenticated=False)


def _to_another_meter(hands: Hands, sealed: Sealed) -> Sealed:
    association = hands.other.carrier._session
    answer: Sealed = hands.other.carrier._run(_by_force(association, sealed))
    return answer


def _by_force(session: Any, sealed: Sealed) -> Any:
    """Past the check of an honest client, which does not carry what is for another meter."""
    effect = yield from session._settle(session.association.forward(sealed))
    return effect.sealed


def _answer_of_another_meter(hands: Hands, sealed: Sealed) -> Sealed:
    hands.pass_on(sealed)
    asked: list[Sealed] = []

    def keep(request: Sealed) -> Sealed:
        asked.append(hands.other.carrier.forward(request))
        return asked[-1]

    hands.other.carry = keep
    hands.other.utility.read("3/1.0.1.8.0.255:2")
    return asked[-1]


def _late(hands: Hands, sealed: Sealed) -> Sealed:
    hands.street.seconds[0] += 3600  # for an hour in a drawer
    return hands.pass_on(sealed)


def _nothing_sealed(hands: Hands, sealed: Sealed) -> Sealed:
    hands.pass_on(sealed)
    return Sealed.of(bytes.fromhex("C401C100060000002A"))


def _signed_part_in_another_layer(hands: Hands, sealed: Sealed) -> Sealed:
    """It cannot open either, so the best it can do is to put one's header around the other's content."""
    earlier = GeneralCiphering.decode(hands.requests[0].octets)
    return hands.pass_on(field(sealed, ciphered_content=earlier.ciphered_content))


DEEDS = (
    Deed("E02", "a bit of the request", lambda h, s: h.pass_on(changed(s, -20)), (Withheld,), False),
    Deed("E02", "a bit of the request's tag", lambda h, s: h.pass_on(changed(s, -1)), (Withheld,), False),
    Deed("E02", "the request's time", lambda h, s: h.pass_on(field(s, date_time=bytes(12))),
         (Withheld,), False),
    Deed("E02", "the request's transaction", lambda h, s: h.pass_on(field(s, transaction_id=b"12345678")),
         (Withheld,), False),
    Deed("E02", "a bit of the answer", lambda h, s: changed(h.pass_on(s), -20), (Altered,), True),
    Deed("E02", "a bit of the answer's tag", lambda h, s: changed(h.pass_on(s), -1), (Altered,), True),
    Deed("E02", "other information in the answer", lambda h, s: field(h.pass_on(s), other_information=b"x"),
         (Altered,), True),
    Deed("E02", "another transaction on the answer", lambda h, s: field(h.pass_on(s), transaction_id=b"1234"),
         (Altered,), True),
    Deed("E02", "an earlier request in its place", lambda h, s: h.pass_on(h.requests[0]), (Withheld,), False),
    Deed("E02", "an earlier answer in its place", lambda h, s: (h.pass_on(s), h.answers[0])[1],
         (Replayed,), True),
    Deed("E02", "the request as its own answer", lambda h, s: (h.pass_on(s), s)[1], (Replayed,), True),
    Deed("E02", "nothing that is sealed", _nothing_sealed, (Altered,), True),
    Deed("E03", "to another meter", _to_another_meter, (Withheld,), False),
    Deed("E03", "the answer of another meter", _answer_of_another_meter, (Moved,), True),
    Deed("E03", "the answer as another party's",
         lambda h, s: field(h.pass_on(s), originator_system_title=b"MSL99999"), (Moved,), True),
    Deed("E03", "the answer for another party",
         lambda h, s: field(h.pass_on(s), recipient_system_title=b"MSL99999"), (Moved,), True),
    Deed("E03", "content of one request in another", _signed_part_in_another_layer, (Withheld,), False),
    Deed("E04", "the request kept back", _dropped, (Withheld,), False),
    Deed("E04", "the answer kept back", _answer_dropped, (Withheld,), True),
    Deed("E04", "an error in its place", _error_in_place, (Withheld,), True),
)  # fmt: skip
"""Each on a request to throw the switch, and each told apart from a meter that is off."""

LATE, REORDERED = _late, Reordered
