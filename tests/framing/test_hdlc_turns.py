"""Who speaks when on an HDLC line: turns held, lapsed and shared, a busy meter, events in UI frames."""

from __future__ import annotations

from itertools import pairwise

import pytest

from meterseal.errors import ConnectionLost
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Address, Control, Frame, Kind, Parameters, Primary, Received, Timing
from tests.framing.hdlc_line import Line, line, meter

GET = bytes.fromhex("C001C100080000010000FF0200")


def test_a_slow_answer_is_polled_for() -> None:
    here = line(answer=lambda client, server, apdu: [])
    here.send(GET)
    here.run(5)
    assert here.kinds("from").count("RR") >= 3 and set(here.kinds("from")) == {"UA", "RR"}
    assert len(here.trace) < 40, "not too often"
    here.secondary.send(16, 1, b"\xc4late", here.now)
    here.run(2)
    assert here.client.apdus == [b"\xc4late"]
    count = len(here.trace)
    here.run(60)
    assert len(here.trace) == count, "what was waited for is there"


def test_a_quick_answer_goes_out_in_the_turn_that_is_held() -> None:
    here = line(answer=lambda client, server, apdu: [])
    here.send(GET)
    here.settle()
    here.run(0.2)
    here.secondary.send(16, 1, b"\xc4soon", here.now)
    here.settle()
    assert here.kinds("from") == ["UA", "I"] and here.client.apdus == [b"\xc4soon"]


def test_a_turn_that_is_held_lapses_when_the_primary_goes_on() -> None:
    here = line(answer=lambda client, server, apdu: [])
    here.send(GET)
    here.settle()
    other = hdlc.Frame(Address(1, 99), Address(16), Control(Kind.RR, True, None, 0).encode())
    here.secondary.receive(other, here.now)
    here.secondary.send(16, 1, b"\xc4soon", here.now)
    assert not here.meter.frames(), "another station has been asked: silence"


def test_a_secondary_that_is_not_polled_says_nothing() -> None:
    here = line(Primary(), meter())
    here.send(GET)
    here.settle()
    here.secondary.send(16, 1, b"\xc2event", here.now)
    here.secondary.notify(16, 1, b"\xc2event", here.now)
    assert not here.meter.frames()
    here.meter.take(hdlc.encode(Frame(Address(1), Address(16), 0x22, hdlc.COMMAND + GET)), here.now)
    assert not here.meter.frames(), "an I frame without P"


def test_several_pairs_share_the_turns() -> None:
    wanted = Parameters(20, 20, 1, 1)
    here = line(Primary(wanted=wanted))
    apdus = {
        (client, server): bytes((0xC0, client, server)) * 50 for client in (1, 2, 16) for server in (1, 17)
    }
    for (client, server), apdu in apdus.items():
        here.send(apdu, client, server)
    here.run(20)
    got = {(e.client, e.server): e.apdu for e in here.client.told if isinstance(e, Received)}
    assert got == apdus
    asked = [frame.source.upper for way, frame in here.trace if way == "to"]
    assert any(one != two for one, two in pairwise(asked[10:20]))


def busy_line(busy: list[bool]) -> Line:
    """One APDU has gone to a meter that says RNR for RR while busy, and a second one is to follow."""

    def tamper(way: str, octets: bytes) -> list[bytes]:
        frame = hdlc.decode(octets)
        meaning = frame.meaning
        if way == "from" and meaning and meaning.kind is Kind.RR and busy[0]:
            octets = hdlc.encode(
                frame._replace(control=Control(Kind.RNR, True, None, meaning.receive).encode())
            )
        return [octets]

    here = line(answer=lambda client, server, apdu: [], tamper=tamper)
    here.send(b"\xc0one")
    here.run(1)
    here.send(b"\xc0two")
    return here


def test_a_busy_meter_is_waited_for() -> None:
    busy = [True]
    here = busy_line(busy)
    here.run(25)
    assert here.meter.apdus == [b"\xc0one"]
    busy[0] = False
    here.run(5)
    assert here.meter.apdus == [b"\xc0one", b"\xc0two"]


def test_a_meter_that_is_busy_for_ever_is_given_up() -> None:
    here = busy_line([True])
    here.run(29)
    assert here.primary.unsent(16, 1)
    here.run(5)
    assert not here.primary.unsent(16, 1) and here.primary.at_rest
    cause = here.client.told[-1].cause  # type: ignore[union-attr]
    assert isinstance(cause, ConnectionLost) and "not ready for 30 s" in str(cause)


def test_who_is_busy_now_and_again_is_not_given_up() -> None:
    busy = [True]
    here = busy_line(busy)
    for number in range(3):
        here.run(20)
        busy[0] = False
        here.run(2)
        busy[0] = True
        here.run(2)
        here.send(b"\xc0" + bytes((number,)))
    assert here.primary.link(16, 1) is not None and len(here.meter.apdus) >= 4


