"""The same on every wire: whose an association is, what ends it, floods (A15 to A18, F11, F12, F24, H15)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meterseal import Credentials, sync
from meterseal.apdu.acse import Rlrq
from meterseal.association import Effect, Released
from meterseal.crypto import random_octets
from meterseal.framing import gbt
from meterseal.meter import write_credentials
from meterseal.meter.events import ENTRIES_PER_MINUTE, LINES_PER_SECOND, NOT_AUTHENTIC
from meterseal.net import Asking, blocking
from tests.hostile.aarq import first
from tests.hostile.raw import DECIPHERING, PATIENCE, Running, running
from tests.hostile.test_meter_release import STANDING, standing
from tests.hostile.test_meter_signatures import Curves
from tests.hostile.test_meter_transfers import BLOCKS, half_open
from tests.meter.world import Client, Steps
from tests.net.test_serial import Wire as Ports
from tests.wired import spoilt

GET = bytes.fromhex("C001C100080000010000FF0200")
OWNER = 3  # the installer, who signs on by GMAC in every suite
PUBLIC, PUBLIC_AARQ = 16, bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F040000101CFFFF")
CLOCK = "0.0.1.0.0.255"
SERIAL = pytest.param("serial", marks=pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals"))
WIRES = ["tcp", "udp", "hdlc+tcp", SERIAL]


class Wire:
    """A line of any kind, with the face of `tests.hostile.raw.Line`; None for what gets no answer.

    Datagrams may get none: what the public client asks behind them is answered behind them.
    """

    def __init__(self, here: Running, url: str) -> None:
        self.line = blocking.connect(url, hdlc=Asking(here.meter.plan.physical_address))
        self._here, self.url = here, url
        self.shared = url.startswith("serial")
        self._marked = url.startswith("udp")

    def another(self) -> Wire:
        """A line of its own, of the same kind; on a bus there is one, which is left to it."""
        if self.shared:
            self.line.close()
        made = Wire(self._here, self.url)
        self._here.lines.append(made)  # type: ignore[arg-type]
        return made

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
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Where the meter listens, and where it is called, if that is elsewhere."""
    if request.param != "serial":
        yield f"{request.param}://127.0.0.1:0", ""
        return
    ports = Ports()
    yield ports.url(0), ports.url(1)
    ports.close()


