"""Connections: several associations, failed sign-ons that wait, time limits, and answers for every frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.association import Associated, Failed
from meterseal.codec.types import Tag
from meterseal.crypto import random_octets
from meterseal.errors import StateUnavailable
from meterseal.keys.counters import ReceiveCounter
from meterseal.meter.delays import FIRST, LONGEST, QUIET, WAITING, Delays
from meterseal.meter.session import HELD, PENDING_TIME
from meterseal.security import KeyInUse
from tests.meter.world import Client, Line, World, read, world
from tests.wired import spoilt

CLOCK, REGISTER = "0.0.1.0.0.255", "1.0.1.8.0.255"
NOT_POSSIBLE = bytes.fromhex("D80101")
REJECTED = bytes.fromhex("6117A109060760857405080103A203020101A305A103020101")
GET = bytes.fromhex("C001C100080000010000FF0200")


def wrong(here: World, line: Line, role: str = "operator") -> bytes:
    """An AARQ that does not hold: a title that is not this role's."""
    client = here.client(role, line)
    client.machine.profile.setup.own_title = b"MSLHES99"
    (effect,) = client.machine.associate(random_octets(16))
    octets: bytes = effect.octets  # type: ignore[union-attr]
    return octets


def closed(line: Line) -> bool:
    return line.is_closing


# --- delays, law 8 ------------------------------------------------------------------------------


def test_delays_double_up_to_five_seconds_per_source_and_sap() -> None:
    delays = Delays()
    found = [delays.failed("a", 2, 0.0) for _ in range(9)]
    assert found == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert delays.failed("a", 3, 0.0) == delays.failed("b", 2, 0.0) == FIRST
    delays.proved("a", 2)
    assert delays.failed("a", 2, 1.0) == FIRST
    assert delays.failed("a", 2, 1.0 + QUIET) == 2 * FIRST
    assert delays.failed("a", 2, 1.1 + 2 * QUIET) == FIRST


def test_delays_of_a_source_that_never_stops_stay_in_bounds() -> None:
    delays = Delays()
    for sap in range(10_000):
        found = delays.failed("a", sap, 0.0)
        assert (found is None) == (sap >= WAITING)
    assert delays.waiting == WAITING
    assert len(delays._failures) <= 4096
    for _ in range(WAITING):
        delays.answered("a")
    assert delays.waiting == 0 and not delays._waiting
    for number in range(2_000):
        assert delays.failed("a", 1, float(number) / 1000) is not None
        delays.answered("a")
    assert delays.failed("a", 1, 3.0) == LONGEST


def test_the_answer_to_a_failed_sign_on_waits_and_others_do_not() -> None:
    here = world()
    line, good = here.line(), here.signed_on("installer")
    for delay in (0.1, 0.2, 0.4):
        line.put(wrong(here, line), 2)
        here.timer.advance(delay - 0.01)
        assert not line.answers()
        assert good.get(8, CLOCK), "another role of the same source is served meanwhile"
        here.timer.advance(0.011)
        assert line.answers() == [REJECTED]
    other = here.signed_on("operator", here.line("192.0.2.1"))
    assert other.get(3, REGISTER), "the owner, from the same address, is served at once"
    line.put(wrong(here, line), 2)
    here.timer.advance(0.1)
    assert line.answers() == [REJECTED], "a sign-on that succeeds starts the count anew"


def test_frames_behind_a_waiting_answer_keep_their_order_and_other_pairs_go_on() -> None:
    here = world()
    line = here.line()
    public = here.signed_on("public", line)
    line.put(wrong(here, line), 2)
    line.put(GET, 2)
    line.put(wrong(here, line), 2)
    line.put(GET, 2)
    assert public.get(8, CLOCK)
    assert not line.answers()
    here.timer.advance(0.1)
    assert line.answers() == [REJECTED, NOT_POSSIBLE]
    here.timer.advance(0.2)
    assert line.answers() == [REJECTED, NOT_POSSIBLE]


def test_too_many_frames_behind_a_waiting_answer_close_the_line() -> None:
    here = world()
    line = here.line()
    line.put(wrong(here, line), 2)
    for _ in range(HELD):
        line.put(GET, 2)
    assert not closed(line)
    line.put(GET, 2)
    assert closed(line)
    assert here.party.delays.waiting == 0
    here.timer.advance(10)
    assert not line.arrived and here.timer.pending == 0


def test_more_failures_at_once_than_may_wait_cost_the_line_that_fails() -> None:
    here = world()
    lines = [here.line() for _ in range(WAITING + 1)]
    for line in lines:
        line.put(wrong(here, line), 2)
    assert [line.is_closing for line in lines] == [False] * WAITING + [True]
    other = here.line("198.51.100.7")
    other.put(wrong(here, other), 2)
    assert not other.is_closing, "another source has its own"
    assert here.signed_on("operator").get(3, REGISTER)
    here.timer.advance(LONGEST)
    assert all(line.answers() == [REJECTED] for line in lines[:-1])