def test_a_meter_whose_user_wants_nothing_more_says_rnr() -> None:
    here = line(answer=lambda client, server, apdu: [])
    here.send(b"\xc0one")
    here.run(1)
    here.secondary.hold(16, 1, True)
    here.send(b"\xc0two")
    here.run(5)
    assert here.meter.apdus == [b"\xc0one"]
    assert here.kinds("from")[-1] == "RNR"
    here.secondary.hold(16, 1, False)
    here.secondary.send(16, 1, b"\xc4one", here.now)
    here.run(5)
    assert here.meter.apdus == [b"\xc0one", b"\xc0two"]
    assert here.client.apdus == [b"\xc4one"]
    assert "RNR" not in here.kinds("to")


def test_what_comes_all_the_same_while_rnr_is_said_comes_again_later() -> None:
    """Sent before RNR was seen: it is not taken and not acknowledged, and lost is nothing."""
    wanted = Parameters(20, 20, 3, 3)
    here = line(Primary(wanted=wanted), meter(wanted=wanted), answer=lambda client, server, apdu: [])
    here.send(b"\xc0")
    here.run(1)
    here.secondary.hold(16, 1, True)
    here.send(b"\xc0" + bytes(100))
    here.primary.link(16, 1).peer_busy = False  # type: ignore[union-attr]
    here.run(3)
    assert len(here.meter.apdus) == 1
    here.secondary.hold(16, 1, False)
    here.run(5)
    assert here.meter.apdus == [b"\xc0", b"\xc0" + bytes(100)]


def test_a_new_link_is_not_held_for_what_the_old_one_was() -> None:
    here = line()
    here.send(b"\xc0one")
    here.run(1)
    here.secondary.hold(16, 1, True)
    here.secondary.hold(2, 1, True)  # no link: nothing to hold
    here.primary.disconnect(16, 1, here.now)
    here.send(b"\xc0two")
    here.run(5)
    assert here.client.apdus == [b"\xc0one", b"\xc0two"]


# --- UI frames ----------------------------------------------------------------------------------


def test_events_are_collected_by_an_empty_ui_frame() -> None:
    here = line()
    here.secondary.notify(16, 1, b"\x0fpush" * 60, here.now)
    here.primary.poll(16, 1, here.now + 5, here.now)
    here.settle()
    assert here.client.told == [Received(16, 1, b"\x0fpush" * 60, numbered=False)]
    assert here.kinds("to") == ["UI"] and here.kinds("from") == ["UI"] * 3
    here.run(60)
    assert here.kinds("to") == ["UI"]


def test_no_event_no_answer_without_a_link_and_rr_on_one() -> None:
    here = line()
    here.primary.poll(16, 1, here.now + 5, here.now)
    here.run(20)
    assert set(here.kinds("to")) == {"UI"} and here.kinds("from") == [] and not here.client.told
    here.send(GET)
    here.settle()
    here.meter.take(
        hdlc.encode(Frame(Address(1, 17), Address(16), Control(Kind.UI, True).encode())), here.now
    )
    (answer,) = here.meter.frames()
    assert hdlc.decode(answer).meaning == Control(Kind.RR, True, None, 1)


def test_a_meter_alone_on_its_line_pushes_unasked() -> None:
    here = line(secondary=meter(unasked=True))
    here.secondary.notify(103, 1, b"\x0fpush", here.now)
    here.settle()
    assert here.client.told == [Received(103, 1, b"\x0fpush", numbered=False)]
    (frame,) = (frame for _, frame in here.trace)
    assert frame.control == 0x03 and frame.source == Address(1)


def test_notices_without_a_reader_have_an_end() -> None:
    here = line()
    for number in range(100):
        here.secondary.notify(16, 1, bytes((0x0F, number)), here.now)
    here.primary.poll(16, 1, here.now + 5, here.now)
    here.settle()
    assert here.client.apdus == [bytes((0x0F, 84))]


def test_what_is_for_all_stations_is_heard_and_not_answered() -> None:
    here = line()
    frame = Frame(Address(1, 0x7F, 2), Address(16), Control(Kind.UI).encode(), hdlc.COMMAND + b"\xc9all")
    here.meter.take(hdlc.encode(frame), here.now)
    here.user()
    assert here.meter.told == [Received(16, 1, b"\xc9all", numbered=False)]
    here.meter.take(hdlc.encode(frame._replace(control=Control(Kind.SNRM, True).encode())), here.now)
    assert not here.meter.frames() and not here.secondary.links


