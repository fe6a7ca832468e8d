"""Slow HDLC lines: latency beyond the response time, 300 baud, answers that come after the next question."""

from __future__ import annotations

import heapq
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.framing import hdlc
from meterseal.framing.hdlc import Kind, Parameters, Primary, Secondary, Timing
from tests.framing.hdlc_line import Party, meter

APDU = bytes(range(256)) * 2
PIECE = 32
"""Octets that a system hands over at a time."""


class SlowLine:
    """Octets that arrive later, in order: `latency` seconds, and `octet` seconds for each octet.

    Of the frames `loss` (0 to 1) lose a piece on their way.
    """

    loss, chance = 0.0, random.Random()

    def __init__(self, primary: Primary, secondary: Secondary, latency: float, octet: float = 0.0) -> None:
        self.client, self.meter = Party(primary), Party(secondary)
        self.latency, self.octet = latency, octet
        self.now = 0.0
        self.due: list[tuple[float, int, str, bytes]] = []
        self.free = {"to": 0.0, "from": 0.0}
        self.order = itertools.count()
        self.frames: list[tuple[str, hdlc.Frame]] = []

    def send(self, apdu: bytes, wait: float = 1e6) -> None:
        station: Any = self.client.station
        station.send(16, 1, apdu, self.now)
        station.poll(16, 1, self.now + wait, self.now)

    def _depart(self) -> None:
        for way, party in (("to", self.client), ("from", self.meter)):
            for octets in party.frames():
                self.frames.append((way, hdlc.decode(octets)))
                pieces = [octets[at : at + PIECE] for at in range(0, len(octets), PIECE)]
                if self.loss and self.chance.random() < self.loss:
                    pieces[self.chance.randrange(len(pieces))] = b""
                for piece in pieces:
                    self.free[way] = max(self.free[way], self.now) + len(piece) * self.octet
                    heapq.heappush(self.due, (self.free[way] + self.latency, next(self.order), way, piece))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._depart()
            stations = (self.client.station, self.meter.station)
            times = [due for station in stations if (due := station.deadline) is not None]
            times += [self.due[0][0]] if self.due else []
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            while self.due and self.due[0][0] <= self.now:
                self._arrive(*heapq.heappop(self.due)[2:])
            for station in stations:
                station.tick(self.now)
        self.now = end

    def _arrive(self, way: str, octets: bytes) -> None:
        party = self.meter if way == "to" else self.client
        party.take(octets, self.now)
        if way == "from" and party.reader.held:
            self.client.station.heard(self.now)  # type: ignore[attr-defined]
        while party.station.events:
            event = party.station.events.popleft()
            party.told.append(event)
            if way == "to" and isinstance(event, hdlc.Received):
                self.meter.station.send(16, 1, event.apdu + b"!", self.now)  # type: ignore[attr-defined]


def line(latency: float, octet: float = 0.0, size: int = 128, window: int = 1, **timing: float) -> SlowLine:
    wanted = Parameters(size, size, window, window)
    primary = Primary(17, wanted=wanted, timing=Timing(octet=octet, **timing))  # type: ignore[arg-type]
    return SlowLine(primary, meter(wanted=wanted, timing=Timing(inactivity=None)), latency, octet)


def test_H07_a_latency_of_ten_seconds_within_the_response_time() -> None:
    here = line(10.0, response=25.0)
    for _ in range(3):
        here.send(APDU)
        here.run(1000)
    assert here.client.apdus == [APDU + b"!"] * 3
    assert not here.client.downs
    assert sum(f.meaning is not None and f.meaning.kind is Kind.SNRM for _, f in here.frames) == 1


def test_H07_a_line_of_300_baud() -> None:
    here = line(0.05, 10 / 300, 2030, 7)
    for _ in range(2):
        here.send(APDU)
        here.run(300)
    assert here.client.apdus == [APDU + b"!"] * 2
    kinds = [f.meaning.kind.value for way, f in here.frames if way == "to" and f.meaning]
    assert kinds == ["SNRM", "I", "I"], "nothing was asked twice while it was on its way"


@pytest.mark.parametrize("latency", [1.5, 3.0, 5.0, 7.0])
def test_H08_answers_later_than_the_response_time_are_taken_once(latency: float) -> None:
    here = line(latency, response=2.0, retries=20, size=64, window=3)
    for number in range(4):
        here.send(APDU + bytes((number,)))
        here.run(2000)
    assert here.client.apdus == [APDU + bytes((number,)) + b"!" for number in range(4)]
    assert here.meter.apdus == [APDU + bytes((number,)) for number in range(4)]
    assert not here.client.downs and len(here.frames) < 1500


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.floats(0, 6),
    st.sampled_from([0.0, 10 / 300, 10 / 9600]),
    st.sampled_from([3, 30, 128, 2030]),
    st.integers(1, 7),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
)
def test_H08_whatever_the_latency_each_apdu_arrives_once_and_in_order(
    latency: float, octet: float, size: int, window: int, lengths: list[int]
) -> None:
    here = line(latency, octet, size, window, response=2.0, retries=100_000)
    sent = [bytes((0xC0, number)) * length for number, length in enumerate(lengths)]
    for number, apdu in enumerate(sent, 1):
        here.send(apdu)
        while len(here.client.apdus) < number and here.now < 1e6:
            here.run(100)
    assert here.meter.apdus == sent
    assert here.client.apdus == [apdu + b"!" for apdu in sent]


@pytest.mark.slow
@settings(max_examples=12)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.05, 0.3]),
    st.sampled_from([0.0, 1.5, 5.0]),
    st.sampled_from([3, 30, 128]),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_H07_H08_frames_are_lost_on_a_line_that_is_slow_too(
    seed: int, loss: float, latency: float, size: int, windows: tuple[int, int]
) -> None:
    """Small frames, narrow windows, latency beyond the response time: each APDU once, in order, whole."""
    ours, theirs = (Parameters(size, size, window, window) for window in windows)
    primary = Primary(17, wanted=ours, timing=Timing(response=2.0, retries=100_000))
    here = SlowLine(primary, meter(wanted=theirs, timing=Timing(inactivity=None)), latency, 10 / 9600)
    here.loss, here.chance = loss, random.Random(seed)
    sent = [bytes((0xC0, number)) * here.chance.randrange(1, 60) for number in range(4)]
    for number, apdu in enumerate(sent, 1):
        here.send(apdu)
        while len(here.client.apdus) < number and here.now < 1e6:
            here.run(100)
    assert here.meter.apdus == sent
    assert here.client.apdus == [apdu + b"!" for apdu in sent]


def test_H08_a_late_answer_to_disc_does_not_refuse_the_next_link() -> None:
    here = line(3.0, response=2.0, retries=20)
    here.send(APDU)
    here.run(100)
    station: Any = here.client.station
    station.disconnect(16, 1, here.now)
    here.send(b"\xc0next")
    here.run(100)
    kinds = [(way, f.meaning.kind) for way, f in here.frames if f.meaning]
    assert kinds.count(("to", Kind.DISC)) > 1 and ("from", Kind.DM) in kinds
    assert here.client.apdus[-1] == b"\xc0next!" and not here.client.downs
