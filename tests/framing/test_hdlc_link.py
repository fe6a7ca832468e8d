"""HDLC links, both ends against each other: set-up, windows, segments, time-outs, several pairs on a line."""

from __future__ import annotations

import pytest

from meterseal.errors import ConnectionLost, Malformed, Misuse, ProtocolViolation, TimedOut
from meterseal.framing import hdlc
from meterseal.framing.hdlc import (
    Address,
    Control,
    Down,
    Frame,
    Kind,
    Parameters,
    Primary,
    Received,
    State,
    Timing,
    Up,
)
from meterseal.framing.hdlc.states import TABLE, Role
from tests.framing.hdlc_line import TIMING, Line, echo, line, meter

GET = bytes.fromhex("C001C100080000010000FF0200")


def frames_of(here: Line, direction: str, kind: Kind) -> list[Frame]:
    return [f for way, f in here.trace if way == direction and f.meaning and f.meaning.kind is kind]


# --- a link's life ------------------------------------------------------------------------------


def test_a_request_makes_the_link_and_its_answer_comes_back() -> None:
    here = line()
    here.send(GET)
    here.settle()
    assert here.client.apdus == here.meter.apdus == [GET]
    assert here.kinds("to") == ["SNRM", "I"] and here.kinds("from") == ["UA", "I"]
    assert here.client.told[0] == Up(16, 1) == here.meter.told[0]
    snrm, i_frame = (frame for way, frame in here.trace if way == "to")
    assert (snrm.destination, snrm.source) == (Address(1, 17), Address(16))
    assert i_frame.information == hdlc.COMMAND + GET
    assert frames_of(here, "from", Kind.I)[0].information == hdlc.RESPONSE + GET
    assert here.primary.deadline is None, "nothing is waited for: nothing is asked"


@pytest.mark.parametrize(
    ("primary", "octets"),
    [(Primary(), "03"), (Primary(17), "0223"), (Primary(17, 4), "00020023"), (Primary(300), "00020459")],
    ids=["1", "2", "4", "4 because it must"],
)
def test_addresses_of_all_sizes(primary: Primary, octets: str) -> None:
    here = line(primary, meter(lower=300, sizes=(4,)) if octets[-2:] == "59" else None)
    here.send(GET)
    here.settle()
    assert here.client.apdus == [GET]
    assert here.trace[0][1].destination.encode().hex().upper() == octets


def test_disconnect_ends_the_link_of_that_pair_alone() -> None:
    here = line()
    here.send(GET, 16)
    here.send(GET, 1)
    here.settle()
    here.primary.disconnect(16, 1, here.now)
    here.settle()
    assert not here.secondary.link(16, 1)
    other = here.secondary.link(1, 1)
    assert other is not None and other.state is State.CONNECTED
    assert here.kinds("to")[-1] == "DISC" and here.kinds("from")[-1] == "UA"
    assert next(event for event in here.meter.told if isinstance(event, Down))[:2] == (16, 1)
    assert not here.client.downs, "its own wish is no news to the user"
    assert not here.primary.at_rest
    here.primary.disconnect(1, 1, here.now)
    here.settle()
    assert (here.primary.at_rest, here.secondary.links) == (True, [])


def test_what_is_sent_while_the_old_link_ends_goes_over_the_next_one() -> None:
    here = line(answer=lambda client, server, apdu: [])
    here.send(b"\xc0old")
    here.step()
    here.step()  # the request is on its way, and no answer yet
    here.primary.disconnect(16, 1, here.now)
    here.answer = echo
    here.send(b"\xc0new")
    here.run(5)
    assert here.client.apdus == [b"\xc0new"]
    assert here.kinds("to").count("SNRM") == 2 and here.kinds("to").count("DISC") == 1


def test_a_late_answer_is_not_for_the_next_user_of_the_pair() -> None:
    here = line(answer=lambda client, server, apdu: [])
    here.send(b"\xc0one")
    here.settle()
    here.primary.disconnect(16, 1, here.now)
    here.send(b"\xc0two")
    here.secondary.send(16, 1, b"\xc4one", here.now)
    here.settle()
    assert here.client.apdus == [] and here.meter.apdus == [b"\xc0one", b"\xc0two"]


def test_the_client_starts_anew_and_the_meter_ends_what_was() -> None:
    secondary = meter()
    one, two = line(Primary(), secondary), line(Primary(), secondary)
    one.send(GET)
    one.settle()
    two.send(GET)
    two.settle()
    assert [type(event) for event in two.meter.told] == [Down, Up, Received]
    assert two.client.apdus == [GET]


