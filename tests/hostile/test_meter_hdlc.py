"""A meter on HDLC over TCP: what a stranger sends frame by frame, and what it does to those who signed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterseal import Credentials, sync
from meterseal.crypto import random_octets
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Address, Control, Frame, FrameReader, Kind, Parameters
from tests.hostile import raw
from tests.hostile.raw import NOT_POSSIBLE, REJECTED, Running
from tests.meter.world import Client

GET = bytes.fromhex("C001C100080000010000FF0200")
CLOCK, REGISTER = "0.0.1.0.0.255", "1.0.1.8.0.255"
METER = Address(1, 17)
SNRM, DISC = Control(Kind.SNRM, True), Control(Kind.DISC, True)


class Stranger(raw.Line):
    """A connection that writes its own frames; as a line it carries the APDUs of one client in I frames."""

    def __init__(self, here: Running) -> None:
        super().__init__(here.server.port)
        here.lines.append(self)
        self.reader = FrameReader()
        self.frames: Iterator[Frame] = iter(())
        self.sent = self.seen = 0

    def frame(
        self, control: Control | int, information: bytes = b"", client: int = 2, server: Address = METER
    ) -> None:
        octet = control if isinstance(control, int) else control.encode()
        self.raw(hdlc.encode(Frame(server, Address(client), octet, information)))

    def next(self) -> Frame:
        """The next frame from the meter."""
        while True:
            for frame in self.frames:
                return frame
            part = self.socket.recv(65536)
            assert part, "closed by the meter"
            self.frames = self.reader.feed(part)

    def meaning(self) -> Control:
        meaning = self.next().meaning
        assert meaning is not None
        return meaning

    def connect(self, client: int = 2, server: Address = METER) -> None:
        """SNRM and UA, with the largest frames."""
        self.frame(SNRM, Parameters(2030, 2030, 1, 1).encode(), client, server)
        assert self.meaning() == Control(Kind.UA, True)
        self.sent = self.seen = 0

    def quiet(self, seconds: float = 0.05) -> bool:
        return super().quiet(seconds)

    def put(self, apdu: bytes, client: int, server: int = 1) -> None:
        self.frame(Control(Kind.I, True, self.sent % 8, self.seen % 8), hdlc.COMMAND + apdu, client)
        self.sent += 1

    def take(self) -> bytes | None:
        """The APDU of the next I frames; what is only RR is asked again."""
        whole = b""
        while True:
            frame = self.next()
            if frame.meaning is not None and frame.meaning.kind is Kind.I:
                self.seen += 1
                whole += frame.information
                if not frame.segmented:
                    return whole.removeprefix(hdlc.RESPONSE)
            self.frame(Control(Kind.RR, True, None, self.seen % 8), client=frame.destination.upper)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with raw.running(tmp_path_factory.mktemp("hdlc"), url="hdlc+tcp://127.0.0.1:0") as one:
        yield one


def signed_on(here: Running, role: str, client: int) -> tuple[Stranger, Client]:
    line = Stranger(here)
    line.connect(client)
    return line, here.signed_on(role, line)


def works(here: Running) -> None:
    """The operator signs on and reads."""
    _, operator = signed_on(here, "operator", 2)
    assert operator.get(3, REGISTER)


def standing(here: Running) -> int:
    """Associations that are open."""
    return here.do(lambda: sum(live.open for _, live in here.party.live()))


# --- F10 ------------------------------------------------------------------------------------------


def test_F10_information_before_snrm_gets_nothing(here: Running) -> None:
    line = Stranger(here)
    line.frame(Control(Kind.I, True, 0, 0), hdlc.COMMAND + GET, 16)
    line.frame(Control(Kind.RR, True, None, 0), b"", 16)
    assert line.quiet()
    line.frame(DISC, b"", 16)
    assert line.meaning() == Control(Kind.DM, True)


@pytest.mark.parametrize(
    "server", [Address(1, 18), Address(3), Address(17, 17, 4), Address(1, 0x7F), Address(0, 17)], ids=str
)
def test_F10_only_its_own_addresses_are_answered(here: Running, server: Address) -> None:
    line = Stranger(here)
    line.frame(SNRM, b"", 16, server)
    known = server == Address(17, 17, 4)
    assert line.quiet() is not known


def test_B06_a_ui_frame_for_all_logical_devices_is_heard_and_not_answered(
    here: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a line as it comes: what is no request, or not under the broadcast key, is refused in silence."""
    line, manager = signed_on(here, "manager", 1)
    refused: list[str] = []
    monkeypatch.setattr(
        here.meter.events, "refused", lambda who, error, during: refused.append(f"{who}: {error}")
    )
    for apdu in (GET, manager.sealed(GET), manager.sealed(GET[:2] + b"\x81" + GET[3:], 3)):
        for everybody in (Address(0x7F), Address(0x7F, 0x7F), Address(0x3FFF, 17, 4)):
            line.frame(0x03, hdlc.COMMAND + apdu, 1, everybody)
    assert line.quiet() and manager.get(8, CLOCK)
    assert len(refused) == 9 and sum("under the broadcast key" in line for line in refused) == 6
    assert any(f"logical device {0x3FFF}" in line for line in refused)


def test_F10_broken_frames_are_passed_over(here: Running) -> None:
    line = Stranger(here)
    whole = hdlc.encode(Frame(METER, Address(16), SNRM.encode()))
    for at in range(1, len(whole) - 1):
        line.raw(whole[:at] + bytes((whole[at] ^ 0x40,)) + whole[at + 1 :])
    line.raw(b"\x7e" * 10_000 + b"\x7e\xa0\x07\x03\x21" + bytes(100))
    line.raw(whole)
    assert line.meaning() == Control(Kind.UA, True)