def test_unknown_saps_get_what_wrong_keys_get() -> None:
    here = world()
    for sap, server in ((2, 2), (99, 1), (0, 0), (65535, 65535), (16, 18)):
        line = here.line(f"192.0.2.{sap % 200}")
        known = here.line("203.0.113.1")
        assert line.ask(wrong(here, line), sap, server) == REJECTED
        (plain,) = here.client("public").machine.associate()
        for octets in (
            plain.octets,  # type: ignore[union-attr]
            bytes.fromhex("6000"),
            bytes.fromhex("600A060760857405080102"),
        ):
            # What the shape alone decides is told, by one that is not there as by one that is.
            assert line.ask(octets, sap, server) == known.ask(octets, 2)
        for octets in (
            GET,
            bytes.fromhex("62 03 800100"),
            b"\xc8" + bytes(20),
            b"\x00",
            b"\xff\xff",
            b"\x05\x01\x02",
        ):
            assert line.ask(octets, sap, server) == known.ask(octets, 2)


def test_a_closed_line_forgets_its_timers() -> None:
    here = world()
    line = here.line()
    line.put(wrong(here, line), 2)
    here.client("operator", line, server=17)
    client = here.client("manager", line)
    (effect,) = client.machine.associate(random_octets(16))
    line.put(effect.octets, 1)  # type: ignore[union-attr]
    assert here.timer.pending == 2
    line.abort()
    assert here.timer.pending == 0 and here.party.delays.waiting == 0 and not here.party.live()


# --- time limits --------------------------------------------------------------------------------


def test_a_sign_on_has_ten_seconds() -> None:
    here = world()
    client = here.client("operator")
    (effect,) = client.machine.associate(random_octets(16))
    aare = client.line.ask(effect.octets, 2)  # type: ignore[union-attr]
    (proof,) = client.machine.receive(aare)
    here.timer.advance(PENDING_TIME - 0.1)
    assert here.signed_on("operator").get(3, REGISTER)
    here.timer.advance(0.2)
    assert client.line.ask(proof.octets, 2) == NOT_POSSIBLE  # type: ignore[union-attr]


def test_a_sign_on_in_time_stands_for_ever() -> None:
    here = world()
    client = here.signed_on("operator")
    here.timer.advance(1_000)
    assert client.get(3, REGISTER)


# --- one association for a role -----------------------------------------------------------------


def test_single_the_newcomer_replaces_the_old_one_only_once_it_has_proved_itself(tmp_path: Path) -> None:
    here = world("[roles.operator]\nsingle = true\n", tmp=tmp_path)
    old = here.signed_on("operator", here.line("192.0.2.1"))
    newcomer = here.client("operator", here.line("192.0.2.9"))
    shared = here.keys["operator"]
    # Answers to two associations cross on their way: each end holds its own floor against them.
    newcomer.machine.profile.setup.unicast = KeyInUse(shared.handle, shared.tx, ReceiveCounter())
    (effect,) = newcomer.machine.associate(random_octets(16))
    aare = newcomer.line.ask(effect.octets, 2)  # type: ignore[union-attr]
    assert old.get(3, REGISTER), "asked for, and not yet proved"
    stranger = here.line("192.0.2.66")
    stranger.put(wrong(here, stranger), 2)
    here.timer.advance(1)
    assert old.get(3, REGISTER)
    (proof,) = newcomer.machine.receive(aare)
    newcomer.machine.receive(newcomer.line.ask(proof.octets, 2))  # type: ignore[union-attr]
    assert newcomer.get(3, REGISTER)
    assert old.line.ask(old.sealed(GET), 2) == NOT_POSSIBLE
    second_device = here.signed_on("operator", server=17)
    assert second_device.get(8, CLOCK) and newcomer.get(3, REGISTER), "another pair is another association"


def test_without_single_both_stay() -> None:
    here = world()
    one, two = here.signed_on("operator"), here.signed_on("operator")
    assert one.get(3, REGISTER) == two.get(3, REGISTER)


def test_a_pair_whose_link_ends_loses_its_association_and_others_go_on() -> None:
    here = world()
    line = here.line()
    operator, installer = here.signed_on("operator", line), here.signed_on("installer", line)
    line.handler.parted(2, 1, None)
    assert operator.plain(GET) == NOT_POSSIBLE
    assert installer.get(8, CLOCK)
    line.handler.parted(2, 1, None)
    line.handler.parted(99, 1, None)
    assert here.signed_on("operator", line).get(3, REGISTER), "the next link starts anew"


def test_an_answer_that_waits_is_not_sent_on_the_next_link() -> None:
    here = world()
    line = here.line()
    line.put(wrong(here, line), 2)
    line.put(GET, 2)
    line.handler.parted(2, 1, None)
    here.timer.advance(LONGEST)
    assert not line.answers() and here.timer.pending == 0
    assert here.party.delays.waiting == 0
    line.put(GET, 2)
    assert line.answers() == [NOT_POSSIBLE]