def test_nobody_there_is_a_time_out_after_all_tries() -> None:
    here = line(Primary(99, timing=TIMING))
    here.send(GET)
    here.run(7.9)
    assert here.kinds("to") == ["SNRM"] * 4 and not here.client.downs
    here.run(0.2)
    (cause,) = here.client.downs
    assert isinstance(cause, ConnectionLost) and "8 s" in str(cause)
    assert here.primary.at_rest and here.primary.deadline is None
    assert here.kinds("from") == []


def test_a_refusal_is_told() -> None:
    here = line(tamper=dm_for_snrm)
    here.send(GET)
    here.settle()
    (cause,) = here.client.downs
    assert isinstance(cause, ConnectionLost) and "DM" in str(cause)
    assert here.primary.at_rest


def dm_for_snrm(direction: str, octets: bytes) -> list[bytes]:
    frame = hdlc.decode(octets)
    if frame.meaning == Control(Kind.UA, True):
        return [hdlc.encode(frame._replace(control=Control(Kind.DM, True).encode(), information=b""))]
    return [octets]


def test_an_agreement_that_cannot_be_read_is_none() -> None:
    def tamper(way: str, octets: bytes) -> list[bytes]:
        frame = hdlc.decode(octets)
        if way == "from" and frame.information:
            return [hdlc.encode(frame._replace(information=b"\x81\x80\x03\x05\x01\x00"))]
        return [octets]

    here = line(tamper=tamper)
    here.send(GET)
    here.settle()
    assert isinstance(here.client.downs[0], Malformed)
    assert here.kinds("to") == ["SNRM", "DISC"] and here.primary.at_rest and not here.secondary.links


def test_a_silent_link_ends_at_the_meter() -> None:
    here = line(secondary=meter(timing=Timing(inactivity=120)))
    here.send(GET)
    here.run(119)
    assert len(here.secondary.links) == 1
    here.run(2)
    assert not here.secondary.links and isinstance(here.meter.downs[0], TimedOut)
    here.send(GET)
    here.run(10)
    assert isinstance(here.client.downs[0], ConnectionLost), "a meter without a link ignores frames"


# --- parameters ---------------------------------------------------------------------------------


def test_the_smaller_sizes_hold_crosswise() -> None:
    primary = Primary(wanted=Parameters(200, 100, 3, 2))
    secondary = meter(wanted=Parameters(2000, 150, 7, 2))
    here = line(primary, secondary)
    here.send(bytes(500))
    here.settle()
    assert here.client.apdus == [bytes(500)]
    link = here.primary.link(16, 1)
    assert link is not None and link.agreed == Parameters(150, 100, 2, 2)
    assert max(len(f.information) for f in frames_of(here, "to", Kind.I)) == 150
    assert max(len(f.information) for f in frames_of(here, "from", Kind.I)) == 100


def test_a_link_is_set_up_with_user_data_behind_the_parameters_both_ways() -> None:
    """It is for nobody here: the link is up, and what was agreed holds."""

    def with_user_data(direction: str, octets: bytes) -> list[bytes]:
        frame = hdlc.decode(octets)
        if frame.meaning is None or frame.meaning.kind not in (Kind.SNRM, Kind.UA):
            return [octets]
        return [hdlc.encode(frame._replace(information=frame.information + b"\xffwho is there"))]

    here = line(Primary(wanted=Parameters(200, 100)), meter(wanted=Parameters(90, 300)))
    here.tamper = with_user_data
    here.send(GET)
    here.settle()
    assert here.client.apdus == [GET] and not here.client.downs
    link = here.primary.link(16, 1)
    assert link is not None and link.agreed == Parameters(200, 90)


