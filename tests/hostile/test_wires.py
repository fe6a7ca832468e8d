"""Who has part in an association, who ends it, who needs none: the same on every wire (A15 to A18, F24)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meterseal.apdu.acse import Rlrq
from meterseal.association import Effect, Released
from meterseal.net import Asking, blocking
from tests.hostile.aarq import first
from tests.hostile.raw import PATIENCE, Running, running
from tests.hostile.test_meter_release import STANDING, standing
from tests.meter.world import Client, Steps

GET = bytes.fromhex("C001C100030100010800FF0200")
PUBLIC, PUBLIC_AARQ = 16, bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F040000101CFFFF")
REGISTER = "1.0.1.8.0.255"
WIRES = ["tcp", "udp", "hdlc+tcp"]


class Wire:
    """A line of any kind, with the face of `tests.hostile.raw.Line`; None for what gets no answer.

    Datagrams may get none: what the public client asks behind them is answered behind them.
    """

    def __init__(self, here: Running) -> None:
        self.line = blocking.connect(here.server.url, hdlc=Asking(here.meter.plan.physical_address))
        self._marked = here.server.url.startswith("udp")

    def ask(self, apdu: bytes, client: int, server: int = 1) -> bytes | None:
        self.line.send(client, server, apdu)
        if self._marked:
            self.line.send(PUBLIC, server, PUBLIC_AARQ)
        answer = None
        for _ in range(1 + self._marked):
            _, whose, octets = self.line.receive(PATIENCE)
            if whose == PUBLIC:
                break
            answer = octets
        return answer

    def run(self, steps: Steps, client: int, server: int = 1) -> list[Effect]:
        answer: bytes | None = None
        try:
            while True:
                answer = self.ask(steps.send(answer), client, server)
                assert answer is not None
        except StopIteration as done:
            found: list[Effect] = done.value
            return found

    def close(self) -> None:
        self.line.close()


@pytest.fixture(scope="module", params=WIRES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("wires")
    with running(folder, STANDING, url=f"{request.param}://127.0.0.1:0") as made:
        yield made


@pytest.fixture
def wire(here: Running) -> Iterator[Wire]:
    made = Wire(here)
    here.lines.append(made)  # type: ignore[arg-type]
    yield made


def signed_on(here: Running, wire: Wire) -> Client:
    return here.signed_on("operator", wire)  # type: ignore[arg-type]


def done(client: Client, octets: bytes | None) -> bool:
    """Has it been answered with the value, under the key?"""
    return octets is not None and octets[0] == 0xCC and client.opened(octets)[:4] == bytes.fromhex("C401C100")


def test_A15_another_line_has_no_part_in_an_association(here: Running, wire: Wire) -> None:
    client, other = signed_on(here, wire), Wire(here)
    here.lines.append(other)  # type: ignore[arg-type]
    request, floors = client.sealed(GET), here.counters()
    assert not done(client, other.ask(request, 2))
    assert here.counters() == floors
    assert done(client, wire.ask(request, 2)), "its owner may still use it"


def test_A16_an_AARQ_on_an_open_association_starts_it_anew_and_counts_on(here: Running, wire: Wire) -> None:
    old = signed_on(here, wire)
    before = old.sealed(GET)
    assert done(old, wire.ask(before, 2))
    floors = here.counters()
    new = signed_on(here, wire)
    assert new.get(3, REGISTER) and here.counters()[2][0] > floors[2][0]
    assert not done(new, wire.ask(before, 2)), "what the old one has sent is a replay"
    assert new.get(3, REGISTER)


def test_A16_no_ACSE_in_a_pre_established_association(here: Running, wire: Wire) -> None:
    floors = here.counters()
    answer = wire.ask(first(here.client("operator", wire)).encode(), 64)  # type: ignore[arg-type]
    assert answer is None or answer[0] != 0x61 or answer[-1] != 0
    assert here.counters() == floors


def test_A17_a_bare_release_ends_nothing(here: Running, wire: Wire) -> None:
    client = signed_on(here, wire)
    floors = here.counters()
    for reason in (None, 0, 1):
        wire.ask(Rlrq(reason, None).encode(), 2)
    assert here.counters() == floors
    assert client.get(3, REGISTER), "it stands"
    assert any(isinstance(effect, Released) for effect in client.release())
    assert not done(client, wire.ask(client.sealed(GET), 2))


def test_A18_keys_are_all_it_takes_and_each_message_counts_once(here: Running, wire: Wire) -> None:
    client = standing(here, here.counters()[64][0], wire)
    request = client.sealed(GET)
    assert done(client, wire.ask(request, 64))
    floors = here.counters()
    for octets in (request, GET, request[:-1] + bytes((request[-1] ^ 1,))):
        assert not done(client, wire.ask(octets, 64))
    assert here.counters() == floors
    assert done(client, wire.ask(client.sealed(GET), 64))