@pytest.fixture(scope="module")
def here(ends: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("wires")
    with running(folder, STANDING, url=ends[0], preset="suite1") as made:
        yield made


@pytest.fixture
def wire(here: Running, ends: tuple[str, str]) -> Iterator[Wire]:
    made = Wire(here, ends[1] or here.server.url)
    here.lines.append(made)  # type: ignore[arg-type]
    yield made
    for line in here.lines:
        line.close()
    here.lines.clear()


def signed_on(here: Running, wire: Wire, **options: Any) -> Client:
    return here.signed_on("installer", wire, **options)  # type: ignore[arg-type]


def done(client: Client, octets: bytes | None) -> bool:
    """Has it been answered with the value, under the key?"""
    return octets is not None and octets[0] == 0xCC and client.opened(octets)[:4] == bytes.fromhex("C401C100")


def test_A15_another_line_has_no_part_in_an_association(here: Running, wire: Wire) -> None:
    """On a bus another caller's SNRM starts the pair's link anew, and with it goes the association."""
    client = signed_on(here, wire)
    request, floors, other = client.sealed(GET), here.counters(), wire.another()
    assert not done(client, other.ask(request, OWNER))
    assert here.counters() == floors
    if not wire.shared:
        assert done(client, wire.ask(request, OWNER)), "its owner may still use it"


def test_A16_an_AARQ_on_an_open_association_starts_it_anew_and_counts_on(here: Running, wire: Wire) -> None:
    old = signed_on(here, wire)
    before = old.sealed(GET)
    assert done(old, wire.ask(before, OWNER))
    floors = here.counters()
    new = signed_on(here, wire)
    assert new.get(8, CLOCK) and here.counters()[OWNER][0] > floors[OWNER][0]
    assert not done(new, wire.ask(before, OWNER)), "what the old one has sent is a replay"
    assert new.get(8, CLOCK)


def test_A16_no_ACSE_in_a_pre_established_association(here: Running, wire: Wire) -> None:
    floors = here.counters()
    answer = wire.ask(first(here.client("installer", wire)).encode(), 64)  # type: ignore[arg-type]
    assert answer is None or answer[0] != 0x61 or answer[-1] != 0
    assert here.counters() == floors


def test_A17_a_bare_release_ends_nothing(here: Running, wire: Wire) -> None:
    client = signed_on(here, wire)
    floors = here.counters()
    for reason in (None, 0, 1):
        wire.ask(Rlrq(reason, None).encode(), OWNER)
    assert here.counters() == floors
    assert client.get(8, CLOCK), "it stands"
    assert any(isinstance(effect, Released) for effect in client.release())
    assert not done(client, wire.ask(client.sealed(GET), OWNER))


def test_A18_keys_are_all_it_takes_and_each_message_counts_once(here: Running, wire: Wire) -> None:
    client = standing(here, here.counters()[64][0], wire)
    request = client.sealed(GET)
    assert done(client, wire.ask(request, 64))
    floors = here.counters()
    for octets in (request, GET, request[:-1] + bytes((request[-1] ^ 1,))):
        assert not done(client, wire.ask(octets, 64))
    assert here.counters() == floors
    assert done(client, wire.ask(client.sealed(GET), 64))


def test_F11_blocks_without_end_are_cut_and_leave_nothing(here: Running, wire: Wire) -> None:
    client = signed_on(here, wire, **(BLOCKS | {"max_pdu": 4096}))
    number, answer = 0, bytes((gbt.TAG,))
    while answer[0] == gbt.TAG:
        number += 1
        block = gbt.encode(gbt.Block(number, bytes(4000), window=1))
        answer = wire.ask(block, OWNER) or b"no answer"
        assert here.do(lambda: here.party.memory.total) <= 1 << 16
    assert answer == bytes.fromhex("D80104") and number == 17
    assert here.do(lambda: here.party.memory.total) == 0
    assert client.get(8, CLOCK)


def test_F12_half_open_transfers_keep_within_the_memory_there_is(
    here: Running, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here.party.memory, "limit", 2500)
    clients = []
    for line in [wire] if wire.shared else [wire.another() for _ in range(4)]:
        clients.append(signed_on(here, line, **BLOCKS))
        half_open(line, clients[-1])  # type: ignore[arg-type]
        assert 0 < here.do(lambda: here.party.memory.total) <= 2500
    assert all(client.get(8, CLOCK) for client in clients), "a new request ends the old transfer"


def test_F24_who_has_no_key_causes_no_work_with_curves(
    here: Running, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tag, counter and shape come first; sign-ons that are begun are one check each, of what was signed."""
    recorded = first(here.client("operator", wire), random_octets(32))  # type: ignore[arg-type]
    wire.line.send(2, 1, recorded.encode())
    assert wire.line.receive(PATIENCE)[2][:1] == b"\x61"
    curves, floors = Curves(monkeypatch), here.counters()
    inside = bytes(recorded.user_information or b"")
    for aarq in (
        recorded,  # its counter was taken
        recorded.replace(user_information=inside[:-1] + bytes((inside[-1] ^ 1,))),
        recorded.replace(user_information=None),
        recorded.replace(calling_ae_qualifier=random_octets(800)),
    ):
        for _ in range(5):
            wire.ask(aarq.encode(), 2)
    for apdu in (
        "DD0000000000000000",
        "DF00000000000000",
        "DFFF",
        "C301C1000F0000280000FF01010940" + 64 * "00",
    ):
        wire.ask(bytes.fromhex(apdu), 2)
    assert curves.count == 0 and here.counters() == floors
    assert signed_on(here, wire.another()).get(8, CLOCK), "and its owner is served"


def test_H15_a_flood_of_refusals_is_told_of_within_bounds(
    here: Running, wire: Wire, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_on(here, wire)
    forged = spoilt(client.sealed(GET))
    now = [here.do(here.meter.plant.real) + 100]
    monkeypatch.setattr(here.meter.plant, "real", lambda: now[0])
    before = len(here.do(here.meter.store.events))
    caplog.set_level(logging.INFO, "meterseal.meter")
    for _ in range(100):
        assert wire.ask(forged, OWNER) == DECIPHERING
    lines = [record for record in caplog.records if record.levelno == logging.INFO]
    assert len(lines) == LINES_PER_SECOND
    codes = [code for _, code in list(here.do(here.meter.store.events))[before:]]
    assert codes == [NOT_AUTHENTIC.code] * ENTRIES_PER_MINUTE
    assert client.get(8, CLOCK)
    now[0] += 1
    wire.ask(forged, OWNER)
    assert f"{100 - LINES_PER_SECOND} more lines were left out" in caplog.text


def test_the_main_conversation(here: Running, wire: Wire, tmp_path: Path) -> None:
    """Our client signs on, reads, writes, calls, and fetches what is long in blocks."""
    if wire.shared:
        wire.close()
    write_credentials(here.meter, tmp_path / "meter.toml", wire.url)
    given = Credentials.load(tmp_path / "meter.toml")
    credentials = replace(given, roles={"installer": replace(given.role("installer"), max_pdu=200)})
    with sync.connect(wire.url, credentials, role="installer", state=tmp_path / "state") as meter:
        long = bytes(range(250)) * 6  # in blocks there, and in blocks back
        meter.write("1/0.0.96.1.10.255:2", long, type="os")
        assert meter.read("1/0.0.96.1.10.255:2").value == long
        meter.call("8/0.0.1.0.0.255:1", 0)
        assert len(meter.read("15/0.0.40.0.0.255:2").value) > 10