@pytest.mark.parametrize("window", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 64, 128, 2030])
def test_segments_and_windows_of_any_size(window: int, size: int) -> None:
    wanted = Parameters(size, size, window, window)
    here = line(Primary(wanted=wanted), meter(wanted=wanted))
    apdu = bytes(number % 251 for number in range(300))
    here.send(apdu)
    here.settle()
    assert here.client.apdus == here.meter.apdus == [apdu]
    sent = frames_of(here, "to", Kind.I)
    assert len(sent) == -(-303 // size)
    assert [f.segmented for f in sent] == [True] * (len(sent) - 1) + [False]
    assert [f.meaning.send for f in sent if f.meaning] == [n % 8 for n in range(len(sent))]
    polls = [bool(f.control & 0x10) for f in sent]
    assert polls == [n % window == window - 1 or n == len(sent) - 1 for n in range(len(sent))]


def test_apdus_wait_their_turn_and_stay_apart() -> None:
    here = line(Primary(wanted=Parameters(10, 10, 2, 2)))
    sent = [bytes((0xC0, number)) * (number + 1) for number in range(20)]
    for apdu in sent:
        here.send(apdu)
    here.run(30)
    assert here.meter.apdus == sent
    assert here.client.apdus[0] == sent[0]


# --- loss ---------------------------------------------------------------------------------------


def losing(*numbers: int, direction: str) -> tuple[list[int], object]:
    count = [0]

    def tamper(way: str, octets: bytes) -> list[bytes]:
        if way != direction:
            return [octets]
        count[0] += 1
        return [] if count[0] in numbers else [octets]

    return count, tamper


@pytest.mark.parametrize("direction", ["to", "from"])
@pytest.mark.parametrize("lost", [(1,), (2,), (3,), (2, 3), (3, 5), (2, 4, 6)])
def test_lost_frames_are_sent_again(direction: str, lost: tuple[int, ...]) -> None:
    wanted = Parameters(40, 40, 3, 3)
    here = line(Primary(wanted=wanted), tamper=losing(*lost, direction=direction)[1])
    apdu = bytes(range(1, 251))
    here.send(apdu)
    here.run(30)
    assert here.client.apdus == here.meter.apdus == [apdu]
    assert not here.client.downs


def test_an_answer_that_was_lost_comes_again_and_the_request_does_not() -> None:
    here = line(tamper=losing(2, direction="from")[1])
    here.send(GET)
    here.run(10)
    assert here.meter.apdus == [GET] and here.client.apdus == [GET]
    assert here.kinds("to") == ["SNRM", "I", "RR"] and here.kinds("from") == ["UA", "I", "I"]


def test_a_line_that_goes_dead_ends_the_link() -> None:
    dead = [False]
    here = line(tamper=lambda way, octets: [] if dead[0] else [octets])
    here.send(GET)
    here.settle()
    dead[0] = True
    here.send(GET)
    here.run(10)
    assert isinstance(here.client.downs[0], ConnectionLost)
    assert here.kinds("to")[-4:] == ["I", "RR", "RR", "RR"]


# --- the client against a meter that breaks rules -----------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"information": bytes(200)}, "information of 200"),
        ({"control": Control(Kind.I, True, 0, 5).encode()}, "N\\(R\\) 5"),
        ({"control": 0xFF, "information": b""}, "control octet FF"),
        ({"control": Control(Kind.RR, True, None, 1).encode()}, "RR with information"),
    ],
    ids=["too long", "N(R) ahead", "unknown", "information in RR"],
)
def test_a_meter_that_breaks_the_rules_loses_the_link(change: dict[str, object], text: str) -> None:
    def tamper(way: str, octets: bytes) -> list[bytes]:
        frame = hdlc.decode(octets)
        if way == "from" and frame.meaning and frame.meaning.kind is Kind.I:
            return [hdlc.encode(frame._replace(**change))]  # type: ignore[arg-type]
        return [octets]

    here = line(Primary(wanted=Parameters(128, 128)), tamper=tamper)
    here.send(GET)
    here.settle()
    (cause,) = here.client.downs
    assert isinstance(cause, ProtocolViolation)
    with pytest.raises(ProtocolViolation, match=text):
        raise cause
    assert here.kinds("to")[-1] == "DISC" and here.primary.at_rest


def test_misuse() -> None:
    with pytest.raises(Misuse):
        Primary(size=4)
    with pytest.raises(Misuse):
        meter(sizes=(3,))
    with pytest.raises(Misuse):
        meter(sizes=())
    with pytest.raises(Misuse):
        meter(lower=200)
    with pytest.raises(Misuse):
        Timing(hold=-1)
    with pytest.raises(Misuse):
        Primary().send(200, 1, GET, 0.0)


def test_every_outcome_leads_to_a_state_of_its_role() -> None:
    reached = {role: {State.DISCONNECTED} for role in Role}
    for (role, _, _), step in TABLE.items():
        reached[role] |= set(step.outcomes.values())
    assert reached[Role.SECONDARY] == {State.DISCONNECTED, State.CONNECTED, State.REJECTED}
    assert reached[Role.PRIMARY] == {State.DISCONNECTED, State.CONNECTED, State.DISCONNECTING}