# --- the disk -----------------------------------------------------------------------------------


class FullDisk:
    """The journal of a meter on a disk that takes nothing."""

    def __init__(self, here: World, monkeypatch: pytest.MonkeyPatch) -> None:
        journal = here.meter.store.journal
        assert journal is not None

        def full(*records: Any) -> None:
            raise StateUnavailable("No space left on device")

        monkeypatch.setattr(journal, "commit", full)


def test_with_a_full_disk_nothing_is_opened_and_nothing_takes_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(folder=tmp_path / "state")
    installer = here.signed_on("installer")
    before = installer.get(1, "0.0.96.1.10.255")
    with monkeypatch.context() as patch:
        FullDisk(here, patch)
        assert installer.set(1, "0.0.96.1.10.255", 2, b"new", Tag.OCTET_STRING) == 2
        assert installer.call(8, CLOCK, 3) == 2
        assert installer.get(1, "0.0.96.1.10.255") == before, "reading goes on"
        for role in ("operator", "installer"):  # without counters in reserve, and with
            effects = here.client(role).try_sign_on()
            assert not any(isinstance(e, Associated) for e in effects), role
    assert here.signed_on("operator").get(3, REGISTER), "and all is well when there is room again"
    assert installer.call(8, CLOCK, 3) == 0


def test_out_of_counters_and_no_room_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(folder=tmp_path / "state")
    client = here.signed_on("operator")
    key = here.meter.rings[2].setup.unicast
    assert key is not None
    with monkeypatch.context() as patch:
        FullDisk(here, patch)
        while key.tx.left:
            key.tx.take()
        assert client.line.ask(client.sealed(GET), 2) == NOT_POSSIBLE
    assert client.get(3, REGISTER)


def test_what_was_received_is_on_disk_each_second_and_before_an_effect(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    client = here.signed_on("manager")
    key = here.meter.rings[1].setup.unicast
    assert key is not None

    def durable() -> int:
        found = here.meter.store.counters._table._lowest
        return int(found[key.key_id])

    assert durable() == key.rx.lowest, "when it opens"
    client.get(3, REGISTER)
    assert durable() < key.rx.lowest
    here.party.tick()
    assert durable() == key.rx.lowest, "each second"
    client.get(3, REGISTER)
    assert client.call(8, CLOCK, 3) == 0
    assert durable() == key.rx.lowest, "before an effect"
    client.get(3, REGISTER)
    client.line.abort()
    assert durable() == key.rx.lowest, "when it closes"


# --- law 9 --------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=40), st.sampled_from([(2, 1), (16, 1), (1, 17), (5, 5)]))
def test_every_frame_is_answered_or_the_line_closed(octets: bytes, pair: tuple[int, int]) -> None:
    here = _HERE
    line = here.line()
    line.put(octets, *pair)
    here.timer.advance(LONGEST)
    assert len(line.answers()) == 1 or line.is_closing
    line.abort()


_HERE = world()


def test_the_journal_says_why_and_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    here = world()
    with caplog.at_level("INFO", "meterseal.meter"):
        line = here.line()
        line.put(wrong(here, line), 2)
        client = here.signed_on("operator")
        client.line.ask(spoilt(client.sealed(GET)), 2)
        client.one(read(3, "1.0.200.8.0.255"))
    text = caplog.text
    assert "client system title is not the one of this Security setup" in text
    assert "forged: the authentication tag does not verify" in text
    assert "get 3/1.0.200.8.0.255:2: object-undefined" in text
    for role in here.credentials.roles.values():
        for name in ("guek", "gak", "gbek", "kek"):
            octets = role.octets(name)
            assert octets is None or octets.hex() not in text.lower()


def test_a_flood_of_refusals_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    here = world()
    line = here.line()
    with caplog.at_level("INFO", "meterseal.meter"):
        for _ in range(1_000):
            line.ask(b"\xff\xff", 2)
        assert len(caplog.records) == 20
        here.seconds += 1
        line.ask(b"\xff\xff", 2)
    assert "980 more lines were left out" in caplog.text


def test_a_flood_does_not_fill_the_event_log() -> None:
    here = world()
    for number in range(100):
        line = here.line(f"198.51.100.{number}")
        line.put(wrong(here, line), 2)
    assert [code for _, code in here.meter.store.events()] == [46] * 10
    here.pass_time(60)
    line = here.line()
    line.put(wrong(here, line), 2)
    assert len(here.meter.store.events()) == 11


def test_sign_on_by_the_wrong_role_is_refused_for_every_pair_of_roles() -> None:
    here = world()
    for role in ("operator", "installer", "manager"):
        for other in ("operator", "installer", "manager"):
            client = Client(here, role, here.line())
            client.sap = here.credentials.roles[other].client
            effects = client.try_sign_on()
            wanted = Associated if role == other else Failed
            assert any(isinstance(e, wanted) for e in effects), (role, other)
