"""A lossy HDLC line: what is lost, doubled or damaged comes again; each APDU arrives once and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meterseal.framing.hdlc import Kind, Parameters, Primary, Received, Secondary, State, Timing
from tests.framing.hdlc_line import Line

pytestmark = pytest.mark.slow

PAIRS = [(1, 1), (16, 1), (16, 17)]
NEVER = Timing(response=2.0, retries=10_000, hold=0.3, inactivity=None)
sizes = st.sampled_from([3, 7, 20, 128, 2030])
parameters = st.builds(Parameters, sizes, sizes, st.integers(1, 7), st.integers(1, 7))


def lost(octets: bytes) -> list[bytes]:
    return []


def doubled(octets: bytes) -> list[bytes]:
    return [octets, octets]


def damaged(octets: bytes) -> list[bytes]:
    middle = len(octets) // 2
    return [octets[:middle] + bytes((octets[middle] ^ 0x10,)) + octets[middle + 1 :]]


def cut(octets: bytes) -> list[bytes]:
    return [octets[: len(octets) // 2]]


def noisy(octets: bytes) -> list[bytes]:
    return [b"\x7e\x7e\xa0\xff\x7e" + octets + b"\x00"]


def whole(octets: bytes) -> list[bytes]:
    return [octets]


FATES = [lost, doubled, damaged, cut, noisy, whole]


class LossyLine(RuleBasedStateMachine):
    """Requests of three pairs over one line, each answered with more than it asked."""

    @initialize(client=parameters, meter=parameters)
    def begin(self, client: Parameters, meter: Parameters) -> None:
        self.fates: deque[int] = deque()
        self.sent: dict[tuple[int, int], list[bytes]] = {pair: [] for pair in PAIRS}
        self.number = 0
        self.line = Line(
            Primary(17, wanted=client, timing=NEVER),
            Secondary(lambda server: server in (1, 17), wanted=meter, timing=NEVER),
            answer=lambda client, server, apdu: [apdu + apdu[:3]],
            tamper=self.tamper,
        )

    def tamper(self, way: str, octets: bytes) -> list[bytes]:
        fate = FATES[self.fates.popleft()] if self.fates else whole
        return fate(octets)

    @rule(pair=st.sampled_from(PAIRS), size=st.sampled_from([1, 4, 17, 40]))
    def request(self, pair: tuple[int, int], size: int) -> None:
        self.number += 1
        apdu = (bytes((0xC0, self.number % 256, pair[0], pair[1])) * size)[:size]
        self.sent[pair].append(apdu)
        self.line.send(apdu, *pair, wait=1e9)

    @rule(fates=st.lists(st.integers(0, len(FATES) - 1), min_size=1, max_size=8))
    def trouble(self, fates: list[int]) -> None:
        self.fates += fates

    @rule()
    def carry(self) -> None:
        self.line.step()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.line.run(seconds)

    @invariant()
    def in_order_and_once(self) -> None:
        for pair in PAIRS:
            came = self.came(self.line.meter.told, pair)
            assert came == self.sent[pair][: len(came)]
            back = self.came(self.line.client.told, pair)
            assert back == [apdu + apdu[:3] for apdu in self.sent[pair][: len(back)]]
        assert not self.line.client.downs

    def came(self, told: Sequence[object], pair: tuple[int, int]) -> list[bytes]:
        return [e.apdu for e in told if isinstance(e, Received) and (e.client, e.server) == pair]

    def teardown(self) -> None:
        if not hasattr(self, "line"):
            return
        self.fates.clear()
        for pair in PAIRS:
            for _ in self.sent[pair]:
                if len(self.came(self.line.client.told, pair)) < len(self.sent[pair]):
                    self.line.primary.poll(*pair, self.line.now + 1e9, self.line.now)
                    self.line.run(10)
        for pair in PAIRS:
            assert self.came(self.line.meter.told, pair) == self.sent[pair]
            assert len(self.came(self.line.client.told, pair)) == len(self.sent[pair])
        self.in_order_and_once()
        for link in self.line.primary.links:
            assert link.state is State.CONNECTED and not link.has_frames
        assert self.line.kinds("to").count(Kind.FRMR.value) == 0


TestLossyLine = LossyLine.TestCase
TestLossyLine.settings = settings(max_examples=40, stateful_step_count=30)