@pytest.mark.parametrize(
    ("size", "lower", "heard"),
    [
        (1, None, True), (2, 17, True), (4, 17, True), (2, 0x7F, True), (4, 0x3FFF, True),
        (2, 18, False), (4, 18, False), (4, 0x7F, False),
    ],
)  # fmt: skip
def test_what_is_for_all_logical_devices_is_heard_once_under_their_number(
    size: int, lower: int | None, heard: bool
) -> None:
    here = line()
    everybody = hdlc.ALL_STATION[size]
    frame = Frame(Address(everybody, lower, size), Address(16), 0x03, hdlc.COMMAND + b"\xc9all")
    here.meter.take(hdlc.encode(frame), here.now)
    here.user()
    told = [Received(16, everybody, b"\xc9all", numbered=False)] if heard else []
    assert here.meter.told == told
    poll, snrm = Control(Kind.UI, True), Control(Kind.SNRM, True)
    for control in (poll, snrm):  # asks for an answer, which nobody gives for all
        here.meter.take(hdlc.encode(frame._replace(control=control.encode())), here.now)
    here.user()
    assert here.meter.told == told and not here.meter.frames() and not here.secondary.links
    nobody = Frame(Address(3, lower, size), Address(16), 0x03, hdlc.COMMAND + b"\xc9all")
    here.meter.take(hdlc.encode(nobody), here.now)
    here.user()
    assert here.meter.told == told, "no such logical device"


def test_a_link_without_use_is_kept_by_asking_now_and_then() -> None:
    here = line(Primary(17, timing=Timing(keep=40)), meter(timing=Timing(inactivity=120)))
    here.send(GET)
    here.run(1000)
    assert len(here.secondary.links) == 1 and not here.client.downs
    assert here.kinds("to") == ["SNRM", "I"] + ["RR"] * 25
    here.send(GET)
    here.settle()
    assert here.client.apdus == [GET] * 2
    here.primary.disconnect(16, 1, here.now)
    here.run(1000)
    assert here.primary.at_rest and here.primary.deadline is None


def test_a_link_that_is_kept_tells_when_the_meter_is_gone() -> None:
    dead = [False]
    here = line(Primary(17, timing=Timing(keep=40)), tamper=lambda way, octets: [] if dead[0] else [octets])
    here.send(GET)
    here.run(100)
    dead[0] = True
    here.run(100)
    assert isinstance(here.client.downs[0], ConnectionLost)


def test_several_devices_on_one_line_each_with_the_same_logical_device() -> None:
    primary, devices = (
        Primary(),
        {lower: hdlc.Secondary(lambda server: server == 1, lower) for lower in (17, 18)},
    )
    now = 0.0
    for lower in devices:
        primary.send(16, hdlc.on_device(1, lower), bytes((0xC0, lower)), now)
        primary.poll(16, hdlc.on_device(1, lower), 30.0, now)
    for _ in range(400):
        now += 0.01
        for frame in [*primary.frames]:
            primary.frames.popleft()
            for device in devices.values():
                device.receive(hdlc.decode(hdlc.encode(frame)), now)
        for lower, device in devices.items():
            device.tick(now)
            for event in [*device.events]:
                device.events.popleft()
                if isinstance(event, Received):
                    device.send(16, 1, event.apdu + bytes((lower,)), now)
            for frame in [*device.frames]:
                device.frames.popleft()
                primary.receive(hdlc.decode(hdlc.encode(frame)), now)
        primary.tick(now)
    came = [event for event in primary.events if isinstance(event, Received)]
    assert {event.server: event.apdu for event in came} == {
        hdlc.on_device(1, lower): bytes((0xC0, lower, lower)) for lower in devices
    }
    assert len(came) == 2


def test_a_primary_notifies_without_a_link_once_nobody_has_the_turn() -> None:
    here = line(answer=lambda client, server, apdu: [])
    here.send(GET)
    here.settle()
    assert here.kinds("to") == ["SNRM", "I"], "the meter holds the turn"
    long = b"\x10" + bytes(300)
    here.primary.notify(16, 1, b"\x10short", here.now)
    here.primary.notify(2, 17, long, here.now)
    assert not here.client.frames()
    here.secondary.send(16, 1, b"\xc4late", here.now)
    here.run(2)
    told = [one for one in here.meter.told if isinstance(one, Received) and not one.numbered]
    assert told == [Received(16, 1, b"\x10short", False), Received(2, 17, long, False)]
    notices = [frame for way, frame in here.trace if way == "to" and frame.control & 0xEF == 0x03]
    assert [frame.segmented for frame in notices] == [False, True, True, False]
    assert all(frame.control == 0x03 for frame in notices), "nothing answers"
    assert here.primary.link(2, 17) is None, "no link was made"
    assert here.client.apdus == [b"\xc4late"] and not here.client.downs