def test_F10_a_frame_of_every_length_that_lies(here: Running) -> None:
    line = Stranger(here)
    for length in (*range(12), 0x7FE, 0x7FF):
        line.raw(bytes((0x7E, 0xA0 | length >> 8, length & 0xFF)) + b"\x02\x23\x21\x93\x00\x00\x7e")
    line.raw(b"\x7e" + bytes(2100) + b"\x7e")
    line.frame(SNRM, b"", 16)
    assert line.meaning() == Control(Kind.UA, True)


def test_F10_segments_without_end_are_cut_off_and_the_next_link_is_free(here: Running) -> None:
    line = Stranger(here)
    line.connect(16)
    for number in range(40):
        control = Control(Kind.I, True, number % 8, 0).encode()
        line.raw(hdlc.encode(Frame(METER, Address(16), control, bytes(2000), True)))
        if line.meaning() == Control(Kind.FRMR, True):
            break
    else:
        pytest.fail("it took everything")
    line.connect(16)
    line.put(GET, 16)
    assert line.take() is not None


def test_F10_what_comes_without_a_link_is_not_answered_and_pushes_no_push_out(here: Running) -> None:
    line = Stranger(here)
    line.frame(Control(Kind.UI, True), client=2)
    assert line.quiet()

    def push() -> None:
        for link in here.party.links():
            link.notify(1, 2, b"\x0fpush")

    here.do(push)
    for _ in range(20):
        line.frame(Control(Kind.UI), hdlc.COMMAND + b"\xc8\x00", 2)
        line.frame(Control(Kind.UI), hdlc.COMMAND + GET, 2)
    line.frame(Control(Kind.UI, True), client=2)
    assert line.next().information == hdlc.RESPONSE + b"\x0fpush"
    line.frame(Control(Kind.UI, True), client=2)
    assert line.quiet()


def test_F10_lies_about_numbers_cost_the_link_and_nothing_else(here: Running) -> None:
    line = Stranger(here)
    line.connect(16)
    line.frame(Control(Kind.RR, True, None, 5), b"", 16)
    assert line.meaning() == Control(Kind.FRMR, True)
    line.connect(16)
    line.frame(Control(Kind.I, True, 3, 0), hdlc.COMMAND + GET, 16)
    assert line.meaning() == Control(Kind.RR, True, None, 0)
    works(here)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=12), st.integers(0, 127)), max_size=30))
def test_F10_any_frames_on_one_line_and_the_owner_on_another(
    here: Running, frames: list[tuple[int, bytes, int]]
) -> None:
    before = here.counters()
    line = Stranger(here)
    for control, information, client in frames:
        line.frame(control, information, client)
    line.frame(SNRM, b"", 16)
    while line.meaning() != Control(Kind.UA, True):
        pass
    line.put(GET, 16)
    assert line.take() == NOT_POSSIBLE
    line.close()
    assert here.counters() == before


# --- associations on links ------------------------------------------------------------------------


def test_A15_the_pair_of_another_line_has_no_association(here: Running) -> None:
    _, operator = signed_on(here, "operator", 2)
    other = Stranger(here)
    other.connect(2)
    assert other.ask(GET, 2) == NOT_POSSIBLE
    other.frame(DISC)
    assert other.meaning() == Control(Kind.UA, True)
    assert operator.get(3, REGISTER), "DISC on another line is another line's"


def test_A16_snrm_starts_the_pair_without_an_association(here: Running) -> None:
    line, operator = signed_on(here, "operator", 2)
    assert operator.get(3, REGISTER)
    line.connect(2)
    assert line.ask(GET, 2) == NOT_POSSIBLE
    assert here.signed_on("operator", line).get(3, REGISTER)


def test_A17_disc_ends_the_association_of_its_pair_only(here: Running) -> None:
    line = Stranger(here)
    line.connect(2)
    operator = here.signed_on("operator", line)
    sent, seen = line.sent, line.seen
    line.connect(3)
    line.frame(DISC, b"", 3)
    assert line.meaning() == Control(Kind.UA, True)
    line.sent, line.seen = sent, seen
    assert operator.get(3, REGISTER), "another client's SNRM and DISC did not touch it"
    before = standing(here)
    line.frame(DISC, b"", 2)
    assert line.meaning() == Control(Kind.UA, True)
    assert standing(here) == before - 1
    line.connect(2)
    assert line.ask(GET, 2) == NOT_POSSIBLE


def test_a_link_that_is_rejected_has_no_association_any_more(here: Running) -> None:
    line, operator = signed_on(here, "operator", 2)
    assert operator.get(3, REGISTER)
    line.frame(0x9B)
    assert line.meaning() == Control(Kind.FRMR, True)
    line.connect(2)
    assert line.ask(GET, 2) == NOT_POSSIBLE


def test_a_failed_sign_on_waits_for_its_answer_while_the_line_is_polled(tmp_path: Path) -> None:
    with raw.running(tmp_path, url="hdlc+tcp://127.0.0.1:0", delays=True) as here:
        line = Stranger(here)
        line.connect(2)
        for _ in range(4):
            client = here.client("operator", line)
            client.machine.profile.setup.own_title = b"MSLHES99"
            (effect,) = client.machine.associate(random_octets(16))
            assert line.ask(effect.octets, 2) == REJECTED  # type: ignore[union-attr]


def test_our_client_reads_with_every_form_of_address(here: Running) -> None:
    for size in (1, 2, 4):
        meter = replace(here.credentials.meter, address_size=size)
        role = here.credentials.role("public")
        with sync.connect(credentials=Credentials(meter, {"public": role})) as public:
            assert public.read(CLOCK).class_id == 8
