"""F10 at the link: what a stranger on the line may send, frame by frame, to a meter that knows the rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Misuse
from meterseal.framing import hdlc
from meterseal.framing.hdlc import (
    Address,
    Control,
    Frame,
    Kind,
    Parameters,
    Received,
    Secondary,
    State,
    Timing,
)
from meterseal.framing.hdlc.link import BACKLOG
from meterseal.framing.hdlc.states import Role
from tests.framing.hdlc_line import Party, meter

CLIENT, SERVER = Address(16), Address(1, 17)
GET = bytes.fromhex("C001C100080000010000FF0200")
SNRM = Control(Kind.SNRM, True).encode()
DISC = Control(Kind.DISC, True).encode()
RR = Control(Kind.RR, True, None, 0).encode()


class Stranger:
    """Raw frames to one meter; the meter's user answers with `answers` each time."""

    def __init__(self, *answers: bytes, **options: object) -> None:
        self.meter = Secondary(lambda server: server in (1, 17), 17, **options)  # type: ignore[arg-type]
        self.party = Party(self.meter)
        self.answers = answers
        self.now = 0.0

    def put(
        self,
        control: int,
        information: bytes = b"",
        source: Address = CLIENT,
        destination: Address = SERVER,
        segmented: bool = False,
    ) -> list[Frame]:
        return self.raw(hdlc.encode(Frame(destination, source, control, information, segmented)))

    def raw(self, octets: bytes) -> list[Frame]:
        self.party.take(octets, self.now)
        while self.meter.events:
            event = self.meter.events.popleft()
            self.party.told.append(event)
            if isinstance(event, Received):
                for answer in self.answers:
                    self.meter.send(event.client, event.server, answer, self.now)
        return [hdlc.decode(octets) for octets in self.party.frames()]

    def connect(self, wanted: Parameters | None = None, **options: Any) -> list[Frame]:
        return self.put(SNRM, (wanted or Parameters()).encode(), **options)


def i_frame(send: int, receive: int, poll: bool = True) -> int:
    return Control(Kind.I, poll, send, receive).encode()


def only(frames: list[Frame]) -> Control:
    (frame,) = frames
    assert frame.meaning is not None
    return frame.meaning


@pytest.mark.parametrize(
    "source",
    [Address(0), Address(0x7F), Address(16, 1, 4)],
    ids=["no station", "all stations", "client of four octets"],
)
def test_F10_strange_clients_get_no_answer(source: Address) -> None:
    here = Stranger()
    assert here.connect(source=source) == []


@pytest.mark.parametrize(
    "destination",
    [
        Address(2),
        Address(1, 18),
        Address(2, 17),
        Address(1, 18, 4),
        Address(0),
        Address(0x7F, 17),
        Address(1, 0x7F),
    ],
    ids=str,
)
def test_F10_strange_addresses_get_no_answer(destination: Address) -> None:
    here = Stranger()
    assert here.connect(destination=destination) == []
    assert here.put(DISC, destination=destination) == []
    assert here.put(i_frame(0, 0), hdlc.COMMAND + GET, destination=destination) == []
    assert not here.meter.links and not here.party.apdus


@pytest.mark.parametrize("size", [1, 2, 4])
def test_F10_forms_of_address_not_in_use_get_no_answer(size: int) -> None:
    forms = {1: Address(1), 2: Address(1, 17), 4: Address(1, 17, 4)}
    here = Stranger(sizes=(size,))
    for other, form in forms.items():
        assert bool(here.connect(destination=form)) is (other == size)


def test_F10_another_form_of_address_is_not_this_link() -> None:
    here = Stranger(GET)
    here.connect()
    assert here.put(i_frame(0, 0), hdlc.COMMAND + GET, destination=Address(1)) == []
    assert here.party.apdus == []
    assert only(here.connect(destination=Address(1))).kind is Kind.UA, "SNRM may change the form"
    assert here.put(RR) == [] and only(here.put(RR, destination=Address(1))).kind is Kind.RR
    assert len(here.meter.links) == 1


@pytest.mark.parametrize("control", range(256), ids=lambda octet: f"{octet:02X}")
def test_F10_without_a_link_only_snrm_and_disc_are_answered(control: int) -> None:
    here = Stranger(GET)
    frames = here.put(control, hdlc.COMMAND + GET if control != SNRM else b"")
    expected = {SNRM: Control(Kind.UA, True), DISC: Control(Kind.DM, True)}.get(control)
    assert [frame.meaning for frame in frames] == ([] if expected is None else [expected])
    assert bool(here.meter.links) is (control == SNRM)


