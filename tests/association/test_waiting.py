"""While the party is at work: what waits, what is refused, and what nobody waits for."""

from __future__ import annotations

import pytest

from meterseal.apdu import services as s
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Indication, Outcome, Refusal, Reply
from meterseal.errors import ProtocolViolation
from meterseal.security import Style, protect
from tests.association.line import ATTRIBUTE, FIRST_INVOKE, Line
from tests.association.pair import (
    SMALL,
    associated,
    single,
)

# --- the party is at work ----------------------------------------------------------------------------------


def held() -> tuple[Line, Indication]:
    pair = associated()
    pair.hold = True
    line = Line(pair)
    octets = protect(line.context, s.GetRequestNormal(FIRST_INVOKE, ATTRIBUTE, None).encode(), 3, Style.GLO)
    return line, single(pair.server.receive(octets), Indication)


def test_outcomes_are_counted() -> None:
    line, indication = held()
    for outcomes in ([], [Outcome(0)] * 2):
        with pytest.raises(Exception, match="outcomes for 1 operations"):
            line.pair.server.respond(indication.token, outcomes)
    assert line.pair.server.respond(indication.token + 1, [Outcome(0)]) == []
    assert len(line.pair.server.respond(indication.token, [Outcome(0, SMALL.raw)])) == 1
    assert line.pair.server.respond(indication.token, [Outcome(0, SMALL.raw)]) == []


def test_requests_wait_in_a_bounded_queue() -> None:
    line, indication = held()
    request = s.GetRequestNormal(0xC3, ATTRIBUTE, None).encode()
    for _ in range(16):
        assert line.pair.server.receive(protect(line.context, request, 3, Style.GLO)) == []
    refusal, reply = line.pair.server.receive(protect(line.context, request, 3, Style.GLO))
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, ProtocolViolation) and refusal.during == "queueing"
    assert reply == Reply(ExceptionResponse(1, 1).encode())
    line.pair.hold = False
    effects = line.pair.server.respond(indication.token, [Outcome(0, SMALL.raw)])
    done = 0
    while effects:
        effect, *effects = effects
        if isinstance(effect, Indication):
            effects = [*line.pair.answer(effect), *effects]
        done += isinstance(effect, Reply)
    assert done == 17


def test_the_end_of_the_line_while_the_party_is_at_work() -> None:
    line, indication = held()
    line.pair.server.end()
    assert line.pair.server.respond(indication.token, [Outcome(0, SMALL.raw)]) == []
