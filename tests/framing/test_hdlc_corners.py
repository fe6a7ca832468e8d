"""Corners of an HDLC line: what two things at once lead to, and what a station says of itself meanwhile."""

from __future__ import annotations

import pytest

from meterseal.errors import TimedOut
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Address, Control, Frame, FrameReader, Kind, Primary, Received, Timing
from tests.framing.hdlc_line import Line, line, meter

GET = bytes.fromhex("C001C100080000010000FF0200")
FLAG = b"\x7e"


def test_what_was_not_sent_even_once_is_told() -> None:
    here = line(answer=lambda client, server, apdu: [])
    assert not here.primary.unsent(16, 1), "nobody speaks for that pair"
    here.send(GET)
    assert here.primary.unsent(16, 1), "SNRM comes first"
    here.settle()
    assert not here.primary.unsent(16, 1)
    here.primary.disconnect(16, 1, here.now)
    assert not here.primary.unsent(16, 1)
    here.primary.send(16, 1, GET, here.now)
    assert here.primary.unsent(16, 1), "it waits for the next link"
    here.run(5)
    assert not here.primary.unsent(16, 1) and here.meter.apdus == [GET, GET]


def test_to_disconnect_whom_nobody_speaks_for_is_nothing() -> None:
    here = line()
    here.primary.disconnect(16, 1, here.now)
    assert not here.step() and here.primary.at_rest and here.primary.deadline is None


def two_links() -> Line:
    here = line(Primary(17, timing=Timing(pause=30.0)))
    for server in (1, 17):
        here.send(GET, server=server, wait=0.0)
        here.settle()
    assert [event for event in here.client.told if isinstance(event, Received)] == [
        Received(16, 1, GET),
        Received(16, 17, GET),
    ]
    return here


def test_disconnect_of_a_link_that_is_ending_already() -> None:
    """It broke the rules while another had the turn; its user leaves before DISC could go out."""
    here = two_links()
    here.send(GET, server=17, wait=0.0)
    (asked,) = here.client.frames()
    wrong = Control(Kind.RR, True, None, 5).encode()  # acknowledges what was never sent
    here.primary.receive(Frame(Address(16), Address(1, 17), wrong), here.now)
    assert not here.client.frames(), "the turn is with the other"
    here.primary.disconnect(16, 1, here.now)
    here.meter.take(asked, here.now)
    here.user()
    here.settle()
    here.run(1)
    assert here.primary.link(16, 1) is None and here.primary.link(16, 17) is not None
    assert here.kinds("to")[-1] == "DISC" and here.kinds("from")[-1] == "UA"
    assert len(here.secondary.links) == 1


def test_a_frame_of_another_address_is_not_for_the_link() -> None:
    here = two_links()
    before = len(here.client.told)
    for destination, source in ((Address(16), Address(1, 18)), (Address(16), Address(1))):
        frame = Frame(destination, source, Control(Kind.DM, True).encode())
        here.primary.receive(frame, here.now)
    here.run(5)
    assert len(here.client.told) == before and len(here.primary.links) == 2


def test_a_link_may_end_while_its_turn_is_held() -> None:
    here = line(
        secondary=meter(timing=Timing(hold=200.0, inactivity=100.0)), answer=lambda client, server, apdu: []
    )
    here.send(GET, wait=1.0)
    here.settle()
    held = here.secondary.deadline
    assert held == here.now + 100.0, "inactivity comes first"
    here.secondary.tick(held)
    here.user()
    assert [type(cause) for cause in here.meter.downs] == [TimedOut]
    assert here.secondary.deadline is None and not here.secondary.links
    here.secondary.send(16, 1, GET, held)
    assert not here.meter.frames(), "nobody has the turn"


@pytest.mark.parametrize("which", ["primary", "secondary"])
def test_a_damaged_notice_is_dropped_without_a_word(which: str) -> None:
    """Segments of UI frames that are too long together: what follows begins anew."""
    here = line(Primary(17, limit=600), meter(limit=600))
    party = here.client if which == "primary" else here.meter
    lead = hdlc.RESPONSE if which == "primary" else hdlc.COMMAND
    ends = (Address(16), Address(1, 17)) if which == "primary" else (Address(1, 17), Address(16))
    control = Control(Kind.UI).encode()
    for number in range(6):
        piece = (lead if not number else b"") + bytes(125)
        party.take(hdlc.encode(Frame(*ends, control, piece, number < 5)), here.now)
    whole = Frame(*ends, control, lead + GET)
    party.take(hdlc.encode(whole), here.now)
    here.client.told += here.primary.events
    here.user()
    assert party.told == [Received(16, 1, GET, numbered=False)]


def test_a_reader_tells_what_it_waits_for() -> None:
    reader = FrameReader()
    octets = hdlc.encode(Frame(Address(1, 17), Address(16), Control(Kind.SNRM, True).encode()))

    def state() -> tuple[bool, int]:
        return reader.waiting, reader.held

    assert state() == (False, 0)
    assert not list(reader.feed(octets[:-1]))
    assert state() == (True, len(octets) - 2)
    (frame,) = reader.feed(FLAG)
    assert frame.meaning == Control(Kind.SNRM, True) and reader.held == 0
    reader.feed(octets[:5])
    reader.reset()
    assert state() == (False, 0) and reader.noise > 0