@pytest.mark.parametrize(
    "information",
    [b"\x81", b"\x80\x81\x00", b"\x81\x80\x03\x05\x01\x00", b"\x81\x80\x03\x09\x01\x80", b"\x81\x80\x7f\x05"],
)
def test_F10_parameters_that_cannot_be_read_are_refused(information: bytes) -> None:
    here = Stranger()
    assert only(here.put(SNRM, information)) == Control(Kind.DM, True)
    here.connect()
    assert only(here.put(SNRM, information)) == Control(Kind.DM, True)
    assert not here.meter.links and len(here.party.downs) == 1


def test_F10_snrm_in_session_starts_anew_and_touches_no_other_client() -> None:
    here = Stranger(GET)
    here.connect()
    here.connect(source=Address(1))
    assert only(here.put(i_frame(0, 0), hdlc.COMMAND + GET)) == Control(Kind.I, True, 0, 1)
    here.connect(source=Address(1))
    assert only(here.put(i_frame(1, 1), hdlc.COMMAND + GET)) == Control(Kind.I, True, 1, 2)
    here.connect()
    assert only(here.put(i_frame(0, 0), hdlc.COMMAND + GET)) == Control(Kind.I, True, 0, 1)
    assert len(here.party.downs) == 2


def test_F10_snrm_and_disc_without_poll_change_nothing() -> None:
    here = Stranger()
    assert here.put(Control(Kind.SNRM).encode()) == [] and not here.meter.links
    here.connect()
    assert here.put(Control(Kind.DISC).encode()) == [] and len(here.meter.links) == 1


def test_F10_unknown_control_is_rejected_until_snrm() -> None:
    here = Stranger()
    here.connect()
    (frame,) = here.put(0x9B)
    assert frame.meaning == Control(Kind.FRMR, True) and frame.information == bytes((0x9B, 0x00, 0x01))
    assert len(here.party.downs) == 1
    for control in (RR, i_frame(0, 0), 0xFF, Control(Kind.UA, True).encode()):
        (frame,) = here.put(control)
        assert frame.meaning == Control(Kind.FRMR, True) and frame.information == bytes((0x9B, 0x00, 0x01))
    assert here.put(i_frame(0, 0, False)) == [], "not polled"
    assert len(here.party.downs) == 1 and here.party.apdus == []
    assert only(here.connect()).kind is Kind.UA
    assert only(here.put(RR)).kind is Kind.RR


def test_F10_a_rejected_link_can_be_ended() -> None:
    here = Stranger()
    here.connect()
    here.put(0x9B)
    assert only(here.put(DISC)) == Control(Kind.UA, True) and not here.meter.links


def test_F10_information_too_long_is_rejected() -> None:
    here = Stranger(wanted=Parameters(128, 128))
    here.connect()
    here.put(i_frame(0, 0), hdlc.COMMAND + bytes(125))
    (frame,) = here.put(i_frame(1, 0), bytes(129))
    assert frame.meaning == Control(Kind.FRMR, True)
    assert frame.information == bytes((i_frame(1, 0), 1 << 5, 0x04))


def test_F10_n_r_that_was_never_sent_is_rejected() -> None:
    for ahead in range(1, 8):
        here = Stranger()
        here.connect()
        (frame,) = here.put(Control(Kind.RR, True, None, ahead).encode())
        assert frame.meaning == Control(Kind.FRMR, True) and frame.information[2] == 0x08


def test_F10_information_where_none_belongs_is_rejected() -> None:
    here = Stranger()
    here.connect()
    (frame,) = here.put(RR, b"\x01")
    assert frame.meaning == Control(Kind.FRMR, True) and frame.information[2] == 0x03


@pytest.mark.parametrize("wrong", range(1, 8))
def test_F10_wrong_n_s_gets_the_expected_number(wrong: int) -> None:
    here = Stranger(GET)
    here.connect()
    assert only(here.put(i_frame(wrong, 0), hdlc.COMMAND + GET)) == Control(Kind.RR, True, None, 0)
    assert here.party.apdus == []
    assert only(here.put(i_frame(0, 0), hdlc.COMMAND + GET)) == Control(Kind.I, True, 0, 1)


def test_F10_frames_beyond_the_window_are_taken_in_order_all_the_same() -> None:
    here = Stranger(GET)
    here.connect(Parameters(window_transmit=1, window_receive=1))
    for number in range(6):
        assert here.put(i_frame(number, 0, False), hdlc.COMMAND + GET) == []
    assert len(here.party.apdus) == 6
    assert only(here.put(Control(Kind.RR, True, None, 0).encode())) == Control(Kind.I, True, 0, 6)


def test_F10_segmentation_for_ever_has_an_end() -> None:
    here = Stranger(limit=1000)
    here.connect()
    for number in range(8):
        frames = here.put(i_frame(number, 0), bytes(128), segmented=True)
        if frames[0].meaning == Control(Kind.FRMR, True):
            break
    else:
        pytest.fail("more than the limit was taken in")
    assert number == 7 and frames[0].information[2] == 0x04
    assert only(here.connect()).kind is Kind.UA


@pytest.mark.slow
def test_F10_segmentation_for_ever_in_ui_has_an_end() -> None:
    here = Stranger(limit=1000)
    for number in range(10_000):
        here.put(Control(Kind.UI).encode(), bytes(128), source=Address(number % 100 + 1), segmented=True)
    held = sum(len(begun.octets) for begun in here.meter._notices._open.values())
    assert held <= 16 * 1003


def test_F10_answers_that_nobody_fetches_stop_the_intake() -> None:
    here = Stranger(bytes(900))
    here.connect()
    for number in range(1000):
        here.put(i_frame(number % 8, 0, False), hdlc.COMMAND + GET)
    assert len(here.party.apdus) == BACKLOG[Role.SECONDARY]
    assert only(here.put(RR)).kind is Kind.I
    here.put(i_frame(BACKLOG[Role.SECONDARY] % 8, 0, False), hdlc.COMMAND + GET)
    frames = here.put(RR)  # full again, and the client has acknowledged nothing
    assert [frame.meaning and frame.meaning.kind for frame in frames] == [Kind.I, Kind.RNR]
    assert [bool(frame.control & 0x10) for frame in frames] == [False, True]


@pytest.mark.parametrize("information", [b"", b"\xe6", hdlc.RESPONSE + GET, GET, hdlc.COMMAND])
def test_F10_without_the_llc_of_a_command_nothing_reaches_the_user(information: bytes) -> None:
    here = Stranger(GET)
    here.connect()
    assert only(here.put(i_frame(0, 0), information)) == Control(Kind.RR, True, None, 1)
    here.put(Control(Kind.UI).encode(), information)
    assert here.party.apdus == []


def test_F10_links_of_all_clients_have_an_end() -> None:
    here = Stranger(timing=Timing(inactivity=10))
    for client in range(1, 128):
        for form in (Address(client), Address(client, 5)):
            for server in (Address(1), Address(1, 17), Address(17, 17, 4)):
                here.connect(source=form, destination=server)
    assert len(here.meter.links) == 126 * 2
    here.now = 11
    here.meter.tick(here.now)
    assert not here.meter.links and here.meter.deadline is None


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20), st.booleans()), max_size=40))
def test_F10_any_frames_leave_a_meter_that_can_be_asked(frames: list[tuple[int, bytes, bool]]) -> None:
    here = Stranger(GET)
    here.connect()
    for control, information, segmented in frames:
        polled = bool(control & 0x10)
        answer = here.put(control, information, segmented=segmented)
        assert polled or not answer, "a secondary speaks when it is asked"
        assert not answer or sum(bool(frame.control & 0x10) for frame in answer) == 1
        here.now += 1
        here.meter.tick(here.now)
        here.party.frames()
    assert only(here.connect()).kind is Kind.UA
    assert only(here.put(i_frame(0, 0), hdlc.COMMAND + GET)) == Control(Kind.I, True, 0, 1)
    link = here.meter.link(16, 1)
    assert link is not None and link.state is State.CONNECTED


@given(st.binary(max_size=400))
def test_F10_any_octets_leave_a_meter_that_can_be_asked(octets: bytes) -> None:
    here = Stranger(GET)
    here.raw(octets)
    here.party.reader.reset()
    assert only(here.connect()).kind is Kind.UA


def test_an_address_that_is_none() -> None:
    with pytest.raises(Misuse):
        Secondary(lambda server: True, 1 << 14)


def test_F10_an_answer_of_another_meter_on_the_bus_is_no_question() -> None:
    """Client 1 and logical device 1 in one octet look alike; LLC octets tell whose frame it is."""
    one, other = meter(lower=17), meter(lower=18)
    other.notify(1, 1, b"\x0fother", 0.0)
    for apdu in (b"\x0fone", b"\x0f" + bytes(300)):
        one.notify(1, 1, apdu, 0.0)
        one.receive(Frame(Address(1, 17), Address(1), 0x13), 0.0)
        for frame in one.frames:
            other.receive(frame, 0.0)
        one.frames.clear()
        assert not other.frames and not other.events
    other.receive(Frame(Address(1, 18), Address(1), 0x13), 0.0)
    (frame,) = other.frames
    assert frame.information == hdlc.RESPONSE + b"\x0fother"
